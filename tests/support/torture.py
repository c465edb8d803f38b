"""The torture cases: streams against the protocol as data, what they must give, and what the decoder makes of them.

``tests/captures/torture/README.md`` describes the files. Tests, ``bench.torture`` and the fuzz targets read them here.
"""

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from tarx_toollog.model import Exchange, Message, Response, ToolCall, Usage
from tarx_toollog.wire.raw import Begin, Chunk, End, RawExchange, ResponseStart
from tests.support.captures import CAPTURES, load_raw

FOLDER = CAPTURES.parent / "torture"
SUFFIX = "_streams"
EVENT_NS = 1_000_000
END_NS = 100_000_000


@dataclass(frozen=True, slots=True)
class Dialect:
    """How one wire protocol is spoken: its route, its framing, and how a request offers tools."""

    path: str
    content_type: str
    event: Callable[[dict[str, Any]], str]
    tool: Callable[[str], dict[str, Any]]
    request: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Case:
    """One torture case."""

    name: str
    protocol: str
    about: str
    table: str | None
    """Scenario of the table in ``docs/torture.md`` that it stands for."""
    raw: RawExchange
    """What a tap would have seen, one chunk per event."""
    expect: dict[str, Any]


def _data(event: dict[str, Any]) -> str:
    return f"data: {json.dumps(event)}\n\n"


def _named(event: dict[str, Any]) -> str:
    return f"event: {event['type']}\n{_data(event)}"


def _line(event: dict[str, Any]) -> str:
    return f"{json.dumps(event)}\n"


def _function(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


SSE, NDJSON = "text/event-stream", "application/x-ndjson"
DIALECTS = {
    "openai_chat": Dialect("/v1/chat/completions", SSE, _data, _function, {"stream": True, "messages": []}),
    "openai_responses": Dialect(
        "/v1/responses",
        SSE,
        _data,
        lambda name: {"type": "function", "name": name},
        {"stream": True, "input": "hi"},
    ),
    "anthropic_messages": Dialect(
        "/v1/messages",
        SSE,
        _named,
        lambda name: {"name": name, "input_schema": {"type": "object"}},
        {"stream": True, "messages": [], "max_tokens": 100},
    ),
    "ollama_chat": Dialect("/api/chat", NDJSON, _line, _function, {"messages": []}),
}
_PROTOCOLS = {
    "chat": "openai_chat",
    "responses": "openai_responses",
    "messages": "anthropic_messages",
    "ollama": "ollama_chat",
}
"""Of the files that do not name theirs."""
_PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, mtime=0),
    "deflate": zlib.compress,
    "raw_deflate": lambda data: zlib.compress(data)[2:-4],  # without the header and the checksum of zlib
}


@cache
def cases() -> dict[str, Case]:
    """Return all cases of all files; the key is ``FILE/NAME``, the file without its suffix."""
    found: dict[str, Case] = {}
    for path in sorted(FOLDER.glob(f"*{SUFFIX}.json")):
        short = path.stem.removesuffix(SUFFIX)
        content = json.loads(path.read_text("utf-8"))
        protocol = content.get("protocol") or _PROTOCOLS[short]
        for case in content["cases"]:
            key = f"{short}/{case['name']}"
            assert key not in found, f"{key} stands twice in {path.name}"
            raw = _raw(case, content.get("offered", []), DIALECTS[protocol])
            found[key] = Case(case["name"], protocol, case["about"], case.get("table"), raw, case["expect"])
    return found


def _raw(case: dict[str, Any], offered: list[str], dialect: Dialect) -> RawExchange:
    end = {"final_seen": True, **(case.get("end") or {})}
    if "capture" in case:
        return load_raw(case["capture"])
    body = {"model": "m", **dialect.request, "tools": [dialect.tool(name) for name in offered]}
    request = json.dumps({**body, **case.get("request", {})}).encode()
    headers = {"content-type": dialect.content_type, **case.get("headers", {})}
    pieces = list(_pieces(case, dialect))
    return RawExchange(
        Begin("uid-1", "proxy", "POST", dialect.path, 0, body_size=len(request)),
        request,
        ResponseStart(case.get("status", 200), tuple(headers.items())),
        tuple(Chunk(number * EVENT_NS, piece) for number, piece in enumerate(pieces, start=1)),
        None if case.get("end", end) is None else End(offset_ns=END_NS, **end),
    )


def _pieces(case: dict[str, Any], dialect: Dialect) -> Iterator[bytes]:
    events = [event if isinstance(event, str) else dialect.event(event) for event in case["stream"]]
    # Surrogates stand for bytes that are no UTF-8: U+DCFF is the byte FF.
    pieces = [event.encode("utf-8", "surrogateescape") for event in events]
    if "packed" in case:
        pieces = [_PACKERS[case["packed"]](b"".join(pieces))]
    left = case.get("keep", -1)
    for piece in pieces:
        yield piece if left < 0 else piece[:left]
        left = left if left < 0 else max(left - len(piece), 0)


def split_evenly(raw: RawExchange, size: int) -> RawExchange:
    """Return the exchange with its response body in chunks of ``size`` bytes, all of one time."""
    body = raw.response_body
    starts = range(0, len(body), size)
    return replace(raw, chunks=tuple(Chunk(EVENT_NS, body[start : start + size]) for start in starts))


def messages_of(exchange: Exchange) -> list[Message]:
    """Return the messages of all choices."""
    assert exchange.response is not None
    return [choice.message for choice in exchange.response.choices]


def calls_of(exchange: Exchange) -> list[ToolCall]:
    """Return the calls of all choices."""
    return [call for message in messages_of(exchange) for call in message.tool_calls]


def as_expected(call: ToolCall) -> dict[str, Any]:
    """Return a call in the form of ``expect.calls``."""
    return {
        "name": call.name,
        "arguments": call.arguments,
        "call_id": None if call.call_id.startswith("tlx_") else call.call_id,
        "id_state": call.id_state,
        "quirks": list(call.quirks),
        "complete": call.complete,
        "wire_index": call.wire_index,
        "origin": call.origin,
        "choice": call.choice,
    }


def found(exchange: Exchange, expect: dict[str, Any]) -> dict[str, Any]:
    """Return of an exchange what a case has an expectation for, in the form of the expectation."""
    all_found = {
        "outcome": exchange.outcome.value,
        "error": [exchange.error_type, exchange.error_text],
        "notes": _notes_found(exchange.notes, expect.get("notes", [])),
    }
    if exchange.response is not None:
        all_found |= _found_in(exchange.response, expect)
    return {key: all_found.get(key) for key in expect}


def _found_in(response: Response, expect: dict[str, Any]) -> dict[str, Any]:
    first = response.choices[0] if response.choices else None
    return {
        "calls": _calls_found(response, expect.get("calls", [])),
        "finish_reason": first and first.finish_reason,
        "finish_reason_raw": first and first.finish_reason_raw,
        "text": first and first.message.text,
        "reasoning": first and first.message.reasoning,
        "message": first and first.message.raw,
        "output": first and first.message.raw.get("output"),
        "choices": len(response.choices),
        "usage": response.usage and _counts(response.usage, with_source=len(expect.get("usage") or ()) == 3),
        "times": [response.prompt_ms, response.predicted_ms],
        "id": response.response_id,
        "model": response.model,
    }


def _counts(usage: Usage, *, with_source: bool) -> list[Any]:
    counts = [usage.input_tokens, usage.output_tokens]
    return [*counts, *([usage.source] if with_source else [usage.cached_tokens, usage.reasoning_tokens])]


def _calls_found(response: Response, wanted: list[dict[str, Any]]) -> list[dict[str, Any]]:
    actual = [as_expected(call) for choice in response.choices for call in choice.message.tool_calls]
    asked: list[set[str]] = [set(call) for call in wanted] + [set() for _ in actual]
    return [{key: call[key] for key in call if key in keys} for call, keys in zip(actual, asked, strict=False)]


def _notes_found(notes: tuple[str, ...], wanted: list[str]) -> list[str]:
    """Cut the notes to what is asked for: a reader's message differs between versions of Python, its code does not."""
    sizes: list[int | None] = [*map(len, wanted), *[None] * len(notes)]
    return [note[:size] for note, size in zip(notes, sizes, strict=False)]


def texts_of(case: Case) -> list[str]:
    """Return the argument texts and the text that a case expects: what models write."""
    texts = [call.get("arguments") for call in case.expect.get("calls", [])] + [case.expect.get("text")]
    return [text for text in texts if text]
