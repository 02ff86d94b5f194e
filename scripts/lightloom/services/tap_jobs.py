"""Asynchronous TAP jobs that outlive the process that has asked for them.

The URL of a job is written down before its end is waited for. Whoever asks the same later, after a
kill as after a failure, goes on with the server's job instead of starting another.
"""

import hashlib
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path

import requests
from pyvo.dal.tap import AsyncTAPJob

from lightloom.errors import (
    ArchiveDownError,
    ArchiveError,
    BadRequestError,
    TransientArchiveError,
)
from lightloom.storage import write_json

#: Phases (UWS 1.1) that a job does not leave by itself.
_ENDED = frozenset({"COMPLETED", "ERROR", "ABORTED", "ARCHIVED"})

#: Factors by which the time between two looks at a job grows, at each look and in all.
_POLL_GROWTH, _POLL_GROWTH_LIMIT = 1.3, 10.0

_log = logging.getLogger(__name__)


def job_name(*parts: str | bytes) -> str:
    """Name a job by what it is asked (32 hexadecimal digits)."""
    digest = hashlib.sha256()
    for part in parts:
        content = part.encode() if isinstance(part, str) else part
        digest.update(len(content).to_bytes(8, "big") + content)
    return digest.hexdigest()[:32]


class ServerJob:
    """A job of a service, known by what it is asked.

    Parameters
    ----------
    record : pathlib.Path
        Where the job's URL is written down.
    session : requests.Session
    poll_s : float
        Time between the first two looks at the job [s]; it grows tenfold.
    timeout_s : float
        Longest time to wait for the end of the job [s].
    """

    def __init__(
        self, record: Path, session: requests.Session, poll_s: float, timeout_s: float
    ) -> None:
        self._record = record
        self._session = session
        self._poll_s = poll_s
        self._timeout_s = timeout_s

    def run(self, submit: Callable[[], AsyncTAPJob]) -> requests.Response:
        """Return the result of the job, once it has ended.

        Parameters
        ----------
        submit : callable
            Gives the service a new job; called if there is none to go on with.

        Returns
        -------
        requests.Response
            The result, not yet read.

        Raises
        ------
        ArchiveDownError
            If the job has not ended in time; it is gone on with when the same is asked again.
        ArchiveError
            If the job failed; it is forgotten then.
        """
        self._job = self._reattached() or self._submitted(submit)
        phase = self._wait()
        if phase == "COMPLETED":
            return self._session.get(self._job.result_uri, stream=True)
        url = self._job.url
        self.forget()
        if phase == "ERROR":
            self._job.raise_if_error()
        raise TransientArchiveError(f"{url}: the job ended as {phase}")

    def forget(self) -> None:
        """Delete the job on the server, and its record."""
        self._record.unlink(missing_ok=True)
        try:
            self._job.delete()
        except ArchiveError as error:
            # The service drops old jobs by itself; the result is in hand.
            _log.warning("%s: not deleted: %s", self._job.url, error)

    def _reattached(self) -> AsyncTAPJob | None:
        if not self._record.exists():
            return None
        url = json.loads(self._record.read_text())["url"]
        try:
            job = AsyncTAPJob(url, session=self._session)
        except BadRequestError as error:
            _log.warning("%s: the service no longer knows the job: %s", url, error)
            return None
        if job.phase in ("ABORTED", "ERROR", "ARCHIVED"):
            # Its result is gone, or there will be none: a new job may have more luck.
            return None
        _log.info("%s: going on with the job", url)
        if job.phase == "PENDING":
            job.run()
        return job

    def _submitted(self, submit: Callable[[], AsyncTAPJob]) -> AsyncTAPJob:
        job = submit()
        write_json(self._record, {"url": job.url})
        job.run()
        return job

    def _wait(self) -> str:
        """Return the phase in which the job has ended."""
        deadline_s = time.monotonic() + self._timeout_s
        wait_s = self._poll_s
        while (phase := self._job.phase) not in _ENDED:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0.0:
                raise ArchiveDownError(
                    f"{self._job.url}: the job is {phase} after {self._timeout_s:g} s of waiting;"
                    " the next run goes on with it"
                )
            time.sleep(min(wait_s, left_s))
            wait_s = min(wait_s * _POLL_GROWTH, self._poll_s * _POLL_GROWTH_LIMIT)
        return str(phase)
