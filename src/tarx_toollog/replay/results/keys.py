"""When two calls are the same call, and what a tool sees of the difference between two that mean the same. Pure.

The *key* of a call is its tool and the canonical JSON of its arguments, with what the schema says about omitted ones
filled in. References are not followed: a default behind one is not filled in, and the calls are two.

*Theory.* ``compare_arguments`` asks what a person would mean, a tool takes its arguments by the letter: to a search or
a file system ``Error`` and ``error`` are two things, and a tool that wants a whole number may break on ``5.0``. Only
how a number is written that need not be whole makes no difference to it.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from tarx_toollog.canonical import Json, canonical_json
from tarx_toollog.replay.matching import Call

Schema = Mapping[str, Any]


class CallKey(NamedTuple):
    """A call, comparable and hashable. ``arguments`` is empty when they could not be read."""

    name: str
    arguments: bytes


def call_key(call: Call, schema: Schema | None) -> CallKey:
    """Return the key of a call.

    Example:
        >>> schema = {"properties": {"query": {"type": "string"}, "limit": {"type": "integer", "default": 5}}}
        >>> call_key(Call("recall", {"query": "cat"}), schema).arguments
        b'{"limit":5,"query":"cat"}'
    """
    if call.arguments is None:
        return CallKey(call.name, b"")
    return CallKey(call.name, canonical_json(with_defaults(call.arguments, schema)))


def with_defaults(value: Json, schema: Json) -> Json:
    """Return arguments with the defaults of those that were left out."""
    properties = schema.get("properties") if isinstance(schema, Mapping) else None
    if not isinstance(value, Mapping):
        return value
    properties = properties if isinstance(properties, Mapping) else {}
    filled = {key: with_defaults(inner, properties.get(key)) for key, inner in value.items()}
    for key, inner in properties.items():
        if key not in filled and isinstance(inner, Mapping) and "default" in inner:
            filled[key] = inner["default"]
    return filled


def tool_sees(recorded: Json, made: Json, schema: Json) -> bool:
    """Say whether a tool can tell two values apart that mean the same. Defaults are filled in already.

    Example:
        >>> tool_sees({"x": 5}, {"x": 5.0}, {"properties": {"x": {"type": "number"}}}), tool_sees("Cat", "cat", {})
        (False, True)
    """
    below = schema if isinstance(schema, Mapping) else {}
    if isinstance(recorded, Mapping) and isinstance(made, Mapping):
        inner = below.get("properties")
        properties = inner if isinstance(inner, Mapping) else {}
        return set(recorded) != set(made) or any(
            tool_sees(recorded[key], made[key], properties.get(key)) for key in recorded
        )
    if isinstance(recorded, list) and isinstance(made, list):
        return len(recorded) != len(made) or any(
            tool_sees(one, other, below.get("items")) for one, other in zip(recorded, made, strict=True)
        )
    if below.get("type") == "number":
        return bool(recorded != made)
    return canonical_json(recorded) != canonical_json(made)
