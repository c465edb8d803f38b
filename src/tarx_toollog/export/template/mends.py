"""Why a template stops at a chat: the change that makes it go on is the answer.

Theory: what a template says when it fails is of little help ("'dict object' has no attribute …"). But there are only
a few things that templates stop at, and each can be mended. So the chat is rendered once more with one thing mended
at a time; the first mend that helps names the code. When none helps, the template's own words must do.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from tarx_toollog.canonical import parse_arguments
from tarx_toollog.export.template.row_rules import calls_of

Message = Mapping[str, Any]


class Asked(NamedTuple):
    """What a template is given."""

    messages: Sequence[Message]
    tools: Sequence[Any] | None


def diagnose(asked: Asked, renders: Callable[[Asked], bool]) -> str:
    """Return the code that tells why a template stops at ``asked``.

    Args:
        asked: The chat that it stops at; the messages are objects.
        renders: Whether the template takes a chat.
    """
    for code, mend in _MENDS:
        mended = mend(asked)
        if mended != asked and renders(mended):
            return code
    return "render_refused"


def objects_to_text(message: Message) -> Message:
    """Return a message with the arguments of its calls as strings."""
    return _with_arguments(message, lambda value: value if isinstance(value, str) else json.dumps(value))


def from_wire_form(message: Message) -> Message:
    """Return a message of OpenAI's wire in the form that templates agree on: arguments as objects, content as text."""
    return _without_null_content(_text_to_objects(message))


def _text_to_objects(message: Message) -> Message:
    return _with_arguments(message, lambda value: _object(value) if isinstance(value, str) else value)


def _object(text: str) -> Any:
    value = parse_arguments(text).value
    return text if value is None else value


def _with_arguments(message: Message, change: Callable[[Any], Any]) -> Message:
    calls = [
        {**call, "function": {**call["function"], "arguments": change(call["function"].get("arguments"))}}
        for call in calls_of(message)
        if isinstance(call, Mapping) and isinstance(call.get("function"), Mapping)
    ]
    return {**message, "tool_calls": calls} if calls else message


def _without_null_content(message: Message) -> Message:
    return message if message.get("content") is not None else {**message, "content": ""}


def _without_nulls(message: Message) -> Message:
    return {key: value for key, value in message.items() if value is not None or key == "content"}


def _with_short_ids(message: Message) -> Message:
    """Mistral's form: nine letters and figures. The same id becomes the same one."""
    message = {key: _short_id(value) if key == "tool_call_id" else value for key, value in message.items()}
    if calls := [{**call, "id": _short_id(call.get("id"))} for call in calls_of(message) if isinstance(call, Mapping)]:
        message["tool_calls"] = calls
    return message


def _short_id(value: Any) -> str:
    return re.sub(r"[^A-Za-z0-9]", "", str(value))[-9:].rjust(9, "0")


def _one_call(asked: Asked) -> Asked:
    messages: list[Message] = []
    for message in asked.messages:
        if messages and message.get("role") == messages[-1].get("role") == "tool":
            continue
        calls = calls_of(message)
        messages.append({**message, "tool_calls": calls[:1]} if len(calls) > 1 else message)
    return Asked(messages, asked.tools)


def _without_system(asked: Asked) -> Asked:
    return Asked([message for message in asked.messages if message.get("role") != "system"], asked.tools)


def _alternating(asked: Asked) -> Asked:
    messages: list[Message] = []
    for message in asked.messages:
        if messages and message.get("role") == messages[-1].get("role") and message.get("role") != "tool":
            messages.pop()
        messages.append(message)
    return Asked(messages, asked.tools)


def _without_defaults(asked: Asked) -> Asked:
    return Asked(asked.messages, None if asked.tools is None else [_without_default(tool) for tool in asked.tools])


def _without_default(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_without_default(item) for item in schema]
    if not isinstance(schema, Mapping):
        return schema
    is_choice = isinstance(schema.get("enum"), list) and not isinstance(schema.get("default", ""), str)
    return {key: _without_default(value) for key, value in schema.items() if not (is_choice and key == "default")}


def _without_tools(asked: Asked) -> Asked:
    """Return the chat as one between user and assistant alone."""
    messages: list[Message] = []
    for message in asked.messages:
        if message.get("role") == "tool" or (message.get("tool_calls") and message is not asked.messages[-1]):
            continue
        plain = {key: value for key, value in message.items() if key != "tool_calls"}
        messages.append(plain if plain.get("content") else {**plain, "content": "-"})
    return Asked(messages, None)


def _each(change: Callable[[Message], Message]) -> Callable[[Asked], Asked]:
    return lambda asked: Asked([change(message) for message in asked.messages], asked.tools)


_MENDS: tuple[tuple[str, Callable[[Asked], Asked]], ...] = (
    ("arguments_refused", _each(_text_to_objects)),
    ("arguments_refused", _each(objects_to_text)),
    ("content_refused", _each(_without_null_content)),
    ("null_refused", _each(_without_nulls)),
    ("call_id_refused", _each(_with_short_ids)),
    ("default_refused", _without_defaults),
    ("parallel_refused", _one_call),
    ("system_refused", _without_system),
    ("order_refused", _alternating),
    ("tools_refused", _without_tools),
)
"""From the smallest change to the largest, so that the first that helps is the cause."""
