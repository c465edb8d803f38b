"""A model server that misbehaves as the first word of the question says."""

import gzip
import json
import re
import time
from collections.abc import Callable
from functools import cache

from tests.support.upstream import (
    CHUNKED,
    DONE,
    JSON,
    SSE,
    Connection,
    Request,
    chat_body,
    event,
    request_bytes,
    text_events,
    tool_events,
)

EVENTS = (*text_events(["Hello", " world"]), DONE)
BIG = 100_000_000
BOMB_BYTES = 150_000_000


def _stream(connection: Connection, events: tuple[bytes, ...] | list[bytes], *, end: bool = True) -> None:
    connection.head(200, SSE, CHUNKED)
    for data in events:
        connection.chunk(data)
    if end:
        connection.chunk(b"")


def _broken_off(connection: Connection, *, reset: bool) -> None:
    _stream(connection, EVENTS[:2], end=False)
    time.sleep(0.05)  # else a RST throws away what was sent before it
    if reset:
        connection.reset()
    else:
        connection.sock.close()


def _paced(connection: Connection) -> None:
    _stream(connection, (), end=False)
    for data in EVENTS:
        connection.chunk(data)
        time.sleep(0.03)
    connection.chunk(b"")


def _json(connection: Connection, body: bytes, status: int = 200, *headers: tuple[str, str]) -> None:
    connection.head(status, JSON, ("content-length", str(len(body))), *headers)
    connection.send(body)


def _endless(connection: Connection) -> None:
    _stream(connection, EVENTS[:2], end=False)
    connection.wait_gone(60)


def _silent(connection: Connection) -> None:
    connection.wait_gone(60)


def _in_pieces(connection: Connection, size: int) -> None:
    connection.head(200, SSE, ("content-length", str(sum(map(len, EVENTS)))))
    text = b"".join(EVENTS)
    for place in range(0, len(text), size):
        connection.send(text[place : place + size])


def _big(connection: Connection) -> None:
    body = chat_body("x" * 1_000_000)
    connection.head(200, JSON, ("content-length", str(BIG)))
    connection.send(body)
    left, spaces = BIG - len(body), b" " * 1_000_000
    while left:
        connection.send(spaces[:left])
        left -= min(left, len(spaces))


@cache
def bomb() -> bytes:
    return gzip.compress(chat_body("x" * BOMB_BYTES), 1)


_PLAYS: dict[str, Callable[[Connection], None]] = {
    "json": lambda up: _json(up, chat_body()),
    "stream": lambda up: _stream(up, EVENTS),
    "paced": _paced,
    "tool": lambda up: _stream(up, [*tool_events(), DONE]),
    "pieces": lambda up: _in_pieces(up, 7),
    "no-done": lambda up: _stream(up, EVENTS[:-1]),
    "cut": lambda up: _stream(up, EVENTS[:2]),
    "fin": lambda up: _broken_off(up, reset=False),
    "rst": lambda up: _broken_off(up, reset=True),
    "429": lambda up: _json(up, b'{"error":{"message":"slow down"}}', 429, ("retry-after", "7")),
    "500": lambda up: _json(up, b"<h1>no json at all</h1>", 500),
    "error-event": lambda up: _stream(up, [*EVENTS[:2], b'data: {"error":{"message":"out of memory"}}\n\n']),
    "garbage": lambda up: _stream(up, [EVENTS[0], b"data: {broken\n\n", b"\x00\xff\xfe\x80\n\n", *EVENTS[1:]]),
    "latin": lambda up: _json(up, chat_body("x").replace(b'"x"', b'"caf\xe9"')),
    "huge-event": lambda up: _stream(up, [*EVENTS[:1], event({"content": "y" * 8_000_000}), DONE]),
    "deep": lambda up: _json(up, b"[" * 100_000 + b"]" * 100_000),
    "numbers": lambda up: _json(up, chat_body("n")[:-1] + b',"a":1e400,"b":%d,"c":NaN,"a":2}' % 2**70),
    "bomb": lambda up: _json(up, bomb(), 200, ("content-encoding", "gzip")),
    "mislabelled": lambda up: _json(up, chat_body(), 200, ("content-encoding", "gzip")),
    "big": _big,
    "endless": _endless,
    "silent": _silent,
}


def model(request: Request, connection: Connection) -> None:
    """Answer as the first word of the question says."""
    how = re.search(rb'"content": "([^ "]+)', request.body)  # not json.loads: some bodies have 100 MB
    assert how is not None
    name = how[1].decode()
    if name == "loop":  # its first step calls a tool, its second one answers
        name = "stream" if b'"role": "tool"' in request.body else "tool"
    _PLAYS[name](connection)


def ask(how: str, number: int, *, padding: int = 0) -> bytes:
    """Return a question that is asked only once."""
    text = f"{how} {number}{' ' + 'x' * padding if padding else ''}"
    body = {"model": "m", "messages": [{"role": "user", "content": text}], "stream": how != "json"}
    return request_bytes(body=json.dumps(body).encode())
