"""Replays of fetches from the services: the same bytes, and nobody is asked."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import yaml
from service_runs import HASTY, SERVICES, ServiceRun, load_spec, shard_for

from laboratory import Laboratory
from lightloom.config import ArchiveSpec
from project import REPOSITORY

#: One for each way of asking; `make faults` tries all.
ASKED = ["hcv", "icecube", "nsc", "tess"]
if int(os.environ.get("FAULT_SEEDS", "1")) > 1:
    ASKED = sorted(SERVICES)

#: A question about more than one target is a job of the service.
LIMITS = HASTY | {"sync_targets": 1}

TROUBLE = {"action": "status", "status": 503, "probability": 0.4, "seed": 5}
OUT_OF_SERVICE = {"action": "out_of_service", "seconds": 3600}


def keeping(spec: ArchiveSpec, folder: Path) -> ArchiveSpec:
    return replace(spec, replies={"folder": str(folder), "max_gb": 1.0, "replay": False})


def replayed(run: ServiceRun, folder: Path) -> ServiceRun:
    return ServiceRun(folder, replace(run.spec, replies=run.spec.replies | {"replay": True}))


def messages(run: ServiceRun) -> dict[str, str]:
    """What the status says of the targets that failed."""
    status = json.loads((run.folder / "parts" / "0.status.json").read_text())
    targets = status["targets"]
    found = zip(targets["objectid"], targets["message"], strict=True)
    return {objectid: message for objectid, message in found if message}


@pytest.fixture
def laboratory(laboratory: Laboratory) -> Any:
    laboratory.faults([])
    laboratory.clear_log()
    yield laboratory
    laboratory.faults([])


@pytest.mark.parametrize("archive", ASKED)
def test_replay_of_a_run_that_failed_and_was_mended(
    sky: Path, laboratory: Laboratory, tmp_path: Path, archive: str
) -> None:
    spec = keeping(load_spec(archive, laboratory, LIMITS | {"attempts": 1}), tmp_path / "replies")
    shard = shard_for(archive, sky)
    run = ServiceRun(tmp_path / "run", spec)
    laboratory.faults([TROUBLE])
    run.fetch(shard)
    assert "failed" in run.states.values()
    laboratory.faults([])
    run.fetch(shard)
    assert "failed" not in run.states.values()
    laboratory.faults([OUT_OF_SERVICE])
    laboratory.clear_log()
    # Other limits than those of the time would put other targets together.
    again = replayed(run, tmp_path / "again")
    again.fetch(shard, targets_per_query=1000, objects_per_query=1000, sync_targets=1000)
    assert again.digest == run.digest
    assert again.states == run.states
    assert messages(again) == messages(run)
    assert laboratory.log() == []


def test_a_part_of_the_targets_is_replayed_too(
    sky: Path, laboratory: Laboratory, tmp_path: Path
) -> None:
    spec = keeping(load_spec("nsc", laboratory, LIMITS), tmp_path / "replies")
    shard = shard_for("nsc", sky)
    run = ServiceRun(tmp_path / "run", spec)
    run.fetch(shard)
    half = shard.take(pa.array(range(0, shard.num_rows, 2)))
    again = replayed(run, tmp_path / "again")
    again.fetch(half)
    objectids = half["objectid"].to_pylist()
    assert again.states == {name: run.states[name] for name in objectids}
    rows = pq.read_table(run.part)
    of_half = rows.filter(pc.is_in(rows["objectid"], half["objectid"].combine_chunks()))
    assert of_half.num_rows > 0
    assert pq.read_table(again.part).equals(of_half)


def test_missing_reply_fails_its_targets_by_name(
    sky: Path, laboratory: Laboratory, tmp_path: Path
) -> None:
    spec = keeping(load_spec("tess", laboratory, LIMITS), tmp_path / "replies")
    archives = yaml.safe_load((REPOSITORY / "config" / "archives.yaml").read_text())
    bucket = {
        "endpoint": str(sky / "services" / "mast" / "stpubdata"),
        "paths": archives["catalogue"]["tess"]["copies"]["aws"]["paths"],
    }
    shard = shard_for("tess", sky)
    run = ServiceRun(tmp_path / "run", replace(spec, copies={"aws": bucket}))
    run.fetch(shard)
    lost = next(
        path
        for path in sorted((tmp_path / "replies" / "requests").rglob("*.json"))
        if json.loads(path.read_text())["request"]["url"].startswith("mast:")
    )
    uri = json.loads(lost.read_text())["request"]["url"]
    whole = replayed(run, tmp_path / "whole")
    whole.fetch(shard)
    assert whole.digest == run.digest
    lost.unlink()
    again = replayed(run, tmp_path / "again")
    again.fetch(shard)
    (name,) = messages(again).keys() - messages(run).keys()
    assert again.states[name] == "truncated"
    assert "no reply to it is kept" in messages(again)[name]
    assert uri.rpartition("/")[2] in messages(again)[name]
    others = run.states.keys() - {name}
    assert {one: again.states[one] for one in others} == {one: run.states[one] for one in others}


def test_nothing_kept(sky: Path, laboratory: Laboratory, tmp_path: Path) -> None:
    run = ServiceRun(
        tmp_path / "run", keeping(load_spec("xmm", laboratory, LIMITS), tmp_path / "replies")
    )
    again = replayed(run, tmp_path / "again")
    again.fetch(shard_for("xmm", sky))
    assert set(again.states.values()) == {"failed"}
    for message in messages(again).values():
        assert "JOB http://" in message
        assert "replies.keep: true" in message
    assert laboratory.log() == []
