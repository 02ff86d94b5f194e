"""Freezing on purpose: the sources of a run anew, or a published sample for all runs."""

import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from lightloom.config import Run
from lightloom.config_sources import LiteratureSource
from lightloom.errors import SampleError
from lightloom.sample.frozen import FrozenAnswers
from lightloom.sample.literature import published
from lightloom.sample.queries import Query
from lightloom.sample.sources import queries
from lightloom.storage import atomic_path


def freeze_sources(run: Run, *, refresh: bool) -> list[str]:
    """Freeze the answers to all sources of a run that have to be asked for.

    Parameters
    ----------
    run : Run
    refresh : bool
        Ask again for what is frozen already.

    Returns
    -------
    list of str
        A line for each of them.

    Raises
    ------
    SampleError
        If a service does not answer; what was frozen before stays.
    """
    answers = FrozenAnswers.of(run)
    asked = queries(run.sample, answers.resolvers)
    problems = answers.ensure(asked, refresh=refresh)
    if problems:
        raise SampleError("\n".join(problems.values()))
    return [_line(query, answers.table(query).file) for query in asked]


def freeze_published(
    run: Run, names: Sequence[str], folder: Path, *, refresh: bool
) -> Iterator[str]:
    """Freeze published samples as tables of the project.

    Parameters
    ----------
    run : Run
        Its services are asked.
    names : sequence of str
        Names or bibcodes.
    folder : pathlib.Path
        Folder of the tables and of their list.
    refresh : bool
        Ask again for what is frozen already.

    Yields
    ------
    str
        A line for each of them.

    Raises
    ------
    SampleError
        If a name is not known, or a service does not answer; what was frozen before stays.
    """
    for name in names:
        sample = published(LiteratureSource("literature", name), folder)
        file = folder / f"{sample.name}.csv"
        if file.exists() and not refresh:
            yield f"{sample.name}: {file} is there already"
            continue
        query = sample.query(run.resolvers)
        answers = FrozenAnswers.of(run)
        with TemporaryDirectory() as scratch:
            fresh = FrozenAnswers(
                Path(scratch), answers.resolvers, answers.services, answers.state, answers.logs
            )
            for problem in fresh.ensure([query]).values():
                raise SampleError(problem)
            found = fresh.table(query).file
            for suffix in (".csv", ".json"):
                with atomic_path(file.with_suffix(suffix)) as temporary:
                    shutil.copyfile(found.with_suffix(suffix), temporary)
        yield _line(query, file)


def _line(query: Query, file: Path) -> str:
    record = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
    unknown = f", {len(record['unresolved'])} unknown" if record["unresolved"] else ""
    when = f"asked on {record['retrieved']}"
    return f"{query.title}: {record['rows']} targets{unknown}, {when}, {file}"
