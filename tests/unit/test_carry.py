"""Finished targets go over into the parts of changed, split and joined shards; others do not."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from lightloom.carry import (
    Carried,
    carry,
    forget_earlier,
    keep_earlier,
    keep_until_merged,
    target_hashes,
)
from lightloom.merge import Part
from lightloom.schema import TARGET_ROWS
from lightloom.sharding import leaf_name
from small_run import KEY, SmallRun, lightcurve_row

#: Three targets in one leaf of order 1, two of them in one of its children.
PLACES = {"A": (44.0, 1.0), "B": (45.0, 2.0), "C": (45.0, 12.0)}
PARENT = leaf_name(0, 4)


def _rows(*objectids: str) -> list[dict[str, Any]]:
    return [
        lightcurve_row(name, "ztf", time_mjd=58000.0 + number)
        for name in objectids
        for number in range(2)
    ]


def _finish(
    run: SmallRun, shard: str, names: str, states: Mapping[str, str] | None = None
) -> tuple[Part, pa.Table]:
    """Write a shard and its part, with rows for every target but C."""
    run.add_shard(shard, {name: PLACES[name] for name in names})
    objectids = [name for name in names if name != "C" and (states or {}).get(name) != "failed"]
    part = run.add_part("ztf", shard, _rows(*objectids), states)
    table = run.shards[shard]
    document = json.loads(part.status_path.read_text())
    document["targets"]["target_hash"] = target_hashes(table)
    document |= {"methods": ["tap"], "places": ["aws"]}
    part.status_path.write_text(json.dumps(document))
    return part, table


def _carry(shard: pa.Table, part: Path, key: Mapping[str, str] = KEY) -> Carried:
    return carry(shard, part, key, np.ones(shard.num_rows, bool))


def _names(shard: pa.Table, carried: Carried) -> list[str]:
    return shard["objectid"].take(pa.array(carried.targets)).to_pylist()


def _move_aside(part: Part) -> None:
    """Do what happens before a fetch: the part is kept, then Snakemake deletes it."""
    keep_earlier(part.path.parents[2], part.path.stem)
    part.path.unlink()
    part.status_path.unlink()


def test_unchanged_targets_of_a_changed_shard(small_run: SmallRun) -> None:
    part, _ = _finish(small_run, "allsky", "ABC")
    _move_aside(part)
    small_run.add_shard("allsky", {**PLACES, "A": (44.0, 1.001), "D": (45.0, 2.1)})
    shard = small_run.shards["allsky"]
    carried = _carry(shard, part.path, {**KEY, "shard_hash": "other"})
    assert sorted(_names(shard, carried)) == ["B", "C"]
    assert (carried.methods, carried.places) == ({"tap"}, {"aws"})
    outcomes = dict(zip(_names(shard, carried), carried.outcome["state"], strict=True))
    assert outcomes == {"B": "data", "C": "searched_empty"}
    (stream,) = carried.streams
    rows = pa.concat_tables(stream)
    assert rows.schema == TARGET_ROWS
    assert shard["objectid"].take(rows["target"]).to_pylist() == ["B", "B"]
    assert rows["time_mjd"].to_pylist() == [58000.0, 58001.0]
    forget_earlier(part.path)
    assert not list(part.path.parent.glob(".*"))
    assert len(_carry(shard, part.path, KEY).targets) == 0


def test_targets_of_split_and_joined_shards(small_run: SmallRun) -> None:
    part, table = _finish(small_run, "allsky", "ABC")
    cells = dict(zip(table["objectid"].to_pylist(), table["_healpix_29"].to_pylist(), strict=True))
    for order in (0, 3):
        leaf = leaf_name(order, cells["C"] >> 2 * (29 - order))
        small_run.add_shard(leaf, {"C": PLACES["C"]})
        carried = _carry(small_run.shards[leaf], part.path.with_name(f"{leaf}.parquet"), KEY)
        assert carried.targets.tolist() == [0]
        assert carried.outcome["match_arcsec"] == [None]
    part.path.unlink()
    # Now the parts of two leaves make up that of a larger one.
    for name in "AB":
        _finish(small_run, leaf_name(6, cells[name] >> 2 * (29 - 6)), name)
    carried = _carry(table, part.path, KEY)
    assert _names(table, carried) == [name for name in table["objectid"].to_pylist() if name != "C"]
    targets = [pa.concat_tables(stream)["target"].to_pylist() for stream in carried.streams]
    assert sorted(targets) == [[t, t] for t in carried.targets]


def test_parts_of_other_places_settings_and_code_are_not_used(small_run: SmallRun) -> None:
    part, table = _finish(small_run, "allsky", "ABC")
    _move_aside(part)
    for change in ({"settings_hash": "x"}, {"code_hash": "x"}):
        carried = _carry(table, part.path, {**KEY, **change})
        assert len(carried.targets) == 0
        assert carried.methods == set()
    assert len(_carry(table, part.path, KEY).targets) == 3
    elsewhere = small_run.results / "parts" / "ztf" / f"{leaf_name(0, 11)}.parquet"
    other, _ = _finish(small_run, leaf_name(0, 3), "A")
    forget_earlier(part.path)
    assert len(_carry(table, elsewhere, KEY).targets) == 0
    assert len(_carry(table, other.path, KEY).targets) == 0


@pytest.mark.parametrize("state", ["failed", "truncated"])
def test_unfinished_targets_are_not_carried(small_run: SmallRun, state: str) -> None:
    part, table = _finish(small_run, "allsky", "ABC", {"B": state})
    status = json.loads(part.status_path.read_text())
    keep_until_merged(part.path, part.path, status)
    carried = _carry(table, part.path, KEY)
    assert sorted(_names(table, carried)) == ["A", "C"]
    (stream,) = carried.streams
    rows = pa.concat_tables(stream)
    assert set(table["objectid"].take(rows["target"]).to_pylist()) == {"A"}
    # What is known already is not looked for.
    assert len(carry(table, part.path, KEY, np.zeros(3, bool)).targets) == 0


def test_damaged_parts_are_not_used(small_run: SmallRun) -> None:
    part, table = _finish(small_run, "allsky", "ABC")
    _move_aside(part)
    rows = part.path.with_name(".allsky.earlier.parquet")
    content = rows.read_bytes()
    rows.write_bytes(content[:-1])
    assert len(_carry(table, part.path, KEY).targets) == 0
    rows.write_bytes(content)
    assert len(_carry(table, part.path, KEY).targets) == 3
    status = part.path.with_name(".allsky.earlier.json")
    status.write_text(status.read_text()[:-10])
    assert len(_carry(table, part.path, KEY).targets) == 0
    status.unlink()
    assert len(_carry(table, part.path, KEY).targets) == 0


def test_keeping_changes_nothing_and_can_be_repeated(small_run: SmallRun) -> None:
    part, _ = _finish(small_run, "allsky", "ABC")
    before = part.path.read_bytes(), part.status_path.read_bytes()
    # The part of this very content is no earlier one.
    keep_earlier(small_run.results, "allsky", KEY["shard_hash"])
    assert not list(part.path.parent.glob(".*"))
    for _ in range(2):
        keep_earlier(small_run.results, "allsky", "other")
    assert (part.path.read_bytes(), part.status_path.read_bytes()) == before
    kept = {path.name for path in part.path.parent.glob(".*")}
    assert kept == {".allsky.earlier.parquet", ".allsky.earlier.json"}


def test_hashes_tell_targets_apart(small_run: SmallRun, tmp_path: Path) -> None:
    small_run.add_shard("allsky", PLACES)
    table = small_run.shards["allsky"]
    hashes = target_hashes(table)
    assert len(set(hashes)) == 3
    assert target_hashes(table.take([2, 0])) == [hashes[2], hashes[0]]
    for name in ("ra_deg", "pmra_masyr", "parallax_mas", "ref_epoch_jyear"):
        column = pa.array(np.full(3, 0.5))
        changed = table.set_column(table.column_names.index(name), name, column)
        assert not set(target_hashes(changed)) & set(hashes)
