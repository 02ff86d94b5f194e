"""The archives: one module each, found by the name in its catalogue entry."""

import importlib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lightloom.archives.base import Archive
    from lightloom.config import ArchiveSpec


def get_archive(spec: "ArchiveSpec", state: Path) -> "Archive":
    """Return the archive that a catalogue entry describes.

    Parameters
    ----------
    spec : ArchiveSpec
        Its module is imported here and not before, so that a run needs only the libraries of its
        archives.
    state : Path
        Folder shared by all jobs of the archive; see `Archive`.
    """
    return importlib.import_module(spec.module_name).ARCHIVE(spec, state)
