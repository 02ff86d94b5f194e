"""The benchmark of samples runs, and a change touches nothing that it need not touch."""

import json
from pathlib import Path

import sample


def test_a_change_asks_for_changed_targets_only(tmp_path: Path) -> None:
    sample.main(["--targets", "6000", "--formats", "csv", "--output", str(tmp_path)])
    report = json.loads((tmp_path / "sample.json").read_text())
    assert report["formats"]["csv"]["again"]["wall_s"] > 0
    changes = report["changes"]
    assert changes["reorder"]["rewritten"] == 0
    assert changes["move 1 %"]["new_targets"] >= 60
    for found in changes.values():
        assert found["unexplained"] == 0
        assert found["asked_targets"] == found["new_targets"]
    clustered = changes["move 1 %, clustered"]
    assert 0 < clustered["rewritten"] < clustered["shards_after"] / 2
