"""What an answer may not exceed, with one exchange beyond each limit and the remark that it leaves.

``docs/torture.md`` lists them, ``tests/unit/wire/test_torture_limits.py`` goes beyond each.
"""

import gzip
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from tarx_toollog.canonical import MAX_DEPTH
from tarx_toollog.model import Exchange
from tarx_toollog.wire.calls import MAX_CALLS
from tarx_toollog.wire.content_encoding import MAX_OUTPUT, MAX_RATIO, MIN_LIMIT
from tarx_toollog.wire.decode import decode
from tarx_toollog.wire.drafts import MAX_NAME
from tarx_toollog.wire.fields import MAX_DETAILS
from tarx_toollog.wire.ndjson import DEFAULT_MAX_LINE_SIZE
from tarx_toollog.wire.openai_stream import MAX_CHOICES
from tarx_toollog.wire.raw import End, RawExchange
from tarx_toollog.wire.sse import DEFAULT_MAX_EVENT_SIZE
from tests.support.hostile import (
    MESSAGES,
    OLLAMA,
    RESPONSES,
    answer,
    block_start,
    call,
    counted,
    delta,
    event,
    fragment,
    item_done,
    ollama_line,
    whole,
)

BRACKETS = 100_000
KIB, MIB = 2**10, 2**20
DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit of the decoder."""

    what: str
    most: str
    """The limit with its unit."""
    where: str
    """The constant."""
    code: str
    """Begin of the note of the exchange, or the quirk of the call, that tells of it."""
    build: Callable[[], RawExchange]
    """Makes an exchange that goes beyond."""

    def remarks(self) -> list[str]:
        """Return what the exchange beyond the limit leaves: its notes, and the quirks of its calls."""
        exchange = decode(self.build())
        return [*exchange.notes, *quirks_of(exchange)]


def quirks_of(exchange: Exchange) -> list[str]:
    """Return the quirks of all calls of the answer."""
    choices = exchange.response.choices if exchange.response is not None else ()
    calls = [call for choice in choices for call in choice.message.tool_calls]
    return list(dict.fromkeys(quirk for call in calls for quirk in call.quirks))


def many(make: Callable[[int], bytes], times: int) -> bytes:
    """Return ``make(0) + make(1) + …``, so many times."""
    return b"".join(make(number) for number in range(times))


def _message(**fields: Any) -> bytes:
    return json.dumps({"choices": [{"index": 0, "message": {"role": "assistant", **fields}}]}).encode()


def _bomb(size: int, request: bool = False) -> RawExchange:
    bomb = gzip.compress(b" " * size)
    if not request:
        return answer(bomb, encoding="gzip", content_type="application/json")
    raw = answer(DONE, request=bomb)
    return replace(raw, begin=replace(raw.begin, headers=(("content-encoding", "gzip"),)))


def _capped(of_request: bool) -> RawExchange:
    raw = answer(DONE)
    if of_request:
        return replace(raw, begin=replace(raw.begin, body_size=17 * MIB))
    return replace(raw, end=End(2, final_seen=True, body_size=17 * MIB))


_LEVELS = f"{MAX_DEPTH} levels"
_DEPTH = "canonical.MAX_DEPTH"
_CALLS, _MANY = f"{MAX_CALLS:,} of a choice", MAX_CALLS + 100
_BRACKETS = b"[" * BRACKETS
LIMITS = (
    Limit(
        "nesting of a request",
        _LEVELS,
        _DEPTH,
        "request_json_invalid:nested too deep",
        lambda: answer(DONE, request=b'{"messages": ' + _BRACKETS),
    ),
    Limit(
        "nesting of a JSON body",
        _LEVELS,
        _DEPTH,
        "response_json_invalid:nested too deep",
        lambda: whole(b'{"choices": ' + _BRACKETS),
    ),
    Limit(
        "nesting of an event",
        _LEVELS,
        _DEPTH,
        "event_unreadable:nested too deep",
        lambda: answer(b"data: " + _BRACKETS + b"\n\n" + DONE),
    ),
    Limit(
        "nesting of a line",
        _LEVELS,
        _DEPTH,
        "line_unreadable:nested too deep",
        lambda: answer(_BRACKETS + b"\n", OLLAMA),
    ),
    Limit(
        "size of an event",
        f"{DEFAULT_MAX_EVENT_SIZE // MIB} MiB",
        "sse.DEFAULT_MAX_EVENT_SIZE",
        "event_cut",
        lambda: answer(delta({"content": "x" * DEFAULT_MAX_EVENT_SIZE}) + DONE),
    ),
    Limit(
        "size of a line",
        f"{DEFAULT_MAX_LINE_SIZE // MIB} MiB",
        "ndjson.DEFAULT_MAX_LINE_SIZE",
        "line_cut",
        lambda: answer(ollama_line({"content": "x" * DEFAULT_MAX_LINE_SIZE}), OLLAMA),
    ),
    Limit(
        "choices of a stream",
        f"{MAX_CHOICES}",
        "openai_stream.MAX_CHOICES",
        "too_many_choices",
        lambda: answer(many(lambda n: event({"choices": [{"index": n, "delta": {"content": "x"}}]}), 10_000)),
    ),
    Limit(
        "choices of a JSON body",
        f"{MAX_CHOICES}",
        "openai_stream.MAX_CHOICES",
        "too_many_choices",
        lambda: whole(json.dumps({"choices": [{"message": {"content": "x"}}] * 10_000}).encode()),
    ),
    Limit(
        "calls, chat completions",
        _CALLS,
        "calls.MAX_CALLS",
        "too_many_calls",
        lambda: answer(many(lambda n: fragment(**call(n)), 10_000)),
    ),
    Limit(
        "calls, chat completions, not streamed",
        _CALLS,
        "calls.MAX_CALLS",
        "too_many_calls",
        lambda: whole(_message(tool_calls=[call(n) for n in range(_MANY)])),
    ),
    Limit(
        "calls, Responses",
        _CALLS,
        "calls.MAX_CALLS",
        "too_many_calls",
        lambda: answer(many(item_done, _MANY), RESPONSES),
    ),
    Limit(
        "calls, Anthropic Messages",
        _CALLS,
        "calls.MAX_CALLS",
        "too_many_calls",
        lambda: answer(many(block_start, _MANY), MESSAGES),
    ),
    Limit(
        "calls, Ollama",
        _CALLS,
        "calls.MAX_CALLS",
        "too_many_calls",
        lambda: answer(many(lambda n: ollama_line({"tool_calls": [call(n)]}), _MANY), OLLAMA),
    ),
    Limit(
        "name of a call",
        f"{MAX_NAME:,} characters",
        "drafts.MAX_NAME",
        "name_cut",
        lambda: whole(_message(tool_calls=[{"id": "a", "function": {"name": "x" * 100_000, "arguments": "{}"}}])),
    ),
    Limit(
        "name of a call, in pieces",
        f"{MAX_NAME:,} characters",
        "drafts.MAX_NAME",
        "name_cut",
        lambda: answer(counted(lambda n: fragment(index=0, function={"name": f"piece_{n}"}), 100_000)),
    ),
    Limit(
        "index of a call",
        "2³¹",
        "fields.index_or_none",
        "index_missing",
        lambda: answer(fragment(**(call(0) | {"index": 2**31}))),
    ),
    Limit(
        "count of tokens",
        "2³¹ − 1",
        "fields.MAX_COUNT",
        "count_invalid:",
        lambda: answer(event({"choices": [], "usage": {"prompt_tokens": 2**31}}) + DONE),
    ),
    Limit(
        "duration",
        "2⁵³ milliseconds",
        "fields.MAX_MS",
        "duration_invalid:",
        lambda: answer(event({"choices": [], "timings": {"prompt_ms": 1e300}}) + DONE),
    ),
    Limit(
        "digits of a number",
        f"{sys.get_int_max_str_digits():,}",
        "sys.get_int_max_str_digits",
        "event_unreadable:Exceeds the limit",
        lambda: answer(b"data: " + b"9" * 5000 + b"\n\n" + DONE),
    ),
    Limit(
        "decompressed body, by ratio",
        f"{MAX_RATIO} times its size, but at least {MIN_LIMIT // KIB} KiB",
        "content_encoding.MAX_RATIO",
        "response_content_encoding_limit",
        lambda: _bomb(20 * MIB),
    ),
    Limit(
        "decompressed body, by size",
        f"{MAX_OUTPUT // MIB} MiB",
        "content_encoding.MAX_OUTPUT",
        "response_content_encoding_limit",
        lambda: _bomb(200 * MIB),
    ),
    Limit(
        "decompressed request",
        f"{MAX_RATIO} times its size",
        "content_encoding.MAX_RATIO",
        "request_content_encoding_limit",
        lambda: _bomb(20 * MIB, request=True),
    ),
    Limit(
        "details of one note",
        f"{MAX_DETAILS} of a code",
        "fields.MAX_DETAILS",
        "notes_dropped:not_kept",
        lambda: answer(many(lambda n: delta({f"k{n}": [1]}), 100)),
    ),
    Limit(
        "captured request",
        "setting `max_request_bytes`",
        "config.Settings",
        "request_capped:",
        lambda: _capped(of_request=True),
    ),
    Limit(
        "captured answer",
        "setting `max_response_bytes`",
        "config.Settings",
        "response_capped:",
        lambda: _capped(of_request=False),
    ),
)
"""All of them; ``where`` names modules of ``tarx_toollog`` and ``tarx_toollog.wire``."""
