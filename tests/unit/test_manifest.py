"""The manifest names every data file and adds up with the ledger."""

import json
from pathlib import Path

import pytest

from lightloom.errors import ResultError
from lightloom.manifest import write_manifest
from lightloom.storage import sha256_file
from small_run import SmallRun, lightcurve_row


@pytest.fixture
def finished(small_run: SmallRun) -> SmallRun:
    """Two shards, one archive of two asked, one target failed."""
    for pixel in (0, 1):
        name = f"norder0-npix{pixel}"
        small_run.add_shard(
            name, {f"t{pixel}": (45.0 + 90 * pixel, 30.0), f"u{pixel}": (46.0 + 90 * pixel, 30.0)}
        )
        part = small_run.add_part(
            "ztf",
            name,
            [lightcurve_row(f"t{pixel}", "ztf", time_mjd=58000.0 + i) for i in range(3)],
            states={f"u{pixel}": "failed"} if pixel else None,
            messages={f"u{pixel}": ("transient", "no answer")},
        )
        small_run.merge(name, [part], allow_partial=True)
    small_run.finish()
    return small_run


def write(run: SmallRun, data_paths: list[Path]) -> Path:
    path = run.results / "manifest.json"
    write_manifest(
        results=run.results,
        data_paths=data_paths,
        lightcurve_paths=[run.path("lightcurves", name) for name in run.shards],
        ledger_path=run.results / "ledger.parquet",
        manifest_path=path,
    )
    return path


def test_files_and_counts(finished: SmallRun) -> None:
    manifest = json.loads(write(finished, [finished.results / "sample"]).read_text())
    assert (manifest["targets"], manifest["rows"]) == (4, 6)
    assert manifest["archives"] == {
        "unwise": {"release": None, "rows": 0, "states": {"not_requested": 4}},
        "ztf": {
            "release": "ztf-dr1",
            "rows": 6,
            "states": {"data": 2, "failed": 1, "searched_empty": 1},
        },
    }
    assert list(manifest["files"]) == [
        "ledger.parquet",
        "lightcurves/norder0-npix0.parquet",
        "lightcurves/norder0-npix1.parquet",
        "sample/sample.parquet",
    ]
    for name, entry in manifest["files"].items():
        assert entry["sha256"] == sha256_file(finished.results / name)
        assert entry["bytes"] == (finished.results / name).stat().st_size


def test_the_manifest_has_no_clock(finished: SmallRun) -> None:
    first = write(finished, []).read_bytes()
    assert write(finished, []).read_bytes() == first


def test_rows_that_the_ledger_does_not_know_are_noticed(finished: SmallRun) -> None:
    first = finished.path("lightcurves", "norder0-npix0")
    part = finished.add_part("ztf", "norder0-npix0", [lightcurve_row("t0", "ztf")])
    first.write_bytes(part.path.read_bytes())
    with pytest.raises(ResultError, match="have 4 rows, expected 6"):
        write(finished, [])
