"""A raw ASGI driver: scripted ``receive``, collected ``send``; and what a tap has stored.

httpx's ``ASGITransport`` collects whole responses and hides when a client hangs up, so it can prove nothing here.
"""

import asyncio
import json
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tarx_toollog.capture.capture import Capture
from tarx_toollog.capture.recorder import Recorder, recorder_for
from tarx_toollog.config import Settings
from tarx_toollog.store.log import ToolLog
from tests.support.upstream import chat_body

Message = MutableMapping[str, Any]
App = Callable[[Any, Any, Any], Awaitable[None]]

CHAT = "/v1/chat/completions"
REQUEST = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}]}).encode()
JSON_HEADERS = [(b"content-type", b"application/json")]
SSE_HEADERS = [(b"content-type", b"text/event-stream")]


@dataclass
class Driven:
    """What the server side saw of one request."""

    sent: list[Message] = field(default_factory=list)
    """Messages of the application, in order, as the very objects that it sent."""
    received: list[Message] = field(default_factory=list)
    """Messages that the server handed out."""
    error: BaseException | None = None
    """What the application raised."""

    @property
    def body(self) -> bytes:
        return b"".join(m.get("body", b"") for m in self.sent if m["type"] == "http.response.body")


def scope_for(
    *, method: str = "POST", path: str = CHAT, headers: Sequence[tuple[bytes, bytes]] = (), **more: Any
) -> dict[str, Any]:
    """Return an HTTP scope as uvicorn makes it."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "server": ("127.0.0.1", 80),
        "client": ("127.0.0.1", 50000),
        "scheme": "http",
        "method": method,
        "root_path": "",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": list(headers),
        "state": {},
        **more,
    }


async def drive(
    app: App,
    body: Sequence[bytes] = (REQUEST,),
    *,
    hang_up_after_received: int | None = None,
    hang_up_after_sent: int | None = None,
    send_error: Exception | None = None,
    **scope: Any,
) -> Driven:
    """Send one request to an application.

    Args:
        app: The application.
        body: Pieces of the request body, one message each.
        hang_up_after_received: Hang up after so many pieces of the body.
        hang_up_after_sent: Hang up after so many messages of the application.
        send_error: Raised by ``send`` once the client is gone; uvicorn says nothing.
        scope: As for ``scope_for``.
    """
    driven = Driven()
    pieces = list(body)
    gone = asyncio.Event()  # set when the client hung up or has the whole response

    async def receive() -> Message:
        number = len(driven.received)
        if hang_up_after_received is not None and number >= hang_up_after_received:
            gone.set()
        if number < len(pieces) and not gone.is_set():
            message: Message = {"type": "http.request", "body": pieces[number], "more_body": number + 1 < len(pieces)}
        else:
            await gone.wait()
            message = {"type": "http.disconnect"}
        driven.received.append(message)
        return message

    async def send(message: Message) -> None:
        if gone.is_set() and send_error is not None:
            raise send_error
        driven.sent.append(message)
        is_last = message["type"] == "http.response.body" and not message.get("more_body", False)
        if is_last or (hang_up_after_sent is not None and len(driven.sent) >= hang_up_after_sent):
            gone.set()
        await asyncio.sleep(0)

    try:
        await app(scope_for(**scope), receive, send)
    except BaseException as error:
        driven.error = error
    return driven


async def read_body(receive: Callable[[], Awaitable[Message]]) -> bytes:
    """Read a request body as an application does."""
    data, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError("client gone")
        data += message.get("body", b"")
        more = message.get("more_body", False)
    return data


def answering(messages: Sequence[Message], *, read: bool = True) -> App:
    """Return an application that reads its request and sends ``messages``."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if read:
            await read_body(receive)
        for message in messages:
            await send(message)

    return app


def start(status: int = 200, headers: Sequence[tuple[bytes, bytes]] = tuple(SSE_HEADERS)) -> Message:
    return {"type": "http.response.start", "status": status, "headers": list(headers)}


def piece(data: bytes, *, more: bool = True) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


ENDING_S = 1.0
"""A client has its last byte a moment before the server knows that the exchange is over."""


@contextmanager
def recording(folder: Path, **options: Any) -> Iterator[Settings]:
    """Yield settings for a database of a test's own, and close its recorder at the end."""
    settings = Settings(**{"database": str(folder / "toollog.db"), "idle_ms": 5, "probe": False, **options})
    try:
        yield settings
    finally:
        recorder_for(settings).close()


def query(settings: Settings, sql: str) -> list[dict[str, Any]]:
    """Run a SELECT on the database file, without waiting for anything."""
    assert settings.database_path is not None
    with closing(sqlite3.connect(f"file:{settings.database_path}?mode=ro", uri=True)) as connection:
        connection.row_factory = sqlite3.Row
        return [dict(row) for row in connection.execute(sql)]


def stored(settings: Settings, columns: str = "*") -> list[dict[str, Any]]:
    """Wait until all that was captured is in the database and return the exchanges, oldest first."""
    recorder = recorder_for(settings)
    deadline = time.monotonic() + ENDING_S
    while recorder.running and time.monotonic() < deadline:
        time.sleep(0.002)
    assert recorder.flush(20), recorder.last_error
    return query(settings, f"SELECT {columns} FROM exchange ORDER BY started_at, id")


def outcomes(settings: Settings) -> list[str]:
    return [row["outcome"] for row in stored(settings)]


def answer_text(settings: Settings, uid: str) -> str | None:
    """Return the text of the (partial) answer of an exchange."""
    with ToolLog.open(settings=settings) as log:
        response = log.exchange(uid).response
        return response.choices[0].message.text if response is not None and response.choices else None


def uids(settings: Settings) -> list[str]:
    return [row["uid"] for row in query(settings, "SELECT uid FROM exchange ORDER BY uid")]


def begin(recorder: Recorder) -> Capture:
    """Begin an exchange without any server."""
    capture = Capture.begin(
        recorder, leg="proxy", method="POST", path="/v1/chat/completions", headers=[], client_key=None
    )
    assert capture is not None
    capture.request_data(REQUEST)
    capture.request_done()
    return capture


def finish(capture: Capture) -> None:
    """End it with an answer."""
    capture.response_start(200, [(b"content-type", b"application/json")])
    capture.response_data(chat_body())
    capture.end(final_seen=True)


def exchange(recorder: Recorder) -> str:
    """Record a whole exchange and return its uid."""
    capture = begin(recorder)
    finish(capture)
    return capture.uid
