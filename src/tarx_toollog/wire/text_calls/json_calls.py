"""Calls that are written as JSON objects: ``{"name": …, "arguments": …}`` and what models make of it.

Reads members one by one instead of whole objects, because the argument text is wanted as it stands there, and
because a call that was cut still has a name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from tarx_toollog.canonical import Json
from tarx_toollog.wire.text_calls.reader import Found, Reader, TextCall, dump, is_name, spread

_ARGUMENT_KEYS = ("arguments", "parameters")
_NAME_KEYS = ("name", "function")
_CALL_KEYS = frozenset({"name", "arguments", "parameters", "function", "type", "id", "call_id", "index"})


@dataclass(frozen=True, slots=True)
class Rules:
    """How much an object must say to be a call.

    ``strict`` is for places without a marker: the name must be offered, the arguments an object, and no
    other members may stand beside them. ``closers`` are markers that end the form, so that a text in which
    one follows was not cut.
    """

    form: str
    strict: bool = False
    closers: tuple[str, ...] = ()


class _Member(NamedTuple):
    value: Json
    start: int
    end: int


class _Members(NamedTuple):
    """The members of one object; ``end`` is None when it does not end as JSON, and ``stop`` is where it fails."""

    found: dict[str, _Member]
    end: int | None
    stop: int
    open_key: str | None = None
    """The key whose value cannot be read; that begins at ``stop``."""


def read_calls(reader: Reader, at: int, rules: Rules) -> Found | None:
    """Read the calls at ``at``: an object, a list of objects, or several objects in a row."""
    calls: list[TextCall] = []
    end = start = at
    while True:
        found = _read_list(reader, at, rules) if reader.text[at : at + 1] == "[" else _read_call(reader, at, rules)
        if found is None:
            break
        calls += found.calls
        end = found.end
        if not found.calls[-1].complete:
            break
        at = reader.skip(end)
        if reader.text[at : at + 1] in (",", ";"):
            at = reader.skip(at + 1)
        if reader.text[at : at + 1] != "{":
            break
    return Found(spread(calls, start, end), end) if calls else None


def calls_of_value(value: Json, form: str, start: int, end: int) -> Found | None:
    """Return the calls that a value means which was not written as JSON."""
    entries = value if isinstance(value, list) else [value]
    calls = []
    for entry in entries:
        call = _call_of_entry(entry, form, start, end) if isinstance(entry, dict) else None
        if call is None:
            return None
        calls.append(call)
    return Found(tuple(calls), end) if calls else None


def json_arguments(reader: Reader, at: int, closers: tuple[str, ...]) -> tuple[str, int, bool] | None:
    """Read an argument object; return its text as it stands there, its end, and whether it is complete."""
    if reader.text[at : at + 1] != "{":
        return None
    literal = reader.json(at) or reader.literal(at)
    if literal is not None:
        return reader.text[at : literal.end], literal.end, True
    if reader.ends_inside(at, closers):
        return reader.text[at:], reader.length, False
    return None


def _read_list(reader: Reader, at: int, rules: Rules) -> Found | None:
    calls: list[TextCall] = []
    start, at = at, reader.skip(at + 1)
    while reader.text[at : at + 1] == "{":
        found = _read_call(reader, at, rules)
        if found is None:
            return None
        calls += found.calls
        at = reader.skip(found.end)
        mark = reader.text[at : at + 1]
        if mark == "]":
            return Found(spread(calls, start, at + 1), at + 1)
        if mark != ",":
            break
        at = reader.skip(at + 1)
    if not calls or at < reader.length:
        return None
    # The list was never closed, so none of its calls was handed over.
    return Found(spread((replace(call, complete=False) for call in calls), start, reader.length), reader.length)


def _read_call(reader: Reader, at: int, rules: Rules) -> Found | None:
    if reader.text[at : at + 1] != "{":
        return None
    outer = _read_members(reader, at)
    listed = outer.found.get("tool_calls")
    is_wrapper = len(outer.found) == 1 or not rules.strict
    if listed is not None and is_wrapper and outer.end is not None and isinstance(listed.value, list):
        inner_calls = _read_list(reader, listed.start, rules)
        return None if inner_calls is None else Found(spread(inner_calls.calls, at, outer.end), outer.end)
    inner = _inner(reader, outer)
    name = next((inner.found[key].value for key in _NAME_KEYS if key in inner.found), None)
    if not isinstance(name, str) or not _is_acceptable(name, reader, rules):
        return None
    if rules.strict and not _CALL_KEYS.issuperset(outer.found.keys() | inner.found.keys()):
        return None
    if _is_definition(inner.found):
        return None
    call_id = outer.found.get("id")
    call = TextCall(
        name=name,
        arguments="",
        form=rules.form,
        start=at,
        end=reader.length if outer.end is None else outer.end,
        complete=True,
        call_id=call_id.value if call_id is not None and isinstance(call_id.value, str) else None,
    )
    return _with_arguments(reader, call, outer, inner, rules)


def _with_arguments(reader: Reader, call: TextCall, outer: _Members, inner: _Members, rules: Rules) -> Found | None:
    arguments = next((inner.found[key] for key in _ARGUMENT_KEYS if key in inner.found), None)
    if arguments is not None and arguments.value is not None:
        text = arguments.value if isinstance(arguments.value, str) else reader.text[arguments.start : arguments.end]
        call = replace(call, arguments=text)
    if outer.end is not None:
        is_object = call.arguments.lstrip().startswith("{")
        return Found((call,), outer.end) if is_object or not rules.strict else None
    # The last brackets are missing, but the marker that ends the call stands there.
    if arguments is not None and inner.stop < reader.length and reader.text.startswith(rules.closers, inner.stop):
        return Found((replace(call, end=inner.stop),), inner.stop)
    if not reader.ends_inside(call.start, rules.closers):
        return None
    if arguments is None:
        call = replace(call, arguments=reader.text[inner.stop :] if inner.open_key in _ARGUMENT_KEYS else "")
    return Found((replace(call, complete=False),), reader.length)


def _read_members(reader: Reader, start: int) -> _Members:
    found: dict[str, _Member] = {}
    at = reader.skip(start + 1)
    while reader.text[at : at + 1] == '"':
        key = reader.json(at)
        if key is None:
            break
        at = reader.skip(key.end)
        if reader.text[at : at + 1] != ":":
            break
        at = reader.skip(at + 1)
        value = reader.json(at)
        if value is None:
            reader.charge(at - start)
            return _Members(found, None, at, key.value)
        found[key.value] = _Member(value.value, at, value.end)
        at = reader.skip(value.end)
        if reader.text[at : at + 1] != ",":
            break
        at = reader.skip(at + 1)
    if reader.text[at : at + 1] == "}":
        return _Members(found, at + 1, at)
    reader.charge(at - start)
    return _Members(found, None, at)


def _inner(reader: Reader, outer: _Members) -> _Members:
    """Return the members that hold name and arguments: OpenAI's form has them one level down."""
    function = outer.found.get("function")
    if function is not None and isinstance(function.value, dict):
        return _read_members(reader, function.start)
    if outer.open_key == "function" and reader.text[outer.stop : outer.stop + 1] == "{":
        return _read_members(reader, outer.stop)
    return outer


def _is_acceptable(name: str, reader: Reader, rules: Rules) -> bool:
    return name in reader.offered or (not rules.strict and is_name(name))


def _is_definition(found: Mapping[str, _Member]) -> bool:
    """Say whether this is the definition of a tool: its parameters are a JSON Schema."""
    parameters = found.get("parameters")
    if parameters is None or not isinstance(parameters.value, dict):
        return False
    return parameters.value.get("type") == "object" and isinstance(parameters.value.get("properties"), dict)


def _call_of_entry(entry: Mapping[str, Any], form: str, start: int, end: int) -> TextCall | None:
    function = entry.get("function")
    inner = function if isinstance(function, dict) else entry
    name = next((inner[key] for key in _NAME_KEYS if isinstance(inner.get(key), str)), None)
    if name is None or not is_name(name):
        return None
    arguments: Json = next((inner[key] for key in _ARGUMENT_KEYS if key in inner), {})
    text = arguments if isinstance(arguments, str) else dump(arguments)
    call_id = entry.get("id")
    if text is None:
        return None
    return TextCall(name, text, form, start, end, True, call_id if isinstance(call_id, str) else None)
