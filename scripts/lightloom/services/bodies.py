"""Bodies of replies that can be read more than once."""

import weakref
from typing import IO, Any, cast

from urllib3 import HTTPResponse

#: A body up to this size stays in memory, a larger one goes to a temporary file [bytes].
SPOOL_BYTES = 8 << 20


class OpenBody:
    """A body that urllib3 may close when it has read it, and that can be read again.

    Parameters
    ----------
    file : binary file
        Stays open.
    """

    closed = False

    def __init__(self, file: IO[bytes]) -> None:
        self.read = file.read

    def close(self) -> None:
        """Say that it is closed, as `urllib3.HTTPResponse.stream` waits for that."""
        self.closed = True


class SpooledResponse(HTTPResponse):
    """A response whose whole body is in a file, which can be read again.

    Parameters
    ----------
    body : binary file
        At its beginning; closed when nobody uses the response any more.
    **options
        As for `urllib3.HTTPResponse`.
    """

    def __init__(self, body: IO[bytes], **options: Any) -> None:
        file = cast(IO[bytes], OpenBody(body))
        super().__init__(body=file, preload_content=False, decode_content=False, **options)
        self.spool = body
        # Libraries read as much of an answer as they need, and close none.
        weakref.finalize(self, body.close)
