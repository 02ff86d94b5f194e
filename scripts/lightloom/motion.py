"""Targets moved by their proper motion to the epoch of a catalogue.

The motion follows a great circle at constant rate: the change of the rate with the star's distance
and radial velocity stays below 1 mas over decades for all but the very nearest stars. Positions of
catalogues are means of years or reduced to the barycentre, so that the parallax leaves them where
they are; only one that was measured at a single epoch shows it.
"""

import erfa
import numpy as np
import pyarrow as pa
from astropy import units as u
from numpy.typing import NDArray

from lightloom.catalogs.geometry import offset_by


def positions_at(
    shard: pa.Table, epoch_jyear: float, *, annual_parallax: bool = False
) -> tuple[NDArray, NDArray]:
    """Return the targets' positions at an epoch.

    Parameters
    ----------
    shard : pyarrow.Table
        Targets in the ``SHARD`` schema. Those without proper motion stay where they are.
    epoch_jyear : float
        Epoch of the catalogue's positions, Julian year [yr].
    annual_parallax : bool, optional
        Whether the catalogue's positions are those seen from the Earth at the epoch. Targets with a
        parallax are then moved by it.

    Returns
    -------
    ra_deg, dec_deg : ndarray, shape (n_targets,)
        ICRS positions at the epoch [deg].
    """
    ra_deg = shard["ra_deg"].to_numpy().copy()
    dec_deg = shard["dec_deg"].to_numpy().copy()
    pmra, pmdec, epoch = (
        shard[name].to_numpy(zero_copy_only=False).astype(np.float64)
        for name in ("pmra_masyr", "pmdec_masyr", "ref_epoch_jyear")
    )
    moving = np.isfinite(pmra) & np.isfinite(pmdec) & np.isfinite(epoch)
    if moving.any():
        ra_deg[moving], dec_deg[moving] = offset_by(
            ra_deg[moving],
            dec_deg[moving],
            np.degrees(np.arctan2(pmra[moving], pmdec[moving])),
            np.hypot(pmra[moving], pmdec[moving]) * (epoch_jyear - epoch[moving]) / 1000,
        )
    if annual_parallax:
        parallax = shard["parallax_mas"].to_numpy(zero_copy_only=False).astype(np.float64)
        near = parallax > 0.0
        ra_deg[near], dec_deg[near] = _seen_from_earth(
            ra_deg[near], dec_deg[near], parallax[near], epoch_jyear
        )
    return ra_deg, dec_deg


def _seen_from_earth(
    ra_deg: NDArray, dec_deg: NDArray, parallax_mas: NDArray, epoch_jyear: float
) -> tuple[NDArray, NDArray]:
    """Return the directions from the Earth's centre (ERFA's ``pmpx``, without proper motion)."""
    _, earth = erfa.epv00(*erfa.epj2jd(epoch_jyear))
    direction = erfa.pmpx(
        np.radians(ra_deg),
        np.radians(dec_deg),
        0.0,
        0.0,
        (parallax_mas * u.mas).to_value(u.arcsec),
        0.0,
        0.0,
        earth["p"],
    )
    ra, dec = erfa.c2s(direction)
    return np.degrees(erfa.anp(ra)), np.degrees(dec)
