"""The OpenAI chat completions protocol: requests, whole answers, and the entry to streamed ones.

Theory: the request body is split in three, messages, tools and the rest (``params``), so that
``{**params, "messages": …, tools_key: …}`` is the body again. A key that does not hold what the protocol
says stays in ``params`` as it came. Messages keep their wire form in ``raw``; everything else is read from
it. Every local server speaks this protocol, each in its own way: see ``calls`` for what that does to calls.
"""

from collections.abc import Container, Mapping
from typing import Any, Literal

from tarx_toollog.canonical import Json
from tarx_toollog.model import Choice, Message, Request, Response, ToolDefinition
from tarx_toollog.wire.calls import settle
from tarx_toollog.wire.familiar import familiar
from tarx_toollog.wire.fields import (
    MAX_COUNT,
    DecodeContext,
    count_or_none,
    dict_or_empty,
    index_or_none,
    is_simple,
    listed,
    note_lone,
    text_or_none,
)
from tarx_toollog.wire.openai_fields import (
    CHOICE_KEYS,
    TOP_LEVEL_KEYS,
    build_message,
    call_drafts,
    ending_of,
    error_of,
    first_extra,
    message_from_raw,
    normal_finish_reason,
    timing_of,
    usage_of,
)
from tarx_toollog.wire.openai_stream import MAX_CHOICES, ChatStream

__all__ = ["OpenAIChat", "message_from_raw", "tool_from_raw"]

NO_MESSAGES = "no_messages"
"""Layout code: the body had no list of messages under the usual key."""
_ROUTE_SUFFIX = "/chat/completions"


class OpenAIChat:
    """``POST …/chat/completions``."""

    name = "openai_chat"
    stream_format: Literal["sse"] = "sse"

    def matches(self, method: str, path: str) -> bool:
        """Say whether a request is one of this protocol; ``path`` comes without its query."""
        return method == "POST" and path.endswith(_ROUTE_SUFFIX)

    def accepts(self, body: dict[str, Any]) -> bool:
        """Take whatever comes on this route: nothing else lives there."""
        return True

    def decode_request(self, body: dict[str, Any], context: DecodeContext) -> Request:
        """Read a request body."""
        params = dict(body)
        has_messages = isinstance(params.get("messages"), list)
        messages = params.pop("messages") if has_messages else []
        tools_key = next((key for key in ("tools", "functions") if isinstance(params.get(key), list)), None)
        tools = params.pop(tools_key) if tools_key else []
        for number, tool in enumerate(tools):
            if not isinstance(tool, dict):
                context.note("tool_not_object", str(number))
        context.asked_choices = count_or_none(body.get("n")) or 1
        return Request(
            model=text_or_none(body.get("model")),
            messages=tuple(_messages(messages, context)),
            tools=tuple(familiar(tool_from_raw, tool) for tool in tools if isinstance(tool, dict)),
            params=params,
            tools_key=tools_key,
            layout=() if has_messages else (NO_MESSAGES,),
        )

    def request_body(self, request: Request) -> dict[str, Any]:
        """Make the body again."""
        return chat_body(request)

    def decode_response(self, body: dict[str, Any], context: DecodeContext) -> Response:
        """Read the body of an answer that is not streamed, or of an error."""
        timings = body.get("timings")
        extra = first_extra(body.items(), TOP_LEVEL_KEYS)
        choices: dict[int, Choice] = {}
        for position, entry in enumerate(listed(body.get("choices"), "choices", context)):
            if not isinstance(entry, dict):
                continue
            if len(choices) >= MAX_CHOICES:
                context.note("too_many_choices")
                break
            index = _free_index(entry, position, choices, context)
            choices[index] = _choice(entry, index, context)
            _keep_choice_fields(entry, index, extra, context)
        return Response(
            response_id=text_or_none(body.get("id")),
            model=text_or_none(body.get("model")),
            choices=tuple(choices.values()),
            usage=usage_of(body.get("usage"), timings, context),
            terminated=bool(choices),
            prompt_ms=timing_of(timings, "prompt_ms", context),
            predicted_ms=timing_of(timings, "predicted_ms", context),
            error=error_of(body),
            extra=extra,
        )

    def stream(self, context: DecodeContext) -> ChatStream:
        """Return an assembler for a streamed answer."""
        return ChatStream(context)

    def read_message(self, raw: Mapping[str, Any]) -> Message:
        """Read a message again."""
        return message_from_raw(raw)

    def read_tool(self, raw: Mapping[str, Any]) -> ToolDefinition:
        """Read a tool definition again."""
        return tool_from_raw(raw)


def chat_body(request: Request) -> dict[str, Any]:
    """Make a body of ``messages``, tools and the rest; a key that did not hold a list is among the rest."""
    body = dict(request.params)
    if NO_MESSAGES not in request.layout:
        body["messages"] = [dict(message.raw) for message in request.messages]
    if request.tools_key is not None:
        body[request.tools_key] = [dict(tool.raw) for tool in request.tools]
    return body


def tool_from_raw(raw: Mapping[str, Any]) -> ToolDefinition:
    """Read a tool definition: ``{"type": "function", "function": …}``, a custom tool, or the legacy form.

    Example:
        >>> tool_from_raw({"type": "function", "function": {"name": "tarx_recall"}}).name
        'tarx_recall'
    """
    body = next((raw[key] for key in ("function", "custom") if isinstance(raw.get(key), dict)), raw)
    parameters = body.get("parameters")
    return ToolDefinition(
        name=text_or_none(body.get("name")) or "",
        raw=raw,
        description=text_or_none(body.get("description")) or "",
        parameters=parameters if isinstance(parameters, dict) else None,
    )


def _messages(entries: list[Json], context: DecodeContext) -> list[Message]:
    messages = []
    for number, entry in enumerate(entries):
        if isinstance(entry, dict):
            messages.append(familiar(message_from_raw, entry))
        else:
            context.note("message_not_object", str(number))
    return messages


def _free_index(entry: dict[str, Any], position: int, taken: Container[int], context: DecodeContext) -> int:
    """Return the index of a choice; another one than the server's if that was given twice."""
    index = index_or_none(entry.get("index"))
    index = position if index is None else index
    while index in taken:
        context.note("choice_index_repeated")
        index = index + 1 if index < MAX_COUNT else 0
    return index


def _choice(entry: dict[str, Any], index: int, context: DecodeContext) -> Choice:
    raw = dict_or_empty(entry.get("message"))
    note_lone(raw.get("content"), "content", context)
    finish_reason_raw = text_or_none(entry.get("finish_reason"))
    finish_reason = normal_finish_reason(finish_reason_raw)
    calls = settle(call_drafts(raw), seed=context.uid, choice=index, ending=ending_of(finish_reason))
    if finish_reason == "tool_calls" and not calls:
        context.note("finish_reason_lies", "tool_calls without a call")
    return Choice(index, build_message(raw, calls), finish_reason, finish_reason_raw)


def _keep_choice_fields(entry: dict[str, Any], index: int, extra: dict[str, Any], context: DecodeContext) -> None:
    for key, value in first_extra(entry.items(), CHOICE_KEYS).items():
        if is_simple(value):
            extra.setdefault("choice_fields", {}).setdefault(str(index), {})[key] = value
        elif value:
            context.note("not_kept", key)
