"""Which objects and windows there are, and how they are divided into jobs.

Decided when the Snakefile is read, and only if moving objects are asked for. A block is a part of
the objects by the hash of their names: a further object changes its own block alone.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lightloom.errors import ConfigError
from lightloom.moving.config import MovingConfig
from lightloom.moving.designations import objects_of_list, only_numbered
from lightloom.moving.windows import Window, day_of_search, mjd_of_date, windows
from lightloom.plan import digest_json
from lightloom.storage import json_bytes, write_if_changed

#: Raise it when the same settings would yield other tracks or matches than before.
VERSION = 1


@dataclass(frozen=True)
class MovingPlan:
    """The objects by block, and the windows.

    Attributes
    ----------
    results : Path
        Folder of everything about moving objects.
    blocks : dict of str to list of str
        Names of the objects of each block.
    windows : tuple of Window
    """

    results: Path
    blocks: dict[str, list[str]]
    windows: tuple[Window, ...]


def moving_folder(results: Path) -> Path:
    """Folder of everything about moving objects."""
    return results / "moving"


def file_name(name: str) -> str:
    """Return a name that a file can have, different for different objects."""
    plain = re.sub(r"[^A-Za-z0-9-]+", "_", name).strip("_")
    same = re.fullmatch(r"[A-Za-z0-9-]+", name)
    return plain if same else f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def sync_moving_plan(config: MovingConfig, results: Path) -> MovingPlan:
    """Read the lists of objects and write the plan.

    Raises
    ------
    ConfigError
        If a list cannot be read or is empty.
    """
    folder = moving_folder(results)
    names = sorted(set(_names(config, folder)))
    n_blocks = 1
    while n_blocks * config.objects_per_job < len(names):
        n_blocks *= 2
    blocks: dict[str, list[str]] = {}
    for name in names:
        number = int(hashlib.sha256(name.encode()).hexdigest(), 16) % n_blocks
        blocks.setdefault(f"block-{number:04d}-of-{n_blocks:04d}", []).append(name)
    document = {"blocks": blocks, "n_objects": len(names)}
    write_if_changed(folder / "plan.json", json_bytes(document))
    return _plan(folder, document, config)


def load_moving_plan(config: MovingConfig | None, results: Path) -> MovingPlan:
    """Return the plan that was written last; without one there are no objects."""
    folder = moving_folder(results)
    path = folder / "plan.json"
    if config is None or not path.exists():
        return MovingPlan(folder, {}, ())
    return _plan(folder, json.loads(path.read_text()), config)


def _plan(folder: Path, document: Mapping[str, Any], config: MovingConfig) -> MovingPlan:
    blocks = {name: list(document["blocks"][name]) for name in sorted(document["blocks"])}
    return MovingPlan(folder, blocks, tuple(windows(config.start, config.stop, config.window)))


def _names(config: MovingConfig, folder: Path) -> Iterable[str]:
    for entry in config.objects:
        if isinstance(entry, str):
            yield entry.strip()
            continue
        names = objects_of_list(_list_text(entry["list"], folder / ".copies"), entry["list"])
        yield from only_numbered(names) if entry["select"] == "numbered" else names


def _list_text(place: str, copies: Path) -> str:
    path = Path(place)
    if "://" in place:
        # Only a remote list needs the file systems.
        from lightloom.sample.remote import update_copy

        path = update_copy(place, {}, copies).file
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"moving.objects: list {place}: cannot be read ({error}), expected a list of objects"
        ) from error


def ephemeris_key(config: MovingConfig, names: list[str]) -> dict[str, Any]:
    """Return what the ephemerides of some objects depend on."""
    return {
        "version": VERSION,
        "objects": names,
        "range": [config.start, config.stop, config.window],
        "observatories": config.observatories,
        "settings": digest_json([config.ephemerides.endpoint, config.ephemerides.error_arcsec]),
    }


def match_key(config: MovingConfig) -> dict[str, Any]:
    """Return what the matches depend on besides the ephemerides."""
    return {
        "version": VERSION,
        "uncertainty": config.uncertainty,
        "sources": {source.name: digest_json(source.settings()) for source in config.sources},
    }


def alert_versions(config: MovingConfig) -> dict[str, str]:
    """Return what identifies the alerts of each source by its name, without asking a service."""
    return {
        source.name: day_of_search(mjd_of_date(config.stop))
        if source.kind != "alerts_parquet" or "://" in source.endpoint
        else _version_of_files(Path(source.endpoint))
        for source in config.sources
    }


def _version_of_files(folder: Path) -> str:
    files = [
        (path.relative_to(folder).as_posix(), path.stat())
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]
    return digest_json([[name, info.st_size, info.st_mtime_ns] for name, info in files])


def set_aside_open(plan: MovingPlan, config: MovingConfig) -> None:
    """Remove the statuses of jobs whose work is to be looked at again.

    These are jobs that left something open, and matches with alerts that have changed since. What
    is done and has not changed is kept by the jobs themselves.
    """
    alerts = alert_versions(config)
    for step, expected in (("ephemerides", {}), ("matches", {"alerts": alerts})):
        for block in plan.blocks:
            path = plan.results / step / f"{block}.json"
            if path.exists() and not _is_whole(path, expected):
                path.unlink()


def _is_whole(path: Path, expected: Mapping[str, Any]) -> bool:
    try:
        document = json.loads(path.read_text())
        if any(document[key] != value for key, value in expected.items()):
            return False
        files = [path.parent / name for name in document["files"]]
        return not document["open"] and all(
            file.exists() and file.stat().st_mtime_ns <= path.stat().st_mtime_ns for file in files
        )
    except (ValueError, KeyError):
        return False
