"""Small runs with what the workflow leaves when it starts: the plan and the record."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from lightloom.config_files import load_project
from lightloom.plan import plan_path
from lightloom.record import write_record
from lightloom.storage import write_json
from project import REPOSITORY
from small_run import KEY, SmallRun


def record_run(
    run: SmallRun,
    archives: tuple[str, ...] = ("unwise", "ztf"),
    views: Mapping[str, dict[str, list]] = MappingProxyType({}),
) -> Path:
    """Write plan and record of the shards of a run, with views in place of those of archives.

    Returns the results folder.
    """
    shards = [
        {"name": name, "n_targets": table.num_rows, "content_hash": KEY["shard_hash"]}
        for name, table in run.shards.items()
    ]
    write_json(plan_path(run.results), {"fingerprint": "", "shards": shards})
    configured = replace(load_project(REPOSITORY, [], []), results=run.results)
    specs = {
        name: replace(spec, views=views.get(name, spec.views))
        for name, spec in configured.archives.items()
    }
    configured = replace(configured, archives=specs)
    write_record(configured, {name: dict.fromkeys(run.shards, KEY) for name in archives})
    return run.results
