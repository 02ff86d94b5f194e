"""Questions to a TAP service: asked at once or as a job, and answered whole or not at all.

A reply is truncated if the service says so, or if it has as many rows as were allowed. Whoever asks
for many things at a time (`ask_whole`) asks for half of them again, until every reply is whole.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import requests
from astropy.io import votable
from astropy.io.votable.exceptions import VOWarning
from numpy.typing import NDArray
from pyvo.dal import TAPService
from pyvo.dal.tap import TAPResults
from pyvo.io.vosi import parse_capabilities
from pyvo.io.vosi.tapregext import TableAccess
from pyvo.utils.xml.exceptions import XMLWarning

from lightloom.config_sources import ServiceSpec
from lightloom.errors import (
    ArchiveSchemaError,
    BadRequestError,
    TransientArchiveError,
    TruncatedAnswerError,
)
from lightloom.services.folders import archive_folder
from lightloom.services.http import archive_errors, service_session
from lightloom.services.replies import Exchange
from lightloom.services.tap_jobs import ServerJob, job_name
from lightloom.services.tap_votable import ExpectedColumn, reply_table

IntArray = NDArray[np.int64]

#: What the readers of VOTables, capabilities and jobs raise: of another document, of tags that do
#: not match, of numbers that are none, and of sizes that nothing has.
_DAMAGES = (XMLWarning, VOWarning, ValueError, TypeError, IndexError, MemoryError)


@dataclass(frozen=True)
class Question:
    """A query, what goes up with it, and what has to come back.

    Attributes
    ----------
    adql : str
    expected : sequence of ExpectedColumn
        Columns of the reply.
    n_items : int
        Targets or objects that it asks for; many make it a job.
    upload_name : str
        Name of the uploaded table in the schema ``TAP_UPLOAD``; empty without one.
    upload : bytes
        The uploaded table, a VOTable.
    """

    adql: str
    expected: Sequence[ExpectedColumn]
    n_items: int
    upload_name: str = ""
    upload: bytes = b""


class _Results(TAPResults):
    """Results whose truncation is an error here, and needs no warning of pyvo's."""

    def _handle_overflow_warning(self, client_set_maxrec: int | None = None) -> None:
        pass


class Service:
    """A TAP service, as the catalogue entry of an archive describes it.

    Parameters
    ----------
    spec : ServiceSpec
        With ``maxrec``, most rows of a reply, among its options.
    state : pathlib.Path
        Folder shared by the jobs of all services.

    Attributes
    ----------
    endpoint : str
    session : ServiceSession
    """

    def __init__(self, spec: ServiceSpec, state: Path) -> None:
        self._spec = spec
        self.endpoint = spec.endpoint
        self._jobs = archive_folder(state, spec) / "jobs"
        self._maxrec: int = spec.options["maxrec"]
        self.session = service_session(spec, state)
        self._service = TAPService(spec.endpoint, session=self.session)

    def ask(self, question: Question) -> pa.Table:
        """Return the whole reply to a question.

        Raises
        ------
        TruncatedAnswerError
            If the service has cut the reply short.
        ArchiveSchemaError
            If a column is missing or has another type or unit.
        ArchiveError
            If the service cannot be asked or does not understand the question.
        """
        by_job = question.n_items > self._spec.limits["sync_targets"]
        try:
            with _tap_errors():
                results = self._by_job(question) if by_job else self._at_once(question)
        except BadRequestError as error:
            if error.status != HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
                raise
            raise TruncatedAnswerError(str(error), status=error.status) from error
        n_rows = len(results)
        if results.status[0].upper() == "OVERFLOW" or n_rows >= self._maxrec:
            raise TruncatedAnswerError(
                f"{self.endpoint}: the reply about {question.n_items} targets or objects was cut"
                f" off after {n_rows} rows"
            )
        return reply_table(results.resultstable, question.expected)

    def check_limit(self) -> None:
        """Refuse a ``maxrec`` above what the service gives, with which cuts would stay unseen.

        Raises
        ------
        ArchiveSchemaError
            If the service declares a lower limit.
        """
        with _tap_errors():
            # Of what goes wrong here pyvo keeps the words, not the class.
            response = self.session.get(f"{self.endpoint}/capabilities", stream=True)
            capabilities = parse_capabilities(response.raw.read)
        tables = [one for one in capabilities if isinstance(one, TableAccess)]
        limit = tables[0].outputlimit if tables else None
        if limit is not None and limit.hard is not None and limit.hard.content < self._maxrec:
            raise ArchiveSchemaError(
                f"{self.endpoint}: the service returns at most {limit.hard.content} rows, expected"
                f" at least options.maxrec, {self._maxrec}"
            )

    def _arguments(self, question: Question) -> dict[str, Any]:
        uploads = {question.upload_name: BytesIO(question.upload)} if question.upload else None
        return {"maxrec": self._maxrec, "uploads": uploads}

    def _at_once(self, question: Question) -> TAPResults:
        query = self._service.create_query(question.adql, **self._arguments(question))
        return _read(query.submit())

    def _by_job(self, question: Question) -> TAPResults:
        name = job_name(self.endpoint, question.adql, str(self._maxrec), question.upload)
        limits = self._spec.limits
        record = self._jobs / f"{name}.json"
        job = ServerJob(record, self.session, limits["poll_s"], limits["job_timeout_s"])

        def ask() -> requests.Response:
            with _tap_errors():
                return job.run(
                    lambda: self._service.submit_job(question.adql, **self._arguments(question))
                )

        replies = self.session.replies
        results = _read(replies.exchange(Exchange("JOB", self.endpoint, name), ask))
        if not replies.is_replay:
            with replies.paused():
                job.forget()
        return results


@contextmanager
def _tap_errors() -> Iterator[None]:
    """Raise what goes wrong in the block as an error of `lightloom.errors`."""
    with archive_errors():
        try:
            yield
        except _DAMAGES as error:
            raise TransientArchiveError(
                f"found a damaged document, or another one than expected: {error}"
            ) from error


def _read(response: requests.Response) -> TAPResults:
    return _Results(votable.parse(response.raw.read), url=response.url)


@dataclass(frozen=True)
class WholeReplies:
    """Whole replies about items, and the items about which there is none.

    Attributes
    ----------
    tables : list of pyarrow.Table
        In the order of the items.
    failures : dict of int to TruncatedAnswerError
        Items for which even a question about them alone has a truncated reply.
    """

    tables: list[pa.Table]
    failures: dict[int, TruncatedAnswerError]


def ask_whole(ask: Callable[[IntArray], pa.Table], items: IntArray) -> WholeReplies:
    """Ask for items, and for half of them at a time wherever a reply is truncated.

    Parameters
    ----------
    ask : callable
        Returns the reply about some of the items; raises TruncatedAnswerError if it is not whole.
    items : ndarray of int64, shape (n,)

    Returns
    -------
    WholeReplies
    """
    tables: list[pa.Table] = []
    failures: dict[int, TruncatedAnswerError] = {}
    waiting = [items] if len(items) else []
    while waiting:
        piece = waiting.pop()
        try:
            tables.append(ask(piece))
        except TruncatedAnswerError as error:
            if len(piece) == 1:
                failures[int(piece[0])] = error
            else:
                middle = len(piece) // 2
                waiting += [piece[middle:], piece[:middle]]
    return WholeReplies(tables, failures)
