"""Tracks from samples: even steps where an object moves smoothly, finer ones near the Earth."""

import logging
from collections.abc import Callable, Iterator

import numpy as np

from lightloom.errors import ArchiveError, TransientArchiveError
from lightloom.moving.tracks import MINUTES_PER_DAY, PIECE_SAMPLES, FloatArray, Samples, Tracks

#: Steps of the samples, each a whole part of a piece of the one before [min].
STEPS_MINUTES = (60, 30, 15, 5, 1)

#: How often samples that did not come are asked for again.
_ATTEMPTS = 3

#: Samples are at the time asked for if they are as close as this [d].
_TIME_TOLERANCE_D = 1e-6

#: ``sampler(start_mjd, stop_mjd, step_minutes)`` returns the samples that it can get.
Sampler = Callable[[float, float, int], Samples]

_log = logging.getLogger(__name__)


def build_track(sampler: Sampler, start_mjd: float, stop_mjd: float, error_arcsec: float) -> Tracks:
    """Return the track of an object over a window.

    Parameters
    ----------
    sampler : callable
    start_mjd, stop_mjd : float
        The window, full hours [MJD, UTC]; the last piece may reach beyond it.
    error_arcsec : float
        Most that the polynomials may be away from any sample.

    Returns
    -------
    Tracks
        Without holes, every piece within the error.

    Raises
    ------
    TransientArchiveError
        If samples are missing though they were asked for again.
    ArchiveError
        If the motion is too irregular for the finest step.
    """
    length_d = _piece_days(STEPS_MINUTES[0])
    n_pieces = int(np.ceil((stop_mjd - start_mjd) / length_d - 1e-9))
    return Tracks.join(
        _refined(
            sampler, start_mjd + length_d * np.arange(n_pieces, dtype=np.float64), 0, error_arcsec
        )
    )


def _refined(
    sampler: Sampler, starts: FloatArray, level: int, error_arcsec: float
) -> Iterator[Tracks]:
    """Yield the pieces that begin at ``starts``; those that do not fit are cut into finer ones."""
    step = STEPS_MINUTES[level]
    track = _fitted(sampler, starts, step)
    good = track.error_arcsec <= error_arcsec
    yield track.take(good)
    if good.all():
        return
    if level + 1 == len(STEPS_MINUTES):
        raise ArchiveError(
            f"the track is {track.error_arcsec.max():.3g} arcsec away from its polynomials even at"
            f" steps of {step} min, expected at most {error_arcsec:g} arcsec"
        )
    finer = _piece_days(STEPS_MINUTES[level + 1])
    parts = finer * np.arange(round(_piece_days(step) / finer))
    _log.info("%d pieces need finer steps than %d min", int((~good).sum()), step)
    yield from _refined(
        sampler, (track.start_mjd[~good][:, None] + parts).ravel(), level + 1, error_arcsec
    )


def _fitted(sampler: Sampler, starts: FloatArray, step: int) -> Tracks:
    """Return a fit to each piece; what is missing is asked for again."""
    offsets = np.arange(PIECE_SAMPLES) * (step / MINUTES_PER_DAY)
    wanted = starts[:, None] + offsets
    missing = starts
    samples: list[Samples] = []
    for _ in range(_ATTEMPTS):
        samples += [sampler(start, stop, step) for start, stop in _runs(missing, offsets[-1])]
        joined = Samples(
            **{
                name: np.concatenate([vars(one)[name] for one in samples])
                for name in vars(samples[0])
            }
        )
        joined = joined.take(np.argsort(joined.time_mjd, kind="stable"))
        number, found = _nearest(joined.time_mjd, wanted)
        missing = starts[~found.all(axis=1)]
        if not len(missing):
            return Tracks.fit(joined.take(number), step)
    raise TransientArchiveError(
        f"samples from MJD {missing[0]:.4f} on are missing in {_ATTEMPTS} replies"
    )


def _nearest(time_mjd: FloatArray, wanted: FloatArray) -> tuple[np.ndarray, np.ndarray]:
    if not len(time_mjd):
        return np.zeros(wanted.shape, np.int64), np.zeros(wanted.shape, bool)
    after = np.clip(np.searchsorted(time_mjd, wanted), 1, max(1, len(time_mjd) - 1))
    before = after - 1
    after = np.minimum(after, len(time_mjd) - 1)
    closer = np.abs(time_mjd[after] - wanted) < np.abs(time_mjd[before] - wanted)
    number = np.where(closer, after, before)
    return number, np.abs(time_mjd[number] - wanted) < _TIME_TOLERANCE_D


def _runs(starts: FloatArray, length_d: float) -> Iterator[tuple[float, float]]:
    """Join pieces that follow each other: one request for each run."""
    edges = np.flatnonzero(np.abs(np.diff(starts) - length_d) > _TIME_TOLERANCE_D) + 1
    for run in np.split(starts, edges):
        yield float(run[0]), float(run[-1] + length_d)


def _piece_days(step_minutes: int) -> float:
    return (PIECE_SAMPLES - 1) * step_minutes / MINUTES_PER_DAY
