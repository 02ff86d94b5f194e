"""What a run will take follows from its plan and from what is finished."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lightloom.config import Caps, Run
from lightloom.config_files import load_project
from lightloom.errors import ConfigError
from lightloom.estimates import Estimate, Finished, bytes_of, requests_of
from lightloom.forecast import (
    ArchiveForecast,
    Forecast,
    excesses,
    forecast,
    pilot_shards,
)
from lightloom.plan import Plan, Shard, fetch_keys, load_plan
from project import REPOSITORY
from recorded_run import record_run
from small_run import SmallRun

SHARDS = ("norder1-npix5", "norder1-npix6", "norder1-npix7", "norder1-npix8")


def configured(run: SmallRun, archive: str) -> tuple[Run, Plan]:
    whole = load_project(REPOSITORY, [], [])
    # The footprint of Rubin is a file of a sky that has not been built here.
    archives = {name: replace(spec, footprint="") for name, spec in whole.archives.items()}
    changed = replace(whole, results=run.results, archives=archives, enabled=(archive,))
    return changed, load_plan(run.results)


@pytest.fixture
def run(tmp_path: Path) -> SmallRun:
    """Four shards of a hundred targets."""
    run = SmallRun(tmp_path / "results")
    for number, name in enumerate(SHARDS):
        run.add_shard(name, {f"{number}-{n}": (10 * number + n / 100, 20.0) for n in range(100)})
    record_run(run)
    return run


def finish(run: SmallRun, archive: str, shard: str, *, n_sources: int, requests: int) -> None:
    """Let a job have ended: a status and what Snakemake measures."""
    whole, plan = configured(run, archive)
    part = run.add_part(archive, shard, [])
    run.edit_status(
        part,
        key=fetch_keys(plan, whole.archives[archive])[shard],
        planned_requests=1,
        reads={"requests": requests, "bytes": 1000, "rows": 0, "seconds": 2.0},
        squared_reads={"requests": requests**2, "bytes": 1000**2, "rows": 0},
        n_sources=[1] * n_sources + [0] * (100 - n_sources),
    )
    measured = run.results / "benchmarks" / "fetch" / archive / f"{shard}.tsv"
    measured.parent.mkdir(parents=True, exist_ok=True)
    measured.write_text("s\tmax_rss\tcpu_time\n3.0\t250.0\t1.5\n")


def expected(run: SmallRun, archive: str) -> ArchiveForecast:
    (found,) = forecast(*configured(run, archive), cores=2).archives
    return found


def test_the_pieces_are_known_before_anything_is_asked(run: SmallRun) -> None:
    found = expected(run, "xmm")
    assert (found.jobs, found.jobs_left, found.pieces) == (4, 4, Estimate.known(4))
    assert found.requests is None


def test_a_service_that_is_asked_once_is_known_exactly(run: SmallRun) -> None:
    finish(run, "xmm", SHARDS[0], n_sources=30, requests=1)
    found = expected(run, "xmm")
    assert found.requests == Estimate.known(4)
    assert found.bytes is not None
    assert found.bytes.expected == pytest.approx(4000)
    assert found.job_s is not None
    assert found.job_s.expected == pytest.approx(12)
    assert found.job_cpu_s is not None
    assert found.job_cpu_s.expected == pytest.approx(6)
    assert found.job_mb == pytest.approx(250)


def test_two_steps_are_known_where_the_number_of_objects_does_not_matter(run: SmallRun) -> None:
    # About 50 objects of a shard fit into a query of 300; Rubin's queries are counted by another.
    finish(run, "nsc", SHARDS[0], n_sources=50, requests=2)
    assert expected(run, "nsc").requests == Estimate.known(8)
    finish(run, "rubin", SHARDS[0], n_sources=50, requests=3)
    assert expected(run, "rubin").requests == Estimate.known(12)


def test_a_rare_object_leaves_doubt(run: SmallRun) -> None:
    finish(run, "nsc", SHARDS[0], n_sources=1, requests=2)
    found = expected(run, "nsc").requests
    assert found is not None
    assert (found.low, found.expected, found.high) == (2 + 3, 2 + 6, 2 + 6)


def finished(shard: str, requests: list[int], n_bytes: list[int]) -> Finished:
    """A job whose pieces have made so many requests and read so many bytes each."""
    squares = (sum(one**2 for one in values) for values in (requests, n_bytes))
    sums = len(requests), sum(requests), sum(n_bytes)
    return Finished(shard, 10, 10, 5, *sums, *squares, 3.0, 1.5, 250.0)


def test_catalogues_are_scaled_by_pieces() -> None:
    done = [finished("a", [3, 3], [40, 60]), finished("b", [3], [50])]
    spec = load_project(REPOSITORY, [], []).archives["ztf"]
    sizes, pieces = {"a": 10, "b": 3, "c": 7}, {"a": 2, "b": 1, "c": 4}
    assert requests_of(spec, done, sizes, ["c"], pieces) == Estimate.known(9 + 12)
    found = bytes_of(spec, done, sizes, ["c"], pieces)
    # The scatter of the pieces is 10: 4 sigma of the sum of four, and of the mean of three.
    doubt = 4 * 10 * math.sqrt(4 + 16 / 3)
    assert found.expected == pytest.approx(150 + 4 * 50)
    assert found.high - found.expected == pytest.approx(doubt)
    assert found.expected - found.low == pytest.approx(doubt)


def test_one_piece_does_not_show_that_the_others_are_like_it() -> None:
    spec = load_project(REPOSITORY, [], []).archives["ztf"]
    sizes, pieces = {"a": 10, "b": 3}, {"a": 1, "b": 2}
    found = requests_of(spec, [finished("a", [3], [40])], sizes, ["b"], pieces)
    assert (found.low, found.expected, found.high) == (3, 9, 15)


def test_limits_of_pieces_hold() -> None:
    """Pieces differ as those do that are read by ranges of pages: few by little, some by much."""
    rng = np.random.default_rng(3)
    spec = load_project(REPOSITORY, [], []).archives["unwise"]
    outside = 0
    for _ in range(300):
        drawn = rng.poisson(30, 330) + 20 * (rng.random(330) < 0.1)
        done = [
            finished(name, part.tolist(), [1])
            for name, part in zip("ab", (drawn[:12], drawn[12:30]), strict=True)
        ]
        pieces = {"a": 12, "b": 18, "c": 300}
        found = requests_of(spec, done, dict.fromkeys("abc", 10), ["c"], pieces)
        outside += not found.low <= drawn.sum() <= found.high
    assert outside <= 3


def test_a_table_that_was_fetched_whole_is_not_fetched_again(run: SmallRun) -> None:
    finish(run, "icecube", SHARDS[0], n_sources=0, requests=3)
    assert expected(run, "icecube").requests == Estimate.known(3)


def test_a_part_of_other_settings_is_no_pilot(run: SmallRun) -> None:
    finish(run, "xmm", SHARDS[0], n_sources=30, requests=1)
    path = run.results / "parts" / "xmm" / f"{SHARDS[0]}.status.json"
    status = json.loads(path.read_text())
    status["key"]["settings_hash"] = "other"
    path.write_text(json.dumps(status))
    assert expected(run, "xmm").requests is None


def a_forecast(gigabytes: float, requests: float, unknown: list[str]) -> Forecast:
    one = ArchiveForecast(
        "xmm",
        1,
        1,
        Estimate.known(1),
        Estimate.known(requests),
        Estimate.known(gigabytes * 1e9),
        Estimate.known(7200.0),
        100.0,
    )
    return Forecast([one], 10, 1, 2, 0.1, unknown=unknown)


def test_the_cost_follows_from_the_price() -> None:
    found = a_forecast(50.0, 10, [])
    assert found.cost == pytest.approx(5.0)
    assert found.hours == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("caps", "name"),
    [
        (Caps(0.1, max_cost=4.9), "max_cost"),
        (Caps(0.1, max_gb=49.0), "max_gb"),
        (Caps(0.1, max_requests=9), "max_requests"),
        (Caps(0.1, max_hours=0.9), "max_hours"),
    ],
)
def test_a_limit_is_kept(caps: Caps, name: str) -> None:
    (line,) = excesses(a_forecast(50.0, 10, []), caps)
    assert line.startswith(f"plan.{name}: expected")
    assert "raise it" in line
    assert not excesses(a_forecast(1.0, 1, []), Caps(0.1))


def test_a_limit_that_cannot_be_judged_refuses() -> None:
    (line,) = excesses(a_forecast(1.0, 1, ["ztf"]), Caps(0.1, max_gb=100.0))
    assert "--pilot" in line


def test_the_pilot_has_the_smallest_and_the_largest_shard(tmp_path: Path) -> None:
    sizes = {"a": 7, "b": 1, "c": 9, "d": 5}
    plan = Plan(tmp_path, {name: Shard(name, size, "") for name, size in sizes.items()})
    assert pilot_shards(plan, 2) == ["b", "c"]
    assert pilot_shards(plan, 9) == list(sizes)
    assert pilot_shards(Plan(tmp_path, {}), 2) == []


def test_a_folder_without_a_configuration_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"archives\.yaml: not found.*--directory"):
        load_project(tmp_path, [], [])


def test_settings_come_as_to_snakemake() -> None:
    assert load_project(REPOSITORY, [], ["results=elsewhere"]).results == Path("elsewhere")
    with pytest.raises(ConfigError, match="--config"):
        load_project(REPOSITORY, [], ["nonsense"])
