"""Objects of ZTF by their ids, whose mean positions the broker ALeRCE knows."""

from collections.abc import Iterator, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pyarrow as pa

from lightloom.config_sources import ResolverSpec
from lightloom.errors import ArchiveSchemaError, BadRequestError
from lightloom.resolvers.listing import NAME, Listing, Unresolved
from lightloom.services.http import ServiceSession, service_session
from lightloom.services.json_replies import json_reply, rows_of
from lightloom.services.retries import retrying

#: Ids of a request, which stand in its address.
IDS_PER_REQUEST = 100


def list_ztf_objects(
    entries: Sequence[tuple[int, str]], spec: ResolverSpec, state: Path
) -> Listing:
    """Ask for the mean positions of ZTF objects.

    Parameters
    ----------
    entries : sequence of (row, id)
    spec : ResolverSpec
        ALeRCE.
    state : pathlib.Path
        Folder shared by all that asks services.

    Returns
    -------
    Listing
        ``name``, ``ra`` and ``dec`` in the order of the entries.

    Raises
    ------
    ArchiveError
        If the service cannot be asked, or answers with other keys.
    """
    ids = [entry for _, entry in entries]
    positions: dict[str, tuple[float, float]] = {}
    with service_session(spec, state) as session:
        for begin in range(0, len(ids), IDS_PER_REQUEST):
            asked = ids[begin : begin + IDS_PER_REQUEST]
            for item in retrying(spec.limits)(_ask, session, spec.endpoint, asked):
                positions[str(item.get("oid"))] = _position(item)
    known = [entry for entry in ids if entry in positions]
    table = pa.table(
        {
            NAME: pa.array(known, pa.string()),
            "ra": pa.array([positions[entry][0] for entry in known], pa.float64()),
            "dec": pa.array([positions[entry][1] for entry in known], pa.float64()),
        }
    )
    missing = (Unresolved(row, entry) for row, entry in entries if entry not in positions)
    return Listing(table, tuple(missing))


def _ask(session: ServiceSession, endpoint: str, ids: Sequence[str]) -> list[dict[str, Any]]:
    return [item for page in _pages(session, endpoint, ids) for item in page]


def _pages(
    session: ServiceSession, endpoint: str, ids: Sequence[str]
) -> Iterator[list[dict[str, Any]]]:
    number, has_next = 1, True
    while has_next:
        parameters: dict[str, Any] = {
            "oid": list(ids),
            "page_size": IDS_PER_REQUEST,
            "page": number,
        }
        try:
            response = session.get(f"{endpoint}/objects", params=parameters)
        except BadRequestError as error:
            # Whether ids that nobody knows are an empty list or this is unconfirmed.
            if error.status == HTTPStatus.NOT_FOUND:
                return
            raise
        reply = json_reply(response, ["items"])
        yield rows_of(reply, "items", dict, "ALeRCE")
        # A page has an object at least, and an object is on one page.
        number, has_next = number + 1, bool(reply.get("has_next")) and number < len(ids)


def _position(item: Any) -> tuple[float, float]:
    try:
        return float(item["meanra"]), float(item["meandec"])
    except (KeyError, TypeError, ValueError) as error:
        raise ArchiveSchemaError(
            f"ALeRCE: found the object {item!r}, expected numbers as meanra and meandec"
        ) from error
