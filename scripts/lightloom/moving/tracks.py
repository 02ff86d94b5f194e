"""Tracks of moving objects: piecewise Chebyshev polynomials of direction and distances.

A piece is the fit to evenly spaced samples of an ephemeris. Every other sample is left out of the
fit: how far the polynomials are from those is the error that the piece states.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.polynomial import chebyshev
from numpy.typing import NDArray

from lightloom.moving.schema import EPHEMERIS, POSITION_TERMS, SCALAR_TERMS, SCALARS

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: Samples of a piece, both ends included; those with even numbers are fitted.
PIECE_SAMPLES = 33

ARCSEC_PER_RAD = 180.0 * 3600.0 / np.pi
MINUTES_PER_DAY = 1440.0

_NODES = np.linspace(-1.0, 1.0, PIECE_SAMPLES)
_POSITION_BASIS = chebyshev.chebvander(_NODES, POSITION_TERMS - 1)
_SCALAR_BASIS = chebyshev.chebvander(_NODES, SCALAR_TERMS - 1)
_POSITION_FIT = np.linalg.pinv(_POSITION_BASIS[::2])
_SCALAR_FIT = np.linalg.pinv(_SCALAR_BASIS)

#: Positions evaluated at a time, which bounds the memory of a search.
_BLOCK = 100_000


@dataclass(frozen=True)
class Samples:
    """An ephemeris at given times; arrays of shape (n,), angles in degrees.

    Attributes
    ----------
    time_mjd : ndarray
        UTC, ascending [d].
    ra_deg, dec_deg : ndarray
        Astrometric direction (ICRS) from the observatory.
    uncertainty_arcsec : ndarray
        3-sigma uncertainty (major axis), NaN if unknown.
    r_au, delta_au, phase_deg, v_mag : ndarray
    """

    time_mjd: FloatArray
    ra_deg: FloatArray
    dec_deg: FloatArray
    uncertainty_arcsec: FloatArray
    r_au: FloatArray
    delta_au: FloatArray
    phase_deg: FloatArray
    v_mag: FloatArray

    def take(self, index: IntArray) -> "Samples":
        """Return the samples of some numbers, in any shape."""
        return Samples(**{one.name: getattr(self, one.name)[index] for one in fields(self)})


def unit_vectors(ra_deg: FloatArray, dec_deg: FloatArray) -> FloatArray:
    """Return directions as vectors of length 1, shape (..., 3)."""
    ra, dec = np.radians(ra_deg), np.radians(dec_deg)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def ra_dec_deg(vectors: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return right ascension (0 to 360) and declination of directions of any length [deg]."""
    x, y, z = np.moveaxis(vectors, -1, 0)
    return np.degrees(np.arctan2(y, x)) % 360.0, np.degrees(np.arctan2(z, np.hypot(x, y)))


def separation_arcsec(one: FloatArray, other: FloatArray) -> FloatArray:
    """Return the angle between unit vectors, exact for small and large ones [arcsec]."""
    chord = np.linalg.norm(one - other, axis=-1)
    return 2.0 * np.arcsin(np.minimum(0.5 * chord, 1.0)) * ARCSEC_PER_RAD


@dataclass(frozen=True)
class Tracks:
    """Pieces of the tracks of one object or several, ordered by object and time.

    Attributes
    ----------
    object : ndarray of int64, shape (n,)
        Number of the object that a piece belongs to.
    start_mjd, stop_mjd : ndarray, shape (n,)
        First and last moment, UTC [d].
    position : ndarray, shape (n, 3, POSITION_TERMS)
        Chebyshev coefficients of the direction.
    scalars : ndarray, shape (n, len(SCALARS), SCALAR_TERMS)
    uncertainty_arcsec, error_arcsec, step_minutes : ndarray, shape (n,)
    """

    object: IntArray
    start_mjd: FloatArray
    stop_mjd: FloatArray
    position: FloatArray
    scalars: FloatArray
    uncertainty_arcsec: FloatArray
    error_arcsec: FloatArray
    step_minutes: FloatArray

    def __len__(self) -> int:
        return len(self.object)

    def take(self, index: IntArray | NDArray[np.bool_] | slice) -> "Tracks":
        """Return some of the pieces."""
        return Tracks(**{one.name: getattr(self, one.name)[index] for one in fields(self)})

    @classmethod
    def join(cls, tracks: Iterable[Self]) -> "Tracks":
        """Put tracks together, ordered by object and time."""
        several = list(tracks)
        joined = Tracks(
            **{
                one.name: np.concatenate([getattr(track, one.name) for track in several])
                for one in fields(cls)
            }
        )
        return joined.take(np.lexsort((joined.start_mjd, joined.object)))

    @classmethod
    def none(cls) -> "Tracks":
        """Return no pieces."""
        empty = np.empty(0)
        return Tracks(
            np.empty(0, np.int64),
            empty,
            empty,
            np.empty((0, 3, POSITION_TERMS)),
            np.empty((0, len(SCALARS), SCALAR_TERMS)),
            empty,
            empty,
            empty,
        )

    @classmethod
    def fit(cls, samples: Samples, step_minutes: float) -> "Tracks":
        """Fit pieces to samples of shape (n_pieces, PIECE_SAMPLES), all of object 0."""
        truth = unit_vectors(samples.ra_deg, samples.dec_deg)
        position = np.einsum("kt,ptc->pck", _POSITION_FIT, truth[:, ::2])
        fitted = np.einsum("tk,pck->ptc", _POSITION_BASIS, position)
        fitted /= np.linalg.norm(fitted, axis=-1, keepdims=True)
        scalars = np.stack(
            [getattr(samples, name) @ _SCALAR_FIT.T for name in SCALARS],
            axis=1,
        )
        known = np.isfinite(samples.uncertainty_arcsec)
        largest = np.max(np.where(known, samples.uncertainty_arcsec, -1.0), axis=1)
        return cls(
            object=np.zeros(len(position), np.int64),
            start_mjd=samples.time_mjd[:, 0],
            stop_mjd=samples.time_mjd[:, -1],
            position=position,
            scalars=scalars,
            uncertainty_arcsec=np.where(known.any(axis=1), largest, np.nan),
            error_arcsec=separation_arcsec(fitted, truth).max(axis=1),
            step_minutes=np.full(len(position), float(step_minutes)),
        )

    @classmethod
    def from_table(cls, table: pa.Table, number: int) -> "Tracks":
        """Return the pieces of a table (``EPHEMERIS``) as those of an object."""

        def matrix(name: str) -> FloatArray:
            flat = table[name].combine_chunks().flatten().to_numpy(zero_copy_only=False)
            return flat.reshape(table.num_rows, -1)

        plain = ("start_mjd", "stop_mjd", "uncertainty_arcsec", "error_arcsec", "step_minutes")
        return cls(
            object=np.full(table.num_rows, number, np.int64),
            position=matrix("position").reshape(-1, 3, POSITION_TERMS),
            scalars=np.stack([matrix(name) for name in SCALARS], axis=1).reshape(
                -1, len(SCALARS), SCALAR_TERMS
            ),
            **{name: table[name].to_numpy() for name in plain},
        )

    def to_table(self) -> pa.Table:
        """Return the pieces as a table (``EPHEMERIS``)."""

        def rows(values: FloatArray, length: int) -> pa.Array:
            flat = pa.array(np.ascontiguousarray(values).ravel())
            return pa.FixedSizeListArray.from_arrays(flat, length)

        columns = {
            "start_mjd": self.start_mjd,
            "stop_mjd": self.stop_mjd,
            "position": rows(self.position, 3 * POSITION_TERMS),
            **{
                name: rows(self.scalars[:, number], SCALAR_TERMS)
                for number, name in enumerate(SCALARS)
            },
            "uncertainty_arcsec": self.uncertainty_arcsec,
            "error_arcsec": self.error_arcsec,
            "step_minutes": self.step_minutes,
        }
        return pa.table(columns, schema=EPHEMERIS)

    def directions(self, piece: IntArray, time_mjd: FloatArray) -> FloatArray:
        """Return the direction at given times within given pieces, shape (n, 3), of length 1."""
        found = np.empty((len(piece), 3))
        for start in range(0, len(piece), _BLOCK):
            block = slice(start, start + _BLOCK)
            vectors = _clenshaw(self.position[piece[block]], self._x(piece[block], time_mjd[block]))
            found[block] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        return found

    def rates_arcsec_per_h(
        self, piece: IntArray, time_mjd: FloatArray
    ) -> tuple[FloatArray, FloatArray]:
        """Return the motion in right ascension (times cos dec) and declination [arcsec/h]."""
        x = self._x(piece, time_mjd)
        coefficients = self.position[piece]
        length_d = self.stop_mjd[piece] - self.start_mjd[piece]
        slopes: FloatArray = np.asarray(chebyshev.chebder(coefficients, axis=2), np.float64)
        velocity = _clenshaw(slopes, x) * (2.0 / length_d)[:, None]
        direction = self.directions(piece, time_mjd)
        cos_dec = np.maximum(np.hypot(direction[:, 0], direction[:, 1]), 1e-12)
        east = np.stack([-direction[:, 1], direction[:, 0], np.zeros(len(x))], axis=1)
        east /= cos_dec[:, None]
        north = np.cross(direction, east)
        per_h = ARCSEC_PER_RAD / 24.0
        return (
            np.einsum("ij,ij->i", velocity, east) * per_h,
            np.einsum("ij,ij->i", velocity, north) * per_h,
        )

    def quantities(self, piece: IntArray, time_mjd: FloatArray) -> dict[str, FloatArray]:
        """Return the slow quantities (``SCALARS``) at given times within given pieces."""
        values = _clenshaw(self.scalars[piece], self._x(piece, time_mjd))
        return {name: values[:, number] for number, name in enumerate(SCALARS)}

    def piece_at(self, number: IntArray, time_mjd: FloatArray) -> IntArray:
        """Return the piece of an object at a time, -1 where the track has none."""
        found = np.full(len(number), -1, np.int64)
        if not len(self):
            return found
        # One ascending key for object and time: pieces are found by bisection.
        origin = float(self.start_mjd.min())
        span = 2.0 * (float(self.stop_mjd.max()) - origin) + 1.0
        inside = (time_mjd >= origin) & (time_mjd <= origin + span / 2.0)
        keys = self.object * span + (self.start_mjd - origin)
        asked = number[inside] * span + (time_mjd[inside] - origin)
        piece = np.searchsorted(keys, asked, side="right") - 1
        right = (
            (piece >= 0)
            & (self.object[piece] == number[inside])
            & (time_mjd[inside] <= self.stop_mjd[piece])
        )
        found[inside] = np.where(right, piece, -1)
        return found

    def caps(self) -> tuple[FloatArray, FloatArray]:
        """Return a circle around each piece: directions (n, 3) and radii [rad].

        The radius is a bound for all times of the piece, as no Chebyshev polynomial leaves -1 to 1.
        """
        centre = self.position[:, :, 0]
        length = np.linalg.norm(centre, axis=1)
        reach = np.linalg.norm(self.position[:, :, 1:], axis=1).sum(axis=1)
        radius = np.where(
            reach < length, np.arcsin(np.minimum(1.0, reach / np.maximum(length, 1e-300))), np.pi
        )
        return centre / np.maximum(length, 1e-300)[:, None], radius

    def holes(self, start_mjd: float, stop_mjd: float) -> list[tuple[float, float]]:
        """Return the parts of a window that the pieces of one object do not cover [MJD]."""
        tolerance_d = 1e-6
        found, reached = [], start_mjd
        for start, stop in zip(self.start_mjd, self.stop_mjd, strict=True):
            if start > reached + tolerance_d:
                found.append((reached, min(start, stop_mjd)))
            reached = max(reached, stop)
        if reached < stop_mjd - tolerance_d:
            found.append((reached, stop_mjd))
        return [hole for hole in found if hole[0] < stop_mjd - tolerance_d]

    def _x(self, piece: IntArray, time_mjd: FloatArray) -> FloatArray:
        """Return times as -1 to 1 within their pieces."""
        start, stop = self.start_mjd[piece], self.stop_mjd[piece]
        return np.clip((2.0 * time_mjd - start - stop) / (stop - start), -1.0, 1.0)


def _clenshaw(coefficients: FloatArray, x: FloatArray) -> FloatArray:
    """Evaluate Chebyshev series, coefficients of shape (n, c, k), at one x each; shape (n, c)."""
    twice_x = 2.0 * x[:, None]
    after = np.zeros(coefficients.shape[:2])
    current = np.zeros_like(after)
    for term in range(coefficients.shape[2] - 1, 0, -1):
        current, after = coefficients[:, :, term] + twice_x * current - after, current
    value: FloatArray = coefficients[:, :, 0] + x[:, None] * current - after
    return value


def number_tracks(tables: Sequence[pa.Table]) -> Tracks:
    """Return the tracks of several objects, numbered in the order of their tables."""
    tracks = [Tracks.from_table(table, number) for number, table in enumerate(tables)]
    return Tracks.join(tracks) if tracks else Tracks.none()
