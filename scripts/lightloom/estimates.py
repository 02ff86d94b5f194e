"""Numbers of a run that is to come, from jobs that have ended: exact, or with their doubt."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from lightloom.config import ArchiveSpec

#: Parameters of a fit: a part for each job, and one for each target.
_FIT_PARAMETERS = 2

#: Standard deviations of the numbers of objects that an interval allows for.
_SIGMAS = 4.0


@dataclass(frozen=True)
class Estimate:
    """A number that is expected, and the limits between which it lies.

    Attributes
    ----------
    expected, low, high : float
        Equal if the number is known.
    """

    expected: float
    low: float
    high: float

    @classmethod
    def known(cls, value: float) -> "Estimate":
        """Return a number without doubt."""
        return cls(value, value, value)

    @property
    def is_exact(self) -> bool:
        """Whether there is no doubt."""
        return self.low == self.high

    def __add__(self, other: "Estimate") -> "Estimate":
        return Estimate(
            self.expected + other.expected, self.low + other.low, self.high + other.high
        )


@dataclass(frozen=True)
class Finished:
    """What a finished job has taken; one of the pilot.

    Attributes
    ----------
    shard : str
    n_targets : int
    n_inside : int
        Targets in the footprint.
    n_sources : int
        Objects of the archive that were matched.
    planned_requests, requests, bytes : int
        Pieces of work; requests to the archive and what they returned.
    squared_requests, squared_bytes : int
        Sums of the squares of the requests and bytes of the pieces.
    wall_s, cpu_s : float
        Time of the job, with the start of its process, on the clock and of the processors [s].
    rss_mb : float
        Peak of its memory [MB].
    """

    shard: str
    n_targets: int
    n_inside: int
    n_sources: int
    planned_requests: int
    requests: int
    bytes: int
    squared_requests: int
    squared_bytes: int
    wall_s: float
    cpu_s: float
    rss_mb: float


@dataclass(frozen=True)
class Fit:
    """A part for each job and a part for each target, neither negative.

    Attributes
    ----------
    per_job, per_target : float
    """

    per_job: float
    per_target: float

    @classmethod
    def of(cls, sizes: Sequence[int], values: Sequence[float]) -> "Fit":
        """Fit the values of jobs with these numbers of targets."""
        if not sizes:
            return cls(0.0, 0.0)
        design: NDArray[np.float64] = np.column_stack([np.ones(len(sizes)), sizes]).astype(float)
        scale = design.max(axis=0)
        solution, _ = nnls(design / scale, np.asarray(values, float))
        return cls(*(float(value) for value in solution / scale))

    def __call__(self, n_targets: int) -> float:
        """Return the value of a job with so many targets."""
        return self.per_job + self.per_target * n_targets


def scaled(
    done: Sequence[Finished], sizes: Mapping[str, int], left: Sequence[str], value: Any
) -> Estimate:
    """Add to what is finished what the other shards will take by their numbers of targets."""
    measured = [float(value(one)) for one in done]
    fit = Fit.of([one.n_targets for one in done], measured)
    rest = sum(fit(sizes[shard]) for shard in left)
    fitted = np.array([fit(one.n_targets) for one in done])
    # As many jobs as the fit has parameters say nothing of its scatter.
    many = len(done) > _FIT_PARAMETERS
    scatter = float(np.sqrt(np.mean((fitted - measured) ** 2))) if many else rest
    doubt = _SIGMAS * scatter * math.sqrt(len(left) * (1 + len(left) / len(done)))
    known = sum(measured)
    return Estimate(known + rest, max(known, known + rest - doubt), known + rest + doubt)


def requests_of(
    spec: ArchiveSpec,
    done: Sequence[Finished],
    sizes: Mapping[str, int],
    left: Sequence[str],
    pieces: Mapping[str, int],
) -> Estimate:
    """Return how often an archive is asked: by its kind where that is known, else by the pilot."""
    known = Estimate.known(sum(one.requests for one in done))
    by_jobs = spec.limits["targets_per_query"] > spec.limits["sync_targets"]
    if spec.module == "tap_lightcurve" and not by_jobs:
        rest = (_tap_requests(spec, done, sizes[shard], pieces[shard]) for shard in left)
        return sum(rest, known)
    if spec.module == "heasarc" and not by_jobs:
        # A table that is fetched whole was fetched by the pilot, and a shard asks nothing more.
        each = 0 if spec.options["whole_table"] else 1 + (not spec.options["counted"])
        return sum((Estimate.known(each * pieces[shard]) for shard in left), known)
    if spec.module == "hcv":
        # A cone, and then the variables in it.
        rest = (_cone_requests(spec, done, sizes[shard], pieces[shard]) for shard in left)
        return sum(rest, known)
    if pieces:
        values = [(one.requests, one.squared_requests) for one in done]
        return _by_piece(done, left, pieces, values)
    return scaled(done, sizes, left, lambda one: one.requests)


def bytes_of(
    spec: ArchiveSpec,
    done: Sequence[Finished],
    sizes: Mapping[str, int],
    left: Sequence[str],
    pieces: Mapping[str, int],
) -> Estimate:
    """Return what is read: of catalogues by pieces, of services by targets."""
    if spec.options.get("whole_table"):
        return Estimate.known(sum(one.bytes for one in done))
    if spec.layout != "service" and pieces:
        values = [(one.bytes, one.squared_bytes) for one in done]
        return _by_piece(done, left, pieces, values)
    return scaled(done, sizes, left, lambda one: one.bytes)


def _by_piece(
    done: Sequence[Finished],
    left: Sequence[str],
    pieces: Mapping[str, int],
    values: Sequence[tuple[int, int]],
) -> Estimate:
    """Scale by pieces of work, of which the jobs tell the sums of values and of their squares.

    Pieces that all have taken the same are taken to be alike; else the limits follow from their
    scatter.
    """
    n_left = sum(pieces[shard] for shard in left)
    total, squares = sum(value for value, _ in values), sum(square for _, square in values)
    known = Estimate.known(total)
    if not n_left:
        return known
    n_done = sum(one.planned_requests for one in done)
    if not n_done:
        return Estimate(total, total, math.inf)
    rest = n_left * total / n_done
    if n_done == 1:
        # One piece cannot show that the others are like it.
        return known + Estimate(rest, 0.0, 2 * rest)
    # Of whole numbers, so that equal ones have no scatter.
    variance = (n_done * squares - total**2) / (n_done * (n_done - 1))
    doubt = _SIGMAS * math.sqrt(variance * n_left * (1 + n_left / n_done))
    return known + Estimate(rest, max(0.0, rest - doubt), rest + doubt)


def _cone_requests(
    spec: ArchiveSpec, done: Sequence[Finished], n_targets: int, n_cones: int
) -> Estimate:
    counts = _objects(done, n_targets)
    each = spec.options["ids_per_request"]
    return Estimate(*(n_cones + math.ceil(count / each) for count in counts))


def _tap_requests(
    spec: ArchiveSpec, done: Sequence[Finished], n_targets: int, n_pieces: int
) -> Estimate:
    """Return how often a TAP service is asked for a shard.

    A query for the objects in each piece, then one for each `objects_per_query` of them; a reply
    that its upload does not count is counted by a second query.
    """
    options = spec.options
    if not n_pieces:
        return Estimate.known(0)
    first = n_pieces * _queries(uploads=options["upload"], counted=options["counted"])
    if "measurements" not in options:
        return Estimate.known(first)
    then = _queries(uploads=options["measurements"]["upload"], counted=options["counted"])
    counts = _objects(done, n_targets)
    steps = [_steps(count, spec.limits["objects_per_query"], n_pieces) for count in counts]
    return Estimate(*(first + then * step for step in steps))


def _queries(*, uploads: bool, counted: bool) -> int:
    return 1 if uploads and counted else 2


def _objects(done: Sequence[Finished], n_targets: int) -> tuple[float, float, float]:
    """Return how many objects a shard will have: expected, least and most."""
    found, asked = sum(one.n_sources for one in done), sum(one.n_targets for one in done)
    expected = n_targets * found / max(1, asked)
    doubt = _SIGMAS * math.sqrt((expected + 1) * (1 + n_targets / max(1, asked)))
    return expected, max(0.0, expected - doubt), expected + doubt


def _steps(n_objects: float, per_query: int, n_pieces: int) -> int:
    """Return the number of queries for the measurements of objects spread over some pieces."""
    return n_pieces * math.ceil(n_objects / n_pieces / per_query)
