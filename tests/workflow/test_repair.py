"""After a run with failures, `snakemake repair` asks for the failed targets alone."""

from pathlib import Path

import pyarrow.parquet as pq

from laboratory import Laboratory
from project import Project
from service_project import services_project

LIMITS = {"retries": 0, "attempts": 1, "targets_per_query": 2, "requests_per_s": 100}


def small_project(root: Path, sky: Path, laboratory: Laboratory) -> Project:
    project = services_project(root, sky, laboratory, ["nsc"], **LIMITS)
    changes = project.configuration
    changes["report"] = {"lightcurves": 1}
    project.configure(changes)
    return project


def n_asked(records: list[dict]) -> int:
    """Number of targets that the queries of a log ask for; objects have other names."""
    return sum(name.isdigit() for record in records for name in record["targets"])


def test_repair_asks_for_failed_targets_alone(
    tmp_path: Path, sky: Path, laboratory: Laboratory
) -> None:
    project = small_project(tmp_path / "project", sky, laboratory)
    _, ra, dec = (project.root / "targets.csv").read_text().splitlines()[3].split(",")[:3]
    rule = {"service": "nsc", "position": [float(ra), float(dec), 5.0], "action": "status"}
    project.configure(project.configuration | {"allow_partial": True})
    laboratory.faults([rule | {"status": 400}])
    try:
        run = project.snakemake()
    finally:
        laboratory.faults([])
    assert run.returncode == 0, run.output
    states = pq.read_table(project.path("ledger.parquet"), filters=[("archive", "==", "nsc")])
    n_failed = states["state"].to_pylist().count("failed")
    assert 0 < n_failed < states.num_rows

    laboratory.clear_log()
    run = project.snakemake(target="repair")
    assert run.returncode == 0, run.output
    assert n_asked(laboratory.log("nsc")) == n_failed
    assert project.snakemake(target="repair").nothing_to_do

    fresh = small_project(tmp_path / "fresh", sky, laboratory)
    laboratory.clear_log()
    assert fresh.snakemake().returncode == 0
    assert n_asked(laboratory.log("nsc")) >= states.num_rows
    assert fresh.digests() == project.digests()
