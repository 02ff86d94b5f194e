"""Alerts of a Kowalski broker, by penquins: cones along the tracks, in batches.

Three of its queries find the alerts of a cone. ``cone_search`` and ``near`` (the nearest first)
take many cones of one radius and one range of time, ``find`` a condition in the language of
MongoDB, with a radius and a range of time for each cone.
"""

import json
import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import penquins
import pyarrow as pa
from bson.errors import BSONError

from lightloom.errors import (
    ArchiveSchemaError,
    AuthenticationError,
    BadRequestError,
    TransientArchiveError,
    TruncatedAnswerError,
)
from lightloom.moving.alerts import FIELDS, alert_table, distinct
from lightloom.moving.cones import Cone
from lightloom.moving.service import ServiceSpec
from lightloom.moving.windows import Window
from lightloom.services.http import archive_errors, service_session

_MJD_ZERO_JD = 2400000.5
#: Longest exposure: an alert may begin so long before its middle [d].
_LONGEST_D = 1.0 / 24.0
#: penquins keeps instances of Kowalski by their name.
_INSTANCE = "default"
#: What a cone takes in a query besides its own text: its name, and the signs between.
_NAME_BYTES = 20
#: Radius and times of several cones may have more digits than those of the first.
_SPARE_BYTES = 64

_log = logging.getLogger(__name__)


class Kowalski:
    """Asks a Kowalski for the alerts in cones.

    Parameters
    ----------
    spec : ServiceSpec
    state : Path
        Folder in which the jobs keep to the limits together.
    query_type : {'cone_search', 'near', 'find'}
    catalog : str
        Collection of alerts.
    query_filter : mapping
        Further conditions, in the language of MongoDB.
    projection : list of str
        Fields of the candidate to ask for.
    most_bytes : int
        Most bytes in the body of a request.
    most_cones : int
        Most cones in a request.
    most_alerts : int
        Most alerts in a cone, for ``find`` in an answer: one with as many counts as cut off.
    exposure_s, time_point
        As `alert_table` takes them.
    """

    def __init__(
        self,
        spec: ServiceSpec,
        state: Path,
        *,
        query_type: str,
        catalog: str,
        query_filter: Mapping[str, Any],
        projection: Sequence[str],
        most_bytes: int,
        most_cones: int,
        most_alerts: int,
        exposure_s: float,
        time_point: str,
    ) -> None:
        self._spec = spec
        self._query_type = query_type
        self._catalog = catalog
        self._filter = dict(query_filter)
        self._projection = list(projection) or [
            name for name in FIELDS.values() if name not in ("candid", "objectId")
        ]
        self._limits = (most_bytes, most_cones, most_alerts)
        self._exposure_s, self._time_point = exposure_s, time_point
        self._session = service_session(spec, state, scheme="", section="moving.sources")
        # Its constructor asks for the catalogues with a session of its own, without our limits.
        self._kowalski = penquins.Kowalski(instances={})
        self._kowalski.instances[_INSTANCE] = {
            "base_url": spec.endpoint.rstrip("/") + "/",
            "session": self._session,
            "headers": {},
        }

    @property
    def n_requests(self) -> int:
        """Requests made so far."""
        return self._session.reads.requests

    def query(self, cones: Sequence[Cone]) -> dict[str, Any]:
        """Return the query for some cones; all but ``find`` give them one radius and time."""
        projection = {"_id": 0, "candid": 1, "objectId": 1}
        projection |= {f"candidate.{name}": 1 for name in self._projection}
        # Joined by $and, as the filter may name the same fields.
        filters = [self._filter] if self._filter else []
        if self._query_type == "find":
            condition = {"$and": [{"$or": [_region(cone) for cone in cones]}, *filters]}
            query = {"catalog": self._catalog, "filter": condition, "projection": projection}
        else:
            condition = {"$and": [_times(cones), *filters]}
            catalogs = {self._catalog: {"filter": condition, "projection": projection}}
            query = {**self._circles(cones), "catalogs": catalogs}
        return {
            "query_type": self._query_type,
            "query": query,
            "kwargs": {"limit": self._limits[2]},
        }

    def batches(self, cones: Sequence[Cone]) -> Iterator[list[Cone]]:
        """Divide cones into requests: of similar size, and small enough for the server.

        Raises
        ------
        BadRequestError
            If filter and projection leave no room for a cone.
        """
        most_bytes, most_cones, _ = self._limits
        by_size: dict[int, list[Cone]] = {}
        for cone in sorted(cones, key=lambda one: one.start_mjd):
            size = 0 if self._query_type == "find" else math.ceil(math.log2(cone.radius_arcsec))
            by_size.setdefault(size, []).append(cone)
        for alike in by_size.values():
            fixed = len(json.dumps(self.query(alike[:1]))) + _SPARE_BYTES
            each = max(len(json.dumps(self._place(cone))) for cone in alike) + _NAME_BYTES
            n_fitting = (most_bytes - fixed) // each
            if n_fitting < 1:
                raise BadRequestError(
                    f"{self._spec.name}: found a query of {fixed + each} bytes for one cone,"
                    f" expected at most {most_bytes}: shorten filter or projection, or raise"
                    " most_bytes"
                )
            n_cones = min(n_fitting, most_cones)
            for start in range(0, len(alike), n_cones):
                yield alike[start : start + n_cones]

    def alerts(self, cones: Sequence[Cone], window: Window) -> pa.Table:
        """Return the alerts (``ALERT``) of a window in a batch of cones, each once.

        Raises
        ------
        ArchiveError
            If the service fails, refuses, cuts off, or answers without data.
        """
        rows = [_by_role(document) for document in self._documents(cones)]
        roles = {role for row in rows for role in row} or {"candid", "jd", "ra_deg", "dec_deg"}
        table = alert_table(
            {role: [row.get(role) for row in rows] for role in sorted(roles)},
            self._exposure_s,
            self._time_point,
            self._spec.name,
        )
        time = table["time_mjd"].to_numpy()
        inside = (time >= window.start_mjd) & (time < window.stop_mjd)
        return distinct(table.filter(pa.array(inside)))

    def _documents(self, cones: Sequence[Cone]) -> list[dict[str, Any]]:
        lists = self._lists(self._reply(cones), len(cones))
        n_full = sum(len(one) >= self._limits[2] for one in lists)
        if not n_full:
            return [document for one in lists for document in one]
        if self._query_type == "find" and len(cones) > 1:
            # The limit is one for all cones together: fewer of them have room.
            half = len(cones) // 2
            return self._documents(cones[:half]) + self._documents(cones[half:])
        raise TruncatedAnswerError(
            f"{self._spec.name}: {n_full} cones have {self._limits[2]} alerts, the most that a cone"
            " may have: raise most_alerts, or lower cone_radius_arcsec"
        )

    def _reply(self, cones: Sequence[Cone]) -> Any:
        with archive_errors():
            try:
                return self._kowalski.single_query((self.query(cones), _INSTANCE))[_INSTANCE]
            except (BSONError, json.JSONDecodeError) as error:
                raise TransientArchiveError(f"{self._spec.name}: not JSON ({error})") from error
            except BadRequestError as error:
                # Kowalski says so with the status of a wrong request.
                if "token" in str(error).casefold():
                    raise AuthenticationError(str(error), status=error.status) from error
                raise

    def _lists(self, reply: Any, n_cones: int) -> list[list[dict[str, Any]]]:
        """Return the documents in a reply, a list for each part that the limit holds for."""
        name = self._spec.name
        if not isinstance(reply, dict) or reply.get("status") != "success":
            said = reply.get("message", reply) if isinstance(reply, dict) else reply
            raise BadRequestError(f"{name}: Kowalski answered with an error: {str(said)[:300]}")
        data, is_one = reply.get("data"), self._query_type == "find"
        if data is None:
            raise ArchiveSchemaError(
                f"{name}: Kowalski's reply says success but has no data, only"
                f" {', '.join(sorted(reply))}"
            )
        try:
            lists = [data] if is_one else list(data[self._catalog].values())
        except (KeyError, TypeError, AttributeError) as error:
            raise ArchiveSchemaError(
                f"{name}: Kowalski's reply has no alerts of {self._catalog} ({error!r})"
            ) from error
        if any(not isinstance(one, list) for one in lists):
            raise ArchiveSchemaError(f"{name}: Kowalski's reply has no list of alerts for a cone")
        if not is_one and len(lists) != n_cones:
            raise ArchiveSchemaError(
                f"{name}: Kowalski's reply has {len(lists)} cones, expected {n_cones}"
            )
        return lists

    def _circles(self, cones: Sequence[Cone]) -> dict[str, Any]:
        radius_arcsec = math.ceil(max(one.radius_arcsec for one in cones))
        places = {f"cone{number}": self._place(one) for number, one in enumerate(cones)}
        if self._query_type == "near":
            return {"max_distance": radius_arcsec, "distance_units": "arcsec", "radec": places}
        return {
            "object_coordinates": {
                "cone_search_radius": radius_arcsec,
                "cone_search_unit": "arcsec",
                "radec": places,
            }
        }

    def _place(self, cone: Cone) -> Any:
        """Return what a query has of one cone."""
        return _region(cone) if self._query_type == "find" else [cone.ra_deg, cone.dec_deg]


def _times(cones: Sequence[Cone]) -> dict[str, Any]:
    """Return the condition on the start of exposures whose middle is at the times of cones."""
    start = min(cone.start_mjd for cone in cones) - _LONGEST_D + _MJD_ZERO_JD
    stop = max(cone.stop_mjd for cone in cones) + _MJD_ZERO_JD
    return {"candidate.jd": {"$gte": start, "$lt": stop}}


def _region(cone: Cone) -> dict[str, Any]:
    """Return the condition on place and time; Kowalski's longitudes are -180 to 180 degrees."""
    centre = [cone.ra_deg - 180.0, cone.dec_deg]
    radius_rad = math.radians(math.ceil(cone.radius_arcsec) / 3600.0)
    return {
        "coordinates.radec_geojson": {"$geoWithin": {"$centerSphere": [centre, radius_rad]}},
        **_times([cone]),
    }


def _by_role(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a document that are used, by their role."""
    candidate = document.get("candidate", {})
    values = {role: candidate[name] for role, name in FIELDS.items() if name in candidate}
    return {
        **values,
        "candid": document.get("candid"),
        "alert_object": document.get("objectId"),
    }
