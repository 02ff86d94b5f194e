"""Searching with Lightloom: as the workflow does, and with the catalogue engine alone."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from methods import Found, Question, core_columns, light_curves

from lightloom.catalogs.join import search_joined
from lightloom.catalogs.layouts import CatalogSpec, open_catalog
from lightloom.catalogs.planning import Search, plan_searches
from lightloom.catalogs.search import SearchResult, search_partition
from lightloom.config import ArchiveSpec, DaskConfig
from lightloom.fetch import fetch_shard


def workflow(question: Question) -> Found:
    """Fetch a shard as the workflow's job does: Dask client, calibration, part and status.

    It has the cores of the archive's entry, one by default; the rivals have all.
    """
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
        threads=question.spec.limits["threads"],
        mem_mb=question.spec.limits["mem_mb"],
        allow_partial=False,
    )

    def rows() -> pd.DataFrame:
        columns = ["objectid", "band", "time_mjd", "native_value", "match_arcsec"]
        found = pq.read_table(part, columns=columns).to_pandas()
        found["objectid"] = found["objectid"].astype(np.int64)
        return found.set_axis(["target", "band", "time", "value", "separation_arcsec"], axis=1)

    document = json.loads(status.read_text())
    return Found(rows, {**document["reads"], "part_sha256": document["part"]["sha256"]})


def bare_engine(question: Question) -> Found:
    """Search the catalogue's partitions one after the other, in one thread."""
    spec = question.spec
    targets = question.targets
    catalogue = _catalog(spec, spec.endpoint, spec.layout, spec.columns)
    searches, _ = plan_searches(
        open_catalog(catalogue), targets["ra"], targets["dec"], spec.radius_arcsec
    )
    results = [_search(spec, catalogue, search) for search in searches]

    def rows() -> pd.DataFrame:
        found = pd.concat([result.table.to_pandas() for result in results])
        found = found.rename(columns={"match_arcsec": "separation_arcsec"})
        return light_curves(
            found.assign(target=targets["number"].to_numpy()[found["target"]]), spec
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


def _catalog(
    spec: ArchiveSpec, endpoint: str, layout: str, columns: Mapping[str, str]
) -> CatalogSpec:
    return CatalogSpec(
        endpoint=endpoint,
        layout=layout,
        ra=columns["ra"],
        dec=columns["dec"],
        object_id=columns["object_id"],
        partition=columns.get("partition", ""),
        storage_options=spec.storage_options,
    )


def _search(spec: ArchiveSpec, catalogue: CatalogSpec, search: Search) -> SearchResult:
    columns = core_columns(spec)
    detections = spec.detections
    if detections is None:
        return search_partition(catalogue, search, spec.radius_arcsec, columns)
    return search_joined(
        catalogue,
        _catalog(spec, detections["endpoint"], detections["layout"], detections["columns"]),
        search,
        spec.radius_arcsec,
        join_radius_arcsec=detections["radius_arcsec"],
        object_columns=[catalogue.object_id],
        columns=[name for name in columns if name != catalogue.object_id],
    )
