"""MAST: the portal's search (`invoke`), the look-up of names, and the files of products."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from laboratory import documents
from laboratory.damage import Reply
from laboratory.exchange import Exchange, RequestProblemError, Service, exchange_of
from laboratory.portal import Search, cone, count, filtered, products, resolve

SEARCHES: dict[str, Search] = {
    "Mast.Caom.Cone": cone,
    "Mast.Caom.Filtered": filtered,
    "Mast.Caom.Filtered.Position": filtered,
    "Mast.Caom.Products": products,
}
#: Types of columns as the portal names them, and as its configuration of columns does.
PORTAL_TYPES = {"bool": "boolean", "int32": "int", "int64": "int", "double": "float"}
#: Numbers that the portal calls strings; astroquery joins them with commas.
IDENTIFIERS = frozenset({"obsid", "obsID", "objID", "parent_obsid"})
VOT_TYPES = {"bool": "boolean", "int32": "int", "int64": "long", "double": "double"}


class Portal:
    """The endpoints over the tables of observations and products.

    Parameters
    ----------
    folder : Path
        With ``observations.parquet`` and ``products.parquet``. The columns `file` (path below
        the folder) and `cloud_key` (key in the bucket) of the products are not passed on.
    """

    def __init__(self, folder: Path) -> None:
        self.observations = pq.read_table(folder / "observations.parquet")
        listed = pq.read_table(folder / "products.parquet")
        uris = listed["dataURI"].to_pylist()
        files = zip(uris, listed["file"].to_pylist(), strict=True)
        keys = zip(uris, listed["cloud_key"].to_pylist(), strict=True)
        self.products = listed.drop_columns(["file", "cloud_key"])
        self._files = {uri: folder / path for uri, path in files if path is not None}
        self._keys = {uri: key for uri, key in keys if key is not None}
        self._asked: dict[str, float] = {}
        self._lock = threading.Lock()

    def service(self) -> Service:
        """Return the service with its routes."""
        both = ["GET", "POST"]
        files = ["GET", "HEAD", "POST"]
        routes = [
            Route("/api/v0/invoke", self._invoke, methods=both),
            Route("/portal/Mashup/Mashup.asmx/columnsconfig", self._columns, methods=both),
            Route("/Santa-war/query", self._resolve, methods=["GET"]),
            Route("/api/v0.1/Download/file", self._download, methods=files),
            Route("/api/v0.1/Download/file/{rest:path}", self._download, methods=files),
            Route("/api/v0.1/path_lookup/", self._paths, methods=both),
            Route("/api/v0.1/path_lookup", self._paths, methods=both),
        ]
        return Service("mast", routes, _read, documents.json_error)

    async def _invoke(self, request: Request) -> Response:
        exchange = exchange_of(request)
        asked = _mashup(exchange)
        if not self._is_done(exchange):
            return JSONResponse({"status": "EXECUTING", "msg": "", "data": [], "fields": []})
        name = asked.get("service", "")
        parameters = asked.get("params", {})
        if name == "Mast.Name.Lookup":
            found = resolve(self.observations, parameters.get("input", ""))
            return JSONResponse({"resolvedCoordinate": found, "status": ""})
        if name not in SEARCHES:
            raise RequestProblemError(f"unknown service {name}; services: {sorted(SEARCHES)}")
        table = self.products if name == "Mast.Caom.Products" else self.observations
        found = await run_in_threadpool(SEARCHES[name], table, parameters)
        if parameters.get("columns") == "COUNT_BIG(*)":
            found = count(found)
        size, page = int(asked.get("pagesize", 50_000)), int(asked.get("page", 1))
        return await run_in_threadpool(_page, exchange, found, size, page)

    def _is_done(self, exchange: Exchange) -> bool:
        """Whether a search that is made to take a while has had its time."""
        if exchange.job_seconds == 0:
            return True
        with self._lock:
            # A client asks again with the very same request until it is answered.
            first_s = self._asked.setdefault(exchange.parameters["REQUEST"], time.monotonic())
        return time.monotonic() - first_s >= exchange.job_seconds

    async def _columns(self, request: Request) -> Response:
        exchange = exchange_of(request)
        name = exchange.parameters.get("COLCONFIGID", "")
        schema = (self.products if name == "Mast.Caom.Products" else self.observations).schema
        return JSONResponse(
            {
                field.name: {
                    "text": field.name,
                    "vot.datatype": VOT_TYPES.get(str(field.type), "char"),
                    "vot.unit": documents.metadata_of(field, "unit"),
                    "vot.description": documents.metadata_of(field, "description"),
                }
                for field in schema
            }
        )

    async def _resolve(self, request: Request) -> Response:
        exchange = exchange_of(request)
        names = [value for key, value in exchange.pairs if key == "name"]
        found = [entry for name in names for entry in resolve(self.observations, name)]
        return JSONResponse({"resolvedCoordinate": found, "status": ""})

    async def _download(self, request: Request) -> Response:
        exchange = exchange_of(request)
        uri = exchange.parameters.get("URI", request.path_params.get("rest", ""))
        if uri not in self._files:
            raise RequestProblemError(f"there is no product {uri}", 404)
        return FileResponse(self._files[uri], filename=self._files[uri].name)

    async def _paths(self, request: Request) -> Response:
        exchange = exchange_of(request)
        found = {}
        for key, uri in exchange.pairs:
            if key == "uri":
                path = _archive_path(self._keys[uri]) if uri in self._keys else None
                found[uri] = {"status_code": 404 if path is None else 200, "path": path}
        return JSONResponse(found)


def service(folder: Path) -> Service:
    """Return the service over ``observations``, ``products`` and ``files``."""
    return Portal(folder).service()


def _archive_path(key: str) -> str:
    """Return the path in the archive of a key in the bucket; they differ for HLSPs."""
    if key.startswith("mast/"):
        return "/hlsp_local/public/" + key.removeprefix("mast/")
    return f"/{key}"


def _mashup(exchange: Exchange) -> dict[str, Any]:
    text = exchange.parameters.get("REQUEST")
    if text is None:
        raise RequestProblemError("the parameter request is missing")
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise RequestProblemError(f"request is no JSON: {error}") from error


def _read(exchange: Exchange) -> None:
    exchange.targets += [value for key, value in exchange.pairs if key in ("uri", "name")]
    if exchange.path != "/api/v0/invoke":
        return
    asked = _mashup(exchange)
    parameters = asked.get("params", {})
    readers: dict[str, Callable[[Any], list[str]]] = {
        "obsid": lambda value: str(value).split(","),
        "position": lambda value: [" ".join(str(value).replace(",", " ").split()[:2])],
        "input": lambda value: [str(value)],
        "ra": lambda value: [f"{value} {parameters.get('dec')}"],
        "filters": lambda value: [
            str(name)
            for entry in value
            if entry["paramName"] in ("target_name", "obs_id")
            for name in entry["values"]
        ],
    }
    for name, targets in readers.items():
        if name in parameters:
            exchange.targets += targets(parameters[name])
    # The rest of a request has no part in what a fault depends on.
    exchange.alias = f"{exchange.path} {asked.get('service')} {asked.get('page', 1)}"


def _portal_type(field: pa.Field) -> str:
    if field.name in IDENTIFIERS:
        return "string"
    return PORTAL_TYPES.get(str(field.type), "string")


def _page(exchange: Exchange, table: pa.Table, size: int, page: int) -> Response:
    total = table.num_rows
    reply = exchange.send(Reply(table.slice((page - 1) * size, size)))
    fields = [{"name": field.name, "type": _portal_type(field)} for field in reply.table.schema]
    columns = [map(documents.json_value, column.to_pylist()) for column in reply.table.columns]
    names = reply.table.column_names
    rows = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    paging = {
        "page": page,
        "pageSize": size,
        "pagesFiltered": max(1, -(-total // size)),
        "rows": len(rows),
        "rowsFiltered": total,
        "rowsTotal": total,
    }
    return JSONResponse(
        {"status": "COMPLETE", "msg": "", "data": rows, "fields": fields, "paging": paging}
    )
