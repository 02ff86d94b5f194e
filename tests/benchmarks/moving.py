"""Matching of moving objects against exhaustive comparison: ``python tests/benchmarks/moving.py``.

1,000 objects x 1,000,000 alerts over 3 years by default: the join over HEALPix x time, month by
month as the workflow does it, and then every alert compared with every object (in chunks, as fast
as numpy does it). With ``--compared N`` only N objects, evenly chosen, are compared exhaustively,
and their time is scaled; the pairs of these N must be the same.
"""

import argparse
import json
import multiprocessing
import pickle
import tempfile
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lightloom.moving.pairs import find_pairs
from lightloom.moving.tracks import (
    PIECE_SAMPLES,
    Samples,
    Tracks,
    ra_dec_deg,
    separation_arcsec,
    unit_vectors,
)
from orbits import Orbit, ephemeris, observer

START_MJD = 58484.0
PIECE_DAYS = 32.0 / 24.0
RADIUS_ARCSEC = 5.0
WINDOW_DAYS = 30.0

#: Times [MJD], right ascensions and declinations [deg].
Alerts = tuple[NDArray, NDArray, NDArray]


def draw_tracks(rng: np.random.Generator, n_objects: int, days: float) -> Tracks:
    """Return tracks of orbits between 1.2 and 4 au, seen from Palomar."""
    starts = START_MJD + PIECE_DAYS * np.arange(int(np.ceil(days / PIECE_DAYS)))
    times = starts[:, None] + np.linspace(0.0, PIECE_DAYS, PIECE_SAMPLES)
    place = observer(times, topocentric=True)
    same = np.ones_like(times)
    tracks = []
    for number in range(n_objects):
        orbit = Orbit(
            rng.uniform(1.2, 4.0),
            rng.uniform(0.0, 0.9),
            rng.uniform(0.0, 40.0),
            *rng.uniform(0.0, 360.0, 2),
            rng.uniform(START_MJD - 500.0, START_MJD + 1500.0),
        )
        seen = ephemeris(orbit, times, place=place)
        track = Tracks.fit(Samples(times, uncertainty_arcsec=same, v_mag=same, **seen), 60.0)
        track.object[:] = number
        tracks.append(track)
    return Tracks.join(tracks)


def draw_alerts(
    rng: np.random.Generator, tracks: Tracks, n_objects: int, n_alerts: int, days: float
) -> Alerts:
    """Return times and positions: a tenth near the tracks, the others anywhere above -30 deg."""
    time_mjd = rng.uniform(START_MJD, START_MJD + days, n_alerts)
    ra_deg = rng.uniform(0.0, 360.0, n_alerts)
    dec_deg = np.degrees(np.arcsin(rng.uniform(-0.5, 1.0, n_alerts)))
    near = n_alerts // 10
    number = rng.integers(0, n_objects, near)
    piece = tracks.piece_at(number, time_mjd[:near])
    ra_deg[:near], dec_on = ra_dec_deg(tracks.directions(piece, time_mjd[:near]))
    dec_deg[:near] = np.clip(dec_on + rng.normal(0.0, 5.0, near) / 3600.0, -90.0, 90.0)
    return time_mjd, ra_deg, dec_deg


def write_windows(folder: Path, tracks: Tracks, alerts: Alerts, days: float) -> list[Path]:
    """Write the tracks and the alerts of each window, as the workflow has them in files."""
    time_mjd, ra_deg, dec_deg = alerts
    paths = []
    for start in np.arange(START_MJD, START_MJD + days, WINDOW_DAYS):
        stop = start + WINDOW_DAYS
        mine = np.flatnonzero((time_mjd >= start) & (time_mjd < stop))
        # As the windows of the workflow, the pieces of this one overlap its ends.
        part = tracks.take((tracks.stop_mjd >= start) & (tracks.start_mjd <= stop))
        paths.append(folder / f"{start:.0f}.pickle")
        with paths[-1].open("wb") as file:
            pickle.dump((part, mine, time_mjd[mine], ra_deg[mine], dec_deg[mine]), file)
    return paths


def joined(paths: list[Path]) -> tuple[set[tuple[int, int]], float, float]:
    """Return the pairs that the join finds window by window, its time [s] and its peak RSS [MB]."""
    found: set[tuple[int, int]] = set()
    begun = time.perf_counter()
    for path in paths:
        with path.open("rb") as file:
            part, mine, *alerts = pickle.load(file)
        pairs = find_pairs(part, np.full(len(part), RADIUS_ARCSEC), *alerts)
        found.update(zip(pairs.object.tolist(), mine[pairs.alert].tolist(), strict=True))
    # Not getrusage: its peak is inherited from the process that has started this one.
    status = Path("/proc/self/status").read_text()
    peak_mb = int(status.partition("VmHWM:")[2].split()[0]) / 1024.0
    return found, time.perf_counter() - begun, peak_mb


def compared(tracks: Tracks, numbers, time_mjd, ra_deg, dec_deg) -> set[tuple[int, int]]:
    """Return the pairs of some objects, each compared with every alert."""
    found: set[tuple[int, int]] = set()
    # In the order of time the coefficients are read one after the other, which is fastest.
    order = np.argsort(time_mjd)
    times, vectors = time_mjd[order], unit_vectors(ra_deg, dec_deg)[order]
    for number in numbers:
        track = tracks.take(tracks.object == number)
        track.object[:] = 0
        piece = track.piece_at(np.zeros(len(times), np.int64), times)
        away = separation_arcsec(track.directions(piece, times), vectors)
        found.update((int(number), int(alert)) for alert in order[away <= RADIUS_ARCSEC])
    return found


def main() -> None:
    """Measure and print; end with an error if the pairs differ."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--objects", type=int, default=1000)
    parser.add_argument("--alerts", type=int, default=1_000_000)
    parser.add_argument("--days", type=float, default=1096.0)
    parser.add_argument("--compared", type=int, default=0, help="0: all objects")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    tracks = draw_tracks(rng, options.objects, options.days)
    alerts = draw_alerts(rng, tracks, options.objects, options.alerts, options.days)
    # In a process of its own, as a worker: nothing that made the sky counts as its memory.
    with (
        tempfile.TemporaryDirectory() as folder,
        multiprocessing.get_context("spawn").Pool(1) as worker,
    ):
        paths = write_windows(Path(folder), tracks, alerts, options.days)
        fast, fast_s, peak_mb = worker.apply(joined, (paths,))
    n_compared = options.compared or options.objects
    numbers = np.unique(np.linspace(0, options.objects - 1, n_compared).astype(int))
    begun = time.perf_counter()
    slow = compared(tracks, numbers, *alerts)
    slow_s = (time.perf_counter() - begun) * options.objects / len(numbers)
    same = {pair for pair in fast if pair[0] in set(numbers.tolist())} == slow
    print(
        json.dumps(
            {
                "objects": options.objects,
                "alerts": options.alerts,
                "compared_objects": len(numbers),
                "pairs": len(fast),
                "same_pairs": same,
                "join_s": round(fast_s, 2),
                "exhaustive_s": round(slow_s, 1),
                "times_faster": round(slow_s / fast_s, 1),
                "worker_peak_mb": round(peak_mb),
            }
        )
    )
    if not same:
        raise SystemExit("the pairs differ")


if __name__ == "__main__":
    main()
