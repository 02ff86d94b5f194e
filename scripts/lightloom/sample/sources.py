"""The tables that the sources of a sample stand for, and what tells that one of them has changed.

Called whenever the Snakefile is read, so nothing heavy is imported here.
"""

import dataclasses
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightloom.config import SampleConfig
from lightloom.config_sources import (
    AskedSource,
    LiteratureSource,
    ResolverSpec,
    SampleSource,
    TableSource,
)
from lightloom.errors import SampleError
from lightloom.sample.frozen import FrozenAnswers
from lightloom.sample.queries import Query, query_of

#: A table, its file and what tells of its content; or what has to be asked first.
_Place = tuple[TableSource, Path, Any] | Query

#: Folder of an inbox into which wrong tables are moved.
FAILED = "failed"

#: Of the name of a wrong table the name of its error has so much: no name has more than 255 bytes.
_NAME_BYTES = 240

#: Names of files that are still being written.
_UNFINISHED = (".tmp", ".part", ".partial", ".filepart", ".crdownload", "~")


@dataclass(frozen=True)
class FoundTables:
    """The tables of a sample.

    Attributes
    ----------
    sources : tuple of TableSource
        One for each table; those of an inbox in the order in which they arrived.
    files : dict of str to pathlib.Path
        Where a table is on this machine, by its path, if not there.
    states : dict of str to object
        What changes, by the path of a table, when its content does; JSON-able.
    unresolved : tuple of tuple
        A `lightloom.sample.rejects.BadCell` as a tuple for each name or id that no service knows.
    """

    sources: tuple[TableSource, ...]
    files: dict[str, Path]
    states: dict[str, Any]
    unresolved: tuple[tuple[str, int, str, str, str], ...] = ()


def find_tables(sample: SampleConfig, copies: Path, answers: FrozenAnswers) -> FoundTables:
    """Find the tables of a sample; copies of remote tables are brought up to date.

    Services are asked for what has no frozen answer yet, and for nothing else.

    Parameters
    ----------
    sample : SampleConfig
    copies : pathlib.Path
        Folder for the copies.
    answers : FrozenAnswers
        The answers of services.

    Returns
    -------
    FoundTables

    Raises
    ------
    SampleError
        If an inbox is missing, a published sample is not known, a service does not answer and
        there is no frozen table, or a remote table cannot be had and there is no copy of it. The
        message lists all of them.
    """
    tables: list[TableSource] = []
    files: dict[str, Path] = {}
    states: dict[str, Any] = {}
    unresolved: list[tuple[str, int, str, str, str]] = []
    problems: list[str] = []
    places: list[_Place] = []
    for source in sample.sources:
        try:
            places += _places(source, copies, answers)
        except SampleError as error:
            problems.append(str(error))
    failures = answers.ensure(place for place in places if isinstance(place, Query))
    problems += failures.values()
    for place in places:
        if isinstance(place, Query):
            if place.digest in failures:
                continue
            frozen = answers.table(place)
            unresolved += frozen.unresolved
            place = (frozen.source, frozen.file, frozen.sha256)
        table, file, state = place
        tables.append(table)
        files[table.path] = file
        states[table.path] = state
    for source in sample.sources:
        if source.moc is not None:
            states[source.moc] = _state(Path(source.moc))
    if problems:
        raise SampleError("\n".join(problems))
    return FoundTables(tuple(tables), files, states, tuple(unresolved))


def queries(sample: SampleConfig, resolvers: Mapping[str, ResolverSpec]) -> list[Query]:
    """Return what has to be asked for, in the order of the sources.

    Parameters
    ----------
    sample : SampleConfig
    resolvers : mapping of str to ResolverSpec
        The services, by name.

    Raises
    ------
    SampleError
        If a published sample is not known, or a list cannot be read.
    """
    asked = [source for source in sample.sources if not isinstance(source, TableSource)]
    places = [_asked_place(source, resolvers) for source in asked]
    return [place for place in places if isinstance(place, Query)]


def arrivals(folder: Path) -> dict[Path, tuple[int, int]]:
    """Return the tables in an inbox in the order in which they arrived.

    Hidden files, folders and files that are still being written by their name are none.

    Returns
    -------
    dict of pathlib.Path to tuple of int
        Size [bytes] and time of the last change [ns] of each table.

    Raises
    ------
    SampleError
        If there is no such folder.
    """
    if not folder.is_dir():
        raise SampleError(f"{folder}: no such folder, expected an inbox of tables; make it")
    found = {}
    for path in folder.iterdir():
        if path.name.startswith(".") or path.name.endswith(_UNFINISHED) or not path.is_file():
            continue
        # Whoever owns the folder may take a table away at any time.
        with suppress(FileNotFoundError):
            status = path.stat()
            found[path] = (status.st_size, status.st_mtime_ns)
    return dict(sorted(found.items(), key=lambda item: (item[1][1], item[0].name)))


def set_aside(messages: Mapping[str, str]) -> None:
    """Move wrong tables of an inbox into its folder ``failed``, each with its error beside it.

    Parameters
    ----------
    messages : mapping of str to str
        What is wrong, by the path of the table.
    """
    for name, message in messages.items():
        path = Path(name)
        folder = path.parent / FAILED
        folder.mkdir(exist_ok=True)
        place, number = folder / path.name, 1
        while place.exists():
            number += 1
            place = folder / f"{path.stem}-{number}{path.suffix}"
        # The error first: killed in between, the table is found again.
        error = os.fsdecode(os.fsencode(place.name)[:_NAME_BYTES]) + ".error.txt"
        place.with_name(error).write_text(message + "\n", encoding="utf-8")
        path.rename(place)


def _asked_place(source: AskedSource, resolvers: Mapping[str, ResolverSpec]) -> _Place:
    if not isinstance(source, LiteratureSource):
        return query_of(source, resolvers)
    # Only published samples need the reader of YAML and their list.
    from lightloom.sample.literature import published

    sample = published(source)
    table = sample.frozen_table()
    if table is None or sample.file is None:
        return sample.query(resolvers)
    return table, sample.file, _state(sample.file)


def _places(source: SampleSource, copies: Path, answers: FrozenAnswers) -> list[_Place]:
    if not isinstance(source, TableSource):
        return [_asked_place(source, answers.resolvers)]
    if source.kind == "inbox":
        return [
            (dataclasses.replace(source, path=str(path)), path, list(state))
            for path, state in arrivals(Path(source.path)).items()
        ]
    if "://" in source.path:
        # Only remote tables need a network.
        from lightloom.sample.remote import update_copy

        copy = update_copy(source.path, source.storage_options, copies)
        return [(source, copy.file, copy.sha256)]
    return [(source, Path(source.path), _state(Path(source.path)))]


def _state(path: Path) -> list[int] | None:
    if not path.exists():
        return None
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]
