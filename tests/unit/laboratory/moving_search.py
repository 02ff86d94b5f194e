"""Searches for moving objects, in tests: their jobs, against servers of a small sky."""

import json
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from laboratory import Laboratory
from lightloom.config import DaskConfig
from lightloom.config_schema import find_problems
from lightloom.moving.config import MovingConfig
from lightloom.moving.fetch import fetch_ephemerides
from lightloom.moving.match import match_objects
from lightloom.moving.merge import merge_moving
from lightloom.moving.windows import windows
from lightloom.sky.moving.alerts import AlertNumbers
from lightloom.sky.moving.build import write_moving

OBJECTS = ["46P/Wirtanen", "2I/Borisov", "Ceres"]
TOKEN = "let-me-in"


def write_moving_sky(folder: Path) -> None:
    """Write the moving objects of a small sky, with many alerts of them."""
    write_moving(folder / "moving", folder / "services", 3, AlertNumbers(200, 1, 300))


def checked(section: dict[str, Any]) -> MovingConfig:
    """Return the section ``moving`` of a configuration, with its defaults."""
    filled = json.loads(json.dumps(section))
    schema = {"$ref": "moving.schema.yaml#/$defs/moving"}
    assert not find_problems({"moving": filled}, {"properties": {"moving": schema}})
    return MovingConfig.from_dict(filled)


def job_options(folder: Path, config: MovingConfig) -> dict[str, Any]:
    return {
        "windows": list(windows(config.start, config.stop, config.window)),
        "config": config,
        "state": folder / ".services",
        "dask_config": DaskConfig("threads"),
        "threads": 2,
        "mem_mb": 1000,
    }


def fetch_tracks(folder: Path, config: MovingConfig) -> Path:
    """Run the job that fetches ephemerides, and return its status."""
    status = folder / "ephemerides" / "block.json"
    names = sorted(config.objects)
    fetch_ephemerides(names=names, status_path=status, **job_options(folder, config))
    return status


def run_jobs(folder: Path, section: dict[str, Any]) -> list[dict[str, Any]]:
    """Run both jobs of a block, and return the records of the second."""
    config = checked(section)
    ephemerides, matches = fetch_tracks(folder, config), folder / "matches" / "block.json"
    match_objects(
        ephemerides=json.loads(ephemerides.read_text()),
        ephemerides_folder=ephemerides.parent,
        status_path=matches,
        **job_options(folder, config),
    )
    return json.loads(matches.read_text())["records"]


class Search:
    """The jobs of one block, in a folder of their own."""

    def __init__(self, folder: Path, sky: Path, laboratory: Laboratory) -> None:
        self.folder = folder
        self.laboratory = laboratory
        limits = {"requests_per_s": 500, "attempts": 1, "longest_wait_s": 0.1, "timeout_s": 20}
        self.section: dict[str, Any] = {
            "objects": OBJECTS,
            "start": "2019-01-01",
            "stop": "2019-03-01",
            "ephemerides": {
                "endpoint": laboratory.url("horizons") + "/api/horizons.api",
                "limits": limits,
            },
            "sources": {
                "files": {
                    "kind": "alerts_parquet",
                    "endpoint": str(sky / "moving" / "alerts.parquet"),
                },
                "kowalski": {
                    "kind": "kowalski",
                    "endpoint": laboratory.url("kowalski"),
                    "auth": {"token_env": "TEST_KOWALSKI"},
                    "limits": limits,
                },
            },
        }

    @property
    def config(self) -> MovingConfig:
        return checked(self.section)

    def fetch(self) -> Path:
        return fetch_tracks(self.folder, self.config)

    def run(self) -> list[dict[str, Any]]:
        return run_jobs(self.folder, self.section)

    def results(self) -> dict[str, pa.Table]:
        names = {
            "matches_path": "objects",
            "lightcurves_path": "lightcurves.parquet",
            "labelled_path": "labelled.parquet",
            "ledger_path": "ledger.parquet",
        }
        status = self.folder / "matches" / "block.json"
        n_expected = len(json.loads(status.read_text())["records"])
        paths = {key: self.folder / name for key, name in names.items()}
        merge_moving(statuses=[status], n_expected=n_expected, **paths)
        return {name: pq.read_table(self.folder / name) for name in names.values()}

    def asked(self, service: str) -> list[dict[str, Any]]:
        return [one for one in self.laboratory.log() if one["service"] == service]


def states(records: list[dict[str, Any]], **chosen: str) -> set[str]:
    """Return the states of those searches whose object, window or source is a given one."""
    return {
        one["state"] for one in records if all(one[key] == value for key, value in chosen.items())
    }


if __name__ == "__main__":
    run_jobs(Path(sys.argv[1]), json.loads(sys.argv[2]))
