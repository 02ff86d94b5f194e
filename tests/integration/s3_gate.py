"""A gate before an S3 server that refuses what a real store would refuse.

It knows one user and one region, and bucket by bucket whether anybody may read, or whoever pays. It
computes the signature of every signed request itself, from the rules of AWS Signature Version 4
(https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html), and keeps account
of what it lets through.
"""

import hashlib
import hmac
import http.client
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import parse_qsl, quote, urlsplit

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/]+)/(?P<date>\d{8})/(?P<region>[^/]+)/s3/aws4_request,"
    r" ?SignedHeaders=(?P<headers>[^,]+), ?Signature=(?P<signature>[0-9a-f]{64})"
)
_HOP_HEADERS = frozenset({"connection", "transfer-encoding", "authorization", "host"})


@dataclass(frozen=True)
class Passed:
    """A request that was let through: what was read, by whom, and how many bytes it returned."""

    method: str
    path: str
    user: str
    payer: str
    n_bytes: int


@dataclass
class Gate:
    """What the gate knows, and what it has seen.

    Attributes
    ----------
    upstream : str
        Endpoint of the server behind it, which trusts everybody.
    region : str
        Region of all buckets.
    key, secret : str
        The user.
    token : str
        Session token that is valid; empty if the user needs none.
    open_buckets : frozenset of str
        Buckets that anybody may read.
    paid_buckets : frozenset of str
        Buckets whose readers pay: they have to be known, and to say so.
    tells_region : bool
        Whether a refusal for the region says which one is right, as S3 does.
    """

    upstream: str
    region: str = "eu-central-1"
    key: str = "reader"
    secret: str = "secret-of-the-reader"
    token: str = ""
    open_buckets: frozenset[str] = frozenset()
    paid_buckets: frozenset[str] = frozenset()
    tells_region: bool = True
    passed: list[Passed] = field(default_factory=list)
    refused: list[tuple[str, int, str]] = field(default_factory=list)
    url: str = ""

    def refusal(
        self, method: str, target: str, headers: Mapping[str, str]
    ) -> tuple[int, str, str] | None:
        """Return why a request is refused: status, code and message; None if it is not."""
        bucket = urlsplit(target).path.split("/")[1]
        authorization = headers.get("authorization", "")
        if not authorization:
            anybody = bucket in self.open_buckets
            return None if anybody else (403, "AccessDenied", "Access Denied")
        scope = _AUTHORIZATION.fullmatch(authorization)
        if scope is None:
            return 400, "AuthorizationHeaderMalformed", "The authorization header is malformed"
        if scope["key"] != self.key:
            return 403, "InvalidAccessKeyId", "The access key id does not exist in our records."
        if headers.get("x-amz-security-token", "") != self.token:
            return 400, "ExpiredToken", "The provided token has expired."
        if scope["region"] != self.region:
            text = f"the region '{scope['region']}' is wrong; expecting '{self.region}'"
            return 400, "AuthorizationHeaderMalformed", text
        if not hmac.compare_digest(scope["signature"], self._signature(method, target, headers)):
            return 403, "SignatureDoesNotMatch", "The request signature does not match."
        if bucket in self.paid_buckets and headers.get("x-amz-request-payer") != "requester":
            return 403, "AccessDenied", "Access Denied"
        return None

    def _signature(self, method: str, target: str, headers: Mapping[str, str]) -> str:
        scope = _AUTHORIZATION.fullmatch(headers["authorization"])
        assert scope is not None
        path, query = urlsplit(target)[2:4]
        signed = scope["headers"].split(";")
        pairs = sorted(
            (quote(name, safe="-_.~"), quote(value, safe="-_.~"))
            for name, value in parse_qsl(query, keep_blank_values=True)
        )
        canonical = "\n".join(
            [
                method,
                path,
                "&".join(f"{name}={value}" for name, value in pairs),
                *(f"{name}:{' '.join(headers[name].split())}" for name in signed),
                "",
                scope["headers"],
                headers["x-amz-content-sha256"],
            ]
        )
        steps = [scope["date"], self.region, "s3", "aws4_request"]
        text = "\n".join(
            [
                "AWS4-HMAC-SHA256",
                headers["x-amz-date"],
                "/".join(steps),
                hashlib.sha256(canonical.encode()).hexdigest(),
            ]
        )
        key = f"AWS4{self.secret}".encode()
        for step in [*steps, text]:
            key = hmac.new(key, step.encode(), hashlib.sha256).digest()
        return key.hex()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    gate: ClassVar[Gate]

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: Any) -> None:
        """Write nothing: the gate keeps account."""

    def _answer(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        refusal = self.gate.refusal(self.command, self.path, headers)
        if refusal is None:
            self._pass(headers)
        else:
            self._refuse(*refusal)

    def _refuse(self, status: int, code: str, message: str) -> None:
        self.gate.refused.append((self.command, status, code))
        told = self.gate.tells_region and code == "AuthorizationHeaderMalformed"
        region = f"<Region>{self.gate.region}</Region>" if told else ""
        text = f"<Error><Code>{code}</Code><Message>{message}</Message>{region}</Error>".encode()
        self.send_response(status)
        if told:
            self.send_header("x-amz-bucket-region", self.gate.region)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        # As S3 does: the answer to HEAD has no body that would tell the reason.
        if self.command != "HEAD":
            self.wfile.write(text)

    def _pass(self, headers: dict[str, str]) -> None:
        upstream = urlsplit(self.gate.upstream)
        assert upstream.hostname is not None
        connection = http.client.HTTPConnection(upstream.hostname, upstream.port)
        sent = {name: value for name, value in headers.items() if name not in _HOP_HEADERS}
        connection.request(self.command, self.path, headers=sent)
        reply = connection.getresponse()
        content = reply.read()
        connection.close()
        scope = _AUTHORIZATION.fullmatch(headers.get("authorization", ""))
        self.gate.passed.append(
            Passed(
                self.command,
                urlsplit(self.path).path,
                scope["key"] if scope else "",
                headers.get("x-amz-request-payer", ""),
                len(content),
            )
        )
        self.send_response(reply.status)
        for name, value in reply.getheaders():
            if name.lower() not in _HOP_HEADERS:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def serve_gate(gate: Gate) -> Iterator[Gate]:
    """Open the gate at a port of its own; its `url` is the endpoint."""
    handler = type("Handler", (_Handler,), {"gate": gate})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        gate.url = f"http://127.0.0.1:{server.server_address[1]}"
        try:
            yield gate
        finally:
            server.shutdown()
            thread.join()
