"""HEASARC of the embedded sky: triggers, neutrinos and X-ray detections.

The tables have names and columns of those that HEASARC serves. Gamma-ray triggers are placed to
some degrees, neutrinos to a fraction of one, X-ray detections to an arcsecond.
"""

import numpy as np
import pandas as pd
import pyarrow as pa
from astropy.time import Time
from numpy.typing import NDArray

from lightloom.sky.fields import described_field
from lightloom.sky.geometry import healpix_cells, scatter, shift
from lightloom.sky.service_places import EVENT_EDGE
from lightloom.sky.services.tables import to_table
from lightloom.sky.sources import AGN
from lightloom.sky.streams import random_stream

_RA = described_field("ra", pa.float64(), "right ascension", "deg", ucd="pos.eq.ra;meta.main")
_DEC = described_field("dec", pa.float64(), "declination", "deg", ucd="pos.eq.dec;meta.main")
_TIME = described_field("time", pa.float64(), "time, MJD (UTC)", "d", ucd="time.start")
_ERROR = described_field(
    "error_radius", pa.float64(), "radius of the error circle", "deg", ucd="stat.error;pos"
)

FERMIGTRIG = pa.schema(
    [
        described_field("trigger_name", pa.string(), "trigger", ucd="meta.id;meta.main"),
        _RA,
        _DEC,
        _ERROR,
        _TIME,
        described_field("trigger_type", pa.string(), "class of the trigger", ucd="meta.code.class"),
        described_field("reliability", pa.float64(), "probability of the class", ucd="stat"),
    ]
)
SAXGRBMGRB = pa.schema(
    [described_field("name", pa.string(), "burst", ucd="meta.id"), _TIME, _RA, _DEC, _ERROR]
)
ICECUBEPSC = pa.schema(
    [
        _TIME,
        _RA,
        _DEC,
        _ERROR,
        described_field("event_energy", pa.float64(), "energy", "GeV", ucd="phys.energy"),
    ]
)
XMMSSC = pa.schema(
    [
        described_field("detid", pa.int64(), "detection identifier", ucd="meta.id;meta.main"),
        described_field("srcid", pa.int64(), "source identifier", ucd="meta.id"),
        described_field("name", pa.string(), "source", ucd="meta.id"),
        _RA,
        _DEC,
        described_field(
            "error_radius", pa.float64(), "error of the position", "arcsec", ucd="stat.error;pos"
        ),
        _TIME,
        described_field(
            "ep_8_flux",
            pa.float64(),
            "flux between 0.2 and 12 keV",
            "erg/s/cm**2",
            ucd="phot.flux;em.X-ray",
        ),
        described_field(
            "ep_8_flux_error",
            pa.float64(),
            "its error",
            "erg/s/cm**2",
            ucd="stat.error;phot.flux;em.X-ray",
        ),
        described_field("sum_flag", pa.int32(), "0 good to 4 bad", ucd="meta.code.qual"),
    ]
)

_TRIGGERS, _BURSTS, _NEUTRINOS = 300, 150, 3000
_FERMI_MJD, _SAX_MJD = (54_661.0, 60_400.0), (50_270.0, 52_390.0)
_ICECUBE_MJD, _XMM_MJD = (54_562.0, 58_309.0), (54_600.0, 59_200.0)
_TRIGGER_TYPES = {
    "GRB": 0.45,
    "SFLARE": 0.2,
    "TGF": 0.15,
    "SGR": 0.06,
    "LOCLPAR": 0.05,
    "DISTPAR": 0.04,
    "TRANSNT": 0.03,
    "UNCERT": 0.02,
}
# Distance of the edge of a designed event's error circle from its target. [arcsec]
_MARGIN_ARCSEC = 0.36
_DETECTIONS = (2, 8)
_DETECTIONS_PER_OBSERVATION, _FIRST_SRCID = 10_000, 200_000_000_000_000
_X_RAY_MAG = 17.0


def observe_events(seed: int) -> dict[str, pa.Table]:
    """Return the tables of events.

    Parameters
    ----------
    seed : int
        Seed of the sky.

    Returns
    -------
    dict of str to pyarrow.Table
        ``fermigtrig``, ``saxgrbmgrb`` and ``icecubepsc``, in the schemas of this module.
    """
    rng = random_stream(seed, "fermigtrig")
    events = _events(_TRIGGERS, _FERMI_MJD, 4.0, rng)
    fermigtrig = events.assign(
        trigger_name=_names("bn{:%y%m%d}{:03d}", events["time"]),
        trigger_type=rng.choice(list(_TRIGGER_TYPES), len(events), p=list(_TRIGGER_TYPES.values())),
        reliability=np.round(rng.uniform(0.5, 1.0, len(events)), 3),
    )
    rng = random_stream(seed, "saxgrbmgrb")
    events = _events(_BURSTS, _SAX_MJD, 7.0, rng)
    saxgrbmgrb = events.assign(name=_names("GRB {:%y%m%d}.{:03d}", events["time"]))
    rng = random_stream(seed, "icecubepsc")
    events = _events(_NEUTRINOS, _ICECUBE_MJD, 0.6, rng, least_deg=0.2, most_deg=2.0)
    icecubepsc = events.assign(event_energy=10.0 ** rng.uniform(2.0, 6.3, len(events)))
    return {
        "fermigtrig": to_table(fermigtrig.sort_values("time"), FERMIGTRIG),
        "saxgrbmgrb": to_table(saxgrbmgrb.sort_values("time"), SAXGRBMGRB),
        "icecubepsc": to_table(icecubepsc.sort_values("time"), ICECUBEPSC),
    }


def _events(
    n_events: int,
    span_mjd: tuple[float, float],
    median_deg: float,
    rng: np.random.Generator,
    *,
    least_deg: float = 0.5,
    most_deg: float = 25.0,
) -> pd.DataFrame:
    """Return events all over the sky, and two whose circles end beside the same target."""
    ra_deg = rng.uniform(0.0, 360.0, n_events)
    dec_deg = np.degrees(np.arcsin(rng.uniform(-1.0, 1.0, n_events)))
    radius_deg = np.clip(median_deg * np.exp(0.6 * rng.normal(size=n_events)), least_deg, most_deg)
    # The circle of the first contains the target, that of the second ends before it.
    for angle_deg, sign in ((70.0, 1.0), (250.0, -1.0)):
        ra, dec = shift(EVENT_EDGE.ra_deg, EVENT_EDGE.dec_deg, angle_deg, 3600.0 * median_deg)
        ra_deg, dec_deg = np.append(ra_deg, ra), np.append(dec_deg, dec)
        radius_deg = np.append(radius_deg, median_deg + sign * _MARGIN_ARCSEC / 3600.0)
    # Circles that contain the poles, and so all right ascensions near them.
    ra_deg[:2], dec_deg[:2] = 123.0, (89.5, -89.5)
    radius_deg[:2] = np.maximum(radius_deg[:2], 0.7)
    return pd.DataFrame(
        {
            "ra": ra_deg,
            "dec": dec_deg,
            "error_radius": radius_deg,
            # Times are published to the microsecond or so; more digits would not survive as text.
            "time": np.round(rng.uniform(*span_mjd, len(ra_deg)), 9),
        }
    )


def _names(form: str, time_mjd: pd.Series) -> list[str]:
    """Return names from the date and the thousandth of the day."""
    dates = Time(np.floor(time_mjd.to_numpy()), format="mjd", scale="utc").to_datetime()
    parts = (time_mjd.to_numpy() % 1.0 * 1000.0).astype(np.int64)
    return [form.format(date, part) for date, part in zip(dates, parts, strict=True)]


def observe_xmm(sources: pd.DataFrame, seed: int) -> pa.Table:
    """Return the X-ray detections of some sources.

    Parameters
    ----------
    sources : pandas.DataFrame
        As `lightloom.sky.sources.source_table` gives them.
    seed : int
        Seed of the sky.

    Returns
    -------
    pyarrow.Table
        In the schema `XMMSSC`.
    """
    sources = sources[sources["in_xmm"]].reset_index(drop=True)
    # Sources of the same cell are seen by the same observations.
    field = healpix_cells(sources["ra_deg"], sources["dec_deg"], 7)
    observations = pd.concat([_observations(cell, seed) for cell in np.unique(field)])
    rows = sources.assign(source=np.arange(len(sources)), field=field).merge(
        observations, on="field"
    )
    rows = rows.sort_values(["source", "time"], ignore_index=True)
    rng = random_stream(seed, "xmm photometry")
    n_rows = len(rows)
    error_arcsec = np.round(rng.uniform(0.3, 1.5, n_rows), 4)
    # Sources at the rim of the radius shall stay on their side of it.
    spread_arcsec = np.where(rows["scatter_arcsec"] > 0.0, 0.5 * error_arcsec, 0.0)
    ra_deg, dec_deg = scatter(
        rows["ra_deg"].to_numpy(), rows["dec_deg"].to_numpy(), spread_arcsec, rng
    )
    flux = _x_ray_flux(rows, rng)
    error = 0.05 * flux + 2.0e-15
    flux = np.where(rng.random(n_rows) < 0.02, np.nan, flux + error * rng.normal(size=n_rows))
    number = rows.groupby("observation").cumcount() + 1
    columns = {
        "detid": rows["observation"] * _DETECTIONS_PER_OBSERVATION + number,
        "srcid": _FIRST_SRCID + rows["source"] * 1_000 + 1,
        "name": _position_names(sources)[rows["source"]],
        "ra": ra_deg,
        "dec": dec_deg,
        "error_radius": error_arcsec,
        "time": rows["time"],
        "ep_8_flux": flux,
        "ep_8_flux_error": error,
        "sum_flag": rng.choice(5, n_rows, p=[0.7, 0.12, 0.08, 0.06, 0.04]),
    }
    return to_table(columns, XMMSSC)


def _observations(field: np.int64, seed: int) -> pd.DataFrame:
    rng = random_stream(seed, "xmm observations", int(field))
    time_mjd = np.sort(rng.uniform(*_XMM_MJD, rng.integers(*_DETECTIONS)))
    return pd.DataFrame(
        {
            "field": field,
            "time": np.round(time_mjd, 6),
            "observation": 10_000_000_000 + int(field) * 1_000 + np.arange(time_mjd.size),
        }
    )


def _x_ray_flux(rows: pd.DataFrame, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return fluxes [erg/s/cm2] in the order of those of nuclei as bright."""
    brightness = 10.0 ** (-0.4 * (rows["r_mag"].to_numpy() - _X_RAY_MAG))
    flickering = np.where(rows["kind"] == AGN, np.exp(0.4 * rng.normal(size=len(rows))), 1.0)
    return 2.0e-12 * brightness * flickering


def _position_names(sources: pd.DataFrame) -> NDArray[np.object_]:
    return np.array(
        [
            f"4XMM J{ra:010.6f}{dec:+010.6f}"
            for ra, dec in zip(sources["ra_deg"], sources["dec_deg"], strict=True)
        ],
        dtype=object,
    )
