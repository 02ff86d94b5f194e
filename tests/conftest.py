"""The embedded sky and a finished run, made once and copied by each test."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from filelock import FileLock

from laboratory import Laboratory
from lightloom.sky.build import DEFAULT_SEED, build_sky
from project import REPOSITORY, SAMPLE, Project

#: Seven targets, one of them twice, in shards of 3, 2 and 2: a change touches some shards and
#: leaves others alone.
SAMPLE_ROWS = (1, 2, 3, 6, 8, 9, 10, 11)
MAX_TARGETS = 4


@pytest.fixture(scope="session")
def made_once(
    tmp_path_factory: pytest.TempPathFactory, worker_id: str
) -> Callable[[str, Callable[[Path], None]], Path]:
    """Make a folder in the first process of the tests that needs it; the others wait for it."""
    base = tmp_path_factory.getbasetemp()
    common = base if worker_id == "master" else base.parent

    def made(name: str, make: Callable[[Path], None]) -> Path:
        folder = common / name
        done = common / f"{name}.done"
        with FileLock(common / f"{name}.lock"):
            if not done.exists():
                # Of a process that failed to make it, and said so.
                shutil.rmtree(folder, ignore_errors=True)
                make(folder)
                done.touch()
        return folder

    return made


@pytest.fixture(scope="session")
def sky(made_once: Callable[[str, Callable[[Path], None]], Path]) -> Path:
    """The embedded sky around the sample of Yang et al. (2018); not to be changed."""
    return made_once("sky", lambda folder: build_sky(folder, REPOSITORY / SAMPLE, DEFAULT_SEED))


@pytest.fixture(scope="session")
def laboratory(sky: Path) -> Iterator[Laboratory]:
    """Servers of the embedded sky; a test that gives them faults takes these away again."""
    with Laboratory(sky) as running:
        yield running


@pytest.fixture(scope="session")
def configuration(sky: Path) -> dict:
    """What a test run changes in the default configuration."""
    enabled = yaml.safe_load((REPOSITORY / "config" / "config.yaml").read_text())["archives"]
    others = {name: {"enabled": False} for name in enabled if name not in ("ztf", "unwise")}
    return {
        "archives": {
            "ztf": {"endpoint": str(sky / "ztf_dr24_lc-hats"), "limits": {"retries": 0}},
            "unwise": {
                "endpoint": str(sky / "unwise-neo7-time_domain-healpix_k5.parquet"),
                "limits": {"retries": 0},
            },
            # Two archives show what re-runs, and take less time.
            **others,
        },
        "shards": {"max_targets": MAX_TARGETS},
        "report": {"lightcurves": 1},
    }


@pytest.fixture(scope="session")
def finished(
    made_once: Callable[[str, Callable[[Path], None]], Path], configuration: dict
) -> Project:
    """A project whose run has ended well; not to be changed."""
    return Project(made_once("finished", lambda folder: finish(folder, configuration)))


def finish(folder: Path, configuration: dict) -> None:
    project = Project.create(folder)
    header, *rows = (project.root / SAMPLE).read_text().splitlines()
    (project.root / SAMPLE).write_text(
        "\n".join([header, *(rows[row] for row in SAMPLE_ROWS)]) + "\n"
    )
    project.configure(configuration)
    run = project.snakemake()
    assert run.returncode == 0, run.output


@pytest.fixture
def project(finished: Project, tmp_path: Path) -> Project:
    """A copy of the finished project, to be changed at will."""
    return finished.copy(tmp_path / "project")


@pytest.fixture(scope="session")
def fresh_digests(
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[Project], dict[str, str]]:
    """Digests of the data that the same project makes from nothing."""

    def digests(project: Project) -> dict[str, str]:
        fresh = project.without_results(tmp_path_factory.mktemp("fresh") / "project")
        run = fresh.snakemake()
        assert run.returncode == 0, run.output
        return fresh.digests()

    return digests
