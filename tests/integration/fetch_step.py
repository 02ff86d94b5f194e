"""The fetch step of the embedded sky: an archive of Parquet files and a service, on any cluster."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from service_runs import HASTY, ServiceRun, load_spec, shard_for

from laboratory import Laboratory
from lightloom.config import DaskConfig, load_run
from lightloom.errors import LightloomError
from project import REPOSITORY

#: Requests of one target each, so that there is something to spread.
LIMITS: dict[str, dict[str, Any]] = {"ztf": {}, "nsc": HASTY | {"targets_per_query": 1}}


def dask_section(section: dict[str, Any]) -> DaskConfig:
    """Check a section `dask` as a run does, and return what the jobs get."""
    config: dict[str, Any] = {"dask": section}
    for name in ("archives", "config"):
        config = yaml.safe_load((REPOSITORY / "config" / f"{name}.yaml").read_text()) | config
    return load_run(config).dask


@dataclass
class FetchStep:
    """Fetches of the same shards, in a folder for each cluster.

    Attributes
    ----------
    folder : Path
        Its child ``sky`` is the embedded sky: endpoints are relative to it, as in a run.
    laboratory : Laboratory
    """

    folder: Path
    laboratory: Laboratory

    def job(self, archive: str, name: str, config: DaskConfig) -> ServiceRun:
        spec = load_spec(archive, self.laboratory, LIMITS[archive])
        return ServiceRun(self.folder / name / archive, spec, config)

    def fetch(self, archive: str, name: str, config: DaskConfig) -> LightloomError | None:
        """Run a job and return the error that it ended with."""
        shard = shard_for(archive, self.folder / "sky")
        try:
            return self.job(archive, name, config).fetch(shard)
        except LightloomError as error:
            return error

    def digests(self, name: str, config: DaskConfig) -> dict[str, str]:
        """Fetch all shards and return the digests of the parts."""
        for archive in LIMITS:
            error = self.fetch(archive, name, config)
            assert error is None, error
        return {archive: self.job(archive, name, config).digest for archive in LIMITS}

    def once_asked(self, n_requests: int, then: Callable[[], None]) -> threading.Thread:
        """Do something when the service has seen so many requests, in a thread."""

        def wait() -> None:
            deadline = time.monotonic() + 60
            while len(self.laboratory.log("nsc")) < n_requests and time.monotonic() < deadline:
                time.sleep(0.02)
            then()

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        return thread
