"""The whole sample: every source read, every row checked, rows merged into targets."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from lightloom.config import TableSource
from lightloom.errors import SampleError
from lightloom.sample.clean import merge_rows
from lightloom.sample.rejects import BadCell, rejected_table, sample_error
from lightloom.sample.table import read_table


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
    rejected : pyarrow.Table
        One row for each cell that cannot be used: ``source``, ``row``, ``column`` (empty for a
        whole row), ``found``, ``expected``.
    hints : tuple of str
        Remarks on values that are possible but unlikely.
    """

    targets: pa.Table
    merged: pa.Table
    rejected: pa.Table
    hints: tuple[str, ...]


def read_sample(
    sources: Sequence[TableSource], on_bad_row: str = "stop", merge_radius_arcsec: float = 1.0
) -> Sample:
    """Read the sources and merge them into one list of distinct targets.

    The result does not depend on the order of the rows, but for the row numbers that it reports.

    Parameters
    ----------
    sources : sequence of TableSource
        Where the targets come from, at least one.
    on_bad_row : {"stop", "skip"}
        Whether rows that cannot be used are an error or are set aside.
    merge_radius_arcsec : float
        Rows within this distance are one target; with 0 only rows with the same id and the same
        coordinates are [arcsec].

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
    bad: list[BadCell] = []
    hints: list[str] = []
    tables: list[pa.Table] = []
    for source in sources:
        try:
            table = read_table(source)
        except SampleError as error:
            failures += str(error).split("\n")
            continue
        tables.append(table.rows)
        bad += table.bad
        hints += table.hints
    if not tables:
        raise sample_error(failures, bad, hints)
    merged = merge_rows(pa.concat_tables(tables), merge_radius_arcsec)
    bad += merged.bad
    place = {source.path: number for number, source in enumerate(sources)}
    bad.sort(key=lambda cell: (place[cell.source], cell.row))
    if failures or (bad and (on_bad_row == "stop" or not merged.targets.num_rows)):
        raise sample_error(failures, bad, hints)
    return Sample(merged.targets, merged.merged, rejected_table(bad), tuple(hints))
