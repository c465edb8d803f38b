"""What is wrong with the messages of one chat, whatever template writes them.

Owns the judgement of single messages and calls; the order and pairing of messages is ``order_rules``.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tarx_toollog.canonical import parse_arguments
from tarx_toollog.export.template.findings import Finding, short
from tarx_toollog.export.template.shapes import Chat
from tarx_toollog.export.template.tokens import find_token, in_json

_ROLES = frozenset({"system", "user", "assistant", "tool"})
_THOUGHT = re.compile(r"</?think(?:ing)?>")

Offered = Mapping[str, Any]
"""Name of a tool → its definition (the inner object)."""


def message_rules(chat: Chat, offered: Offered) -> Iterator[Finding]:
    """Yield what is wrong with each message by itself. The messages are a list."""
    for number, message in enumerate(chat.messages):
        place = chat.place(number)
        if not isinstance(message, Mapping) or not isinstance(message.get("role"), str):
            yield Finding("message_invalid", place, short(message))
            continue
        if message["role"] not in _ROLES:
            yield Finding("role_unknown", f"{place}.role", short(message["role"]))
        yield from _content(message, place)
        yield from (
            Finding("null_key", f"{place}.{key}")
            for key, value in message.items()
            if value is None and key != "content"
        )
        if message.get("function_call"):
            yield Finding("legacy_function_call", f"{place}.function_call")
        for ordinal, call in enumerate(calls_of(message)):
            yield from _call(call, f"{place}.tool_calls[{ordinal}]", chat, offered)
        if calls_of(message) and message.get("content") and chat.has_ids:
            yield Finding("text_beside_call", place)
        if message.get("tool_calls") and not isinstance(message["tool_calls"], list):
            yield Finding("call_invalid", f"{place}.tool_calls", short(message["tool_calls"]))
        if message["role"] == "tool" and chat.has_ids and not isinstance(message.get("name"), str):
            yield Finding("result_name_missing", place)


def token_rules(chat: Chat, tools_text: str, tokens: Sequence[str]) -> Iterator[Finding]:
    """Yield the control tokens in texts of the messages and in the JSON text of the tools."""
    for number, message in enumerate(chat.messages):
        for path, text in _strings(message):
            if found := find_token(text, tokens):
                yield Finding("special_token", ".".join([chat.place(number), *map(short, path)]), found)
    if found := find_token(tools_text, in_json(tokens)):
        yield Finding("special_token", "tools", found)


def calls_of(message: Any) -> Sequence[Any]:
    """Return the calls of a message, whatever they are; none when it has no list of them."""
    calls = message.get("tool_calls") if isinstance(message, Mapping) else None
    return calls if isinstance(calls, list) else ()


def name_of(call: Any) -> str | None:
    """Return the name in a call, or None when it has none."""
    function = call.get("function") if isinstance(call, Mapping) else None
    name = function.get("name") if isinstance(function, Mapping) else None
    return name if isinstance(name, str) and name else None


def _content(message: Mapping[str, Any], place: str) -> Iterator[Finding]:
    content, place = message.get("content"), f"{place}.content"
    is_answer = message["role"] == "assistant"
    says_more = bool(message.get("tool_calls") or message.get("function_call"))
    if is_answer and not says_more and not (content.strip() if isinstance(content, str) else content):
        yield Finding("message_empty", place.removesuffix(".content"))
    elif "content" not in message:
        yield Finding("content_missing", place)
    elif content is None:
        yield Finding("content_null", place)
    elif isinstance(content, list):
        yield Finding("content_parts", place)
    elif not isinstance(content, str):
        yield Finding("content_type", place, short(content))
    elif is_answer and (found := _THOUGHT.search(content)):
        yield Finding("reasoning_in_text", place, found[0])


def _call(call: Any, place: str, chat: Chat, offered: Offered) -> Iterator[Finding]:
    name = name_of(call)
    if name is None:
        yield Finding("call_invalid", place, short(call))
        return
    if name not in offered:
        yield Finding("call_not_offered", place, name)
    if chat.has_ids:
        yield from _id(call.get("id"), place)
    arguments, place = call["function"].get("arguments"), f"{place}.function.arguments"
    if isinstance(arguments, str):
        text, arguments = arguments, parse_arguments(arguments).value
        if arguments is not None:
            yield Finding("arguments_string", place, short(text))
    if not isinstance(arguments, Mapping):
        yield Finding("arguments_invalid", place, short(call["function"].get("arguments", "no arguments")))
        return
    known = properties_of(offered.get(name))
    for key, value in arguments.items():
        if value is None:
            is_filled = known is not None and key not in known
            yield Finding("argument_null_filled" if is_filled else "argument_null", f"{place}.{short(key)}")


def _id(call_id: Any, place: str) -> Iterator[Finding]:
    if call_id is None or call_id == "":
        yield Finding("call_id_missing", place)
    elif not isinstance(call_id, str):
        yield Finding("call_id_not_text", f"{place}.id", short(call_id))


def properties_of(function: Any) -> Mapping[str, Any] | None:
    """Return the properties in the schema of a tool, or None when it does not say which arguments it has."""
    parameters = function.get("parameters") if isinstance(function, Mapping) else None
    properties = parameters.get("properties") if isinstance(parameters, Mapping) else None
    return properties if isinstance(properties, Mapping) else None


def _strings(value: Any) -> Iterator[tuple[tuple[Any, ...], str]]:
    """Yield the texts inside of a JSON value, each with the keys that lead to it."""
    waiting: list[tuple[tuple[Any, ...], Any]] = [((), value)]
    while waiting:
        path, item = waiting.pop()
        if isinstance(item, str):
            yield path, item
        elif isinstance(item, dict):
            waiting += [((*path, key), inner) for key, inner in item.items()]
        elif isinstance(item, list):
            waiting += [((*path, number), inner) for number, inner in enumerate(item)]
