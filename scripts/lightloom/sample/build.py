"""Write the sample and its shards, touching only the files whose content changes."""

import dataclasses
import logging
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pyarrow as pa
import pyarrow.csv

from lightloom.carry import keep_earlier
from lightloom.config import Run
from lightloom.plan import Plan, Shard, fingerprint, load_plan, plan_path, shard_path
from lightloom.printing import printable
from lightloom.sample.read import read_sample
from lightloom.sample.rejects import BadCell
from lightloom.sample.sources import FoundTables, set_aside
from lightloom.schema import EXTRA_COLUMNS, SAMPLE, SHARD, SOURCE_ROWS
from lightloom.sharding import content_hash, split
from lightloom.storage import write_if_changed, write_json, write_table

_log = logging.getLogger(__name__)


def build_sample(run: Run, tables: FoundTables, *, dry_run: bool) -> Plan:
    """Read the sample, cut it into shards and write both.

    Parameters
    ----------
    run : Run
        The validated configuration.
    tables : FoundTables
        Where the targets come from.
    dry_run : bool
        Leave wrong tables of an inbox where they are.

    Returns
    -------
    Plan

    Raises
    ------
    SampleError
        If the sample is wrong; nothing is written then.
    """
    settings = run.sample
    sample = read_sample(
        tables.sources,
        settings.on_bad_row,
        settings.merge_radius_arcsec,
        tables.files,
        [BadCell(*cell) for cell in tables.unresolved],
    )
    for hint in sample.hints:
        _log.warning("%s", printable(hint))
    for arrival, message in sample.wrong_arrivals.items():
        _log.warning("%s is left out: %s", printable(arrival), message)
    targets = sample.targets
    leaves = split(targets["_healpix_29"].to_numpy(), run.shards.max_targets)
    earlier = load_plan(run.results).shards if plan_path(run.results).exists() else {}
    shards: dict[str, Shard] = {}
    for leaf in leaves:
        rows = targets.slice(leaf.start, leaf.stop - leaf.start).select(SHARD.names)
        shard = Shard(leaf.name, rows.num_rows, content_hash(rows))
        path = shard_path(run.results, leaf.name)
        # Compared by content, so that a library that writes other bytes re-fetches nothing.
        if earlier.get(leaf.name) != shard:
            known = leaf.name in earlier
            keep_earlier(run.results, leaf.name, None if known else shard.content_hash)
        if earlier.get(leaf.name) != shard or not path.exists():
            write_table(path, rows, SHARD)
        shards[leaf.name] = shard
    names = np.repeat([leaf.name for leaf in leaves], [leaf.stop - leaf.start for leaf in leaves])
    folder = run.results / "sample"
    sharded = targets.drop_columns(["source_rows"]).append_column("shard", pa.array(names))
    _write_table_if_changed(folder / "sample.parquet", sharded, SAMPLE)
    rows = targets.select(SOURCE_ROWS.names)
    _write_table_if_changed(folder / "source_rows.parquet", rows, SOURCE_ROWS)
    _write_table_if_changed(folder / "extra_columns.parquet", sample.extra_columns, EXTRA_COLUMNS)
    _write_csv(folder / "merged.csv", sample.merged)
    _write_csv(folder / "rejected.csv", sample.rejected)
    for name in earlier.keys() - shards.keys():
        shard_path(run.results, name).unlink(missing_ok=True)
    states = dict(tables.states)
    if not dry_run:
        set_aside(sample.wrong_arrivals)
        for moved in sample.wrong_arrivals:
            del states[moved]
    write_json(
        plan_path(run.results),
        {
            "fingerprint": fingerprint(run, states),
            "wrong_arrivals": dry_run and bool(sample.wrong_arrivals),
            "shards": [dataclasses.asdict(shard) for shard in shards.values()],
        },
    )
    return Plan(run.results, shards)


def _write_table_if_changed(path: Path, table: pa.Table, schema: pa.Schema) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=path.parent) as scratch:
        new = Path(scratch) / path.name
        write_table(new, table, schema)
        write_if_changed(path, new.read_bytes())


def _write_csv(path: Path, table: pa.Table) -> None:
    buffer = pa.BufferOutputStream()
    pyarrow.csv.write_csv(table, buffer)
    write_if_changed(path, buffer.getvalue().to_pybytes())
