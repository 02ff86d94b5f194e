"""The broker ALeRCE: objects of ZTF by their ids."""

from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from laboratory import documents
from laboratory.damage import Reply
from laboratory.exchange import Exchange, RequestProblemError, Service, exchange_of

DEFAULT_ROWS = 10


def service(folder: Path) -> Service:
    """Return the service over ``objects.parquet``."""
    objects = pq.read_table(folder / "objects.parquet")

    async def answer(request: Request) -> Response:
        exchange = exchange_of(request)
        ids = [value for key, value in exchange.pairs if key == "oid"]
        found = objects.filter(pc.is_in(objects["oid"], pa.array(ids))) if ids else objects
        size = _number(exchange, "PAGE_SIZE", DEFAULT_ROWS)
        page = _number(exchange, "PAGE", 1)
        reply = exchange.send(Reply(found.slice((page - 1) * size, size)))
        has_next = page * size < found.num_rows
        return JSONResponse(
            {
                "total": found.num_rows,
                "page": page,
                "has_next": has_next,
                "next": page + 1 if has_next else None,
                "has_prev": page > 1,
                "prev": page - 1 if page > 1 else None,
                "items": reply.table.to_pylist(),
            }
        )

    return Service("alerce", [Route("/objects", answer)], _read, documents.text_error)


def _read(exchange: Exchange) -> None:
    exchange.targets += [value for key, value in exchange.pairs if key == "oid"]


def _number(exchange: Exchange, name: str, default: int) -> int:
    text = exchange.parameters.get(name, str(default))
    if not text.isdigit() or int(text) < 1:
        raise RequestProblemError(f"{name.lower()}: expected a number from 1, found {text}")
    return int(text)
