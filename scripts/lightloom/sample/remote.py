"""Copies of remote tables: fetched once, and again when the server tells of another version."""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from lightloom.catalogs.storage import file_version, read_bytes
from lightloom.errors import ArchiveError, SampleError
from lightloom.storage import atomic_path, sha256_bytes, write_json

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Copy:
    """A copy of a remote file, and its SHA-256 digest in hexadecimal."""

    file: Path
    sha256: str


def update_copy(url: str, storage_options: Mapping[str, Any], folder: Path) -> Copy:
    """Return a copy of a remote file, fetched anew if its size, its ETag or its time has changed.

    If the server does not answer, an earlier copy is good enough, with a warning: a sample that was
    there yesterday is not lost because a server is down.

    Parameters
    ----------
    url : str
        http, https, s3 or any other address that fsspec opens.
    storage_options : mapping
        Options of the file system, as fsspec takes them.
    folder : pathlib.Path
        Where copies are kept.

    Returns
    -------
    Copy

    Raises
    ------
    SampleError
        If the file cannot be had and there is no copy.
    """
    place = folder / hashlib.sha256(url.encode()).hexdigest()[:16]
    file = place / (PurePosixPath(urlsplit(url).path).name or "table")
    record = place / "copy.json"
    known = json.loads(record.read_text()) if record.exists() and file.exists() else None
    try:
        version = file_version(url, storage_options)
        # A server that tells nothing of a version is asked for the content every time.
        if known is not None and version and version == known["version"]:
            return Copy(file, known["sha256"])
        content = read_bytes(url, storage_options)
    except ArchiveError as error:
        if known is None:
            raise SampleError(
                f"{error}; expected a table of targets, and there is no copy"
            ) from None
        _log.warning("%s; the copy that was fetched before is used", error)
        return Copy(file, known["sha256"])
    if content is None:
        raise SampleError(f"{url}: no such file, expected a table of targets")
    if len(content) != version.get("size", len(content)):
        raise SampleError(
            f"{url}: found {len(content)} bytes, expected {version['size']}, as the server has said"
        )
    copy = Copy(file, sha256_bytes(content))
    with atomic_path(file) as temporary:
        temporary.write_bytes(content)
    write_json(record, {"url": url, "version": version, "sha256": copy.sha256})
    return copy
