"""What a source that has to be asked for stands for: who is asked, for what, and how it is read.

Called whenever the Snakefile is read, so nothing heavy is imported here.
"""

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightloom.config_sources import (
    AskedSource,
    ListSource,
    LiteratureSource,
    ResolverSpec,
    TableSource,
    TapSource,
)
from lightloom.errors import SampleError

#: Raise it when the same question would be answered by another table.
QUERY_VERSION = 1

#: Services by kind of source, but for published samples, which name theirs.
_RESOLVERS = {
    "sdss_quasars": ("sdss",),
    "names": ("simbad", "sesame"),
    "tap": ("tap",),
    "ztf_ids": ("alerce",),
}

#: What an entry of a list should have been.
KNOWN = {
    "names": "a name that SIMBAD or Sesame knows",
    "ztf_ids": "the id of an object that ALeRCE knows",
}

#: Keys of a source that say how its table is read, not what is asked.
_READING = ("label", "cone", "moc", "max_targets")

#: Keys of a source that say how something is asked, or that `Query` holds otherwise.
_ASKING = ("entries", "path", "auth", "page_rows", "mode", "maxrec", "frame")


@dataclass(frozen=True)
class Query:
    """A question to services whose answer is a table.

    Attributes
    ----------
    source : AskedSource
        For a published sample with all that its list says of it.
    title : str
        How messages call it.
    resolvers : tuple of str
        Who is asked.
    asked : dict
        All that decides the answer, JSON-able.
    label : str or None
        Label of its targets.
    entries : tuple of (int, str)
        The entries of a list, each with its row.
    expected_rows : int or None
        How many rows there should be, as far as known.
    """

    source: AskedSource
    title: str
    resolvers: tuple[str, ...]
    asked: dict[str, Any]
    label: str | None
    entries: tuple[tuple[int, str], ...] = ()
    expected_rows: int | None = None

    @property
    def digest(self) -> str:
        """Identify the question (16 hexadecimal digits)."""
        text = json.dumps([QUERY_VERSION, self.asked], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def path(self) -> str:
        """What messages and source rows call the table of the answer."""
        return f"{self.title}:{self.digest}"

    def table(self, columns: Sequence[str], path: str) -> TableSource:
        """Return how the table of the answer is read.

        Parameters
        ----------
        columns : sequence of str
            Its columns.
        path : str
            What messages and source rows call it.
        """
        source = self.source
        reading: dict[str, Any] = {key: getattr(source, key) for key in _READING}
        if isinstance(source, TapSource):
            names = ("ra", "dec", "id", "label_column", "pmra", "pmdec", "parallax", "ref_epoch")
            reading |= {key: getattr(source, key) for key in (*names, "frame")}
        else:
            reading |= {"ra": "ra", "dec": "dec", "id": "name" if "name" in columns else None}
        return TableSource("table", path, unit="deg", **reading | {"label": self.label})


def query_of(source: AskedSource, resolvers: Mapping[str, ResolverSpec]) -> Query:
    """Return the question that a source stands for.

    Parameters
    ----------
    source : AskedSource
        A published sample with its service.
    resolvers : mapping of str to ResolverSpec
        The services, by name.

    Returns
    -------
    Query

    Raises
    ------
    SampleError
        If the file of a list is missing or empty, or an entry stands twice in it.
    """
    if isinstance(source, LiteratureSource):
        asked_of: tuple[str, ...] = (str(source.service),)
    else:
        asked_of = _RESOLVERS[source.kind]
    given = {
        key: value
        for key, value in dataclasses.asdict(source).items()
        if key not in (*_READING, *_ASKING)
    }
    entries = _entries(source) if isinstance(source, ListSource) else ()
    asked = {
        **given,
        "entries": [list(entry) for entry in entries],
        "endpoints": [resolvers[name].endpoint for name in asked_of if name in resolvers],
    }
    return Query(source, source.kind, asked_of, asked, source.label, entries)


def _entries(source: ListSource) -> tuple[tuple[int, str], ...]:
    if source.path is None:
        return tuple(enumerate(source.entries or (), start=1))
    path = Path(source.path)
    if not path.is_file():
        raise SampleError(f"{path}: no such file, expected a list with an entry in each line")
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise SampleError(f"{path}: found bytes that are not UTF-8 text") from None
    entries = [(row, line.strip()) for row, line in enumerate(lines, start=1)]
    entries = [(row, entry) for row, entry in entries if entry and not entry.startswith("#")]
    if not entries:
        raise SampleError(f"{path}: found no entry, expected one in each line")
    rows: dict[str, int] = {}
    for row, entry in entries:
        if entry in rows:
            raise SampleError(
                f"{path}, row {row}: found {entry!r}, also in row {rows[entry]}, expected it once"
            )
        if not entry.isprintable():
            raise SampleError(f"{path}, row {row}: found {entry!r}, expected printable text")
        rows[entry] = row
    return tuple(entries)
