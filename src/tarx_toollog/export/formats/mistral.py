"""``mistral``: messages and tools as mistral-common's validator for fine-tuning accepts them.

Ids of calls become nine letters and digits, which tokenizers up to version 11 demand: made from the place of the call
and its old id, so that no two calls of a row share one. Answers that are not to be learned have ``weight`` 0.

Calls with words beside them are written as they were said: every tokenizer from version 7 on (November 2024) takes
both, the older ones of Mistral 7B v0.3 and of Nemo only one of the two. Rows that no version can say are refused: a
chat that opens with an answer, a system message after an answer, calls in the history that have other results than
one each, a schema that is no JSON Schema (draft 7), a name that the API does not allow, reasoning in the answer.
Reasoning in the history is left out.

Format: ``protocol/instruct/{messages,tool_calls,validator}.py`` of mistral-common 1.13.
"""

import hashlib
import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from jsonschema import Draft7Validator
from jsonschema.exceptions import SchemaError

from tarx_toollog.export.example import Dropped, Message, Row, Summary, Task, Unit
from tarx_toollog.export.formats.base import FormatOptions, Location
from tarx_toollog.export.formats.jsonl import JsonlFiles, check_fits, learned_places
from tarx_toollog.export.formats.openai_form import checked_name, refuse_learned_reasoning, wire_calls, wire_tools

_AFTER: dict[str, frozenset[str]] = {
    "": frozenset({"system", "user"}),
    "system": frozenset({"system", "user", "assistant"}),
    "user": frozenset({"system", "user", "assistant"}),
    "assistant": frozenset({"user", "assistant", "tool"}),
    "tool": frozenset({"user", "assistant", "tool"}),
}
"""Role → the roles that may follow it; ``""`` is the beginning."""


class MistralFormat:
    """The format, as the registry holds it."""

    name = "mistral"
    about = "Mistral fine-tuning: what mistral-common's validator accepts"
    tasks: frozenset[Task] = frozenset({"sft"})
    units: frozenset[Unit] = frozenset({"step", "trajectory"})

    def writer(self, folder: Path, options: FormatOptions) -> "MistralWriter":
        """Return a writer into ``folder``.

        Raises:
            ConfigError: For preferences, which the format has no form for.
        """
        check_fits(self, options)
        return MistralWriter(folder)


class MistralWriter:
    """Writes one file a split."""

    def __init__(self, folder: Path) -> None:
        self._files = JsonlFiles(folder)

    def add(self, row: Row) -> Location:
        """Write one line.

        Raises:
            Dropped: The validator would refuse it.
        """
        learned = learned_places(row)
        refuse_learned_reasoning(row, learned)
        value: dict[str, Any] = {"messages": _messages(row.messages, learned)}
        if row.tools_text is not None:
            value["tools"] = _tools(row.tools_text)
        return self._files.add(row.split, json.dumps(value, ensure_ascii=False, allow_nan=False))

    def finish(self, summary: Summary) -> None:
        """Nothing stands beside the rows."""

    def close(self) -> None:
        """Close all files."""
        self._files.close()


def _messages(messages: Sequence[Message], learned: frozenset[int]) -> list[dict[str, Any]]:
    """Return the messages in Mistral's form.

    ``waiting`` maps the old ids of the calls without a result to their new ones. It starts anew with each answer, as
    servers give the same id again in a later step.
    """
    written: list[dict[str, Any]] = []
    waiting: dict[str, str] = {}
    before = ""
    for place, message in enumerate(messages):
        role = message["role"]
        if role not in _AFTER[before] or (role == "assistant" and waiting):
            raise Dropped("format_cannot_say")
        before = role
        if role == "tool":
            written.append(_result(message, waiting))
            continue
        made: dict[str, Any] = {"role": role, "content": message["content"]}
        if role == "assistant":
            calls, waiting = _calls(message, place)
            if not calls and not message["content"]:
                raise Dropped("format_cannot_say")
            if calls:
                made["tool_calls"] = calls
            if place not in learned:
                made["weight"] = 0
        written.append(made)
    return written


def _calls(message: Message, place: int) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Return the calls with new ids, and what the old ids have become."""
    calls = wire_calls(message)
    ids = {call["id"]: _new_id(f"{place}/{index}/{call['id']}") for index, call in enumerate(calls)}
    if len(ids) < len(calls):
        raise Dropped("format_cannot_say")
    for call in calls:
        call["id"] = ids[call["id"]]
    return calls, ids


def _result(message: Message, waiting: dict[str, str]) -> dict[str, Any]:
    call_id = waiting.pop(message["tool_call_id"], None)
    if call_id is None:
        raise Dropped("format_cannot_say")
    made = {"role": "tool", "content": message["content"], "tool_call_id": call_id}
    if "name" in message:
        made["name"] = checked_name(message["name"])
    return made


def _new_id(seed: str) -> str:
    return hashlib.sha256(seed.encode()).hexdigest()[:9]


@lru_cache(maxsize=256)
def _tools(tools_text: str) -> tuple[dict[str, Any], ...]:
    """Return the tools in Mistral's form, which has parameters always. Kept, as most rows offer the same."""
    return tuple(_tool(tool["function"]) for tool in wire_tools(tools_text))


def _tool(function: dict[str, Any]) -> dict[str, Any]:
    parameters = function.get("parameters", {})
    try:
        Draft7Validator.check_schema(parameters)
    except SchemaError:
        raise Dropped("format_cannot_say") from None
    return {
        "type": "function",
        "function": {
            "name": function["name"],
            "description": function.get("description", ""),
            "parameters": parameters,
        },
    }
