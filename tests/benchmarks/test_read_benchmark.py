"""The benchmark of reading runs; one object among two million points is read at once."""

import json
from pathlib import Path

import read


def test_one_object_is_read_quickly(tmp_path: Path) -> None:
    read.main(["--points", "2000000", "--objects", "3", "--output", str(tmp_path)])
    report = json.loads((tmp_path / "read.json").read_text())
    assert report["rows"] == [1000]
    # Ten times the limit: the machines of continuous integration are busy.
    assert report["median_s"] < 10 * report["limit_s"]
