r"""Exchanges of bytes, and bytes of exchanges.

A file of the corpus is eight bytes that choose (protocol, encoding, content type, status, end, size of the chunks, and
two for the size of the request), the request body, and the answer: enough for a fuzzer to change each on its own, and
readable in an editor.
"""

import struct
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import TypeVar

from tarx_toollog.wire.raw import Begin, Chunk, End, RawExchange, ResponseStart
from tests.support.captures import load_raw, wire_captures
from tests.support.torture import cases

PATHS = ("/v1/chat/completions", "/v1/responses", "/v1/messages", "/api/chat", "/v1/else")
ENCODINGS = ("", "gzip", "deflate", "br", "zstd", "gzip, deflate", "identity")
TYPES = ("text/event-stream", "application/x-ndjson", "application/json", "", "text/html; charset=x")
STATUSES = (200, 400, 503)
ENDS = (
    End(9_000_000, final_seen=True),
    End(9_000_000, disconnected=True),
    End(9_000_000, exception="ReadError: reset", exception_side="upstream"),
    End(9_000_000, exception="ReadTimeout", exception_side="timeout"),
    End(9_000_000, exception="KeyError: 'x'", exception_side="app"),
    End(9_000_000, final_seen=True, exception_side="proxy"),
    End(9_000_000, final_seen=True, body_size=2**40),
    None,
)
MAX_REQUEST = 10_000
MAX_RESPONSE = 50_000
_HEAD = struct.Struct("<6BH")

T = TypeVar("T")


def exchange_of(data: bytes) -> RawExchange:
    """Return the exchange that a file of the corpus stands for; any bytes make one."""
    path, encoding, kind, status, end, chunk, size = _HEAD.unpack_from(data.ljust(_HEAD.size, b"\0"))
    rest = data[_HEAD.size :]
    request, body = rest[:size], rest[size:]
    headers = (("content-type", _pick(TYPES, kind)), ("content-encoding", _pick(ENCODINGS, encoding)))
    return RawExchange(
        Begin("uid-1", "proxy", "POST", _pick(PATHS, path), 0, body_size=size),
        request,
        ResponseStart(_pick(STATUSES, status), headers),
        tuple(Chunk(1_000_000, piece) for piece in pieces_of(body, range(0, len(body), chunk + 1))),
        _pick(ENDS, end),
    )


def bytes_of(raw: RawExchange, chunk: int = 6) -> bytes | None:
    """Return the file of the corpus for an exchange; None when it is too large or of no known route."""
    path = next((number for number, path in enumerate(PATHS) if raw.begin.path.endswith(path)), None)
    request, body = raw.request_body, raw.response_body
    if path is None or len(request) > MAX_REQUEST or len(body) > MAX_RESPONSE:
        return None
    headers = dict(raw.response.headers) if raw.response is not None else {}
    kind = _place(TYPES, headers.get("content-type", "").partition(";")[0].lower())
    encoding = _place(ENCODINGS, headers.get("content-encoding", ""))
    status = _place(STATUSES, raw.response.status if raw.response is not None else 200)
    return _HEAD.pack(path, encoding, kind, status, 0, chunk, len(request)) + request + body


def seeds() -> Iterator[tuple[str, RawExchange]]:
    """Yield the torture cases and the recorded captures that are not too large, with their names."""
    for key, case in cases().items():
        yield key.replace("/", "-"), case.raw
    for name in wire_captures():
        raw = load_raw(name)
        if len(raw.request_body) <= MAX_REQUEST and len(raw.response_body) <= MAX_RESPONSE:
            yield f"capture-{name}", raw


def pieces_of(body: bytes, cuts: Sequence[int]) -> list[bytes]:
    """Return the body cut at these places."""
    places = [0, *sorted(cut for cut in set(cuts) if 0 < cut < len(body)), len(body)]
    return [body[start:stop] for start, stop in pairwise(places)]


def _pick(values: Sequence[T], number: int) -> T:
    return values[number % len(values)]


def _place(values: Sequence[object], value: object) -> int:
    return values.index(value) if value in values else 0
