"""The ASGI tap: mounted on the Workbench (or on our own proxy), it sees each request to a model route.

Two objects, as in Starlette: a configured, stateless ``ToolLogMiddleware``, and a ``_Tap`` per request that wraps
``receive`` and ``send``. Pure ASGI: ``BaseHTTPMiddleware`` costs 11 µs a chunk and hides disconnects.

What passes is never changed, delayed or copied; pieces are kept by reference. ``receive`` goes on delegating after
the body is complete, so that the application still learns of a disconnect.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import replace
from typing import Any, NamedTuple

import anyio
import anyio.to_thread

from tarx_toollog.capture import admission
from tarx_toollog.capture.capture import Capture
from tarx_toollog.capture.context import Inbound, inbound
from tarx_toollog.capture.headers import client_key, conversation_hint
from tarx_toollog.capture.recorder import Recorder, recorder_or_none
from tarx_toollog.config import Settings
from tarx_toollog.model import Leg
from tarx_toollog.wire.protocols import is_model_route, may_be_chat

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

_CANCELLED_S = 1.0  # a transport whose answer nobody reads to the end must not hold up the shutdown for longer
_MARK = "tarx_toollog.captured"
FAULT = "tarx_toollog.fault"
"""Key in the scope under which our proxy says what went wrong on its way to the server: a ``Fault``."""


class Fault(NamedTuple):
    """What went wrong between our proxy and the server."""

    side: str
    """As ``End.exception_side``."""
    error: Exception


class ToolLogMiddleware:
    """Log every exchange with a model that passes through an ASGI application.

    Example::

        app = FastAPI()
        app.add_middleware(ToolLogMiddleware)

    Args:
        app: The application.
        settings: Settings to use; those in force when left out.
        leg: Name of the tap in the log.
        upstream: Base URL of the model server, where the application is our proxy.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        settings: Settings | None = None,
        leg: Leg = "middleware",
        upstream: str | None = None,
    ) -> None:
        self.app = app
        self.leg = leg
        self.upstream = upstream
        self.recorder = recorder_or_none(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if self.recorder is None or scope["type"] not in ("http", "lifespan"):
            await self.app(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(self.recorder, scope, receive, send)
        elif _MARK in scope:  # mounted twice: the outer one sees it
            await self.app(scope, receive, send)
        else:
            await self._http(self.recorder, scope, receive, send)

    async def _lifespan(self, recorder: Recorder, scope: Scope, receive: Receive, send: Send) -> None:
        recorder.hold()  # so that the first chat does not pay for opening the journal
        released = False

        async def release_first(message: Message) -> None:
            nonlocal released
            if message["type"].startswith("lifespan.shutdown.") and not released:
                # Before the server hears that it may go: uvicorn ends the process right after that. In a thread:
                # the last transactions may take a while, and other lifespans want to end as well.
                released = True
                await _end_of_exchanges(recorder)
                await anyio.to_thread.run_sync(recorder.release)
            await send(message)

        try:
            await self.app(scope, receive, release_first)
        finally:
            if not released:  # an application without a lifespan
                await anyio.to_thread.run_sync(recorder.release)

    async def _http(self, recorder: Recorder, scope: Scope, receive: Receive, send: Send) -> None:
        scope[_MARK] = True
        if not await admission.admitted(recorder, scope["method"], scope["path"]):
            await _refuse(send)
            return
        origin = _origin(recorder, scope)
        capture = self._begin(recorder, origin, scope)
        if capture is not None:
            await _Tap(capture, origin, scope, receive, send).run(self.app)
            return
        # A chat route of the Workbench's own: not ours to read, but the model calls that it makes belong to it.
        token = inbound.set(origin)
        try:
            await self.app(scope, receive, send)
        finally:
            inbound.reset(token)

    def _begin(self, recorder: Recorder, origin: Inbound, scope: Scope) -> Capture | None:
        method, path = scope["method"], scope["path"]
        try:
            is_known = is_model_route(method, path)
            if not is_known and not may_be_chat(method, path):
                return None
        except Exception as error:  # noqa: BLE001 - a protocol of somebody else's, asked for every request
            recorder.failed(error)
            return None
        return Capture.begin(
            recorder,
            leg=self.leg,
            method=method,
            path=path,
            headers=scope["headers"],
            client_key=origin.client_key,
            upstream=self.upstream,
            conversation_hint=origin.conversation_hint,
            hint_source=origin.hint_source,
            tentative=not is_known,
        )


class _Tap:
    """One captured request."""

    def __init__(self, capture: Capture, origin: Inbound, scope: Scope, receive: Receive, send: Send) -> None:
        self._capture = capture
        self._origin = origin
        self._scope = scope
        self._receive = receive
        self._send = send
        self._disconnected = False
        self._final_seen = False

    async def run(self, app: ASGIApp) -> None:
        """Serve the request and end the capture, whatever happens."""
        token = inbound.set(replace(self._origin, capture=self._capture))
        try:
            await app(self._scope, self.receive, self.send)
        except BaseException as error:
            self._end(error)
            raise
        else:
            self._end(None)
        finally:
            inbound.reset(token)

    async def receive(self) -> Message:
        """Pass on the next message from the client."""
        message = await self._receive()
        if message["type"] == "http.request":
            self._capture.request_data(message.get("body", b""))
            if not message.get("more_body", False):
                self._capture.request_done()
        elif message["type"] == "http.disconnect":
            self._hung_up()
        return message

    async def send(self, message: Message) -> None:
        """Pass on the next message of the application, after it is safe."""
        kind, is_last = message["type"], False
        if kind == "http.response.body":
            capture, body = self._capture, message.get("body", b"")
            if body:
                capture.response_data(body)
            if not message.get("more_body", False):
                is_last = True
                capture.response_done()
            if capture.is_unsynced:
                await capture.synced()
        elif kind == "http.response.start":
            headers = message.get("headers", ())
            if not isinstance(headers, list | tuple):  # an iterator can be read only once
                message = {**message, "headers": list(headers)}
            self._capture.response_start(message["status"], message.get("headers", ()))
        try:
            await self._send(message)
        except OSError:
            self._hung_up()  # the server says that the client is gone
            raise
        if is_last:
            self._final_seen = True

    def _hung_up(self) -> None:
        # Servers report a disconnect after every response; only one before its end means something.
        self._disconnected = self._disconnected or not self._final_seen

    def _end(self, error: BaseException | None) -> None:
        fault: Fault | None = self._scope.get(FAULT)
        side: str | None = None
        if error is not None and not isinstance(error, Exception):
            # Cancelled: some servers do so when the client hung up, all of them at shutdown.
            self._hung_up()
            error = None
        if fault is not None:
            side, error = fault
        elif error is not None and not self._disconnected:
            side = "app"  # after a hang-up it is how frameworks tell themselves about it (ClientDisconnect)
        self._capture.end(
            final_seen=self._final_seen,
            disconnected=self._disconnected,
            exception=error,
            exception_side=side,
        )


async def _refuse(send: Send) -> None:
    headers = [(name.encode(), value.encode()) for name, value in admission.HEADERS]
    headers.append((b"content-length", str(len(admission.BODY)).encode()))
    await send({"type": "http.response.start", "status": admission.STATUS, "headers": headers})
    await send({"type": "http.response.body", "body": admission.BODY, "more_body": False})


async def _end_of_exchanges(recorder: Recorder) -> None:
    """Wait a moment for exchanges that the server has cancelled: they need a few turns of the loop to end."""
    with anyio.move_on_after(_CANCELLED_S):
        while recorder.running:  # noqa: ASYNC110 - captures end in any thread, so no event of this loop can tell
            await anyio.sleep(0.005)


def _origin(recorder: Recorder, scope: Scope) -> Inbound:
    key = hint = source = None
    try:
        hint, source = conversation_hint(scope["path"], scope["headers"], recorder.settings.conversation_headers)
        host = (scope.get("client") or ("", 0))[0]
        key = client_key(scope["headers"], host, recorder.secret)
    except Exception as error:  # noqa: BLE001 - any error of ours must stay here
        recorder.failed(error)
    return Inbound(None, key, hint, source)
