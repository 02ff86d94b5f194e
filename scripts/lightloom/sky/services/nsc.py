"""NOIRLab Source Catalog of the embedded sky: objects, their measurements, the exposures.

The tables have the names and columns of the data release 2 as the Astro Data Lab serves it.
"""

import numpy as np
import pandas as pd
import pyarrow as pa
from astropy.time import Time
from numpy.typing import NDArray

from lightloom.sky.fields import described_field
from lightloom.sky.geometry import healpix_cells, scatter, shift
from lightloom.sky.services.brightness import magnitudes
from lightloom.sky.services.tables import to_table
from lightloom.sky.streams import random_stream

OBJECT = pa.schema(
    [
        described_field("id", pa.string(), "object identifier", ucd="meta.id;meta.main"),
        described_field("ra", pa.float64(), "right ascension", "deg", ucd="pos.eq.ra;meta.main"),
        described_field("dec", pa.float64(), "declination", "deg", ucd="pos.eq.dec;meta.main"),
        described_field("pmra", pa.float64(), "proper motion", "mas/yr", ucd="pos.pm;pos.eq.ra"),
        described_field("pmdec", pa.float64(), "proper motion", "mas/yr", ucd="pos.pm;pos.eq.dec"),
        described_field("ndet", pa.int32(), "measurements", ucd="meta.number"),
    ]
)
MEAS = pa.schema(
    [
        described_field("measid", pa.string(), "measurement identifier", ucd="meta.id;meta.main"),
        described_field("objectid", pa.string(), "its object", ucd="meta.id"),
        described_field("exposure", pa.string(), "its exposure", ucd="meta.id;obs.exposure"),
        described_field("ccdnum", pa.int32(), "CCD", ucd="meta.id;instr.det"),
        described_field("filter", pa.string(), "band", ucd="instr.bandpass"),
        described_field("mjd", pa.float64(), "start of the exposure (UTC)", "d", ucd="time.start"),
        described_field("ra", pa.float64(), "right ascension", "deg", ucd="pos.eq.ra"),
        described_field("dec", pa.float64(), "declination", "deg", ucd="pos.eq.dec"),
        described_field("mag_auto", pa.float32(), "Kron magnitude, AB", "mag", ucd="phot.mag"),
        described_field("magerr_auto", pa.float32(), "its error", "mag", ucd="stat.error;phot.mag"),
        described_field("fwhm", pa.float32(), "width of the image", "arcsec", ucd="phys.angSize"),
        described_field("flags", pa.int32(), "flags of Source Extractor", ucd="meta.code.qual"),
        described_field("class_star", pa.float32(), "stellarity", ucd="src.class.starGalaxy"),
    ]
)
EXPOSURE = pa.schema(
    [
        described_field("exposure", pa.string(), "exposure", ucd="meta.id;obs.exposure;meta.main"),
        described_field("filter", pa.string(), "band", ucd="instr.bandpass"),
        described_field("mjd", pa.float64(), "start of the exposure (UTC)", "d", ucd="time.start"),
        described_field("exptime", pa.float64(), "exposure time", "s", ucd="time.duration"),
    ]
)

#: Magnitude and error of a measurement without one.
MISSING_MAG = 99.99

#: Its telescopes see little of the northern sky.
DEC_MAX_DEG = 32.2

# Band: the band in which sources are like, and how much fainter. [mag]
_COLOURS = {
    "u": ("g", 0.9),
    "g": ("g", 0.0),
    "r": ("r", 0.0),
    "i": ("i", 0.0),
    "z": ("i", -0.15),
    "Y": ("i", -0.2),
    "VR": ("r", 0.1),
}
_EXPOSURES = {"u": 2, "g": 5, "r": 5, "i": 4, "z": 4, "Y": 2, "VR": 3}
_EXPOSURE_S = {"u": 150.0, "g": 90.0, "r": 90.0, "i": 90.0, "z": 90.0, "Y": 45.0, "VR": 240.0}
_LIMIT_MAG = {"u": 23.2, "g": 24.0, "r": 23.6, "i": 23.0, "z": 22.4, "Y": 21.0, "VR": 24.2}
_SURVEY_MJD = (56_200.0, 58_700.0)
_FIELD_ORDER, _ID_ORDER, _CCDS = 5, 7, 62
_MISSING_SHARE = 0.03
_FLAGS, _FLAG_SHARES = (0, 1, 2, 3, 4, 16), (0.88, 0.04, 0.03, 0.02, 0.02, 0.01)


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
    objects, measurements, exposures : pyarrow.Table
        In the schemas `OBJECT`, `MEAS` and `EXPOSURE`.
    """
    sources = sources[sources["in_nsc"] & (sources["dec_deg"] < DEC_MAX_DEG)]
    sources = sources.reset_index(drop=True)
    objects = _objects(sources, seed)
    exposures = _exposures(np.unique(objects["field"]), seed)
    measured = _measurements(objects, exposures, sources, seed)
    objects["ndet"] = np.bincount(measured["object"], minlength=len(objects))
    objects = objects.sort_values("id")
    exposures = exposures[exposures["exposure"].isin(measured["exposure"])]
    return (
        to_table(objects, OBJECT),
        to_table(measured.sort_values(["objectid", "mjd"]), MEAS),
        to_table(exposures.sort_values("exposure"), EXPOSURE),
    )


def _objects(sources: pd.DataFrame, seed: int) -> pd.DataFrame:
    rng = random_stream(seed, "nsc objects")
    ra_deg, dec_deg = scatter(
        sources["ra_deg"].to_numpy(),
        sources["dec_deg"].to_numpy(),
        0.3 * sources["scatter_arcsec"].to_numpy(),
        rng,
    )
    cells = healpix_cells(ra_deg, dec_deg, _ID_ORDER)
    number = pd.Series(cells).groupby(cells).cumcount() + 1
    return pd.DataFrame(
        {
            "id": [f"{cell}_{n}" for cell, n in zip(cells, number, strict=True)],
            "ra": ra_deg,
            "dec": dec_deg,
            "pmra": rng.normal(0.0, 3.0, len(sources)),
            "pmdec": rng.normal(0.0, 3.0, len(sources)),
            "field": healpix_cells(sources["ra_deg"], sources["dec_deg"], _FIELD_ORDER),
            "ccdnum": healpix_cells(sources["ra_deg"], sources["dec_deg"], 9) % _CCDS + 1,
        }
    )


def _exposures(fields: NDArray[np.int64], seed: int) -> pd.DataFrame:
    """Return the exposures of some fields."""
    rows = []
    for field in fields:
        for band, n_exposures in _EXPOSURES.items():
            rng = random_stream(seed, "nsc exposures", int(field), band)
            for mjd in np.sort(rng.uniform(*_SURVEY_MJD, n_exposures)):
                rows.append((field, band, mjd, _EXPOSURE_S[band]))
    exposures = pd.DataFrame(rows, columns=["field", "filter", "mjd", "exptime"])
    start = Time(exposures["mjd"].to_numpy(), format="mjd", scale="utc")
    exposures["exposure"] = [
        f"c4d_{second}_ooi_{band}_v1"
        for second, band in zip(start.strftime("%y%m%d_%H%M%S"), exposures["filter"], strict=True)
    ]
    # A camera takes one exposure at a time.
    return exposures.drop_duplicates("exposure")


def _measurements(
    objects: pd.DataFrame, exposures: pd.DataFrame, sources: pd.DataFrame, seed: int
) -> pd.DataFrame:
    looks = objects.assign(object=np.arange(len(objects)), parity=sources["nsc_parity"]).merge(
        exposures, on="field"
    )
    looks = looks[_is_measured(looks)].reset_index(drop=True)
    rng = random_stream(seed, "nsc photometry")
    n_rows, source = len(looks), looks["object"].to_numpy()
    true_mag = magnitudes(sources, source, looks["filter"], looks["mjd"], _COLOURS, seed)
    sigma_mag = np.hypot(
        0.008, 0.1 * 10.0 ** (0.4 * (true_mag - looks["filter"].map(_LIMIT_MAG) + 1.0))
    )
    is_missing = rng.random(n_rows) < _MISSING_SHARE
    years = (looks["mjd"].to_numpy() - np.mean(_SURVEY_MJD)) / 365.25
    pmra, pmdec = (looks[name].to_numpy() for name in ("pmra", "pmdec"))
    ra_deg, dec_deg = shift(
        looks["ra"].to_numpy(),
        looks["dec"].to_numpy(),
        np.degrees(np.arctan2(pmra, pmdec)),
        np.hypot(pmra, pmdec) / 1000.0 * years,
    )
    ra_deg, dec_deg = scatter(ra_deg, dec_deg, np.full(n_rows, 0.03), rng)
    number = looks.groupby(["exposure", "ccdnum"]).cumcount() + 1
    return looks.assign(
        measid=looks["exposure"] + "." + looks["ccdnum"].astype(str) + "." + number.astype(str),
        objectid=looks["id"],
        ra=ra_deg,
        dec=dec_deg,
        mag_auto=np.where(is_missing, MISSING_MAG, true_mag + sigma_mag * rng.normal(size=n_rows)),
        magerr_auto=np.where(is_missing, MISSING_MAG, sigma_mag),
        fwhm=1.1 + rng.gamma(2.0, 0.45, n_rows),
        flags=rng.choice(_FLAGS, n_rows, p=_FLAG_SHARES),
        class_star=rng.uniform(0.6, 1.0, n_rows),
    )


def _is_measured(looks: pd.DataFrame) -> pd.Series:
    """Tell in which exposures of its field an object was measured."""
    parity = looks["parity"]
    return (parity < 0) | (looks.groupby("object").cumcount() % 2 == parity)
