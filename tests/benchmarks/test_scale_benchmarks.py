"""The benchmarks of scale run, and what they measure is whole."""

import json
import os
from pathlib import Path

import differences
import gsoc
import merge
import pytest
import scale


def test_points_are_merged_under_a_limit(tmp_path: Path) -> None:
    folders = ["--folder", str(tmp_path / "parts"), "--output", str(tmp_path)]
    merge.main(["--quick", *folders])
    report = json.loads((tmp_path / "merge.json").read_text())
    assert report["rows"] == report["points"] == 300_000
    assert report["same_bytes"]
    assert report["peak_rss_mib"] < report["limit_mib"]


def test_a_merge_without_memory_fails(tmp_path: Path) -> None:
    folders = ["--folder", str(tmp_path / "parts"), "--output", str(tmp_path)]
    with pytest.raises(SystemExit, match="failed under 150 MiB"):
        merge.main(["--points", "5000", "--targets", "5", "--limit-mib", "150", *folders])


def test_all_differences_of_two_runs_are_found(tmp_path: Path) -> None:
    folders = ["--folder", str(tmp_path / "runs"), "--output", str(tmp_path)]
    differences.main(["--points", "4000", "--targets", "3", *folders])
    (report,) = json.loads((tmp_path / "differences.json").read_text())
    assert report["differences"] == 12


def test_a_sample_is_complete_and_is_not_searched_again(tmp_path: Path) -> None:
    folders = ["--folder", str(tmp_path / "runs"), "--output", str(tmp_path)]
    scale.main(["--quick", "--archives", "ztf", "--rule", "lightcurves", *folders])
    case = json.loads((tmp_path / "scale.json").read_text())["60"]
    assert case["complete"]
    assert case["states"]["ztf"] == {"data": 60}
    assert case["rows"] > 60
    assert {"controller", "fetch_lightcurves", "merge_shard"} <= case["slices"][0][
        "peak_mib"
    ].keys()


@pytest.mark.skipif("LIGHTLOOM_LONG_TESTS" not in os.environ, reason="takes a minute")
def test_toy_archives_give_the_same_rows(tmp_path: Path) -> None:
    gsoc.main(["--quick", "--folder", str(tmp_path / "runs"), "--output", str(tmp_path)])
    (case,) = json.loads((tmp_path / "gsoc.json").read_text())
    assert case["workflow"]["cpu_s"] > case["serial"]["cpu_s"] > 0
