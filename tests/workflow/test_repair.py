"""After a run with failures, `snakemake repair` asks for the failed targets alone."""

from pathlib import Path

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


def asked(records: list[dict]) -> set[str]:
    """Positions of the targets that the queries of a log ask for."""
    return {target for record in records for target in record["targets"] if " " in target}


def test_repair_asks_for_failed_targets_alone(
    tmp_path: Path, sky: Path, laboratory: Laboratory
) -> None:
    project = small_project(tmp_path / "project", sky, laboratory)
    _, ra, dec = (project.root / "targets.csv").read_text().splitlines()[3].split(",")[:3]
    rule = {"service": "nsc", "position": [float(ra), float(dec), 5.0], "action": "status"}
    laboratory.clear_log()
    laboratory.faults([rule | {"status": 400}])
    try:
        run = project.snakemake("--keep-going", target="all")
    finally:
        laboratory.faults([])
    assert run.returncode != 0
    first = laboratory.log("nsc")
    failed = asked([record for record in first if record["fault"]])
    assert 0 < len(failed) < len(asked(first))

    laboratory.clear_log()
    run = project.snakemake(target="repair")
    assert run.returncode == 0, run.output
    assert asked(laboratory.log("nsc")) == failed
    assert project.snakemake(target="repair").nothing_to_do

    fresh = small_project(tmp_path / "fresh", sky, laboratory)
    assert fresh.snakemake().returncode == 0
    assert fresh.digests() == project.digests()
