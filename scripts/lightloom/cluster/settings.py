"""Dask's settings for clusters that Lightloom starts."""

from typing import Any

SETTINGS: dict[str, Any] = {
    # The profiler asks Python for all threads' frames a hundred times a second, which now and then
    # stops the process for good (https://github.com/python/cpython/issues/106883, Python 3.11).
    "distributed.worker.profile.enabled": False,
    # Nothing is there to be spilled, as results are small, so that a worker near its memory limit
    # would pause for good with what was given to it. Beyond the limit it is started anew.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.scheduler.allowed-failures": 2,
    "distributed.comm.timeouts.connect": "30s",
    # A shard travels once per job, and may well be larger than the 10 MB that Dask warns of.
    "distributed.admin.large-graph-warning-threshold": "1GB",
}


def as_environment() -> dict[str, str]:
    """Return the settings as environment variables for processes that are started."""
    return {
        f"DASK_{name.upper().replace('.', '__').replace('-', '_')}": str(value)
        for name, value in SETTINGS.items()
    }
