"""One request as the laboratory sees it: what was asked, of whom, and what is to go wrong."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from laboratory.authentication import check_token
from laboratory.damage import Reply, damage, positions_of, separation_deg
from laboratory.faults import Rule


class RequestProblemError(Exception):
    """What was asked cannot be answered; the message says why.

    Parameters
    ----------
    message : str
        For the client.
    status : int
        HTTP status of the reply.
    """

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Exchange:
    """A request and the fault that was chosen for it.

    Attributes
    ----------
    service : str
        Name of the service that is asked, the first part of the path.
    method, path : str
        As received; `path` starts behind the service's name.
    headers : Headers
        Of the request.
    parameters : dict of str to str
        Of the query string and of the form; names in upper case, since TAP's have no case.
    pairs : list of (str, str)
        The same, names as received and repeated ones kept.
    files : dict of str to bytes
        The files of a multipart form, by the name of their part.
    body : bytes
        The body as received.
    uploads : dict of str to pyarrow.Table
        The uploaded tables, by their name in the query.
    targets : list of str
        Identifiers and positions that the request mentions.
    times : list of str
        Bounds of the times that it asks for, as it writes them, if the service reads them.
    problem : RequestProblemError or None
        Why the request could not be read.
    rule : Rule or None
        The fault to apply.
    rows : int or None
        Number of rows sent, for the log.
    alias : str
        The path without what differs from run to run.
    """

    service: str
    method: str
    path: str
    headers: Headers
    parameters: dict[str, str] = field(default_factory=dict)
    pairs: list[tuple[str, str]] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    body: bytes = b""
    uploads: dict[str, pa.Table] = field(default_factory=dict)
    targets: list[str] = field(default_factory=list)
    times: list[str] = field(default_factory=list)
    problem: RequestProblemError | None = None
    rule: Rule | None = None
    rows: int | None = None
    alias: str = ""

    @property
    def job_seconds(self) -> float:
        """Time [s] that a job started by this request takes at least."""
        slow = self.rule is not None and self.rule.action == "job_seconds"
        return self.rule.seconds if slow and self.rule is not None else 0.0

    @property
    def fingerprint(self) -> str:
        """What is asked, without what differs from run to run (ports, identifiers of jobs)."""
        return "\n".join(
            (
                self.service,
                self.method,
                self.alias or self.path,
                self.parameters.get("QUERY", ""),
                *self.targets,
            )
        )

    def is_near(self, ra_deg: float, dec_deg: float, radius_arcsec: float) -> bool:
        """Whether a position of the query or of an upload lies within a radius of a given one."""
        asked = [_position(target) for target in self.targets]
        known = np.array([entry for entry in asked if entry is not None]).reshape(-1, 2)
        groups = [positions_of(table) for table in self.uploads.values()]
        return any(
            np.any(separation_deg(group[0], group[1], ra_deg, dec_deg) * 3600 <= radius_arcsec)
            for group in (*groups, known.T)
            if group is not None
        )

    def send(self, reply: Reply) -> Reply:
        """Apply the fault to the rows and note how many are sent."""
        if self.rule is not None:
            reply = damage(reply, self.rule)
        self.rows = reply.table.num_rows
        return reply


def _bearer(exchange: Exchange, token: str) -> Response | None:
    return check_token(exchange.headers, token)


@dataclass(frozen=True)
class Service:
    """One service: its routes below its name and how to read what a request mentions.

    Attributes
    ----------
    name : str
        First part of its paths and its name in fault rules and in the log.
    routes : list of Route
        Paths start behind the name.
    read : callable
        Fills `uploads` and `targets` of an Exchange; called in a thread.
    error : callable
        The service's own way to say that something went wrong: (message, status) to a response.
    authenticate : callable, optional
        Called if a token is demanded: (Exchange, token) to what is answered instead of the
        service, None to let the request pass. By default `check_token` on its headers.
    """

    name: str
    routes: list[Route]
    read: Callable[[Exchange], None]
    error: Callable[[str, int], Response]
    authenticate: Callable[[Exchange, str], Response | None] = _bearer


def exchange_of(request: Request) -> Exchange:
    """Return the exchange that the gate has attached to a request.

    Raises
    ------
    RequestProblemError
        The gate could not read what was asked.
    """
    exchange: Any = request.scope["exchange"]
    if exchange.problem is not None:
        raise exchange.problem
    return exchange


def _position(target: str) -> tuple[float, float] | None:
    """Read a target that is given as two numbers."""
    try:
        ra_deg, dec_deg = map(float, target.split())
    except ValueError:
        return None
    return ra_deg, dec_deg
