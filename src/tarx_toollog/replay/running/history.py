"""Calls of the logged history whose arguments are no JSON object: what is sent in their place. Pure.

llama.cpp answers 500 to a history that holds such a call. The model that is asked now did not write it, so neither
the 500 nor the confusion of a model that reads it may count against it.
"""

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from tarx_toollog.canonical import json_text, parse_arguments
from tarx_toollog.wire.repair import repair_arguments

Message = Mapping[str, Any]


class History(StrEnum):
    """What happens to such calls."""

    VERBATIM = "verbatim"
    """They are sent as they were logged."""
    REPAIR = "repair"
    """Their arguments are sent as what they obviously mean, else as an empty object."""
    DROP = "drop"
    """They are left out, with their results."""


class Sent(NamedTuple):
    """A history as it is sent."""

    messages: list[dict[str, Any]]
    changed: int
    """How many calls are not as they were logged."""


def as_sent(messages: Sequence[Message], policy: History) -> Sent:
    """Return a history by a policy.

    Example:
        >>> call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{'a': 1}"}}
        >>> as_sent([{"role": "assistant", "tool_calls": [call]}], History.REPAIR).messages[0]["tool_calls"][0]
        {'id': '1', 'type': 'function', 'function': {'name': 'f', 'arguments': '{"a": 1}'}}
    """
    changed = bad_calls(messages)
    if policy is History.VERBATIM or not changed:
        return Sent([dict(message) for message in messages], 0)
    return Sent(list(map(_repaired, messages) if policy is History.REPAIR else _without_bad(messages)), changed)


def bad_calls(messages: Sequence[Message]) -> int:
    """Return how many calls of a history have arguments that are no JSON object."""
    return sum(_is_bad(call) for message in messages for call in _calls(message))


def _calls(message: Message) -> list[Any]:
    calls = message.get("tool_calls")
    return calls if isinstance(calls, list) else []


def _arguments(call: Any) -> str | None:
    function = call.get("function") if isinstance(call, Mapping) else None
    arguments = function.get("arguments") if isinstance(function, Mapping) else None
    return arguments if isinstance(arguments, str) else None


def _is_bad(call: Any) -> bool:
    arguments = _arguments(call)
    return arguments is not None and parse_arguments(arguments).value is None


def _repaired(message: Message) -> dict[str, Any]:
    if not any(map(_is_bad, _calls(message))):
        return dict(message)
    return {**message, "tool_calls": [_repaired_call(call) if _is_bad(call) else call for call in _calls(message)]}


def _repaired_call(call: Mapping[str, Any]) -> dict[str, Any]:
    found = repair_arguments(_arguments(call) or "")
    return {**call, "function": {**call["function"], "arguments": json_text({} if found is None else found[0])}}


def _without_bad(messages: Sequence[Message]) -> Iterator[dict[str, Any]]:
    dropped: set[Any] = set()
    for message in messages:
        if message.get("role") == "tool" and message.get("tool_call_id") in dropped:
            dropped.discard(message.get("tool_call_id"))  # servers give an id again in a later turn
            continue
        bad = [call for call in _calls(message) if _is_bad(call)]
        if not bad:
            yield dict(message)
            continue
        dropped |= {call.get("id") for call in bad} - {None}
        good = [call for call in _calls(message) if not _is_bad(call)]
        kept = {key: value for key, value in message.items() if key != "tool_calls"}
        if good:
            yield {**kept, "tool_calls": good}
        elif message.get("content"):
            yield kept
