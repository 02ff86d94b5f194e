"""Answers of services in JSON."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from requests import JSONDecodeError, Response

from lightloom.errors import ArchiveSchemaError, TransientArchiveError

_Row = TypeVar("_Row", dict[str, Any], list[Any])


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
        If it is no object, a key is missing, it is nested too deeply, or a number too long.
    """
    try:
        reply = response.json()
    except JSONDecodeError as error:
        raise TransientArchiveError(
            f"{response.url}: expected JSON, found {response.text[:80]!r}"
        ) from error
    except (RecursionError, ValueError) as error:
        raise ArchiveSchemaError(
            f"{response.url}: found JSON that cannot be read ({error}), expected an object with"
            f" the keys {list(keys)}"
        ) from error
    if not isinstance(reply, dict) or any(key not in reply for key in keys):
        found = sorted(reply) if isinstance(reply, dict) else type(reply).__name__
        raise ArchiveSchemaError(
            f"{response.url}: found {found}, expected an object with the keys {list(keys)}"
        )
    return reply


def rows_of(reply: Mapping[str, Any], key: str, kind: type[_Row], where: str) -> list[_Row]:
    """Return the list under a key, each of whose entries has to be of one kind.

    Parameters
    ----------
    reply : mapping
        An answer.
    key : str
    kind : type
        ``dict`` or ``list``.
    where : str
        Whose answer it is, for messages.

    Raises
    ------
    ArchiveSchemaError
        If it is no such list.
    """
    rows = reply[key]
    if not isinstance(rows, list):
        raise ArchiveSchemaError(f"{where}: {key!r} is {rows!r:.80}, expected a list")
    for row in rows:
        if not isinstance(row, kind):
            raise ArchiveSchemaError(
                f"{where}: {key!r} holds {row!r:.80}, expected {kind.__name__} in each place"
            )
    return rows
