"""The vocabulary as types: what the layers hand to each other. No IO, no database, no framework.

Two families live here:

* what one exchange is once its bytes are decoded: ``Exchange`` with its ``Request`` and ``Response``;
* what the store gives back to people who train and evaluate: ``Trajectory`` with its ``Step`` s.

Everything is frozen. JSON values (``raw``, ``params``, ``parameters``) are plain dicts and lists as
``json.loads`` returns them; treat them as read-only.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Literal

Leg = Literal["middleware", "transport", "proxy", "replay", "import"]
Origin = Literal["native", "legacy_function", "leaked_text", "custom", "server_side"]
IdState = Literal["ok", "missing", "duplicate", "numeric"]
UsageSource = Literal["usage", "timings", "eval_count"]


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Outcome(StrEnum):
    """How an exchange ended on the wire. Computed from facts, never from the HTTP status alone."""

    OPEN = "open"
    """Begun and not yet ended; a live stream, or a process that was just killed."""
    COMPLETED = "completed"
    """The protocol's own terminator was seen, without an error; or a redirect, which promises no answer, came whole."""
    CLIENT_DISCONNECTED = "client_disconnected"
    """The client hung up before the answer was complete."""
    UPSTREAM_ERROR = "upstream_error"
    """The server answered with an error, or its connection broke."""
    STREAM_ERROR = "stream_error"
    """An error event arrived inside a stream that had begun with status 200."""
    TRUNCATED = "truncated"
    """The body ended cleanly, but before the protocol's terminator."""
    TIMEOUT = "timeout"
    """A time limit of ours ended the exchange."""
    PROXY_ERROR = "proxy_error"
    """The proxy could not reach the server and answered in its place."""
    APP_ERROR = "app_error"
    """The application that we are mounted in raised an exception."""
    INTERRUPTED = "interrupted"
    """The process that captured it died before the end."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """One tool call as the model emitted it."""

    name: str
    arguments: str
    """The argument string, verbatim. May be anything, also not JSON."""
    call_id: str
    """The id on the wire; minted (``tlx_…``) where the server sent none."""
    id_state: IdState = "ok"
    choice: int = 0
    ordinal: int = 0
    """Position among the calls of its choice, from 0."""
    wire_index: int | None = None
    """The ``index`` that the server gave it; servers repeat and omit it."""
    origin: Origin = "native"
    complete: bool = True
    """False when the stream or the token limit cut it off."""
    quirks: tuple[str, ...] = ()
    """What the server did that the protocol does not allow, as short codes."""
    emitted_ms: float | None = None
    """Time from the start of the exchange to its first fragment; None when not streamed."""


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a tool returned, as a message carries it back to the model."""

    call_id: str | None
    """Id of the call that it answers, as the client sent it."""
    text: str
    """All text of the result, joined."""
    name: str | None = None
    """Tool name, where the protocol or the client gives one."""
    is_error: bool | None = None
    """The protocol's own error flag; None where it has none (only Anthropic messages has one)."""


class _Memorable:
    """Keeps what others compute of an object, for as long as it lives. No field, and so no part of what it says."""

    __slots__ = ("_memo",)
    _memo: dict[Any, Any]

    @property
    def memo(self) -> dict[Any, Any]:
        """What was computed of it, under keys that whoever computed it has chosen."""
        try:
            return self._memo
        except AttributeError:
            object.__setattr__(self, "_memo", {})
            return self._memo


@dataclass(frozen=True, slots=True)
class Message(_Memorable):
    """One chat entry. ``raw`` is what was on the wire and what is stored; the rest is read from it.

    What is one entry depends on the protocol: a message of chat completions, Anthropic or Ollama; an item of an
    OpenAI Responses input, where all items that the model made in a row are one entry.
    """

    role: str
    raw: Mapping[str, Any]
    text: str = ""
    """All text parts, joined."""
    reasoning: str | None = None
    name: str | None = None
    tool_call_id: str | None = None
    """For a message that is one tool result: the id of the call that it answers."""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_results: tuple[ToolResult, ...] = ()
    """The results that it carries: one for a tool message, several for a user message of Anthropic's."""

    @property
    def is_prompt(self) -> bool:
        """Whether a user says something in it; it opens a turn. A user message of mere results does not."""
        return self.role == "user" and not self.tool_results


@dataclass(frozen=True, slots=True)
class ToolDefinition(_Memorable):
    """One function offered to the model. ``raw`` is the entry of the request's list, as sent."""

    name: str
    raw: Mapping[str, Any]
    description: str = ""
    parameters: Mapping[str, Any] | None = None
    """The JSON Schema of the arguments; None when the definition has none."""


@dataclass(frozen=True, slots=True)
class Request:
    """The decoded request body."""

    model: str | None
    messages: tuple[Message, ...]
    tools: tuple[ToolDefinition, ...]
    params: Mapping[str, Any]
    """Everything of the body except ``messages`` and ``tools``: sampling, ``stream``, unknown keys."""
    tools_key: str | None = "tools"
    """The key under which ``tools`` stood (``functions`` in the legacy form); None when it was absent."""
    layout: tuple[str, ...] = ()
    """Where else than usual the messages stood in the body, in the protocol's own short codes (``system``: the first
    message came from that key). ``WireProtocol.request_body`` needs it to make the body again."""
    stream_default: bool = False
    """The body does not say whether to stream, and the protocol streams then (only Ollama's does)."""

    @property
    def stream(self) -> bool:
        """Whether a streamed answer was asked for."""
        value = self.params.get("stream")
        return self.stream_default if value is None else value is True

    @property
    def previous_response_id(self) -> str | None:
        """The response that this request continues, where the server keeps the history (OpenAI Responses)."""
        value = self.params.get("previous_response_id")
        return value if isinstance(value, str) and value else None


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts. ``input_tokens`` includes the cached ones on every protocol."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    source: UsageSource = "usage"


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the answers to a request; local servers send one."""

    index: int
    message: Message
    finish_reason: str | None
    """Normalised: ``stop``, ``length``, ``tool_calls``, ``content_filter`` or the server's own word."""
    finish_reason_raw: str | None
    leaked_calls: tuple[ToolCall, ...] = ()
    """Calls that stand in the text instead of ``tool_calls``; nobody executes them. Their ordinals follow on the
    native ones, and ``quirks`` begins with the form."""


@dataclass(frozen=True, slots=True)
class Response:
    """The decoded response body, as far as it came."""

    response_id: str | None = None
    model: str | None = None
    choices: tuple[Choice, ...] = ()
    usage: Usage | None = None
    terminated: bool = False
    """The protocol's own terminator was seen: ``[DONE]``, a finish reason, or a whole JSON body."""
    prompt_ms: float | None = None
    predicted_ms: float | None = None
    error: Mapping[str, Any] | None = None
    """The error object of the body or of an event inside the stream."""
    error_in_stream: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)
    """Top-level keys of the body that no other field holds (``system_fingerprint``, ``timings`` …)."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Durations in milliseconds from the monotonic clock, measured from the start of the exchange."""

    first_byte_ms: float | None = None
    first_tool_ms: float | None = None
    total_ms: float | None = None


@dataclass(frozen=True, slots=True)
class Exchange:
    """One HTTP request to the model and its response."""

    uid: str
    leg: Leg
    protocol: str
    method: str
    route: str
    started_ns: int
    """Unix time in nanoseconds."""
    outcome: Outcome
    http_status: int | None = None
    request: Request | None = None
    """None when the body could not be read; ``notes`` says why."""
    response: Response | None = None
    timing: Timing = Timing()
    error_type: str | None = None
    error_text: str | None = None
    notes: tuple[str, ...] = ()
    """What the decoder had to put up with, as short codes with detail after a colon."""
    conversation_hint: str | None = None
    """The conversation id that the client gave, if any."""
    hint_source: str | None = None
    """Where the hint came from: ``header``, ``path`` or ``body``."""
    outer_uid: str | None = None
    """The inbound exchange during which this one was made (a Workbench that loops over tools)."""
    client_key: str | None = None
    """Keyed hash that tells clients apart without naming them."""
    client_kind: str | None = None
    """``browser`` or ``program``, as an inbound request shows it; None for one that we saw going out."""
    client_origin: str | None = None
    """The site for whose page a browser sent it, as it says."""
    user_agent: str | None = None
    upstream: str | None = None
    run_uid: str | None = None
    """The replay run that made it; None for live traffic."""
    request_size: int = 0
    response_size: int = 0

    @property
    def started_at(self) -> datetime:
        """The start, as an aware datetime in UTC."""
        return EPOCH + timedelta(microseconds=self.started_ns // 1000)


@dataclass(frozen=True, slots=True)
class Step:
    """One exchange of a turn, as the model saw it: exact input, offered tools, and its answer."""

    exchange_uid: str
    step_no: int
    started_at: datetime
    model: str | None
    messages: tuple[Mapping[str, Any], ...]
    """The request's messages, exactly as sent."""
    tools: tuple[Mapping[str, Any], ...]
    params: Mapping[str, Any]
    output: Mapping[str, Any] | None
    """The assistant message that came back; None when there was none."""
    tool_calls: tuple["LoggedCall", ...]
    outcome: Outcome
    finish_reason: str | None
    input_tokens: int | None
    output_tokens: int | None
    protocol: str = "openai_chat"
    leaked_calls: tuple["LoggedCall", ...] = ()
    """Calls that stood in the text of the answer; nobody executed them."""
    usage_source: str | None = None
    """Where the token counts come from; ``estimated`` when they are ours."""
    truncation: str | None = None
    """``none``, ``reported`` or ``suspected``: whether something of the input fell out of the context."""
    labels: tuple["Label", ...] = ()
    """What people, rules and models said about the exchange."""
    exchange_id: int = 0
    """Internal key of the exchange."""


@dataclass(frozen=True, slots=True)
class LoggedCall:
    """A tool call with its verdicts and, where it was seen, its result."""

    uid: str
    name: str
    arguments: str
    argument_state: str
    schema_state: str
    offered: bool
    complete: bool
    origin: str
    call_id: str
    result_text: str | None = None
    result_is_error: bool | None = None
    labels: tuple["Label", ...] = ()


@dataclass(frozen=True, slots=True)
class Label:
    """A verdict on a conversation, an exchange or a call, in force."""

    name: str
    value_num: float | None = None
    value_text: str | None = None
    correction: Any = None
    """What would have been right."""


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One turn: the path from a user message to the final answer. What export and replay read."""

    conversation_uid: str
    turn_no: int
    steps: tuple[Step, ...]
    signature: str
    """The names of its calls in order, joined by ``>``; empty when no tool was called."""
    status: str
    """``answered``, ``pending`` (ends in a call without an answer) or ``failed``."""
    split: str = "train"
    """What its conversation is kept for: ``train``, ``dev`` or ``eval``."""
    labels: tuple[Label, ...] = ()
    """What was said about the conversation."""
