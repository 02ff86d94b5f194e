"""The benchmark of forecasts can be started, and tells how far off they were."""

import csv
from pathlib import Path

import prediction


def test_the_sample_is_random_and_repeatable(tmp_path: Path) -> None:
    for name in ("one.csv", "other.csv"):
        prediction._write_sample(tmp_path / name, n_targets=50, seed=1)
    assert (tmp_path / "one.csv").read_bytes() == (tmp_path / "other.csv").read_bytes()
    with (tmp_path / "one.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len({row["name"] for row in rows}) == 50
    assert min(float(row["dec"]) for row in rows) > -25


def test_the_table_has_both_and_their_ratio() -> None:
    row = {
        "archive": "ztf",
        "pieces": {"expected": 4.0, "low": 4.0, "high": 4.0},
        "measured_pieces": 4,
        "requests": {"expected": 12.0, "low": 10.0, "high": 14.0},
        "measured_requests": 13,
        **dict.fromkeys(("bytes", "job_s", "job_cpu_s", "job_mb"), 2.0),
        **{f"measured_{name}": 4.0 for name in ("bytes", "job_s", "job_cpu_s", "mb")},
    }
    report = {
        "targets": 4,
        "shards": 2,
        "pilot_jobs": 1,
        "jobs": 2,
        "load": {"pilot": 1.0, "run": 2.0},
        "archives": [row],
        **{name: {"expected": 3.0, "measured": 4.0} for name in ("time_s", "cpu_s", "peak_mb")},
    }
    text = prediction._table(report)
    assert "| `ztf` | 4, 4 | 12 (10, 14), 13 | 0.0, 0.0 | 2, 4 | 2, 4 | 2, 4 |" in text
    assert text.count("(ratio 0.75)") == 3
