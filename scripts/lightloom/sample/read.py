"""The whole sample: every source read, every row checked, rows merged into targets."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import pyarrow as pa

from lightloom.config_sources import TableSource
from lightloom.errors import SampleError
from lightloom.sample.clean import Merged, merge_rows
from lightloom.sample.rejects import BadCell, rejected_table, sample_error
from lightloom.sample.table import ROWS, TableRows, read_table


@dataclass(frozen=True)
class Sample:
    """Distinct targets and how they came about.

    Attributes
    ----------
    targets : pyarrow.Table
        One row per target: the columns of ``lightloom.schema.SAMPLE`` without ``shard``, sorted by
        ``_healpix_29``, then by ``objectid``.
    merged : pyarrow.Table
        One row for each row that was merged into a target: ``objectid`` and ``source_row`` of the
        target, ``merged_id``, ``merged_source_row`` and the separation [arcsec].
    extra_columns : pyarrow.Table
        The further columns of each row, in the schema ``EXTRA_COLUMNS``.
    rejected : pyarrow.Table
        One row for each cell that cannot be used: ``source``, ``row``, ``column`` (empty for a
        whole row), ``found``, ``expected``.
    hints : tuple of str
        Remarks on values that are possible but unlikely.
    wrong_arrivals : dict of str to str
        Tables of inboxes that were left out, by path, and what is wrong with each.
    """

    targets: pa.Table
    merged: pa.Table
    extra_columns: pa.Table
    rejected: pa.Table
    hints: tuple[str, ...]
    wrong_arrivals: dict[str, str]


def read_sample(
    sources: Sequence[TableSource],
    on_bad_row: str = "stop",
    merge_radius_arcsec: float = 1.0,
    files: Mapping[str, Path] = MappingProxyType({}),
    unresolved: Sequence[BadCell] = (),
) -> Sample:
    """Read the sources and merge them into one list of distinct targets.

    The result does not depend on the order of the rows, but for the row numbers that it reports.

    Parameters
    ----------
    sources : sequence of TableSource
        Where the targets come from. A wrong table of an inbox is left out, and so is the later one
        of two that have an id at different places.
    on_bad_row : {"stop", "skip"}
        Whether rows that cannot be used are an error or are set aside.
    merge_radius_arcsec : float
        Rows within this distance are one target; with 0 only rows with the same id and the same
        coordinates are [arcsec].
    files : mapping of str to pathlib.Path
        Where a table is, by its path, if not there.
    unresolved : sequence of BadCell
        Entries of lists that never became rows.

    Returns
    -------
    Sample

    Raises
    ------
    SampleError
        If a file cannot be used, if there is a bad row and ``on_bad_row`` is ``stop``, or if no
        good row is left. The message lists all of them, with row, column, what was found and what
        was expected.
    """
    failures: list[str] = []
    wrong_arrivals: dict[str, str] = {}
    tables: dict[str, TableRows] = {}
    in_inbox: list[str] = []
    for source in sources:
        path = source.path
        try:
            table = read_table(source, files.get(path, Path(path)))
            if table.bad and source.kind == "inbox" and on_bad_row == "stop":
                raise sample_error((), table.bad, table.hints)
        except SampleError as error:
            if source.kind == "inbox":
                wrong_arrivals[path] = str(error)
            else:
                failures += str(error).split("\n")
            continue
        in_inbox += [path] if source.kind == "inbox" else []
        # The same table may stand for several sources, with other columns or cuts.
        tables[path] = _together(tables[path], table) if path in tables else table
    merged = _merge(tables, merge_radius_arcsec)
    while late := _latest_with_conflict(in_inbox, merged.bad):
        cells = [cell for cell in merged.bad if cell.source == late]
        wrong_arrivals[late] = str(sample_error((), cells, ()))
        del tables[late]
        in_inbox.remove(late)
        merged = _merge(tables, merge_radius_arcsec)
    bad = [cell for table in tables.values() for cell in table.bad]
    bad += [*merged.bad, *unresolved]
    hints = [hint for table in tables.values() for hint in table.hints]
    place = {source.path: number for number, source in enumerate(sources)}
    bad.sort(key=lambda cell: (place[cell.source], cell.row))
    if not merged.targets.num_rows and not bad and not failures:
        failures.append("found no target, expected at least one in the sources together")
        failures += wrong_arrivals.values()
    if failures or (bad and (on_bad_row == "stop" or not merged.targets.num_rows)):
        raise sample_error(failures, bad, hints)
    return Sample(
        merged.targets,
        merged.merged,
        merged.extra_columns,
        rejected_table(bad),
        tuple(hints),
        wrong_arrivals,
    )


def _together(first: TableRows, second: TableRows) -> TableRows:
    rows = pa.concat_tables([first.rows, second.rows])
    return TableRows(rows, first.bad + second.bad, first.hints + second.hints)


def _merge(tables: Mapping[str, TableRows], merge_radius_arcsec: float) -> Merged:
    rows = [ROWS.empty_table(), *(table.rows for table in tables.values())]
    return merge_rows(pa.concat_tables(rows), merge_radius_arcsec)


def _latest_with_conflict(in_inbox: Sequence[str], bad: Iterable[BadCell]) -> str | None:
    """Return the last table of an inbox with an id that stands elsewhere as well."""
    conflicting = {cell.source for cell in bad}
    return next((path for path in reversed(in_inbox) if path in conflicting), None)
