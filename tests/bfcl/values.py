"""Changes of one argument, each with the failure code that it plants."""

import copy
import json
import re
from collections.abc import Callable
from typing import Any

from tarx_toollog.replay.bfcl import OMITTED
from tests.bfcl.places import HARMLESS, LEFT_OUT, NOT_HERE, Place, is_accepted, value_of

OnValue = Callable[[Place], Any]


def _unless_accepted(place: Place, value: Any) -> Any:
    return NOT_HERE if is_accepted(value, place.accepted) else value


def _number(place: Place, change: Callable[[Any], Any]) -> Any:
    if isinstance(place.value, bool) or not isinstance(place.value, int | float):
        return NOT_HERE
    return _unless_accepted(place, change(place.value))


def _text(place: Place, change: Callable[[str], Any]) -> Any:
    return _unless_accepted(place, change(place.value)) if isinstance(place.value, str) and place.value else NOT_HERE


def _items(place: Place, change: Callable[[list[Any]], Any]) -> Any:
    if not isinstance(place.value, list) or not place.value:
        return NOT_HERE
    return _unless_accepted(place, change(copy.deepcopy(place.value)))


def _of_type(place: Place, kind: type, change: Callable[[Any], Any]) -> Any:
    return change(place.value) if type(place.value) is kind else NOT_HERE


def _same_text(place: Place, change: Callable[[str], str]) -> Any:
    if not place.is_prose or not place.value:
        return NOT_HERE
    changed = change(place.value)
    return NOT_HERE if changed == place.value else changed


def _another_accepted(place: Place) -> Any:
    others = [value_of(value, place.schema) for value in place.accepted if value != OMITTED]
    return next((value for value in others if value != place.value), NOT_HERE)


def _fewer_keys(place: Place) -> Any:
    if not isinstance(place.value, dict) or not isinstance(place.accepted[0], dict):
        return NOT_HERE
    needed = [key for key in place.value if OMITTED not in place.accepted[0].get(key, [OMITTED])]
    if not needed or len([one for one in place.accepted if isinstance(one, dict)]) > 1:
        return NOT_HERE
    return {key: value for key, value in place.value.items() if key != needed[0]}


def _without_digit_marks(place: Place) -> Any:
    changed = re.sub(r"[.,\-/](?=\d)", "", place.value) if isinstance(place.value, str) else place.value
    changes = changed != place.value and changed not in place.accepted
    return changed if changes and re.search(r"\d", changed) else NOT_HERE


def _without_separators(place: Place) -> Any:
    if not isinstance(place.value, str) or not re.fullmatch(r"[\w./-]*\w[./_-]\w[\w./-]*", place.value):
        return NOT_HERE
    changed = re.sub(r"[./_-]", "", place.value)
    return NOT_HERE if changed in place.accepted else changed


def _other_letters(place: Place) -> Any:
    if not isinstance(place.value, str) or place.value not in place.schema.get("enum", ()):
        return NOT_HERE
    changed = place.value.swapcase()
    return NOT_HERE if changed in (place.value, *place.accepted, *place.schema["enum"]) else changed


ON_VALUE: dict[str, tuple[str, OnValue]] = {
    "required argument left out": (
        "missing_required",
        lambda place: LEFT_OUT if place.required and not place.is_default else NOT_HERE,
    ),
    "optional argument left out": (
        "arg_missing_optional",
        lambda place: LEFT_OUT if place.is_optional and not place.may_be_omitted | place.is_default else NOT_HERE,
    ),
    "number as text": ("arg_type", lambda place: _number(place, str)),
    "number as truth value": ("arg_type", lambda place: _number(place, bool)),
    "text as number": ("arg_type", lambda place: _text(place, lambda text: 987654)),
    "text in a list": ("arg_type", lambda place: _text(place, lambda text: [text])),
    "truth value as text": ("arg_type", lambda place: _of_type(place, bool, lambda value: str(value).lower())),
    "truth value as number": ("arg_type", lambda place: _of_type(place, bool, int)),
    "list as text": ("arg_type", lambda place: _items(place, lambda items: ", ".join(map(str, items)))),
    "object as text": ("arg_type", lambda place: _of_type(place, dict, json.dumps)),
    "object in a list": ("arg_type", lambda place: _of_type(place, dict, lambda value: [value])),
    "null": ("arg_type", lambda place: NOT_HERE if None in place.accepted else None),
    "integer with a fraction": (
        "arg_type",
        lambda place: _number(place, lambda n: n + 0.5) if place.schema.get("type") == "integer" else NOT_HERE,
    ),
    "item of another type": ("arg_type", lambda place: _items(place, lambda items: [None, *items[1:]])),
    "number plus one": ("arg_value", lambda place: _number(place, lambda n: n + 1)),
    "sign turned": ("arg_value", lambda place: _number(place, lambda n: -n)),
    "number ten times": ("arg_value", lambda place: _number(place, lambda n: n * 10)),
    "number slightly off": (
        "arg_value",
        lambda place: _of_type(place, float, lambda n: _unless_accepted(place, n * 1.001)),
    ),
    "text with a word more": ("arg_value", lambda place: _text(place, lambda text: f"{text} instead")),
    "text with a letter less": ("arg_value", lambda place: _text(place, lambda text: text[:-1])),
    "other text": ("arg_value", lambda place: _text(place, lambda text: "something else")),
    "empty text": (
        "arg_value",
        lambda place: NOT_HERE if place.may_be_omitted else _text(place, lambda text: ""),
    ),
    "truth value turned": (
        "arg_value",
        lambda place: _of_type(place, bool, lambda value: _unless_accepted(place, not value)),
    ),
    "items in other order": ("arg_value", lambda place: _items(place, lambda items: items[::-1])),
    "item left out": ("arg_value", lambda place: _items(place, lambda items: items[:-1] or NOT_HERE)),
    "item twice": ("arg_value", lambda place: _items(place, lambda items: [*items, items[-1]])),
    "key left out": ("arg_value", _fewer_keys),
    "unknown key": ("arg_value", lambda place: _of_type(place, dict, lambda value: {**value, "made_up": 1})),
    "value outside the enum": (
        "arg_enum",
        lambda place: _text(place, lambda text: "none of these") if "enum" in place.schema else NOT_HERE,
    ),
    "digit punctuation removed": ("arg_value", _without_digit_marks),
    "separators removed": ("arg_value", _without_separators),
    "enum in other letters": ("arg_enum", _other_letters),
    "nothing for what may be left out": (
        "arg_value",
        lambda place: "" if place.may_be_omitted and isinstance(place.value, str) else NOT_HERE,
    ),
    "another accepted value": (HARMLESS, _another_accepted),
    "left out what may be": (
        HARMLESS,
        lambda place: LEFT_OUT if place.is_optional and place.may_be_omitted else NOT_HERE,
    ),
    "text in capitals": (HARMLESS, lambda place: _same_text(place, str.upper)),
    "text with a full stop": (HARMLESS, lambda place: _same_text(place, lambda text: f"{text}.")),
    "text with blanks around": (HARMLESS, lambda place: _same_text(place, lambda text: f" {text} ")),
    "text with double blanks": (HARMLESS, lambda place: _same_text(place, lambda text: text.replace(" ", "  "))),
    "whole number as integer": (
        HARMLESS,
        lambda place: _of_type(place, float, lambda n: int(n) if n.is_integer() else NOT_HERE),
    ),
    "integer as float": (
        HARMLESS,
        lambda place: _of_type(place, int, float) if place.schema.get("type") == "integer" else NOT_HERE,
    ),
    "default left out": (HARMLESS, lambda place: LEFT_OUT if place.is_optional and place.is_default else NOT_HERE),
}
"""What is done to one argument, the first in a random order that it can be done to."""
