"""The job that fetches ephemerides: the objects of a block, window by window.

Every track is written as soon as it is complete, one file per object and window. A file that was
made from the same is not fetched again: so an interrupted job goes on, and a failed window, a new
month or a new object is fetched alone.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from lightloom.config import DaskConfig
from lightloom.errors import ArchiveError, TransientArchiveError
from lightloom.moving.config import MovingConfig
from lightloom.moving.ephemeris import build_track
from lightloom.moving.horizons import Horizons, Target
from lightloom.moving.plan import VERSION, file_name
from lightloom.moving.schema import EPHEMERIS
from lightloom.moving.service import ServiceSpec
from lightloom.moving.tracks import Tracks
from lightloom.moving.windows import Window
from lightloom.moving.work import read_keyed, spread, write_keyed
from lightloom.services.retries import retrying
from lightloom.storage import write_json

#: State in the ledger by the class of the error; others are failures.
STATE_OF_ERROR = {
    "unresolved": "unresolved",
    "ambiguous": "ambiguous",
    "no_ephemeris": "no_ephemeris",
    "truncated": "truncated",
}

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Task:
    """An object seen from an observatory, and the windows that are still to be fetched."""

    name: str
    observatory: str
    windows: tuple[Window, ...]


def ephemeris_path(folder: Path, observatory: str, name: str, window: str) -> Path:
    """Path of the track of an object in a window."""
    return folder / observatory / file_name(name) / f"{window}.parquet"


def track_key(config: MovingConfig, name: str, observatory: str, window: Window) -> dict[str, Any]:
    """Return what the file of a track depends on."""
    return {
        "version": VERSION,
        "object": name,
        "observatory": observatory,
        "window": [window.start_mjd, window.stop_mjd],
        "endpoint": config.ephemerides.endpoint,
        "error_arcsec": config.ephemerides.error_arcsec,
    }


def fetch_ephemerides(
    *,
    names: Sequence[str],
    windows: Sequence[Window],
    config: MovingConfig,
    status_path: Path,
    state: Path,
    dask_config: DaskConfig,
    threads: int,
    mem_mb: int,
) -> None:
    """Fetch the tracks of some objects and write their status.

    Parameters
    ----------
    names : sequence of str
        The objects, as the user wrote them.
    windows : sequence of Window
    config : MovingConfig
    status_path : Path
        Where the status goes; the tracks go into folders beside it.
    state : Path
        Folder shared by the jobs of all services.
    dask_config : DaskConfig
    threads, mem_mb : int
        Cores and memory [MB] of the job.
    """
    folder = status_path.parent
    records: list[dict[str, Any]] = []
    tasks = []
    for observatory in config.observatories:
        for name in names:
            missing = []
            for window in windows:
                path = ephemeris_path(folder, observatory, name, window.name)
                key = track_key(config, name, observatory, window)
                table = read_keyed(path, key)
                if table is None:
                    missing.append(window)
                else:
                    target = (table.schema.metadata or {}).get(b"lightloom_target", b"").decode()
                    records.append(
                        _record(name, observatory, window, "data", table.num_rows, target)
                    )
            if missing:
                tasks.append(_Task(name, observatory, tuple(missing)))
    _log.info("%d tracks are there, %d objects to ask for", len(records), len(tasks))
    fetch = partial(_fetch_object, config=config, folder=folder, state=state)
    for task, result in spread(fetch, tasks, dask_config, threads=threads, mem_mb=mem_mb):
        if isinstance(result, ArchiveError):
            result = [_failed(task.name, task.observatory, one, result) for one in task.windows]
        records += result
    records.sort(key=lambda one: (one["observatory"], one["object"], one["window"]))
    write_json(
        status_path,
        {
            "records": records,
            "open": sum(one["state"] == "failed" for one in records),
            "files": [one["file"] for one in records if one["file"]],
        },
    )


def _fetch_object(
    task: _Task, *, config: MovingConfig, folder: Path, state: Path
) -> list[dict[str, Any]]:
    """Run on a worker: fetch one object's missing windows; each ends in a state of its own."""
    spec = ServiceSpec("horizons", config.ephemerides.endpoint, config.ephemerides.limits)
    horizons = Horizons(spec, state, task.observatory, config.ephemerides.most_lines)
    again = retrying(spec.limits)
    first = task.windows[0]
    target = again(horizons.resolve, task.name, first.start_mjd)
    records = []
    for window in task.windows:
        try:
            track = again(
                build_track,
                partial(horizons.sample, target),
                window.start_mjd,
                window.stop_mjd,
                config.ephemerides.error_arcsec,
            )
        except ArchiveError as error:
            records.append(_failed(task.name, task.observatory, window, error))
            continue
        records.append(_keep(track, target, task, window, config, folder))
    return records


def _keep(
    track: Tracks,
    target: Target,
    task: _Task,
    window: Window,
    config: MovingConfig,
    folder: Path,
) -> dict[str, Any]:
    holes = track.holes(window.start_mjd, window.stop_mjd)
    if holes:
        error = TransientArchiveError(f"{task.name}: the track has holes: MJD {holes}")
        return _failed(task.name, task.observatory, window, error)
    path = ephemeris_path(folder, task.observatory, task.name, window.name)
    key = track_key(config, task.name, task.observatory, window)
    write_keyed(path, track.to_table(), EPHEMERIS, key, {"lightloom_target": target.name})
    return _record(task.name, task.observatory, window, "data", len(track), target.name)


def _record(
    name: str, observatory: str, window: Window, state: str, n_pieces: int, target: str
) -> dict[str, Any]:
    file = ephemeris_path(Path(), observatory, name, window.name).as_posix()
    return {
        "object": name,
        "observatory": observatory,
        "window": window.name,
        "state": state,
        "n_pieces": n_pieces,
        "target_name": target,
        "file": file if state == "data" else "",
        "error_class": None,
        "message": None,
    }


def _failed(name: str, observatory: str, window: Window, error: ArchiveError) -> dict[str, Any]:
    state = STATE_OF_ERROR.get(error.error_class, "failed")
    _log.error("%s, %s, %s: %s (%s)", name, observatory, window.name, error, state)
    return _record(name, observatory, window, state, 0, "") | {
        "error_class": error.error_class,
        "message": str(error),
    }
