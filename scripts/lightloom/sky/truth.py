"""What a search of the embedded sky must find, computed without the code that is to be tested.

Matches are found on the whole catalogues at once; times and fluxes are converted by
astropy and ERFA.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import astropy.units as u
import erfa
import numpy as np
import pandas as pd
import pyarrow as pa
from astropy import constants
from astropy.coordinates import SkyCoord
from astropy.time import Time
from hats.pixel_math import HealpixPixel
from numpy.typing import NDArray

from lightloom.sky.fields import described_field
from lightloom.sky.geometry import coordinates, healpix_cells, shift
from lightloom.sky.targets import Target

LIGHTCURVES = pa.schema(
    [
        described_field("objectid", pa.string(), "target"),
        described_field("archive", pa.string(), "name of the archive"),
        described_field("band", pa.string(), "such as g, BP or W1"),
        described_field("time_mjd", pa.float64(), "time as catalogued, as MJD", "d"),
        described_field("time_mjd_tdb", pa.float64(), "TDB at the barycentre", "d"),
        described_field("flux_mjy", pa.float64(), "flux density", "mJy"),
        described_field("flux_err_mjy", pa.float64(), "its 1-sigma error", "mJy"),
        described_field("native_value", pa.float64(), "value as catalogued, in the archive's unit"),
        described_field("native_err", pa.float64(), "its 1-sigma error"),
        described_field("flags_native", pa.int64(), "the archive's flags"),
        described_field("quality", pa.int8(), "0 good, 1 suspect, 2 bad"),
        described_field("kind", pa.string(), "detection or limit"),
        described_field("survey_object_id", pa.string(), "identifier in the archive"),
        described_field("match_arcsec", pa.float64(), "distance from the target", "arcsec"),
    ]
)

STATES = pa.schema(
    [
        described_field("objectid", pa.string(), "target"),
        described_field("archive", pa.string(), "name of the archive"),
        described_field("state", pa.string(), "how the search ends"),
        described_field("n_rows", pa.int64(), "light-curve rows"),
        described_field("n_sources", pa.int64(), "survey objects within the radius"),
    ]
)

_ORDER = ["target", "archive", "band", "survey_object_id", "time_mjd"]
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

# A point for every degree of the circle tells which partitions it touches.
_CIRCLE_ANGLES_DEG = np.arange(0.0, 360.0, 1.0)


@dataclass(frozen=True)
class Footprint:
    """Where a catalogue has partitions, and how far around a target is searched.

    Attributes
    ----------
    pixels : sequence of hats.pixel_math.HealpixPixel
        The partitions.
    radius_arcsec : float
        Search radius.
    """

    pixels: Sequence[HealpixPixel]
    radius_arcsec: float

    def is_touched_by(self, target: Target) -> bool:
        """Tell whether the search circle of a target touches a partition."""
        ra_deg, dec_deg = shift(
            target.ra_deg, target.dec_deg, _CIRCLE_ANGLES_DEG, self.radius_arcsec
        )
        cells = np.append(
            healpix_cells(ra_deg, dec_deg, 29), healpix_cells(target.ra_deg, target.dec_deg, 29)
        )
        return any(np.any(cells >> 2 * (29 - pixel.order) == pixel.pixel) for pixel in self.pixels)


@dataclass(frozen=True)
class Catalogue:
    """What an archive holds, and where.

    Attributes
    ----------
    tables : sequence of pyarrow.Table
        The whole catalogue; for ``panstarrs`` its objects and its detections.
    footprint : Footprint
        The partitions of the catalogue in which positions are searched.
    """

    tables: Sequence[pa.Table]
    footprint: Footprint


@dataclass(frozen=True)
class _Found:
    """What a search of one archive finds.

    Attributes
    ----------
    rows : pandas.DataFrame
        Light-curve rows with their ``target``.
    n_sources : pandas.Series
        Survey objects within the radius, by target.
    ambiguous : set of int
        Targets with two distinct survey objects.
    """

    rows: pd.DataFrame
    n_sources: "pd.Series[int]"
    ambiguous: set[int]


def compute_truth(
    targets: Sequence[Target], catalogues: Mapping[str, Catalogue]
) -> tuple[pa.Table, pa.Table]:
    """Compute what each target must get from each catalogue.

    Parameters
    ----------
    targets : sequence of Target
        Targets after merging.
    catalogues : mapping of str to Catalogue
        By archive: ``gaia``, ``neowise``, ``panstarrs``, ``unwise`` or ``ztf``.

    Returns
    -------
    lightcurves : pyarrow.Table
        In the schema `LIGHTCURVES`; targets in the order of their HEALPix cells of order 29.
    states : pyarrow.Table
        In the schema `STATES`, one row per target and archive in the same order. A target with a
        match but without a single epoch counts as ``searched_empty``.
    """
    cells = healpix_cells([t.ra_deg for t in targets], [t.dec_deg for t in targets], 29)
    order = sorted(range(len(targets)), key=lambda i: (cells[i], targets[i].objectid))
    targets = [targets[i] for i in order]
    position = coordinates([t.ra_deg for t in targets], [t.dec_deg for t in targets])
    archives = {
        name: _FIND[name](position, catalogue.footprint.radius_arcsec, *catalogue.tables)
        for name, catalogue in sorted(catalogues.items())
    }
    rows = pd.concat(
        [found.rows.assign(archive=name) for name, found in archives.items()], ignore_index=True
    )
    rows = rows.sort_values(_ORDER)
    rows["objectid"] = np.array([t.objectid for t in targets])[rows["target"]]
    states = [
        _state(number, target, name, found, catalogues[name].footprint)
        for number, target in enumerate(targets)
        for name, found in archives.items()
    ]
    return (
        pa.Table.from_pandas(rows, LIGHTCURVES, preserve_index=False).replace_schema_metadata(),
        pa.Table.from_pylist(states, STATES),
    )


def _state(
    number: int, target: Target, archive: str, found: _Found, footprint: Footprint
) -> dict[str, Any]:
    n_rows = int((found.rows["target"] == number).sum())
    if number in found.ambiguous:
        state = "ambiguous"
    elif n_rows:
        state = "data"
    elif footprint.is_touched_by(target):
        state = "searched_empty"
    else:
        state = "outside_footprint"
    return {
        "objectid": target.objectid,
        "archive": archive,
        "state": state,
        "n_rows": n_rows,
        "n_sources": int(found.n_sources.get(number, 0)),
    }


def _repeated(matches: pd.DataFrame, keys: list[str]) -> set[int]:
    """Return the targets for which one observation holds two of the matched sources."""
    return set(matches.loc[matches.duplicated(keys, keep=False), "target"])


def _match(
    position: SkyCoord, ra_deg: NDArray[Any], dec_deg: NDArray[Any], radius_arcsec: float
) -> pd.DataFrame:
    """Return all pairs of a target and a row of a catalogue within the radius."""
    catalogue = coordinates(ra_deg.astype(np.float64), dec_deg.astype(np.float64))
    target, row, _, _ = catalogue.search_around_sky(position, radius_arcsec * u.arcsec)
    separation = position[target].separation(catalogue[row])
    return pd.DataFrame({"target": target, "row": row, "match_arcsec": separation.arcsec})


def _matched_rows(pairs: pd.DataFrame, catalogue: pa.Table) -> pd.DataFrame:
    """Return the catalogue's rows of the pairs, with the lists of a struct as columns."""
    objects = catalogue.take(pairs["row"].to_numpy())
    nested = [field.name for field in objects.schema if pa.types.is_struct(field.type)]
    matches = objects.drop_columns(nested).to_pandas()
    for name in nested:
        lists = objects[name].combine_chunks()
        for field in lists.type:
            matches[field.name] = lists.field(field.name).to_pylist()
    return pd.concat([pairs, matches], axis=1)


def _find_ztf(position: SkyCoord, radius_arcsec: float, ztf: pa.Table) -> _Found:
    pairs = _match(position, ztf["objra"].to_numpy(), ztf["objdec"].to_numpy(), radius_arcsec)
    matches = _matched_rows(pairs, ztf)
    return _Found(
        _ztf_rows(position, matches),
        matches.groupby("target")["objectid"].nunique(),
        _repeated(matches, ["target", "fieldid", "rcid", "filterid"]),
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
            "time_mjd_tdb": _heliocentric_to_barycentric(hmjd, position[epochs["target"]]),
            "flux_mjy": flux_mjy,
            "flux_err_mjy": 0.4 * np.log(10.0) * flux_mjy * mag_err,
            "native_value": mag,
            "native_err": mag_err,
            "flags_native": epochs["catflags"].to_numpy(np.int64),
            "quality": _quality(
                bad=epochs["catflags"].to_numpy(np.int64) // 32768 % 2 == 1,
                suspect=epochs["catflags"].to_numpy(np.int64) > 0,
            ),
            "kind": "detection",
            "survey_object_id": epochs["objectid"].astype(str).to_numpy(),
            "match_arcsec": epochs["match_arcsec"].to_numpy(),
        }
    )


_Flags = pd.Series | NDArray[np.bool_]


def _quality(*, bad: _Flags, suspect: _Flags) -> NDArray[np.int8]:
    cases = [np.asarray(bad, bool), np.asarray(suspect, bool)]
    return np.select(cases, [np.int8(2), np.int8(1)], np.int8(0))


def _find_unwise(position: SkyCoord, radius_arcsec: float, unwise: pa.Table) -> _Found:
    pairs = _match(position, unwise["ra"].to_numpy(), unwise["dec"].to_numpy(), radius_arcsec)
    matches = _matched_rows(pairs, unwise)
    return _Found(
        _unwise_rows(position, matches),
        matches.groupby("target")["unwise_detid"].nunique(),
        _repeated(matches[matches["primary"] == 1], ["target", "band", "MJDMEAN"]),
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
            "time_mjd_tdb": _geocentric_to_barycentric(mjd, position[matches["target"]]),
            "flux_mjy": flux * vega_to_ab * nanomaggy_mjy,
            "flux_err_mjy": flux_err * vega_to_ab * nanomaggy_mjy,
            "native_value": flux,
            "native_err": flux_err,
            "flags_native": matches["flags_unwise"].astype(np.int64),
            "quality": _quality(
                bad=(matches["primary"] == 0) | (matches["qf"] == 0.0),
                suspect=(matches["flags_unwise"] > 0) | (matches["qf"] < 0.9),
            ),
            "kind": "detection",
            "survey_object_id": matches["unwise_detid"].str.decode("ascii"),
            "match_arcsec": matches["match_arcsec"],
        }
    )


def _find_gaia(position: SkyCoord, radius_arcsec: float, gaia: pa.Table) -> _Found:
    pairs = _match(position, gaia["ra"].to_numpy(), gaia["dec"].to_numpy(), radius_arcsec)
    matches = _matched_rows(pairs, gaia)
    lists = [name for name in matches if isinstance(matches[name].iloc[0], list)]
    transits = matches[matches["n_transits"] > 0].explode(lists)
    rows = pd.concat([_gaia_rows(transits, band) for band in _GAIA_BANDS], ignore_index=True)
    seen = rows.drop_duplicates(["target", "survey_object_id"])
    return _Found(
        rows, matches.groupby("target")["source_id"].nunique(), _repeated(seen, ["target"])
    )


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
            "time_mjd_tdb": time.tdb.mjd,
            "flux_mjy": flux * mjy,
            "flux_err_mjy": error * mjy,
            "native_value": flux,
            "native_err": error,
            "flags_native": is_rejected.astype(np.int64),
            "quality": _quality(bad=is_rejected | np.isnan(flux), suspect=is_rejected),
            "kind": "detection",
            "survey_object_id": transits["source_id"].astype(str).to_numpy(),
            "match_arcsec": transits["match_arcsec"].to_numpy(),
        }
    )


def _find_panstarrs(
    position: SkyCoord, radius_arcsec: float, objects: pa.Table, detections: pa.Table
) -> _Found:
    pairs = _match(
        position, objects["raMean"].to_numpy(), objects["decMean"].to_numpy(), radius_arcsec
    )
    matches = _matched_rows(pairs, objects)
    rows = matches[["target", "match_arcsec", "objID"]].merge(
        detections.to_pandas(), on="objID", validate="many_to_many"
    )
    observed = rows[rows["obsTime"] > 0]
    return _Found(
        _panstarrs_rows(position, rows),
        matches.groupby("target")["objID"].nunique(),
        _repeated(observed, ["target", "filterID", "obsTime"]),
    )


def _panstarrs_rows(position: SkyCoord, rows: pd.DataFrame) -> pd.DataFrame:
    mjd = rows["obsTime"].where(rows["obsTime"] > 0).to_numpy()
    flux = rows["psfFlux"].where(rows["psfFlux"] != -999).to_numpy()
    error = rows["psfFluxErr"].where(rows["psfFluxErr"] != -999).to_numpy()
    has_time = ~np.isnan(mjd)
    mjd_tdb = np.full(len(rows), np.nan)
    mjd_tdb[has_time] = _geocentric_to_barycentric(
        mjd[has_time], position[rows["target"][has_time]], scale="tai"
    )
    return pd.DataFrame(
        {
            "target": rows["target"],
            "band": rows["filterID"].map(_PANSTARRS_BANDS),
            "time_mjd": mjd,
            "time_mjd_tdb": mjd_tdb,
            "flux_mjy": (flux * u.Jy).to_value(u.mJy),
            "flux_err_mjy": (error * u.Jy).to_value(u.mJy),
            "native_value": flux,
            "native_err": error,
            "flags_native": rows["infoFlag"].astype(np.int64),
            "quality": _quality(
                bad=((rows["psfQfPerfect"] <= 0.9) | np.isnan(flux)).to_numpy(),
                suspect=np.zeros(len(rows), bool),
            ),
            "kind": "detection",
            "survey_object_id": rows["objID"].astype(str),
            "match_arcsec": rows["match_arcsec"],
        }
    )


def _find_neowise(position: SkyCoord, radius_arcsec: float, *subsets: pa.Table) -> _Found:
    neowise = pa.concat_tables(subsets)
    pairs = _match(position, neowise["ra"].to_numpy(), neowise["dec"].to_numpy(), radius_arcsec)
    matches = _matched_rows(pairs, neowise)
    rows = [_neowise_rows(position, matches, band) for band in _UNWISE_BANDS]
    return _Found(
        pd.concat(rows, ignore_index=True),
        matches.groupby("target")["source_id"].nunique(),
        _repeated(matches, ["target", "mjd"]),
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
            "time_mjd_tdb": _geocentric_to_barycentric(mjd, position[matches["target"]]),
            "flux_mjy": flux_mjy,
            "flux_err_mjy": 0.4 * np.log(10.0) * flux_mjy * mag_err,
            "native_value": mag,
            "native_err": mag_err,
            "flags_native": pd.array([None] * len(matches), dtype="Int64"),
            "quality": _quality(bad=(bad | np.isnan(mag)).to_numpy(), suspect=bad.to_numpy()),
            "kind": np.where(np.isfinite(mag) & np.isnan(mag_err), "limit", "detection"),
            "survey_object_id": matches["source_id"],
            "match_arcsec": matches["match_arcsec"],
        }
    )


_FIND: dict[str, Callable[..., _Found]] = {
    "gaia": _find_gaia,
    "neowise": _find_neowise,
    "panstarrs": _find_panstarrs,
    "unwise": _find_unwise,
    "ztf": _find_ztf,
}


def _geocentric_to_barycentric(
    mjd: NDArray[np.float64], direction: SkyCoord, scale: str = "utc"
) -> NDArray[np.float64]:
    time = Time(mjd, format="mjd", scale=scale)
    _, earth = erfa.epv00(time.tdb.jd1, time.tdb.jd2)
    return (time.tdb + _light_travel_time(earth, direction)).mjd


def _heliocentric_to_barycentric(
    hmjd: NDArray[np.float64], direction: SkyCoord
) -> NDArray[np.float64]:
    heliocentric = Time(hmjd, format="mjd", scale="utc")
    time = heliocentric
    # The delay belongs to the time at the geocentre, which is sought: two rounds give it to 5 us.
    for _ in range(2):
        earth, _ = erfa.epv00(time.tdb.jd1, time.tdb.jd2)
        time = heliocentric - _light_travel_time(earth, direction)
    return _geocentric_to_barycentric(time.mjd, direction)


def _light_travel_time(earth: NDArray[np.void], direction: SkyCoord) -> u.Quantity:
    """Return how much earlier light arrives at the Earth than at the origin of its position."""
    ahead_au = np.einsum("ij,ij->i", earth["p"], direction.cartesian.xyz.value.T)
    return ahead_au * u.au / constants.c
