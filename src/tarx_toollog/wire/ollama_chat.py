"""Ollama's own chat protocol: requests, answers, and streams of JSON lines.

Theory: an answer is a line of JSON, or many of them that are alike: each brings a piece of the message (text and
thinking, to be joined; whole calls, to be listed), the last one says ``done`` and brings the counts. A whole answer is
read as a stream of one line, so the two cannot differ.

What this protocol has of its own: it streams unless told not to. The arguments of a call are an object; the argument
string is that object as JSON, in the order of its keys. Calls need no id (newer servers give one), and a result names
the tool (``tool_name``) instead of the call, so ids are minted and results are paired by order or name. Durations are
in nanoseconds. An error is ``{"error": "text"}``, also as a line under status 200.

``done_reason`` stays ``stop`` when there are calls. That is the protocol and no lie, so the normalised finish reason
is ``stop`` as well: whether tools were called is told by the calls. ``load`` and ``unload`` answer a request without
messages, which only moves the model into or out of memory.

``/api/chat`` is also a common name for a route of an application's own, which hands chats on and answers as OpenAI
does. Such an answer is read as what it is.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Literal, NamedTuple

from tarx_toollog.canonical import InvalidJsonError, Json, join_surrogates, json_text
from tarx_toollog.model import Choice, Message, Request, Response, ToolDefinition, Usage
from tarx_toollog.wire.calls import CallDraft, settle, whole_calls
from tarx_toollog.wire.familiar import familiar
from tarx_toollog.wire.fields import (
    DecodeContext,
    as_list,
    count_of,
    duration_of,
    is_simple,
    objects_of,
    read_json,
    text_or_none,
)
from tarx_toollog.wire.ndjson import NdjsonLine, NdjsonSplitter
from tarx_toollog.wire.openai_chat import NO_MESSAGES, OpenAIChat, chat_body, tool_from_raw
from tarx_toollog.wire.openai_fields import (
    build_message,
    call_seed,
    ending_of,
    error_of,
    first_extra,
    normal_finish_reason,
)
from tarx_toollog.wire.openai_stream import ChatStream

_ROUTE_SUFFIX = "/api/chat"
_TEXT_KEYS = ("content", "thinking")
_HELD_KEYS = frozenset(
    {
        "model",
        "message",
        "done",
        "done_reason",
        "error",
        "prompt_eval_count",
        "eval_count",
        "prompt_eval_duration",
        "eval_duration",
    }
)
"""Keys of a line that have a field of their own."""
_SSE_HEADS = b"d:eri"
"""First bytes of event streams: ``data:``, a comment, and the other fields. JSON begins with none of them."""


class OllamaChat:
    """``POST …/api/chat``."""

    name = "ollama_chat"
    stream_format: Literal["ndjson"] = "ndjson"

    def matches(self, method: str, path: str) -> bool:
        """Say whether a request is one of this protocol; ``path`` comes without its query."""
        return method == "POST" and path.endswith(_ROUTE_SUFFIX)

    def accepts(self, body: dict[str, Any]) -> bool:
        """Say whether a body is Ollama's: applications like to name routes of their own so."""
        return isinstance(body.get("model"), str) and isinstance(body.get("messages", []), list | None)

    def decode_request(self, body: dict[str, Any], context: DecodeContext) -> Request:
        """Read a request body."""
        params = dict(body)
        has_messages = isinstance(params.get("messages"), list)
        messages = objects_of(params.pop("messages"), "message", context) if has_messages else []
        has_tools = isinstance(params.get("tools"), list)
        tools = objects_of(params.pop("tools"), "tool", context) if has_tools else []
        return Request(
            model=text_or_none(body.get("model")),
            messages=tuple(familiar(message_from_raw, raw) for raw in messages),
            tools=tuple(familiar(tool_from_raw, raw) for raw in tools),
            params=params,
            tools_key="tools" if has_tools else None,
            layout=() if has_messages else (NO_MESSAGES,),
            stream_default=body.get("stream") is None,
        )

    def request_body(self, request: Request) -> dict[str, Any]:
        """Make the body again."""
        return chat_body(request)

    def decode_response(self, body: dict[str, Any], context: DecodeContext) -> Response:
        """Read the body of an answer that is not streamed, or of an error."""
        if "choices" in body and "message" not in body:
            return OpenAIChat().decode_response(body, context)
        answer = _Answer(context)
        answer.take(body, None)
        return answer.response(in_stream=False)

    def stream(self, context: DecodeContext) -> "OllamaStream":
        """Return an assembler for a streamed answer."""
        return OllamaStream(context)

    def read_message(self, raw: Mapping[str, Any]) -> Message:
        """Read a message again."""
        return message_from_raw(raw)

    def read_tool(self, raw: Mapping[str, Any]) -> ToolDefinition:
        """Read a tool definition again."""
        return tool_from_raw(raw)


class OllamaStream:
    """Assemble the streamed answer of one exchange.

    Args:
        context: Seed of minted ids, and the list for notes.
    """

    def __init__(self, context: DecodeContext) -> None:
        self._context = context
        self._splitter = NdjsonSplitter()
        self._answer = _Answer(context)
        self._events: ChatStream | None = None
        self._begun = False

    def receive_data(self, data: bytes, offset_ns: int) -> None:
        """Take the next piece of the body."""
        if not self._begun and (head := data.lstrip()):
            self._begun = True
            if head[:1] in _SSE_HEADS:
                self._events = ChatStream(self._context)
        if self._events is not None:
            self._events.receive_data(data, offset_ns)
            return
        for line in self._splitter.receive_data(data, offset_ns):
            self._take_line(line)

    def close(self) -> Response:
        """Return the response as far as it came."""
        if self._events is not None:
            return self._events.close()
        for line in self._splitter.close():
            self._take_line(line)
        return self._answer.response(in_stream=True)

    def _take_line(self, line: NdjsonLine) -> None:
        if line.cut:
            self._context.note("line_cut")
        try:
            value = read_json(line.data, self._context)
        except InvalidJsonError as error:
            self._context.note("line_unreadable", str(error))
            return
        if isinstance(value, dict):
            self._answer.take(value, line.offset_ns)
        else:
            self._context.note("line_not_object")


class _Answer:
    """An answer under assembly, line by line."""

    def __init__(self, context: DecodeContext) -> None:
        self._context = context
        self._head: dict[str, Any] = {}
        self._message: dict[str, Any] | None = None
        self._texts: dict[str, list[str]] = {}
        self._calls: list[_Entry] | None = None
        self._error: Mapping[str, Any] | None = None

    def take(self, line: dict[str, Any], offset_ns: int | None) -> None:
        """Take one line, or a whole body."""
        if self._error is None:  # the first one is the cause, later ones follow from it
            self._error = error_of(line)
        for key, value in first_extra(line.items(), frozenset({"message", "error"})).items():
            if key in self._head and not is_simple(value):
                self._context.note("not_kept", key)
            self._head[key] = value
        message = line.get("message")
        if isinstance(message, dict):
            self._take_message(message, offset_ns)

    def _take_message(self, message: dict[str, Any], offset_ns: int | None) -> None:
        if self._message is None:
            self._message = {}
        for key, value in message.items():
            if key in _TEXT_KEYS and isinstance(value, str):
                self._texts.setdefault(key, []).append(value)
            elif key == "tool_calls" and isinstance(value, list | dict):
                self._calls = [] if self._calls is None else self._calls
                self._calls.extend(_entries(value, offset_ns))
            elif value is not None or key not in self._message:
                self._message[key] = value

    def response(self, *, in_stream: bool) -> Response:
        """Return the response as far as it came."""
        head = self._head
        is_done = head.get("done") is True
        return Response(
            model=text_or_none(head.get("model")),
            choices=() if self._message is None else (self._choice(self._message, is_done=is_done),),
            usage=_usage_of(head, self._context),
            terminated=is_done,
            prompt_ms=_milliseconds(head, "prompt_eval_duration", self._context),
            predicted_ms=_milliseconds(head, "eval_duration", self._context),
            error=self._error,
            error_in_stream=in_stream and self._error is not None,
            extra=first_extra(head.items(), _HELD_KEYS),
        )

    def _choice(self, message: dict[str, Any], *, is_done: bool) -> Choice:
        texts = {key: join_surrogates("".join(pieces)) for key, pieces in self._texts.items()}
        raw = {**message, **texts, "role": text_or_none(message.get("role")) or "assistant"}
        if self._calls is not None:
            raw["tool_calls"] = [entry.raw for entry in self._calls]
        done_reason = text_or_none(self._head.get("done_reason"))
        finish_reason = normal_finish_reason(done_reason)
        ending = replace(ending_of(finish_reason, cut=not is_done), finish_reason=None)
        calls = settle(_drafts(self._calls or []), seed=self._context.uid, ending=ending)
        return Choice(0, build_message(raw, calls), finish_reason, done_reason)


def message_from_raw(raw: Mapping[str, Any]) -> Message:
    """Read a message as it stands in a request, an answer or the store.

    Example:
        >>> call = {"function": {"name": "tarx_recall", "arguments": {"query": "city"}}}
        >>> message_from_raw({"role": "assistant", "tool_calls": [call]}).tool_calls[0].arguments
        '{"query":"city"}'
    """
    drafts = _drafts(_entries(raw.get("tool_calls"), None))
    return build_message(raw, settle(drafts, seed=call_seed(raw, drafts)))


class _Entry(NamedTuple):
    """One entry of ``tool_calls``."""

    raw: Json
    offset_ns: int | None
    is_lone: bool
    """It stood in the place of the list."""


def _entries(value: Json, offset_ns: int | None) -> Iterator[_Entry]:
    return (_Entry(entry, offset_ns, entry is value) for entry in as_list(value))


def _drafts(entries: Iterable[_Entry]) -> list[CallDraft]:
    drafts = []
    for entry in entries:
        draft = _draft(entry.raw) if isinstance(entry.raw, dict) else None
        if draft is not None:
            draft.emitted_ns = entry.offset_ns
            if entry.is_lone:
                draft.note("tool_calls_object")
            drafts.append(draft)
    return drafts


def _draft(entry: dict[str, Any]) -> CallDraft | None:
    """Read a call. Every call comes whole; its index, if there is one, stands beside the name."""
    is_wrapped = isinstance(entry.get("function"), dict)
    function = dict(entry["function"] if is_wrapped else entry)
    arguments = function.get("arguments")
    function["arguments"] = _argument_text(arguments)
    made = {**entry, "function": function} if is_wrapped else function
    drafts = whole_calls([made | {"index": entry.get("index", function.get("index"))}])
    if drafts and isinstance(arguments, str):
        drafts[0].note("arguments_string")
    return drafts[0] if drafts else None


def _argument_text(arguments: Json) -> str | None:
    if arguments is None or isinstance(arguments, str):
        return arguments
    try:
        return json_text(arguments)
    except RecursionError:
        return ""  # nested as deep as the interpreter could just read; it stays in ``raw``


def _usage_of(head: Mapping[str, Any], context: DecodeContext) -> Usage | None:
    read, written = (count_of(head.get(key), key, context) for key in ("prompt_eval_count", "eval_count"))
    return None if read is None and written is None else Usage(read, written, source="eval_count")


def _milliseconds(head: Mapping[str, Any], key: str, context: DecodeContext) -> float | None:
    """Return a duration; the server gives it in nanoseconds."""
    value = duration_of(head.get(key), key, context)
    return None if value is None else value / 1e6
