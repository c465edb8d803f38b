"""The OpenAI Responses protocol: requests, whole answers, and the entry to streamed ones.

Theory: the body is split as that of chat completions is: messages, tools and the rest. What differs is where the
messages stand. ``instructions`` is the first one, with the role ``system``; an ``input`` that is a string is one
user message; of a list each item is one, except that the items which the model made in a row are one together
(``responses_items``). ``Request.layout`` remembers which of these it was, so that the body can be made again.

Where the server keeps the history (``previous_response_id``), the request holds the new items only; the store finds
what came before by ``Response.response_id``.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

from tarx_toollog.canonical import Json
from tarx_toollog.model import Message, Request, Response, ToolDefinition
from tarx_toollog.wire.fields import DecodeContext, count_or_none, listed, text_or_none
from tarx_toollog.wire.openai_chat import tool_from_raw
from tarx_toollog.wire.openai_fields import error_of
from tarx_toollog.wire.responses_answer import response_of
from tarx_toollog.wire.responses_items import OutputItem, is_completed, items_of, raws_of, read_raw
from tarx_toollog.wire.responses_stream import ResponsesStream

INSTRUCTIONS = "instructions"
"""Layout code: the first message stood under this key."""
TEXT = "text"
"""Layout code: ``input`` was a string."""
NO_INPUT = "no_input"
"""Layout code: ``input`` held no message; whatever stood there is in ``params``."""
_ROUTE_SUFFIX = "/responses"
_SIGNS = ("input", "previous_response_id", "conversation", "prompt", "instructions", "model")


class OpenAIResponses:
    """``POST …/responses``."""

    name = "openai_responses"
    stream_format: Literal["sse"] = "sse"

    def matches(self, method: str, path: str) -> bool:
        """Say whether a request is one of this protocol; ``path`` comes without its query."""
        return method == "POST" and path.endswith(_ROUTE_SUFFIX)

    def accepts(self, body: dict[str, Any]) -> bool:
        """Say whether a body asks a model for something; others, say of a survey, may live on such a route too."""
        return any(key in body for key in _SIGNS)

    def decode_request(self, body: dict[str, Any], context: DecodeContext) -> Request:
        """Read a request body."""
        params = dict(body)
        raws: list[Mapping[str, Any]] = []
        layout: list[str] = []
        if isinstance(params.get("instructions"), str):
            raws.append({"role": "system", "content": params.pop("instructions")})
            layout.append(INSTRUCTIONS)
        if isinstance(params.get("input"), str):
            raws.append({"role": "user", "content": params.pop("input")})
            layout.append(TEXT)
        elif _is_list_of_objects(params.get("input"), "message", context):
            raws += raws_of(params.pop("input"))
        else:
            layout.append(NO_INPUT)
        has_tools = _is_list_of_objects(params.get("tools"), "tool", context)
        tools = params.pop("tools") if has_tools else []
        context.output_limit = count_or_none(body.get("max_output_tokens"))
        return Request(
            model=text_or_none(body.get("model")),
            messages=tuple(read_raw(raw) for raw in raws),
            tools=tuple(self.read_tool(tool) for tool in tools),
            params=params,
            tools_key="tools" if has_tools else None,
            layout=tuple(layout),
        )

    def request_body(self, request: Request) -> dict[str, Any]:
        """Make the body again."""
        body = dict(request.params)
        raws = [message.raw for message in request.messages]
        if INSTRUCTIONS in request.layout:
            body["instructions"] = raws.pop(0)["content"]
        if TEXT in request.layout:
            body["input"] = raws.pop(0)["content"]
        elif NO_INPUT not in request.layout:
            body["input"] = items_of(raws)
        if request.tools_key is not None:
            body[request.tools_key] = [dict(tool.raw) for tool in request.tools]
        return body

    def decode_response(self, body: dict[str, Any], context: DecodeContext) -> Response:
        """Read the body of an answer that is not streamed, or of an error."""
        output = body.get("output")
        entries = listed(output, "output", context)
        items = [OutputItem(entry, is_completed(entry)) for entry in entries if isinstance(entry, dict)]
        is_response = isinstance(output, list | dict) or body.get("object") == "response"
        return response_of(body, items, context, is_over=is_response, error=error_of(body))

    def stream(self, context: DecodeContext) -> ResponsesStream:
        """Return an assembler for a streamed answer."""
        return ResponsesStream(context)

    def read_message(self, raw: Mapping[str, Any]) -> Message:
        """Read a message again."""
        return read_raw(raw)

    def read_tool(self, raw: Mapping[str, Any]) -> ToolDefinition:
        """Read a tool definition; a built-in tool is named by its server's label or by its type.

        Example:
            >>> OpenAIResponses().read_tool({"type": "mcp", "server_label": "files"}).name
            'files'
        """
        tool = tool_from_raw(raw)  # flat as a rule; clients of two protocols send the form of chat completions
        names = (tool.name, text_or_none(raw.get("server_label")), text_or_none(raw.get("type")))
        description = tool.description or text_or_none(raw.get("server_description")) or ""
        return replace(tool, name=next(filter(None, names), ""), description=description)


def _is_list_of_objects(value: Json, what: str, context: DecodeContext) -> bool:
    """Say whether a list can be taken apart; one that holds anything but objects stays in ``params`` as it came."""
    if not isinstance(value, list):
        return False
    strange = next((number for number, entry in enumerate(value) if not isinstance(entry, dict)), None)
    if strange is not None:
        context.note(f"{what}_not_object", str(strange))
    return strange is None
