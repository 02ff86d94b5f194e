"""A light-curve file of four cadences, as the pipelines of the missions write them."""

from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

#: Flags of the cadences of every file: none, desaturation (dropped), scattered light (kept).
QUALITY = [0, 32, 4096, 0]
TIME_D = [100.25, 100.75, 101.25, np.nan]
PDCSAP = [11.0, 12.0, 13.0, 0.0]
SAP = [21.0, np.nan, 23.0, np.nan]


def write_fits(path: Path, header: dict[str, Any] | None = None, **columns: Any) -> Path:
    """Write a file as the pipeline does; a column that is None is left out."""
    values: dict[str, Any] = {
        "TIME": np.array(TIME_D),
        "SAP_FLUX": np.array(SAP, np.float32),
        "SAP_FLUX_ERR": np.array([0.5, np.nan, 0.5, np.nan], np.float32),
        "PDCSAP_FLUX": np.array(PDCSAP, np.float32),
        "PDCSAP_FLUX_ERR": np.array([0.25, 0.25, 0.25, np.nan], np.float32),
        "QUALITY": np.array(QUALITY, np.int32),
    } | columns
    formats = {"f8": "D", "f4": "E", "i4": "J"}
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column(name, formats[array.dtype.str[1:]], array=array, unit=_unit(name))
            for name, array in values.items()
            if array is not None
        ],
        name="LIGHTCURVE",
    )
    cards = {
        "TIMEREF": "SOLARSYSTEM",
        "TIMESYS": "TDB",
        "TIMEUNIT": "d",
        "BJDREFI": 2457000,
        "BJDREFF": 0.0,
        "TIMEDEL": 120.0 / 86400.0,
        "CROWDSAP": 0.875,
    } | (header or {})
    for key, value in cards.items():
        if key.startswith("TUNIT"):
            table.columns[key.removeprefix("TUNIT_")].unit = value
        elif value is not None:
            table.header[key] = value
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(path, checksum=True)
    return path


def _unit(column: str) -> str | None:
    if column == "TIME":
        return "BJD - 2457000, days"
    return "e-/s" if "FLUX" in column else None
