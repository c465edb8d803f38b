"""What must hold of ``decode`` for any bytes. A check that fails raises ``AssertionError``."""

import json
from collections.abc import Iterable
from dataclasses import asdict, astuple, replace

from tarx_toollog import ToolLog
from tarx_toollog.canonical import escape_text, json_text, parse_arguments, unescape_text
from tarx_toollog.ids import uuid7
from tarx_toollog.model import Exchange
from tarx_toollog.wire.content_encoding import MAX_OUTPUT, MAX_RATIO, MIN_LIMIT
from tarx_toollog.wire.decode import decode
from tarx_toollog.wire.fields import MAX_COUNT
from tarx_toollog.wire.raw import Chunk, Headers, RawExchange
from tarx_toollog.wire.repair import REPAIRS, repair_arguments
from tarx_toollog.wire.text_calls import FORMS, MAX_CALLS, find_calls

SIZE_PER_BYTE = 120  # a call or a message of three bytes has a name for each of its dozen fields
SIZE_OF_NOTHING = 20_000  # notes quote the body, and an exchange has fields

OFFERED = frozenset({"tarx_recall", "tarx_remember", "f"})


def check(raw: RawExchange, pieces: Iterable[bytes]) -> Exchange:
    """Decode an exchange whole and in ``pieces``; return it when all is as promised."""
    exchange = decode(with_body(raw, [raw.response_body]))
    faults = [note for note in exchange.notes if note.startswith("decode_error")]
    assert not faults, f"the decoder raised: {faults}"
    whole, cut = plain(exchange), plain(decode(with_body(raw, pieces)))
    assert whole == cut, f"the pieces matter:\n{whole}\n{cut}"
    size = len(repr(exchange))
    assert size <= SIZE_OF_NOTHING + SIZE_PER_BYTE * readable_size(raw), f"{size} characters"
    check_numbers(exchange)
    return exchange


def check_numbers(exchange: Exchange) -> None:
    """Every number of the answer fits into its column: PostgreSQL refuses the row otherwise."""
    if exchange.response is None:
        return
    usage, choices = exchange.response.usage, exchange.response.choices
    calls = [call for choice in choices for call in choice.message.tool_calls]
    counts = [] if usage is None else [value for value in astuple(usage) if isinstance(value, int)]
    places = [choice.index for choice in choices] + [call.wire_index or 0 for call in calls]
    assert all(0 <= count <= MAX_COUNT for count in counts), f"counts {counts}"
    assert all(abs(place) <= MAX_COUNT for place in places), f"indexes {places}"
    durations = (exchange.response.prompt_ms, exchange.response.predicted_ms)
    assert all(value is None or 0 <= value < float("inf") for value in durations), f"durations {durations}"


def check_stored(exchange: Exchange, log: ToolLog) -> None:
    """Write the exchange and read it again."""
    exchange = replace(exchange, uid=uuid7())
    log.write([exchange])
    written, read = plain(exchange), plain(log.exchange(exchange.uid))
    assert written == read, f"the store gives back another exchange:\n{written}\n{read}"


def check_text(text: str, offered: frozenset[str] = OFFERED) -> None:
    """Read a text that a model wrote in all the ways in which one is read."""
    assert text == unescape_text(escape_text(text))
    escape_text(text).encode()
    for complete in (True, False):
        value, state = parse_arguments(text, complete=complete)
        assert (value is not None) == (state in ("ok", "empty") and (complete or state == "ok"))
    repaired = repair_arguments(text)
    if repaired is not None:
        assert set(repaired[1]) <= set(REPAIRS)
        json_text(repaired[0]).encode()
    calls = find_calls(text, offered)
    assert len(calls) <= MAX_CALLS
    for call in calls:
        assert 0 <= call.start < call.end <= len(text)
        assert call.form in FORMS


def plain(exchange: Exchange) -> str:
    """Return all of an exchange as text: NaN is not equal to itself, and the store does not keep the order of keys."""
    return json.dumps(asdict(exchange), sort_keys=True)


def with_body(raw: RawExchange, pieces: Iterable[bytes]) -> RawExchange:
    """Return the exchange with its answer in these pieces, all of one time."""
    return replace(raw, chunks=tuple(Chunk(1_000_000, piece) for piece in pieces))


def readable_size(raw: RawExchange) -> int:
    """Return how many bytes the decoder may get to see: a compressed body counts with its limit."""
    headers = raw.response.headers if raw.response is not None else ()
    return _readable(len(raw.request_body), raw.begin.headers) + _readable(len(raw.response_body), headers)


def _readable(size: int, headers: Headers) -> int:
    is_packed = any(key == "content-encoding" and value for key, value in headers)
    return min(MAX_OUTPUT, max(MIN_LIMIT, MAX_RATIO * size)) if is_packed else size
