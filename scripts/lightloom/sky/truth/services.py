"""What a search of each service of the embedded sky must find."""

from collections.abc import Callable

import astropy.units as u
import numpy as np
import pandas as pd
import pyarrow as pa
from astropy.coordinates import SkyCoord
from astropy.time import Time
from numpy.typing import NDArray

from lightloom.sky.geometry import coordinates
from lightloom.sky.truth.matching import (
    Found,
    geocentric_to_barycentric,
    match,
    matched_rows,
    quality,
    repeated,
)

_DAY_S = 86400.0

# A magnitude that stands for none.
_NSC_MISSING_MAG, _HCV_MISSING_MAG = np.float32(99.99), 99.0

# Flags that lightkurve drops by default (its quality_bitmask "default").
_TESS_BAD_FLAGS = 1 + 2 + 4 + 8 + 16 + 32 + 128 + 512 + 16384
_KEPLER_BAD_FLAGS = 1130799

# Authors, and cadences [s] where it matters, the better ones first.
_CHOICES: list[tuple[str, float | None]] = [
    *[("SPOC", 120.0), ("SPOC", 20.0), ("TESS-SPOC", None), ("QLP", None)],
    *[("Kepler", 1800.0), ("Kepler", 60.0)],
    *[("K2", 1800.0)],
]


def _find_nsc(
    position: SkyCoord,
    radius_arcsec: float,
    objects: pa.Table,
    measurements: pa.Table,
    exposures: pa.Table,
) -> Found:
    matches = _objects(position, radius_arcsec, objects, "ra", "dec", "id")
    rows = matches.merge(
        measurements.to_pandas(), left_on="id", right_on="objectid", validate="many_to_many"
    ).merge(exposures.to_pandas()[["exposure", "exptime"]], on="exposure", validate="many_to_one")
    is_missing = rows["mag_auto"] == _NSC_MISSING_MAG
    mag = rows["mag_auto"].mask(is_missing).to_numpy(np.float64)
    error = rows["magerr_auto"].mask(is_missing).to_numpy(np.float64)
    mjd = (rows["mjd"] + rows["exptime"] / 2.0 / _DAY_S).to_numpy()
    return Found(
        pd.DataFrame(
            _ab_magnitudes(mag, error)
            | _observed(position, rows, mjd, "utc", "topocentre")
            | {
                "band": rows["filter"],
                "flags_native": rows["flags"].astype(np.int64),
                "quality": quality(
                    bad=(rows["flags"] >= 4) | np.isnan(mag),
                    suspect=(rows["flags"] > 0) | (rows["fwhm"] > 4.0),
                ),
                "kind": "detection",
                "survey_object_id": rows["id"],
                "survey_field": rows["ccdnum"].astype(str),
                "exposure_id": rows["exposure"],
                "exposure_s": rows["exptime"],
            }
        ),
        matches.groupby("target")["id"].nunique(),
        repeated(rows, ["target", "exposure"]),
    )


def _find_rubin(
    position: SkyCoord,
    radius_arcsec: float,
    objects: pa.Table,
    forced_sources: pa.Table,
    visits: pa.Table,
) -> Found:
    primary = objects.filter(objects["detect_isPrimary"])
    matches = _objects(position, radius_arcsec, primary, "coord_ra", "coord_dec", "objectId")
    rows = matches.merge(forced_sources.to_pandas(), on="objectId", validate="many_to_many").merge(
        visits.to_pandas().drop(columns="band"), on="visit", validate="many_to_one"
    )
    flux = rows["psfFlux"].to_numpy(np.float64)
    error = rows["psfFluxErr"].to_numpy(np.float64)
    bad = [
        "psfFlux_flag",
        "invalidPsfFlag",
        "pixelFlags_bad",
        "pixelFlags_saturatedCenter",
        "pixelFlags_nodataCenter",
    ]
    return Found(
        pd.DataFrame(
            _observed(position, rows, rows["expMidptMJD"].to_numpy(), "tai", "topocentre")
            | {
                "band": rows["band"],
                "flux_mjy": (flux * u.nJy).to_value(u.mJy),
                "flux_err_mjy": (error * u.nJy).to_value(u.mJy),
                "native_value": flux,
                "native_err": error,
                "native_unit": "nJy",
                "flags_native": _no_integers(len(rows)),
                "quality": quality(
                    bad=rows[bad].any(axis=1) | np.isnan(flux),
                    suspect=rows["pixelFlags_suspectCenter"],
                ),
                "kind": "forced",
                "survey_object_id": rows["objectId"].astype(str),
                "survey_field": rows["detector"].astype(str),
                "exposure_id": rows["visit"].astype(str),
                "exposure_s": rows["expTime"],
            }
        ),
        matches.groupby("target")["objectId"].nunique(),
        repeated(rows, ["target", "visit"]),
    )


def _find_hcv(
    position: SkyCoord, radius_arcsec: float, summary: pa.Table, details: pa.Table
) -> Found:
    pairs = match(position, summary["RA"].to_numpy(), summary["Dec"].to_numpy(), radius_arcsec)
    matches = matched_rows(pairs, summary)[["target", "match_arcsec", "MatchID"]]
    matches = matches.drop_duplicates(["target", "MatchID"])
    nearest = matches.sort_values("match_arcsec").drop_duplicates("target")
    rows = nearest.merge(details.to_pandas(), on="MatchID", validate="many_to_many")
    is_missing = rows["CorrMag"] == _HCV_MISSING_MAG
    mag = rows["CorrMag"].mask(is_missing).to_numpy()
    error = rows["MagErr"].mask(rows["MagErr"] == _HCV_MISSING_MAG).to_numpy()
    return Found(
        pd.DataFrame(
            _ab_magnitudes(mag, error)
            | _observed(position, rows, rows["MJD"].to_numpy(), "utc", "topocentre")
            | {
                "band": rows["Filter"],
                "flags_native": _no_integers(len(rows)),
                "quality": quality(
                    bad=np.isnan(mag), suspect=(rows["CI"] > 1.4) | (rows["CI"] < 0.6)
                ),
                "kind": "detection",
                "survey_object_id": rows["MatchID"].astype(str),
                "exposure_id": rows["ImageName"],
            }
        ),
        matches.groupby("target")["MatchID"].nunique(),
        set(),
    )


def _find_xmm(position: SkyCoord, radius_arcsec: float, detections: pa.Table) -> Found:
    pairs = match(
        position, detections["ra"].to_numpy(), detections["dec"].to_numpy(), radius_arcsec
    )
    rows = matched_rows(pairs, detections)
    flux = rows["ep_8_flux"].to_numpy()
    return Found(
        pd.DataFrame(
            _observed(position, rows, rows["time"].to_numpy(), "utc", "geocentre")
            | {
                "band": "EP_8",
                "native_value": flux,
                "native_err": rows["ep_8_flux_error"],
                "native_unit": "erg/cm2/s",
                "flags_native": rows["sum_flag"].astype(np.int64),
                "quality": quality(
                    bad=(rows["sum_flag"] >= 3) | np.isnan(flux), suspect=rows["sum_flag"] >= 1
                ),
                "kind": "detection",
                "survey_object_id": rows["srcid"].astype(str),
                "exposure_id": rows["detid"].astype(str),
            }
        ),
        rows.groupby("target")["srcid"].nunique(),
        repeated(rows.drop_duplicates(["target", "time", "srcid"]), ["target", "time"]),
    )


def _find_events(band: str, name: str | None) -> Callable[..., Found]:
    """Return the search for the events whose error circles hold the targets."""

    def find(position: SkyCoord, _: float, events: pa.Table) -> Found:
        table = events.to_pandas()
        separation_deg = position[:, np.newaxis].separation(coordinates(table["ra"], table["dec"]))
        is_inside = separation_deg.deg <= table["error_radius"].to_numpy()
        target, row = np.nonzero(is_inside)
        rows = table.iloc[row].reset_index(drop=True)
        rows = rows.assign(target=target, match_arcsec=separation_deg.arcsec[target, row])
        energy = rows.get("event_energy", pd.Series(np.nan, rows.index))
        types = rows.get("trigger_type", pd.Series("GRB", rows.index))
        return Found(
            pd.DataFrame(
                _observed(position, rows, rows["time"].to_numpy(), "utc", "geocentre")
                | {
                    "band": band,
                    "native_value": energy,
                    "native_unit": "GeV" if "event_energy" in rows else "none",
                    "flags_native": _no_integers(len(rows)),
                    "quality": quality(bad=types.isna(), suspect=types != "GRB"),
                    "kind": "event",
                    "survey_object_id": rows[name] if name else None,
                }
            ),
            rows.groupby("target").size(),
            set(),
        )

    return find


def _find_mission(
    position: SkyCoord, radius_arcsec: float, products: pa.Table, cadences: pa.Table
) -> Found:
    pairs = match(position, products["ra"].to_numpy(), products["dec"].to_numpy(), radius_arcsec)
    matches = matched_rows(pairs, products)
    matches["rank"] = np.nan
    for rank, (author, cadence_s) in enumerate(_CHOICES):
        fits = matches["author"] == author
        if cadence_s is not None:
            fits &= matches["cadence_s"] == cadence_s
        matches.loc[fits, "rank"] = rank
    chosen = matches.dropna(subset="rank").sort_values("rank")
    chosen = chosen.drop_duplicates(["target", "target_name", "sequence"])
    rows = chosen.merge(cadences.to_pandas(), on="product", validate="many_to_many")
    return Found(
        pd.concat([_mission_rows(rows, column) for column in ("PDCSAP", "SAP")]),
        chosen.groupby("target")["target_name"].nunique(),
        repeated(chosen.drop_duplicates(["target", "target_name"]), ["target"]),
    )


def _mission_rows(rows: pd.DataFrame, column: str) -> pd.DataFrame:
    flux = rows[f"{column.lower()}_flux"]
    has_time = rows["time"].notna().to_numpy()
    mjd = np.full(len(rows), np.nan)
    mjd[has_time] = Time(
        rows["time"].to_numpy()[has_time],
        (rows["zero_jd_day"] + rows["zero_jd_fraction"]).to_numpy()[has_time],
        format="jd",
        scale="tdb",
    ).mjd
    mask = np.where(rows["mission"] == "TESS", _TESS_BAD_FLAGS, _KEPLER_BAD_FLAGS)
    flags = rows["flags"].to_numpy(np.int64)
    field = rows["mission"].map({"TESS": "s{:04d}", "Kepler": "q{:02d}", "K2": "c{:02d}"})
    return pd.DataFrame(
        {
            "target": rows["target"],
            "match_arcsec": rows["match_arcsec"],
            "time_mjd": mjd,
            "time_scale": "tdb",
            "time_ref": "barycentre",
            "time_mjd_tdb": mjd,
            "band": rows["mission"] + ("" if column == "PDCSAP" else "_SAP"),
            "native_value": flux,
            "native_err": rows[f"{column.lower()}_flux_err"],
            "native_unit": rows["unit"],
            "flags_native": flags,
            "quality": quality(bad=(flags & mask > 0) | flux.isna() | ~has_time, suspect=flags > 0),
            "kind": "detection",
            "survey_object_id": rows["target_name"],
            "survey_field": [
                form.format(number) for form, number in zip(field, rows["sequence"], strict=True)
            ],
            "exposure_s": rows["true_cadence_s"],
        }
    )


def _objects(
    position: SkyCoord, radius_arcsec: float, objects: pa.Table, ra: str, dec: str, name: str
) -> pd.DataFrame:
    """Return the objects within the radius of each target."""
    pairs = match(position, objects[ra].to_numpy(), objects[dec].to_numpy(), radius_arcsec)
    return matched_rows(pairs, objects)[["target", "match_arcsec", name]]


def _observed(
    position: SkyCoord, rows: pd.DataFrame, mjd: NDArray[np.float64], scale: str, ref: str
) -> dict[str, object]:
    """Return the columns that say where and when."""
    return {
        "target": rows["target"],
        "match_arcsec": rows["match_arcsec"],
        "time_mjd": mjd,
        "time_scale": scale,
        "time_ref": ref,
        "time_mjd_tdb": geocentric_to_barycentric(mjd, position[rows["target"]], scale),
    }


def _ab_magnitudes(mag: NDArray[np.float64], error: NDArray[np.float64]) -> dict[str, object]:
    """Return the columns that say how bright."""
    flux_mjy = (mag * u.ABmag).to_value(u.mJy)
    return {
        "flux_mjy": flux_mjy,
        "flux_err_mjy": 0.4 * np.log(10.0) * flux_mjy * error,
        "native_value": mag,
        "native_err": error,
        "native_unit": "mag",
    }


def _no_integers(n_rows: int) -> pd.arrays.IntegerArray:
    return pd.array([None] * n_rows, dtype="Int64")


#: Searches by archive.
SEARCHES: dict[str, Callable[..., Found]] = {
    "fermigbm": _find_events("GBM", "trigger_name"),
    "hcv": _find_hcv,
    "icecube": _find_events("IceCube", None),
    "k2": _find_mission,
    "kepler": _find_mission,
    "nsc": _find_nsc,
    "rubin": _find_rubin,
    "saxgrbm": _find_events("GRBM", "name"),
    "tess": _find_mission,
    "xmm": _find_xmm,
}
