"""Alerts: from the fields of the survey to one table, and to flux densities.

ZTF gives the magnitude of the difference between the image and a reference image, with a sign, and
the nearest source of the reference; ``jd`` is the start of the exposure
(https://github.com/ZwickyTransientFacility/ztf-avro-alert, schema 3.3).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from lightloom.errors import ArchiveSchemaError
from lightloom.moving.schema import ALERT
from lightloom.schema import conform
from lightloom.units import ab_mag_to_mjy

#: Fields of a ZTF alert by their role.
FIELDS = {
    "candid": "candid",
    "alert_object": "objectId",
    "jd": "jd",
    "exposure_s": "exptime",
    "ra_deg": "ra",
    "dec_deg": "dec",
    "fid": "fid",
    "field": "field",
    "rcid": "rcid",
    "isdiffpos": "isdiffpos",
    "magpsf": "magpsf",
    "sigmapsf": "sigmapsf",
    "magnr": "magnr",
    "sigmagnr": "sigmagnr",
    "distnr_arcsec": "distnr",
    "rb": "rb",
    "drb": "drb",
    "ssnamenr": "ssnamenr",
    "ssdistnr_arcsec": "ssdistnr",
}
NEEDED = ("jd", "ra_deg", "dec_deg")

#: ZTF's filters by their number.
BANDS = {1: "g", 2: "r", 3: "i"}

#: Written where there is no value.
_MISSING = -999.0
_NO_NAME = ("null", "", "None", "-999.0")

#: The reference source counts as the same source within about the PSF of ZTF (2 arcsec).
SAME_SOURCE_ARCSEC = 1.5

_MJD_ZERO_JD = 2400000.5
_S_PER_DAY = 86400.0
_UJY_PER_MJY = 1e3

FloatArray = NDArray[np.float64]


def alert_table(
    columns: Mapping[str, Any], exposure_s: float, time_point: str, what: str
) -> pa.Table:
    """Return alerts in the common columns (``ALERT``).

    Parameters
    ----------
    columns : mapping
        Arrays or lists by their role (`FIELDS`).
    exposure_s : float
        Exposure time of alerts that do not tell it [s].
    time_point : {'start', 'middle'}
        To which moment of the exposure ``jd`` refers.
    what : str
        The source, for messages.

    Raises
    ------
    ArchiveSchemaError
        If time or position are missing.
    """
    lacking = [role for role in NEEDED if role not in columns]
    if lacking:
        raise ArchiveSchemaError(f"{what}: found no fields for {', '.join(lacking)}")
    n_rows = len(columns["jd"])

    def numbers(role: str) -> FloatArray:
        if role not in columns:
            return np.full(n_rows, np.nan)
        values = np.array(
            pa.array(columns[role], from_pandas=True)
            .cast(pa.float64())
            .to_numpy(zero_copy_only=False)
        )
        values[values == _MISSING] = np.nan
        return values

    exposure = numbers("exposure_s")
    exposure = np.where(np.isfinite(exposure) & (exposure > 0), exposure, exposure_s)
    to_middle = 0.5 * exposure / _S_PER_DAY if time_point == "start" else 0.0
    time_mjd = numbers("jd") - _MJD_ZERO_JD + to_middle
    ra_deg, dec_deg = numbers("ra_deg") % 360.0, numbers("dec_deg")
    if not (np.isfinite(time_mjd + ra_deg).all() and (np.abs(dec_deg) <= 90.0).all()):
        raise ArchiveSchemaError(f"{what}: found alerts without time or position on the sphere")

    def nullable(values: FloatArray) -> pa.Array:
        return pa.array(values, mask=~np.isfinite(values))

    fid = numbers("fid")
    table = pa.table(
        {
            "candid": pa.array(columns["candid"]).cast(pa.int64())
            if "candid" in columns
            else pa.nulls(n_rows, pa.int64()),
            "alert_object": _text(columns.get("alert_object"), n_rows),
            "time_mjd": time_mjd,
            "exposure_s": exposure,
            "ra_deg": ra_deg,
            "dec_deg": dec_deg,
            "band": pa.array([_band(one) for one in fid], pa.string()),
            "survey_field": _field_names(numbers("field"), numbers("rcid")),
            "is_positive": _signs(columns.get("isdiffpos"), n_rows),
            **{
                role: nullable(numbers(role))
                for role in (
                    "magpsf", "sigmapsf", "magnr", "sigmagnr", "distnr_arcsec", "rb", "drb",
                    "ssdistnr_arcsec",
                )
            },
            "ssnamenr": _text(columns.get("ssnamenr"), n_rows),
        }
    )  # fmt: skip
    return conform(table, ALERT, what)


def distinct(alerts: pa.Table) -> pa.Table:
    """Return every alert once, in the order of time; the same ``candid`` is the same alert."""
    keys = ["candid", "time_mjd", "ra_deg", "dec_deg"]
    ordered = alerts.take(
        pc.sort_indices(alerts, sort_keys=[(key, "ascending") for key in (*keys[1:], keys[0])])
    )
    candid = ordered["candid"].to_pandas()
    place = ordered.select(keys[1:]).to_pandas()
    again = (candid.duplicated() & candid.notna()) | (place.duplicated() & candid.isna())
    return ordered.filter(pa.array(~again.to_numpy()))


def difference_flux_ujy(alerts: pa.Table) -> tuple[FloatArray, FloatArray]:
    """Return the flux density of the difference with its sign, and its error [uJy]."""
    flux, error = ab_mag_to_mjy(_floats(alerts, "magpsf"), _floats(alerts, "sigmapsf"))
    sign = np.where(alerts["is_positive"].to_numpy(zero_copy_only=False), 1.0, -1.0)
    return sign * flux * _UJY_PER_MJY, error * _UJY_PER_MJY


def dc_magnitude(alerts: pa.Table) -> tuple[FloatArray, FloatArray]:
    """Return the magnitude of difference and reference source together, and its error [mag].

    NaN where the reference has no source within `SAME_SOURCE_ARCSEC`, or less than nothing is left.
    """
    difference, error = difference_flux_ujy(alerts)
    reference, reference_error = ab_mag_to_mjy(
        _floats(alerts, "magnr"), _floats(alerts, "sigmagnr")
    )
    flux = difference + reference * _UJY_PER_MJY
    is_one = _floats(alerts, "distnr_arcsec") <= SAME_SOURCE_ARCSEC
    flux = np.where(is_one & (flux > 0), flux, np.nan)
    flux_error = np.hypot(error, reference_error * _UJY_PER_MJY)
    return 23.9 - 2.5 * np.log10(flux), 2.5 / np.log(10.0) * flux_error / flux


def _floats(table: pa.Table, name: str) -> FloatArray:
    return table[name].to_numpy(zero_copy_only=False).astype(np.float64)


def _band(fid: float) -> str:
    return BANDS.get(int(fid), str(int(fid))) if np.isfinite(fid) else ""


def _text(values: Any, n_rows: int) -> pa.Array:
    if values is None:
        return pa.nulls(n_rows, pa.string())
    found = [None if one is None else str(one) for one in pa.array(values).to_pylist()]
    return pa.array([None if one in _NO_NAME else one for one in found], pa.string())


def _signs(values: Any, n_rows: int) -> pa.Array:
    """``isdiffpos`` is t or 1 where the source is brighter than in the reference, else f or 0."""
    if values is None:
        return pa.array(np.ones(n_rows, bool))
    signs = [str(one).casefold() in ("t", "1", "true") for one in pa.array(values).to_pylist()]
    return pa.array(signs, pa.bool_())


def _field_names(field: FloatArray, rcid: FloatArray) -> pa.Array:
    names = [
        f"{int(one)}/{int(channel)}" if np.isfinite(one + channel) else None
        for one, channel in zip(field, rcid, strict=True)
    ]
    return pa.array(names, pa.string())
