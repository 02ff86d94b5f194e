"""NED's object search, as far as it lists the objects of a publication."""

from pathlib import Path
from xml.sax.saxutils import quoteattr

import pyarrow.compute as pc
import pyarrow.parquet as pq
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from laboratory import documents
from laboratory.damage import Reply
from laboratory.exchange import Exchange, RequestProblemError, Service, exchange_of

XML_TYPE = "text/xml"


def service(folder: Path) -> Service:
    """Return the service over ``objects.parquet``."""
    objects = pq.read_table(folder / "objects.parquet")

    async def answer(request: Request) -> Response:
        exchange = exchange_of(request)
        if exchange.parameters.get("OF") != "xml_main":
            raise RequestProblemError("of: xml_main only")
        refcode = exchange.parameters.get("REFCODE", "")
        found = objects.filter(pc.equal(objects["refcode"], refcode)).drop_columns(["refcode"])
        if not found.num_rows:
            raise RequestProblemError(f"No objects found for refcode {refcode}.")
        reply = exchange.send(Reply(found))
        document = await run_in_threadpool(documents.votable, reply, binary=False)
        # NED writes the unit out.
        return Response(document.replace(b'unit="deg"', b'unit="degrees"'), media_type=XML_TYPE)

    return Service("ned", [Route("/objsearch", answer, methods=["GET"])], _read, _error)


def _read(exchange: Exchange) -> None:
    if "REFCODE" in exchange.parameters:
        exchange.targets.append(exchange.parameters["REFCODE"])


def _error(message: str, status: int = 400) -> Response:
    """Return a message as NED does: a parameter of an answer."""
    values = {"queryDateTime": "2026-01-01T00:00:00PST", "Error": message}
    params = "".join(
        f'<PARAM name="{name}" datatype="char" arraysize="*" value={quoteattr(value)}/>\n'
        for name, value in values.items()
    )
    status = 200 if status == 400 else status
    return Response(documents.HEAD + params + documents.TAIL, status, media_type=XML_TYPE)
