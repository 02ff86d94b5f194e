"""The gate in front of all services: token, fault script, log."""

import asyncio
import time
from collections.abc import Mapping
from email.utils import formatdate
from urllib.parse import parse_qsl

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, UploadFile
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from laboratory import documents
from laboratory.exchange import Exchange, RequestProblemError, Service
from laboratory.faults import FaultScript, Rule
from laboratory.hostile import REPLIES
from laboratory.requestlog import RequestLog, utc_text
from laboratory.wires import Wires

#: Largest part of a form [bytes] that is not a file, for example a query with a long IN list.
LARGEST_FIELD = 64 * 2**20
#: Hosts that clients ask at an address that cannot be set, and the service that answers for
#: them when such a client uses the laboratory as its proxy.
HOSTS = {"mastresolver.stsci.edu": "mast"}
#: A service whose client knows a host and a port, but no path: it answers at the root too.
ROOT_SERVICE, ROOT_PATHS = "kowalski", ("/", "/api/")
#: Size [bytes] of what is sent at a time to a slowed client.
SLOW_PIECE = 256


class Gate:
    """ASGI middleware that all requests to services pass.

    Parameters
    ----------
    app : ASGI application
        With the routes of all services.
    services : mapping of str to Service
        By name.
    script : FaultScript
        Decides which requests fail.
    log : RequestLog
        Told of each request when it has ended.
    tokens : mapping of str to str
        By service the token that it demands.
    wires : Wires
        The connections, to be cut or reset.
    """

    def __init__(
        self,
        app: ASGIApp,
        services: Mapping[str, Service],
        script: FaultScript,
        log: RequestLog,
        tokens: Mapping[str, str],
        wires: Wires,
    ) -> None:
        self._app = app
        self._services = services
        self._script = script
        self._log = log
        self._tokens = tokens
        self._wires = wires

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        scope = _without_host(scope)
        if ROOT_SERVICE in self._services:
            scope = _from_root(scope)
        name = scope["path"].split("/")[1] if scope["type"] == "http" else ""
        if name not in self._services:
            await self._app(scope, receive, send)
            return
        service = self._services[name]
        exchange = Exchange(
            name, scope["method"], scope["path"].removeprefix(f"/{name}"), Headers(scope=scope)
        )
        wire = Sender(send, self._wires, scope, self._log, exchange)
        try:
            await self._read(service, exchange, scope, receive)
            token = self._tokens.get(name)
            if token is not None and (denied := service.authenticate(exchange, token)):
                await denied(scope, receive, wire)
                return
            exchange.rule = self._script.choose(exchange)
            scope["exchange"] = exchange
            await self._serve(service, exchange, scope, receive, wire)
        except ClientDisconnect:
            # The client has gone while it sent its request; the log shows status 0.
            return
        finally:
            wire.end()

    async def _read(
        self, service: Service, exchange: Exchange, scope: Scope, receive: Receive
    ) -> None:
        request = Request(scope, receive)
        exchange.body = await request.body()
        _add(exchange, parse_qsl(scope["query_string"].decode(), keep_blank_values=True))
        if exchange.headers.get("content-type", "").startswith(
            ("multipart/form-data", "application/x-www-form-urlencoded")
        ):
            async with request.form(max_part_size=LARGEST_FIELD) as form:
                for key, value in form.multi_items():
                    if isinstance(value, UploadFile):
                        exchange.files[key] = await value.read()
                    else:
                        _add(exchange, [(key, value)])
        try:
            await run_in_threadpool(service.read, exchange)
        except RequestProblemError as problem:
            exchange.problem = problem

    async def _serve(
        self, service: Service, exchange: Exchange, scope: Scope, receive: Receive, wire: "Sender"
    ) -> None:
        rule = exchange.rule
        if rule is None:
            await self._app(scope, receive, wire)
            return
        if rule.late:
            await self._app(scope, receive, _swallow)
        if rule.action == "timeout":
            await _hang(receive, rule.seconds)
            await wire.close()
        elif rule.action == "reset":
            await wire.reset()
        elif response := _refusal(service, rule):
            await response(scope, receive, wire)
        else:
            wire.rule = rule
            await self._app(scope, receive, wire)


class Sender:
    """Sends a reply, counts its bytes, logs its end, slows or cuts it if a rule says so."""

    def __init__(
        self, send: Send, wires: Wires, scope: Scope, log: RequestLog, exchange: Exchange
    ) -> None:
        self._send = send
        self._wires = wires
        self._scope = scope
        self._log = log
        self._exchange = exchange
        self._start_s = time.time()
        self._is_logged = False
        self._length = 0
        self.rule: Rule | None = None
        self.status = 0
        self.bytes_sent = 0

    async def __call__(self, message: Message) -> None:
        """Pass on a part of the reply."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._length = int(Headers(raw=message["headers"]).get("content-length", 0))
            await self._send(message)
            return
        body = message.get("body", b"")
        if self.rule is not None and self.rule.action == "slow":
            await self._send_slowly(body, self.rule.bytes_per_s)
            body = b""
        elif self.rule is not None and self.rule.action == "cut":
            limit = self.rule.after_bytes
            if limit < 0:
                limit = int(self._length * self.rule.fraction)
            body = body[: max(0, limit - self.bytes_sent)]
            await self._send({"type": "http.response.body", "body": body, "more_body": True})
            self.bytes_sent += len(body)
            if self.bytes_sent >= limit or not message.get("more_body"):
                await self.close()
            return
        self.bytes_sent += len(body)
        is_last = not message.get("more_body")
        if is_last:
            self._log.expect(self)
        await self._send({**message, "body": body})
        if is_last:
            self.end()

    def end(self) -> None:
        """Log the request, once."""
        if not self._is_logged:
            self._is_logged = True
            end_s = time.time()
            self._log.add(self, _record(self._exchange, self, self._start_s, end_s))

    async def _send_slowly(self, body: bytes, bytes_per_s: float) -> None:
        for begin in range(0, len(body), SLOW_PIECE):
            piece = body[begin : begin + SLOW_PIECE]
            await asyncio.sleep(len(piece) / bytes_per_s)
            await self._send({"type": "http.response.body", "body": piece, "more_body": True})
            self.bytes_sent += len(piece)

    async def close(self) -> None:
        """Close the connection after what has been sent."""
        self.end()
        await self._wires.close(self._scope["client"])

    async def reset(self) -> None:
        """Break the connection with a TCP reset."""
        self.end()
        await self._wires.reset(self._scope["client"])


def _refusal(service: Service, rule: Rule) -> Response | None:
    """Return the reply of a rule that does not let the service answer."""
    if rule.action in ("status", "out_of_service"):
        # Load balancers answer for a busy service, not in its protocol.
        response: Response = documents.text_error(rule.message, rule.status)
        if rule.retry_after_s is not None:
            response.headers["retry-after"] = (
                formatdate(time.time() + rule.retry_after_s, usegmt=True)
                if rule.retry_after_date
                else f"{rule.retry_after_s:g}"
            )
        return response
    if rule.action == "votable_error":
        return service.error(rule.message, 200)
    if rule.action == "html":
        page = f"<!DOCTYPE html><html><body><h1>Maintenance</h1><p>{rule.message}</p></body></html>"
        return HTMLResponse(page)
    if rule.action == "hostile":
        return REPLIES[rule.reply]()
    return None


async def _hang(receive: Receive, seconds: float) -> None:
    """Wait until the client has gone, at most some time."""

    async def gone() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    try:
        await asyncio.wait_for(gone(), None if seconds == float("inf") else seconds)
    except TimeoutError:
        return


async def _swallow(message: Message) -> None:
    """Take a reply that nobody is to see."""


def _without_host(scope: Scope) -> Scope:
    """Return a request to a proxy (``GET http://host/path``) as one to a service."""
    if scope["type"] != "http" or not scope["path"].startswith("http://"):
        return scope
    host, _, path = scope["path"].removeprefix("http://").partition("/")
    return {**scope, "path": f"/{HOSTS.get(host, host)}/{path}"}


def _from_root(scope: Scope) -> Scope:
    """Return a request without a service's name as one to the service at the root."""
    whole, start = ROOT_PATHS
    if scope["type"] == "http" and (scope["path"] == whole or scope["path"].startswith(start)):
        return {**scope, "path": f"/{ROOT_SERVICE}{scope['path']}"}
    return scope


def _add(exchange: Exchange, pairs: list[tuple[str, str]]) -> None:
    exchange.pairs += pairs
    for key, value in pairs:
        name = key.upper()
        if name == "UPLOAD" and name in exchange.parameters:
            value = f"{exchange.parameters[name]};{value}"
        exchange.parameters[name] = value


def _record(exchange: Exchange, wire: Sender, start_s: float, end_s: float) -> dict[str, object]:
    return {
        "start": utc_text(start_s),
        "end": utc_text(end_s),
        "start_s": round(start_s, 6),
        "end_s": round(end_s, 6),
        "service": exchange.service,
        "method": exchange.method,
        "path": exchange.path,
        "status": wire.status,
        "bytes_in": len(exchange.body),
        "bytes_out": wire.bytes_sent,
        "rows": exchange.rows,
        "targets": exchange.targets,
        "times": exchange.times,
        "fault": exchange.rule.action if exchange.rule is not None else None,
    }
