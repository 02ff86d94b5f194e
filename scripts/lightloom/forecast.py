"""What a run will ask, read and take: exact where it can be known, else from a pilot.

The pilot is the part of the run that is finished: its shards are not fetched again. What the plan
of an archive tells without asking anybody is exact; how often a service is asked follows from it
where the number of objects found cannot change the number of queries; the rest is scaled from the
pilot.
"""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lightloom.archives import get_archive
from lightloom.archives.base import RequestPlan
from lightloom.config import ArchiveSpec, Caps, Run
from lightloom.estimates import Estimate, Finished, Fit, bytes_of, requests_of, scaled
from lightloom.footprint import within_footprint
from lightloom.plan import Plan, fetch_keys, part_paths, services_path, shard_path

#: Archives of these modules ask while they plan; of others the plan tells the pieces of work.
_ASKS_TO_PLAN = ("mast_lightcurve",)


@dataclass
class ArchiveForecast:
    """What one archive will take, the finished shards included.

    Attributes
    ----------
    archive : str
    jobs, jobs_left : int
        Fetch jobs of the run; those that are not finished.
    pieces : Estimate or None
        Requests as the fetch job counts them, each a task for Dask; None if only asking would tell
        and nothing is finished.
    requests, bytes, job_s, job_cpu_s : Estimate or None
        Requests to the archive (of files: reads), what they return, and the time of all jobs
        together, on the clock and of the processors [s]; None without a finished job.
    job_mb : float or None
        Peak memory of the largest job [MB].
    """

    archive: str
    jobs: int
    jobs_left: int
    pieces: Estimate | None
    requests: Estimate | None = None
    bytes: Estimate | None = None
    job_s: Estimate | None = None
    job_cpu_s: Estimate | None = None
    job_mb: float | None = None
    threads: int = 1


@dataclass(frozen=True)
class Forecast:
    """What a run will take.

    Attributes
    ----------
    archives : list of ArchiveForecast
    targets, shards : int
    cores : int
        Cores that Snakemake is given.
    merge_s, merge_mb : float or None
        Time of all merges of shards [s] and peak memory of one [MB]; None before one is done.
    """

    archives: list[ArchiveForecast]
    targets: int
    shards: int
    cores: int
    price_per_gb: float
    service_s: float = 0.0
    merge_s: float | None = None
    merge_mb: float | None = None
    unknown: list[str] = field(default_factory=list)

    @property
    def requests(self) -> Estimate:
        """Requests to all archives for which they are known."""
        return _total(archive.requests for archive in self.archives)

    @property
    def gigabytes(self) -> float:
        """What is read [GB]."""
        return _total(archive.bytes for archive in self.archives).expected / 1e9

    @property
    def cost(self) -> float:
        """What reading it costs, in the currency of the configured price."""
        return self.gigabytes * self.price_per_gb

    @property
    def hours(self) -> float:
        """Time of the fetches and merges with the cores given [h].

        Jobs fill the cores; a service that is asked at its limit takes as long as that says.
        """
        core_s = sum(
            one.job_s.expected * min(one.threads, self.cores)
            for one in self.archives
            if one.job_s is not None
        )
        return max((core_s + (self.merge_s or 0.0)) / self.cores, self.service_s) / 3600

    @property
    def peak_mb(self) -> float:
        """Largest memory of a single job [MB]."""
        return max([one.job_mb or 0.0 for one in self.archives] + [self.merge_mb or 0.0])


def _total(estimates: Iterator[Estimate | None]) -> Estimate:
    return sum((one for one in estimates if one is not None), Estimate.known(0))


def forecast(run: Run, plan: Plan, cores: int) -> Forecast:
    """Foresee a run from its plan, the catalogues' lists of partitions and its finished parts.

    Parameters
    ----------
    run : Run
    plan : Plan
    cores : int
        Cores that Snakemake will be given.

    Raises
    ------
    ArchiveError
        If a catalogue's list of partitions cannot be read.
    """
    archives = [_forecast_archive(run, plan, name) for name in run.enabled]
    rows = _benchmark_rows(run.results / "benchmarks" / "merge_shard", plan)
    merges = [(plan.shards[shard].n_targets, job) for shard, job in rows]
    fit = Fit.of([n for n, _ in merges], [job.wall_s for _, job in merges])
    sizes = [shard.n_targets for shard in plan.shards.values()]
    return Forecast(
        archives=archives,
        targets=plan.n_targets,
        shards=len(plan.shards),
        cores=cores,
        price_per_gb=run.caps.price_per_gb,
        service_s=_service_s(run, archives),
        merge_s=sum(map(fit, sizes)) if merges else None,
        merge_mb=_largest_mb([(n, job.rss_mb) for n, job in merges], max(sizes, default=0)),
        unknown=[one.archive for one in archives if one.requests is None],
    )


def _forecast_archive(run: Run, plan: Plan, name: str) -> ArchiveForecast:
    spec = run.archives[name]
    keys = fetch_keys(plan, spec)
    pilot = {one.shard: one for one in _pilot(run.results, plan, name, keys)}
    pieces = dict(_pieces(run, plan, spec))
    sizes = {shard.name: shard.n_targets for shard in plan.shards.values()}
    left = [shard for shard in plan.shards if shard not in pilot]
    found = ArchiveForecast(
        archive=name,
        jobs=len(plan.shards),
        jobs_left=len(left),
        pieces=Estimate.known(sum(pieces.values())) if pieces else None,
        threads=spec.limits["threads"],
    )
    done = list(pilot.values())
    if not done:
        return found
    if not pieces:
        found.pieces = scaled(done, sizes, left, lambda one: one.planned_requests)
    found.requests = requests_of(spec, done, sizes, left, pieces)
    found.bytes = bytes_of(spec, done, sizes, left, pieces)
    found.job_s = scaled(done, sizes, left, lambda one: one.wall_s)
    found.job_cpu_s = scaled(done, sizes, left, lambda one: one.cpu_s)
    found.job_mb = _largest_mb(
        [(one.n_targets, one.rss_mb) for one in done], max(sizes.values(), default=0)
    )
    return found


def _pieces(run: Run, plan: Plan, spec: ArchiveSpec) -> Iterator[tuple[str, int]]:
    """Yield the pieces of work of each shard, if that asks no service."""
    if spec.module in _ASKS_TO_PLAN or "." in spec.module:
        return
    archive = get_archive(spec, services_path(part_paths(run.results, spec.name, "any")[0]))
    for shard in plan.shards:
        targets = pq.read_table(shard_path(run.results, shard))
        yield shard, len(_planned(archive, spec, targets).requests)


def _planned(archive: Any, spec: ArchiveSpec, targets: pa.Table) -> RequestPlan:
    inside = targets.filter(pa.array(within_footprint(spec, targets)))
    planned: RequestPlan = (
        archive.plan(inside) if inside.num_rows else RequestPlan([], np.array([], np.int64))
    )
    return planned


def _pilot(
    results: Path, plan: Plan, archive: str, keys: Mapping[str, Mapping[str, str]]
) -> Iterator[Finished]:
    """Yield what the finished jobs of an archive have taken; those that went on do not count."""
    jobs = dict(_benchmark_rows(results / "benchmarks" / "fetch" / archive, plan))
    for shard in plan.shards:
        _, path = part_paths(results, archive, shard)
        if not path.exists() or shard not in jobs:
            continue
        status = json.loads(path.read_text(encoding="utf-8"))
        states = status["targets"]["state"]
        is_whole = "failed" not in states and "truncated" not in states
        # Parts of earlier versions do not tell how many requests were planned.
        if status["key"] != keys[shard] or not is_whole or "planned_requests" not in status:
            continue
        # Nor how far the pieces differ: at most as if one of them had taken all.
        squares = status.get("squared_reads") or {
            name: value**2 for name, value in status["reads"].items()
        }
        job = jobs[shard]
        yield Finished(
            shard=shard,
            n_targets=len(states),
            n_inside=sum(state != "outside_footprint" for state in states),
            n_sources=sum(status["targets"]["n_sources"]),
            planned_requests=status["planned_requests"],
            requests=status["reads"]["requests"],
            bytes=status["reads"]["bytes"],
            squared_requests=squares["requests"],
            squared_bytes=squares["bytes"],
            wall_s=job.wall_s,
            cpu_s=job.cpu_s,
            rss_mb=job.rss_mb,
        )


class _Job(NamedTuple):
    """What Snakemake has measured of a job: times [s], and the peak of its memory [MB]."""

    wall_s: float
    cpu_s: float
    rss_mb: float


def _benchmark_rows(folder: Path, plan: Plan) -> Iterator[tuple[str, _Job]]:
    """Yield what Snakemake has measured of jobs, by shard."""
    for shard in plan.shards:
        path = folder / f"{shard}.tsv"
        if path.exists():
            with path.open(encoding="utf-8") as file:
                row = next(csv.DictReader(file, delimiter="\t"))
            # A job that ends at once is not measured.
            if row["max_rss"] not in ("-", "NA"):
                yield shard, _Job(float(row["s"]), float(row["cpu_time"]), float(row["max_rss"]))


def _largest_mb(measured: Sequence[tuple[int, float]], n_targets: int) -> float | None:
    if not measured:
        return None
    fit = Fit.of([n for n, _ in measured], [mb for _, mb in measured])
    return max(fit(n_targets), *(mb for _, mb in measured))


def _service_s(run: Run, archives: Sequence[ArchiveForecast]) -> float:
    """Return the least time that the rates of the services allow [s]."""
    seconds: dict[str, float] = {}
    for one in archives:
        spec = run.archives[one.archive]
        if spec.layout == "service" and one.requests is not None:
            took_s = one.requests.expected / spec.limits["requests_per_s"]
            seconds[spec.endpoint] = seconds.get(spec.endpoint, 0.0) + took_s
    return max(seconds.values(), default=0.0)


def pilot_shards(plan: Plan, number: int) -> list[str]:
    """Choose shards for a pilot: the smallest, the largest, and of sizes between.

    Parameters
    ----------
    plan : Plan
    number : int
    """
    by_size = sorted(plan.shards.values(), key=lambda shard: (shard.n_targets, shard.name))
    last = len(by_size) - 1
    places = {round(step * last / max(1, number - 1)) for step in range(number)} if by_size else ()
    chosen = {by_size[place].name for place in places}
    return [name for name in plan.shards if name in chosen]


def excesses(expected: Forecast, caps: Caps) -> list[str]:
    """Return what is over a limit, a line for each; also that a limit cannot be judged.

    Parameters
    ----------
    expected : Forecast
    caps : Caps
    """
    found = [
        ("max_cost", expected.cost, caps.max_cost),
        ("max_gb", expected.gigabytes, caps.max_gb),
        ("max_requests", expected.requests.expected, caps.max_requests),
        ("max_hours", expected.hours, caps.max_hours),
    ]
    set_ = [(name, value, limit) for name, value, limit in found if limit is not None]
    if set_ and expected.unknown:
        return [
            f"plan.{set_[0][0]} is set, and nothing is finished of {', '.join(expected.unknown)}"
            " to judge by: run `lightloom plan --pilot 2`"
        ]
    return [
        f"plan.{name}: expected {value:.4g}, at most {limit:g} is allowed; raise it in the"
        " configuration, take a smaller sample, or switch archives off"
        for name, value, limit in set_
        if value > limit
    ]
