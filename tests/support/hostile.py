"""Answers that are long, or that somebody made to hurt, of any size.

A shape is a body that grows; decoding it must take time and memory in step with its bytes. ``bench.decode`` measures
them, ``tests/unit/wire/test_torture_growth.py`` watches them. ``limits.py`` is built of the same pieces.
"""

import gzip
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tarx_toollog.wire.raw import Begin, Chunk, End, Headers, RawExchange, ResponseStart
from tests.support.torture import DIALECTS

CHUNK = 16 * 1024
"""Bytes of a chunk: about what one read of a socket gives."""
CHAT, RESPONSES, MESSAGES, OLLAMA = DIALECTS


def answer(
    body: bytes,
    protocol: str = CHAT,
    *,
    content_type: str | None = None,
    encoding: str = "",
    chunk: int = CHUNK,
    request: bytes | None = None,
) -> RawExchange:
    """Return an exchange with this answer, delivered in chunks of ``chunk`` bytes."""
    dialect = DIALECTS[protocol]
    if request is None:
        request = json.dumps({"model": "m", **dialect.request, "tools": [dialect.tool("tarx_recall")]}).encode()
    headers: Headers = (("content-type", dialect.content_type if content_type is None else content_type),)
    headers += (("content-encoding", encoding),) if encoding else ()
    chunks = tuple(Chunk(1, body[start : start + chunk]) for start in range(0, len(body), chunk))
    begin = Begin("uid-1", "proxy", "POST", dialect.path, 0, body_size=len(request))
    return RawExchange(begin, request, ResponseStart(200, headers), chunks, End(2, final_seen=True))


def whole(body: bytes, protocol: str = CHAT) -> RawExchange:
    """Return an exchange with an answer that is not streamed."""
    return answer(body, protocol, content_type="application/json")


# ---- events ---------------------------------------------------------------------------------------------------------


def event(value: Any, protocol: str = CHAT) -> bytes:
    """Return one event of a stream."""
    return DIALECTS[protocol].event(value).encode()


def delta(value: Any, **fields: Any) -> bytes:
    """Return an event of chat completions."""
    return event({"choices": [{"index": 0, "delta": value, **fields}]})


def fragment(**entry: Any) -> bytes:
    """Return an event with one fragment of a call."""
    return delta({"tool_calls": [entry]})


def call(number: int) -> dict[str, Any]:
    """Return a whole call of chat completions."""
    return {
        "index": number,
        "id": f"call_{number}",
        "type": "function",
        "function": {"name": "tarx_recall", "arguments": "{}"},
    }


def block_start(number: int) -> bytes:
    """Return the event that begins a call of Anthropic Messages."""
    block = {"type": "tool_use", "id": f"toolu_{number}", "name": "tarx_recall", "input": {}}
    return event({"type": "content_block_start", "index": number, "content_block": block}, MESSAGES)


def item_done(number: int) -> bytes:
    """Return the event that hands over a call of OpenAI Responses."""
    item = {"type": "function_call", "id": f"fc_{number}", "call_id": f"call_{number}", "name": "tarx_recall"}
    return event({"type": "response.output_item.done", "item": item | {"arguments": "{}"}}, RESPONSES)


def item_again(**fields: Any) -> bytes:
    """Return an event that sends the one item of an answer of OpenAI Responses once more, as far as it has come."""
    item = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "tarx_recall", **fields}
    return event({"type": "response.output_item.added", "output_index": 0, "item": item}, RESPONSES)


def response_again(n_items: int) -> bytes:
    """Return an event that sends the whole response once more, with so many items."""
    items = [{"type": "message", "id": f"msg_{n}", "content": [{"type": "output_text"}]} for n in range(n_items)]
    return event({"type": "response.in_progress", "response": {"id": "resp_1", "output": items}}, RESPONSES)


def ollama_line(message: dict[str, Any]) -> bytes:
    """Return one line of Ollama's."""
    return event({"model": "m", "message": {"role": "assistant", **message}, "done": False}, OLLAMA)


def _block(**fields: Any) -> bytes:
    return event({"type": "content_block_delta", "index": 0, "delta": fields}, MESSAGES)


def _item(kind: str, **fields: Any) -> bytes:
    return event({"type": f"response.{kind}", "item_id": "fc_1", **fields}, RESPONSES)


# ---- shapes ---------------------------------------------------------------------------------------------------------

Build = Callable[[int], RawExchange]


@dataclass(frozen=True, slots=True)
class Shape:
    """A body that grows."""

    name: str
    build: Build
    """Bytes of the body (before it is packed), roughly, in; the exchange out."""
    largest: int = 64
    """MiB up to which ``bench.decode`` measures it."""


def repeat(piece: bytes, size: int) -> bytes:
    """Return the piece as often as fits into ``size`` bytes."""
    return piece * (size // len(piece))


def counted(make: Callable[[int], bytes], size: int) -> bytes:
    """Return ``make(0) + make(1) + …`` up to ``size`` bytes."""
    pieces: list[bytes] = []
    left = size
    while left > 0:
        pieces.append(make(len(pieces)))
        left -= len(pieces[-1])
    return b"".join(pieces)


def _same(piece: bytes, protocol: str = CHAT, head: bytes = b"", tail: bytes = b"") -> Build:
    return lambda size: answer(head + repeat(piece, size) + tail, protocol)


def _each(make: Callable[[int], bytes], protocol: str = CHAT) -> Build:
    return lambda size: answer(counted(make, size), protocol)


def _whole(size: int) -> RawExchange:
    message = {"role": "assistant", "content": "word " * (size // 10), "tool_calls": [call(0) for _ in range(100)]}
    message["reasoning_content"] = "thought " * (size // 16)
    return whole(json.dumps({"choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}).encode())


def _tools_and_pieces(size: int) -> RawExchange:
    tool = DIALECTS[CHAT].tool
    request = {"model": "m", "messages": [], "tools": [tool(f"tool_{n}") for n in range(size // 200)]}
    events = counted(lambda n: fragment(index=0, function={"name": f"piece_{n}"}), size)
    return answer(events, request=json.dumps(request).encode())


def _many_keys(size: int) -> RawExchange:
    text = json.dumps({f"key_{n}": n for n in range(size // 20)})
    return answer(fragment(index=0, id="a", function={"name": "tarx_recall", "arguments": text}))


def _lines(size: int) -> RawExchange:
    line = json.dumps({"choices": [{"index": 0, "delta": {"content": " word"}}]}).encode() + b"\n"
    return answer(repeat(line, size))


def _packed_text(size: int) -> RawExchange:
    # Numbered, because text that is all the same would be a bomb.
    return answer(gzip.compress(counted(lambda n: delta({"content": f" {n * n}"}), size), 1), encoding="gzip")


_OPENED = fragment(index=0, id="a", function={"name": "tarx_recall", "arguments": "{"})
_PIECES = fragment(index=0, function={"arguments": '"k": 1, '})
_NAMED_PIECE = fragment(index=0, function={"name": "tarx_recall", "arguments": '"k": 1, '})
_JSON_PIECE = _block(type="input_json_delta", partial_json='"k": 1, ')
ORDINARY = (
    Shape("chat: text", _same(delta({"content": " word"}))),
    Shape("chat: pieces of one call", _same(_PIECES, head=_OPENED)),
    Shape("chat: name in every piece", _same(_NAMED_PIECE, head=_OPENED)),
    Shape("chat: one giant event", lambda size: answer(delta({"content": "x" * size}))),
    Shape("chat: text, gzip", _packed_text, 16),  # above 32 MiB it would be cut
    Shape("chat: not streamed", _whole),
    Shape("responses: text", _same(_item("output_text.delta", content_index=0, delta=" word"), RESPONSES)),
    Shape("responses: pieces of one call", _same(_item("function_call_arguments.delta", delta='"k": 1, '), RESPONSES)),
    Shape("messages: text", _same(_block(type="text_delta", text=" word"), MESSAGES)),
    Shape("messages: pieces of one call", _same(_JSON_PIECE, MESSAGES)),
    Shape("ollama: text", _same(ollama_line({"content": " word"}), OLLAMA)),
)
"""What real servers send, only longer."""
HOSTILE = (
    Shape("empty events", _same(b"data:\n\n")),
    Shape("empty lines", _same(b"\n", head=b"data: {}\n\n")),
    Shape("one-byte events", _same(b"data:1\n\n")),
    Shape("comments", _same(b":\n\n", head=b"data: {}\n\n")),
    Shape("one event of short lines", _same(b"data: x\n")),
    Shape("one line", _same(b"x", head=b"data: ", tail=b"\n\n")),
    Shape("a name without end", _same(fragment(index=0, function={"name": "x" * 30}))),
    Shape("another piece of a name in every event", _each(lambda n: fragment(index=0, function={"name": f"n{n}"}))),
    Shape("a call in every event", _each(lambda n: fragment(**call(n)))),
    Shape("a call in every event, index 0", _each(lambda n: fragment(**(call(n) | {"index": 0})))),
    Shape("another id in every piece", _each(lambda n: fragment(index=0, id=f"i{n}", function={"arguments": "{x"}))),
    Shape("a bare id in every event", _each(lambda n: fragment(index=0, id=f"i{n}", function={}), CHAT)),
    Shape("a choice in every event", _each(lambda n: event({"choices": [{"index": n, "delta": {"content": "x"}}]}))),
    Shape("another key in every event", _each(lambda n: delta({f"k{n}": [1]}, **{f"k{n}": 1}))),
    Shape("another finish reason in every event", _each(lambda n: delta({}, finish_reason=f"f{n}"))),
    Shape("broken events", _each(lambda n: b"data: " + b" " * (n % 3000) + b"{x\n\n")),
    Shape("brackets", _same(b"[", head=b"data: ", tail=b"\n\n")),
    Shape("brackets in arguments", _same(fragment(index=0, function={"name": "f", "arguments": "[" * 50}))),
    Shape("half surrogates", _same(delta({"content": "\ud83d"}))),
    Shape("gzip in tiny members", lambda size: answer(repeat(gzip.compress(b""), size), encoding="gzip", chunk=size)),
    Shape("responses: a call in every event", _each(item_done, RESPONSES)),
    Shape("responses: the item in every event", _each(lambda n: item_again(arguments='"k": 1, ' * n), RESPONSES)),
    Shape(
        "responses: the item in every event, another key each", _each(lambda n: item_again(**{f"k{n}": 1}), RESPONSES)
    ),
    Shape("responses: the response in every event", _each(response_again, RESPONSES)),
    Shape("messages: a call in every event", _each(block_start, MESSAGES)),
    Shape("ollama: a call in every line", _each(lambda n: ollama_line({"tool_calls": [call(n)]}), OLLAMA)),
    Shape("ollama: empty lines", _same(b"\n", OLLAMA, head=b"{}\n")),
    Shape(
        "not streamed: choices",
        lambda size: whole(b'{"choices":[' + repeat(b'{"message":{"content":"x"}},', size) + b"{}]}"),
    ),
    Shape("not streamed: empty lists", lambda size: whole(b'{"choices":[],"x":[' + repeat(b"[],", size) + b"0]}")),
)
"""What nobody sends but to hurt."""
WATCHED = (
    Shape("pieces of a name, and as many tools", _tools_and_pieces),
    Shape("arguments of many keys", _many_keys),
    Shape("lines in place of events", _lines),
)
"""What came later, and is watched by the tests only: ``bench.decode`` takes its time."""
