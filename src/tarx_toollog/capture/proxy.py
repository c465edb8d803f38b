"""The reverse proxy: zero-code capture. It is a plain forwarder wrapped in the middleware.

The upstream is fixed at start; no header, target, body or query can change it, redirects are handed to the client and
the environment's proxies are ignored. Bytes pass unchanged in both directions; of the headers only these are dropped:
hop-by-hop ones (RFC 9110 §7.6.1), since each side frames its own connection, and what a browser and a server tell each
other about origins, since here the guard answers for them.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import httpx

from tarx_toollog.capture.access import Access
from tarx_toollog.capture.guard import CORS_PREFIX, TOKEN_HEADER, ProxyGuard, refuse
from tarx_toollog.capture.headers import without_session
from tarx_toollog.capture.middleware import FAULT, ASGIApp, Fault, Receive, Scope, Send, ToolLogMiddleware
from tarx_toollog.capture.recorder import recorder_for
from tarx_toollog.config import Settings

if TYPE_CHECKING:
    from tarx_toollog.capture.upstream import Answer, Upstream

_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
# Our connection names its own host; our server has said 100 already; the origin is judged; the token is ours.
_NOT_FORWARDED = frozenset({b"host", b"expect", b"origin", TOKEN_HEADER})
_SENT_AT_ONCE = 2**20 - 1  # bytes; more in one write would hold up the loop
PLACE = "/toollog"
"""What belongs to us of the address space; everything else is the model server's."""
HEALTH_PATH = f"{PLACE}/healthz"


class ToolLogProxy:
    """An ASGI application that forwards everything to the model server and logs what it says.

    Example::

        uvicorn.run(ToolLogProxy(), host="127.0.0.1", port=11450)

    Args:
        settings: Settings to use; those in force when left out.
        pages: The application that answers under ``PLACE``; left out, such requests are passed on like all others.
        access: Who is let in to all but the pages; what the settings say when left out.

    Raises:
        StoreError: A token is needed, and its file cannot be made or holds none.
    """

    def __init__(
        self, *, settings: Settings | None = None, pages: ASGIApp | None = None, access: Access | None = None
    ) -> None:
        self.settings = settings or Settings.load()
        self._pages = pages
        self._name = _without_login(self.settings.upstream)
        self._upstream: Upstream | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._app = ToolLogMiddleware(self._serve, settings=self.settings, leg="proxy", upstream=self._name)
        access = access or Access.by_settings(self.settings, "chat", self.settings.host)
        self._guard = ProxyGuard(self._app, access, self.settings.allowed_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif self._pages is None or not _is_for_pages(scope):
            await self._guard(scope, receive, send)
        elif unknown := self._guard.unknown_host(scope):
            await refuse(send, unknown)
        else:
            # Past the rest of the guard, since the pages have their own; and nobody talks to a model there.
            await self._pages({**scope, "root_path": scope.get("root_path", "") + PLACE}, receive, send)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1003})
        elif scope["path"] == HEALTH_PATH:
            await _json(send, 200, self._health())
        elif not scope["path"].startswith("/"):
            # OPTIONS *, or with some HTTP parsers a whole URL as to a forward proxy, which could name another host.
            await _json(send, 400, _error_body(400, "invalid_request_error", "the target must be a path"))
        else:
            await _Forward(self._upstream_of_this_loop(), self._name, scope, receive, send).run()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        if self._upstream is not None:
            await self._upstream.aclose()
            self._upstream = None
        await send({"type": "lifespan.shutdown.complete"})

    def _upstream_of_this_loop(self) -> "Upstream":
        loop = asyncio.get_running_loop()
        if self._upstream is None or self._loop is not loop:
            from tarx_toollog.capture.upstream import Upstream  # aiohttp costs 100 ms to import

            self._loop = loop
            self._upstream = Upstream(
                self.settings.upstream,
                connect_timeout_s=self.settings.connect_timeout_s,
                read_timeout_s=self.settings.read_timeout_s,
            )
        return self._upstream

    def _health(self) -> dict[str, Any]:
        recorder = recorder_for(self.settings)
        return {
            "status": "ok" if recorder.last_error is None else "degraded",
            "upstream": self._name,
            "lost": recorder.lost,
            "shed": recorder.shed,
            "failures": recorder.failures,
            "last_error": recorder.last_error,
        }


class _Forward:
    """One forwarded request."""

    def __init__(self, upstream: "Upstream", name: str, scope: Scope, receive: Receive, send: Send) -> None:
        self._upstream = upstream
        self._name = name
        self._scope = scope
        self._receive = receive
        self._send = send
        self._body_read = asyncio.Event()
        self._is_gone = False
        """The client hung up. Whatever fails after that is only the echo of it."""

    async def run(self) -> None:
        """Forward, and stop at once when the client hangs up: a model that nobody listens to blocks the others."""
        forward = asyncio.create_task(self._forward())
        watch = asyncio.create_task(self._watch_client())
        try:
            await asyncio.wait({forward, watch}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (forward, watch):
                task.cancel()
            results = await asyncio.gather(forward, watch, return_exceptions=True)
        for error in results:
            if isinstance(error, Exception) and not self._is_gone:
                raise error

    async def _watch_client(self) -> None:
        await self._body_read.wait()
        while not self._is_gone:
            self._is_gone = (await self._receive())["type"] == "http.disconnect"

    async def _forward(self) -> None:
        # Nothing is added: the model server should see the client's own headers.
        headers = self._scope["headers"]
        has_body = any(key.lower() in (b"content-length", b"transfer-encoding") for key, _ in headers)
        kept = _forward_headers(headers, drop=_NOT_FORWARDED)
        body = await self._upload(kept)
        try:
            answer = await self._upstream.ask(
                self._scope["method"], _target(self._scope), kept, body if has_body else None
            )
        except httpx.TimeoutException as error:
            await self._fault(Fault("timeout", error), 504, "did not answer")
        except httpx.TransportError as error:
            await self._fault(Fault("proxy", error), 502, "cannot be reached")
        else:
            try:
                await self._pass_on(answer)
            finally:
                answer.close()

    async def _pass_on(self, answer: "Answer") -> None:
        headers = [pair for pair in _forward_headers(answer.headers) if not pair[0].startswith(CORS_PREFIX)]
        await self._send({"type": "http.response.start", "status": answer.status, "headers": headers})
        try:
            async for data in answer.pieces():
                await self._send({"type": "http.response.body", "body": data, "more_body": True})
        except httpx.TransportError as error:
            if not self._is_gone:
                side = "timeout" if isinstance(error, httpx.TimeoutException) else "upstream"
                self._scope[FAULT] = Fault(side, error)
            raise  # the answer has begun: the only truth left is a broken connection
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _upload(self, headers: list[tuple[bytes, bytes]]) -> bytes | AsyncIterator[bytes]:
        """Return the body: whole where it came at once, since it can then be sent with the head; else in pieces."""
        pieces = self._body()
        first = await anext(pieces, b"")
        is_sized = any(key == b"content-length" for key, _ in headers)
        if self._body_read.is_set() and is_sized and len(first) <= _SENT_AT_ONCE:
            return first
        return _chain(first, pieces)

    async def _body(self) -> AsyncIterator[bytes]:
        more = True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                self._is_gone = True
                self._body_read.set()
                raise httpx.WriteError("the client hung up before its request was complete")
            data = message.get("body", b"")
            more = message.get("more_body", False)
            if not more:
                self._body_read.set()
            if data:
                yield data

    async def _fault(self, fault: Fault, status: int, what: str) -> None:
        if self._is_gone:
            return
        self._scope[FAULT] = fault
        kind = "upstream_timeout" if fault.side == "timeout" else "upstream_unreachable"
        text = f"the model server at {self._name} {what}: {str(fault.error) or type(fault.error).__name__}"
        await _json(self._send, status, _error_body(status, kind, text))


async def _chain(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if first:
        yield first
    async for piece in rest:
        yield piece


def _is_for_pages(scope: Scope) -> bool:
    path = scope["path"] if scope["type"] == "http" else ""
    return path != HEALTH_PATH and (path == PLACE or path.startswith(f"{PLACE}/"))


def _target(scope: Scope) -> bytes:
    raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode("ascii")
    query: bytes = scope.get("query_string") or b""
    return without_session(raw.split(b"?", 1)[0]) + (b"?" + query if query else b"")


def _forward_headers(headers: Any, drop: frozenset[bytes] = frozenset()) -> list[tuple[bytes, bytes]]:
    pairs = [(key.lower(), value) for key, value in headers]
    named = {token.strip().lower() for key, value in pairs if key == b"connection" for token in value.split(b",")}
    skip = _HOP_BY_HOP | named | drop
    if any(key == b"transfer-encoding" for key, _ in pairs):
        skip |= {b"content-length"}  # RFC 9112 §6.3: it counts for nothing, and the next server might think otherwise
    return [(key, value) for key, value in pairs if key not in skip]


def _without_login(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _error_body(status: int, kind: str, text: str) -> dict[str, Any]:
    return {"error": {"message": text, "type": kind, "code": status, "param": None}}


async def _json(send: Send, status: int, body: dict[str, Any]) -> None:
    data = json.dumps(body).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(data)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": data, "more_body": False})
