"""What a reply of a service means: whether it is an error, and of which class."""

import html
import re
import textwrap
from typing import cast
from urllib.parse import urlsplit

import requests
from urllib3 import Retry
from urllib3.exceptions import InvalidHeader

from lightloom.errors import (
    ArchiveError,
    AuthenticationError,
    BadRequestError,
    TransientArchiveError,
)
from lightloom.services.bodies import SpooledResponse
from lightloom.services.credentials import Token
from lightloom.services.xml_replies import harm_in

_START_BYTES = 512
#: Longest reason in a message.
REASON_CHARACTERS = 300

_PAGE_BYTES = 1 << 16
#: Besides all from 500 on: request timeout, too early, too many requests.
_TRANSIENT_STATUSES = (408, 425, 429)
_NOT_IMPLEMENTED = 501
_HTML = re.compile(rb"\s*(<!doctype\s+html|<html)", re.IGNORECASE)


def error_of_reply(
    response: requests.Response, name: str, token: Token | None = None
) -> ArchiveError | None:
    """Return the error that a reply stands for, if it is one.

    Parameters
    ----------
    response : requests.Response
        Its ``raw`` is a `SpooledResponse`, which stays unread.
    name : str
        The archive, for the message.
    token : Token, optional
        What must not stand in the message: servers repeat what they were sent.

    Returns
    -------
    ArchiveError or None
    """
    what = asked(name, response.request)
    if response.ok:
        if response.status_code < 300 and _HTML.match(_start(response, _START_BYTES)):
            # No archive answers in HTML, but its web server does while it is under maintenance.
            page = _redacted(_text(response), token)
            return TransientArchiveError(f"{what}: found an HTML page: {page}")
        if harm := harm_in(cast(SpooledResponse, response.raw).spool):
            return ArchiveError(f"{what}: found {harm}, expected data; it was not read")
        return None
    status = response.status_code
    said = _text(response)
    message = _redacted(f"{what}: HTTP {status} {response.reason}{said and f': {said}'}", token)
    if status in (401, 403):
        return AuthenticationError(message, status=status)
    if status in _TRANSIENT_STATUSES or (status >= 500 and status != _NOT_IMPLEMENTED):
        retry_after_s = _retry_after_s(response.headers.get("Retry-After", ""))
        return TransientArchiveError(message, status=status, retry_after_s=retry_after_s)
    return BadRequestError(message, status=status)


def asked(name: str, request: requests.PreparedRequest) -> str:
    """Return in words what was asked, without the query of the address."""
    parts = urlsplit(request.url or "")
    port = f":{parts.port}" if parts.port else ""
    return f"{name}: {request.method} {parts.scheme}://{parts.hostname}{port}{parts.path}"


def _redacted(text: str, token: Token | None) -> str:
    return token.redact(text) if token else text


def _retry_after_s(header: str) -> float | None:
    """Return the wait that a header ``Retry-After`` asks for, in seconds or until a date [s]."""
    if not header:
        return None
    try:
        return float(Retry().parse_retry_after(header))
    except InvalidHeader:
        return None


def _text(response: requests.Response) -> str:
    """Return what a page or an error document says to people, shortened."""
    page = _start(response, _PAGE_BYTES).decode("utf-8", "replace")
    words = re.sub(r"(?is)<(script|style)\b.*?</\1>|<[^>]*>", " ", page)
    return textwrap.shorten(html.unescape(words), REASON_CHARACTERS, placeholder=" ...")


def _start(response: requests.Response, n_bytes: int) -> bytes:
    """Return the first bytes of a body."""
    spool = cast(SpooledResponse, response.raw).spool
    start = spool.read(n_bytes)
    spool.seek(0)
    return start
