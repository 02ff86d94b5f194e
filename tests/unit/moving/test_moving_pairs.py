"""The join over HEALPix x time finds the same pairs as comparing everything."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sampled import MAIN_BELT, START, STOP, passing_earth, track_of

from lightloom.moving.cones import cover
from lightloom.moving.pairs import find_pairs, search_radius_arcsec
from lightloom.moving.tracks import Tracks, ra_dec_deg, separation_arcsec, unit_vectors
from orbits import Orbit, ephemeris

FAST = passing_earth(0.004, 59015.0)


def several(rng: np.random.Generator, n_objects: int) -> Tracks:
    tracks = []
    for number in range(n_objects):
        orbit = Orbit(
            rng.uniform(1.1, 4.0),
            rng.uniform(0.0, 0.9),
            rng.uniform(0.0, 170.0),
            *rng.uniform(0.0, 360.0, 2),
            rng.uniform(58000.0, 60000.0),
        )
        track = track_of(FAST if number == 0 else orbit)
        track.object[:] = number
        tracks.append(track)
    return Tracks.join(tracks)


def exhaustive(tracks, radius, time_mjd, ra_deg, dec_deg) -> set[tuple[int, int]]:
    vectors, found = unit_vectors(ra_deg, dec_deg), set()
    for number in np.unique(tracks.object):
        piece = tracks.piece_at(np.full(len(time_mjd), number), time_mjd)
        on = np.flatnonzero(piece >= 0)
        away = separation_arcsec(tracks.directions(piece[on], time_mjd[on]), vectors[on])
        found |= {(int(number), int(a)) for a in on[away <= radius[piece[on]]]}
    return found


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), radius_arcsec=st.sampled_from([0.5, 5.0, 300.0, 36000.0]))
def test_same_pairs_as_comparing_everything(seed: int, radius_arcsec: float) -> None:
    rng = np.random.default_rng(seed)
    tracks = several(rng, 6)
    n_alerts = 2000
    time_mjd = rng.uniform(START - 5.0, STOP + 5.0, n_alerts)
    ra_deg = rng.uniform(0.0, 360.0, n_alerts)
    dec_deg = np.degrees(np.arcsin(rng.uniform(-1.0, 1.0, n_alerts)))
    number = rng.integers(0, 6, n_alerts // 2)
    piece = tracks.piece_at(number, time_mjd[: n_alerts // 2])
    on = np.flatnonzero(piece >= 0)
    ra_on, dec_on = ra_dec_deg(tracks.directions(piece[on], time_mjd[on]))
    spread = rng.normal(0.0, radius_arcsec / 3600.0, len(on))
    ra_deg[on], dec_deg[on] = ra_on, np.clip(dec_on + spread, -90.0, 90.0)
    radius = np.full(len(tracks), radius_arcsec)
    pairs = find_pairs(tracks, radius, time_mjd, ra_deg, dec_deg)
    found = list(zip(pairs.object.tolist(), pairs.alert.tolist(), strict=True))
    assert len(found) == len(set(found))
    assert set(found) == exhaustive(tracks, radius, time_mjd, ra_deg, dec_deg)
    assert found == sorted(found)


def test_nothing_to_compare() -> None:
    empty = np.empty(0)
    tracks = track_of(MAIN_BELT)
    assert not len(find_pairs(Tracks.none(), empty, empty, empty, empty).alert)
    assert not len(find_pairs(tracks, np.ones(len(tracks)), empty, empty, empty).alert)


def test_uncertainty_widens_the_radius() -> None:
    track = track_of(MAIN_BELT, uncertainty_arcsec=12.0)
    for sigmas, largest, expected in ((3, 60, 17.0), (1, 60, 9.0), (0, 60, 5.0), (3, 2, 7.0)):
        assert search_radius_arcsec(track, 5.0, sigmas, largest) == pytest.approx(expected)
    unknown = track_of(MAIN_BELT, uncertainty_arcsec=np.nan)
    assert search_radius_arcsec(unknown, 5.0, 3, 60) == pytest.approx(5.0)


NINE_YEARS = 9 * 365.25


def ten_degrees_a_day() -> Tracks:
    """A track that goes round an inclined circle with 10 degrees a day for nine years."""
    from lightloom.moving.tracks import PIECE_SAMPLES, Samples

    length = 8.0 / 24.0
    starts = START + length * np.arange(round(NINE_YEARS / length))
    time = starts[:, None] + np.linspace(0.0, length, PIECE_SAMPLES)
    angle = np.radians(10.0 * (time - START))
    tilt = np.radians(70.0)
    vectors = np.stack(
        [np.cos(angle), np.sin(angle) * np.cos(tilt), np.sin(angle) * np.sin(tilt)], -1
    )
    ra_deg, dec_deg = ra_dec_deg(vectors)
    same = np.ones_like(time)
    return Tracks.fit(Samples(time, ra_deg, dec_deg, same, same, same, same, same), 15.0)


@pytest.mark.parametrize("fast", [False, True], ids=["main belt", "10 degrees a day"])
def test_few_cones_hold_the_whole_track(fast: bool) -> None:
    """At most 1/100 of the cones of a grid of 10 minutes, and nothing of the track is outside."""
    days = NINE_YEARS if fast else 365.25
    track = ten_degrees_a_day() if fast else track_of(MAIN_BELT, START, START + days)
    radius = np.full(len(track), 5.0)
    cones = cover(
        track,
        radius,
        start_mjd=START,
        stop_mjd=START + days,
        cone_radius_arcsec=1800.0,
        shortest_stretch_h=20.0,
        largest_cone_arcsec=54000.0,
    )
    assert 1 < len(cones) <= days * 144 / 100
    assert cones[0].start_mjd == START
    assert cones[-1].stop_mjd == pytest.approx(START + days)
    time_mjd = np.sort(np.random.default_rng(2).uniform(START, START + days, 100_000))
    starts = np.array([cone.start_mjd for cone in cones])
    mine = np.searchsorted(starts, time_mjd, side="right") - 1
    assert (time_mjd <= np.array([cone.stop_mjd for cone in cones])[mine] + 1e-9).all()
    centre = unit_vectors(
        *(np.array([getattr(c, n) for c in cones]) for n in ("ra_deg", "dec_deg"))
    )
    piece = track.piece_at(np.zeros(len(time_mjd), np.int64), time_mjd)
    away = separation_arcsec(centre[mine], track.directions(piece, time_mjd))
    room = np.array([cone.radius_arcsec for cone in cones])[mine] - 5.0
    assert (away <= room).all()


def test_positions_of_alerts_are_compared_at_their_own_time() -> None:
    """An object of 4 degrees a day moves 2.5 arcsec in the 15 s to the middle of an exposure."""
    track = track_of(FAST)
    time_mjd = np.full(1, 59015.3)
    seen = ephemeris(FAST, time_mjd)
    radius = np.full(len(track), 1.0)
    at_middle = find_pairs(track, radius, time_mjd, seen["ra_deg"], seen["dec_deg"])
    at_start = find_pairs(track, radius, time_mjd - 60 / 86400, seen["ra_deg"], seen["dec_deg"])
    assert (len(at_middle.alert), len(at_start.alert)) == (1, 0)
