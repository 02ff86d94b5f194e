"""Published samples: frozen as tables of the repository, or listed by a service."""

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from lightloom.config_schema import SCHEMAS
from lightloom.config_sources import LiteratureSource, ResolverSpec, TableSource
from lightloom.errors import SampleError
from lightloom.sample.queries import Query, query_of
from lightloom.suggest import did_you_mean

#: Folder of the frozen tables and of their list.
FROZEN = SCHEMAS.parent / "samples"

#: Keys of a source that say what is asked.
_ASKED = ("service", "catalogue", "where")

#: Year, journal, volume, a letter for letters and the like, page, author.
_BIBCODE = re.compile(r"\d{4}([A-Za-z.&]{5})([\d.]{4})([A-Za-z.\d])([\d.]{4})[A-Z:.]")


@dataclasses.dataclass(frozen=True)
class Published:
    """A published sample.

    Attributes
    ----------
    name : str
        Its name, or the bibcode of a publication that is not in the list.
    source : LiteratureSource
        Named by its bibcode, with all that has to be asked.
    label : str
        Label of its targets.
    expected_rows : int or None
        How many rows it should have, as far as known.
    file : pathlib.Path or None
        Where its frozen table is, if there is one; None if the source has a question of its own.
    """

    name: str
    source: LiteratureSource
    label: str
    expected_rows: int | None
    file: Path | None

    def frozen_table(self) -> TableSource | None:
        """Return how the frozen table is read: as ``literature:<name>``, wherever its file is."""
        if self.file is None or not self.file.exists():
            return None
        with self.file.open(encoding="utf-8") as lines:
            columns = lines.readline().replace('"', "").strip().split(",")
        return self.query({}).table(columns, f"literature:{self.name}")

    def query(self, resolvers: Mapping[str, ResolverSpec]) -> Query:
        """Return the question for its objects.

        Parameters
        ----------
        resolvers : mapping of str to ResolverSpec
            The services, by name.
        """
        return dataclasses.replace(
            query_of(self.source, resolvers),
            title=f"literature:{self.name}",
            label=self.label,
            expected_rows=self.expected_rows,
        )


def published(source: LiteratureSource, folder: Path = FROZEN) -> Published:
    """Look a published sample up.

    Parameters
    ----------
    source : LiteratureSource
        Its name or bibcode; what it says itself comes before what the list says.
    folder : pathlib.Path
        Where ``literature.yaml`` and the tables are.

    Returns
    -------
    Published

    Raises
    ------
    SampleError
        If the name is neither in the list nor a bibcode.
    """
    known = yaml.safe_load((folder / "literature.yaml").read_text(encoding="utf-8"))
    by_bibcode = {entry["bibcode"]: name for name, entry in known.items()}
    name = by_bibcode.get(source.name, source.name)
    if name not in known and not _BIBCODE.fullmatch(name):
        nearest = did_you_mean(source.name, [*known, *by_bibcode])
        raise SampleError(
            f"literature: found {source.name!r}{nearest or ','} expected one of"
            f" {', '.join(sorted(known))}, or a bibcode"
        )
    entry: dict[str, Any] = known.get(name, {"bibcode": name, "title": name})
    given = {key: getattr(source, key) for key in _ASKED if getattr(source, key) is not None}
    # Another question than that of the list has another answer.
    asked = given if given else {key: entry[key] for key in _ASKED if key in entry}
    full = dataclasses.replace(source, name=entry["bibcode"], **{"service": "ned", **asked})
    return Published(
        name,
        full,
        source.label or entry["title"],
        None if given else entry.get("rows"),
        None if given else folder / f"{name}.csv",
    )


def vizier_catalogue(bibcode: str) -> str | None:
    """Return the catalogue of VizieR with the tables of a publication, None for no bibcode.

    Examples
    --------
    >>> vizier_catalogue("2022ApJ...933..180G")
    'J/ApJ/933/180'
    """
    found = _BIBCODE.fullmatch(bibcode)
    if found is None:
        return None
    journal, volume, letter, page = (part.strip(".") for part in found.groups())
    return f"J/{journal.replace('&', '+')}/{volume}/{letter}{page}"
