"""The targets whose light curves are drawn."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq


@dataclass(frozen=True)
class Target:
    """A target and the rows of the ledger about it (``LEDGER``)."""

    objectid: str
    ra_deg: float
    dec_deg: float
    shard: str
    states: pa.Table


def richest_targets(*, sample_path: Path, ledger_path: Path, n_targets: int) -> list[Target]:
    """Return the targets with most light-curve rows, most first (then by objectid).

    Parameters
    ----------
    sample_path, ledger_path : pathlib.Path
        Tables in the ``SAMPLE`` and ``LEDGER`` schemas.
    n_targets : int
        Most targets to return; a smaller sample gives fewer.

    Returns
    -------
    list of Target
    """
    with pq.ParquetFile(ledger_path) as file:
        batches = file.iter_batches(columns=["objectid", "n_rows"])
        # A target's rows of the ledger may lie in two batches: their sums are summed again.
        partial = [_sum_rows(pa.table(batch)) for batch in batches]
    ranking = _sum_rows(pa.concat_tables(partial)).sort_by(
        [("n_rows", "descending"), ("objectid", "ascending")]
    )
    chosen = ranking["objectid"].slice(0, n_targets).combine_chunks()
    is_chosen = pc.field("objectid").isin(chosen)
    ledger = pq.read_table(ledger_path, filters=is_chosen)
    sample = pq.read_table(
        sample_path, columns=["objectid", "ra_deg", "dec_deg", "shard"], filters=is_chosen
    )
    places = {row["objectid"]: row for row in sample.to_pylist()}
    return [
        Target(**places[objectid], states=ledger.filter(pc.field("objectid") == objectid))
        for objectid in chosen.to_pylist()
    ]


def _sum_rows(table: pa.Table) -> pa.Table:
    sums = table.group_by("objectid").aggregate([("n_rows", "sum")])
    return sums.rename_columns({"n_rows_sum": "n_rows"})
