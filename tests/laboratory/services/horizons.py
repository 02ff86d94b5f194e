"""JPL Horizons: ephemerides of small bodies seen from a place on the Earth."""

from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from laboratory.damage import Reply
from laboratory.exchange import Exchange, Service, exchange_of
from laboratory.observertable import Rejection, observer_table
from laboratory.smallbodies import SmallBodies
from lightloom.sky.moving.bodies import read_bodies

PATH = "/api/horizons.api"
#: Longest address [characters] that is read.
LONGEST_ADDRESS = 2000
VERSION = "1.2"
SOURCE = "NASA/JPL Horizons API"


def service(folder: Path) -> Service:
    """Return the service over the orbits of ``objects.csv``."""
    bodies = SmallBodies(read_bodies(folder / "objects.csv"))

    async def answer(request: Request) -> Response:
        if len(str(request.url)) >= LONGEST_ADDRESS:
            return PlainTextResponse("<h1>414 Request-URI Too Large</h1>\n", 414)
        exchange = exchange_of(request)
        try:
            text, rows = await run_in_threadpool(observer_table, bodies, exchange.parameters)
        except Rejection as rejection:
            return _document(exchange, str(rejection), rejection.is_error)
        lines = exchange.send(Reply(rows))
        return _document(exchange, text.with_rows(lines.table), False)

    return Service("horizons", [Route(PATH, answer, methods=["GET"])], _read, _error)


def _read(exchange: Exchange) -> None:
    if command := exchange.parameters.get("COMMAND"):
        exchange.targets.append(command.strip(" \"'"))
    bounds = (exchange.parameters.get(name) for name in ("START_TIME", "STOP_TIME"))
    exchange.times += [bound.strip(" \"'") for bound in bounds if bound]


def _document(exchange: Exchange, text: str, is_error: bool) -> Response:
    if exchange.parameters.get("FORMAT", "json").lower() == "text":
        return PlainTextResponse(f"API VERSION: {VERSION}\nAPI SOURCE: {SOURCE}\n\n{text}")
    signature = {"source": SOURCE, "version": VERSION}
    return JSONResponse({"signature": signature, "error" if is_error else "result": text})


def _error(message: str, status: int) -> Response:
    return PlainTextResponse(f"API VERSION: {VERSION}\nAPI SOURCE: {SOURCE}\n\n{message}\n", status)
