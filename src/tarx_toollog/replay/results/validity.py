"""Calls that a tool refuses before it runs: its own error comes back, and nothing in the world changes. Pure.

A tool validates as far as nobody has seen otherwise. One that took a call against its schema in the recording is
*lax*: what it does with another such call is not known here, and is treated like any call.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence

from tarx_toollog.canonical import Json
from tarx_toollog.replay.matching import Call
from tarx_toollog.replay.results.recording import RecordedCall, Schema
from tarx_toollog.store.verdicts import check_schema

_IS = " is "


class Validation:
    """Says which calls are refused, and with which words.

    Args:
        calls: The recorded calls.
        schemas: The schemas of the tools that were offered; empty when it is not known which were.
    """

    def __init__(self, calls: Sequence[RecordedCall], schemas: Mapping[str, Schema | None]) -> None:
        self._schemas = schemas
        flawed = [(recorded, self._flaws(recorded.call)) for recorded in calls]
        self._lax = {_sort(recorded.call) for recorded, flaws in flawed if flaws and not recorded.is_error}
        self._refused = [(recorded, flaws) for recorded, flaws in flawed if flaws and recorded.is_error]

    def flaws(self, call: Call) -> tuple[str, ...]:
        """Return for what a tool refuses a call; nothing when it runs it, as far as one can know."""
        return () if _sort(call) in self._lax else self._flaws(call)

    def refusal(self, call: Call, flaws: Sequence[str]) -> str:
        """Return the error text for a refused call: that of a recorded call with the same flaws, or a plain one."""
        kinds = set(_kinds(flaws))
        for recorded, others in self._refused:
            if recorded.name == call.name and set(_kinds(others)) == kinds and not _misquotes(recorded, call):
                return recorded.result_text
        return f"invalid call of {call.name}: {'; '.join(flaws)}"

    def _flaws(self, call: Call) -> tuple[str, ...]:
        if self._schemas and call.name not in self._schemas:
            return (f"there is no tool {call.name!r}",)
        if call.arguments is None:
            return ("the arguments are not a JSON object",)
        state, errors = check_schema(dict(call.arguments), self._schemas.get(call.name) or {})
        return tuple(errors or ()) if state == "fail" else ()


def _sort(call: Call) -> tuple[str, bool]:
    """Return what a tool is lax in: one that takes calls against its schema may not take what is no JSON at all."""
    return call.name, call.arguments is None


def _kinds(flaws: Iterable[str]) -> Iterable[str]:
    """Leave the value out of ``/key: 3 is not of type 'string'``: another wrong number is the same mistake."""
    for flaw in flaws:
        where, _, message = flaw.partition(": ")
        yield f"{where}: {message.rpartition(_IS)[2]}"


def _misquotes(recorded: RecordedCall, call: Call) -> bool:
    """Say whether the error quotes something of its call that this one does not hold."""
    made = set(_texts(call.arguments))
    quoted = (text for text in _texts(recorded.arguments) if text not in made)
    return any(form in recorded.result_text for text in quoted for form in (text, json.dumps(text)[1:-1]))


def _texts(value: Json) -> Iterator[str]:
    """Yield every text, number and truth value of arguments, as text."""
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
    elif value is not None:
        yield str(value)
