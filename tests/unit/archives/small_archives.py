"""Small archives: a catalogue entry, files as it describes them, and what is found in them."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cdshealpix.nested
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from astropy import units as u
from astropy.coordinates import Latitude, Longitude

from lightloom.archives import get_archive
from lightloom.config import ArchiveSpec, load_run
from lightloom.schema import SHARD

REPOSITORY = Path(__file__).parents[3]
CATALOGUE = yaml.safe_load((REPOSITORY / "config" / "archives.yaml").read_text())["catalogue"]
#: Files that archives have made; not part of the project.
REAL = REPOSITORY.parent / "shared" / "real"

#: Where services would keep what their jobs share; catalogues keep nothing.
STATE = Path("nowhere")

#: An entry to start from: flat files, one band, AB magnitudes.
ENTRY: dict[str, Any] = {
    "module": "hats_lightcurve",
    "title": "A survey",
    "release": "DR1",
    "endpoint": "nowhere",
    "layout": "hats",
    "query_version": 1,
    "radius_arcsec": 1.0,
    "epoch_jyear": 2016.0,
    "columns": {
        "ra": "ra",
        "dec": "dec",
        "object_id": "id",
        "time": "mjd",
        "value": "value",
        "error": "error",
    },
    "bands": {"r": {"name": "r"}},
    "units": {"native": "mag", "mag_system": "AB"},
    "time": {"scale": "utc", "ref": "geocentre"},
    "views": {},
    "limits": {"retries": 0, "threads": 1, "mem_mb": 1000},
    "citation": {"bibcode": "2020AJ....000....1X", "acknowledgement": "A survey"},
}


def spec_of(entry: Mapping[str, Any], **changes: Any) -> ArchiveSpec:
    """Check an entry with some options replaced, as a run does."""
    source = {"kind": "table", "path": "x.csv", "ra": "ra", "dec": "dec"}
    config = {
        "sample": {"sources": [source]},
        "archives": {"survey": {"enabled": True}},
        "catalogue": {"survey": copy.deepcopy({**entry, **changes})},
    }
    return load_run(config).archives["survey"]


def shipped_entry(name: str, endpoint: str | Path, **changes: Any) -> dict[str, Any]:
    """The entry of an archive of the project, for files elsewhere."""
    return {**CATALOGUE[name], "endpoint": str(endpoint), "storage_options": {}, **changes}


def shard_of(ra_deg: Sequence[float], dec_deg: Sequence[float]) -> pa.Table:
    """Targets without motion."""
    n_targets = len(ra_deg)
    columns = {
        "objectid": pa.array([f"target-{number}" for number in range(n_targets)]),
        "ra_deg": pa.array(ra_deg, pa.float64()),
        "dec_deg": pa.array(dec_deg, pa.float64()),
        "_healpix_29": pa.array(cells(ra_deg, dec_deg, 29)),
    }
    return pa.table(
        {name: columns.get(name, pa.nulls(n_targets, pa.float64())) for name in SHARD.names}
    )


def cells(ra_deg: Any, dec_deg: Any, order: int) -> np.ndarray:
    position = Longitude(np.asarray(ra_deg), u.deg), Latitude(np.asarray(dec_deg), u.deg)
    return cdshealpix.nested.lonlat_to_healpix(*position, order).astype(np.int64)


def write_hats(root: Path, table: pa.Table, *, ra: str = "ra", dec: str = "dec") -> Path:
    """Write a HATS catalogue whose partitions are cells of order 3."""
    root.mkdir(parents=True)
    cell = cells(table[ra].to_numpy().astype(float), table[dec].to_numpy().astype(float), 3)
    for pixel in np.unique(cell):
        folder = root / "dataset" / "Norder=3" / "Dir=0"
        folder.mkdir(parents=True, exist_ok=True)
        pq.write_table(table.filter(pa.array(cell == pixel)), folder / f"Npix={pixel}.parquet")
    (root / "hats.properties").write_text("obs_collection=small\ndataproduct_type=object\n")
    lines = ["Norder,Npix", *(f"3,{pixel}" for pixel in np.unique(cell)), ""]
    (root / "partition_info.csv").write_text("\n".join(lines))
    return root


def write_hive(root: Path, table: pa.Table) -> Path:
    """Write a catalogue in folders of cells of order 5."""
    cell = cells(table["ra"].to_numpy(), table["dec"].to_numpy(), 5)
    for pixel in np.unique(cell):
        folder = root / f"healpix_k5={pixel}"
        folder.mkdir(parents=True)
        pq.write_table(table.filter(pa.array(cell == pixel)), folder / "part0.parquet")
    (root / "_metadata").touch()
    return root


def search(
    spec: ArchiveSpec, ra_deg: Sequence[float], dec_deg: Sequence[float]
) -> tuple[pa.Table, pd.DataFrame]:
    """Ask an archive for targets; return its rows and the sources it found."""
    archive = get_archive(spec, STATE)
    shard = shard_of(ra_deg, dec_deg)
    answers = [archive.answer(shard, request) for request in archive.plan(shard).requests]
    rows = pa.concat_tables([answer.rows for answer in answers])
    sources = pa.concat_tables([answer.sources for answer in answers]).to_pandas()
    return rows.sort_by([("target", "ascending"), ("band", "ascending")]), sources


def ambiguous(spec: ArchiveSpec, rows: pa.Table) -> set[int]:
    """Targets of which an observation holds two sources."""
    competing = get_archive(spec, STATE).competing_sources(rows).to_pandas()
    counts = competing.groupby(["target", "observation"])["survey_object_id"].nunique()
    return {target for (target, _), count in counts.items() if count > 1}
