"""Answers of services, frozen as tables of the results: asked for once, used ever after.

``<results>/sample/frozen/<digest of the question>.csv`` is the table, and the JSON beside it says
what was asked, of whom and when. Read whenever the Snakefile is, so nothing heavy is imported here.
"""

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightloom.config_sources import ResolverSpec, TableSource
from lightloom.errors import SampleError
from lightloom.sample.queries import KNOWN, Query

if TYPE_CHECKING:
    from lightloom.config import LocalService, Run

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FrozenTable:
    """The table of an answer.

    Attributes
    ----------
    source : TableSource
        How it is read.
    file : pathlib.Path
    sha256 : str
        Digest of its content.
    unresolved : tuple of tuple
        A `lightloom.sample.rejects.BadCell` as a tuple for each entry that nobody knew.
    """

    source: TableSource
    file: Path
    sha256: str
    unresolved: tuple[tuple[str, int, str, str, str], ...]


@dataclass(frozen=True)
class FrozenAnswers:
    """The answers of a run.

    Attributes
    ----------
    folder : pathlib.Path
        Where they are kept.
    resolvers : mapping of str to ResolverSpec
        The services, by name.
    services : sequence of LocalService
        What these need on this machine.
    state : pathlib.Path
        Folder shared by all that asks services.
    logs : pathlib.Path
        Folder for what local services print.
    """

    folder: Path
    resolvers: Mapping[str, ResolverSpec]
    services: "Sequence[LocalService]"
    state: Path
    logs: Path

    @classmethod
    def of(cls, run: "Run") -> "FrozenAnswers":
        """Return the answers of a run."""
        return cls(
            run.results / "sample" / "frozen",
            run.resolvers,
            run.resolver_services,
            run.services_folder,
            run.results / "logs" / "services",
        )

    def ensure(self, queries: Iterable[Query], *, refresh: bool = False) -> dict[str, str]:
        """Ask what has no frozen answer yet, and freeze it.

        Parameters
        ----------
        queries : iterable of Query
        refresh : bool
            Ask everything again. An answer that cannot be had anew stays as it was.

        Returns
        -------
        dict of str to str
            What went wrong, by the digest of the query.

        Raises
        ------
        ConfigError
            If a local service cannot be started.
        """
        waiting = {
            query.digest: query for query in queries if refresh or not self._record(query).exists()
        }
        if not waiting:
            return {}
        # Only a new question needs the clients.
        from lightloom.local_services import running_services
        from lightloom.resolvers.ask import ask
        from lightloom.resolvers.freezing import freeze

        wanted = {name for query in waiting.values() for name in query.resolvers}
        needed = [service for service in self.services if not wanted.isdisjoint(service.resolvers)]
        problems = {}
        with running_services(needed, self.logs):
            for digest, query in waiting.items():
                try:
                    listing = ask(query, self.resolvers, self.state)
                except SampleError as error:
                    problems[digest] = str(error)
                    continue
                freeze(query, listing, self._file(query))
                for remark in listing.remarks:
                    _log.warning("%s: %s", query.title, remark)
        return problems

    def table(self, query: Query) -> FrozenTable:
        """Return the frozen table of a query.

        Raises
        ------
        SampleError
            If it is not the one that was frozen.
        """
        file = self._file(query)
        record: dict[str, Any] = json.loads(self._record(query).read_text(encoding="utf-8"))
        found = hashlib.sha256(file.read_bytes()).hexdigest() if file.exists() else "no file"
        if found != record["sha256"]:
            raise SampleError(
                f"{file}: found {found}, expected the SHA-256 digest {record['sha256']} of the"
                f" answer to {query.title}; put it back, or ask again: lightloom freeze --refresh"
            )
        source = query.table(record["columns"], query.path)
        unresolved = tuple(
            (query.path, row, "entries", repr(entry), KNOWN[query.source.kind])
            for row, entry in record["unresolved"]
        )
        return FrozenTable(source, file, found, unresolved)

    def _file(self, query: Query) -> Path:
        return self.folder / f"{query.digest}.csv"

    def _record(self, query: Query) -> Path:
        return self._file(query).with_suffix(".json")
