"""What a run has to do, from files' names, times and contents."""

import json
import os
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from lightloom.config import Run, load_run
from lightloom.errors import ConfigError
from lightloom.plan import (
    Plan,
    Shard,
    code_hash,
    fetch_keys,
    load_plan,
    part_paths,
    set_aside_unfinished,
    sync_plan,
    unfinished_path,
)
from lightloom.storage import sha256_file

CONFIG = Path(__file__).parents[2] / "config"
KEY = {"shard_hash": "1", "settings_hash": "2", "code_hash": "3"}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run on a sample of three targets."""
    table = tmp_path / "sample.csv"
    table.write_text("id,ra,dec\na,10,20\nb,10.1,20\nc,200,-30\n")
    config = yaml.safe_load((CONFIG / "config.yaml").read_text())
    config |= yaml.safe_load((CONFIG / "archives.yaml").read_text())
    config["results"] = str(tmp_path / "results")
    config["sample"] = {
        "sources": [{"kind": "table", "path": str(table), "id": "id", "ra": "ra", "dec": "dec"}]
    }
    config["shards"] = {"max_targets": 2}
    return load_run(config)


def test_shards_are_written_once_and_removed_with_their_targets(run: Run) -> None:
    plan = sync_plan(run)
    assert [shard.n_targets for shard in plan.shards.values()] == [2, 1]
    files = {path: path.stat().st_mtime_ns for path in run.results.rglob("*.parquet")}
    assert sync_plan(run) == plan == load_plan(run.results)
    assert {path: path.stat().st_mtime_ns for path in run.results.rglob("*.parquet")} == files
    Path(run.sample.sources[0].path).write_text("id,ra,dec\na,10,20\nb,10.1,20\nd,10.2,21\n")
    grown = sync_plan(replace(run, shards=replace(run.shards, max_targets=3)))
    assert list(grown.shards) == ["allsky"]
    assert {path.stem for path in (run.results / "shards").glob("*.parquet")} == {"allsky"}


def test_a_missing_plan_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"plan\.json: not found"):
        load_plan(tmp_path)


MODULE = '''"""A module."""

def answer(x):
    """Answer."""
    return x + 1
'''


@pytest.mark.parametrize(
    ("edited", "same"),
    [
        (MODULE.replace("A module", "Another text"), True),
        (MODULE.replace('    """Answer."""\n', ""), True),
        (MODULE + "\n\n# A remark.\n", True),
        (MODULE.replace("x + 1", "(x  +  1)"), True),
        (MODULE.replace("x + 1", "x + 2"), False),
    ],
)
def test_only_code_counts_in_the_hash_of_a_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, edited: str, same: bool
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    hashes = []
    for name, text in (("first_survey", MODULE), ("second_survey", edited)):
        (tmp_path / f"{name}.py").write_text(text)
        hashes.append(code_hash(SimpleNamespace(name=name, module=name, module_name=name)))
    assert (hashes[0] == hashes[1]) == same


def test_an_unknown_module_is_named() -> None:
    spec = SimpleNamespace(name="x", module="nowhere", module_name="lightloom.archives.nowhere")
    with pytest.raises(ConfigError, match=r"archives\.x\.module: 'nowhere' not found"):
        code_hash(spec)


def test_keys_change_with_settings_alone(run: Run) -> None:
    plan = sync_plan(run)
    spec = run.archives["ztf"]
    keys = fetch_keys(plan, spec)
    same = replace(spec, storage_options={"anon": False}, limits={}, views={}, title="ZTF")
    other = replace(spec, radius_arcsec=2.0)
    assert fetch_keys(plan, same) == keys
    assert fetch_keys(plan, other) != keys
    assert len({key["shard_hash"] for key in keys.values()}) == 2


@pytest.fixture
def finished(tmp_path: Path) -> tuple[Plan, Path, Path]:
    """A plan with one shard, and the files of a whole part."""
    plan = Plan(tmp_path, {"allsky": Shard("allsky", 1, "1")})
    part, status = part_paths(tmp_path, "ztf", "allsky")
    part.parent.mkdir(parents=True)
    part.write_bytes(b"rows")
    status.write_text(json.dumps({"key": KEY, "part": {"sha256": sha256_file(part)}}))
    return plan, part, status


def is_kept(plan: Plan, status: Path, key: dict[str, str] = KEY, *, thorough: bool) -> bool:
    set_aside_unfinished(plan, {"ztf": {"allsky": key}}, thorough=thorough)
    return status.exists()


@pytest.mark.parametrize("thorough", [False, True])
def test_a_whole_part_is_kept(finished: tuple[Plan, Path, Path], thorough: bool) -> None:
    plan, part, status = finished
    assert is_kept(plan, status, thorough=thorough)
    # Copied or touched, but with the same content.
    os.utime(part)
    assert is_kept(plan, status, thorough=thorough)


def test_unfinished_and_changed_parts_are_set_aside(finished: tuple[Plan, Path, Path]) -> None:
    plan, part, status = finished
    content = status.read_bytes()
    part.write_bytes(b"rosw")
    assert not is_kept(plan, status, thorough=False)
    part.write_bytes(b"rows")
    status.write_bytes(content)
    unfinished_path(part, ".json").touch()
    assert not is_kept(plan, status, thorough=False)


def test_only_a_thorough_look_finds_silent_damage_and_other_keys(
    finished: tuple[Plan, Path, Path],
) -> None:
    plan, part, status = finished
    content, times = status.read_bytes(), part.stat()
    assert is_kept(plan, status, KEY | {"code_hash": "4"}, thorough=False)
    assert not is_kept(plan, status, KEY | {"code_hash": "4"}, thorough=True)
    status.write_bytes(content)
    part.write_bytes(b"rosw")
    os.utime(part, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert is_kept(plan, status, thorough=False)
    assert not is_kept(plan, status, thorough=True)
