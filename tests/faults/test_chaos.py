"""Some seeded trials of chaos.py, and what its comparison notices.

`make chaos` runs a hundred of a larger project, one_digest.py all ways to run it.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from chaos import Chaos, compare, contents
from one_digest import differences
from violence import missing

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())

SEEDS = range(int(os.environ.get("CHAOS_TRIALS", "3")))
#: How long a service may be away [s]; a minute in `make chaos`.
LONGEST_S = 4.0


@pytest.fixture(scope="module")
def chaos(tmp_path_factory: pytest.TempPathFactory, sky: Path) -> Iterator[Chaos]:
    folder = tmp_path_factory.mktemp("chaos")
    with Chaos.prepared(folder, sky, smallest=True, longest_s=LONGEST_S) as prepared:
        yield prepared


@pytest.mark.parametrize("seed", SEEDS)
def test_trial(chaos: Chaos, seed: int) -> None:
    outcome = chaos.trial(seed)
    options = f"--first {seed} --trials 1 --smallest --longest {LONGEST_S:g}"
    assert not outcome.problem, f"{outcome}\nrepeat with: tests/faults/chaos.py {options}"


def test_a_single_process_gives_the_same_bytes(chaos: Chaos, tmp_path: Path) -> None:
    assert differences(chaos, "one process", tmp_path / "project") == []


def test_what_differs_is_noticed(chaos: Chaos, tmp_path: Path) -> None:
    project = chaos.undisturbed.copy(tmp_path / "project")
    expected = contents(chaos.undisturbed.root)
    assert compare(expected, contents(project.root)) == []
    shard = project.shards[0]
    project.path("parts", "ztf", f".{shard}.unfinished.json").touch()
    project.path("lightcurves", f".{shard}.parquet.tmp").touch()
    project.path("manifest.json").unlink()
    with project.path("ledger.parquet").open("ab") as file:
        file.write(b"\0")
    assert compare(expected, contents(project.root)) == [
        "missing: results/manifest.json",
        f"stray: results/lightcurves/.{shard}.parquet.tmp",
        f"stray: results/parts/ztf/.{shard}.unfinished.json",
        "different: results/ledger.parquet",
    ]
