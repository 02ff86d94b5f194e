"""Sessions of services: faults and their classes, bodies, tokens, redirects, counts."""

import gzip
import logging
import pickle
import socket
import struct
import time
from collections.abc import Callable
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import requests
from pyvo.dal import TAPService
from pyvo.dal.exceptions import DALFormatError, DALQueryError

from lightloom.errors import (
    ArchiveError,
    ArchiveSchemaError,
    AuthenticationError,
    BadRequestError,
    TransientArchiveError,
)
from lightloom.services.bodies import SPOOL_BYTES
from lightloom.services.http import (
    ServiceSession,
    archive_errors,
    classify,
    service_session,
)
from small_server import SmallServer, answer, running_server, service_spec

Route = Callable[[BaseHTTPRequestHandler], None]

VOTABLE = """<?xml version="1.0"?>
<VOTABLE version="1.4" xmlns="http://www.ivoa.net/xml/VOTable/v1.3"><RESOURCE type="results">
<INFO name="QUERY_STATUS" value="{status}">{text}</INFO>{table}</RESOURCE></VOTABLE>"""
TABLE = """<TABLE><FIELD name="n" datatype="int"/><DATA><TABLEDATA>
<TR><TD>1</TD></TR></TABLEDATA></DATA></TABLE>"""


@pytest.fixture
def session(server: SmallServer, tmp_path: Path) -> ServiceSession:
    spec = service_spec(server.url, limits={"timeout_s": 0.5})
    return service_session(spec, tmp_path / "state")


def hang(handler: BaseHTTPRequestHandler) -> None:
    time.sleep(0.8)


def reset(handler: BaseHTTPRequestHandler) -> None:
    linger = struct.pack("ii", 1, 0)
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    for file in (handler.rfile, handler.wfile, handler.connection):
        file.close()


def close(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True


def cut(handler: BaseHTTPRequestHandler) -> None:
    answer(b"half", Content_Length="8")(handler)
    handler.close_connection = True


def cut_in_chunks(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    handler.wfile.write(b"4\r\nhalf\r\n")
    handler.close_connection = True


def drip(handler: BaseHTTPRequestHandler) -> None:
    """No pause is as long as the timeout, but the body never ends."""
    handler.send_response(200)
    handler.send_header("Content-Length", "1000000")
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(b".")
        handler.wfile.flush()
        time.sleep(0.05)


def drip_until_closed(handler: BaseHTTPRequestHandler) -> None:
    """The same for a body whose end is the end of the connection."""
    handler.send_response(200)
    handler.send_header("Connection", "close")
    handler.end_headers()
    handler.close_connection = True
    for _ in range(100):
        handler.wfile.write(b".")
        handler.wfile.flush()
        time.sleep(0.05)


def html(handler: BaseHTTPRequestHandler) -> None:
    answer(b"\n<!DOCTYPE HTML><html><style>p {}</style><p>Back at&nbsp;noon</html>")(handler)


@pytest.mark.parametrize(
    ("route", "found"),
    [
        (hang, "timed out"),
        (reset, "Connection reset"),
        (close, "without response"),
        (cut, "IncompleteRead"),
        (cut_in_chunks, "InvalidChunkLength|IncompleteRead|prematurely"),
        (drip, "longer than 0.5 s"),
        (drip_until_closed, "longer than 0.5 s"),
        (html, "HTML page: Back at noon"),
        (answer(b"<p>busy</p>", 503), "HTTP 503 Service Unavailable: busy"),
        (answer(b"", 500), "HTTP 500 Internal Server Error$"),
        (answer(b"slower", 429), "HTTP 429 Too Many Requests: slower"),
        (answer(b"", 408), "HTTP 408"),
    ],
)
def test_passing_faults_are_transient(
    server: SmallServer, session: ServiceSession, route: Route, found: str
) -> None:
    server.routes["/fault"] = route
    began = time.monotonic()
    with pytest.raises(TransientArchiveError, match=found) as error:
        session.get(f"{server.url}/fault?secret=1")
    assert time.monotonic() - began < 4.0
    assert str(error.value).startswith(f"survey: GET {server.url}/fault: ")
    assert session.reads.requests == len(server.seen) == 1


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/"
        session = service_session(service_spec(url), tmp_path)
        with pytest.raises(TransientArchiveError, match="refused"):
            session.get(url)


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BadRequestError),
        (404, BadRequestError),
        (501, BadRequestError),
        (401, AuthenticationError),
        (403, AuthenticationError),
    ],
)
def test_lasting_faults(
    server: SmallServer, session: ServiceSession, status: int, kind: type[ArchiveError]
) -> None:
    body = VOTABLE.format(status="ERROR", text="no column &quot;x&quot;", table="").encode()
    server.routes["/fault"] = answer(body, status)
    with pytest.raises(kind, match=r': no column "x"$') as error:
        session.post(f"{server.url}/fault", data={"QUERY": "x"})
    assert type(error.value) is kind
    assert error.value.status == status
    assert pickle.loads(pickle.dumps(error.value)).status == status


def test_a_wrong_url_is_no_fault_of_the_archive(session: ServiceSession) -> None:
    for url in ("http://[", "no://where", "nowhere"):
        with pytest.raises(BadRequestError), archive_errors():
            session.get(url)


@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_in_seconds_and_as_a_date(
    server: SmallServer, session: ServiceSession, as_date: bool
) -> None:
    header = formatdate(time.time() + 3600, usegmt=True) if as_date else "2"
    server.routes["/"] = answer(b"", 503, Retry_After=header)
    with pytest.raises(TransientArchiveError) as error:
        session.get(f"{server.url}/")
    expected_s, tolerance_s = (3600, 60) if as_date else (2, 0)
    assert error.value.retry_after_s == pytest.approx(expected_s, abs=tolerance_s)
    # Nobody asks before.
    with pytest.raises(TransientArchiveError, match="left alone until"):
        session.get(f"{server.url}/")
    assert len(server.seen) == 1


def test_retry_after_that_says_nothing(server: SmallServer, session: ServiceSession) -> None:
    server.routes["/"] = answer(b"", 503, Retry_After="soon")
    with pytest.raises(TransientArchiveError) as error:
        session.get(f"{server.url}/")
    assert error.value.retry_after_s is None


def test_large_body_is_on_disk_and_whole(server: SmallServer, session: ServiceSession) -> None:
    body = bytes(range(256)) * (SPOOL_BYTES // 256 + 1)
    server.routes["/"] = answer(body)
    response = session.get(f"{server.url}/", stream=True)
    assert response.raw.spool._rolled
    assert response.content == body
    assert (session.reads.requests, session.reads.bytes) == (1, len(body))


@pytest.mark.parametrize("stream", [True, False])
def test_packed_and_chunked_body(
    server: SmallServer, session: ServiceSession, stream: bool
) -> None:
    packed = gzip.compress(b"whole" * 1000)

    def route(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.send_header("Content-Encoding", "gzip")
        handler.end_headers()
        for piece in (packed[:9], packed[9:]):
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        handler.wfile.write(b"0\r\n\r\n")

    server.routes["/"] = route
    response = session.get(f"{server.url}/", stream=stream)
    content = response.raw.read(decode_content=True) if stream else response.content
    assert content == b"whole" * 1000
    assert session.reads.bytes == len(packed)


def test_head_and_empty_answers(server: SmallServer, session: ServiceSession) -> None:
    server.routes["/"] = answer(b"whole")
    assert session.head(f"{server.url}/").headers["Content-Length"] == "5"
    server.routes["/none"] = answer(b"", 204)
    assert session.get(f"{server.url}/none").content == b""


def test_slot_is_held_until_the_body_is_read(server: SmallServer, tmp_path: Path) -> None:
    spec = service_spec(server.url, limits={"concurrent_requests": 1})
    server.routes["/"] = answer(b"x" * 100_000)
    sessions = [service_session(spec, tmp_path) for _ in range(2)]
    # Nothing of an answer is left on the line, so that one nobody reads keeps no slot.
    responses = [session.get(f"{server.url}/", stream=True) for session in sessions * 2]
    assert [len(response.content) for response in responses] == [100_000] * 4


def test_cookies_are_sent_back(server: SmallServer, session: ServiceSession) -> None:
    """Services behind several machines tell by them which one knows a job."""
    server.routes["/"] = answer(Set_Cookie="node=7")
    session.get(f"{server.url}/")
    session.get(f"{server.url}/")
    assert [seen.headers.get("Cookie") for seen in server.seen] == [None, "node=7"]


def token_spec(url: str, path: Path, mode: int = 0o600) -> Any:
    path.write_text("s3cret\n")
    path.chmod(mode)
    spec = service_spec(url)
    spec.auth = {"token_file": str(path)}
    return spec


def test_token_is_sent_and_shown_nowhere(
    server: SmallServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def repeat(handler: BaseHTTPRequestHandler) -> None:
        answer(handler.headers["Authorization"].encode(), 400)(handler)

    server.routes["/"] = repeat
    caplog.set_level(logging.DEBUG)
    session = service_session(token_spec(f"{server.url}/tap", tmp_path / "token"), tmp_path)
    with pytest.raises(BadRequestError, match=r"Bearer \*\*\*") as error:
        session.get(f"{server.url}/")
    assert server.seen[0].headers["Authorization"] == "Bearer s3cret"
    shown = [repr(session.auth), repr(vars(session.auth)), repr(error.value), caplog.text]
    assert "s3cret" not in "".join(shown)


def test_token_stays_with_its_server(server: SmallServer, tmp_path: Path) -> None:
    with running_server() as other:
        other.routes["/data"] = answer(b"public")
        server.routes["/moved"] = answer(b"", 303, Location="/here")
        server.routes["/here"] = answer(b"", 302, Location=f"{other.url}/data")
        session = service_session(token_spec(server.url, tmp_path / "token"), tmp_path)
        assert session.get(f"{server.url}/moved").content == b"public"
        # A product may lie elsewhere without a redirect as well.
        assert session.get(f"{other.url}/data").content == b"public"
        sent = [seen.headers.get("Authorization") for seen in server.seen + other.seen]
    assert sent == ["Bearer s3cret", "Bearer s3cret", None, None]
    # Each step of a redirect is a request.
    assert session.reads.requests == 4


def test_pyvo_with_such_a_session(server: SmallServer, session: ServiceSession) -> None:
    server.routes["/tap/sync"] = answer(
        VOTABLE.format(status="OK", text="", table=TABLE).encode(), Content_Type="text/xml"
    )
    service = TAPService(f"{server.url}/tap", session=session)
    assert service.run_sync("SELECT n FROM t").to_table()["n"].tolist() == [1]
    assert server.seen[0].headers["User-Agent"].startswith("lightloom/")


def cut_table(handler: BaseHTTPRequestHandler) -> None:
    """Cut where neither a length nor a chunk tells of it."""
    handler.send_response(200)
    handler.send_header("Connection", "close")
    handler.end_headers()
    handler.close_connection = True
    handler.wfile.write(VOTABLE.format(status="OK", text="", table=TABLE).encode()[:250])


@pytest.mark.parametrize(
    ("route", "kind", "found"),
    [
        (answer(b"", 503), TransientArchiveError, "HTTP 503"),
        (answer(b"", 401), AuthenticationError, "HTTP 401"),
        (answer(b"no", 400), BadRequestError, "HTTP 400 Bad Request: no"),
        (cut, TransientArchiveError, "IncompleteRead"),
        (cut_table, TransientArchiveError, "DALFormatError"),
        (html, TransientArchiveError, "HTML page"),
        (answer(b"not a table"), TransientArchiveError, "DALFormatError"),
        (
            answer(VOTABLE.format(status="ERROR", text="no such column", table="").encode()),
            BadRequestError,
            "no such column",
        ),
        (
            answer(VOTABLE.format(status="OK", text="", table="").encode()),
            ArchiveSchemaError,
            "table",
        ),
    ],
)
def test_faults_seen_through_pyvo(
    server: SmallServer,
    session: ServiceSession,
    route: Route,
    kind: type[ArchiveError],
    found: str,
) -> None:
    server.routes["/tap/sync"] = route
    service = TAPService(f"{server.url}/tap", session=session)
    with pytest.raises(kind, match=found) as error, archive_errors():
        service.run_sync("SELECT n FROM t")
    assert type(error.value) is kind


def test_classes_of_errors_of_libraries() -> None:
    from astroquery.exceptions import InvalidQueryError, RemoteServiceError

    assert type(classify(DALQueryError("no"))) is BadRequestError
    assert type(classify(DALFormatError(reason="no table"))) is ArchiveSchemaError
    assert type(classify(InvalidQueryError("no"))) is BadRequestError
    assert type(classify(RemoteServiceError("no"))) is TransientArchiveError
    assert type(classify(requests.JSONDecodeError("no", "<", 0))) is TransientArchiveError
    assert len(str(classify(RemoteServiceError("no " * 1000)))) < 400


def test_a_mistake_in_the_code_is_no_fault_of_the_archive() -> None:
    with pytest.raises(KeyError, match="ra"), archive_errors():
        raise KeyError("ra")


def test_a_mistake_in_the_handling_of_a_fault_is_none_of_the_archive() -> None:
    def handle() -> None:
        try:
            raise TransientArchiveError("down")
        except TransientArchiveError:
            {}["dec"]

    with pytest.raises(KeyError, match="dec"), archive_errors():
        handle()
