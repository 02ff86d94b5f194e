"""Alerts of a Kowalski broker, by penquins: cones along the tracks, in batches."""

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

_log = logging.getLogger(__name__)


class Kowalski:
    """Asks a Kowalski for the alerts in cones.

    Parameters
    ----------
    spec : ServiceSpec
    state : Path
        Folder in which the jobs keep to the limits together.
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
        Most alerts for a cone: an answer with as many counts as cut off.
    exposure_s, time_point
        As `alert_table` takes them.
    """

    def __init__(
        self,
        spec: ServiceSpec,
        state: Path,
        *,
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
        """Return the query for some cones, which have one radius and one range of time."""
        start = min(cone.start_mjd for cone in cones) - _LONGEST_D + _MJD_ZERO_JD
        stop = max(cone.stop_mjd for cone in cones) + _MJD_ZERO_JD
        fields = {"_id": 0, "candid": 1, "objectId": 1}
        return {
            "query_type": "cone_search",
            "query": {
                "object_coordinates": {
                    "cone_search_radius": math.ceil(max(one.radius_arcsec for one in cones)),
                    "cone_search_unit": "arcsec",
                    "radec": {
                        f"cone{number}": [cone.ra_deg, cone.dec_deg]
                        for number, cone in enumerate(cones)
                    },
                },
                "catalogs": {
                    self._catalog: {
                        "filter": {
                            **self._filter,
                            "candidate.jd": {"$gte": start, "$lt": stop},
                        },
                        "projection": {
                            **fields,
                            **{f"candidate.{name}": 1 for name in self._projection},
                        },
                    }
                },
            },
            "kwargs": {"filter_first": False, "limit": self._limits[2]},
        }

    def batches(self, cones: Sequence[Cone]) -> Iterator[list[Cone]]:
        """Divide cones into requests: of similar size, and small enough for the server."""
        most_bytes, most_cones, _ = self._limits
        by_size: dict[int, list[Cone]] = {}
        for cone in cones:
            by_size.setdefault(math.ceil(math.log2(cone.radius_arcsec)), []).append(cone)
        for alike in by_size.values():
            batch: list[Cone] = []
            n_bytes = fixed = len(json.dumps(self.query(alike[:1])))
            for cone in sorted(alike, key=lambda one: one.start_mjd):
                size = len(json.dumps([cone.ra_deg, cone.dec_deg])) + 20
                if batch and (n_bytes + size > most_bytes or len(batch) >= most_cones):
                    yield batch
                    batch, n_bytes = [], fixed
                batch.append(cone)
                n_bytes += size
            yield batch

    def alerts(self, cones: Sequence[Cone], window: Window) -> pa.Table:
        """Return the alerts (``ALERT``) of a window in a batch of cones, each once.

        Raises
        ------
        ArchiveError
            If the service fails, refuses, cuts off, or answers without data.
        """
        with archive_errors():
            try:
                reply = self._kowalski.single_query((self.query(cones), _INSTANCE))[_INSTANCE]
            except (BSONError, json.JSONDecodeError) as error:
                raise TransientArchiveError(f"{self._spec.name}: not JSON ({error})") from error
            except BadRequestError as error:
                # Kowalski says so with the status of a wrong request.
                if "token" in str(error).casefold():
                    raise AuthenticationError(str(error), status=error.status) from error
                raise
        rows = [_by_role(document) for document in self._documents(reply)]
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

    def _documents(self, reply: Any) -> list[dict[str, Any]]:
        name = self._spec.name
        if not isinstance(reply, dict) or reply.get("status") != "success":
            said = reply.get("message", reply) if isinstance(reply, dict) else reply
            raise BadRequestError(f"{name}: Kowalski answered with an error: {str(said)[:300]}")
        if reply.get("data") is None:
            raise ArchiveSchemaError(
                f"{name}: Kowalski's reply says success but has no data, only"
                f" {', '.join(sorted(reply))}"
            )
        try:
            found = reply["data"][self._catalog]
            lists = list(found.values())
        except (KeyError, TypeError, AttributeError) as error:
            raise ArchiveSchemaError(
                f"{name}: Kowalski's reply has no alerts of {self._catalog} ({error!r})"
            ) from error
        if any(not isinstance(one, list) for one in lists):
            raise ArchiveSchemaError(f"{name}: Kowalski's reply has cones without a list of alerts")
        full = sum(len(one) >= self._limits[2] for one in lists)
        if full:
            raise TruncatedAnswerError(
                f"{name}: {full} cones have {self._limits[2]} alerts, the most that a cone may"
                " have: raise most_alerts, or lower cone_radius_arcsec"
            )
        return [document for one in lists for document in one]


def _by_role(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a document that are used, by their role."""
    candidate = document.get("candidate", {})
    values = {role: candidate[name] for role, name in FIELDS.items() if name in candidate}
    return {
        **values,
        "candid": document.get("candid"),
        "alert_object": document.get("objectId"),
    }
