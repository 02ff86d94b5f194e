"""VizieR's interface for programs (ASU), as far as it gives whole tables of a catalogue."""

from pathlib import Path
from xml.sax.saxutils import quoteattr

import pyarrow as pa
import pyarrow.parquet as pq
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from laboratory import documents
from laboratory.damage import Reply
from laboratory.exchange import Exchange, RequestProblemError, Service, exchange_of

#: Rows of a reply whose request says nothing of them.
DEFAULT_ROWS = 50


def service(folder: Path) -> Service:
    """Return the service over tables that carry their name in their metadata."""
    tables = {}
    for path in sorted(folder.glob("*.parquet")):
        table = pq.read_table(path)
        tables[table.schema.metadata[b"name"].decode()] = table

    async def answer(request: Request) -> Response:
        exchange = exchange_of(request)
        asked = _asked(exchange)
        source = asked.get("-source", "")
        found = {
            name: table
            for name, table in tables.items()
            if name == source or name.startswith(f"{source}/")
        }
        if not found:
            return documents.votable_error(f"catalogue {source} was not found", 200)
        parts = [_resource(exchange, name, table, asked) for name, table in found.items()]
        document = _HEAD + b"".join(parts) + b"</VOTABLE>\n"
        return Response(document, media_type="text/xml")

    routes = [Route("/votable", answer, methods=["GET", "POST"])]
    return Service("vizier", routes, _read, documents.votable_error)


_HEAD = documents.HEAD.partition("<RESOURCE")[0].encode()


def _resource(exchange: Exchange, name: str, table: pa.Table, asked: dict[str, str]) -> bytes:
    limit = asked.get("-out.max", str(DEFAULT_ROWS))
    rows = table.num_rows if limit == "unlimited" else int(limit)
    added = {column for key in ("-out.add", "-out") for column in asked.get(key, "").split(",")}
    computed = {"_RAJ2000", "_DEJ2000"}
    kept = [one for one in table.column_names if one not in computed - added]
    if "-out.all" not in asked:
        kept = [one for one in kept if one in added]
    document = documents.votable(
        exchange.send(Reply(table.select(kept).slice(0, rows))), binary=False
    )
    inner = document[document.index(b"<RESOURCE") : document.index(b"</VOTABLE>")]
    return inner.replace(b"<TABLE>", f"<TABLE name={quoteattr(name)}>".encode(), 1)


def _read(exchange: Exchange) -> None:
    exchange.targets += filter(None, [_asked(exchange).get("-source")])


def _asked(exchange: Exchange) -> dict[str, str]:
    """Return the parameters: a line each, some of them without a value."""
    if exchange.method == "GET":
        return dict(exchange.pairs)
    try:
        lines = exchange.body.decode().replace("&", "\n").splitlines()
    except UnicodeDecodeError as error:
        raise RequestProblemError(f"the request is no text: {error}") from error
    return {line.partition("=")[0]: line.partition("=")[2] for line in lines}
