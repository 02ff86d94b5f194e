"""Asynchronous jobs (UWS 1.1) that live on their own, whatever becomes of the client."""

import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from xml.sax.saxutils import escape, quoteattr

import pyarrow as pa

from laboratory.damage import Reply
from laboratory.database import Running
from laboratory.exchange import RequestProblemError

#: Time [s] after which an idle service may forget a job.
LIFETIME_S = 24 * 3600
FINAL_PHASES = frozenset({"COMPLETED", "ERROR", "ABORTED"})
HEAD = (
    '<?xml version="1.0" encoding="utf-8"?>\n'
    '<uws:{element} xmlns:uws="http://www.ivoa.net/xml/UWS/v1.0" '
    'xmlns:xlink="http://www.w3.org/1999/xlink" '
    'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" version="1.1">\n'
)


@dataclass
class Job:
    """One job.

    Attributes
    ----------
    identifier : str
        Last part of its address.
    parameters : dict of str to str
        Names in upper case.
    uploads : dict of str to pyarrow.Table
        By their name in the query.
    targets : list of str
        What it asks for; requests about the job mention them too.
    least_seconds : float
        Time [s] that it takes at least.
    """

    identifier: str
    parameters: dict[str, str]
    uploads: dict[str, pa.Table]
    targets: list[str]
    least_seconds: float = 0.0
    phase: str = "PENDING"
    reply: Reply | None = None
    error: str = ""
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    started: datetime | None = None
    ended: datetime | None = None
    destruction: datetime = field(
        default_factory=lambda: datetime.now(UTC) + timedelta(seconds=LIFETIME_S)
    )
    execution_s: int = 0
    running: Running = field(default_factory=Running)
    aborted: threading.Event = field(default_factory=threading.Event)


#: Answers a job; raises RequestProblemError.
Answer = Callable[[Job], Reply]


class Jobs:
    """The jobs of one service.

    Parameters
    ----------
    answer : callable
        Runs a job's query.
    slots : int
        Number of jobs that run at a time; others stay queued.
    """

    def __init__(self, answer: Answer, slots: int) -> None:
        self._answer = answer
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(slots, thread_name_prefix="job")

    def create(
        self, parameters: dict[str, str], uploads: dict[str, pa.Table], targets: list[str]
    ) -> Job:
        """Return a new job in phase PENDING."""
        job = Job(secrets.token_hex(8), parameters, uploads, targets)
        with self._lock:
            self._jobs[job.identifier] = job
        return job

    def get(self, identifier: str) -> Job:
        """Return a job.

        Raises
        ------
        RequestProblemError
            With status 404: there is none of this name.
        """
        with self._lock:
            self._forget_old()
            job = self._jobs.get(identifier)
        if job is None:
            raise RequestProblemError(f"there is no job {identifier}", 404)
        return job

    def all(self) -> list[Job]:
        """Return all jobs, oldest first."""
        with self._lock:
            self._forget_old()
            return list(self._jobs.values())

    def run(self, job: Job, least_seconds: float) -> None:
        """Queue a job; one that is already queued or has ended stays as it is."""
        with self._lock:
            if job.phase != "PENDING":
                return
            job.phase = "QUEUED"
            job.least_seconds = least_seconds
        self._pool.submit(self._work, job)

    def abort(self, job: Job) -> None:
        """End a job; one that has ended stays as it is."""
        with self._lock:
            if job.phase in FINAL_PHASES:
                return
            job.phase = "ABORTED"
            job.ended = datetime.now(UTC)
        job.aborted.set()
        job.running.interrupt()

    def delete(self, job: Job) -> None:
        """End a job and forget it."""
        self.abort(job)
        with self._lock:
            self._jobs.pop(job.identifier, None)

    def _forget_old(self) -> None:
        now = datetime.now(UTC)
        self._jobs = {name: job for name, job in self._jobs.items() if job.destruction > now}

    def _work(self, job: Job) -> None:
        with self._lock:
            if job.phase != "QUEUED":
                return
            job.phase = "EXECUTING"
            job.started = datetime.now(UTC)
        begin_s = time.monotonic()
        reply, error = None, ""
        try:
            reply = self._answer(job)
        except RequestProblemError as problem:
            error = str(problem)
        except Exception as problem:
            # A job must end in some phase, or its client waits for ever.
            error = f"internal error: {problem!r}"
        job.aborted.wait(max(0.0, job.least_seconds - (time.monotonic() - begin_s)))
        with self._lock:
            if job.phase == "EXECUTING":
                job.reply, job.error = reply, error
                job.ended = datetime.now(UTC)
                job.phase = "COMPLETED" if reply is not None else "ERROR"


def job_document(job: Job, address: str) -> str:
    """Return a job's description; `address` is that of the job."""
    parameters = "".join(
        f"<uws:parameter id={quoteattr(name.lower())}>{escape(value)}</uws:parameter>\n"
        for name, value in sorted(job.parameters.items())
        if name != "PHASE"
    )
    result = ""
    if job.phase == "COMPLETED":
        href = quoteattr(f"{address}/results/result")
        result = f'<uws:result id="result" xlink:type="simple" xlink:href={href}/>\n'
    error = ""
    if job.phase == "ERROR":
        message = f"<uws:message>{escape(job.error)}</uws:message>"
        error = f'<uws:errorSummary type="fatal" hasDetail="true">{message}</uws:errorSummary>\n'
    return (
        HEAD.format(element="job")
        + f"<uws:jobId>{job.identifier}</uws:jobId>\n"
        + '<uws:ownerId xsi:nil="true"/>\n'
        + f"<uws:phase>{job.phase}</uws:phase>\n"
        + '<uws:quote xsi:nil="true"/>\n'
        + f"<uws:creationTime>{_time(job.created)}</uws:creationTime>\n"
        + _optional_time("startTime", job.started)
        + _optional_time("endTime", job.ended)
        + f"<uws:executionDuration>{job.execution_s}</uws:executionDuration>\n"
        + f"<uws:destruction>{_time(job.destruction)}</uws:destruction>\n"
        + f"<uws:parameters>\n{parameters}</uws:parameters>\n"
        + f"<uws:results>\n{result}</uws:results>\n"
        + error
        + "</uws:job>\n"
    )


def jobs_document(jobs: list[Job], address: str) -> str:
    """Return the list of jobs; `address` is that of the list."""
    entries = "".join(
        f'<uws:jobref id="{job.identifier}" xlink:type="simple" '
        f"xlink:href={quoteattr(f'{address}/{job.identifier}')}>\n"
        f"<uws:phase>{job.phase}</uws:phase>\n"
        f"<uws:creationTime>{_time(job.created)}</uws:creationTime>\n</uws:jobref>\n"
        for job in jobs
    )
    return HEAD.format(element="jobs") + entries + "</uws:jobs>\n"


def _time(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _optional_time(element: str, moment: datetime | None) -> str:
    if moment is None:
        return f'<uws:{element} xsi:nil="true"/>\n'
    return f"<uws:{element}>{_time(moment)}</uws:{element}>\n"
