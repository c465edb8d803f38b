"""Recordings to serve from, written as one line a call."""

from typing import Any

from tarx_toollog.replay.matching import Call
from tarx_toollog.replay.results import Diverged, RecordedCall, Recording, Results, Served, effect_of

SCHEMAS: dict[str, dict[str, Any] | None] = {
    "read": {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "lines": {"type": "integer", "default": 10},
            "scale": {"type": "number"},
            "options": {"$ref": "#/$defs/options"},
        },
        "required": ["name"],
        "$defs": {"options": {"type": "object", "properties": {"deep": {"type": "boolean", "default": False}}}},
    },
    "write": {
        "type": "object",
        "properties": {"name": {"type": "string"}, "text": {"type": "string"}},
        "required": ["name"],
    },
    "press": None,
}
EFFECTS: dict[str, Any] = {"read": "read", "write": "write", "press": "idempotent"}


def made(name: str, /, **arguments: Any) -> Call:
    return Call(name, arguments)


def recorded(call: Call, text: str, *, is_error: bool = False) -> RecordedCall:
    return RecordedCall(call.name, call.arguments, text, is_error, effect_of(call.name, EFFECTS))


def recording(*calls: RecordedCall) -> Recording:
    return Recording(calls, SCHEMAS)


def serve(log: Recording, *calls: Call) -> list[tuple[str, str]]:
    """Serve the calls of one attempt; return how, and the text or the reason."""
    results = Results(log)
    answers = [results.serve(call) for call in calls]
    return [("diverged", one.reason) if isinstance(one, Diverged) else (one.how, one.text) for one in answers]


def diverged(log: Recording, *calls: Call) -> Diverged:
    """Serve the calls of one attempt, the last of which must end it."""
    results = Results(log)
    *before, last = [results.serve(call) for call in calls]
    assert all(isinstance(one, Served) for one in before)
    assert isinstance(last, Diverged)
    return last
