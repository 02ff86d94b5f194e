"""From a row, or from nothing, back to what the archive was asked."""

from pathlib import Path

import pytest

from lightloom.errors import ResultError
from lightloom.why import explain
from recorded_run import record_run
from small_run import SmallRun, lightcurve_row

TARGETS = {"NGC 1": (10.0, 20.0), "NGC 2": (10.1, 20.1)}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    run = SmallRun(tmp_path / "results")
    run.add_shard("allsky", TARGETS)
    parts = [
        run.add_part(
            "unwise", "allsky", [], {"NGC 2": "failed"}, {"NGC 2": ("transient", "no answer")}
        ),
        run.add_part(
            "ztf",
            "allsky",
            [lightcurve_row("NGC 1", "ztf", time_mjd_tdb=58000.0 + day) for day in (0.0, 5.0)],
        ),
    ]
    run.merge("allsky", parts, allow_partial=True)
    run.finish()
    return record_run(run)


def facts(results: Path, objectid: str, **options: object) -> dict[str, str]:
    (found,) = explain(results, objectid, **options)
    return dict(found.facts)


def test_the_nearest_row_is_traced(results: Path) -> None:
    found = facts(results, "NGC 1", time_mjd=58004.0)
    assert found["time_mjd_tdb"] == "58005.0 d"
    assert found["native_value"].startswith("18.9")
    assert "1.5 arcsec of RA 10.0000000, Dec 20.0000000 deg at J2020.5" in found["asked"]
    assert found["release"] == "ztf-dr1"
    assert found["retrieved"].startswith("2026-01-01T00:00:00Z")
    assert found["read from"] == "aws (s3://bucket/survey, us-east-1)"
    assert found["digest"].endswith("as fetched")
    assert "lightloom.archives.ztf" in found["code"]
    assert found["settings"].endswith("as in run.json")


def test_a_changed_part_is_noticed(results: Path) -> None:
    with (results / "parts" / "ztf" / "allsky.parquet").open("ab") as part:
        part.write(b"x")
    found = facts(results, "NGC 1", archives=["ztf"])
    assert "snakemake repair" in found["digest"]


def test_a_failure_says_what_to_do(results: Path) -> None:
    found = facts(results, "NGC 2", archives=["unwise"])
    assert found["reason"] == "transient: no answer"
    assert "same command again" in found["what to do"]


def test_without_a_time_every_archive_is_explained(results: Path) -> None:
    found = explain(results, "NGC 2")
    assert [one.title for one in found] == ["NGC 2 in unwise", "NGC 2 in ztf"]
    assert dict(found[1].facts)["state"].startswith("searched_empty")


def test_queries_are_shown(tmp_path: Path) -> None:
    run = SmallRun(tmp_path / "results", ("nsc", "rubin", "xmm", "fermigbm", "icecube"))
    run.add_shard("allsky", TARGETS)
    parts = [run.add_part(name, "allsky", []) for name in run.catalogue]
    run.merge("allsky", parts)
    run.finish()
    results = record_run(run, run.catalogue)
    found = {one.title: dict(one.facts) for one in explain(results, "NGC 1")}
    assert "nsc_dr2.object" in found["NGC 1 in nsc"]["query 1"]
    assert "nsc_dr2.meas" in found["NGC 1 in nsc"]["query 2"]
    assert "dp1.ForcedSource" in found["NGC 1 in rubin"]["query 2"]
    assert "xmmssc" in found["NGC 1 in xmm"]["query 1"]
    assert "fermigtrig" in found["NGC 1 in fermigbm"]["query 1"]
    assert "icecubepsc" in found["NGC 1 in icecube"]["query 1"]


@pytest.mark.parametrize(
    ("objectid", "options", "message"),
    [
        ("NGC 3", {}, r"'NGC 3' not found, did you mean 'NGC [12]'\?; the column objectid lists"),
        ("NGC 1", {"archives": ["zft"]}, r"'zft' was not asked, did you mean 'ztf'\?"),
        ("NGC 2", {"time_mjd": 58000.0}, "no row with a time.*without a time"),
    ],
)
def test_wrong_questions_are_answered(
    results: Path, objectid: str, options: dict, message: str
) -> None:
    with pytest.raises(ResultError, match=message):
        explain(results, objectid, **options)
