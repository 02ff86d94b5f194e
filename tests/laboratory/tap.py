"""TAP 1.1: the endpoints of one service over a database of Parquet tables."""

import asyncio
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import pyarrow as pa
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from laboratory import documents, vosi
from laboratory.adql import constant_targets
from laboratory.damage import Reply
from laboratory.database import Database, Running
from laboratory.exchange import Exchange, RequestProblemError, Service, exchange_of
from laboratory.uploads import read_votable, targets_of
from laboratory.uws import FINAL_PHASES, Job, Jobs, job_document, jobs_document

#: How often [s] a waiting request looks at its job.
LOOK_S = 0.02
#: Longest time [s] that a request with WAIT is kept.
LONGEST_WAIT_S = 60.0
XML_TYPE = "text/xml"


@dataclass(frozen=True)
class Limits:
    """Limits of a TAP service.

    Attributes
    ----------
    output_default, output_hard : int
        Rows of a reply, without and with MAXREC.
    upload_hard : int
        Rows of an upload.
    upload_bytes : int
        Size of an upload [bytes].
    jobs : int
        Number of asynchronous jobs that run at a time.
    """

    output_default: int = 100_000
    output_hard: int = 3_000_000
    upload_hard: int = 1_000_000
    upload_bytes: int = 500_000_000
    jobs: int = 2


class TapService:
    """TAP endpoints of one service.

    Parameters
    ----------
    name : str
        Of the service; also the schema of tables that have none.
    folder : Path
        With the Parquet tables.
    limits : Limits
        As in the capabilities.
    prefix : str
        Path of the service's base address behind its name.
    """

    def __init__(
        self, name: str, folder: Path, limits: Limits | None = None, prefix: str = "/tap"
    ) -> None:
        self.name = name
        self.limits = limits or Limits()
        self.prefix = prefix
        self.database = Database(folder, default_schema=name)
        self.jobs = Jobs(self._answer_job, self.limits.jobs)

    def service(self) -> Service:
        """Return the service with its routes."""
        job = f"{self.prefix}/async/{{job}}"
        both = ["GET", "POST"]
        routes = [
            Route(f"{self.prefix}/sync", self._sync, methods=both),
            Route(f"{self.prefix}/async", self._job_list, methods=["GET"]),
            Route(f"{self.prefix}/async", self._create, methods=["POST"]),
            Route(job, self._job, methods=["GET"]),
            Route(job, self._delete, methods=["DELETE"]),
            Route(job, self._act, methods=["POST"]),
            Route(f"{job}/phase", self._phase, methods=both),
            Route(f"{job}/parameters", self._parameters, methods=both),
            Route(f"{job}/destruction", self._destruction, methods=both),
            Route(f"{job}/executionduration", self._execution_duration, methods=both),
            Route(f"{job}/error", self._error, methods=["GET"]),
            Route(f"{job}/results", self._job, methods=["GET"]),
            Route(f"{job}/results/result", self._result, methods=["GET"]),
            Route(f"{job}/{{property}}", self._property, methods=["GET"]),
            Route(f"{self.prefix}/capabilities", self._capabilities, methods=["GET"]),
            Route(f"{self.prefix}/tables", self._tables, methods=["GET"]),
            Route(f"{self.prefix}/availability", self._availability, methods=["GET"]),
        ]
        return Service(self.name, routes, self.read, documents.votable_error)

    def read(self, exchange: Exchange) -> None:
        """Read the uploads of a request and note what it asks for."""
        path = exchange.path.removeprefix(f"{self.prefix}/async/")
        if path != exchange.path:
            identifier = path.split("/")[0]
            # Jobs have other names in each run; faults must not depend on them.
            exchange.alias = exchange.path.replace(identifier, "JOB")
            job = self.jobs.get(identifier)
            exchange.targets, exchange.uploads = list(job.targets), dict(job.uploads)
        for name, source in _upload_list(exchange.parameters.get("UPLOAD", "")):
            exchange.uploads[name] = self._upload(name, source, exchange)
            exchange.targets += targets_of(exchange.uploads[name])
        if "QUERY" in exchange.parameters:
            exchange.targets += constant_targets(exchange.parameters["QUERY"])

    def _upload(self, name: str, source: str, exchange: Exchange) -> pa.Table:
        part = source.removeprefix("param:")
        if part == source:
            raise RequestProblemError(f"UPLOAD {name}: only param: is supported, found {source}")
        if part not in exchange.files:
            raise RequestProblemError(f"UPLOAD {name}: the form has no part {part}")
        content = exchange.files[part]
        if len(content) > self.limits.upload_bytes:
            raise RequestProblemError(
                f"UPLOAD {name}: {len(content)} bytes, at most {self.limits.upload_bytes}", 413
            )
        table = read_votable(content, name)
        if table.num_rows > self.limits.upload_hard:
            raise RequestProblemError(
                f"UPLOAD {name}: {table.num_rows} rows, at most {self.limits.upload_hard}"
            )
        return table

    def _answer_job(self, job: Job) -> Reply:
        query = _query(job.parameters)
        return self.database.query(query, job.uploads, self._maxrec(job.parameters), job.running)

    def _maxrec(self, parameters: dict[str, str]) -> int:
        text = parameters.get("MAXREC", str(self.limits.output_default))
        if not text.isdigit():
            raise RequestProblemError(f"MAXREC: expected a number of rows, found {text}")
        return min(int(text), self.limits.output_hard)

    async def _sync(self, request: Request) -> Response:
        exchange = exchange_of(request)
        query = _query(exchange.parameters)
        maxrec = self._maxrec(exchange.parameters)
        reply = await run_in_threadpool(
            self.database.query, query, exchange.uploads, maxrec, Running()
        )
        return await run_in_threadpool(_document, exchange, reply, exchange.parameters)

    async def _create(self, request: Request) -> Response:
        exchange = exchange_of(request)
        job = self.jobs.create(exchange.parameters, exchange.uploads, exchange.targets)
        if exchange.parameters.get("PHASE") == "RUN":
            self.jobs.run(job, exchange.job_seconds)
        return self._see(request, job)

    async def _job_list(self, request: Request) -> Response:
        jobs = self.jobs.all()
        if wanted := request.query_params.getlist("PHASE"):
            jobs = [job for job in jobs if job.phase in wanted]
        return Response(jobs_document(jobs, self._address(request, "/async")), media_type=XML_TYPE)

    async def _job(self, request: Request) -> Response:
        exchange = exchange_of(request)
        job = self._of(request)
        if "WAIT" in exchange.parameters:
            await _wait(job, exchange.parameters)
        address = self._address(request, f"/async/{job.identifier}")
        return Response(job_document(job, address), media_type=XML_TYPE)

    async def _act(self, request: Request) -> Response:
        job = self._of(request)
        if exchange_of(request).parameters.get("ACTION") == "DELETE":
            return await self._delete(request)
        return self._see(request, job)

    async def _delete(self, request: Request) -> Response:
        exchange_of(request)
        self.jobs.delete(self._of(request))
        return RedirectResponse(self._address(request, "/async"), 303)

    async def _phase(self, request: Request) -> Response:
        exchange = exchange_of(request)
        job = self._of(request)
        if request.method == "GET":
            return PlainTextResponse(job.phase)
        action = exchange.parameters.get("PHASE")
        if action == "RUN":
            self.jobs.run(job, exchange.job_seconds)
        elif action == "ABORT":
            self.jobs.abort(job)
        else:
            raise RequestProblemError(f"PHASE: expected RUN or ABORT, found {action}")
        return self._see(request, job)

    async def _parameters(self, request: Request) -> Response:
        exchange = exchange_of(request)
        job = self._of(request)
        if request.method == "GET":
            return await self._job(request)
        if job.phase != "PENDING":
            raise RequestProblemError(f"job {job.identifier} is {job.phase}, no longer PENDING")
        job.parameters.update(exchange.parameters)
        job.uploads.update(exchange.uploads)
        job.targets = exchange.targets
        return self._see(request, job)

    async def _destruction(self, request: Request) -> Response:
        exchange = exchange_of(request)
        job = self._of(request)
        if request.method == "POST":
            text = exchange.parameters.get("DESTRUCTION", "")
            try:
                job.destruction = datetime.fromisoformat(text.replace("Z", "+00:00"))
            except ValueError as error:
                raise RequestProblemError(f"DESTRUCTION: {error}") from error
            return self._see(request, job)
        return PlainTextResponse(job.destruction.isoformat())

    async def _execution_duration(self, request: Request) -> Response:
        exchange = exchange_of(request)
        job = self._of(request)
        if request.method == "POST":
            text = exchange.parameters.get("EXECUTIONDURATION", "")
            if not text.isdigit():
                raise RequestProblemError(f"EXECUTIONDURATION: expected seconds, found {text}")
            job.execution_s = int(text)
            return self._see(request, job)
        return PlainTextResponse(str(job.execution_s))

    async def _error(self, request: Request) -> Response:
        exchange_of(request)
        job = self._of(request)
        if job.phase != "ERROR":
            raise RequestProblemError(f"job {job.identifier} has no error", 404)
        return documents.votable_error(job.error, 200)

    async def _result(self, request: Request) -> Response:
        exchange = exchange_of(request)
        job = self._of(request)
        if job.reply is None:
            raise RequestProblemError(f"job {job.identifier} is {job.phase}: no result", 404)
        return await run_in_threadpool(_document, exchange, job.reply, job.parameters)

    async def _property(self, request: Request) -> Response:
        exchange_of(request)
        job = self._of(request)
        if request.path_params["property"] in ("quote", "owner"):
            return PlainTextResponse("")
        raise RequestProblemError(f"job {job.identifier} has no such property", 404)

    async def _capabilities(self, request: Request) -> Response:
        exchange_of(request)
        document = vosi.capabilities(self._address(request), asdict(self.limits))
        return Response(document, media_type=XML_TYPE)

    async def _tables(self, request: Request) -> Response:
        exchange_of(request)
        return Response(vosi.tables(self.database.tables), media_type=XML_TYPE)

    async def _availability(self, request: Request) -> Response:
        exchange_of(request)
        return Response(vosi.availability(), media_type=XML_TYPE)

    def _of(self, request: Request) -> Job:
        return self.jobs.get(request.path_params["job"])

    def _address(self, request: Request, path: str = "") -> str:
        url = request.url
        return f"{url.scheme}://{url.netloc}/{self.name}{self.prefix}{path}"

    def _see(self, request: Request, job: Job) -> Response:
        return RedirectResponse(self._address(request, f"/async/{job.identifier}"), 303)


def _query(parameters: dict[str, str]) -> str:
    if not parameters.get("LANG", "ADQL").upper().startswith("ADQL"):
        raise RequestProblemError(f"LANG: expected ADQL, found {parameters['LANG']}")
    if "QUERY" not in parameters:
        raise RequestProblemError("the parameter QUERY is missing")
    return parameters["QUERY"]


def _upload_list(text: str) -> list[tuple[str, str]]:
    """Read the parameter UPLOAD: ``name,uri;name,uri``."""
    found = []
    for entry in filter(None, text.split(";")):
        name, comma, source = entry.partition(",")
        if not comma:
            raise RequestProblemError(f"UPLOAD: expected name,uri, found {entry}")
        found.append((name.strip(), source.strip()))
    return found


def _document(exchange: Exchange, reply: Reply, parameters: dict[str, str]) -> Response:
    wanted = parameters.get("RESPONSEFORMAT", parameters.get("FORMAT", "votable")).lower()
    reply = exchange.send(reply)
    if wanted in ("csv", "text/csv"):
        return Response(documents.csv(reply), media_type="text/csv")
    if "votable" not in wanted and wanted not in ("text/xml", "application/xml"):
        raise RequestProblemError(f"FORMAT: unknown format {wanted}; votable, votable/td and csv")
    binary = "tabledata" not in wanted and not wanted.endswith("/td")
    return Response(documents.votable(reply, binary=binary), media_type=documents.VOTABLE)


async def _wait(job: Job, parameters: dict[str, str]) -> None:
    """Wait for another phase, as WAIT of UWS 1.1 asks."""
    try:
        longest_s = float(parameters["WAIT"])
    except ValueError as error:
        raise RequestProblemError(f"WAIT: {error}") from error
    if longest_s < 0:
        longest_s = LONGEST_WAIT_S
    phase = parameters.get("PHASE", job.phase)
    end_s = asyncio.get_running_loop().time() + min(longest_s, LONGEST_WAIT_S)
    while job.phase == phase and phase not in FINAL_PHASES | {"PENDING"}:
        if asyncio.get_running_loop().time() >= end_s:
            return
        await asyncio.sleep(LOOK_S)
