"""Jobs whose workers are jobs of Slurm, by dask-jobqueue."""

from collections.abc import Iterator

import pytest
import slurm
from fetch_step import FetchStep, dask_section

from lightloom.cluster.client import dask_client
from lightloom.config import DaskConfig
from lightloom.errors import ClusterError, ConfigError

pytestmark = pytest.mark.skipif(bool(slurm.missing()), reason=slurm.missing())


@pytest.fixture(scope="module")
def cluster() -> Iterator[slurm.Slurm]:
    with slurm.serve(1) as running, pytest.MonkeyPatch.context() as environment:
        for name, value in running.environment.items():
            environment.setenv(name, value)
        yield running


def jobqueue(**changes: object) -> DaskConfig:
    options = {"interface": "lo", "memory": "1GB", "walltime": "00:10:00"} | changes
    section = {"system": "slurm", "options": options, "scale": 2}
    return dask_section({"jobqueue": section, "wait_for_workers_s": 60})


def test_as_on_the_laptop(
    fetch_step: FetchStep, laptop_digests: dict[str, str], cluster: slurm.Slurm
) -> None:
    assert fetch_step.digests("slurm", jobqueue(cores=1)) == laptop_digests
    assert cluster.submitted() >= 2 * len(laptop_digests)
    slurm._wait_until(lambda: not cluster.jobs(), "the end of the workers' jobs")


@pytest.mark.usefixtures("cluster")
@pytest.mark.filterwarnings("ignore:.*Cluster.__del__:pytest.PytestUnraisableExceptionWarning")
def test_wrong_options_are_said() -> None:
    with (
        pytest.raises(ConfigError, match=r"dask\.jobqueue: .*unexpected keyword argument 'wall'"),
        dask_client(jobqueue(wall="1"), threads=1, mem_mb=1000, n_requests=1),
    ):
        pass


@pytest.mark.usefixtures("cluster")
def test_a_refusal_of_slurm_is_told() -> None:
    with (
        pytest.raises(ClusterError, match=r"dask\.jobqueue: slurm: (.|\n)*Invalid partition name"),
        dask_client(jobqueue(queue="nowhere"), threads=1, mem_mb=1000, n_requests=1),
    ):
        pass
