"""NOIRLab Astro Data Lab: the NSC tables by TAP and by the query client's own service."""

from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from laboratory import documents
from laboratory.adql import constant_targets
from laboratory.database import Running
from laboratory.exchange import Exchange, RequestProblemError, Service, exchange_of
from laboratory.tap import TapService


def service(folder: Path) -> Service:
    """Return the service over ``nsc_dr2.object``, ``nsc_dr2.meas`` and ``nsc_dr2.exposure``."""
    tap = TapService("nsc", folder)

    def read(exchange: Exchange) -> None:
        tap.read(exchange)
        if exchange.path.startswith("/query/"):
            exchange.targets += constant_targets(_query(exchange))

    async def query(request: Request) -> Response:
        exchange = exchange_of(request)
        if exchange.parameters.get("OFMT", "csv") != "csv":
            raise RequestProblemError(f"ofmt: csv only, found {exchange.parameters['OFMT']}")
        reply = await run_in_threadpool(
            tap.database.query, _query(exchange), {}, tap.limits.output_hard, Running()
        )
        return Response(documents.csv(exchange.send(reply)), media_type="text/csv")

    routes = [*tap.service().routes, Route("/query/query", query, methods=["GET", "POST"])]
    return Service("nsc", routes, read, documents.votable_error)


def _query(exchange: Exchange) -> str:
    for name in ("ADQL", "SQL"):
        if name in exchange.parameters:
            return exchange.parameters[name]
    raise RequestProblemError("one of sql and adql is needed")
