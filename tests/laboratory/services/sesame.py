"""Sesame, which resolves names; answers are plain text."""

from pathlib import Path
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from laboratory import documents
from laboratory.damage import Reply
from laboratory.exchange import Exchange, Service, exchange_of


def service(folder: Path) -> Service:
    """Return the service over ``names.parquet``."""
    names = pq.read_table(folder / "names.parquet")
    rows = {_folded(name): row for row, name in enumerate(names["name"].to_pylist())}

    async def answer(request: Request) -> Response:
        exchange = exchange_of(request)
        name = unquote(request.url.query)
        row = rows.get(_folded(name))
        found = names.slice(0, 0) if row is None else names.slice(row, 1)
        return PlainTextResponse(_document(name, exchange.send(Reply(found)).table))

    return Service("sesame", [Route("/{databases}", answer)], _read, documents.text_error)


def _read(exchange: Exchange) -> None:
    # A name is the whole of the query, without a key.
    exchange.targets += [key + (f"={value}" if value else "") for key, value in exchange.pairs]


def _folded(name: str) -> str:
    return "".join(name.split()).casefold()


def _document(name: str, found: pa.Table) -> str:
    lines = [f"# {name}\t#Q1"]
    for row in found.to_pylist():
        lines += [
            "#=S=Simbad (via url):    1",
            f"%I.0 {row['main_id']}",
            "%C.0 QSO",
            f"%J {row['ra']:.7f} {row['dec']:+.7f} = (sexagesimal)",
        ]
    if not found.num_rows:
        lines += ["#=Simbad:    0", "#!Sesame: nothing found"]
    return "\n".join([*lines, "#====Done====", ""])
