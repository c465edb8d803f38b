"""The canonical answer to a case, and the places in it where something can be changed."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tarx_toollog.canonical import Json
from tarx_toollog.replay.bfcl import OMITTED, AcceptedCall, BfclCase
from tarx_toollog.replay.matching import Call

HARMLESS = ""
"""In the place of a failure code: nothing is wrong."""
LEFT_OUT = object()
"""In the place of a value: the argument is not there."""
NOT_HERE = object()
"""What a change returns where it cannot be made, or would not change what is meant."""


@dataclass(frozen=True, slots=True)
class Place:
    """An argument of the canonical answer."""

    call: int
    name: str
    value: Any
    schema: Mapping[str, Any]
    accepted: tuple[Json, ...]
    required: bool

    @property
    def may_be_omitted(self) -> bool:
        return OMITTED in self.accepted

    @property
    def is_optional(self) -> bool:
        return not self.required

    @property
    def is_default(self) -> bool:
        return "default" in self.schema and bool(self.value == self.schema["default"])

    @property
    def is_prose(self) -> bool:
        return isinstance(self.value, str) and "enum" not in self.schema


def canonical(case: BfclCase) -> tuple[Call, ...]:
    """Return the accepted calls, with the first value that is accepted for each parameter."""
    return tuple(Call(call.name, _first_arguments(call, case.schemas[call.name])) for call in case.accepted)


def value_of(accepted: Json, schema: Mapping[str, Any]) -> Any:
    """Return the first value that an accepted one stands for: objects list the values of each key."""
    if schema.get("type") == "object" and isinstance(accepted, dict):
        firsts = {key: _first(inner) for key, inner in accepted.items()}
        return {key: value for key, value in firsts.items() if value is not NOT_HERE}
    items = schema.get("items", {})
    if items.get("type") == "object" and isinstance(accepted, list):
        return [value_of(item, items) for item in accepted]
    return accepted


def _first(accepted: Any) -> Any:
    return next((value for value in accepted if value != OMITTED), NOT_HERE)


def _first_arguments(call: AcceptedCall, schema: Mapping[str, Any]) -> dict[str, Any]:
    arguments = {}
    for name, accepted in call.arguments.items():
        value = _first(accepted)
        if value is not NOT_HERE:
            arguments[name] = value_of(value, schema["properties"].get(name, {}))
        elif name in schema["required"]:
            arguments[name] = OMITTED
    return arguments


def places_of(case: BfclCase, number: int, call: Call) -> Iterator[Place]:
    schema = case.schemas[call.name]
    for name, value in (call.arguments or {}).items():
        declared = schema["properties"].get(name, {})
        accepted = case.accepted[number].arguments[name]
        yield Place(number, name, value, declared, accepted, name in schema["required"])


def with_value(made: tuple[Call, ...], place: Place, value: Any) -> tuple[Call, ...]:
    arguments = dict(made[place.call].arguments or {})
    if value is LEFT_OUT:
        del arguments[place.name]
    else:
        arguments[place.name] = value
    return tuple(Call(call.name, arguments) if number == place.call else call for number, call in enumerate(made))


def plain(value: Any) -> Any:
    """Return letters and digits of a text; two texts that differ in them differ for any checker."""
    return re.sub(r"[\W_]", "", value).casefold() if isinstance(value, str) else value


def is_accepted(value: Any, accepted: tuple[Json, ...]) -> bool:
    """Say whether a value may be accepted; rather once too often."""
    if isinstance(value, list):
        listed = [[plain(item) for item in one] for one in accepted if isinstance(one, list)]
        return [plain(item) for item in value] in listed
    return plain(value) in [plain(one) for one in accepted]
