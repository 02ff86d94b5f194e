"""The Hubble Catalog of Variables in the catalogue API of MAST."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from laboratory import documents
from laboratory.damage import Reply, positions_of, separation_deg
from laboratory.exchange import Exchange, RequestProblemError, Service, exchange_of

PREFIX = "/api/v0.1/hsc/v3"
#: Largest radius [deg] of a search.
LARGEST_RADIUS_DEG = 0.5
#: Rows of a page when the request names no size.
PAGE_ROWS = 5000
LARGEST_PAGE_ROWS = 50_000
COMPARISONS = {
    "gt": pc.greater,
    "gte": pc.greater_equal,
    "lt": pc.less,
    "lte": pc.less_equal,
    "eq": pc.equal,
    "neq": pc.not_equal,
}
CONTROLS = frozenset({"RA", "DEC", "RADIUS", "COLUMNS", "PAGESIZE", "PAGE", "SORT_BY"})


def service(folder: Path) -> Service:
    """Return the service over ``hcvsummary.parquet`` and ``hcv.parquet``."""
    tables = {
        "hcvsummary/magaper2": pq.read_table(folder / "hcvsummary.parquet"),
        "hcv": pq.read_table(folder / "hcv.parquet"),
    }

    async def answer(request: Request) -> Response:
        exchange = exchange_of(request)
        path = exchange.path.removeprefix(PREFIX + "/")
        name, _, form = path.rpartition(".")
        reply = await run_in_threadpool(select, tables[name], exchange.parameters)
        return await run_in_threadpool(_document, exchange.send(reply), form)

    routes = [
        Route(f"{PREFIX}/{name}.{form}", answer, methods=["GET", "POST"])
        for name in tables
        for form in ("csv", "json", "votable")
    ]
    return Service("hcv", routes, _read, documents.text_error)


def select(table: pa.Table, parameters: dict[str, str]) -> Reply:
    """Apply position, filters, order, columns and page of a request.

    Parameters
    ----------
    table : pyarrow.Table
        All rows.
    parameters : dict of str to str
        Names in upper case: RA, DEC, RADIUS [deg], COLUMNS, PAGESIZE, PAGE, SORT_BY; all
        others are columns, with an operator after a dot (``MeanMag.gte=20``) or without.

    Raises
    ------
    RequestProblemError
        A column or operator is unknown, a value is no number, the radius is too large.
    """
    if "RA" in parameters:
        table = _near(table, parameters)
    for key, text in parameters.items():
        if key not in CONTROLS:
            table = table.filter(_condition(table, key, text))
    if order := parameters.get("SORT_BY"):
        keys = [entry.strip() for entry in order.split(",")]
        table = table.sort_by([(_column(table, k.lstrip("-")), _direction(k)) for k in keys])
    if wanted := _list(parameters.get("COLUMNS", "")):
        table = table.select([_column(table, name) for name in wanted])
    size = min(int(_number(parameters, "PAGESIZE", PAGE_ROWS)), LARGEST_PAGE_ROWS)
    page = int(_number(parameters, "PAGE", 1))
    return Reply(table.slice((page - 1) * size, size))


def _read(exchange: Exchange) -> None:
    parameters = exchange.parameters
    if "RA" in parameters and "DEC" in parameters:
        exchange.targets.append(f"{parameters['RA']} {parameters['DEC']}")
    exchange.targets += _list(parameters.get("MATCHID", ""))


def _near(table: pa.Table, parameters: dict[str, str]) -> pa.Table:
    positions = positions_of(table)
    if positions is None:
        raise RequestProblemError("this table has no positions")
    radius_deg = _number(parameters, "RADIUS", 0.0)
    if not 0 < radius_deg <= LARGEST_RADIUS_DEG:
        raise RequestProblemError(f"radius: above 0 and up to {LARGEST_RADIUS_DEG} deg")
    ra_deg, dec_deg = _number(parameters, "RA"), _number(parameters, "DEC")
    distance_deg = separation_deg(*positions, ra_deg, dec_deg)
    inside = distance_deg <= radius_deg
    order = np.argsort(distance_deg[inside], kind="stable")
    return table.filter(pa.array(inside)).take(order)


def _condition(table: pa.Table, key: str, text: str) -> pa.ChunkedArray:
    name, _, operator = key.partition(".")
    if operator.lower() not in {"", *COMPARISONS}:
        raise RequestProblemError(f"unknown operator .{operator.lower()}")
    column = table[_column(table, name)]
    try:
        values = [pa.scalar(part).cast(column.type) for part in _list(text)]
    except pa.ArrowInvalid as error:
        raise RequestProblemError(f"{name}={text}: {error}") from error
    if not operator:
        return pc.is_in(column, pa.array([v.as_py() for v in values], column.type))
    if len(values) != 1:
        raise RequestProblemError(f"{key}: expected one value, found {text!r}")
    return pc.fill_null(COMPARISONS[operator.lower()](column, values[0]), False)


def _column(table: pa.Table, name: str) -> str:
    for known in table.column_names:
        if known.lower() == name.lower():
            return known
    raise RequestProblemError(f"unknown column {name}; columns: {', '.join(table.column_names)}")


def _direction(key: str) -> str:
    return "descending" if key.startswith("-") else "ascending"


def _list(text: str) -> list[str]:
    return [part.strip(" \"'") for part in text.strip("[]").split(",") if part.strip(" \"'")]


def _number(parameters: dict[str, str], name: str, default: float | None = None) -> float:
    text = parameters.get(name, default)
    try:
        return float(text)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise RequestProblemError(f"{name.lower()}: expected a number, found {text}") from error


def _document(reply: Reply, form: str) -> Response:
    if form == "csv":
        return Response(documents.csv(reply), media_type="text/csv")
    if form == "votable":
        return Response(documents.votable(reply, binary=False), media_type=documents.VOTABLE)
    info = [
        {"name": field.name, "type": str(field.type), "unit": documents.metadata_of(field, "unit")}
        for field in reply.table.schema
    ]
    columns = [map(documents.json_value, column.to_pylist()) for column in reply.table.columns]
    return JSONResponse({"info": info, "data": [list(row) for row in zip(*columns, strict=True)]})
