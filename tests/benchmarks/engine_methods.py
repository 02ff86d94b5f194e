"""Searching with Lightloom: as the workflow does, and with the catalogue engine alone."""

import json
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from methods import Found, Question, bare, core_columns

from lightloom.catalogs.layouts import CatalogSpec, open_catalog
from lightloom.catalogs.planning import plan_searches
from lightloom.catalogs.search import search_partition
from lightloom.config import DaskConfig
from lightloom.fetch import fetch_shard

#: What a fetch job has by default.
_THREADS, _MEM_MB = 2, 2000


def workflow(question: Question) -> Found:
    """Fetch a shard as the workflow's job does: Dask client, calibration, part and status."""
    # A folder of its own: a fetch goes on with what an earlier one has left beside its part.
    folder = Path(tempfile.mkdtemp(dir=question.scratch))
    part, status = folder / "part.parquet", folder / "part.status.json"
    fetch_shard(
        shard_path=question.shard,
        part_path=part,
        status_path=status,
        spec=question.spec,
        key={},
        dask_config=DaskConfig(),
        threads=_THREADS,
        mem_mb=_MEM_MB,
        allow_partial=False,
    )

    def rows() -> pd.DataFrame:
        columns = ["objectid", "band", "time_mjd", "native_value", "match_arcsec"]
        found = pq.read_table(part, columns=columns).to_pandas()
        found["objectid"] = found["objectid"].astype(np.int64)
        return found.set_axis(["target", "band", "time", "value", "separation_arcsec"], axis=1)

    return Found(rows, json.loads(status.read_text())["reads"])


def bare_engine(question: Question) -> Found:
    """Search the catalogue's partitions one after the other, in one thread."""
    spec = question.spec
    targets = question.targets
    catalogue = CatalogSpec(
        endpoint=spec.endpoint,
        layout=spec.layout,
        ra=spec.columns["ra"],
        dec=spec.columns["dec"],
        object_id=spec.columns["object_id"],
        partition=spec.columns.get("partition", ""),
    )
    searches, _ = plan_searches(
        open_catalog(catalogue), targets["ra"], targets["dec"], spec.radius_arcsec
    )
    columns = core_columns(spec)
    results = [
        search_partition(catalogue, search, spec.radius_arcsec, columns) for search in searches
    ]

    def rows() -> pd.DataFrame:
        names = [bare(spec.columns[role]) for role in ("band", "time", "value")]
        kept = ["target", *names, "match_arcsec"]
        found = pd.concat([result.table.select(kept).to_pandas() for result in results])
        found = found.set_axis(["target", "band", "time", "value", "separation_arcsec"], axis=1)
        bands = {int(code): band["name"] for code, band in spec.bands.items()}
        return found.assign(
            target=targets["number"].to_numpy()[found["target"]], band=found["band"].map(bands)
        )

    reads = [result.reads for result in results]
    return Found(
        rows,
        {
            "requests": sum(read.requests for read in reads),
            "bytes": sum(read.bytes for read in reads),
            "rows": sum(read.rows for read in reads),
        },
    )
