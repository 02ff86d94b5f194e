"""Cones that cover a track: as few as their size allows, none of the track left out."""

from dataclasses import dataclass

import numpy as np

from lightloom.moving.tracks import (
    ARCSEC_PER_RAD,
    Tracks,
    ra_dec_deg,
    separation_arcsec,
    unit_vectors,
)


@dataclass(frozen=True)
class Cone:
    """A circle on the sky in which an object is during a stretch of time."""

    ra_deg: float
    dec_deg: float
    radius_arcsec: float
    start_mjd: float
    stop_mjd: float


#: A stretch is cut so finely to draw a small circle around it.
_PARTS = 4


def cover(
    track: Tracks,
    radius_arcsec: np.ndarray,
    *,
    start_mjd: float,
    stop_mjd: float,
    cone_radius_arcsec: float,
    shortest_stretch_h: float,
    largest_cone_arcsec: float,
) -> list[Cone]:
    """Return cones that hold the track within a window, with its search radius around it.

    Parameters
    ----------
    track : Tracks
        The pieces of one object.
    radius_arcsec : ndarray, shape (n_pieces,)
        Search radius of each piece.
    start_mjd, stop_mjd : float
        The window.
    cone_radius_arcsec : float
        Size up to which a cone takes in further stretches of the track.
    shortest_stretch_h : float
        A cone covers at least so much time, and is larger than that for a fast object.
    largest_cone_arcsec : float
        No cone is larger than this; very fast objects get more of them.

    Returns
    -------
    list of Cone
        In the order of time.
    """
    cones: list[Cone] = []
    for one in _steps(track, start_mjd, stop_mjd, radius_arcsec):
        if cones:
            joined = _around([cones[-1], one])
            length_h = 24.0 * (joined.stop_mjd - joined.start_mjd)
            fits = joined.radius_arcsec <= cone_radius_arcsec
            is_short = 24.0 * (cones[-1].stop_mjd - cones[-1].start_mjd) < shortest_stretch_h
            if fits or (is_short and joined.radius_arcsec <= largest_cone_arcsec and length_h > 0):
                cones[-1] = joined
                continue
        cones.append(one)
    return cones


def _steps(
    track: Tracks, start_mjd: float, stop_mjd: float, radius_arcsec: np.ndarray
) -> list[Cone]:
    """Return a small cone for each part of each piece within the window."""
    piece = np.repeat(np.arange(len(track)), _PARTS)
    part = np.tile(np.arange(_PARTS), len(track))
    length = (track.stop_mjd - track.start_mjd)[piece] / _PARTS
    start = track.start_mjd[piece] + part * length
    stop = start + length
    inside = (stop > start_mjd) & (start < stop_mjd)
    piece, start, stop = piece[inside], start[inside], stop[inside]
    start, stop = np.maximum(start, start_mjd), np.minimum(stop, stop_mjd)
    middle = track.directions(piece, 0.5 * (start + stop))
    # Within -1 to 1 the derivative of the k-th polynomial is at most k squared.
    terms = np.arange(1, track.position.shape[2])
    speed = (np.linalg.norm(track.position[:, :, 1:], axis=1) * terms**2).sum(axis=1)
    speed *= 2.0 / (track.stop_mjd - track.start_mjd)
    # The polynomials' length differs from 1 by far less than this margin.
    reach = 1.001 * speed[piece] * 0.5 * (stop - start) * ARCSEC_PER_RAD
    ra_deg, dec_deg = ra_dec_deg(middle)
    radii = reach + radius_arcsec[piece]
    return [
        Cone(float(ra), float(dec), float(radius), float(first), float(last))
        for ra, dec, radius, first, last in zip(ra_deg, dec_deg, radii, start, stop, strict=True)
    ]


def _around(cones: list[Cone]) -> Cone:
    """Return the smallest cone that holds two."""
    one, other = cones
    first, second = (
        unit_vectors(np.array(cone.ra_deg), np.array(cone.dec_deg)) for cone in (one, other)
    )
    apart = float(separation_arcsec(first, second))
    if apart + other.radius_arcsec <= one.radius_arcsec:
        return Cone(one.ra_deg, one.dec_deg, one.radius_arcsec, one.start_mjd, other.stop_mjd)
    if apart + one.radius_arcsec <= other.radius_arcsec:
        return Cone(other.ra_deg, other.dec_deg, other.radius_arcsec, one.start_mjd, other.stop_mjd)
    radius = 0.5 * (apart + one.radius_arcsec + other.radius_arcsec)
    angle = (radius - one.radius_arcsec) / ARCSEC_PER_RAD
    across = second - first * float(first @ second)
    across /= max(float(np.linalg.norm(across)), 1e-300)
    ra_deg, dec_deg = ra_dec_deg(first * np.cos(angle) + across * np.sin(angle))
    return Cone(float(ra_deg), float(dec_deg), radius, one.start_mjd, other.stop_mjd)
