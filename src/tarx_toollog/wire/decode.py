"""``decode``: everything a tap saw of one exchange, in; an ``Exchange``, out.

Theory: the tap keeps bytes and times and parses nothing; this is where they get a meaning. The bytes are
a stranger's, so any of them may be missing, cut, compressed, nested ten thousand deep or nonsense.
``decode`` therefore never raises: whatever cannot be read becomes a note, and what could be read stays. The
result does not depend on how the body was cut into chunks, except for the times.

Whether an answer is a stream is told by its content type, or else by its first bytes: servers answer a
stream request with a JSON error, and some send events under another content type. Lines of JSON are told by a line
that ends with an object before one that begins with another, which no single JSON text has; where the protocol has
events, each such line is the data of one.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Literal, NamedTuple, TypeVar

from tarx_toollog.canonical import InvalidJsonError
from tarx_toollog.model import Exchange, Request, Response, Timing
from tarx_toollog.wire.calls import TOO_MANY_CALLS
from tarx_toollog.wire.content_encoding import UNSUPPORTED, ContentDecoder, decode_content
from tarx_toollog.wire.fields import MAX_HINT, MAX_NOTE, DecodeContext, dict_or_empty, read_json, text_or_none
from tarx_toollog.wire.leaked import with_leaked_calls
from tarx_toollog.wire.ndjson import NdjsonLine, NdjsonSplitter
from tarx_toollog.wire.openai_fields import error_from_text, text_of
from tarx_toollog.wire.outcome import FIRST_ERROR_STATUS, judge
from tarx_toollog.wire.protocols import (
    UNKNOWN_PROTOCOL,
    StreamDecoder,
    WireProtocol,
    is_model_route,
    protocol_for,
    route_of,
)
from tarx_toollog.wire.raw import Begin, Chunk, Headers, RawExchange

__all__ = ["UNKNOWN_PROTOCOL", "decode", "is_model_route"]

_EVENTS = "text/event-stream"
_LINE_TYPES = ("application/x-ndjson", "application/jsonl")
_STREAM_TYPES = (_EVENTS, *_LINE_TYPES)
_ANNOUNCED = {"sse": _EVENTS, "ndjson": _LINE_TYPES[0]}
_STREAM_HEADS = (b"data:", b"event:", b":", b"id:", b"retry:", b"error:")
_LINES = re.compile(rb"\}[ \t\r]*\n\s*(?:\{|\[DONE\])")
_HINT_KEYS = ("conversation_id", "session_id", "thread_id")
_PIECE = 64 * 1024  # bytes of a stream read at a time: the events of a larger piece would take many times its size
_UNPACKABLE = f"response_{UNSUPPORTED}"
_HEAD_SIZE = 64  # enough for white space, a byte order mark and the name of a field
_MAX_ORIGIN = 256  # a name has 253 characters at most; what is longer, nobody can ask for anyway

T = TypeVar("T")


def decode(raw: RawExchange, *, open_ended: bool = False) -> Exchange:
    """Decode one exchange; never raises.

    Args:
        raw: What the tap saw.
        open_ended: The exchange is running still, so a missing end does not mean that it was interrupted.
    """
    begin, end = raw.begin, raw.end
    context = DecodeContext(uid=begin.uid, is_body_whole=end is not None and end.final_seen)
    protocol = _guarded(context, "protocol", lambda: protocol_for(begin.method, begin.path))
    protocol, request, response = (None, None, None) if protocol is None else _bodies(raw, protocol, context)
    status = raw.response.status if raw.response is not None else None
    if end is None and not open_ended and response is not None and response.terminated:
        context.note("end_unseen")  # the capturing process died after the answer was whole
    terminated = context.is_body_whole if _is_opaque(protocol, context) else None
    verdict = judge(end, status, response, open_ended=open_ended, terminated=terminated)
    hint, hint_source = _conversation_hint(raw, request)
    return Exchange(
        uid=begin.uid,
        leg=begin.leg,
        protocol=UNKNOWN_PROTOCOL if protocol is None else protocol.name,
        method=begin.method,
        route=route_of(begin.path),
        started_ns=begin.started_ns,
        outcome=verdict.outcome,
        http_status=status,
        request=request,
        response=response,
        timing=_timing(raw, response),
        error_type=verdict.error_type,
        error_text=verdict.error_text,
        notes=tuple(context.notes),
        conversation_hint=hint,
        hint_source=hint_source,
        outer_uid=begin.outer_uid,
        client_key=begin.client_key,
        client_kind=_client_kind(begin),
        client_origin=_header(begin.headers, "origin")[:_MAX_ORIGIN] or None,
        user_agent=_header(begin.headers, "user-agent") or None,
        upstream=begin.upstream,
        run_uid=begin.run_uid,
        request_size=max(begin.body_size, len(raw.request_body)),
        response_size=_response_size(raw),
    )


def _client_kind(begin: Begin) -> str | None:
    if begin.leg not in ("middleware", "proxy"):
        return None
    is_browser = any(_header(begin.headers, name) for name in ("origin", "sec-fetch-site"))
    return "browser" if is_browser else "program"


def _is_opaque(protocol: WireProtocol | None, context: DecodeContext) -> bool:
    """Say whether nobody here can see the terminator of the answer, so that its last byte has to do."""
    return protocol is None or any(note.startswith(_UNPACKABLE) for note in context.notes)


def _response_size(raw: RawExchange) -> int:
    return max(0 if raw.end is None else raw.end.body_size, sum(len(chunk.data) for chunk in raw.chunks))


def _conversation_hint(raw: RawExchange, request: Request | None) -> tuple[str | None, str | None]:
    """Return the conversation id that the client gave: the tap looks at headers and path, this at the body."""
    if raw.begin.conversation_hint is not None or request is None:
        return raw.begin.conversation_hint, raw.begin.hint_source
    metadata = dict_or_empty(request.params.get("metadata"))
    # OpenAI Responses: a dialogue that the server keeps, given by its id or as an object with it.
    conversation = request.params.get("conversation")
    hints = [metadata.get(key) for key in _HINT_KEYS] + [conversation, dict_or_empty(conversation).get("id")]
    hint = next(filter(None, map(text_or_none, hints)), None)
    return (hint[:MAX_HINT], "body") if hint else (None, None)


class _Decoded(NamedTuple):
    protocol: WireProtocol | None
    request: Request | None = None
    response: Response | None = None


def _bodies(raw: RawExchange, protocol: WireProtocol, context: DecodeContext) -> _Decoded:
    body = _guarded(context, "request", partial(_request_json, raw, context))
    if body is not None and _guarded(context, "protocol", partial(protocol.accepts, body)) is False:
        context.note("not_this_protocol", protocol.name)
        return _Decoded(None)
    request = None
    if body is not None:
        request = _guarded(context, "request", partial(protocol.decode_request, body, context))
    if request is not None and body is not None:
        _guarded(context, "request_body", partial(_note_loss, request, body, protocol, context))
        context.offered = frozenset(tool.name for tool in request.tools if tool.name)
    response = _guarded(context, "response", partial(_response, raw, protocol, context))
    if response is None:
        return _Decoded(protocol, request)
    last_calls = (choice.message.tool_calls[-1:] for choice in response.choices)
    if any(TOO_MANY_CALLS in call.quirks for last in last_calls for call in last):
        context.note(TOO_MANY_CALLS)
    complete = _guarded(context, "leaked_calls", partial(with_leaked_calls, response, context))
    return _Decoded(protocol, request, complete or response)


def _note_loss(request: Request, body: dict[str, Any], protocol: WireProtocol, context: DecodeContext) -> None:
    """Note a request that its parts do not make again: the store keeps these, and the raw bytes only when noted."""
    if protocol.request_body(request) != body:
        context.note("request_not_exact")


def _guarded(context: DecodeContext, what: str, read: Callable[[], T]) -> T | None:
    """Run one part of the decoding; a fault in it must not cost the other parts."""
    try:
        return read()
    except Exception as error:  # noqa: BLE001 - the promise of this module: a stranger's bytes raise nothing
        context.note("decode_error", f"{what}:{type(error).__name__}:{error}")
        return None


def _request_json(raw: RawExchange, context: DecodeContext) -> dict[str, Any] | None:
    if raw.begin.body_size > len(raw.request_body):
        context.note("request_capped", str(raw.begin.body_size))
    data = raw.request_body
    encoding = _header(raw.begin.headers, "content-encoding")
    if encoding:
        data, note = decode_content(data, encoding)
        if note is not None:
            context.note(f"request_{note}")
    return _json_object(data, "request", context)


def _response(raw: RawExchange, protocol: WireProtocol, context: DecodeContext) -> Response | None:
    if raw.response is None:
        return None
    if raw.end is not None and raw.end.body_size > sum(len(chunk.data) for chunk in raw.chunks):
        context.note("response_capped", str(raw.end.body_size))
    chunks = _decoded_chunks(raw, context)
    head = _head(chunks)
    if not head:
        return None
    content_type = _header(raw.response.headers, "content-type").partition(";")[0].strip().lower()
    framing = _framing(content_type, head, chunks, protocol, raw.response.status)
    if framing is not None:
        if content_type not in _STREAM_TYPES:
            context.note("stream_unannounced", content_type)
        if head.startswith(b"{") and _EVENTS in (content_type, _ANNOUNCED[protocol.stream_format]):
            context.note("events_are_lines")
        return _streamed(chunks, protocol, context, framing)
    if content_type in _STREAM_TYPES:
        context.note("stream_is_json")
    data = b"".join(chunk.data for chunk in chunks)
    if raw.response.status >= FIRST_ERROR_STATUS:
        return _error_response(data, protocol, context)
    body = _json_object(data, "response", context)
    return None if body is None else protocol.decode_response(body, context)


def _streamed(
    chunks: list[Chunk], protocol: WireProtocol, context: DecodeContext, framing: "_Framing"
) -> Response | None:
    stream = protocol.stream(context)
    if framing == "lines":
        stream = _LinesAsEvents(stream, context)
    for chunk in chunks:
        for start in range(0, len(chunk.data), _PIECE):
            # Guarded one by one: a fault of a decoder in one piece must not cost the rest of the answer.
            piece = chunk.data[start : start + _PIECE]
            _guarded(context, "stream", partial(stream.receive_data, piece, chunk.offset_ns))
    return _guarded(context, "stream_end", stream.close)


class _LinesAsEvents:
    """Gives lines to a decoder of events, each line as one of them."""

    def __init__(self, events: StreamDecoder, context: DecodeContext) -> None:
        self._events = events
        self._context = context
        self._splitter = NdjsonSplitter()

    def receive_data(self, data: bytes, offset_ns: int) -> None:
        """Take the next piece of the body."""
        self._take(self._splitter.receive_data(data, offset_ns))

    def close(self) -> Response:
        """Return the response as far as it came."""
        self._take(self._splitter.close())
        return self._events.close()

    def _take(self, lines: list[NdjsonLine]) -> None:
        for line in lines:
            if line.cut:
                self._context.note("line_cut")
            self._events.receive_data(b"data: " + line.data + b"\n\n", line.offset_ns)


def _error_response(data: bytes, protocol: WireProtocol, context: DecodeContext) -> Response | None:
    """Read an error body, which need not be JSON and need not follow the protocol."""
    try:
        body = read_json(data, context)
    except InvalidJsonError:
        return Response(error=error_from_text(data.decode("utf-8", errors="replace")))
    if not isinstance(body, dict):
        return Response(error=error_from_text(text_of(body)))
    response = protocol.decode_response(body, context)
    if response.error is not None:
        return response
    # FastAPI servers (transformers serve, vLLM in front of its own handlers) say {"detail": …}.
    detail = next((body[key] for key in ("detail", "message") if body.get(key)), None)
    return replace(response, error=body if detail is None else error_from_text(_detail_text(detail)))


def _detail_text(detail: Any) -> str:
    if isinstance(detail, list):  # the validation errors of pydantic
        messages = [entry.get("msg") for entry in detail if isinstance(entry, dict)]
        return "; ".join(message for message in messages if isinstance(message, str))
    return text_of(detail)


def _decoded_chunks(raw: RawExchange, context: DecodeContext) -> list[Chunk]:
    encoding = "" if raw.response is None else _header(raw.response.headers, "content-encoding")
    if not encoding:
        return list(raw.chunks)
    decoder = ContentDecoder(encoding, sum(len(chunk.data) for chunk in raw.chunks))
    chunks = [Chunk(chunk.offset_ns, decoder.feed(chunk.data)) for chunk in raw.chunks]
    decoder.close()
    if decoder.note is not None:
        context.note(f"response_{decoder.note}")
    return chunks


def _head(chunks: list[Chunk]) -> bytes:
    """Return the first bytes that say something."""
    head = b""
    for chunk in chunks:
        head = (head + chunk.data).lstrip().removeprefix(b"\xef\xbb\xbf").lstrip()[:_HEAD_SIZE]
        if len(head) >= _HEAD_SIZE:
            break
    return head


_Framing = Literal["stream", "lines"]
"""A stream of the protocol's own, or lines where the protocol has events."""


def _framing(
    content_type: str, head: bytes, chunks: list[Chunk], protocol: WireProtocol, status: int
) -> _Framing | None:
    """Say how an answer is cut up; None when it is a whole body."""
    if not head.startswith(b"{"):
        return "stream" if content_type in _STREAM_TYPES or head.startswith(_STREAM_HEADS) else None
    # An object under the content type of events is a whole body, an error as a rule, unless there are lines of them.
    has_lines = protocol.stream_format == "ndjson"
    if has_lines and content_type in _LINE_TYPES:
        return "stream"
    if not has_lines and status >= FIRST_ERROR_STATUS:
        return None
    if _LINES.search(b"".join(chunk.data for chunk in chunks)) is None:
        return None
    return "stream" if has_lines else "lines"


def _json_object(data: bytes, what: str, context: DecodeContext) -> dict[str, Any] | None:
    try:
        body = read_json(data, context)
    except InvalidJsonError as error:
        context.note(f"{what}_json_invalid", str(error)[:MAX_NOTE])
        return None
    if not isinstance(body, dict):
        context.note(f"{what}_not_object", type(body).__name__)
        return None
    return body


def _timing(raw: RawExchange, response: Response | None) -> Timing:
    choices = () if response is None else response.choices
    emitted = [call.emitted_ms for choice in choices for call in choice.message.tool_calls]
    return Timing(
        first_byte_ms=next(_offsets_ms(raw), None),
        first_tool_ms=min((time for time in emitted if time is not None), default=None),
        total_ms=None if raw.end is None else raw.end.offset_ns / 1e6,
    )


def _offsets_ms(raw: RawExchange) -> Iterator[float]:
    return (chunk.offset_ns / 1e6 for chunk in raw.chunks if chunk.data)


def _header(headers: Headers, name: str) -> str:
    return next((value for key, value in headers if key == name), "")
