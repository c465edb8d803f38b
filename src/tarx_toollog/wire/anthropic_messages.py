"""The Anthropic Messages protocol: requests, whole answers, and the entry to streamed ones.

Theory: the body is split as that of chat completions is: messages, tools and the rest (``params``). The system prompt
stands beside the messages, under ``system``; here it is the first message, with the role ``system``, and
``Request.layout`` says so. Everything else that a key may hold against the protocol stays in ``params`` as it came.

Many local servers (llama.cpp, Ollama, LM Studio) serve this route too; they report errors in their own shape.
"""

from collections.abc import Mapping
from typing import Any, Literal

from tarx_toollog.model import Choice, Message, Request, Response, ToolDefinition
from tarx_toollog.wire.anthropic_blocks import HELD_KEYS, build_choice, call_drafts, message_from_raw, usage_of
from tarx_toollog.wire.anthropic_stream import MessagesStream
from tarx_toollog.wire.familiar import familiar
from tarx_toollog.wire.fields import DecodeContext, note_lone, objects_of, text_or_none
from tarx_toollog.wire.openai_chat import NO_MESSAGES
from tarx_toollog.wire.openai_fields import error_of, first_extra, timing_of

SYSTEM = "system"
"""Layout code: the first message stood under this key."""
_ROUTE_SUFFIX = "/v1/messages"
_SIGNS = ("messages", "model", "max_tokens")


class AnthropicMessages:
    """``POST …/v1/messages``."""

    name = "anthropic_messages"
    stream_format: Literal["sse"] = "sse"

    def matches(self, method: str, path: str) -> bool:
        """Say whether a request is one of this protocol; ``path`` comes without its query."""
        return method == "POST" and path.endswith(_ROUTE_SUFFIX)

    def accepts(self, body: dict[str, Any]) -> bool:
        """Say whether a body asks a model for something: a mailbox may have such a route, too."""
        return any(key in body for key in _SIGNS)

    def decode_request(self, body: dict[str, Any], context: DecodeContext) -> Request:
        """Read a request body."""
        params = dict(body)
        raws: list[Mapping[str, Any]] = []
        layout: list[str] = []
        if isinstance(params.get("system"), str | list | dict):
            raws.append({"role": "system", "content": params.pop("system")})
            layout.append(SYSTEM)
        if isinstance(params.get("messages"), list):
            raws += objects_of(params.pop("messages"), "message", context)
        else:
            layout.append(NO_MESSAGES)
        has_tools = isinstance(params.get("tools"), list)
        tools = objects_of(params.pop("tools"), "tool", context) if has_tools else []
        return Request(
            model=text_or_none(body.get("model")),
            messages=tuple(familiar(message_from_raw, raw) for raw in raws),
            tools=tuple(self.read_tool(tool) for tool in tools),
            params=params,
            tools_key="tools" if has_tools else None,
            layout=tuple(layout),
        )

    def request_body(self, request: Request) -> dict[str, Any]:
        """Make the body again."""
        body = dict(request.params)
        raws = [dict(message.raw) for message in request.messages]
        if SYSTEM in request.layout:
            body["system"] = raws.pop(0)["content"]
        if NO_MESSAGES not in request.layout:
            body["messages"] = raws
        if request.tools_key is not None:
            body[request.tools_key] = [dict(tool.raw) for tool in request.tools]
        return body

    def decode_response(self, body: dict[str, Any], context: DecodeContext) -> Response:
        """Read the body of an answer that is not streamed, or of an error."""
        timings = body.get("timings")
        choices: tuple[Choice, ...] = ()
        if isinstance(body.get("content"), str | list | dict):
            note_lone(body["content"], "content", context)
            raw = {"role": text_or_none(body.get("role")) or "assistant", "content": body["content"]}
            choices = (build_choice(raw, call_drafts(raw), text_or_none(body.get("stop_reason")), context),)
        return Response(
            response_id=text_or_none(body.get("id")),
            model=text_or_none(body.get("model")),
            choices=choices,
            usage=usage_of(body.get("usage"), timings, context),
            terminated=bool(choices),
            prompt_ms=timing_of(timings, "prompt_ms", context),
            predicted_ms=timing_of(timings, "predicted_ms", context),
            error=error_of(body),
            extra=first_extra(body.items(), HELD_KEYS),
        )

    def stream(self, context: DecodeContext) -> MessagesStream:
        """Return an assembler for a streamed answer."""
        return MessagesStream(context)

    def read_message(self, raw: Mapping[str, Any]) -> Message:
        """Read a message again."""
        return message_from_raw(raw)

    def read_tool(self, raw: Mapping[str, Any]) -> ToolDefinition:
        """Read a tool definition; a tool of the server's own (``web_search_…``) has no schema.

        Example:
            >>> AnthropicMessages().read_tool({"name": "tarx_recall", "input_schema": {"type": "object"}}).parameters
            {'type': 'object'}
        """
        schema = raw.get("input_schema")
        return ToolDefinition(
            name=text_or_none(raw.get("name")) or "",
            raw=raw,
            description=text_or_none(raw.get("description")) or "",
            parameters=schema if isinstance(schema, dict) else None,
        )
