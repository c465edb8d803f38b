"""What must hold for every wire protocol, as checks that a protocol's own tests call (``docs/extending.md``).

Each check takes real exchanges or bodies and fails with an ``AssertionError`` that shows the difference.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from tarx_toollog import ToolLog
from tarx_toollog.canonical import canonical_json
from tarx_toollog.config import Settings
from tarx_toollog.model import Exchange
from tarx_toollog.wire.decode import decode
from tarx_toollog.wire.fields import DecodeContext
from tarx_toollog.wire.protocols import WireProtocol
from tarx_toollog.wire.raw import Begin, Chunk, End, RawExchange, ResponseStart
from tests.support.captures import CHUNK_NS, STARTED_NS, parse_http, split_at

RANDOM_CUTS = 5


def load_capture(folder: Path, name: str) -> RawExchange:
    """Return ``NAME.request.http`` and ``NAME.response.raw`` of a folder as a tap would have seen them."""
    request = parse_http((folder / f"{name}.request.http").read_bytes())
    response = parse_http((folder / f"{name}.response.raw").read_bytes())
    method, path, _ = request.first_line.split(" ")
    body = b"".join(request.body)
    chunks = tuple(Chunk(CHUNK_NS * number, data) for number, data in enumerate(response.body, start=1))
    return RawExchange(
        Begin(name, "proxy", method, path, STARTED_NS, request.headers, body_size=len(body)),
        body,
        ResponseStart(int(response.first_line.split(" ")[1]), response.headers, CHUNK_NS),
        chunks,
        End(CHUNK_NS * (len(chunks) + 1), final_seen=True),
    )


def check_exchange(protocol: WireProtocol, raw: RawExchange, folder: Path) -> Exchange:
    """Run all checks on one exchange and return it decoded; ``folder`` is for the database."""
    exchange = decode(raw)
    assert protocol.name == exchange.protocol
    assert [] == [note for note in exchange.notes if note.startswith("decode_error")]
    check_cuts(raw)
    check_read_again(protocol, exchange)
    check_stored(exchange, folder)
    return exchange


def check_cuts(raw: RawExchange, cuts: Iterable[Sequence[int]] | None = None) -> None:
    """The body reads the same in one piece, byte by byte, and cut at other places (random ones by default)."""
    size = len(raw.response_body)
    places = random.Random(raw.begin.uid)
    if cuts is None:
        cuts = [[places.randrange(size) for _ in range(places.randrange(1, 40))] for _ in range(RANDOM_CUTS) if size]
    whole = decode(split_at(raw, []))
    for cut in [range(size), *cuts]:
        assert whole == decode(split_at(raw, cut))


def check_body_rebuilt(protocol: WireProtocol, body: dict[str, Any]) -> None:
    """``request_body`` is the inverse of ``decode_request``, and what is read from ``raw`` reads the same again."""
    request = protocol.decode_request(body, DecodeContext())
    # Canonical JSON, because NaN is not equal to itself and 1 is equal to True.
    assert canonical_json(body) == canonical_json(protocol.request_body(request))
    for message in request.messages:
        assert repr(message) == repr(protocol.read_message(message.raw))
    for tool in request.tools:
        assert repr(tool) == repr(protocol.read_tool(tool.raw))


def check_read_again(protocol: WireProtocol, exchange: Exchange) -> None:
    """Messages and tools read the same when they come back from the store, and so do answers, ids aside."""
    request, response = exchange.request, exchange.response
    for message in request.messages if request else ():
        assert message == protocol.read_message(message.raw)
    for tool in request.tools if request else ():
        assert tool == protocol.read_tool(tool.raw)
    for choice in response.choices if response else ():
        again = protocol.read_message(choice.message.raw)
        assert replace(choice.message, tool_calls=()) == replace(again, tool_calls=())
        assert [(call.name, call.arguments, call.origin) for call in choice.message.tool_calls] == [
            (call.name, call.arguments, call.origin) for call in again.tool_calls
        ]


def check_stored(exchange: Exchange, folder: Path) -> None:
    """What is read from the database is what was written to it."""
    settings = Settings(database=str(folder / "checks.db"))
    with ToolLog.open(settings=settings, read_only=False) as log:
        log.write([exchange])
        assert exchange == log.exchange(exchange.uid)


def check_tolerance(path: str, request: Any, events: Sequence[Any], status: int = 200) -> None:
    """Any JSON in the place of a request, of events and of bodies is decoded without a fault of the decoder."""
    stream = "".join(f"data: {_dumps(event)}\n\n" for event in events).encode()
    lines = "".join(f"{_dumps(event)}\n" for event in events).encode()
    bodies = [_dumps(event).encode() for event in events]
    kinds = ["text/event-stream", "application/x-ndjson", *(["application/json"] * len(bodies))]
    for kind, body in zip(kinds, [stream, lines, *bodies], strict=True):
        raw = RawExchange(
            Begin("uid-1", "proxy", "POST", path, STARTED_NS),
            _dumps(request).encode(),
            ResponseStart(status, (("content-type", kind),)),
            (Chunk(CHUNK_NS, body),),
            End(CHUNK_NS, final_seen=True),
        )
        assert [] == [note for note in decode(raw).notes if note.startswith("decode_error")]


def json_values(keys: Sequence[str], words: Sequence[str] = ()) -> st.SearchStrategy[Any]:
    """Return a strategy for any JSON, with objects of the keys and words that the protocol knows.

    Args:
        keys: Keys of the protocol's objects.
        words: Strings that mean something to it, roles and types for example.
    """
    texts = st.text(st.characters(exclude_categories=[]), max_size=5)
    scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
    if words:
        scalars |= st.sampled_from(list(words))
    return st.recursive(
        scalars,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(list(keys)), inner, max_size=5),
        max_leaves=30,
    )


def json_objects(keys: Sequence[str], words: Sequence[str] = ()) -> st.SearchStrategy[dict[str, Any]]:
    """Return a strategy for request bodies: objects of the values that ``json_values`` makes."""
    return st.dictionaries(st.sampled_from(list(keys)), json_values(keys, words), max_size=6)


def _dumps(value: Any) -> str:
    return canonical_json(value).decode("ascii")
