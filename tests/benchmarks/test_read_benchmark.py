"""The benchmark of reading runs; one object among two million points is read at once."""

import json
from pathlib import Path

import read


def test_one_object_is_read_quickly(tmp_path: Path) -> None:
    read.main(["--points", "2000000", "--objects", "3", "--output", str(tmp_path)])
    report = json.loads((tmp_path / "read.json").read_text())
    assert report["rows"] == [1000]
    # On a busy machine the clock tells of the other work: the processors' time alone is judged.
    assert report["median_cpu_s"] < report["limit_s"]
