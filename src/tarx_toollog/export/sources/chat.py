"""Chats as people store them, read into the raw messages that ``export.normalise`` takes.

Two families. *messages*: ``role`` and ``content`` as on the wire, with ``tool_calls`` and results. *sharegpt*: ``from``
and ``value``, where a call is a JSON text of its own (``function_call``) or stands in the answer between markers, and
where results need not name their call. Does not judge what is said.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from tarx_toollog.canonical import MAX_DEPTH, InvalidJsonError, parse_json
from tarx_toollog.export.example import Dropped, Message, Piece
from tarx_toollog.export.normalise import Normaliser, Place, written
from tarx_toollog.export.sources.jsonl_input import BadLineError, optional_text
from tarx_toollog.wire.text_calls import find_calls

_CHATS = ("messages", "conversation", "conversations")
_TOOLS = ("tools", "functions")
_ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "model": "assistant",
    "system": "system",
    "function_call": "call",
    "tool_call": "call",
    "observation": "tool",
    "tool": "tool",
    "tool_response": "tool",
    "function_response": "tool",
}
_RESULT = ("<tool_response>", "</tool_response>")


def raw_messages(row: Mapping[str, Any], offered: frozenset[str] = frozenset()) -> list[Message]:
    """Return the messages of a row in the form of the wire, with the one under its key ``system`` before them.

    Args:
        row: A line of a file.
        offered: Names of the offered tools, which tell a call in a text from an example of one.

    Raises:
        BadLineError: There is no list of messages, or an entry is none.
    """
    key = next((key for key in _CHATS if row.get(key) is not None), None)
    chat = None if key is None else row[key]
    if not isinstance(chat, list) or not chat:
        raise BadLineError("no list of messages", "give `messages`, a list that is not empty")
    speaker = "role" if isinstance(chat[0], dict) and "role" in chat[0] else "from"
    for number, entry in enumerate(chat, 1):
        if not isinstance(entry, dict) or not isinstance(entry.get(speaker), str):
            mend = "write {role, content}, or {from, value}, in all of them"
            raise BadLineError(f"entry {number} of `{key}` is no message", mend)
    raws = [dict(entry) for entry in chat] if speaker == "role" else _sharegpt(chat, offered)
    system = optional_text(dict(row), "system")
    if system is not None and raws[0].get("role") not in ("system", "developer"):
        raws.insert(0, {"role": "system", "content": system})
    return raws


def tool_list(row: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Return the tools of a row; an empty list where it says that there are none, None where it says nothing.

    A list or a JSON text of one; each tool as on the wire, or as its function alone.

    Raises:
        BadLineError: They cannot be read.
    """
    key = next((key for key in _TOOLS if row.get(key) is not None), None)
    if key is None:
        return None
    value = row[key]
    if isinstance(value, str):
        try:
            value = parse_json(value, max_depth=MAX_DEPTH) if value.strip() else []
        except InvalidJsonError as error:
            raise BadLineError(f"`{key}` is a text that is not JSON: {error}", "write a list of tools") from error
    if not isinstance(value, list):
        raise BadLineError(f"`{key}` is no list", "write a list of {type, function} objects")
    return [tool_definition(raw) for raw in value]


def tool_definition(raw: Any) -> dict[str, Any]:
    """Return a tool as ``{"type": "function", "function": {…}}``.

    Raises:
        BadLineError: It is no function with a name and, where there are parameters, an object of them.
    """
    function = raw.get("function", raw if "type" not in raw else None) if isinstance(raw, Mapping) else None
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str) or not function["name"]:
        raise BadLineError("a tool is no function with a name", "write {type: function, function: {name, parameters}}")
    if not isinstance(function.get("parameters") or {}, Mapping):
        raise BadLineError(f"the parameters of {function['name']} are no object", "write a JSON Schema")
    tool = {"type": "function", "function": {key: value for key, value in function.items() if value is not None}}
    try:
        written(tool)
    except Dropped as dropped:
        raise BadLineError(f"{function['name']}: {dropped.reason}", "mend the definition of the tool") from dropped
    return tool


def names_of(tools: Sequence[Mapping[str, Any]] | None) -> frozenset[str]:
    """Return the names of tools."""
    return frozenset(tool["function"]["name"] for tool in tools or ())


def tools_piece(tools: Sequence[dict[str, Any]] | None, normaliser: Normaliser) -> Piece | None:
    """Return tools as an example holds them, cleaned."""
    return Piece([normaliser.clean_tool(tool) for tool in tools]) if tools else None


def places(raws: Sequence[Message], normaliser: Normaliser) -> list[Place]:
    """Return the place after each message."""
    place, found = Place(), []
    for raw in raws:
        place = place.then(raw, normaliser)
        found.append(place)
    return found


def pieces_of(raws: Sequence[Message], normaliser: Normaliser) -> tuple[Piece, ...]:
    """Return messages in canonical form, all of which must be writable.

    Raises:
        Dropped: One of them is not; an argument that cannot be read is ``history_arguments``.
    """
    last = places(raws, normaliser)[-1]
    if last.problem is not None:
        raise Dropped("history_arguments" if last.problem == "arguments" else last.problem)
    return last.pieces


# ---- from and value --------------------------------------------------------------------------------------------------


def _sharegpt(chat: Sequence[Mapping[str, Any]], offered: frozenset[str]) -> list[Message]:
    raws: list[Message] = []
    for number, entry in enumerate(chat, 1):
        said_by, value = _ROLES.get(str(entry.get("from"))), entry.get("value")
        if said_by is None:
            mend = "use human, gpt, function_call, observation or system"
            raise BadLineError(f"message {number} is from {entry.get('from')!r}", mend)
        if not isinstance(value, str):
            raise BadLineError(f"the value of message {number} is no text", "write a string")
        if said_by == "call":
            raws.append(_call_message(value, number, offered))
        elif said_by == "assistant":
            raws.append(_answer(value, offered))
        elif said_by == "tool":
            raws += [{"role": "tool", "content": result} for result in _results(value)]
        else:
            raws.append({"role": said_by, "content": value})
    return _joined(raws)


def _call_message(value: str, number: int, offered: frozenset[str]) -> Message:
    """Return the message of a ``function_call``: one call or a list of them in JSON, or a text with calls in it."""
    try:
        calls = parse_json(value, max_depth=MAX_DEPTH)
    except InvalidJsonError:
        message = _answer(value, offered)
        if "tool_calls" in message:
            return message
        mend = 'write {"name": …, "arguments": {…}}'
        raise BadLineError(f"the function_call of message {number} is not JSON", mend) from None
    entries = calls if isinstance(calls, list) else [calls]
    if not entries or not all(isinstance(call, dict) and isinstance(call.get("name"), str) for call in entries):
        raise BadLineError(f"the function_call of message {number} has no name", 'write {"name": …, "arguments": {…}}')
    functions = [{"name": call["name"], "arguments": call.get("arguments", {})} for call in entries]
    return _with_calls("", functions)


def _answer(value: str, offered: frozenset[str]) -> Message:
    found = [call for call in find_calls(value, offered) if call.complete]
    if not found:
        return {"role": "assistant", "content": value}
    edges = [(0, 0), *((call.start, call.end) for call in found), (len(value), len(value))]
    between = [value[left[1] : right[0]].strip() for left, right in pairwise(edges)]
    content = "\n".join(text for text in between if text.strip(" ,;\n"))  # a comma stands between calls of one list
    return _with_calls(content, [{"name": call.name, "arguments": call.arguments} for call in found])


def _with_calls(content: str, functions: Sequence[Mapping[str, Any]]) -> Message:
    calls = [{"type": "function", "function": dict(function)} for function in functions]
    return {"role": "assistant", "content": content, "tool_calls": calls}


def _results(value: str) -> list[str]:
    """Return the results of one message: several stand between markers of their own."""
    opening, closing = _RESULT
    if opening not in value and closing not in value:
        return [value]
    pieces = value.replace(opening, closing).split(closing)
    return [piece.strip() for piece in pieces if piece.strip()] or [""]


def _joined(raws: Sequence[Message]) -> list[Message]:
    """Join a text and the calls behind it, which the wire has in one message."""
    joined: list[Message] = []
    for raw in raws:
        before = joined[-1] if joined else None
        if before and raw.get("tool_calls") and before["role"] == "assistant" and "tool_calls" not in before:
            joined[-1] = {**raw, "content": "\n".join(text for text in (before["content"], raw["content"]) if text)}
        else:
            joined.append(raw)
    return joined
