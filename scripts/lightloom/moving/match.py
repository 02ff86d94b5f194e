"""The job that matches the objects of a block with the alerts of all sources, window by window."""

import logging
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lightloom.config import DaskConfig
from lightloom.errors import ArchiveError
from lightloom.moving.alert_folder import AlertFolder
from lightloom.moving.alerts import dc_magnitude, difference_flux_ujy, distinct
from lightloom.moving.cones import Cone, cover
from lightloom.moving.config import MovingConfig, SourceConfig
from lightloom.moving.fetch import STATE_OF_ERROR
from lightloom.moving.kowalski import Kowalski
from lightloom.moving.pairs import find_pairs, search_radius_arcsec
from lightloom.moving.plan import VERSION, alert_versions, file_name
from lightloom.moving.schema import ALERT, LABELLED, OPEN_STATES
from lightloom.moving.service import ServiceSpec
from lightloom.moving.tracks import Tracks, number_tracks, ra_dec_deg
from lightloom.moving.windows import Window, day_of_search
from lightloom.moving.work import read_keyed, spread, write_keyed
from lightloom.plan import digest_json
from lightloom.schema import conform
from lightloom.services.retries import retrying
from lightloom.storage import sha256_file, write_json

#: How far in time negatives are from the object [d], and how many shifts are tried.
_SHIFT_DAYS = (1.0, 10.0)
_N_SHIFTS = 4

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Task:
    """A window of a source, and the objects that are still to be matched with it."""

    source: str
    window: Window
    version: str
    names: tuple[str, ...]
    tracks: tuple[Path, ...]


@dataclass(frozen=True)
class _Found:
    """What a window of a source has given: matches and negatives for each object."""

    rows: list[pa.Table]
    n_alerts: int
    n_cones: list[int]
    is_covered: bool


def match_path(folder: Path, source: str, name: str, window: str) -> Path:
    """Path of the matches of an object in a window of a source."""
    return folder / source / file_name(name) / f"{window}.parquet"


def match_objects(
    *,
    ephemerides: dict[str, Any],
    ephemerides_folder: Path,
    windows: Sequence[Window],
    config: MovingConfig,
    status_path: Path,
    state: Path,
    dask_config: DaskConfig,
    threads: int,
    mem_mb: int,
) -> None:
    """Match the objects of a block with alerts, and write their status.

    Parameters
    ----------
    ephemerides : dict
        The status of their ephemerides.
    ephemerides_folder : Path
        Where the tracks lie.
    windows : sequence of Window
    config : MovingConfig
    status_path : Path
        Where the status goes; the matches go into folders beside it.
    state : Path
        Folder shared by the jobs of all services.
    dask_config : DaskConfig
    threads, mem_mb : int
        Cores and memory [MB] of the job.
    """
    folder = status_path.parent
    # Listed before anything is read: a change that comes meanwhile is seen by the next run.
    alerts = alert_versions(config)
    by_name = {window.name: window for window in windows}
    records: list[dict[str, Any]] = []
    tasks: list[_Task] = []
    for source in config.sources:
        pending: dict[str, list[dict[str, Any]]] = {}
        for one in ephemerides["records"]:
            if one["observatory"] != source.observatory or one["window"] not in by_name:
                continue
            if one["state"] == "data":
                pending.setdefault(one["window"], []).append(one)
            else:
                records.append(_record(one, source.name, one["state"]))
        try:
            versions = _versions(source, [by_name[name] for name in sorted(pending)])
        except ArchiveError as error:
            everything = [one for ready in pending.values() for one in ready]
            records += [_failed(one, source.name, error) for one in everything]
            continue
        for window_name, version in versions.items():
            window, ready = by_name[window_name], pending[window_name]
            missing = []
            for one in ready:
                path = match_path(folder, source.name, one["object"], window.name)
                key = _key(config, source, version, ephemerides_folder / one["file"])
                table = read_keyed(path, key)
                if table is None:
                    missing.append(one)
                else:
                    records.append(_kept(one, source.name, table))
            if missing:
                tasks.append(
                    _Task(
                        source.name,
                        window,
                        version,
                        tuple(one["object"] for one in missing),
                        tuple(ephemerides_folder / one["file"] for one in missing),
                    )
                )
    _log.info("%d searches are done, %d windows to search", len(records), len(tasks))
    known = {
        (one["object"], one["window"], one["observatory"]): one for one in ephemerides["records"]
    }
    sources = {source.name: source for source in config.sources}
    match = partial(_match_window, config=config, state=state)
    for task, result in spread(match, tasks, dask_config, threads=threads, mem_mb=mem_mb):
        source = sources[task.source]
        ones = [known[name, task.window.name, source.observatory] for name in task.names]
        if isinstance(result, ArchiveError):
            records += [_failed(one, source.name, result) for one in ones]
            continue
        for number, one in enumerate(ones):
            path = match_path(folder, source.name, one["object"], task.window.name)
            # If the alerts have changed since, the next run sees it.
            key = _key(config, source, task.version, task.tracks[number])
            further = {
                "n_alerts": str(result.n_alerts),
                "n_cones": str(result.n_cones[number]),
                "is_covered": str(result.is_covered),
            }
            write_keyed(path, result.rows[number], LABELLED, key, further)
            records.append(_kept(one, source.name, pq.read_table(path)))
    records.sort(key=lambda one: (one["object"], one["window"], one["source"]))
    write_json(
        status_path,
        {
            "records": records,
            "open": sum(one["state"] in OPEN_STATES for one in records),
            "files": [one["file"] for one in records if one["file"]],
            "alerts": alerts,
        },
    )


def _versions(source: SourceConfig, windows: Sequence[Window]) -> dict[str, str]:
    """Return what identifies the alerts of each window by its name, as far as can be known."""
    if source.kind != "alerts_parquet" or not windows:
        return {window.name: day_of_search(window.stop_mjd) for window in windows}
    folder = _folder(source)
    return {window.name: digest_json(folder.version(window)) for window in windows}


def _key(config: MovingConfig, source: SourceConfig, version: str, track: Path) -> dict[str, Any]:
    return {
        "version": VERSION,
        "source": digest_json(source.settings()),
        "alerts": version,
        "uncertainty": digest_json(config.uncertainty),
        "negatives": digest_json(config.negatives),
        "track": sha256_file(track),
    }


def _folder(source: SourceConfig) -> AlertFolder:
    return AlertFolder(
        source.endpoint,
        source.storage_options,
        source.columns,
        source.exposure_s,
        source.time_point,
    )


def _match_window(task: _Task, *, config: MovingConfig, state: Path) -> _Found:
    """Run on a worker: match the objects of one window of one source."""
    source = next(one for one in config.sources if one.name == task.source)
    tracks = number_tracks([pq.read_table(path) for path in task.tracks])
    radius = search_radius_arcsec(
        tracks,
        source.radius_arcsec,
        config.uncertainty["sigmas"],
        config.uncertainty["largest_arcsec"],
    )
    names = list(task.names)
    if source.kind == "alerts_parquet":
        batches, n_cones = _folder(source).batches(task.window), [0] * len(names)
    else:
        batches, n_cones = _cone_batches(source, task.window, names, tracks, radius, state)
    found, n_alerts = [LABELLED.empty_table()], 0
    shifts = _shifts(config, task)
    for alerts in batches:
        n_alerts += alerts.num_rows
        matches = matches_of(source.name, names, tracks, radius, alerts)
        found.append(matches)
        near = np.full(len(tracks), float(config.negatives["radius_arcsec"]))
        others = alerts.filter(pc.invert(pc.is_in(alerts["candid"], matches["candid"])))
        found += [
            matches_of(source.name, names, tracks, near, others, shift_days=shift)
            for shift in shifts
        ]
    rows = _by_object(pa.concat_tables(found), names, config)
    is_covered = n_alerts > 0 or source.kind == "kowalski"
    return _Found(rows, n_alerts, n_cones, is_covered)


def _shifts(config: MovingConfig, task: _Task) -> list[float]:
    """Return by how much alerts are moved in time to be negatives [d]; the same in every run."""
    if not config.negatives["per_match"]:
        return []
    seeds = [config.negatives["seed"], zlib.crc32(f"{task.source} {task.window.name}".encode())]
    rng = np.random.default_rng(seeds)
    sign = np.where(np.arange(_N_SHIFTS) % 2, 1.0, -1.0)
    return list(sign * rng.uniform(*_SHIFT_DAYS, _N_SHIFTS))


def _cone_batches(
    source: SourceConfig,
    window: Window,
    names: list[str],
    tracks: Tracks,
    radius: np.ndarray,
    state: Path,
) -> tuple[Iterator[pa.Table], list[int]]:
    """Return the alerts in cones along the tracks, and the number of cones of each object."""
    kowalski = open_kowalski(source, state)
    cones: list[Cone] = []
    n_cones = []
    for number in range(len(names)):
        mine = np.flatnonzero(tracks.object == number)
        of_object = cones_of(source, tracks.take(mine), radius[mine], window)
        n_cones.append(len(of_object))
        cones += of_object
    again = retrying(source.limits)
    return (again(kowalski.alerts, one, window) for one in kowalski.batches(cones)), n_cones


def open_kowalski(source: SourceConfig, state: Path) -> Kowalski:
    """Return the broker of a source."""
    spec = ServiceSpec(source.name, source.endpoint, source.limits, source.auth)
    return Kowalski(
        spec,
        state,
        query_type=source.query_type,
        catalog=source.catalog,
        query_filter=source.filter,
        projection=source.projection,
        most_bytes=source.most_bytes,
        most_cones=source.most_cones,
        most_alerts=source.most_alerts,
        exposure_s=source.exposure_s,
        time_point=source.time_point,
    )


def cones_of(
    source: SourceConfig, track: Tracks, radius_arcsec: np.ndarray, window: Window
) -> list[Cone]:
    """Return the cones that cover an object's track in a window."""
    return cover(
        track,
        radius_arcsec,
        start_mjd=window.start_mjd,
        stop_mjd=window.stop_mjd,
        cone_radius_arcsec=source.cone_radius_arcsec,
        shortest_stretch_h=source.shortest_stretch_h,
        largest_cone_arcsec=source.largest_cone_arcsec,
    )


def matches_of(
    source: str,
    names: Sequence[str],
    tracks: Tracks,
    radius: np.ndarray,
    alerts: pa.Table,
    *,
    shift_days: float = 0.0,
) -> pa.Table:
    """Return the alerts on the tracks (``LABELLED``).

    Parameters
    ----------
    source : str
    names : sequence of str
        Names of the objects by their number.
    tracks : Tracks
    radius : ndarray, shape (n_pieces,)
        Search radius of each piece [arcsec].
    alerts : pyarrow.Table
        Alerts (``ALERT``).
    shift_days : float, optional
        Compares the alerts with the objects so much later: what is near then is a negative [d].
    """
    time_mjd = alerts["time_mjd"].to_numpy() + shift_days
    pairs = find_pairs(
        tracks, radius, time_mjd, alerts["ra_deg"].to_numpy(), alerts["dec_deg"].to_numpy()
    )
    matched = alerts.take(pa.array(pairs.alert))
    time_mjd = time_mjd[pairs.alert]
    ra_deg, dec_deg = ra_dec_deg(tracks.directions(pairs.piece, time_mjd))
    ra_rate, dec_rate = tracks.rates_arcsec_per_h(pairs.piece, time_mjd)
    slow = tracks.quantities(pairs.piece, time_mjd)
    flux, flux_error = difference_flux_ujy(matched)
    dc_mag, dc_error = dc_magnitude(matched)

    def nullable(values: np.ndarray) -> pa.Array:
        return pa.array(values, mask=~np.isfinite(values))

    columns = {
        "label": np.full(len(pairs.object), shift_days == 0.0, np.int8),
        "offset_days": np.full(len(pairs.object), shift_days),
        "objectid": pa.array([names[number] for number in pairs.object], pa.string()),
        "source": pa.array([source] * len(pairs.object), pa.string()),
        **{name: matched[name] for name in ALERT.names},
        "predicted_ra_deg": ra_deg,
        "predicted_dec_deg": dec_deg,
        "separation_arcsec": pairs.separation_arcsec,
        "ra_rate_arcsec_per_h": ra_rate,
        "dec_rate_arcsec_per_h": dec_rate,
        "track_error_arcsec": tracks.error_arcsec[pairs.piece],
        "track_uncertainty_arcsec": nullable(tracks.uncertainty_arcsec[pairs.piece]),
        "search_radius_arcsec": radius[pairs.piece],
        "r_au": slow["r_au"],
        "delta_au": slow["delta_au"],
        "phase_deg": slow["phase_deg"],
        "predicted_v_mag": nullable(slow["v_mag"]),
        "flux_ujy": nullable(flux),
        "flux_err_ujy": nullable(flux_error),
        "dc_mag": nullable(dc_mag),
        "dc_mag_err": nullable(dc_error),
    }
    return conform(pa.table(columns), LABELLED, "matches")


def _by_object(rows: pa.Table, names: Sequence[str], config: MovingConfig) -> list[pa.Table]:
    """Divide rows by object: each alert once, in the order of time, matches first."""
    tables = []
    for name in names:
        mine = rows.filter(pc.equal(rows["objectid"], name))
        matches = distinct(mine.filter(pc.equal(mine["label"], 1)))
        others = mine.filter(
            pc.and_(
                pc.equal(mine["label"], 0), pc.invert(pc.is_in(mine["candid"], matches["candid"]))
            )
        )
        most = config.negatives["per_match"] * max(1, matches.num_rows)
        negatives = choose(distinct(others), most, config.negatives["seed"])
        tables.append(conform(pa.concat_tables([matches, negatives]), LABELLED, "matches"))
    return tables


def choose(rows: pa.Table, most: int, seed: int) -> pa.Table:
    """Return a random choice of alerts that does not depend on their order."""
    ranks = [
        zlib.crc32(f"{seed} {candid} {time_mjd:.8f}".encode())
        for candid, time_mjd in zip(
            rows["candid"].to_pylist(), rows["time_mjd"].to_pylist(), strict=True
        )
    ]
    return rows.take(pa.array(np.sort(np.argsort(ranks, kind="stable")[:most])))


def _record(one: dict[str, Any], source: str, state: str) -> dict[str, Any]:
    return {
        "object": one["object"],
        "window": one["window"],
        "source": source,
        "state": state,
        "target_name": one["target_name"] or None,
        "n_pieces": one["n_pieces"],
        "n_matches": 0,
        "n_alerts": 0,
        "n_requests": 0,
        "file": "",
        "error_class": one["error_class"],
        "message": one["message"],
    }


def _failed(one: dict[str, Any], source: str, error: ArchiveError) -> dict[str, Any]:
    state = STATE_OF_ERROR.get(error.error_class, "failed")
    _log.error("%s, %s, %s: %s", source, one["object"], one["window"], error)
    return _record(one, source, state) | {
        "error_class": error.error_class,
        "message": str(error),
    }


def _kept(one: dict[str, Any], source: str, table: pa.Table) -> dict[str, Any]:
    metadata = table.schema.metadata or {}
    is_covered = metadata.get(b"is_covered") == b"True"
    n_matches = int(pc.sum(table["label"]).as_py() or 0)
    state = "data" if n_matches else "searched_empty" if is_covered else "outside_coverage"
    return _record(one, source, state) | {
        "n_matches": n_matches,
        "n_alerts": int(metadata.get(b"n_alerts", b"0")),
        "n_requests": int(metadata.get(b"n_cones", b"0")),
        "file": match_path(Path(), source, one["object"], one["window"]).as_posix(),
    }
