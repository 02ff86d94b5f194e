"""What a search of each Parquet catalogue of the embedded sky must find."""

from collections.abc import Callable

import astropy.units as u
import numpy as np
import pandas as pd
import pyarrow as pa
from astropy.coordinates import SkyCoord
from astropy.time import Time

from lightloom.sky.truth.matching import (
    Found,
    geocentric_to_barycentric,
    heliocentric_to_barycentric,
    match,
    matched_rows,
    quality,
    repeated,
)

_ZTF_BANDS = {1: "g", 2: "r", 3: "i"}
_UNWISE_BANDS = {1: "W1", 2: "W2"}

# AB minus Vega magnitudes of W1 and W2: IRSA, unWISE and WISE documentation.
_AB_MINUS_VEGA_MAG = {1: 2.699, 2: 3.339}

# AB zero points of Gaia DR3 (documentation, external calibration), and the columns of a band.
_GAIA_BANDS = {
    "G": (25.8010446445, "g_transit_time", "g_transit_flux", "variability_flag_g_reject"),
    "BP": (25.3539555559, "bp_obs_time", "bp_flux", "variability_flag_bp_reject"),
    "RP": (25.1039837393, "rp_obs_time", "rp_flux", "variability_flag_rp_reject"),
}
_PANSTARRS_BANDS = {1: "g", 2: "r", 3: "i", 4: "z", 5: "y"}


def _find_ztf(position: SkyCoord, radius_arcsec: float, ztf: pa.Table) -> Found:
    pairs = match(position, ztf["objra"].to_numpy(), ztf["objdec"].to_numpy(), radius_arcsec)
    matches = matched_rows(pairs, ztf)
    return Found(
        _ztf_rows(position, matches),
        matches.groupby("target")["objectid"].nunique(),
        repeated(matches, ["target", "fieldid", "rcid", "filterid"]),
    )


def _ztf_rows(position: SkyCoord, matches: pd.DataFrame) -> pd.DataFrame:
    lists = ["hmjd", "mag", "magerr", "catflags"]
    epochs = matches[matches["nepochs"] > 0].explode(lists)
    mag = epochs["mag"].to_numpy(np.float64)
    mag_err = epochs["magerr"].to_numpy(np.float64)
    hmjd = epochs["hmjd"].to_numpy(np.float64)
    flux_mjy = (mag * u.ABmag).to_value(u.mJy)
    return pd.DataFrame(
        {
            "target": epochs["target"].to_numpy(),
            "band": epochs["filterid"].map(_ZTF_BANDS).to_numpy(),
            "time_mjd": hmjd,
            "time_scale": "utc",
            "time_ref": "heliocentre",
            "time_mjd_tdb": heliocentric_to_barycentric(hmjd, position[epochs["target"]]),
            "flux_mjy": flux_mjy,
            "flux_err_mjy": 0.4 * np.log(10.0) * flux_mjy * mag_err,
            "native_value": mag,
            "native_err": mag_err,
            "native_unit": "mag",
            "flags_native": epochs["catflags"].to_numpy(np.int64),
            "quality": quality(
                bad=epochs["catflags"].to_numpy(np.int64) // 32768 % 2 == 1,
                suspect=epochs["catflags"].to_numpy(np.int64) > 0,
            ),
            "kind": "detection",
            "survey_object_id": epochs["objectid"].astype(str).to_numpy(),
            "survey_field": (
                epochs["fieldid"].astype(str) + "/" + epochs["rcid"].astype(str)
            ).to_numpy(),
            "match_arcsec": epochs["match_arcsec"].to_numpy(),
        }
    )


def _find_unwise(position: SkyCoord, radius_arcsec: float, unwise: pa.Table) -> Found:
    pairs = match(position, unwise["ra"].to_numpy(), unwise["dec"].to_numpy(), radius_arcsec)
    matches = matched_rows(pairs, unwise)
    return Found(
        _unwise_rows(position, matches),
        matches.groupby("target")["unwise_detid"].nunique(),
        repeated(matches[matches["primary"] == 1], ["target", "band", "MJDMEAN"]),
    )


def _unwise_rows(position: SkyCoord, matches: pd.DataFrame) -> pd.DataFrame:
    mjd = matches["MJDMEAN"].to_numpy()
    flux = matches["flux"].to_numpy(np.float64)
    flux_err = matches["dflux"].to_numpy(np.float64)
    vega_to_ab = 10.0 ** (-0.4 * matches["band"].map(_AB_MINUS_VEGA_MAG).to_numpy(np.float64))
    nanomaggy_mjy = (1e-9 * u.mgy).to_value(u.mJy, u.zero_point_flux(1.0 * u.AB))
    return pd.DataFrame(
        {
            "target": matches["target"],
            "band": matches["band"].map(_UNWISE_BANDS),
            "time_mjd": mjd,
            "time_scale": "utc",
            "time_ref": "geocentre",
            "time_mjd_tdb": geocentric_to_barycentric(mjd, position[matches["target"]]),
            "flux_mjy": flux * vega_to_ab * nanomaggy_mjy,
            "flux_err_mjy": flux_err * vega_to_ab * nanomaggy_mjy,
            "native_value": flux,
            "native_err": flux_err,
            "native_unit": "Vega nMgy",
            "flags_native": matches["flags_unwise"].astype(np.int64),
            "quality": quality(
                bad=(matches["primary"] == 0) | (matches["qf"] == 0.0),
                suspect=(matches["flags_unwise"] > 0) | (matches["qf"] < 0.9),
            ),
            "kind": "detection",
            "survey_object_id": matches["unwise_detid"].str.decode("ascii"),
            "match_arcsec": matches["match_arcsec"],
        }
    )


def _find_gaia(position: SkyCoord, radius_arcsec: float, gaia: pa.Table) -> Found:
    pairs = match(position, gaia["ra"].to_numpy(), gaia["dec"].to_numpy(), radius_arcsec)
    matches = matched_rows(pairs, gaia)
    lists = [name for name in matches if isinstance(matches[name].iloc[0], list)]
    transits = matches[matches["n_transits"] > 0].explode(lists)
    rows = pd.concat([_gaia_rows(transits, band) for band in _GAIA_BANDS], ignore_index=True)
    seen = rows.drop_duplicates(["target", "survey_object_id"])
    return Found(rows, matches.groupby("target")["source_id"].nunique(), repeated(seen, ["target"]))


def _gaia_rows(transits: pd.DataFrame, band: str) -> pd.DataFrame:
    zero_point, time_name, flux_name, reject_name = _GAIA_BANDS[band]
    prefix = flux_name.removesuffix("_flux")
    # A transit without time is one in which this band was not observed.
    transits = transits[transits[time_name].notna()]
    time_d = transits[time_name].to_numpy(np.float64)
    flux = transits[flux_name].to_numpy(np.float64)
    if band == "G":
        error = transits["g_transit_flux_error"].to_numpy(np.float64)
    else:
        error = np.abs(flux / transits[f"{prefix}_flux_over_error"].to_numpy(np.float64))
    # 2010-01-01T00:00 TCB, the zero of the times.
    time = Time("2010-01-01T00:00:00", scale="tcb") + time_d * u.day
    mjy = (zero_point * u.ABmag).to_value(u.mJy)
    is_rejected = transits[reject_name].to_numpy(np.bool_)
    return pd.DataFrame(
        {
            "target": transits["target"].to_numpy(),
            "band": band,
            "time_mjd": time.mjd,
            "time_scale": "tcb",
            "time_ref": "barycentre",
            "time_mjd_tdb": time.tdb.mjd,
            "flux_mjy": flux * mjy,
            "flux_err_mjy": error * mjy,
            "native_value": flux,
            "native_err": error,
            "native_unit": "electron/s",
            "flags_native": is_rejected.astype(np.int64),
            "quality": quality(bad=is_rejected | np.isnan(flux), suspect=is_rejected),
            "kind": "detection",
            "survey_object_id": transits["source_id"].astype(str).to_numpy(),
            "match_arcsec": transits["match_arcsec"].to_numpy(),
        }
    )


def _find_panstarrs(
    position: SkyCoord, radius_arcsec: float, objects: pa.Table, detections: pa.Table
) -> Found:
    pairs = match(
        position, objects["raMean"].to_numpy(), objects["decMean"].to_numpy(), radius_arcsec
    )
    matches = matched_rows(pairs, objects)
    rows = matches[["target", "match_arcsec", "objID"]].merge(
        detections.to_pandas(), on="objID", validate="many_to_many"
    )
    observed = rows[rows["obsTime"] > 0]
    return Found(
        _panstarrs_rows(position, rows),
        matches.groupby("target")["objID"].nunique(),
        repeated(observed, ["target", "filterID", "obsTime"]),
    )


def _panstarrs_rows(position: SkyCoord, rows: pd.DataFrame) -> pd.DataFrame:
    mjd = rows["obsTime"].where(rows["obsTime"] > 0).to_numpy()
    flux = rows["psfFlux"].where(rows["psfFlux"] != -999).to_numpy()
    error = rows["psfFluxErr"].where(rows["psfFluxErr"] != -999).to_numpy()
    has_time = ~np.isnan(mjd)
    mjd_tdb = np.full(len(rows), np.nan)
    mjd_tdb[has_time] = geocentric_to_barycentric(
        mjd[has_time], position[rows["target"][has_time]], scale="tai"
    )
    return pd.DataFrame(
        {
            "target": rows["target"],
            "band": rows["filterID"].map(_PANSTARRS_BANDS),
            "time_mjd": mjd,
            "time_scale": "tai",
            "time_ref": "topocentre",
            "time_mjd_tdb": mjd_tdb,
            "flux_mjy": (flux * u.Jy).to_value(u.mJy),
            "flux_err_mjy": (error * u.Jy).to_value(u.mJy),
            "native_value": flux,
            "native_err": error,
            "native_unit": "Jy",
            "flags_native": rows["infoFlag"].astype(np.int64),
            "quality": quality(
                bad=((rows["psfQfPerfect"] <= 0.9) | np.isnan(flux)).to_numpy(),
                suspect=np.zeros(len(rows), bool),
            ),
            "kind": "detection",
            "survey_object_id": rows["objID"].astype(str),
            "match_arcsec": rows["match_arcsec"],
        }
    )


def _find_neowise(position: SkyCoord, radius_arcsec: float, *subsets: pa.Table) -> Found:
    neowise = pa.concat_tables(subsets)
    pairs = match(position, neowise["ra"].to_numpy(), neowise["dec"].to_numpy(), radius_arcsec)
    matches = matched_rows(pairs, neowise)
    rows = [_neowise_rows(position, matches, band) for band in _UNWISE_BANDS]
    return Found(
        pd.concat(rows, ignore_index=True),
        matches.groupby("target")["source_id"].nunique(),
        repeated(matches, ["target", "mjd"]),
    )


def _neowise_rows(position: SkyCoord, matches: pd.DataFrame, band: int) -> pd.DataFrame:
    mag = matches[f"w{band}mpro"].to_numpy(np.float64)
    mag_err = matches[f"w{band}sigmpro"].to_numpy(np.float64)
    flux_mjy = ((mag + _AB_MINUS_VEGA_MAG[band]) * u.ABmag).to_value(u.mJy)
    mjd = matches["mjd"].to_numpy()
    bad = (
        (matches["qi_fact"] < 1.0)
        | (matches["saa_sep"] < 5.0)
        | (matches["cc_flags"].str[:2] != "00")
        | (matches["moon_masked"].str[:2] != "00")
        | (matches["nb"] > 1)
        | (matches["na"] > 0)
    )
    return pd.DataFrame(
        {
            "target": matches["target"],
            "band": _UNWISE_BANDS[band],
            "time_mjd": mjd,
            "time_scale": "utc",
            "time_ref": "geocentre",
            "time_mjd_tdb": geocentric_to_barycentric(mjd, position[matches["target"]]),
            "flux_mjy": flux_mjy,
            "flux_err_mjy": 0.4 * np.log(10.0) * flux_mjy * mag_err,
            "native_value": mag,
            "native_err": mag_err,
            "native_unit": "mag",
            "flags_native": pd.array([None] * len(matches), dtype="Int64"),
            "quality": quality(bad=(bad | np.isnan(mag)).to_numpy(), suspect=bad.to_numpy()),
            "kind": np.where(np.isfinite(mag) & np.isnan(mag_err), "limit", "detection"),
            "survey_object_id": matches["source_id"],
            "match_arcsec": matches["match_arcsec"],
        }
    )


#: Searches by archive.
SEARCHES: dict[str, Callable[..., Found]] = {
    "gaia": _find_gaia,
    "neowise": _find_neowise,
    "panstarrs": _find_panstarrs,
    "unwise": _find_unwise,
    "ztf": _find_ztf,
}
