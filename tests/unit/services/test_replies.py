"""The store of replies: found by what was asked, whole, within its limit, without secrets."""

import gzip
import json
import logging
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from http.server import BaseHTTPRequestHandler
from io import BytesIO
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests

from lightloom.errors import (
    BadRequestError,
    DamagedFileError,
    MissingReplyError,
    ResultError,
    TransientArchiveError,
)
from lightloom.services.credentials import Token
from lightloom.services.http import ServiceSession, service_session
from lightloom.services.replies import Exchange, Reply, ReplyStore, without_secrets
from small_server import SmallServer, answer, service_spec

SECRET = "s3cr3t-t0ken-of-nobody"


@pytest.fixture
def store(tmp_path: Path) -> ReplyStore:
    return ReplyStore(tmp_path / "replies", 1.0, "survey")


def reply(content: bytes = b"whole", **headers: str) -> Reply:
    return Reply(200, "OK", headers, BytesIO(content))


def asked(number: int) -> Exchange:
    return Exchange("GET", f"https://archive.example/{number}")


def noise(seed: int, n_bytes: int = 20_000) -> bytes:
    """Content that does not get smaller when it is compressed."""
    return np.random.default_rng(seed).bytes(n_bytes)


def files(folder: Path, kind: str) -> list[Path]:
    return sorted(path for path in (folder / kind).rglob("*") if path.is_file())


def test_reply_is_found_as_it_was(store: ReplyStore) -> None:
    kept = reply(b"a" * 100_000, **{"Content-Type": "text/xml", "Set-Cookie": "id=1"})
    store.keep(asked(1), kept)
    found = store.find(asked(1))
    assert (found.status, found.reason) == (200, "OK")
    assert found.headers == {"Content-Type": "text/xml"}
    with found.body as body:
        assert body.read() == b"a" * 100_000
    with kept.body as body:
        assert body.read() == b"a" * 100_000


def test_same_content_is_kept_once_and_packed(store: ReplyStore) -> None:
    for number in range(3):
        store.keep(asked(number), reply(b"a" * 100_000))
    (body,) = files(store.folder, "bodies")
    assert body.stat().st_size < 1000
    assert len(files(store.folder, "requests")) == 3


def test_last_reply_counts(store: ReplyStore) -> None:
    store.keep(asked(1), reply(b"first"))
    store.keep(asked(1), reply(b"second"))
    with store.find(asked(1)).body as body:
        assert body.read() == b"second"


def test_missing_reply_is_named(store: ReplyStore) -> None:
    with pytest.raises(MissingReplyError, match=r"survey: GET https://archive.example/1: no reply"):
        store.find(asked(1))


def test_damaged_reply_is_noticed(store: ReplyStore) -> None:
    store.keep(asked(1), reply(noise(1)))
    (path,) = files(store.folder, "bodies")
    other = ReplyStore(store.folder.with_name("other"), 1.0, "survey")
    other.keep(asked(1), reply(noise(2)))
    (of_other,) = files(other.folder, "bodies")
    of_other.replace(path)
    with pytest.raises(DamagedFileError, match="SHA-256"):
        store.find(asked(1))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DamagedFileError, match=path.name):
        store.find(asked(1))
    path.unlink()
    with pytest.raises(DamagedFileError, match=path.name):
        store.find(asked(1))


def test_reply_larger_than_its_record_says_is_not_unpacked(store: ReplyStore) -> None:
    store.keep(asked(1), reply(bytes(50_000_000)))
    (path,) = files(store.folder, "requests")
    record = json.loads(path.read_text())
    record["reply"]["bytes"] = 1000
    path.write_text(json.dumps(record))
    with pytest.raises(DamagedFileError, match="SHA-256"):
        store.find(asked(1))


def test_lasting_failure_of_an_exchange_is_kept(store: ReplyStore) -> None:
    store.keep_error(asked(1), TransientArchiveError("later"))
    with pytest.raises(MissingReplyError):
        store.find(asked(1))
    store.keep_error(asked(1), BadRequestError(f"no column x {SECRET}", status=400), Token(SECRET))
    with pytest.raises(BadRequestError, match=r"no column x \*\*\*$") as error:
        store.find(asked(1))
    assert error.value.status == 400


def test_limit(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = ReplyStore(tmp_path, 0.0001, "survey")
    with caplog.at_level(logging.WARNING):
        for number in range(20):
            store.keep(asked(number), reply(noise(number)))
    kept = files(tmp_path, "bodies") + files(tmp_path, "requests")
    size = sum(path.stat().st_size for path in kept)
    assert 80_000 < size <= 100_000
    (message,) = [record.message for record in caplog.records]
    assert "replies.max_gb is 0.0001" in message
    with pytest.raises(MissingReplyError, match=r"the folder was full \(replies.max_gb: 0.0001\)"):
        store.find(asked(19))
    with store.find(asked(0)).body as body:
        assert body.read() == noise(0)


def test_room_is_counted_anew_before_a_reply_is_refused(tmp_path: Path) -> None:
    for number in range(4):
        ReplyStore(tmp_path, 0.0001, "survey").keep(asked(number), reply(noise(number)))
    for path in files(tmp_path, "bodies")[:3]:
        path.unlink()
    ReplyStore(tmp_path, 0.0001, "survey").keep(asked(9), reply(noise(9)))
    ReplyStore(tmp_path, 0.0001, "survey").find(asked(9)).body.close()


def keep_many(folder: Path, first: int) -> None:
    """Keep replies that others keep as well, and some that they do not."""
    store = ReplyStore(folder, 1.0, "survey")
    for number in [*range(20), *range(first, first + 5)]:
        store.keep(asked(number), reply(noise(number % 7)))


def test_many_processes_share_a_folder(tmp_path: Path) -> None:
    firsts = [100, 200, 300]
    with ProcessPoolExecutor(3, mp_context=get_context("spawn")) as pool:
        list(pool.map(keep_many, [tmp_path] * 3, firsts))
    assert len(files(tmp_path, "bodies")) == 7
    assert len(files(tmp_path, "requests")) == 20 + 3 * 5
    assert files(tmp_path, "unfinished") == []
    for number in (0, 19, 104, 304):
        with ReplyStore(tmp_path, 1.0, "survey").find(asked(number)).body as body:
            assert body.read() == noise(number % 7)


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "replies").write_text("a file")
    with pytest.raises(ResultError, match=r"replies: a reply cannot be kept .*replies\.folder"):
        ReplyStore(tmp_path / "replies", 1.0, "survey").keep(asked(1), reply())


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://u:p@a.example:8080/x?b=1&a=%20", "https://a.example:8080/x?b=1&a=%20"),
        ("https://a.example/x?token=1&b=2", "https://a.example/x?b=2"),
        ("https://a.example/x?b=2&X-Amz-Signature=1&X-Amz-Date=2", "https://a.example/x?b=2"),
        (
            "https://a.example/x?keywords=agn&author=me#top",
            "https://a.example/x?keywords=agn&author=me",
        ),
        ("/relative?Api_Key=1", "/relative"),
    ],
)
def test_addresses_without_secrets(url: str, kept: str) -> None:
    assert without_secrets(url) == kept


def exchange_of(**request: Any) -> Exchange:
    prepared = requests.Request("POST", "https://a.example/sync", **request).prepare()
    return Exchange.of_request(prepared)


def test_uploads_differ_in_their_content_alone() -> None:
    first, again, other = (
        exchange_of(data={"QUERY": "x"}, files={"targets": BytesIO(content)})
        for content in (b"1", b"1", b"2")
    )
    assert first == again
    assert first.key != other.key
    assert exchange_of(data={"QUERY": "y"}).key != exchange_of(data={"QUERY": "x"}).key


Route = Callable[[BaseHTTPRequestHandler], None]


def session(server: SmallServer, folder: Path, *, replay: bool = False) -> ServiceSession:
    replies = {"folder": str(folder / "replies"), "max_gb": 1.0, "replay": replay}
    auth = {} if replay else {"token_env": "SURVEY_TOKEN"}
    spec = service_spec(server.url, auth=auth, replies=replies, is_replayed=replay)
    return service_session(spec, folder / "state")


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("SURVEY_TOKEN", SECRET)
    return SECRET


def redirect(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(302)
    handler.send_header("Location", f"/file?uri=1&X-Amz-Signature={SECRET}")
    handler.send_header("Set-Cookie", f"session={SECRET}")
    handler.send_header("Content-Length", "0")
    handler.end_headers()


@pytest.mark.usefixtures("token")
def test_session_is_replayed_without_server_and_token(server: SmallServer, tmp_path: Path) -> None:
    server.routes |= {
        "/packed": answer(gzip.compress(b"content"), Content_Encoding="gzip"),
        "/redirected": redirect,
        "/file": answer(b"of the file"),
        "/wrong": answer(b"<p>no such column</p>", 400),
        "/empty": answer(b"", 404),
    }
    live = session(server, tmp_path)
    found: dict[bool, list[Any]] = {True: [], False: []}
    for replay, one in ((False, live), (True, session(server, tmp_path, replay=True))):
        n_seen = len(server.seen)
        found[replay] += [
            one.get(f"{server.url}{path}").content for path in ("/packed", "/redirected")
        ]
        for path in ("/wrong", "/empty"):
            with pytest.raises(BadRequestError) as error:
                one.get(f"{server.url}{path}")
            found[replay] += [str(error.value), error.value.status]
        assert len(server.seen) == n_seen + (0 if replay else 5)
    assert found[True] == found[False]
    assert not (tmp_path / "state").exists() or live.reads.requests == 5


@pytest.mark.usefixtures("token")
@pytest.mark.parametrize("packed", [True, False])
def test_token_never_reaches_the_store(
    server: SmallServer, tmp_path: Path, packed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    said = b"x" * 65_530 + SECRET.encode()
    body = gzip.compress(said) if packed else said
    headers = {"Content_Encoding": "gzip"} if packed else {}
    server.routes |= {
        "/told": answer(body, **headers),
        "/redirected": redirect,
        "/file": answer(b"of the file"),
        "/refused": answer(SECRET.encode(), 400),
    }
    one = session(server, tmp_path)
    assert one.get(f"{server.url}/told").content == said
    assert one.get(f"{server.url}/redirected", params={"access_token": SECRET}).ok
    with pytest.raises(BadRequestError):
        one.get(f"{server.url}/refused")
    assert "the token stands in the reply" in caplog.text
    assert server.seen[0].headers["Authorization"] == f"Bearer {SECRET}"
    kept = ReplyStore(tmp_path / "replies", 1.0, "survey")
    for path in files(kept.folder, "requests"):
        assert SECRET not in path.read_text()
        assert "Authorization" not in path.read_text()
        record = json.loads(path.read_text())["request"]
        with kept.find(Exchange(**record)).body as content:
            assert SECRET.encode() not in content.read()
    assert len(files(kept.folder, "requests")) == 2


@pytest.mark.usefixtures("token")
@pytest.mark.parametrize("status", [401, 403, 429, 503])
def test_passing_failures_are_not_kept(server: SmallServer, tmp_path: Path, status: int) -> None:
    server.routes["/"] = answer(b"busy", status)
    with pytest.raises(Exception, match=str(status)):
        session(server, tmp_path).get(f"{server.url}/")
    with pytest.raises(MissingReplyError):
        session(server, tmp_path, replay=True).get(f"{server.url}/")


def test_nothing_is_kept_unless_asked_for(server: SmallServer, tmp_path: Path) -> None:
    server.routes["/"] = answer()
    assert service_session(service_spec(server.url), tmp_path).get(f"{server.url}/").ok
    assert not list(tmp_path.rglob("*.zst"))
