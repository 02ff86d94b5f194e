"""A small MAST: light-curve files, the portal's tables of them, and Hubble's variables."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from small_archives import CATALOGUE, spec_of

from lightloom.config import ArchiveSpec
from written_fits import write_fits

#: Columns of the portal's tables that searches filter by or that come back.
OBSERVATION = {
    "obsid": pa.int64(),
    "project": pa.string(),
    "dataproduct_type": pa.string(),
    "target_name": pa.string(),
    "s_ra": pa.float64(),
    "s_dec": pa.float64(),
    "provenance_name": pa.string(),
    "t_exptime": pa.float64(),
    "sequence_number": pa.int32(),
}
PRODUCT = {
    "obsID": pa.int64(),
    "dataURI": pa.string(),
    "productFilename": pa.string(),
    "description": pa.string(),
    "size": pa.int64(),
    "file": pa.string(),
    "cloud_key": pa.string(),
    "cloud_access": pa.string(),
}


@dataclass
class File:
    """A light curve of one sector and what the portal says of it.

    Whether MAST's portal has a column ``cloud_access``, as its other services do, is unconfirmed.
    """

    number: int
    ra_deg: float
    dec_deg: float
    sector: int = 14
    author: str = "SPOC"
    cadence_s: float = 120.0
    name: str = ""
    in_cloud: bool = False
    cloud_access: str | None = None
    header: dict[str, Any] = field(default_factory=dict)
    columns: dict[str, Any] = field(default_factory=dict)

    @property
    def file_name(self) -> str:
        suffix = "a_fast-lc" if self.cadence_s < 60 else "s_lc"
        spoc = f"tess2019-s{self.sector:04d}-{self.number:016d}-0150-{suffix}.fits"
        return self.name or spoc

    @property
    def uri(self) -> str:
        collection = "TESS/product" if self.author == "SPOC" else f"HLSP/{self.author.lower()}"
        return f"mast:{collection}/{self.file_name}"

    @property
    def path(self) -> str:
        if not self.in_cloud:
            return f"files/{self.file_name}"
        digits = f"{self.number:016d}"
        folders = "/".join(digits[start : start + 4] for start in range(0, 16, 4))
        return f"stpubdata/tess/public/tid/s{self.sector:04d}/{folders}/{self.file_name}"


def write_mast(folder: Path, files: Sequence[File]) -> Path:
    """Write files and the portal's tables."""
    observations, products = [], []
    for obsid, file in enumerate(files, start=1):
        path = write_fits(folder / file.path, file.header, **file.columns)
        observations.append(
            {
                "obsid": obsid,
                "project": "TESS",
                "dataproduct_type": "timeseries",
                "target_name": str(file.number),
                "s_ra": file.ra_deg,
                "s_dec": file.dec_deg,
                "provenance_name": file.author,
                "t_exptime": file.cadence_s,
                "sequence_number": file.sector,
            }
        )
        light_curve = {
            "obsID": obsid,
            "dataURI": file.uri,
            "productFilename": file.file_name,
            "description": "Light curves",
            "size": path.stat().st_size,
            "file": file.path,
            "cloud_key": None,
            "cloud_access": file.cloud_access,
        }
        report = {"dataURI": f"{file.uri}.pdf", "productFilename": f"{file.file_name}.pdf"}
        products += [light_curve, light_curve | report]
    pq.write_table(
        pa.Table.from_pylist(observations, pa.schema(OBSERVATION)), folder / "observations.parquet"
    )
    pq.write_table(pa.Table.from_pylist(products, pa.schema(PRODUCT)), folder / "products.parquet")
    return folder


def service_spec(name: str, endpoint: str, copies: str = "", **options: Any) -> ArchiveSpec:
    """The entry of an archive of the project at another place, with quick limits."""
    return spec_of(service_entry(name, endpoint, copies, **options))


def service_entry(name: str, endpoint: str, copies: str = "", **options: Any) -> dict[str, Any]:
    """The same before it is checked; ``copies`` is a folder with copies of files."""
    entry = CATALOGUE[name]
    limits = {
        **entry["limits"],
        "requests_per_s": 1000,
        "concurrent_requests": 2,
        "timeout_s": 5,
        "reply_mb": 100,
        "longest_wait_s": 0.01,
        "poll_s": 0.01,
    }
    changed: dict[str, Any] = {"endpoint": endpoint, "storage_options": {}, "limits": limits}
    if copies:
        paths = entry["copies"]["aws"]["paths"]
        changed["copies"] = {"aws": {"endpoint": copies, "paths": paths}}
    return {**entry, **changed, "options": {**entry["options"], **options}}
