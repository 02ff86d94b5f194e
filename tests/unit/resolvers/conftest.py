"""A laboratory of the services that list targets, and samples that ask them."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from listed_targets import LIMITS, SEED, TARGETS

from laboratory import Laboratory
from lightloom.config import SampleConfig
from lightloom.config_sources import SOURCES, ResolverSpec
from lightloom.sample.frozen import FrozenAnswers
from lightloom.sample.read import Sample, read_sample
from lightloom.sample.rejects import BadCell
from lightloom.sample.sources import FoundTables, find_tables
from lightloom.sky.services import write_registries


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laboratory]:
    folder = tmp_path_factory.mktemp("registries") / "sky"
    write_registries(folder / "services", TARGETS, SEED)
    with Laboratory(folder) as laboratory:
        yield laboratory


@pytest.fixture
def laboratory(running: Laboratory) -> Laboratory:
    running.faults([])
    running.clear_log()
    return running


@pytest.fixture(autouse=True)
def _inside_tmp_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def limits() -> dict[str, Any]:
    """Limits of the requests, to be changed by a test before it asks."""
    return dict(LIMITS)


@pytest.fixture
def answers(laboratory: Laboratory, limits: dict[str, Any]) -> FrozenAnswers:
    places = {name: laboratory.url(name) for name in ("alerce", "ned", "sdss", "sesame", "vizier")}
    places["simbad"] = laboratory.url("simbad") + "/tap"
    specs = {name: ResolverSpec(name, place, limits) for name, place in places.items()}
    return FrozenAnswers(Path("frozen"), specs, (), Path("state"), Path("logs"))


Find = Callable[..., FoundTables]


@pytest.fixture
def find(answers: FrozenAnswers) -> Find:
    """Return the tables of sources that are given as the configuration has them."""

    def found(*sources: Mapping[str, Any]) -> FoundTables:
        made = tuple(SOURCES[source["kind"]](**source) for source in sources)
        return find_tables(SampleConfig(made, 1.0, "stop"), Path("copies"), answers)

    return found


@pytest.fixture
def read(find: Find) -> Callable[..., Sample]:
    """Read the sample of sources; `on_bad_row` is stop unless a test says otherwise."""

    def sample(*sources: Mapping[str, Any], on_bad_row: str = "stop") -> Sample:
        found = find(*sources)
        unresolved = [BadCell(*cell) for cell in found.unresolved]
        return read_sample(found.sources, on_bad_row, 1.0, found.files, unresolved)

    return sample
