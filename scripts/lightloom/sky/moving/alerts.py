"""Alerts of a survey like ZTF: of the moving objects, near their tracks, and of everything else."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa

from lightloom.sky.geometry import healpix_cells, shift
from lightloom.sky.moving.bodies import Body
from lightloom.sky.moving.ephemeris import Sight, magnitude, observe, uncertainty_arcsec
from lightloom.sky.moving.observers import JD_OF_MJD, SITES, View, view
from lightloom.sky.moving.orbits import Floats
from lightloom.sky.streams import random_stream

#: The nights of the survey (MJD): 2018-06-01 to 2021-12-31.
FIRST_MJD, LAST_MJD = 58270, 59580
#: Length of an exposure [s]; `jd` is its start.
EXPOSURE_S = 30.0
MID_EXPOSURE_D = EXPOSURE_S / 2 / 86400
SITE = SITES["I41"]

#: Zero of the counted nights of ZTF (MJD): 2017-01-01.
_NIGHT_ZERO = 57754
#: Value of what is missing in a packet.
MISSING = -999.0
#: Nights (MJD) with more exposures: (66391) Moshup passes at 0.033 au, with up to 20 deg a day.
_PASSAGE = np.arange(58622, 58638)
_LIMIT_MAG = 20.5
_SOUTH_DEG = -30.0
_LEAST_ELONGATION_DEG = 40.0
_ASTROMETRIC_SIGMA_ARCSEC = 0.08
_FIELD_RADIUS_ARCSEC = 3000.0

#: Columns of an alert and their types, with the names of the candidate in ZTF's packets.
SCHEMA = pa.schema(
    [
        ("_healpix_29", pa.int64()),
        ("objectId", pa.string()),
        ("candid", pa.int64()),
        ("jd", pa.float64()),
        ("fid", pa.int32()),
        ("pid", pa.int64()),
        ("diffmaglim", pa.float32()),
        ("programid", pa.int32()),
        ("isdiffpos", pa.string()),
        ("nid", pa.int32()),
        ("rcid", pa.int32()),
        ("field", pa.int32()),
        ("ra", pa.float64()),
        ("dec", pa.float64()),
        ("magpsf", pa.float32()),
        ("sigmapsf", pa.float32()),
        ("distnr", pa.float32()),
        ("magnr", pa.float32()),
        ("sigmagnr", pa.float32()),
        ("fwhm", pa.float32()),
        ("elong", pa.float32()),
        ("rb", pa.float32()),
        ("drb", pa.float32()),
        ("ssdistnr", pa.float32()),
        ("ssmagnr", pa.float32()),
        ("ssnamenr", pa.string()),
        ("sgscore1", pa.float32()),
        ("distpsnr1", pa.float32()),
        ("ndethist", pa.int32()),
        ("magzpsci", pa.float32()),
        ("exptime", pa.float32()),
    ]
)


@dataclass(frozen=True)
class AlertNumbers:
    """How many alerts there are.

    Attributes
    ----------
    per_body : int
        Most alerts of an object.
    companions : int
        Alerts elsewhere in the same exposure, for each alert of an object.
    background : int
        Alerts anywhere at any time.
    """

    per_body: int = 90
    companions: int = 1
    background: int = 3000


def draw_alerts(bodies: list[Body], seed: int, numbers: AlertNumbers) -> pd.DataFrame:
    """Return alerts, sorted by cell, time and position.

    An object is seen where its orbit puts it at the middle of an exposure, with an error of
    0.08 arcsec; one with a large uncertainty off by half of it. Each of its alerts has others: at
    the same place at another time, beside the track at the same time, and far away in the same
    exposure.

    Parameters
    ----------
    bodies : list of Body
        One solution of each object.
    seed : int
        Seed of the sky.
    numbers : AlertNumbers
        How many.

    Returns
    -------
    pandas.DataFrame
        Columns of `SCHEMA`.
    """
    rng = random_stream(seed, "moving", "exposures")
    utc_mjd = _exposures(rng)
    seen_from = view(SITE, utc_mjd + MID_EXPOSURE_D)
    seen = pd.concat(
        [_alerts_of(body, utc_mjd, seen_from, seed, numbers.per_body) for body in bodies],
        ignore_index=True,
    )
    rng = random_stream(seed, "moving", "others")
    parts = [
        seen,
        at_other_times(seen, rng),
        beside(seen, rng, 8.0, 90.0),
        *(beside(seen, rng, 100.0, _FIELD_RADIUS_ARCSEC) for _ in range(numbers.companions)),
        anywhere(numbers.background, rng),
    ]
    return finish(pd.concat(parts, ignore_index=True), rng)


def _alerts_of(body: Body, utc_mjd: Floats, seen_from: View, seed: int, most: int) -> pd.DataFrame:
    rng = random_stream(seed, "moving", body.designation)
    sight = observe(body.orbit, seen_from)
    # The head of a comet is fainter than the whole.
    mag = magnitude(body, sight) + (2.0 if body.is_comet else 0.0)
    dark = _elevation_deg(seen_from.sun - seen_from.observer, seen_from.zenith) < -12
    up = _elevation_deg(sight.direction, seen_from.zenith) > 15
    inside = (utc_mjd > body.first_mjd) & (utc_mjd < body.last_mjd)
    good = dark & up & inside & (mag < _LIMIT_MAG - 0.2) & (sight.dec_deg > _SOUTH_DEG)
    chosen = np.flatnonzero(good & (sight.elongation_deg > _LEAST_ELONGATION_DEG))
    if len(chosen) > most:
        # Where it moves fast, it is looked at more often.
        speed = np.hypot(sight.ra_rate, sight.dec_rate)[chosen]
        weight = 1 + (speed / np.median(speed)) ** 2
        chosen = np.sort(rng.choice(chosen, most, replace=False, p=weight / weight.sum()))
    ra_deg, dec_deg = _measured(body, sight, utc_mjd, rng)
    return _of_object(body, utc_mjd[chosen], ra_deg[chosen], dec_deg[chosen], mag[chosen], rng)


def _exposures(rng: np.random.Generator) -> Floats:
    """Return starts of exposures (MJD, UTC), at whole seconds."""
    usual = np.repeat(np.arange(FIRST_MJD, LAST_MJD), 2)
    nights = np.concatenate([usual, np.repeat(_PASSAGE, 24)])
    return nights + rng.integers(2 * 3600, 14 * 3600, len(nights)) / 86400


def _elevation_deg(vector: Floats, zenith: Floats) -> Floats:
    along = np.einsum("ni,ni->n", vector, zenith) / np.linalg.norm(vector, axis=-1)
    return np.degrees(np.arcsin(along))


def _measured(
    body: Body, sight: Sight, utc_mjd: Floats, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    sigma3_ra, sigma3_dec = uncertainty_arcsec(body, sight, utc_mjd)
    error = rng.normal(0.0, _ASTROMETRIC_SIGMA_ARCSEC, (2, len(utc_mjd)))
    east, north = error[0] + 0.5 * sigma3_ra, error[1] - 0.3 * sigma3_dec
    angle_deg = np.degrees(np.arctan2(east, north))
    ra_deg, dec_deg = shift(sight.ra_deg, sight.dec_deg, angle_deg, np.hypot(east, north))
    return np.asarray(ra_deg), np.asarray(dec_deg)


def _of_object(
    body: Body,
    utc_mjd: Floats,
    ra_deg: Floats,
    dec_deg: Floats,
    mag: Floats,
    rng: np.random.Generator,
) -> pd.DataFrame:
    n_alerts = len(utc_mjd)
    # Of comets the pipeline knows nothing, of asteroids often.
    known = (rng.random(n_alerts) < 0.7) & (not body.is_comet)
    filters = rng.choice([1, 2, 2, 3], n_alerts)
    sigma = error_mag(mag)
    return pd.DataFrame(
        {
            "utc_mjd": utc_mjd,
            "ra": ra_deg,
            "dec": dec_deg,
            "fid": filters,
            "magpsf": mag + np.choose(filters - 1, [0.35, -0.2, -0.35]) + rng.normal(0, sigma),
            "sigmapsf": sigma,
            "isdiffpos": "t",
            "rb": rng.beta(8, 2, n_alerts),
            "drb": rng.beta(12, 1, n_alerts),
            "ssdistnr": np.where(known, rng.exponential(0.3, n_alerts), MISSING),
            "ssmagnr": np.where(known, np.round(mag, 1), MISSING),
            "ssnamenr": np.where(known, body.designation, "null"),
        }
    )


def error_mag(mag: Floats) -> Floats:
    """Return the error of a magnitude [mag]."""
    return np.clip(0.02 * 10 ** (0.2 * (mag - 16.0)), 0.01, 0.25)


def at_other_times(
    seen: pd.DataFrame, rng: np.random.Generator, n_days: int = LAST_MJD - FIRST_MJD
) -> pd.DataFrame:
    """Return alerts some arcseconds from others, in other nights of the survey."""
    n_alerts = len(seen)
    other = others(n_alerts, rng)
    distance_arcsec = rng.exponential(4.0, n_alerts)
    other["ra"], other["dec"] = _moved(seen, rng, distance_arcsec)
    nights = rng.integers(1, 400, n_alerts) * rng.choice([-1, 1], n_alerts)
    utc_mjd = seen["utc_mjd"].to_numpy() + nights
    other["utc_mjd"] = FIRST_MJD + (utc_mjd - FIRST_MJD) % n_days
    return other


def beside(
    seen: pd.DataFrame, rng: np.random.Generator, least_arcsec: float, most_arcsec: float
) -> pd.DataFrame:
    """Return alerts at a distance from others, in the same exposures."""
    n_alerts = len(seen)
    other = others(n_alerts, rng)
    other["ra"], other["dec"] = _moved(seen, rng, rng.uniform(least_arcsec, most_arcsec, n_alerts))
    other["utc_mjd"] = seen["utc_mjd"].to_numpy()
    other["fid"] = seen["fid"].to_numpy()
    return other


def _moved(
    seen: pd.DataFrame, rng: np.random.Generator, distance_arcsec: Floats
) -> tuple[Floats, Floats]:
    direction_deg = rng.uniform(0, 360, len(seen))
    ra_deg, dec_deg = shift(
        seen["ra"].to_numpy(), seen["dec"].to_numpy(), direction_deg, distance_arcsec
    )
    return np.asarray(ra_deg), np.asarray(dec_deg)


def anywhere(
    n_alerts: int, rng: np.random.Generator, n_days: int = LAST_MJD - FIRST_MJD
) -> pd.DataFrame:
    """Return alerts all over the footprint and the nights of the survey."""
    other = others(n_alerts, rng)
    other["ra"] = rng.uniform(0.0, 360.0, n_alerts)
    south = np.sin(np.radians(_SOUTH_DEG))
    other["dec"] = np.degrees(np.arcsin(rng.uniform(south, 1.0, n_alerts)))
    nights = FIRST_MJD + rng.integers(0, n_days, n_alerts)
    other["utc_mjd"] = nights + rng.integers(2 * 3600, 14 * 3600, n_alerts) / 86400
    return other


def others(n_alerts: int, rng: np.random.Generator) -> pd.DataFrame:
    """Return alerts of anything, without times and positions."""
    mag = rng.uniform(15.0, _LIMIT_MAG, n_alerts)
    return pd.DataFrame(
        {
            "fid": rng.choice([1, 2, 2, 3], n_alerts),
            "magpsf": mag,
            "sigmapsf": error_mag(mag),
            "isdiffpos": rng.choice(["t", "t", "f"], n_alerts),
            "rb": rng.beta(2, 2, n_alerts),
            "drb": rng.beta(2, 1, n_alerts),
            "ssdistnr": MISSING,
            "ssmagnr": MISSING,
            "ssnamenr": "null",
        }
    )


def finish(alerts: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Give alerts their identifiers and the columns that nothing depends on.

    Parameters
    ----------
    alerts : pandas.DataFrame
        Start of the exposure `utc_mjd`, position, brightness, scores and what is known; `owner`,
        if there, is passed on.
    rng : numpy.random.Generator
        For the rest.

    Returns
    -------
    pandas.DataFrame
        Columns of `SCHEMA`, sorted by cell, time and position.
    """
    alerts = alerts.assign(
        _healpix_29=healpix_cells(alerts["ra"], alerts["dec"], 29),
        jd=np.round(alerts["utc_mjd"] + JD_OF_MJD, 7),
    )
    alerts = alerts.sort_values(["_healpix_29", "jd", "ra", "dec"], ignore_index=True)
    n_alerts = len(alerts)
    night, part = np.divmod(alerts["utc_mjd"].to_numpy() - _NIGHT_ZERO, 1)
    # The processed image: night, millionths of it, readout channel; alerts are counted in it.
    channel = rng.integers(0, 64, n_alerts)
    image = (night.astype(np.int64) * 10**6 + (part * 1e6).astype(np.int64)) * 1000 + channel
    count = alerts.groupby(image).cumcount().to_numpy()
    finished = pd.DataFrame(
        {
            "_healpix_29": alerts["_healpix_29"],
            "objectId": [f"ZTF{18 + i % 4}a{_letters(i)}" for i in range(n_alerts)],
            "candid": image * 10**6 + 15_000 + count,
            "jd": alerts["jd"],
            "fid": alerts["fid"],
            "pid": image,
            "diffmaglim": rng.uniform(_LIMIT_MAG, 21.0, n_alerts),
            "programid": rng.choice([1, 1, 2], n_alerts),
            "isdiffpos": alerts["isdiffpos"],
            "nid": night,
            "rcid": channel,
            "field": rng.integers(200, 900, n_alerts),
            "ra": alerts["ra"],
            "dec": alerts["dec"],
            "magpsf": alerts["magpsf"],
            "sigmapsf": alerts["sigmapsf"],
            "distnr": rng.exponential(8.0, n_alerts),
            "magnr": rng.uniform(16.0, 22.0, n_alerts),
            "sigmagnr": rng.uniform(0.01, 0.2, n_alerts),
            "fwhm": rng.uniform(1.5, 4.0, n_alerts),
            "elong": rng.uniform(1.0, 1.6, n_alerts),
            "rb": alerts["rb"],
            "drb": alerts["drb"],
            "ssdistnr": alerts["ssdistnr"],
            "ssmagnr": alerts["ssmagnr"],
            "ssnamenr": alerts["ssnamenr"],
            "sgscore1": rng.random(n_alerts),
            "distpsnr1": rng.exponential(5.0, n_alerts),
            "ndethist": rng.integers(1, 9, n_alerts),
            "magzpsci": rng.uniform(25.8, 26.4, n_alerts),
            "exptime": EXPOSURE_S,
        }
    )
    return finished.assign(owner=alerts["owner"]) if "owner" in alerts else finished


def _letters(number: int) -> str:
    digits = []
    for _ in range(6):
        number, digit = divmod(number, 26)
        digits.append("abcdefghijklmnopqrstuvwxyz"[digit])
    return "".join(reversed(digits))
