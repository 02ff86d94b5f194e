"""Rubin of the embedded sky: objects, forced photometry on every visit, the visits.

The tables have the names and columns of Data Preview 1, which covers a few fields of the sky.
"""

import numpy as np
import pandas as pd
import pyarrow as pa

from lightloom.sky.fields import described_field
from lightloom.sky.geometry import healpix_cells, scatter
from lightloom.sky.services.brightness import magnitudes
from lightloom.sky.services.tables import to_table
from lightloom.sky.streams import random_stream

OBJECT = pa.schema(
    [
        described_field("objectId", pa.int64(), "object identifier", ucd="meta.id;meta.main"),
        described_field("coord_ra", pa.float64(), "right ascension", "deg", ucd="pos.eq.ra"),
        described_field("coord_dec", pa.float64(), "declination", "deg", ucd="pos.eq.dec"),
        described_field(
            "detect_isPrimary",
            pa.bool_(),
            "whether it is the one entry of its source among overlapping patches and blends",
            ucd="meta.code",
        ),
    ]
)

#: Flags of a forced measurement.
FLAGS = (
    "psfFlux_flag",
    "invalidPsfFlag",
    "pixelFlags_bad",
    "pixelFlags_saturatedCenter",
    "pixelFlags_suspectCenter",
    "pixelFlags_nodataCenter",
)
FORCED_SOURCE = pa.schema(
    [
        described_field("objectId", pa.int64(), "its object", ucd="meta.id"),
        described_field("visit", pa.int64(), "visit", ucd="meta.id;obs.exposure"),
        described_field("detector", pa.int32(), "detector", ucd="meta.id;instr.det"),
        described_field("band", pa.string(), "band", ucd="instr.bandpass"),
        described_field("psfFlux", pa.float32(), "PSF flux", "nJy", ucd="phot.flux.density"),
        described_field(
            "psfFluxErr", pa.float32(), "its error", "nJy", ucd="stat.error;phot.flux.density"
        ),
        *(described_field(name, pa.bool_(), "flag", ucd="meta.code.qual") for name in FLAGS),
    ]
)
VISIT = pa.schema(
    [
        described_field("visit", pa.int64(), "visit", ucd="meta.id;obs.exposure;meta.main"),
        described_field("band", pa.string(), "band", ucd="instr.bandpass"),
        described_field(
            "expMidptMJD", pa.float64(), "middle of the exposure (TAI)", "d", ucd="time.epoch"
        ),
        described_field("expTime", pa.float64(), "exposure time", "s", ucd="time.duration"),
    ]
)

#: Order of the nested HEALPix cells that are the fields.
FIELD_ORDER = 5
#: The fields.
FIELDS = (4407, 4448, 4449, 4450, 4454, 4522, 4697, 4912, 6499, 6757, 6759, 9783, 12198)
#: The same as an ASCII MOC.
FOOTPRINT_MOC = f"{FIELD_ORDER}/" + " ".join(map(str, FIELDS))

# Band: the band in which sources are like, and how much fainter. [mag]
_COLOURS = {
    "u": ("g", 0.9),
    "g": ("g", 0.0),
    "r": ("r", 0.0),
    "i": ("i", 0.0),
    "z": ("i", -0.15),
    "y": ("i", -0.2),
}
_VISITS = {"u": 4, "g": 9, "r": 11, "i": 8, "z": 5, "y": 3}
_NOISE_NJY = {"u": 180.0, "g": 110.0, "r": 130.0, "i": 180.0, "z": 300.0, "y": 700.0}
_EXPOSURE_S = 30.0
_SURVEY_MJD = (60_623.0, 60_655.0)
_DETECTORS = 9
_FLAG_SHARE, _NO_FLUX_SHARE = 0.015, 0.01
#: Magnitude of a source with a flux of 1 nJy.
_ZERO_POINT_MAG = 31.4


def observe(sources: pd.DataFrame, seed: int) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Return the tables for some sources.

    Parameters
    ----------
    sources : pandas.DataFrame
        As `lightloom.sky.sources.source_table` gives them.
    seed : int
        Seed of the sky.

    Returns
    -------
    objects, forced_sources, visits : pyarrow.Table
        In the schemas `OBJECT`, `FORCED_SOURCE` and `VISIT`.
    """
    field = healpix_cells(sources["ra_deg"], sources["dec_deg"], FIELD_ORDER)
    is_seen = sources["in_rubin"].to_numpy() & np.isin(field, FIELDS)
    sources = sources[is_seen].reset_index(drop=True)
    rng = random_stream(seed, "rubin objects")
    ra_deg, dec_deg = scatter(
        sources["ra_deg"].to_numpy(),
        sources["dec_deg"].to_numpy(),
        0.3 * sources["scatter_arcsec"].to_numpy(),
        rng,
    )
    objects = pd.DataFrame(
        {
            "object": np.arange(len(sources)),
            "objectId": (healpix_cells(ra_deg, dec_deg, 12) << 22) + np.arange(len(sources)) + 1,
            "coord_ra": ra_deg,
            "coord_dec": dec_deg,
            "detect_isPrimary": sources["rubin_is_primary"],
            "field": field[is_seen],
        }
    )
    visits = _visits(seed)
    forced = _forced_sources(objects, visits, sources, seed)
    return (
        to_table(objects.sort_values("objectId"), OBJECT),
        to_table(forced.sort_values(["objectId", "visit"]), FORCED_SOURCE),
        to_table(visits.sort_values("visit"), VISIT),
    )


def _visits(seed: int) -> pd.DataFrame:
    rows = []
    for field in FIELDS:
        rng = random_stream(seed, "rubin visits", field)
        band = np.repeat(list(_VISITS), list(_VISITS.values()))
        night = np.floor(rng.uniform(*_SURVEY_MJD, band.size))
        rows.append(
            pd.DataFrame(
                {
                    "field": field,
                    "band": band,
                    "expMidptMJD": night + rng.uniform(0.05, 0.35, band.size),
                }
            )
        )
    visits = pd.concat(rows, ignore_index=True)
    visits["expTime"] = _EXPOSURE_S
    visits = visits.sort_values("expMidptMJD", ignore_index=True)
    # A visit's number is the day (of one of the later months of 2024) and the number in it.
    day = np.floor(visits["expMidptMJD"]).astype(np.int64)
    number = visits.groupby(day).cumcount() + 1
    november_mjd = 60_615
    date = np.where(day < november_mjd + 30, 20241101, 20241201 - 30) + day - november_mjd
    return visits.assign(visit=date * 100_000 + number)


def _forced_sources(
    objects: pd.DataFrame, visits: pd.DataFrame, sources: pd.DataFrame, seed: int
) -> pd.DataFrame:
    forced = objects.merge(visits, on="field").sort_values(["object", "visit"], ignore_index=True)
    rng = random_stream(seed, "rubin photometry")
    n_rows, source = len(forced), forced["object"].to_numpy()
    mag = magnitudes(sources, source, forced["band"], forced["expMidptMJD"], _COLOURS, seed)
    flux = 10.0 ** (0.4 * (_ZERO_POINT_MAG - mag))
    error = np.hypot(forced["band"].map(_NOISE_NJY), 0.005 * flux) * rng.uniform(0.9, 1.2, n_rows)
    flags = {name: rng.random(n_rows) < _FLAG_SHARE for name in FLAGS}
    has_no_flux = rng.random(n_rows) < _NO_FLUX_SHARE
    flags["psfFlux_flag"] |= has_no_flux
    return forced.assign(
        detector=rng.integers(0, _DETECTORS, n_rows),
        psfFlux=np.where(has_no_flux, np.nan, flux + error * rng.normal(size=n_rows)),
        psfFluxErr=np.where(has_no_flux, np.nan, error),
        **flags,
    )
