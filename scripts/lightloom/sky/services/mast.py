"""MAST of the embedded sky: what its portal says of observations and products, and where they lie.

A product lies below the path that it has in the bucket ``stpubdata``; a few have no copy there.
Target pixel files are in the tables, as they are in MAST's, but there are no such files.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from astropy.time import Time

from lightloom.sky.fields import described_field
from lightloom.sky.services.light_curves import LightCurve
from lightloom.sky.services.missions import KEPLER, TESS
from lightloom.sky.services.tables import to_table
from lightloom.sky.streams import random_stream

OBSERVATIONS = pa.schema(
    [
        described_field("obsid", pa.int64(), "observation in the portal", ucd="meta.id;meta.main"),
        described_field("obs_collection", pa.string(), "collection", ucd="meta.id"),
        described_field("provenance_name", pa.string(), "pipeline", ucd="meta.id"),
        described_field("project", pa.string(), "project", ucd="meta.id"),
        described_field("intentType", pa.string(), "science or calibration", ucd="meta.code"),
        described_field("dataproduct_type", pa.string(), "kind of data", ucd="meta.code.class"),
        described_field("instrument_name", pa.string(), "instrument", ucd="instr"),
        described_field("filters", pa.string(), "filters", ucd="instr.filter"),
        described_field("wavelength_region", pa.string(), "region", ucd="instr.bandpass"),
        described_field("target_name", pa.string(), "target", ucd="meta.id;src"),
        described_field("target_classification", pa.string(), "its class", ucd="src.class"),
        described_field("obs_id", pa.string(), "observation in its mission", ucd="meta.id"),
        described_field("s_ra", pa.float64(), "right ascension", "deg", ucd="pos.eq.ra"),
        described_field("s_dec", pa.float64(), "declination", "deg", ucd="pos.eq.dec"),
        described_field("s_region", pa.string(), "footprint", ucd="pos.outline"),
        described_field("t_min", pa.float64(), "start, MJD", "d", ucd="time.start"),
        described_field("t_max", pa.float64(), "end, MJD", "d", ucd="time.end"),
        described_field("t_exptime", pa.float64(), "cadence", "s", ucd="time.duration"),
        described_field("t_obs_release", pa.float64(), "release, MJD", "d", ucd="time.release"),
        described_field("em_min", pa.float64(), "shortest wavelength", "nm", ucd="em.wl"),
        described_field("em_max", pa.float64(), "longest wavelength", "nm", ucd="em.wl"),
        described_field("sequence_number", pa.int32(), "sector or campaign", ucd="meta.number"),
        described_field("calib_level", pa.int32(), "level of calibration", ucd="meta.code"),
        described_field("proposal_id", pa.string(), "proposal", ucd="meta.id"),
        described_field("proposal_pi", pa.string(), "its leader", ucd="meta.id.PI"),
        described_field("proposal_type", pa.string(), "its type", ucd="meta.code"),
        described_field("obs_title", pa.string(), "title", ucd="meta.title"),
        described_field("dataRights", pa.string(), "who may read it", ucd="meta.code"),
        described_field("mtFlag", pa.bool_(), "whether the target moves", ucd="meta.code"),
        described_field("srcDen", pa.float64(), "density of sources", ucd="src"),
        described_field("jpegURL", pa.string(), "preview", ucd="meta.ref.url"),
        described_field("dataURL", pa.string(), "main product", ucd="meta.ref.url"),
        described_field("objID", pa.int64(), "object in the portal", ucd="meta.id"),
    ]
)
PRODUCTS = pa.schema(
    [
        described_field("obsID", pa.int64(), "observation in the portal", ucd="meta.id"),
        described_field("obs_collection", pa.string(), "collection", ucd="meta.id"),
        described_field("dataproduct_type", pa.string(), "kind of data", ucd="meta.code.class"),
        described_field("obs_id", pa.string(), "observation in its mission", ucd="meta.id"),
        described_field("description", pa.string(), "what it is", ucd="meta.note"),
        described_field("type", pa.string(), "S: single", ucd="meta.code"),
        described_field("dataURI", pa.string(), "where it is", ucd="meta.ref.uri"),
        described_field("productType", pa.string(), "role", ucd="meta.code.class"),
        described_field("productGroupDescription", pa.string(), "group", ucd="meta.note"),
        described_field("productSubGroupDescription", pa.string(), "subgroup", ucd="meta.note"),
        described_field("productDocumentationURL", pa.string(), "manual", ucd="meta.ref.url"),
        described_field("project", pa.string(), "project", ucd="meta.id"),
        described_field("prvversion", pa.string(), "version of the pipeline", ucd="meta.version"),
        described_field("proposal_id", pa.string(), "proposal", ucd="meta.id"),
        described_field("productFilename", pa.string(), "name of the file", ucd="meta.file"),
        described_field("size", pa.int64(), "size of the file", "byte", ucd="phys.size;meta.file"),
        described_field("parent_obsid", pa.int64(), "observation in the portal", ucd="meta.id"),
        described_field("dataRights", pa.string(), "who may read it", ucd="meta.code"),
        described_field("calib_level", pa.int32(), "level of calibration", ucd="meta.code"),
        described_field("filters", pa.string(), "filters", ucd="instr.filter"),
        described_field(
            "cloud_key", pa.string(), "key in stpubdata; the portal does not say", ucd="meta.file"
        ),
        described_field(
            "file", pa.string(), "path below this folder; the portal does not say", ucd="meta.file"
        ),
    ]
)

_NO_CLOUD_COPY_SHARE = 0.12
_FIRST_OBSID, _TARGET_PIXELS_BYTES = 60_000_000, 1_500_000
#: Edges of the missions' bands. [nm]
_BAND_NM = {"TESS": (600.0, 1000.0), "Kepler": (423.0, 897.0), "K2": (423.0, 897.0)}


@dataclass(frozen=True)
class StoredLightCurve:
    """A light curve and where MAST has it.

    Attributes
    ----------
    curve : LightCurve
    obs_id : str
        Observation, in its mission.
    uri : str
        Its dataURI.
    cloud_path : str
        Its key in the bucket, if it has a copy there.
    is_in_cloud : bool
        Whether it has one.
    """

    curve: LightCurve
    obs_id: str
    uri: str
    cloud_path: str
    is_in_cloud: bool

    @property
    def file_name(self) -> str:
        """Name of the file."""
        return self.uri.rpartition("/")[2]

    @property
    def path(self) -> str:
        """Path of the file below the folder of the service."""
        if self.is_in_cloud:
            return f"stpubdata/{self.cloud_path}"
        return f"files/{self.uri.removeprefix('mast:')}"


def store(curves: Sequence[LightCurve], seed: int) -> list[StoredLightCurve]:
    """Return where MAST has light curves.

    Parameters
    ----------
    curves : sequence of LightCurve
    seed : int
        Seed of the sky.

    Returns
    -------
    list of StoredLightCurve
        In the same order.
    """
    stored = []
    for curve in curves:
        obs_id, uri, cloud_path = _names(curve)
        draw = random_stream(seed, "mast cloud", uri).random()
        stored.append(
            StoredLightCurve(curve, obs_id, uri, cloud_path, draw >= _NO_CLOUD_COPY_SHARE)
        )
    return stored


def _names(curve: LightCurve) -> tuple[str, str, str]:
    """Return observation, dataURI and key in the bucket, as they are in the archive."""
    if curve.mission is TESS:
        return _tess_names(curve)
    if curve.mission is KEPLER:
        kind, is_long = f"{curve.target_id:09d}", curve.cadence_s > 1000
        obs_id = f"kplr{kind}_{'lc' if is_long else 'sc'}_Q1"
        name = f"kplr{kind}-{_stamp(curve)}_{'llc' if is_long else 'slc'}.fits"
        path = f"lightcurves/{kind[:4]}/{kind}/{name}"
        return obs_id, f"mast:KEPLER/url/missions/kepler/{path}", f"kepler/public/{path}"
    number = curve.target_id
    obs_id = f"ktwo{number:09d}-c{curve.sequence:02d}_lc"
    name = f"ktwo{number:09d}-c{curve.sequence:02d}_llc.fits"
    thousands = f"{number // 100_000 * 100_000}/{number % 100_000 // 1000 * 1000:05d}"
    path = f"lightcurves/c{curve.sequence}/{thousands}/{name}"
    return obs_id, f"mast:K2/url/missions/k2/{path}", f"k2/public/{path}"


def _tess_names(curve: LightCurve) -> tuple[str, str, str]:
    sector, number = f"s{curve.sequence:04d}", f"{curve.target_id:016d}"
    folder = "/".join(number[start : start + 4] for start in range(0, 16, 4))
    if curve.author == "SPOC":
        configuration = f"{136 + curve.sequence:04d}"
        obs_id = f"tess{_stamp(curve)}-{sector}-{number}-{configuration}"
        is_fast = curve.cadence_s < 60
        obs_id += "-a_fast" if is_fast else "-s"
        name = f"{obs_id}-lc.fits" if is_fast else f"{obs_id}_lc.fits"
        return obs_id, f"mast:TESS/product/{name}", f"tess/public/tid/{sector}/{folder}/{name}"
    if curve.author == "TESS-SPOC":
        obs_id = f"hlsp_tess-spoc_tess_phot_{number}-{sector}_tess_v1"
        path = f"hlsp/tess-spoc/{sector}/target/{folder}/{obs_id}_lc.fits"
    elif curve.author == "TASOC":
        obs_id = f"hlsp_tasoc_tess_ffi_tic{number[5:]}-{sector}-c{curve.cadence_s}_tess_v05"
        path = f"hlsp/tasoc/{sector}/c{curve.cadence_s}/{folder}/{obs_id}_cbv-lc.fits"
    else:
        obs_id = f"hlsp_qlp_tess_ffi_{sector}-{number}_tess_v01"
        path = f"hlsp/qlp/{sector}/{folder}/{obs_id}_llc.fits"
    return obs_id, f"mast:HLSP/{path.removeprefix('hlsp/')}", f"mast/{path}"


def _stamp(curve: LightCurve) -> str:
    """Return the start of a sector or quarter as year, day of the year and time of day."""
    mission = curve.mission
    start_mjd = mission.first_mjd + (curve.sequence - 1) * mission.interval_d
    return str(Time(start_mjd, format="mjd", scale="utc").strftime("%Y%j%H%M%S"))


def portal_tables(
    stored: Sequence[StoredLightCurve], sizes: Sequence[int]
) -> tuple[pa.Table, pa.Table]:
    """Return what the portal says.

    Parameters
    ----------
    stored : sequence of StoredLightCurve
    sizes : sequence of int
        Sizes of their files.

    Returns
    -------
    observations, products : pyarrow.Table
        In the schemas `OBSERVATIONS` and `PRODUCTS`.
    """
    obs_ids = list(dict.fromkeys(one.obs_id for one in stored))
    obsids = {obs_id: _FIRST_OBSID + number for number, obs_id in enumerate(obs_ids)}
    observations = pd.DataFrame([_observation(one, obsids[one.obs_id]) for one in stored])
    # Quarters of a Kepler target are one observation.
    spans = observations.groupby("obsid")
    observations["t_min"] = spans["t_min"].transform("min")
    observations["t_max"] = spans["t_max"].transform("max")
    observations = observations.drop_duplicates("obsid")
    products = [
        product
        for one, size in zip(stored, sizes, strict=True)
        for product in _products(one, obsids[one.obs_id], size)
    ]
    return to_table(observations, OBSERVATIONS), to_table(pd.DataFrame(products), PRODUCTS)


def _observation(stored: StoredLightCurve, obsid: int) -> dict[str, Any]:
    curve, mission = stored.curve, stored.curve.mission
    time_mjd = curve.columns["TIME"] + sum(curve.zero_jd) - 2_400_000.5
    short, long = _BAND_NM[mission.name]
    prefix = {"TESS": "", "Kepler": "kplr", "K2": "ktwo"}[mission.name]
    number = str(curve.target_id) if mission is TESS else f"{curve.target_id:09d}"
    return {
        "obsid": obsid,
        "obs_collection": _collection(stored),
        "provenance_name": curve.author,
        "project": mission.name,
        "intentType": "science",
        "dataproduct_type": "timeseries",
        "instrument_name": "Photometer" if mission is TESS else "Kepler",
        "filters": "TESS" if mission is TESS else "KEPLER",
        "wavelength_region": "Optical",
        "target_name": f"{prefix}{number}",
        "target_classification": None,
        "obs_id": stored.obs_id,
        "s_ra": curve.ra_deg,
        "s_dec": curve.dec_deg,
        "s_region": f"CIRCLE {curve.ra_deg:.8f} {curve.dec_deg:.8f} 0.00138889",
        "t_min": float(np.nanmin(time_mjd)),
        "t_max": float(np.nanmax(time_mjd)),
        "t_exptime": float(curve.cadence_s),
        "t_obs_release": float(np.floor(np.nanmax(time_mjd)) + 60.0),
        "em_min": short,
        "em_max": long,
        "sequence_number": None if mission is KEPLER else curve.sequence,
        "calib_level": 4 if _collection(stored) == "HLSP" else 3,
        "proposal_id": "N/A",
        "proposal_pi": "N/A",
        "proposal_type": None,
        "obs_title": None,
        "dataRights": "PUBLIC",
        "mtFlag": False,
        "srcDen": np.nan,
        "jpegURL": None,
        "dataURL": stored.uri,
        "objID": 10 * obsid,
    }


def _collection(stored: StoredLightCurve) -> str:
    return "HLSP" if stored.uri.startswith("mast:HLSP") else stored.curve.mission.name


def _products(stored: StoredLightCurve, obsid: int, size: int) -> list[dict[str, Any]]:
    curve, mission = stored.curve, stored.curve.mission
    light_curve = {
        "obsID": obsid,
        "obs_collection": _collection(stored),
        "dataproduct_type": "timeseries",
        "obs_id": stored.obs_id,
        "description": _description(curve),
        "type": "S",
        "dataURI": stored.uri,
        "productType": "SCIENCE",
        "productGroupDescription": "Minimum Recommended Products",
        "productSubGroupDescription": _subgroup(curve),
        "productDocumentationURL": None,
        "project": curve.author if _collection(stored) == "HLSP" else mission.name,
        "prvversion": "1",
        "proposal_id": "N/A",
        "productFilename": stored.file_name,
        "size": size,
        "parent_obsid": obsid,
        "dataRights": "PUBLIC",
        "calib_level": 4 if _collection(stored) == "HLSP" else 3,
        "filters": "TESS" if mission is TESS else "KEPLER",
        "cloud_key": stored.cloud_path if stored.is_in_cloud else None,
        "file": stored.path,
    }
    if curve.author != "SPOC" or curve.cadence_s < 60:
        return [light_curve]
    target_pixels = {
        name: value.replace("_lc.fits", "_tp.fits")
        for name, value in light_curve.items()
        if isinstance(value, str)
    } | {
        "description": "Target pixel files",
        "productSubGroupDescription": "TP",
        "size": _TARGET_PIXELS_BYTES,
        "cloud_key": None,
        "file": None,
    }
    return [light_curve, light_curve | target_pixels]


def _description(curve: LightCurve) -> str:
    if curve.mission is KEPLER:
        kind = "Long Cadence (CLC)" if curve.cadence_s > 1000 else "Short Cadence (CSC)"
        return f"Lightcurve {kind} - Q{curve.sequence}"
    if curve.mission is TESS:
        return "Light curves" if curve.author == "SPOC" else "FITS Light curve"
    return f"Lightcurve Long Cadence (KLC) - C{curve.sequence:02d}"


def _subgroup(curve: LightCurve) -> str | None:
    if curve.author == "SPOC":
        return "LC" if curve.cadence_s > 60 else "FAST-LC"
    return None
