"""Raw replies of services, kept so that a run can be repeated without network or server.

A reply is found by what was asked: method, address and a digest of the body. Its content lies in a
file named by its own digest, once for all requests that it answers:

    requests/ab/<digest of the request>.json    status, headers and digest of the reply
    bodies/cd/<SHA-256 of the content>.zst      the content, unpacked if it was sent packed

Every file appears whole or not at all, so that any number of jobs can share a folder. No header of
a request is kept, and of those of a reply only the ones in `_KEPT_HEADERS`.
"""

import hashlib
import json
import logging
import os
import re
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self, cast
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import pyarrow as pa
from filelock import FileLock
from requests import PreparedRequest

from lightloom.errors import (
    ArchiveError,
    ArchiveSchemaError,
    BadRequestError,
    DamagedFileError,
    MissingReplyError,
    ResultError,
    TruncatedAnswerError,
)
from lightloom.services.bodies import SPOOL_BYTES
from lightloom.services.credentials import Token
from lightloom.storage import json_bytes

#: What a client needs to read a body, or to find it.
_KEPT_HEADERS = ("Content-Type", "Location")

#: Parameters of addresses that are secrets, or change from one signature to the next.
_VOLATILE = re.compile(
    r"(access_?token|token|api_?key|key|passw(or)?d|secret|sig|signature|expires|awsaccesskeyid"
    r"|key-pair-id|policy|x-(amz|goog)-.*)",
    re.IGNORECASE,
)

_BOUNDARY = re.compile(r'boundary="?([^";]+)')

_CHUNK_BYTES = 1 << 16
_BYTES_PER_GB = 10**9

#: Errors that an exchange of many requests can end with for good.
_LASTING_ERRORS: dict[str, type[ArchiveError]] = {
    kind.__name__: kind
    for kind in (ArchiveError, ArchiveSchemaError, BadRequestError, TruncatedAnswerError)
}

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Exchange:
    """What was asked, without what differs from one run to the next.

    Attributes
    ----------
    method : str
        Of HTTP; ``JOB`` for an asynchronous job as a whole, ``COPY`` for a file in a cloud.
    url : str
        Without secrets.
    content : str
        Digest of what was sent, or empty.
    """

    method: str
    url: str
    content: str = ""

    @classmethod
    def of_request(cls, request: PreparedRequest) -> Self:
        """Return what a request asks."""
        body = request.body or b""
        content = body.encode() if isinstance(body, str) else body
        boundary = _BOUNDARY.search(request.headers.get("Content-Type", ""))
        if boundary:
            # Drawn at random for each request.
            content = content.replace(boundary[1].encode(), b"boundary")
        digest = hashlib.sha256(content).hexdigest() if content else ""
        return cls(request.method or "", without_secrets(request.url or ""), digest)

    @property
    def key(self) -> str:
        """Digest by which the reply is found (64 hexadecimal digits)."""
        return hashlib.sha256("\0".join([self.method, self.url, self.content]).encode()).hexdigest()

    def __str__(self) -> str:
        return f"{self.method} {self.url}{self.content and f' (content {self.content[:12]})'}"


@dataclass(frozen=True)
class Reply:
    """A reply of a service.

    Attributes
    ----------
    status : int
        Of HTTP.
    reason : str
    headers : mapping of str to str
    body : binary file
        At its beginning.
    """

    status: int
    reason: str
    headers: Mapping[str, str]
    body: IO[bytes]


def without_secrets(url: str) -> str:
    """Return an address without user, password, and parameters that are secrets or signatures."""
    parts = urlsplit(url)
    query = parse_qsl(parts.query, keep_blank_values=True)
    kept = [(name, value) for name, value in query if not _VOLATILE.fullmatch(name)]
    text = parts.query if len(kept) == len(query) else urlencode(kept)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, text, ""))


class ReplyStore:
    """A folder of replies, shared by all jobs of a run, or of several.

    Parameters
    ----------
    folder : Path
        It need not exist. On a network file system it has to support ``flock``.
    max_gb : float
        Most that its files may take [GB of 10^9 bytes]. What would exceed it is not kept.
    name : str
        The archive, for messages.
    """

    def __init__(self, folder: Path, max_gb: float, name: str) -> None:
        self.folder = folder
        self._name = name
        self._max_bytes = int(max_gb * _BYTES_PER_GB)
        self._max_gb = max_gb
        self._is_full = False

    def keep(self, exchange: Exchange, reply: Reply, token: Token | None = None) -> None:
        """Keep a reply, in place of an earlier one to the same request.

        Parameters
        ----------
        exchange : Exchange
        reply : Reply
            Its body is at its beginning again afterwards.
        token : Token, optional
            A reply in which it stands is not kept.

        Raises
        ------
        ResultError
            If the folder cannot be written.
        """
        digest, n_bytes = _examined(reply.body)
        headers = {name: reply.headers[name] for name in _KEPT_HEADERS if name in reply.headers}
        if "Location" in headers:
            headers["Location"] = without_secrets(headers["Location"])
        record = _record(
            exchange,
            reply={
                "status": reply.status,
                "reason": reply.reason,
                "headers": headers,
                "body": digest,
                "bytes": n_bytes,
            },
        )
        if token and (token.stands_in(record) or _is_in_body(token, reply.body)):
            _log.warning("%s: %s: not kept: the token stands in the reply", self._name, exchange)
            return
        with self._writable():
            self._keep(exchange, record, digest, reply.body)

    def keep_error(
        self, exchange: Exchange, error: ArchiveError, token: Token | None = None
    ) -> None:
        """Keep that an exchange of many requests has failed for good.

        Parameters
        ----------
        exchange : Exchange
        error : ArchiveError
            Of a kind that does not pass; others are not kept.
        token : Token, optional
            Replaced where it stands in the message.
        """
        kind = type(error).__name__
        if kind in _LASTING_ERRORS:
            message = token.redact(str(error)) if token else str(error)
            said = {"class": kind, "message": message, "status": error.status}
            with self._writable():
                self._keep(exchange, _record(exchange, error=said))

    def find(self, exchange: Exchange) -> Reply:
        """Return the reply to a request.

        Raises
        ------
        MissingReplyError
            If there is none.
        DamagedFileError
            If its content is not what was kept.
        ArchiveError
            With which the exchange has ended, if it failed for good.
        """
        path = self._request_path(exchange)
        if not path.exists():
            hint = "run without replay and with replies.keep: true to ask for it"
            if self._full_mark.exists():
                hint = f"the folder was full ({self._full_mark.read_text().strip()}); {hint}"
            raise MissingReplyError(
                f"{self._name}: {exchange}: no reply to it is kept in {self.folder}; {hint}"
            )
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise DamagedFileError(f"{path}: no record of a reply ({error}); remove it") from error
        if "error" in record:
            said = record["error"]
            raise _LASTING_ERRORS[said["class"]](said["message"], status=said["status"])
        kept = record["reply"]
        return Reply(kept["status"], kept["reason"], kept["headers"], self._body(kept))

    def _body(self, kept: Mapping[str, Any]) -> IO[bytes]:
        path = self._body_path(kept["body"])
        with ExitStack() as on_error:
            spool = on_error.enter_context(tempfile.SpooledTemporaryFile(max_size=SPOOL_BYTES))
            body = cast(IO[bytes], spool)
            self._unpack(path, body, kept)
            on_error.pop_all()
        body.seek(0)
        return body

    def _unpack(self, path: Path, body: IO[bytes], kept: Mapping[str, Any]) -> None:
        digest, n_bytes = hashlib.sha256(), 0
        try:
            with pa.OSFile(str(path)) as file, pa.CompressedInputStream(file, "zstd") as stream:
                # A file that was tampered with may grow without end.
                while n_bytes <= kept["bytes"] and (chunk := stream.read(_CHUNK_BYTES)):
                    digest.update(chunk)
                    n_bytes += len(chunk)
                    body.write(chunk)
        except OSError as error:
            raise DamagedFileError(f"{path}: a kept reply cannot be read: {error}") from error
        if digest.hexdigest() != kept["body"]:
            raise DamagedFileError(
                f"{path}: the SHA-256 of a kept reply is {digest.hexdigest()}, expected"
                f" {kept['body']}; remove the file, and run with replies.keep: true to ask anew"
            )

    def _keep(
        self, exchange: Exchange, record: bytes, digest: str = "", body: IO[bytes] | None = None
    ) -> None:
        path = self._request_path(exchange)
        body_path = self._body_path(digest) if body else None
        has_body = body_path is None or body_path.exists()
        if has_body and path.exists() and path.read_bytes() == record:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        # Compressed before the lock is taken: others may have small replies meanwhile.
        new_body = None if has_body or body is None else self._compressed(body)
        try:
            n_bytes = len(record) + (new_body.stat().st_size if new_body else 0)
            if self._has_room(n_bytes):
                if new_body and body_path:
                    body_path.parent.mkdir(parents=True, exist_ok=True)
                    new_body.replace(body_path)
                self._write(path, record)
        finally:
            if new_body:
                new_body.unlink(missing_ok=True)

    def _compressed(self, body: IO[bytes]) -> Path:
        path = self._temporary()
        with pa.CompressedOutputStream(str(path), "zstd") as stream:
            while chunk := body.read(_CHUNK_BYTES):
                stream.write(chunk)
        body.seek(0)
        return path

    def _write(self, path: Path, content: bytes) -> None:
        temporary = self._temporary()
        temporary.write_bytes(content)
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.replace(path)

    def _temporary(self) -> Path:
        """Return a path that no other process writes to."""
        folder = self.folder / "unfinished"
        folder.mkdir(exist_ok=True)
        return folder / uuid.uuid4().hex

    def _has_room(self, n_bytes: int) -> bool:
        """Reserve room for new files, if there is any."""
        if self._is_full:
            return False
        size = self.folder / "size"
        with FileLock(self.folder / "size.lock", fallback_to_soft=False):
            used = int(size.read_text()) if size.exists() else 0
            if used + n_bytes > self._max_bytes:
                # Files that were replaced or removed, and jobs that were killed, are in the sum.
                used = _size_bytes(self.folder)
            self._is_full = used + n_bytes > self._max_bytes
            self._write(size, str(used if self._is_full else used + n_bytes).encode())
            if self._is_full:
                self._write(self._full_mark, f"replies.max_gb: {self._max_gb:g}\n".encode())
            else:
                self._full_mark.unlink(missing_ok=True)
        if self._is_full:
            _log.warning(
                "%s: found %.3f GB of replies, and replies.max_gb is %g: no more are kept, and a"
                " replay will lack them; raise replies.max_gb",
                self.folder,
                used / _BYTES_PER_GB,
                self._max_gb,
            )
        return not self._is_full

    @contextmanager
    def _writable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise ResultError(
                f"{self.folder}: a reply cannot be kept ({error.strerror or error}), expected a"
                " folder that can be written; change replies.folder, or set replies.keep: false"
            ) from error

    @property
    def _full_mark(self) -> Path:
        return self.folder / "full"

    def _request_path(self, exchange: Exchange) -> Path:
        return self.folder / "requests" / exchange.key[:2] / f"{exchange.key}.json"

    def _body_path(self, digest: str) -> Path:
        return self.folder / "bodies" / digest[:2] / f"{digest}.zst"


def _record(exchange: Exchange, **outcome: Any) -> bytes:
    request = {"method": exchange.method, "url": exchange.url, "content": exchange.content}
    return json_bytes({"request": request, **outcome})


def _examined(body: IO[bytes]) -> tuple[str, int]:
    """Return the digest and the size of a body."""
    digest, n_bytes = hashlib.sha256(), 0
    while chunk := body.read(_CHUNK_BYTES):
        digest.update(chunk)
        n_bytes += len(chunk)
    body.seek(0)
    return digest.hexdigest(), n_bytes


def _is_in_body(token: Token, body: IO[bytes]) -> bool:
    """Tell whether a token stands in a body."""
    end, found = b"", False
    while chunk := body.read(_CHUNK_BYTES):
        found = found or token.stands_in(end + chunk)
        end = (end + chunk)[-len(token) :]
    body.seek(0)
    return found


def _size_bytes(folder: Path) -> int:
    """Return the size of the replies in a folder, but for those that are being written."""
    return sum(
        (Path(parent) / name).stat().st_size
        for kind in ("requests", "bodies")
        for parent, _, names in os.walk(folder / kind)
        for name in names
    )
