"""What a matching must find: every alert compared with every object, at its mid-exposure time."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from lightloom.sky.moving.alerts import MID_EXPOSURE_D, SITE
from lightloom.sky.moving.bodies import Body
from lightloom.sky.moving.ephemeris import (
    Sight,
    magnitude,
    observe,
    uncertainty_arcsec,
    unit_vectors,
)
from lightloom.sky.moving.observers import JD_OF_MJD, Site, View, view
from lightloom.sky.moving.orbits import Floats, heliocentric

#: Widest separation [arcsec] of a pair that is listed.
WIDEST_ARCSEC = 300.0


def compare_all(bodies: Sequence[Body], alerts: pd.DataFrame) -> pd.DataFrame:
    """Return all pairs of an object and an alert that are near each other.

    Each object is put where it is at each alert's mid-exposure.

    Parameters
    ----------
    bodies : sequence of Body
        One solution of each object.
    alerts : pandas.DataFrame
        With `candid`, `jd` (start of the exposure), `ra` and `dec` [deg].

    Returns
    -------
    pandas.DataFrame
        `designation`, `candid`, `mid_mjd` (UTC), `ra` and `dec` of the alert, the predicted
        position, `separation_arcsec` up to `WIDEST_ARCSEC`, the 3-sigma uncertainties, distances
        and the phase; sorted by object and candid.
    """
    utc_mjd = (alerts["jd"].to_numpy() - JD_OF_MJD) + MID_EXPOSURE_D
    seen_from = view(SITE, utc_mjd)
    towards = unit_vectors(alerts["ra"].to_numpy(), alerts["dec"].to_numpy())
    widest = 2 * np.sin(np.radians(WIDEST_ARCSEC / 3600) / 2)
    tables = []
    for body in bodies:
        inside = (utc_mjd >= body.first_mjd) & (utc_mjd <= body.last_mjd)
        maybe = np.flatnonzero(inside & _is_roughly_near(body, seen_from, towards))
        sight = observe(body.orbit, seen_from[maybe])
        chord = np.linalg.norm(sight.direction - towards[maybe], axis=-1)
        is_near = chord <= widest
        near = maybe[is_near]
        row = _columns(body, sight, utc_mjd[maybe])[is_near]
        row.insert(1, "candid", alerts["candid"].to_numpy()[near])
        row["alert_ra_deg"] = alerts["ra"].to_numpy()[near]
        row["alert_dec_deg"] = alerts["dec"].to_numpy()[near]
        row["separation_arcsec"] = np.degrees(2 * np.arcsin(chord[is_near] / 2)) * 3600
        tables.append(row.rename(columns={"time_mjd": "mid_mjd"}))
    pairs = pd.concat(tables, ignore_index=True)
    return pairs.sort_values(["designation", "candid"], ignore_index=True)


def _is_roughly_near(body: Body, seen_from: View, towards: Floats) -> NDArray[np.bool_]:
    """Mask the times at which a body may be within `WIDEST_ARCSEC`, without its light time.

    The delay of light shifts a body by its speed over that of light: 0.03 deg at 150 km/s.
    """
    about_sun, _ = heliocentric(body.orbit, seen_from.time_mjd)
    path = seen_from.sun + about_sun - seen_from.observer
    cosine = np.einsum("ni,ni->n", path, towards) / np.linalg.norm(path, axis=-1)
    return cosine > np.cos(np.radians(WIDEST_ARCSEC / 3600 + 0.2))


def pairs_within(
    matches: pd.DataFrame, radius_arcsec: float, *, with_uncertainty: bool = True
) -> set[tuple[str, int]]:
    """Return the pairs (designation, candid) that a matching must find, and no others.

    Parameters
    ----------
    matches : pandas.DataFrame
        As `compare_all` gives them.
    radius_arcsec : float
        Largest separation of an object without uncertainty.
    with_uncertainty : bool, optional
        Whether the larger of the two 3-sigma uncertainties is added to the radius.
    """
    allowed = np.full(len(matches), float(radius_arcsec))
    if with_uncertainty:
        allowed += matches[["ra_3sigma_arcsec", "dec_3sigma_arcsec"]].max(axis=1).to_numpy()
    if len(matches) and allowed.max() > WIDEST_ARCSEC:
        raise ValueError(f"pairs are known to {WIDEST_ARCSEC} arcsec, not to {allowed.max():.0f}")
    found = matches[matches["separation_arcsec"].to_numpy() <= allowed]
    return set(zip(found["designation"], found["candid"].astype(int), strict=True))


def ephemerides(bodies: Sequence[Body], sites: Sequence[Site], utc_mjd: Floats) -> pd.DataFrame:
    """Return where all objects are seen, from all sites, at the times that they have."""
    tables = []
    for site in sites:
        seen_from = view(site, utc_mjd)
        for body in bodies:
            inside = (utc_mjd >= body.first_mjd) & (utc_mjd <= body.last_mjd)
            table = _columns(body, observe(body.orbit, seen_from), utc_mjd)[inside]
            table.insert(1, "site", site.code)
            tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _columns(body: Body, sight: Sight, utc_mjd: Floats) -> pd.DataFrame:
    ra_3sigma, dec_3sigma = uncertainty_arcsec(body, sight, utc_mjd)
    return pd.DataFrame(
        {
            "designation": body.designation,
            "time_mjd": utc_mjd,
            "ra_deg": sight.ra_deg,
            "dec_deg": sight.dec_deg,
            "ra_rate_arcsec_per_h": sight.ra_rate,
            "dec_rate_arcsec_per_h": sight.dec_rate,
            "r_au": sight.sun_distance_au,
            "delta_au": sight.distance_au,
            "phase_deg": sight.phase_deg,
            "mag": magnitude(body, sight),
            "ra_3sigma_arcsec": ra_3sigma,
            "dec_3sigma_arcsec": dec_3sigma,
        }
    )
