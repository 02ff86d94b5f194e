"""What a session does with replies: nothing, keep them, or take kept ones instead of asking."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any, cast

import requests
from requests.adapters import HTTPAdapter

from lightloom.config_sources import ServiceSpec
from lightloom.errors import ArchiveError, AuthenticationError, TransientArchiveError
from lightloom.services.bodies import SpooledResponse
from lightloom.services.credentials import Token
from lightloom.services.replies import Exchange, Reply, ReplyStore
from lightloom.services.reply_checks import error_of_reply


class Keeping:
    """The replies of a session; of one thread alone, as the session.

    Parameters
    ----------
    spec : ServiceSpec
        Its ``replies``: the folder and what to do, or nothing.
    token : Token or None
        Not to be kept.

    Attributes
    ----------
    is_replay : bool
        Whether replies are kept ones, and nothing is asked.
    """

    def __init__(self, spec: ServiceSpec, token: Token | None) -> None:
        settings = spec.replies
        self.is_replay = spec.is_replayed
        self._store = (
            ReplyStore(Path(settings["folder"]), settings["max_gb"], spec.name)
            if settings
            else None
        )
        self._token = token
        self._is_paused = False

    def find(self, exchange: Exchange) -> Reply:
        """Return a kept reply; see `ReplyStore.find`."""
        assert self._store is not None
        return self._store.find(exchange)

    def keep(self, request: requests.PreparedRequest, response: requests.Response) -> None:
        """Keep the reply to a request."""
        if self._store is not None and not self._is_paused:
            self._store.keep(Exchange.of_request(request), _reply_of(response), self._token)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Keep no reply of the block: they differ from run to run, or lead to nothing."""
        self._is_paused = True
        try:
            yield
        finally:
            self._is_paused = False

    def exchange(
        self, exchange: Exchange, ask: Callable[[], requests.Response]
    ) -> requests.Response:
        """Make the requests of one exchange, of whose replies only the last one is kept.

        Parameters
        ----------
        exchange : Exchange
            What is asked by all of them together, such as by a job that is looked at again and
            again under an address of its own.
        ask : callable
            Makes the requests, and raises what goes wrong as an `ArchiveError`; not called in a
            replay.

        Returns
        -------
        requests.Response
            The last reply, not yet read.

        Raises
        ------
        ArchiveError
            Of ``ask``, or the one with which it ended when it was kept.
        """
        if self.is_replay:
            request = requests.Request("GET", exchange.url).prepare()
            return response_of(request, self.find(exchange))
        if self._store is None:
            return ask()
        try:
            with self.paused():
                response = ask()
        except ArchiveError as error:
            self._store.keep_error(exchange, error, self._token)
            raise
        self._store.keep(exchange, _reply_of(response), self._token)
        return response

    def content(self, exchange: Exchange, read: Callable[[], bytes]) -> bytes:
        """Return something that does not come by HTTP, read by ``read`` or kept.

        Raises
        ------
        ArchiveError
            Of ``read``, or if nothing is kept in a replay.
        """
        if self.is_replay:
            with self.find(exchange).body as body:
                return body.read()
        content = read()
        if self._store is not None:
            self._store.keep(exchange, Reply(200, "OK", {}, BytesIO(content)), self._token)
        return content


class ReplayAdapter(HTTPAdapter):
    """Answers requests with kept replies, and sends nothing.

    Parameters
    ----------
    replies : Keeping
    name : str
        The archive, for messages.
    """

    def __init__(self, replies: Keeping, name: str) -> None:
        super().__init__()
        self._replies = replies
        self._name = name

    def send(self, request: requests.PreparedRequest, *_: Any, **__: Any) -> requests.Response:
        """Return the kept reply; it is judged as it was when it came."""
        response = response_of(request, self._replies.find(Exchange.of_request(request)))
        error = error_of_reply(response, self._name)
        if error is not None:
            raise error
        return response


def response_of(request: requests.PreparedRequest, reply: Reply) -> requests.Response:
    """Return a kept reply as the response to a request."""
    raw = SpooledResponse(
        reply.body,
        headers=dict(reply.headers),
        status=reply.status,
        reason=reply.reason,
        request_method=request.method,
    )
    return HTTPAdapter().build_response(request, raw)


def is_lasting(error: ArchiveError | None) -> bool:
    """Tell whether the same request has the same end, with or without the token."""
    return not isinstance(error, TransientArchiveError | AuthenticationError)


def _reply_of(response: requests.Response) -> Reply:
    raw = cast(SpooledResponse, response.raw)
    headers: Mapping[str, str] = response.headers
    raw.spool.seek(0)
    return Reply(response.status_code, response.reason, headers, raw.spool)
