"""Kowalski: the alerts of ZTF as documents, searched around positions and by filters."""

import ast
import contextlib
import json
import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from laboratory.damage import Reply
from laboratory.exchange import Exchange, RequestProblemError, Service, exchange_of
from laboratory.mongo import Document, QueryError, center_sphere, matches, project, sorted_by
from lightloom.sky.moving.ephemeris import unit_vectors

CATALOGUE = "ZTF_alerts"
#: Largest body of a request [bytes].
LARGEST_BODY = 2**20
#: Longest time [ms] of a query that names none.
MAX_TIME_MS = 300_000
#: Time [s] for which a token that is given out can be used.
TOKEN_LIFETIME_S = 3600.0
#: Divides a token from the time (Unix) at which it expires.
EXPIRY_MARK = "@"
DEGREES = {"arcsec": 1 / 3600, "arcmin": 1 / 60, "deg": 1.0, "rad": float(np.degrees(1))}
#: Largest distance [rad] of a search for neighbours that names none: 1 arcmin.
NEAR_RAD = np.radians(1 / 60)
#: Where documents have their position, and the time at which the exposure began.
POSITION, TIME = "coordinates.radec_geojson", "candidate.jd"
#: Columns of the alerts that are not part of the candidate.
OUTER = ("_healpix_29", "objectId")


@dataclass(frozen=True)
class Found:
    """Documents of one searched position, or of a whole query (without a name)."""

    name: str
    documents: list[Document]


class Alerts:
    """The documents of the catalogue.

    Parameters
    ----------
    path : Path
        Parquet file with a row per alert.
    """

    def __init__(self, path: Path) -> None:
        # In the order of declination, so that a search looks at a band of it.
        self._table = pq.read_table(path).sort_by("dec")
        self._dec_deg = self._table["dec"].to_numpy()
        self._vectors = unit_vectors(self._table["ra"].to_numpy(), self._dec_deg)

    @cached_property
    def documents(self) -> list[Document]:
        """All documents; made when they are first asked for, not when the server starts."""
        return [_document(row) for row in self._table.to_pylist()]

    def around(
        self, ra_deg: float, dec_deg: float, radius_deg: float, least_deg: float = 0.0
    ) -> list[Document]:
        """Return the documents within a distance, nearest first."""
        rows = self._rows_around(ra_deg, dec_deg, radius_deg, least_deg)
        return [self.documents[row] for row in rows]

    def fitting(self, conditions: Mapping[str, Any]) -> list[Document]:
        """Return the documents that pass a filter, in the order of the catalogue."""
        return [self.documents[row] for row in sorted(self._rows_fitting(conditions))]

    def _rows_fitting(self, conditions: Mapping[str, Any]) -> set[int]:
        """Return the rows of documents that pass a filter; circles are looked up, not tried."""
        rest = dict(conditions)
        place, any_of, all_of = (rest.get(key) for key in (POSITION, "$or", "$and"))
        if isinstance(place, Mapping) and "$geoWithin" in place:
            (longitude_deg, dec_deg), radius_rad = center_sphere(place["$geoWithin"])
            radius_deg = np.degrees(radius_rad) * (1 + 1e-9)
            rows = set(self._rows_around(longitude_deg + 180, dec_deg, radius_deg))
        elif isinstance(any_of, list) and any_of:
            rows = set().union(*(self._rows_fitting(part) for part in any_of))
            del rest["$or"]
        elif isinstance(all_of, list) and all_of:
            rows = set.intersection(*(self._rows_fitting(part) for part in all_of))
            del rest["$and"]
        else:
            rows = set(range(len(self.documents)))
        return {row for row in rows if matches(self.documents[row], rest)}

    def _rows_around(
        self, ra_deg: float, dec_deg: float, radius_deg: float, least_deg: float = 0.0
    ) -> list[int]:
        centre = unit_vectors(np.array([ra_deg]), np.array([dec_deg]))[0]
        widest, least = (
            2 * np.sin(np.radians(min(angle, 180.0)) / 2) for angle in (radius_deg, least_deg)
        )
        band = np.searchsorted(self._dec_deg, [dec_deg - radius_deg, dec_deg + radius_deg])
        near = np.arange(band[0], band[1])
        chord = np.linalg.norm(self._vectors[near] - centre, axis=-1)
        near, chord = (values[(chord <= widest) & (chord >= least)] for values in (near, chord))
        rows: list[int] = near[np.lexsort((near, chord))].tolist()
        return rows


def service(folder: Path) -> Service:
    """Return the service over ``ZTF_alerts.parquet``."""
    alerts = Alerts(folder / f"{CATALOGUE}.parquet")

    async def queries(request: Request) -> Response:
        exchange = exchange_of(request)
        if len(exchange.body) > LARGEST_BODY:
            return PlainTextResponse(
                f"Maximum request body size {LARGEST_BODY} exceeded, "
                f"actual body size {len(exchange.body)}",
                413,
            )
        asked = _asked(exchange)
        kwargs = asked.get("kwargs") or {}
        limit_ms = int(kwargs.get("max_time_ms", MAX_TIME_MS))
        if limit_ms < 1:
            raise RequestProblemError("ValueError: max_time_ms must be int >= 1")
        await run_in_threadpool(time.sleep, min(exchange.job_seconds, limit_ms / 1000))
        if exchange.job_seconds > limit_ms / 1000:
            raise RequestProblemError("ExecutionTimeout: operation exceeded time limit")
        data = await run_in_threadpool(_answer, alerts, exchange, asked)
        return JSONResponse(
            {"status": "success", "message": "Successfully executed query", "data": data}
        )

    async def ping(request: Request) -> Response:
        exchange_of(request)
        return JSONResponse({"status": "success", "message": "greetings from Kowalski!"})

    async def login(request: Request) -> Response:
        # Whoever has the right password is answered before, if a token is demanded.
        return JSONResponse({"status": "success", "token": "not needed"})

    routes = [
        Route("/", ping, methods=["GET"]),
        Route("/api/auth", login, methods=["POST"]),
        Route("/api/queries", queries, methods=["POST"]),
    ]
    return Service("kowalski", routes, _read, _error, _authenticate)


def _authenticate(exchange: Exchange, token: str) -> Response | None:
    """Let a token pass that has not expired; give one out for the right password."""
    if exchange.path == "/api/auth":
        if not secrets.compare_digest(str(_asked(exchange).get("password")), token):
            return _error("wrong credentials", 400)
        until_s = time.time() + TOKEN_LIFETIME_S
        return JSONResponse({"status": "success", "token": f"{token}{EXPIRY_MARK}{until_s:.0f}"})
    given = exchange.headers.get("authorization", "").removeprefix("Bearer ").strip()
    if not given:
        return _error("Unauthorized", 401)
    known, _, until = given.partition(EXPIRY_MARK)
    if not secrets.compare_digest(known, token) or (until and not until.isdigit()):
        return _error("token is invalid", 400)
    if until and int(until) < time.time():
        return _error("token has expired", 400)
    return None


def _error(message: str, status: int) -> Response:
    return JSONResponse({"status": "error", "message": message}, 200 if status == 200 else status)


def _read(exchange: Exchange) -> None:
    if exchange.path != "/api/queries" or len(exchange.body) > LARGEST_BODY:
        return
    query = _asked(exchange).get("query") or {}
    radec = query.get("object_coordinates", query).get("radec")
    if radec is not None:
        for name, (ra_deg, dec_deg) in _positions(radec):
            exchange.targets += [name, f"{ra_deg} {dec_deg}"]
    conditions = list(_conditions(query))
    for part in conditions:
        if isinstance(part.get(POSITION), Mapping):
            # The answer says what is wrong with a circle.
            with contextlib.suppress(QueryError):
                (longitude_deg, dec_deg), _ = center_sphere(part[POSITION].get("$geoWithin"))
                exchange.targets.append(f"{longitude_deg + 180} {dec_deg}")
    exchange.times += [
        str(bound)
        for part in conditions
        if isinstance(part.get(TIME), Mapping)
        for bound in part[TIME].values()
    ]


def _conditions(value: Any) -> Iterator[Mapping[str, Any]]:
    """Yield all objects in a query, however deep."""
    if isinstance(value, Mapping):
        yield value
    for part in value.values() if isinstance(value, Mapping) else value:
        if isinstance(part, Mapping | list):
            yield from _conditions(part)


def _asked(exchange: Exchange) -> dict[str, Any]:
    try:
        asked = json.loads(exchange.body)
    except ValueError as error:
        raise RequestProblemError(f"{type(error).__name__}: {error}") from error
    if not isinstance(asked, dict):
        raise RequestProblemError("TypeError: expected an object")
    return asked


def _answer(alerts: Alerts, exchange: Exchange, asked: dict[str, Any]) -> Any:
    kind, query = asked.get("query_type"), asked.get("query") or {}
    kwargs = asked.get("kwargs") or {}
    if kind not in QUERIES:
        raise RequestProblemError(f"KeyError: query_type {kind} not in {tuple(QUERIES)}")
    try:
        return QUERIES[kind](alerts, exchange, query, kwargs)
    except QueryError as error:
        raise RequestProblemError(f"OperationFailure: {error}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise RequestProblemError(f"{type(error).__name__}: {error}") from error


def _cone_search(
    alerts: Alerts, exchange: Exchange, query: dict[str, Any], kwargs: dict[str, Any]
) -> Any:
    coordinates = query["object_coordinates"]
    unit = DEGREES[coordinates["cone_search_unit"]]
    radius_deg = float(coordinates["cone_search_radius"]) * unit
    return _around(alerts, exchange, query, kwargs, coordinates["radec"], (0.0, radius_deg))


def _near(alerts: Alerts, exchange: Exchange, query: dict[str, Any], kwargs: dict[str, Any]) -> Any:
    unit = DEGREES[query.get("distance_units", "rad")]
    least, most = query.get("min_distance", 0.0), query.get("max_distance", NEAR_RAD)
    limits_deg = (float(least) * unit, float(most) * unit)
    return _around(alerts, exchange, query, kwargs, query["radec"], limits_deg)


def _around(
    alerts: Alerts,
    exchange: Exchange,
    query: dict[str, Any],
    kwargs: dict[str, Any],
    radec: Any,
    limits_deg: tuple[float, float],
) -> Any:
    data = {}
    least_deg, most_deg = limits_deg
    for catalogue, options in query["catalogs"].items():
        _check_catalogue(catalogue)
        conditions = _mapping(options.get("filter", {}))
        found = [
            Found(
                name.replace(".", "_"),
                _part(
                    [
                        document
                        for document in alerts.around(*position, most_deg, least_deg)
                        if matches(document, conditions)
                    ],
                    kwargs,
                ),
            )
            for name, position in _positions(radec)
        ]
        sent = _sent(exchange, found)
        projection = _mapping(options.get("projection") or {})
        data[catalogue] = {
            part.name: [project(document, projection) for document in part.documents]
            for part in sent
        }
    return data


def _find(
    alerts: Alerts, exchange: Exchange, query: dict[str, Any], kwargs: dict[str, Any]
) -> list[dict[str, Any]]:
    _check_catalogue(query["catalog"])
    found = _part(alerts.fitting(_mapping(query["filter"])), kwargs)
    (sent,) = _sent(exchange, [Found("", found)])
    projection = _mapping(query.get("projection") or {})
    return [project(document, projection) for document in sent.documents]


def _find_one(
    alerts: Alerts, exchange: Exchange, query: dict[str, Any], kwargs: dict[str, Any]
) -> dict[str, Any] | None:
    found = _find(alerts, exchange, {**query, "projection": {}}, {**kwargs, "limit": 1})
    return found[0] if found else None


def _count(
    alerts: Alerts, exchange: Exchange, query: dict[str, Any], kwargs: dict[str, Any]
) -> int:
    _check_catalogue(query["catalog"])
    return len(_part(alerts.fitting(_mapping(query["filter"])), kwargs))


def _estimated_count(
    alerts: Alerts, exchange: Exchange, query: dict[str, Any], kwargs: dict[str, Any]
) -> int:
    _check_catalogue(query["catalog"])
    return len(alerts.documents)


def _info(alerts: Alerts, exchange: Exchange, query: dict[str, Any], kwargs: dict[str, Any]) -> Any:
    command = query.get("command")
    if command == "catalog_names":
        return [CATALOGUE]
    if command == "db_info":
        return {"collections": 1, "objects": len(alerts.documents)}
    if command == "catalog_info":
        _check_catalogue(query["catalog"])
        return {"ns": f"kowalski.{CATALOGUE}", "count": len(alerts.documents)}
    raise KeyError(f"command {command} is not known here")


QUERIES = {
    "cone_search": _cone_search,
    "count_documents": _count,
    "estimated_document_count": _estimated_count,
    "find": _find,
    "find_one": _find_one,
    "info": _info,
    "near": _near,
}


def _check_catalogue(name: str) -> None:
    if name.strip() != CATALOGUE:
        raise ValueError(f"there is no catalogue {name}")


def _mapping(value: Any) -> Mapping[str, Any]:
    """Return a filter or projection, that may be written as a text."""
    if isinstance(value, str):
        value = ast.literal_eval(value.strip())
    if not isinstance(value, Mapping):
        raise ValueError("Unsupported filter specification")
    return value


def _positions(radec: Any) -> list[tuple[str, tuple[float, float]]]:
    """Return names and positions [deg] of an object, a list, or the text of either."""
    try:
        if isinstance(radec, str):
            radec = ast.literal_eval(radec.strip())
        pairs = radec.items() if isinstance(radec, Mapping) else [(str(p), p) for p in radec]
        return [(str(name), (float(ra), float(dec))) for name, (ra, dec) in pairs]
    except (SyntaxError, TypeError, ValueError) as error:
        raise RequestProblemError(f"ValueError: Unsupported object coordinates: {error}") from error


def _part(found: list[Document], kwargs: Mapping[str, Any]) -> list[Document]:
    """Return the part of the documents that is asked for, in the order asked for."""
    if order := kwargs.get("sort"):
        found = sorted_by(found, order)
    skip, limit = int(kwargs.get("skip") or 0), int(kwargs.get("limit") or 0)
    return found[skip : skip + limit] if limit else found[skip:]


def _sent(exchange: Exchange, found: list[Found]) -> list[Found]:
    """Apply the fault to the documents, as rows, and note their number."""
    entries = [(i, document) for i, part in enumerate(found) for document in part.documents]
    rows = pa.table(
        {
            "part": pa.array([i for i, _ in entries], pa.float64()),
            "row": pa.array(range(len(entries)), pa.float64()),
            "candid": pa.array([document["candid"] for _, document in entries], pa.int64()),
            "ra": pa.array([document["candidate"]["ra"] for _, document in entries], pa.float64()),
            "dec": pa.array(
                [document["candidate"]["dec"] for _, document in entries], pa.float64()
            ),
            "object": pa.array([found[i].name for i, _ in entries], pa.string()),
        }
    )
    left = exchange.send(Reply(rows)).table["row"].to_pylist()
    documents: dict[int, list[Document]] = {}
    for row in left:
        i, document = entries[int(row)]
        documents.setdefault(i, []).append(document)
    return [Found(part.name, documents.get(i, [])) for i, part in enumerate(found)]


def _document(row: dict[str, Any]) -> Document:
    return {
        "_id": f"{row['candid']:024x}",
        "schemavsn": "3.3",
        "publisher": "embedded sky",
        "objectId": row["objectId"],
        "candid": row["candid"],
        "candidate": {name: value for name, value in row.items() if name not in OUTER},
        "coordinates": {
            "radec_geojson": {"type": "Point", "coordinates": [row["ra"] - 180, row["dec"]]}
        },
        "classifications": {"braai": row["drb"], "braai_version": "d6_m9"},
    }
