"""Tracks are as near to the ephemeris as they say, also near the Earth and between samples."""

import numpy as np
import pyarrow.parquet as pq
import pytest
from sampled import MAIN_BELT, START, STOP, passing_earth, sampler, track_of

from lightloom.errors import ArchiveError, TransientArchiveError
from lightloom.moving.ephemeris import build_track
from lightloom.moving.pairs import find_pairs
from lightloom.moving.schema import EPHEMERIS
from lightloom.moving.tracks import Samples, Tracks, ra_dec_deg, separation_arcsec, unit_vectors
from lightloom.storage import write_table
from orbits import Orbit, ephemeris

MIDDLE = 0.5 * (START + STOP)
RNG = np.random.default_rng(5)


def distance_arcsec(track: Tracks, orbit: Orbit, time_mjd: np.ndarray) -> np.ndarray:
    truth = ephemeris(orbit, time_mjd)
    piece = track.piece_at(np.zeros(len(time_mjd), np.int64), time_mjd)
    assert (piece >= 0).all()
    directions = track.directions(piece, time_mjd)
    return separation_arcsec(directions, unit_vectors(truth["ra_deg"], truth["dec_deg"]))


@pytest.mark.parametrize(
    ("orbit", "finest"),
    [
        (MAIN_BELT, 60.0),
        (passing_earth(0.1, MIDDLE), 30.0),
        (passing_earth(0.005, MIDDLE), 30.0),
    ],
    ids=["main belt", "0.1 au", "0.005 au"],
)
def test_error_bound_holds_between_the_samples(orbit: Orbit, finest: float) -> None:
    track = track_of(orbit)
    assert track.error_arcsec.max() <= 0.1
    assert track.step_minutes.min() == finest
    assert not track.holes(START, STOP)
    time_mjd = np.sort(RNG.uniform(START, STOP, 3000))
    assert distance_arcsec(track, orbit, time_mjd).max() <= 0.1


def test_topocentric_parallax() -> None:
    """At 0.1 au the observatory sees an object up to 88 arcsec from where the geocentre does."""
    orbit = passing_earth(0.1, MIDDLE)
    time_mjd = np.arange(MIDDLE - 1.0, MIDDLE + 1.0, 0.02)
    away = distance_arcsec(track_of(orbit, topocentric=False), orbit, time_mjd)
    assert 60.0 < away.max() < 90.0
    seen = ephemeris(orbit, time_mjd)
    for topocentric in (True, False):
        track = track_of(orbit, topocentric=topocentric)
        radius = np.full(len(track), 5.0)
        pairs = find_pairs(track, radius, time_mjd, seen["ra_deg"], seen["dec_deg"])
        found = len(pairs.alert)
        assert (found == len(time_mjd)) if topocentric else (found < 0.1 * len(time_mjd))


def test_rates_and_distances() -> None:
    track = track_of(MAIN_BELT)
    time_mjd = RNG.uniform(START, STOP, 200)
    piece = track.piece_at(np.zeros(200, np.int64), time_mjd)
    ra_rate, dec_rate = track.rates_arcsec_per_h(piece, time_mjd)
    step = 1e-3
    before, after = (ephemeris(MAIN_BELT, time_mjd + sign * step) for sign in (-1, 1))
    hours = 2 * step * 24
    d_ra = (after["ra_deg"] - before["ra_deg"] + 180) % 360 - 180
    cos_dec = np.cos(np.radians(before["dec_deg"]))
    np.testing.assert_allclose(ra_rate, d_ra * cos_dec * 3600 / hours, atol=0.1)
    np.testing.assert_allclose(
        dec_rate, (after["dec_deg"] - before["dec_deg"]) * 3600 / hours, atol=0.1
    )
    truth = ephemeris(MAIN_BELT, time_mjd)
    slow = track.quantities(piece, time_mjd)
    for name in ("r_au", "delta_au"):
        np.testing.assert_allclose(slow[name], truth[name], atol=3e-5)
    np.testing.assert_allclose(slow["phase_deg"], truth["phase_deg"], atol=1e-3)


def test_a_table_gives_the_track_back(tmp_path) -> None:
    track = track_of(MAIN_BELT)
    path = tmp_path / "track.parquet"
    write_table(path, track.to_table(), EPHEMERIS)
    again = Tracks.from_table(pq.read_table(path), 0)
    for name, values in vars(track).items():
        np.testing.assert_array_equal(getattr(again, name), values)
    # An ephemeris of ten minutes with six columns takes five times as much at least.
    assert path.stat().st_size < 31 * 144 * 6 * 8 / 5


def test_a_reply_with_holes_is_asked_again() -> None:
    whole, asked = sampler(MAIN_BELT), []

    def holey(start: float, stop: float, step: int) -> Samples:
        samples = whole(start, stop, step)
        asked.append((start, stop))
        some = np.ones(len(samples.time_mjd), bool)
        if len(asked) == 1:
            some[100:140] = False
        return samples.take(np.flatnonzero(some))

    track = build_track(holey, START, STOP, 0.1)
    assert not track.holes(START, STOP)
    assert len(asked) == 2
    first, last = asked[1]
    assert first <= START + 100 / 24 < START + 139 / 24 <= last
    assert last - first < 5.0


def test_a_hole_that_stays_is_an_error() -> None:
    def holey(start: float, stop: float, step: int) -> Samples:
        samples = sampler(MAIN_BELT)(start, stop, step)
        return samples.take(np.flatnonzero(samples.time_mjd < START + 10.0))

    with pytest.raises(TransientArchiveError, match="missing in 3 replies"):
        build_track(holey, START, STOP, 0.1)


def test_what_no_polynomial_fits_is_an_error() -> None:
    def noisy(start: float, stop: float, step: int) -> Samples:
        samples = sampler(MAIN_BELT)(start, stop, step)
        noise = np.random.default_rng(1).normal(0.0, 1e-3, len(samples.time_mjd))
        return Samples(**{**vars(samples), "dec_deg": samples.dec_deg + noise})

    with pytest.raises(ArchiveError, match="even at steps of 1 min"):
        build_track(noisy, START, START + 2.0, 0.1)


def test_holes_are_seen() -> None:
    track = track_of(MAIN_BELT)
    without = track.take(np.arange(len(track)) != 3)
    ((start, stop),) = without.holes(START, STOP)
    assert (start, stop) == pytest.approx((track.stop_mjd[2], track.start_mjd[4]))


@pytest.mark.parametrize("declination", [-90.0, -89.9999, 0.0, 89.9999, 90.0])
def test_directions_at_the_poles(declination: float) -> None:
    ra_deg, dec_deg = ra_dec_deg(unit_vectors(np.array([10.0]), np.array([declination])))
    assert dec_deg[0] == pytest.approx(declination, abs=1e-9)
    assert 0.0 <= ra_deg[0] < 360.0
