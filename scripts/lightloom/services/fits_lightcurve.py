"""Light curves in the FITS files of TESS, Kepler and K2, and of the products made from them.

The files say themselves what their times mean (``BJDREFI`` + ``BJDREFF``, ``TIMESYS``) and what
unit their fluxes have; nothing is assumed of the mission. The format is that of the Kepler Archive
Manual (KDMC-10008) and of the TESS Science Data Products Description (EXP-TESS-ARC-ICD-0014).
"""

import os
import threading
import warnings
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path

import numpy as np
import pyarrow as pa
from astropy.io import fits
from astropy.utils.exceptions import AstropyUserWarning
from numpy.typing import NDArray

from lightloom.errors import ArchiveSchemaError, DamagedFileError

#: The columns of a pipeline's file, by the columns of the table that is read from it.
PIPELINE_COLUMNS = {
    "time": "TIME",
    "pdcsap_flux": "PDCSAP_FLUX",
    "pdcsap_flux_err": "PDCSAP_FLUX_ERR",
    "sap_flux": "SAP_FLUX",
    "sap_flux_err": "SAP_FLUX_ERR",
    "quality": "QUALITY",
}

_FLUXES = ("pdcsap_flux", "pdcsap_flux_err", "sap_flux", "sap_flux_err")

#: Units as files write them, and as the results name them.
_UNITS = {"e-/s": "electron/s", "electron/s": "electron/s", "electrons/s": "electron/s"}

_MJD_ZERO_JD = 2400000.5
_SECONDS_PER_DAY = 86400.0
_DAYS_PER_UNIT = {"d": 1.0, "s": 1.0 / _SECONDS_PER_DAY}

#: What astropy raises where the structure of a file is damaged: it takes headers at their word.
_DAMAGES = (OSError, fits.VerifyError, KeyError, IndexError, TypeError, ValueError)

#: What is done with warnings is a matter of the whole process, whose threads read files too.
_WARNINGS = threading.Lock()

FloatArray = NDArray[np.float64]


def read_lightcurve_fits(
    source: str | os.PathLike[str] | bytes,
    *,
    columns: Mapping[str, str] = PIPELINE_COLUMNS,
    unit: str | None = None,
    name: str | None = None,
) -> pa.Table:
    """Read every cadence of the light curve in a FITS file.

    Parameters
    ----------
    source : path or bytes
        A file, or its content.
    columns : mapping of str to str, optional
        Columns of the file by the keys of ``PIPELINE_COLUMNS``; a key that is left out is a
        column that the file does not have.
    unit : str, optional
        Unit of the fluxes, for a file that states none (``relative``, as a rule).
    name : str, optional
        What messages call the file; its path, if it has one.

    Returns
    -------
    pyarrow.Table
        ``time_mjd`` (TDB at the barycentre [d]); ``pdcsap_flux``, ``pdcsap_flux_err``,
        ``sap_flux``, ``sap_flux_err`` (in ``schema.metadata[b"unit"]``); ``quality`` (flag bits);
        ``crowdsap`` (fraction of the flux in the aperture that is the target's) and
        ``exposure_s`` (cadence [s]). What the file does not hold is NaN, of ``quality`` zero.

    Raises
    ------
    DamagedFileError
        If it is no whole FITS file, or does not have the checksum that it states.
    ArchiveSchemaError
        If a column, the unit or the origin of the times is missing or other than expected.
    """
    if not isinstance(source, bytes):
        name = name or os.fspath(source)
        source = Path(source).read_bytes()
    name = name or "the file"
    with _WARNINGS, warnings.catch_warnings():
        # Of a damaged file, which is an error here.
        warnings.simplefilter("ignore", AstropyUserWarning)
        try:
            with fits.open(BytesIO(source), memmap=False) as hdus:
                hdu, data = _light_curve(hdus, source, name)
        except _DAMAGES as error:
            raise DamagedFileError(f"{name}: cannot be read as FITS ({error!r})") from error
        return _table(hdu, data, columns, unit, name)


def _light_curve(
    hdus: fits.HDUList, content: bytes, name: str
) -> tuple[fits.BinTableHDU, fits.FITS_rec]:
    """Return the first table of a file and its data, whole and undamaged."""
    for hdu in hdus:
        if isinstance(hdu, fits.BinTableHDU):
            _check_whole(hdu, content, name)
            return hdu, hdu.data
    raise DamagedFileError(f"{name}: found no table, expected the extension LIGHTCURVE")


def _check_whole(hdu: fits.BinTableHDU, content: bytes, name: str) -> None:
    place = hdu.fileinfo()
    end = place["datLoc"] + place["datSpan"]
    if end > len(content):
        raise DamagedFileError(f"{name}: has {len(content)} bytes, but its table ends at {end}")
    # Rows without a byte are free for the file, and not for who reads them.
    if hdu.header["NAXIS2"] > place["datSpan"]:
        raise DamagedFileError(
            f"{name}: announces {hdu.header['NAXIS2']} rows in {place['datSpan']} bytes"
        )
    # Words of a unit with a checksum add up to -0 in ones' complement (FITS 4.0, appendix J).
    # astropy compares it only where there is a DATASUM too, which these files do not have.
    unit = content[place["hdrLoc"] : end]
    if "CHECKSUM" in hdu.header and _ones_complement_sum(unit) != 0xFFFFFFFF:
        raise DamagedFileError(f"{name}: the table does not have the checksum in its header")


def _ones_complement_sum(words: bytes) -> int:
    total = int(np.frombuffer(words, ">u4").sum(dtype=np.uint64))
    while total > 0xFFFFFFFF:
        total = (total & 0xFFFFFFFF) + (total >> 32)
    return total


def _table(
    hdu: fits.BinTableHDU,
    data: fits.FITS_rec,
    columns: Mapping[str, str],
    unit: str | None,
    name: str,
) -> pa.Table:
    header, n_rows = hdu.header, len(data)
    missing = [column for column in columns.values() if column not in hdu.columns.names]
    if missing:
        raise ArchiveSchemaError(
            f"{name}: columns {missing} are missing, found {hdu.columns.names}"
        )

    def numbers(key: str) -> FloatArray:
        if key not in columns:
            return np.full(n_rows, np.nan)
        values = np.asarray(data[columns[key]])
        if values.ndim != 1 or values.dtype.kind not in "fiu":
            raise ArchiveSchemaError(
                f"{name}: column {columns[key]!r} has the format"
                f" {hdu.columns[columns[key]].format!r}, expected one number in each row"
            )
        return values.astype(np.float64)

    flags = numbers("quality") if "quality" in columns else np.zeros(n_rows)
    table = {
        "time_mjd": _time_mjd(header, numbers("time"), name),
        **{key: numbers(key) for key in _FLUXES},
        "quality": flags.astype(np.int64),
        "crowdsap": np.full(n_rows, _number(header, "CROWDSAP")),
        "exposure_s": np.full(n_rows, _number(header, "TIMEDEL") * _SECONDS_PER_DAY),
    }
    published = [columns[key] for key in _FLUXES if key in columns]
    stated = _unit(hdu, published, unit, name)
    return pa.table(table).replace_schema_metadata({"unit": stated})


def _time_mjd(header: fits.Header, time: FloatArray, name: str) -> FloatArray:
    """Return times as MJD in TDB at the barycentre, by what the header says of them [d]."""
    expected = {"TIMESYS": ["TDB"], "TIMEREF": ["SOLARSYSTEM"], "TIMEUNIT": list(_DAYS_PER_UNIT)}
    for key, values in expected.items():
        if header.get(key) not in values:
            raise ArchiveSchemaError(
                f"{name}: {key} is {header.get(key)!r}, expected one of {values}"
            )
    for key in ("BJDREFI", "BJDREFF"):
        if not isinstance(header.get(key), int | float):
            raise ArchiveSchemaError(f"{name}: {key} is {header.get(key)!r}, expected a number")
    origin_mjd = (header["BJDREFI"] - _MJD_ZERO_JD) + header["BJDREFF"]
    return time * _DAYS_PER_UNIT[header["TIMEUNIT"]] + origin_mjd


def _unit(hdu: fits.BinTableHDU, published: list[str], unit: str | None, name: str) -> str:
    stated = {column: hdu.columns[column].unit for column in published}
    native = {
        _UNITS.get(str(text).replace(" ", "").lower(), text) or unit for text in stated.values()
    }
    found = native.pop() if len(native) == 1 else None
    if found is None or found not in {*_UNITS.values(), unit}:
        raise ArchiveSchemaError(
            f"{name}: the units of the fluxes are {stated}, expected one of"
            f" {sorted({*_UNITS, *filter(None, [unit])})}"
        )
    return found


def _number(header: fits.Header, key: str) -> float:
    value = header.get(key)
    return float(value) if isinstance(value, int | float) else np.nan
