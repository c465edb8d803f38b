"""The messages and tools of any protocol in the form of chat completions. Pure.

Theory: training files and replays speak chat completions, the form that chat templates and servers agree on. A
message of another protocol is read with its own ``read_message`` and said again: what the model made becomes one
assistant message with ``tool_calls``, each result a ``tool`` message, and what a user said beside results a ``user``
message after them. Results without an id get the one of the call that they answer: the next open call of their name.

What text chat cannot say (an image, a call that the server carried out, an item that only the server knows) raises
``NotChatError``; nothing of that kind is left out silently. Reasoning is said as ``reasoning_content``, llama.cpp's
name for it, unless the server keeps it encrypted. The error flag of a result has no place in this form.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tarx_toollog.canonical import Json
from tarx_toollog.model import Message, ToolCall, ToolDefinition, ToolResult
from tarx_toollog.wire.protocols import WireProtocol, protocol_named

CHAT = "openai_chat"

_TEXT_TYPES = frozenset({"text", "input_text", "output_text", "reasoning_text", "summary_text", "refusal"})
_SAID_TYPES = frozenset(
    {
        *_TEXT_TYPES,
        # Anthropic: what stands among the blocks of a message.
        "thinking",
        "redacted_thinking",
        "tool_use",
        "tool_result",
        # OpenAI Responses: items.
        "message",
        "reasoning",
        "function_call",
        "function_call_output",
        "custom_tool_call",
        "custom_tool_call_output",
    }
)
"""Types of parts, blocks and items that a ``Message`` holds without loss."""
_NESTED_KEYS = ("content", "output", "summary")
_TOOL_TYPES = ("function", "custom")


class NotChatError(ValueError):
    """Something cannot be said as text chat.

    Args:
        reason: The type of the part, block, item or tool (``input_image``, ``mcp_call``, ``web_search`` …); or
            ``images``, ``role`` (nobody is known to have said it), ``server_side_call``.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"cannot be said as chat: {reason}")
        self.reason = reason


def chat_messages(protocol: str, raws: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return messages in the form of chat completions.

    Args:
        protocol: ``Exchange.protocol``; messages of chat completions are returned as they are.
        raws: ``Message.raw`` of a history in order, an answer at its end included.

    Raises:
        NotChatError: Something in them is not text, a call of the client's, or its result.

    Example:
        >>> item = {"type": "function_call_output", "call_id": "a", "output": "Lisbon"}
        >>> chat_messages("openai_responses", [item])
        [{'role': 'tool', 'content': 'Lisbon', 'tool_call_id': 'a'}]
    """
    wire = protocol_named(protocol)
    if wire.name == CHAT:
        return [dict(raw) for raw in raws]
    history = _History()
    for raw in raws:
        _require_text(raw)
        history.add(wire.read_message(raw))
    return history.messages


def chat_tools(protocol: str, raws: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return tool definitions in the form of chat completions.

    Args:
        protocol: ``Exchange.protocol``; definitions of chat completions are returned as they are.
        raws: ``ToolDefinition.raw`` in order.

    Raises:
        NotChatError: One of them is a tool of the server's own.

    Example:
        >>> chat_tools("openai_responses", [{"type": "function", "name": "tarx_recall", "parameters": {}}])
        [{'type': 'function', 'function': {'name': 'tarx_recall', 'parameters': {}}}]
    """
    wire = protocol_named(protocol)
    return [dict(raw) for raw in raws] if wire.name == CHAT else [_tool(wire, raw) for raw in raws]


class _History:
    """Messages in the making: remembers which calls still wait for their results."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self._waiting: list[ToolCall] = []

    def add(self, message: Message) -> None:
        self.messages += [self._result(result) for result in message.tool_results]
        is_results_only = bool(message.tool_results) and (message.role == "tool" or not message.text)
        if message.role == "assistant":
            self.messages.append(self._assistant(message))
        elif not message.role:
            raise NotChatError("role")
        elif not is_results_only:
            self.messages.append({"role": message.role, "content": message.text})

    def _assistant(self, message: Message) -> dict[str, Any]:
        said: dict[str, Any] = {"role": "assistant", "content": message.text}
        if message.reasoning:
            said["reasoning_content"] = message.reasoning
        if refusal := "".join(_refusals(message.raw)):
            said["refusal"] = refusal
        if message.tool_calls:
            self._waiting = list(message.tool_calls)
            said["content"] = message.text or None
            said["tool_calls"] = [_call(call) for call in message.tool_calls]
        return said

    def _result(self, result: ToolResult) -> dict[str, Any]:
        said: dict[str, Any] = {"role": "tool", "content": result.text}
        fitting = (
            call
            for call in self._waiting
            if (call.call_id == result.call_id if result.call_id else result.name in (None, call.name))
        )
        call = next(fitting, None)
        if call is not None:
            self._waiting.remove(call)
        call_id = result.call_id or (None if call is None else call.call_id)
        if call_id is not None:
            said["tool_call_id"] = call_id
        if result.name is not None:
            said["name"] = result.name
        return said


def _call(call: ToolCall) -> dict[str, Any]:
    if call.origin == "server_side":
        raise NotChatError("server_side_call")
    if call.origin == "custom":
        return {"id": call.call_id, "type": "custom", "custom": {"name": call.name, "input": call.arguments}}
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.call_id, "type": "function", "function": function}


def _tool(wire: WireProtocol, raw: Mapping[str, Any]) -> dict[str, Any]:
    kind = str(raw.get("type", "function"))
    if kind not in _TOOL_TYPES:
        raise NotChatError(kind)
    if isinstance(raw.get("function"), dict):
        return dict(raw)
    tool = wire.read_tool(raw)
    # Anthropic calls a function with a schema "custom" as well.
    if kind == "custom" and tool.parameters is None:
        return {"type": "custom", "custom": {key: value for key, value in raw.items() if key != "type"}}
    return {"type": "function", "function": _function(tool)}


def _function(tool: ToolDefinition) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    if tool.parameters is not None:
        function["parameters"] = dict(tool.parameters)
    if isinstance(tool.raw.get("strict"), bool):
        function["strict"] = tool.raw["strict"]
    return function


def _require_text(raw: Mapping[str, Any]) -> None:
    if raw.get("images"):  # Ollama's place for them
        raise NotChatError("images")
    content = raw.get("content")
    # A block in place of the list of blocks; what a tool gave back may be any object.
    lone = [content] if isinstance(content, dict) and raw.get("role") != "tool" else []
    for entry in _nested([raw, *lone]):
        kind = str(entry.get("type", "message"))
        if kind not in _SAID_TYPES:
            raise NotChatError(kind)


def _nested(value: Json) -> Iterator[Mapping[str, Any]]:
    """Yield a message and all parts, blocks and items within it."""
    waiting: list[Json] = [value]
    while waiting:
        entry = waiting.pop()
        if isinstance(entry, list):
            waiting += reversed(entry)
        elif isinstance(entry, Mapping):
            yield entry
            waiting += [entry[key] for key in _NESTED_KEYS if isinstance(entry.get(key), list)]


def _refusals(raw: Mapping[str, Any]) -> Iterator[str]:
    for entry in _nested(raw):
        if isinstance(refusal := entry.get("refusal"), str):
            yield refusal
