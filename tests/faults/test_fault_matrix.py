"""Every fault at every service archive: nothing is lost unnoticed, and a rerun mends all of it."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
import pyarrow as pa
import pytest
from distributed import LocalCluster
from service_runs import HASTY, SERVICES, ServiceRun, load_spec, shard_for

from laboratory import Laboratory
from lightloom.cluster.settings import SETTINGS
from lightloom.config import DaskConfig
from lightloom.schema import FINAL_STATES, STATES

#: Three in `make faults`.
SEEDS = range(1, 1 + int(os.environ.get("FAULT_SEEDS", "1")))

#: Columns without which no archive's reply can be read, whichever it has.
NEEDED = ["ra", "coord_ra", "time", "mag_auto", "psfFlux", "obsid", "dataURI", "MatchID", "CorrMag"]

#: What befalls a share of the requests.
FAULTS: dict[str, dict[str, Any]] = {
    "timeout": {"action": "timeout", "seconds": 4, "probability": 0.15},
    "reset": {"action": "reset", "probability": 0.4},
    "429": {"action": "status", "status": 429, "retry_after_s": 0.05, "probability": 0.4},
    "503": {"action": "status", "status": 503, "retry_after_date": True, "retry_after_s": 0.05,
            "probability": 0.4},
    "slow": {"action": "slow", "bytes_per_s": 500, "probability": 0.1},
    "cut": {"action": "cut", "fraction": 0.5, "probability": 0.4},
    "error document": {"action": "votable_error", "message": "disk full", "probability": 0.4},
    "html": {"action": "html", "probability": 0.4},
    "overflow": {"action": "overflow", "fraction": 0.5, "probability": 0.4},
    "wrong columns": {"action": "wrong_columns", "drop": NEEDED, "probability": 0.4},
    "missing target": {"action": "missing_target", "probability": 0.6},
    "out of service": {"action": "out_of_service", "seconds": 0.3},
}  # fmt: skip

#: Faults that are over when the client has waited long enough.
WAITED_FOR = {"timeout", "slow"}
PATIENCE_S = 1.5

#: The Hubble Catalog of Variables tells no number of rows: nothing shows that some are missing.
UNSEEN = {("hcv", "overflow"), ("hcv", "missing target")}


@dataclass
class Undisturbed:
    """A run without faults, and what the server sent for it."""

    run: ServiceRun
    shard: pa.Table
    n_bytes: int


@pytest.fixture(scope="module")
def dask_config() -> Iterator[DaskConfig]:
    """Workers for all runs: starting some for each would take longer than the runs."""
    with (
        dask.config.set(SETTINGS),
        LocalCluster(
            n_workers=1, threads_per_worker=4, processes=False, dashboard_address=":0"
        ) as cluster,
    ):
        yield DaskConfig("address", address=cluster.scheduler_address)


@pytest.fixture(scope="module", params=sorted(SERVICES))
def undisturbed(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    sky: Path,
    laboratory: Laboratory,
    dask_config: DaskConfig,
) -> Undisturbed:
    name: str = request.param
    shard = shard_for(name, sky)
    spec = load_spec(name, laboratory, HASTY)
    run = ServiceRun(tmp_path_factory.mktemp(name), spec, dask_config)
    laboratory.faults([])
    laboratory.clear_log()
    assert run.fetch(shard) is None
    assert {"data", "searched_empty"} <= set(run.states.values()) <= FINAL_STATES
    n_bytes = sum(record["bytes_out"] for record in laboratory.log(SERVICES[name]))
    return Undisturbed(run, shard, n_bytes)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("fault", FAULTS)
def test_fault(
    undisturbed: Undisturbed, laboratory: Laboratory, tmp_path: Path, fault: str, seed: int
) -> None:
    spec = undisturbed.run.spec
    if (spec.name, fault) in UNSEEN:
        pytest.skip("this archive's replies do not tell whether they are whole")
    service = SERVICES[spec.name]
    expected = undisturbed.run.states
    rule = FAULTS[fault] | {"service": service, "seed": seed}
    if rule["action"] == "missing_target":
        rule["position"] = _found_place(undisturbed)
    run = ServiceRun(tmp_path / "run", spec, undisturbed.run.dask_config)
    laboratory.faults([rule])
    try:
        run.fetch(undisturbed.shard, **({"timeout_s": PATIENCE_S} if fault in WAITED_FOR else {}))
    finally:
        laboratory.faults([])
    found = run.states
    assert sum(Counter(found.values())[state] for state in STATES) == undisturbed.shard.num_rows
    open_targets = [target for target, state in found.items() if state not in FINAL_STATES]
    assert {t: s for t, s in found.items() if s in FINAL_STATES} == {
        t: s for t, s in expected.items() if t not in open_targets
    }

    # A part that is whole is not fetched again.
    if open_targets:
        laboratory.clear_log()
        assert run.fetch(undisturbed.shard) is None
        n_bytes = sum(record["bytes_out"] for record in laboratory.log(service))
        assert len(open_targets) == undisturbed.shard.num_rows or n_bytes < undisturbed.n_bytes
    assert run.states == expected
    assert run.digest == undisturbed.run.digest


def _found_place(undisturbed: Undisturbed) -> list[float]:
    """Position of a target with data, and a radius around it."""
    states = undisturbed.run.states
    place = next(row for row in undisturbed.shard.to_pylist() if states[row["objectid"]] == "data")
    return [place["ra_deg"], place["dec_deg"], 10.0]
