"""The embedded sky and a finished run, made once and copied by each test."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from laboratory import Laboratory
from lightloom.sky.build import DEFAULT_SEED, build_sky
from project import REPOSITORY, SAMPLE, Project

#: Few targets in small shards: a change touches some shards and leaves others alone.
SAMPLE_ROWS = slice(1, 13)
MAX_TARGETS = 5


@pytest.fixture(scope="session")
def sky(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The embedded sky around the sample of Yang et al. (2018)."""
    folder = tmp_path_factory.mktemp("embedded") / "sky"
    build_sky(folder, REPOSITORY / SAMPLE, DEFAULT_SEED)
    return folder


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
def finished(tmp_path_factory: pytest.TempPathFactory, configuration: dict) -> Project:
    """A project whose run has ended well; not to be changed."""
    project = Project.create(tmp_path_factory.mktemp("finished") / "project")
    header, *rows = (project.root / SAMPLE).read_text().splitlines()
    (project.root / SAMPLE).write_text("\n".join([header, *rows[SAMPLE_ROWS]]) + "\n")
    project.configure(configuration)
    run = project.snakemake()
    assert run.returncode == 0, run.output
    return project


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
