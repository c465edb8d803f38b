"""Datasets of Inspect: ``input`` (a chat), ``target`` (text), ``metadata``. Pure: rows in, entries out, and back.

A row is one decision. Inspect writes calls of a history in another way than OpenAI's interface (the arguments are an
object, not text). Where that way back does not lead to the logged messages, byte for byte, the metadata has them too.
The ``target`` lists the right answers as JSON, for a scorer of the user's own: Inspect has none for calls.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tarx_toollog.canonical import json_text, parse_arguments
from tarx_toollog.errors import ConfigError
from tarx_toollog.replay.files.cases import Case, cases_of, entries_of, losses_of
from tarx_toollog.replay.files.lines import HINT, Entry, Placed, is_objects
from tarx_toollog.replay.files.ours import steps_of

_JUDGED = frozenset({"alternatives"})
_PARTS = frozenset({"text", "image_url"})


def recognises(row: Mapping[str, Any]) -> bool:
    """Say whether an object looks like a row of such a dataset."""
    return "input" in row


def read(rows: Iterable[Placed]) -> Iterator[tuple[str, Entry]]:
    """Yield the entries of a dataset's rows.

    Raises:
        ConfigError: A row has no chat, or its metadata do not say what is right.
    """
    return entries_of((where, _case(row, where)) for where, row in rows)


def written(entries: list[Entry]) -> tuple[list[dict[str, Any]], Counter[str]]:
    """Return the rows of entries, and how many entries say what no row says, by what it is."""
    rows = [_row(case) for entry in entries for case in cases_of(entry)]
    lost = losses_of(entries, _JUDGED)
    lost["content"] = sum(map(_has_other_content, entries))
    return rows, lost


def _row(case: Case) -> dict[str, Any]:
    chat = [_told(message) for message in case.messages]
    kept = {} if [_read(message) for message in chat] == list(case.messages) else {"messages": list(case.messages)}
    right = [case.metadata["expected"], *case.metadata.get("alternatives", ())]
    return {
        "id": case.id,
        "input": chat,
        "target": [json_text(one["calls"]) if one.get("calls") else "" for one in right],
        "metadata": {**case.metadata, "tools": list(case.tools), **kept},
    }


def _case(row: Mapping[str, Any], where: str) -> Case:
    metadata = row.get("metadata")
    if not isinstance(metadata, Mapping) or "tools" not in metadata or "expected" not in metadata:
        raise ConfigError(f"{where}: `metadata` must have `tools` and `expected`", hint=HINT)
    chat = row.get("input")
    if isinstance(chat, str):
        chat = [{"role": "user", "content": chat}]
    messages, tools = metadata.get("messages", chat), metadata["tools"]
    if not is_objects(messages) or not is_objects(tools):
        raise ConfigError(f"{where}: `input` must be a text or a chat, and `tools` a list", hint=HINT)
    return Case(str(row.get("id", where)), tuple(map(_read, messages)), tuple(tools), metadata)


def _told(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message of OpenAI's interface as Inspect has it."""
    content, role = message.get("content"), message.get("role")
    told: dict[str, Any] = {
        "role": "system" if role == "developer" else role,
        "content": [_told_part(part) for part in content] if isinstance(content, list) else content or "",
    }
    if is_objects(message.get("tool_calls")) and message["tool_calls"]:
        told["tool_calls"] = [_told_call(call) for call in message["tool_calls"]]
    if "tool_call_id" in message:
        told["tool_call_id"] = message["tool_call_id"]
    return told


def _told_part(part: Any) -> dict[str, Any]:
    kind = part.get("type") if isinstance(part, Mapping) else None
    if kind == "text":
        return dict(part)
    if kind == "image_url" and isinstance(part["image_url"], Mapping):
        return {"type": "image", "image": part["image_url"].get("url")}
    return {"type": "text", "text": json_text(part)}


def _told_call(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call.get("function")
    named = function if isinstance(function, Mapping) else {}
    arguments = parse_arguments(str(named.get("arguments", ""))).value
    told = {"id": str(call.get("id", "")), "type": "function", "function": str(named.get("name", ""))}
    return {**told, "arguments": arguments or {}, **({"parse_error": "no JSON object"} if arguments is None else {})}


def _read(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a message of Inspect as OpenAI's interface has it."""
    readers = {"tool_calls": _read_call, "content": _read_part}
    return {
        key: [readers[key](one) for one in value] if key in readers and is_objects(value) else value
        for key, value in message.items()
    }


def _read_part(part: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"type": "image_url", "image_url": {"url": part["image"]}} if "image" in part else part


def _read_call(call: Mapping[str, Any]) -> Mapping[str, Any]:
    if not isinstance(call.get("function"), str):
        return call
    function = {"name": call["function"], "arguments": json.dumps(call.get("arguments", {}), ensure_ascii=False)}
    return {"id": call.get("id"), "type": "function", "function": function}


def _has_other_content(entry: Entry) -> bool:
    """Say whether a message has more than texts and pictures: Inspect gets the JSON of it, as text."""
    parts = [
        part
        for step in steps_of(entry)
        for message in step["messages"]
        if isinstance(message.get("content"), list)
        for part in message["content"]
    ]
    return any(not isinstance(part, Mapping) or part.get("type") not in _PARTS for part in parts)
