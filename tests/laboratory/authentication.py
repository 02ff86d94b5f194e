"""Tokens as the Rubin Science Platform takes them: Bearer, or Basic with a fixed partner."""

import base64
import binascii
import secrets

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response

#: The part of the Basic credentials that is no token.
BASIC_PARTNER = "x-oauth-basic"


def check_token(headers: Headers, token: str) -> Response | None:
    """Return the refusal of a request, None if it brings the right token.

    Parameters
    ----------
    headers : Headers
        Of the request.
    token : str
        The one that is demanded.
    """
    scheme, _, value = headers.get("authorization", "").partition(" ")
    if not scheme:
        challenge = {"www-authenticate": 'Bearer realm="laboratory"'}
        return PlainTextResponse("authentication required\n", 401, challenge)
    if scheme.lower() == "bearer":
        found = [value]
    elif scheme.lower() == "basic":
        found = _basic(value)
    else:
        found = []
    if any(secrets.compare_digest(candidate, token) for candidate in found):
        return None
    return PlainTextResponse("the token is not valid\n", 403)


def _basic(value: str) -> list[str]:
    """Return the tokens that Basic credentials may hold; either part may be the partner."""
    try:
        user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return []
    if user == BASIC_PARTNER:
        return [password]
    return [user] if password == BASIC_PARTNER else []
