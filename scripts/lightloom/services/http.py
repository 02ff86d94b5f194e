"""HTTP sessions for services: requests are governed, read whole, counted, and their faults classed.

`service_session` gives a ``requests.Session``, as pyvo and astroquery take one. What goes wrong is
raised as one of the errors of `lightloom.errors`; libraries that wrap these in errors of their own
are looked through by `classify`.
"""

import json
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any, cast
from urllib.parse import urlsplit
from xml.etree import ElementTree

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase
from requests.exceptions import InvalidSchema, InvalidURL, MissingSchema, RequestException
from requests.structures import CaseInsensitiveDict
from urllib3 import HTTPResponse, Timeout
from urllib3.exceptions import HTTPError

import lightloom
from lightloom.config_sources import ServiceSpec
from lightloom.errors import (
    ArchiveError,
    ArchiveSchemaError,
    BadRequestError,
    TransientArchiveError,
)
from lightloom.reads import Reads
from lightloom.services.bodies import SPOOL_BYTES, SpooledResponse
from lightloom.services.credentials import Token, read_token
from lightloom.services.folders import service_folder
from lightloom.services.governor import Governor
from lightloom.services.keeping import Keeping, ReplayAdapter, is_lasting
from lightloom.services.reply_checks import REASON_CHARACTERS, asked, error_of_reply

#: Longest time to open a connection, if ``timeout_s`` allows more [s].
CONNECT_S = 30.0

_CHUNK_BYTES = 1 << 16


class ServiceSession(requests.Session):
    """A session whose requests keep to the limits of an archive; of one thread alone.

    Attributes
    ----------
    reads : Reads
        Requests made and bytes of their bodies, as sent by the service, since the session began.
    replies : Keeping
        Keeps the replies, or has kept ones, if the entry says so.
    """

    reads: Reads
    replies: Keeping

    def request(self, *arguments: Any, **options: Any) -> requests.Response:
        """Make a request; what goes wrong between those of a redirect is classed too."""
        with archive_errors():
            try:
                return super().request(*arguments, **options)
            except RequestException:
                raise
            except ValueError as error:
                # Of an address that a redirect names.
                raise BadRequestError(f"found an address that cannot be read: {error}") from error


def service_session(
    spec: ServiceSpec, state: Path, *, scheme: str = "Bearer", section: str = "archives"
) -> ServiceSession:
    """Open a session for the requests of one archive.

    Parameters
    ----------
    spec : ServiceSpec
        Its limits, its endpoint and where its token is found.
    state : Path
        Folder shared by the jobs of all services.
    scheme : str, optional
        What stands before the token in the header; empty for services that want it alone.
    section : str, optional
        Section of the configuration that has the service, for messages.

    Returns
    -------
    ServiceSession
        Raises the errors of `lightloom.errors` for failed requests, also for HTTP statuses: 401 and
        403 `AuthenticationError`; 408, 425, 429 and 5xx `TransientArchiveError`; other 4xx and 501
        `BadRequestError`, whose ``status`` tells them apart. Timeouts, resets, bodies that are cut
        or drip, and HTML pages are transient. A body that is larger than ``limits.reply_mb``, on
        the way or unpacked, and XML that declares entities are an `ArchiveError`. Bodies come
        unpacked.

    Raises
    ------
    AuthenticationError
        If the entry asks for a token and there is none, or others can read its file; none is
        needed where all replies are kept ones.
    """
    token = None if spec.is_replayed else read_token(spec.name, spec.auth, section)
    session = ServiceSession()
    session.reads = Reads()
    session.replies = Keeping(spec, token)
    session.headers["User-Agent"] = f"lightloom/{lightloom.__version__}"
    if token:
        session.auth = _TokenAuth(token, spec.endpoint, scheme)
    adapter: HTTPAdapter
    if session.replies.is_replay:
        adapter = ReplayAdapter(session.replies, spec.name)
    else:
        governor = Governor(service_folder(state, spec), spec.limits)
        adapter = _GovernedAdapter(session, governor, spec, token)
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session


def classify(error: BaseException) -> ArchiveError:
    """Return the error of `lightloom.errors` that an error of a library stands for.

    Parameters
    ----------
    error : BaseException
        Of requests, pyvo or astroquery, or an `ArchiveError` that one of these has wrapped.

    Raises
    ------
    BaseException
        ``error`` itself, if it is none of these: a mistake in the code is no failure of an archive.
    """
    for one in _causes(error):
        if isinstance(one, ArchiveError):
            return one
    for one in _causes(error):
        kind = _kind(one)
        if kind is not None:
            return kind(textwrap.shorten(f"{type(error).__name__}: {error}", REASON_CHARACTERS))
    raise error


@contextmanager
def archive_errors() -> Iterator[None]:
    """Raise what goes wrong in the block as `classify` names it."""
    try:
        yield
    except ArchiveError:
        raise
    except Exception as error:
        raise classify(error) from error


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Give an error and all that led to it, as far as libraries say."""
    seen: set[int] = set()
    waiting: list[Any] = [error]
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, BaseException) and id(one) not in seen:
            seen.add(id(one))
            yield one
            # pyvo has an attribute of its own for the cause.
            waiting += [one.__cause__, getattr(one, "cause", None)]
            if _kind(one):
                # Other libraries name none. A mistake in the handling of an error is our own.
                waiting.append(one.__context__)


def _kind(error: BaseException) -> type[ArchiveError] | None:
    from astropy.io.votable.exceptions import VOWarning
    from astroquery.exceptions import InvalidQueryError, RemoteServiceError
    from astroquery.exceptions import TimeoutError as AstroqueryTimeoutError
    from pyvo.dal import DALFormatError, DALQueryError, DALServiceError

    if isinstance(
        error, DALQueryError | InvalidQueryError | InvalidURL | InvalidSchema | MissingSchema
    ):
        return BadRequestError
    if isinstance(error, DALFormatError):
        # A document that does not parse was cut, or is the page of a service under maintenance;
        # without such a cause it was whole, but had no table.
        return ArchiveSchemaError if error.cause is None else TransientArchiveError
    broken = (ElementTree.ParseError, json.JSONDecodeError, UnicodeDecodeError, VOWarning)
    transient = (DALServiceError, RemoteServiceError, AstroqueryTimeoutError, RequestException)
    if isinstance(error, (*broken, *transient)):
        return TransientArchiveError
    return None


class _ReplyTooLargeError(Exception):
    """An answer is larger than a service may give."""


class _TokenAuth(AuthBase):
    """Sends the token to the archive's own server, and to no other."""

    def __init__(self, token: Token, endpoint: str, scheme: str) -> None:
        # The header is made when it is sent: a token does not show itself, a text would.
        self._token = token
        self._scheme = scheme
        self._server = _server(endpoint)

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if _server(request.url or "") == self._server:
            request.headers["Authorization"] = self._token.header_of(self._scheme)
        return request


def _server(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


class _GovernedAdapter(HTTPAdapter):
    """Sends each request when the governor allows it, and reads its body within its slot."""

    def __init__(
        self, session: ServiceSession, governor: Governor, spec: ServiceSpec, token: Token | None
    ) -> None:
        super().__init__()
        self._session = session
        self._governor = governor
        self._name = spec.name
        self._timeout_s = float(spec.limits["timeout_s"])
        self._reply_mb = float(spec.limits["reply_mb"])
        self._token = token

    def send(self, request: requests.PreparedRequest, *_: Any, **options: Any) -> requests.Response:
        """Send a request; the options of the caller for streams and timeouts are not heeded."""
        options |= {
            "stream": True,
            "timeout": Timeout(
                total=self._timeout_s,
                connect=min(self._timeout_s, CONNECT_S),
                read=self._timeout_s,
            ),
        }
        what = asked(self._name, request)
        with self._governor.request():
            self._session.reads += Reads(requests=1)
            deadline_s = time.monotonic() + self._timeout_s
            try:
                response = super().send(request, **options)
                self._spool(response, deadline_s)
            except _ReplyTooLargeError:
                raise ArchiveError(
                    f"{what}: the answer is larger than limits.reply_mb, {self._reply_mb:g} MB; ask"
                    " for less at a time (limits.targets_per_query, limits.objects_per_query), or"
                    " raise limits.reply_mb if the service may answer at such length"
                ) from None
            except (InvalidURL, InvalidSchema) as error:
                raise BadRequestError(f"{what}: {error}") from error
            except (RequestException, HTTPError, OSError) as error:
                raise TransientArchiveError(self._redacted(f"{what}: {error}")) from error
            found = error_of_reply(response, self._name, self._token)
            if found is not None and not is_lasting(found):
                raise found
        # Out of the slot: others may ask while it is written.
        self._session.replies.keep(request, response)
        if found is not None:
            raise found
        return response

    def _spool(self, response: requests.Response, deadline_s: float) -> None:
        """Read the body, unpack it, and let the response give it again."""
        raw = cast(HTTPResponse, response.raw)
        with ExitStack() as on_error:
            body = on_error.enter_context(_spool_file())
            self._copy(raw, body, deadline_s)
            headers = raw.headers.copy()
            headers.discard("Transfer-Encoding")
            if "Content-Encoding" in headers:
                with body as packed:
                    body = on_error.enter_context(_spool_file())
                    chunks = HTTPResponse(packed, headers, preload_content=False).stream()
                    self._write(chunks, body)
                headers.discard("Content-Encoding")
                headers.discard("Content-Length")
            on_error.pop_all()
        body.seek(0)
        response.headers = CaseInsensitiveDict(headers)
        response.raw = SpooledResponse(
            body,
            headers=headers,
            status=raw.status,
            version=raw.version,
            reason=raw.reason,
            request_method=response.request.method,
            # The session takes its cookies from there.
            original_response=raw._original_response,
        )

    def _copy(self, raw: HTTPResponse, body: IO[bytes], deadline_s: float) -> None:
        with _cut_off(raw, deadline_s - time.monotonic()) as cut_off:
            try:
                self._write(self._counted(raw), body)
            except _ReplyTooLargeError:
                raw.close()
                raise
            except (HTTPError, OSError, ValueError):
                if not cut_off.is_set():
                    raise
        if cut_off.is_set():
            raw.close()
            raise requests.Timeout(f"the answer took longer than {self._timeout_s:g} s")
        raw.release_conn()
        body.seek(0)

    def _counted(self, raw: HTTPResponse) -> Iterator[bytes]:
        for chunk in raw.stream(_CHUNK_BYTES, decode_content=False):
            self._session.reads += Reads(bytes=len(chunk))
            yield chunk

    def _write(self, chunks: Iterable[bytes], body: IO[bytes]) -> None:
        """Write a body in pieces, as long as it keeps to the limit."""
        for chunk in chunks:
            body.write(chunk)
            if body.tell() > self._reply_mb * 1e6:
                raise _ReplyTooLargeError

    def _redacted(self, text: str) -> str:
        """Servers repeat what they were sent."""
        return self._token.redact(text) if self._token else text


def _spool_file() -> IO[bytes]:
    return cast(IO[bytes], tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES))


@contextmanager
def _cut_off(raw: HTTPResponse, after_s: float) -> Iterator[threading.Event]:
    """End the body after a time: the timeout of a socket does not see one that drips for ever."""
    cut_off = threading.Event()

    def end() -> None:
        cut_off.set()
        # The answer may have ended just now.
        with suppress(OSError, RuntimeError, ValueError):
            raw.shutdown()

    timer = threading.Timer(max(0.0, after_s), end)
    timer.daemon = True
    timer.start()
    try:
        yield cut_off
    finally:
        timer.cancel()
        # Else it may meet a body that is being closed.
        timer.join()
