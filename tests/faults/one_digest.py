"""One sample run in every way there is: on a laptop, on clusters, with faults; one digest.

    PYTHONPATH=scripts:tests python tests/faults/one_digest.py

What is not installed here is left out, and said to be. The digest is that of the manifest, which
lists the digest of every data file.
"""

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from chaos import Chaos, compare, contents, end_by_sigterm
from violence import shared_cluster

from laboratory import Laboratory
from lightloom.sky.build import DEFAULT_SEED, build_sky
from lightloom.storage import sha256_file
from project import REPOSITORY, SAMPLE, Project, Run

sys.path.insert(0, str(Path(__file__).parents[1] / "integration"))

import slurm

#: Half of the requests fail in ways that pass and in ways that do not; the rest are asked again.
FAULTS = [
    {"service": "nsc", "path": "sync", "action": "votable_error", "every": 3},
    {"service": "nsc", "path": "sync", "action": "reset", "probability": 0.4},
]


def one_process(project: Project, _: Laboratory) -> Run:
    """A job at a time, and all its work in its own process."""
    project.configure(project.configuration | {"dask": {"cluster": "threads"}})
    return project.snakemake("--cores", "1")


def processes(project: Project, _: Laboratory) -> Run:
    """A Dask cluster of processes in each job."""
    project.configure(project.configuration | {"dask": {"processes_from_requests": 1}})
    return project.snakemake()


def dask_cluster(project: Project, _: Laboratory) -> Run:
    """A Dask cluster beside the run, of two worker processes."""
    with shared_cluster(project) as section:
        project.configure(project.configuration | {"dask": section})
        return project.snakemake()


def on_slurm(project: Project, _: Laboratory) -> Run:
    """Jobs of a Slurm of two nodes."""
    with slurm.serve() as running:
        options = ("--profile", "profiles/slurm", "--slurm-init-seconds-before-status-checks", "1")
        return project.snakemake(*options, environment=running.environment)


def faulty_then_repaired(project: Project, laboratory: Laboratory) -> Run:
    """A service that fails, a damaged part, and what the next run makes of it."""
    undisturbed, changed = project.configuration, project.configuration
    changed["archives"]["nsc"]["limits"] |= {"targets_per_query": 1}
    project.configure(changed)
    laboratory.faults(FAULTS)
    try:
        failed = project.snakemake()
    finally:
        laboratory.faults([])
    assert failed.returncode, "no fault was seen"
    part = next(project.path("parts", "ztf").glob("[!.]*.parquet"))
    part.write_bytes(part.read_bytes()[:-100])
    # The record of the run tells of its limits.
    project.configure(undisturbed)
    return project.snakemake()


WAYS: dict[str, Callable[[Project, Laboratory], Run]] = {
    "one process": one_process,
    "processes of Dask": processes,
    "Dask cluster": dask_cluster,
    "Slurm": on_slurm,
    "faulty, then repaired": faulty_then_repaired,
}


def differences(chaos: Chaos, name: str, root: Path) -> list[str]:
    """Run in one of the ways, and say what differs from the undisturbed run."""
    project = chaos.undisturbed.without_results(root)
    run = WAYS[name](project, chaos.laboratory)
    if run.returncode:
        return [f"exit code {run.returncode}\n{run.output}"]
    return compare(_results(chaos.undisturbed), _results(project))


def _results(project: Project) -> dict[str, str]:
    """Digests of the results alone: the configuration says how they were made."""
    found = contents(project.root)
    return {name: digest for name, digest in found.items() if name.startswith("results/")}


def main() -> None:
    """Print a row for each way; exit code 1 if one of them differs."""
    parser = argparse.ArgumentParser(description="One sample, every way to run it, one digest.")
    parser.add_argument("ways", nargs="*", metavar="WAY", help=f"of {', '.join(WAYS)}; all")
    parser.add_argument("--sky", type=Path, help="an embedded sky; one is built by default")
    options = parser.parse_args()
    end_by_sigterm()
    wrong = False
    with tempfile.TemporaryDirectory(prefix="digest-") as name:
        folder = Path(name)
        sky = options.sky or folder / "sky"
        if options.sky is None:
            build_sky(sky, REPOSITORY / SAMPLE, DEFAULT_SEED)
        with Chaos.prepared(folder, sky.resolve(), smallest=True) as chaos:
            print(_row("undisturbed", chaos.undisturbed), flush=True)
            for number, way in enumerate(options.ways or WAYS):
                if WAYS[way] is on_slurm and slurm.missing():
                    print(f"| {way} | not run: {slurm.missing()} |")
                    continue
                found = differences(chaos, way, folder / str(number))
                print(_row(way, Project(folder / str(number))), *found, flush=True)
                wrong |= bool(found)
    sys.exit(wrong)


def _row(way: str, project: Project) -> str:
    manifest = project.path("manifest.json")
    digest = sha256_file(manifest) if manifest.exists() else "none"
    return f"| {way} | `{digest[:16]}` |"


if __name__ == "__main__":
    main()
