"""SkyServer of the SDSS: SQL queries, answered in CSV."""

from pathlib import Path

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from laboratory import documents
from laboratory.adql import constant_targets
from laboratory.database import Database, Running
from laboratory.exchange import Exchange, RequestProblemError, Service, exchange_of

#: Rows of a reply; the real one gives 500,000.
MOST_ROWS = 1000


def service(folder: Path) -> Service:
    """Return the service over ``SpecObj``; all data releases are the same."""
    database = Database(folder, default_schema="dbo")

    async def search(request: Request) -> Response:
        exchange = exchange_of(request)
        if exchange.parameters.get("FORMAT") != "csv":
            raise RequestProblemError("format: csv only")
        query = exchange.parameters.get("CMD", "")
        reply = await run_in_threadpool(database.query, query, {}, MOST_ROWS, Running())
        # SkyServer names the table in a line before it, and says nothing of rows that it left out.
        content = b"#Table1\n" + documents.csv(exchange.send(reply))
        return Response(content, media_type="text/csv")

    path = "/{release}/en/tools/search/x_results.aspx"
    return Service("sdss", [Route(path, search, methods=["GET"])], _read, documents.text_error)


def _read(exchange: Exchange) -> None:
    exchange.targets += constant_targets(exchange.parameters.get("CMD", ""))
    exchange.alias = f"{exchange.path} {exchange.parameters.get('CMD', '')}"
