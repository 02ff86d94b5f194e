"""Answers of services in JSON."""

from collections.abc import Sequence
from typing import Any

from requests import JSONDecodeError, Response

from lightloom.errors import ArchiveSchemaError, TransientArchiveError


def json_reply(response: Response, keys: Sequence[str]) -> dict[str, Any]:
    """Return the JSON object in an answer.

    Parameters
    ----------
    response : requests.Response
    keys : sequence of str
        What the object has to hold.

    Raises
    ------
    TransientArchiveError
        If it is no JSON: services in trouble answer with a page for people.
    ArchiveSchemaError
        If it is no object, or a key is missing.
    """
    try:
        reply = response.json()
    except JSONDecodeError as error:
        raise TransientArchiveError(
            f"{response.url}: expected JSON, found {response.text[:80]!r}"
        ) from error
    if not isinstance(reply, dict) or any(key not in reply for key in keys):
        found = sorted(reply) if isinstance(reply, dict) else type(reply).__name__
        raise ArchiveSchemaError(
            f"{response.url}: found {found}, expected an object with the keys {list(keys)}"
        )
    return reply
