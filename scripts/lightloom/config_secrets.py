"""Secrets in a configuration are refused: it is copied into crates, records and the files of jobs.

Imported whenever the Snakefile is read, so nothing heavy may be imported here.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

KeyPath = tuple[str | int, ...]

#: A password in an address (RFC 3986, section 3.2.1).
PASSWORD = re.compile(r"(?<=://)[^/?#@\s]*:[^/?#@\s]*(?=@)")

#: Options of fsspec's file systems, and of their clients, that are secrets.
_SECRET_OPTIONS = frozenset(
    {
        *("secret", "password", "passwd", "client_secret", "account_key", "sas_token"),
        *("connection_string", "aws_secret_access_key", "aws_session_token"),
    }
)

_ADVICE = "expected it in the environment or in a file of the store's own"


def find_secrets(value: Any, path: KeyPath = ()) -> Iterator[tuple[KeyPath, str]]:
    """Yield the path of each secret in a configuration, and what is wrong, without the secret.

    Parameters
    ----------
    value : object
        The configuration as parsed from YAML, or a part of it.
    path : tuple of str or int
        The keys that lead to it.
    """
    if isinstance(value, str):
        if PASSWORD.search(value):
            yield path, f"found a password in an address, {_ADVICE}"
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            if key in _SECRET_OPTIONS and "storage_options" in path:
                yield (*path, key), f"found a secret, {_ADVICE}"
            else:
                yield from find_secrets(inner, (*path, key))
    elif isinstance(value, Sequence):
        for number, inner in enumerate(value):
            yield from find_secrets(inner, (*path, number))
