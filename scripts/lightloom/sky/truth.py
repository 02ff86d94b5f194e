"""What a search of the embedded sky must find, computed without the code that is to be tested.

Matches are found on the whole catalogues at once; times and fluxes are converted by
astropy and ERFA.
"""

from collections.abc import Sequence
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
        described_field("archive", pa.string(), "ztf or unwise"),
        described_field("band", pa.string(), "g, r, i, W1 or W2"),
        described_field("time_mjd", pa.float64(), "time as catalogued", "d"),
        described_field("time_mjd_tdb", pa.float64(), "TDB at the barycentre", "d"),
        described_field("flux_mjy", pa.float64(), "flux density", "mJy"),
        described_field("flux_err_mjy", pa.float64(), "its 1-sigma error", "mJy"),
        described_field("native_value", pa.float64(), "AB magnitude, or Vega nanomaggies"),
        described_field("native_err", pa.float64(), "its 1-sigma error"),
        described_field("flags_native", pa.int64(), "catflags, or flags_unwise"),
        described_field("survey_object_id", pa.string(), "objectid, or unwise_detid"),
        described_field("match_arcsec", pa.float64(), "distance from the target", "arcsec"),
    ]
)

STATES = pa.schema(
    [
        described_field("objectid", pa.string(), "target"),
        described_field("archive", pa.string(), "ztf or unwise"),
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


def compute_truth(
    targets: Sequence[Target],
    ztf: pa.Table,
    unwise: pa.Table,
    ztf_footprint: Footprint,
    unwise_footprint: Footprint,
) -> tuple[pa.Table, pa.Table]:
    """Compute what each target must get from each catalogue.

    Parameters
    ----------
    targets : sequence of Target
        Targets after merging.
    ztf, unwise : pyarrow.Table
        The whole catalogues.
    ztf_footprint, unwise_footprint : Footprint
        Their partitions and search radii.

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

    ztf_matches = _ztf_matches(position, ztf, ztf_footprint.radius_arcsec)
    unwise_matches = _unwise_matches(position, unwise, unwise_footprint.radius_arcsec)
    archives = {
        "ztf": (
            _ztf_rows(position, ztf_matches),
            ztf_matches.groupby("target")["objectid"].nunique(),
            _repeated(ztf_matches, ["target", "fieldid", "rcid", "filterid"]),
            ztf_footprint,
        ),
        "unwise": (
            _unwise_rows(position, unwise_matches),
            unwise_matches.groupby("target")["unwise_detid"].nunique(),
            _repeated(
                unwise_matches[unwise_matches["primary"] == 1], ["target", "band", "MJDMEAN"]
            ),
            unwise_footprint,
        ),
    }
    rows = pd.concat([found.assign(archive=name) for name, (found, *_) in archives.items()])
    rows = rows.sort_values(_ORDER)
    rows["objectid"] = np.array([t.objectid for t in targets])[rows["target"]]
    states = [
        _state(number, target, archive, found, int(n_sources.get(number, 0)), ambiguous, footprint)
        for number, target in enumerate(targets)
        for archive, (found, n_sources, ambiguous, footprint) in sorted(archives.items())
    ]
    return (
        pa.Table.from_pandas(rows, LIGHTCURVES, preserve_index=False).replace_schema_metadata(),
        pa.Table.from_pylist(states, STATES),
    )


def _state(
    number: int,
    target: Target,
    archive: str,
    rows: pd.DataFrame,
    n_sources: int,
    ambiguous: set[int],
    footprint: Footprint,
) -> dict[str, Any]:
    found = rows[rows["target"] == number]
    if number in ambiguous:
        state = "ambiguous"
    elif len(found):
        state = "data"
    elif footprint.is_touched_by(target):
        state = "searched_empty"
    else:
        state = "outside_footprint"
    return {
        "objectid": target.objectid,
        "archive": archive,
        "state": state,
        "n_rows": len(found),
        "n_sources": n_sources,
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


def _ztf_matches(position: SkyCoord, ztf: pa.Table, radius_arcsec: float) -> pd.DataFrame:
    pairs = _match(position, ztf["objra"].to_numpy(), ztf["objdec"].to_numpy(), radius_arcsec)
    objects = ztf.take(pairs["row"].to_numpy())
    matches = objects.drop_columns(["lightcurve"]).to_pandas()
    lightcurves = objects["lightcurve"].combine_chunks()
    for field in lightcurves.type:
        matches[field.name] = lightcurves.field(field.name).to_pylist()
    return pd.concat([pairs, matches], axis=1)


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
            "survey_object_id": epochs["objectid"].astype(str).to_numpy(),
            "match_arcsec": epochs["match_arcsec"].to_numpy(),
        }
    )


def _unwise_matches(position: SkyCoord, unwise: pa.Table, radius_arcsec: float) -> pd.DataFrame:
    pairs = _match(position, unwise["ra"].to_numpy(), unwise["dec"].to_numpy(), radius_arcsec)
    return pd.concat([pairs, unwise.take(pairs["row"].to_numpy()).to_pandas()], axis=1)


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
            "survey_object_id": matches["unwise_detid"].str.decode("ascii"),
            "match_arcsec": matches["match_arcsec"],
        }
    )


def _geocentric_to_barycentric(
    mjd: NDArray[np.float64], direction: SkyCoord
) -> NDArray[np.float64]:
    time = Time(mjd, format="mjd", scale="utc")
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
