"""Searches of the MAST portal: observations by position or name, and their products.

One address answers all of them to a JSON object in a form field
(https://mast.stsci.edu/api/v0/); astroquery.mast asks the same way. An answer comes in pages, and
it says how many rows belong to it.
"""

import hashlib
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from types import NoneType
from typing import Any

from requests import Response

from lightloom.errors import (
    ArchiveError,
    ArchiveSchemaError,
    TransientArchiveError,
    TruncatedAnswerError,
)
from lightloom.services.cones import Cone
from lightloom.services.http import ServiceSession
from lightloom.services.json_replies import json_reply, rows_of
from lightloom.services.replies import Exchange

Row = dict[str, Any]

_ANY = (str, int, float, NoneType)
_NUMBER = (int, float, NoneType)

#: No search of a shard's targets has more rows or pages.
_MOST_ROWS = 10_000_000

#: Columns that are used, and the types that their values may have.
_OBSERVATION_COLUMNS: dict[str, tuple[type, ...]] = {
    "obsid": _ANY,
    "target_name": _ANY,
    "s_ra": _NUMBER,
    "s_dec": _NUMBER,
    "provenance_name": _ANY,
    "t_exptime": _NUMBER,
    "sequence_number": _ANY,
}
_PRODUCT_COLUMNS: dict[str, tuple[type, ...]] = {
    "obsID": _ANY,
    "dataURI": (str,),
    "productFilename": (str,),
    "description": _ANY,
    "size": _NUMBER,
}


class MastPortal:
    """The portal's services.

    Parameters
    ----------
    session : ServiceSession
        Makes the requests, with all their limits.
    endpoint : str
        Root of the service, such as ``https://mast.stsci.edu``.
    page_rows : int
        Rows to ask for at a time.
    poll_s, timeout_s : float
        Time between two looks at a search that is still running, and for all of them [s].
    """

    def __init__(
        self,
        session: ServiceSession,
        endpoint: str,
        *,
        page_rows: int,
        poll_s: float,
        timeout_s: float,
    ) -> None:
        self._session = session
        self._url = f"{endpoint.rstrip('/')}/api/v0/invoke"
        self._page_rows = page_rows
        self._poll_s = poll_s
        self._timeout_s = timeout_s

    def observations_in(self, cone: Cone, criteria: Mapping[str, Sequence[str]]) -> list[Row]:
        """Return the observations in a cone.

        Parameters
        ----------
        cone : Cone
        criteria : mapping of str to sequence of str
            Values that a column may have.
        """
        position = f"{cone.ra_deg!r}, {cone.dec_deg!r}, {cone.radius_deg!r}"
        params = {"columns": "*", "filters": _filters(criteria), "position": position}
        return self._rows("Mast.Caom.Filtered.Position", params, _OBSERVATION_COLUMNS)

    def observations_of(
        self, target_names: Iterable[str], criteria: Mapping[str, Sequence[str]]
    ) -> list[Row]:
        """Return the observations of targets that the archive knows by these names."""
        filters = _filters({**criteria, "target_name": sorted(target_names)})
        params = {"columns": "*", "filters": filters}
        return self._rows("Mast.Caom.Filtered", params, _OBSERVATION_COLUMNS)

    def products_of(self, obsids: Iterable[str]) -> list[Row]:
        """Return the files of observations, by their ``obsid``."""
        params = {"obsid": ",".join(sorted(obsids))}
        return self._rows("Mast.Caom.Products", params, _PRODUCT_COLUMNS)

    def _rows(
        self, service: str, params: Mapping[str, Any], columns: Mapping[str, tuple[type, ...]]
    ) -> list[Row]:
        rows: list[Row] = []
        page, pages = 0, 1
        while page < pages:
            page += 1
            reply = self._completed(
                {
                    "service": service,
                    "params": params,
                    "format": "json",
                    "pagesize": self._page_rows,
                    "page": page,
                }
            )
            _check_columns(service, reply, columns)
            rows += [dict.fromkeys(columns) | row for row in reply["data"]]
            pages, n_rows = _paging(service, reply)
            if not reply["data"]:
                break
        if len(rows) != n_rows:
            raise TruncatedAnswerError(
                f"{service}: found {len(rows)} rows on {page} pages,"
                f" expected {n_rows} by the answer's own count"
            )
        return rows

    def _completed(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """Ask until the search has run."""
        text = json.dumps(request)
        exchange = Exchange("JOB", self._url, hashlib.sha256(text.encode()).hexdigest())
        response = self._session.replies.exchange(exchange, lambda: self._ended(request, text))
        reply = json_reply(response, ("status",))
        if reply["status"] != "COMPLETE":
            raise ArchiveError(
                f"{request['service']}: the search ended with {reply['status']!r}:"
                f" {reply.get('msg')}"
            )
        return reply

    def _ended(self, request: Mapping[str, Any], text: str) -> Response:
        """Return the first reply that does not say that the search is running."""
        deadline = time.monotonic() + self._timeout_s
        while True:
            response = self._session.post(self._url, data={"request": text})
            if json_reply(response, ("status",))["status"] != "EXECUTING":
                return response
            if time.monotonic() > deadline:
                raise TransientArchiveError(
                    f"{request['service']}: still running after {self._timeout_s} s"
                )
            time.sleep(self._poll_s)


def _filters(criteria: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    return [{"paramName": name, "values": list(values)} for name, values in criteria.items()]


def _paging(service: str, reply: Mapping[str, Any]) -> tuple[int, int]:
    """Return how many pages and rows belong to an answer."""
    paging = reply["paging"]
    counts = [
        paging.get(name) if isinstance(paging, dict) else None
        for name in ("pagesFiltered", "rowsFiltered")
    ]
    pages, rows = (one if type(one) is int and 0 <= one <= _MOST_ROWS else None for one in counts)
    if pages is None or rows is None:
        raise ArchiveSchemaError(
            f"{service}: the answer counts {counts[0]!r:.40} pages and {counts[1]!r:.40} rows,"
            f" expected numbers from 0 to {_MOST_ROWS}"
        )
    return pages, rows


def _check_columns(
    service: str, reply: Mapping[str, Any], columns: Mapping[str, tuple[type, ...]]
) -> None:
    for key in ("fields", "data", "paging"):
        if key not in reply:
            raise ArchiveSchemaError(f"{service}: the answer has no {key!r}, found {sorted(reply)}")
    found = [field.get("name") for field in rows_of(reply, "fields", dict, service)]
    rows = rows_of(reply, "data", dict, service)
    missing = [name for name in columns if name not in found]
    if missing:
        raise ArchiveSchemaError(f"{service}: columns {missing} are missing, found {found}")
    for name, types in columns.items():
        values = [row.get(name) for row in rows]
        wrong = [value for value in values if not isinstance(value, types)]
        if wrong:
            expected = ", ".join(one.__name__ for one in types)
            raise ArchiveSchemaError(
                f"{service}: column {name!r} holds {wrong[0]!r:.80}, expected {expected}"
            )
