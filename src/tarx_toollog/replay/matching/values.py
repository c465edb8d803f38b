"""Where two sets of arguments differ, by the schema of the tool and by rules of its own."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isclose
from typing import Any

from tarx_toollog.canonical import Json, canonical_json
from tarx_toollog.replay.matching.assignment import cheapest_assignment
from tarx_toollog.replay.matching.rules import Rule, rule_for
from tarx_toollog.replay.matching.text import same_by_format, same_text, similar_text

Schema = Mapping[str, Any]

_RESTRICTED = frozenset({"enum", "const", "pattern", "format"})
_MAX_REFS = 8  # a chain of $ref longer than this is a loop
_REL = 1e-15  # a few units in the last place: what the same arithmetic in another order gives
_MAX_SET = 64  # items of an array that are compared in any order: it costs the cube of it
_TRUTHS = {"true": True, "false": False}
_NUMBER = re.compile(r"\s*-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?\s*")
"""A number as JSON writes it. ``007`` and ``+49`` are none: as a number they would lose what they say."""
_CHOICES = ("allOf", "anyOf", "oneOf")


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where two calls disagree. ``code`` is one of the failure codes of ``docs/replay-reference.md``."""

    code: str
    path: str
    """JSON pointer within the arguments; empty for the whole."""
    expected: Json = None
    actual: Json = None
    is_soft: bool = False
    """A patient tool would not mind."""

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {"code": self.code, "path": self.path, "expected": self.expected, "actual": self.actual}


def compare_arguments(
    expected: Mapping[str, Any],
    actual: Mapping[str, Any],
    schema: Schema | None = None,
    rules: Mapping[str, Rule] | None = None,
) -> tuple[Difference, ...]:
    """Return where two sets of arguments differ; nothing when they mean the same (standard).

    Args:
        expected: Of the call that should have been made.
        actual: Of the call that was made.
        schema: JSON Schema of the arguments, as offered.
        rules: By JSON pointer; see ``rules``.

    Example:
        >>> schema = {"properties": {"query": {"type": "string"}, "limit": {"type": "integer", "default": 5}}}
        >>> compare_arguments({"query": "where I live"}, {"query": "Where I live?", "limit": 5.0}, schema)
        ()
        >>> [(found.code, found.is_soft) for found in compare_arguments({"limit": 7}, {"limit": "7"}, schema)]
        [('arg_type_coerced', True)]
    """
    root = schema or {}
    comparer = _Comparer(root, rules or {})
    return tuple(comparer.objects(expected, actual, comparer.resolve(root), ""))


class _Comparer:
    """Compares within one set of arguments.

    Args:
        root: Their schema, which references are resolved in.
        rules: By JSON pointer.
    """

    def __init__(self, root: Schema, rules: Mapping[str, Rule]) -> None:
        self._root = root
        self._rules = rules

    def objects(
        self, expected: Mapping[str, Any], actual: Mapping[str, Any], schema: Schema, path: str
    ) -> Iterator[Difference]:
        """Yield where two objects differ."""
        declared = schema.get("properties")
        properties: Mapping[str, Any] = declared if isinstance(declared, Mapping) else {}
        required = schema.get("required")
        is_open = not properties or bool(schema.get("additionalProperties"))
        for key, value in expected.items():
            where = f"{path}/{_escape(key)}"
            inner = self.resolve(properties.get(key))
            rule = rule_for(self._rules, where)
            if key in actual:
                yield from self.values(value, actual[key], inner, where, rule)
            elif not (rule is not None and (rule.kind == "ignore" or rule.may_omit)) and not self._is_default(
                value, inner
            ):
                is_required = isinstance(required, list) and key in required
                code = "missing_required" if is_required else "arg_missing_optional"
                yield Difference(code, where, expected=value, is_soft=value is None and not is_required)
        for key, value in actual.items():
            if key not in expected:
                where = f"{path}/{_escape(key)}"
                yield from self._added(
                    value, self.resolve(properties.get(key)), where, known=is_open or key in properties
                )

    def values(
        self, expected: Json, actual: Json, schema: Schema, path: str, rule: Rule | None = None
    ) -> Iterator[Difference]:
        """Yield where two values differ."""
        if rule is not None and rule.kind != "exact":
            yield from self._by_rule(rule, expected, actual, schema, path)
            return
        kind, other = _kind(expected), _kind(actual)
        if rule is not None:
            if canonical_json(expected) != canonical_json(actual):
                yield Difference("arg_value" if kind == other else "arg_type", path, expected, actual)
        elif kind != other:
            is_soft = _is_same_as_text(expected, actual)
            yield Difference("arg_type_coerced" if is_soft else "arg_type", path, expected, actual, is_soft)
        elif kind == "object":
            yield from self.objects(expected, actual, schema, path)
        elif kind == "array":
            yield from self._arrays(expected, actual, schema, path)
        else:
            yield from _scalars(expected, actual, schema, path)

    def _added(self, value: Json, schema: Schema, path: str, *, known: bool) -> Iterator[Difference]:
        """Yield what is wrong with an argument that was not expected."""
        rule = rule_for(self._rules, path)
        if rule is not None and rule.kind == "ignore":
            return
        if rule is not None and rule.kind == "oneof" and rule.may_omit and self._is_one_of(rule, value, schema, path):
            return
        if not self._is_default(value, schema):
            yield Difference(
                "arg_extra" if known else "unknown_arg", path, actual=value, is_soft=value is None and known
            )

    def _by_rule(self, rule: Rule, expected: Json, actual: Json, schema: Schema, path: str) -> Iterator[Difference]:
        if rule.kind in ("ignore", "present"):
            return
        if rule.kind == "oneof":
            is_right = self._is_one_of(rule, actual, schema, path)
        elif rule.kind == "regex":
            is_right = isinstance(actual, str) and rule.compiled.fullmatch(actual) is not None
        elif rule.kind == "number":
            numbers = [value for value in (expected, actual) if _kind(value) == "number"]
            is_right = len(numbers) == 2 and _is_close(rule, *numbers)
        elif rule.kind == "set":
            is_right = _kind(expected) == _kind(actual) == "array" and self._same_items(expected, actual, schema, path)
        else:
            is_right = isinstance(expected, str) and isinstance(actual, str) and similar_text(expected, actual)
        if not is_right:
            yield Difference("arg_value" if _kind(expected) == _kind(actual) else "arg_type", path, expected, actual)

    def _is_one_of(self, rule: Rule, actual: Json, schema: Schema, path: str) -> bool:
        return any(not any(self.values(value, actual, schema, path)) for value in rule.values)

    def _arrays(
        self, expected: Sequence[Json], actual: Sequence[Json], schema: Schema, path: str
    ) -> Iterator[Difference]:
        if schema.get("uniqueItems") is True and self._same_items(expected, actual, schema, path):
            return
        if len(expected) != len(actual):
            yield Difference("arg_value", path, expected, actual)
            return
        items = self.resolve(schema.get("items"))
        for number, (one, other) in enumerate(zip(expected, actual, strict=True)):
            where = f"{path}/{number}"
            yield from self.values(one, other, items, where, rule_for(self._rules, where))

    def _same_items(self, expected: Sequence[Json], actual: Sequence[Json], schema: Schema, path: str) -> bool:
        if len(expected) != len(actual) or len(expected) > _MAX_SET:
            return False
        items = self.resolve(schema.get("items"))
        costs = [[int(any(self.values(one, other, items, path))) for other in actual] for one in expected]
        return not any(costs[row][column] for row, column in enumerate(cheapest_assignment(costs)))

    def _is_default(self, value: Json, schema: Schema) -> bool:
        return "default" in schema and not any(self.values(schema["default"], value, schema, ""))

    def resolve(self, schema: Json) -> Schema:
        """Return what a schema stands for: behind ``#/…`` references, and the one that there is beside null.

        What stands beside them (a default, as a rule) stays in force.
        """
        for _ in range(_MAX_REFS):
            if not isinstance(schema, Mapping):
                return {}
            found = self._reference(schema) or _only_choice(schema)
            if found is None:
                return schema
            key, target = found
            siblings = {name: value for name, value in schema.items() if name != key}
            schema = {**target, **siblings} if isinstance(target, Mapping) else siblings
        return {}

    def _reference(self, schema: Schema) -> tuple[str, Json] | None:
        reference = schema.get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#/"):
            return None
        target: Json = self._root
        for part in reference[2:].split("/"):
            name = part.replace("~1", "/").replace("~0", "~")
            target = target.get(name) if isinstance(target, Mapping) else None
        return "$ref", target


def _only_choice(schema: Schema) -> tuple[str, Json] | None:
    """Return the one schema that a value has to fit, unless it is null: how Python's ``Optional`` is written."""
    for key in _CHOICES:
        choices = schema.get(key)
        if isinstance(choices, list):
            told = [one for one in choices if not (isinstance(one, Mapping) and one.get("type") == "null")]
            if len(told) == 1:
                return key, told[0]
    return None


def _scalars(expected: Json, actual: Json, schema: Schema, path: str) -> Iterator[Difference]:
    if not isinstance(expected, str):
        if not _same_number(expected, actual):
            yield Difference(_value_code(actual, schema), path, expected, actual)
        return
    exact = not _RESTRICTED.isdisjoint(schema)
    if same_text(expected, actual, exact=exact) or same_by_format(expected, actual, schema.get("format")):
        return
    if "enum" in schema:
        is_soft = expected.strip().casefold() == actual.strip().casefold()
        yield Difference("arg_enum_case" if is_soft else _value_code(actual, schema), path, expected, actual, is_soft)
        return
    is_soft = not exact and " " in expected.strip() and similar_text(expected, actual)
    yield Difference("arg_other_words" if is_soft else "arg_value", path, expected, actual, is_soft)


def _value_code(actual: Json, schema: Schema) -> str:
    choices = schema.get("enum")
    return "arg_enum" if isinstance(choices, list) and actual not in choices else "arg_value"


def _same_number(expected: Json, actual: Json) -> bool:
    """Say whether two numbers, truth values or nulls are the same. NaN is the one that is not equal to itself."""
    if expected == actual or (expected != expected and actual != actual):
        return True
    # A whole number may be an id: the next one is another.
    is_broken = isinstance(expected, float) and isinstance(actual, float) and not expected.is_integer()
    return is_broken and isclose(expected, actual, rel_tol=_REL)


def _is_close(rule: Rule, expected: float, actual: float) -> bool:
    try:
        return isclose(expected, actual, rel_tol=max(rule.rtol, _REL), abs_tol=rule.atol)
    except OverflowError:  # a whole number so large that no float is near
        return expected == actual


def _is_same_as_text(expected: Json, actual: Json) -> bool:
    """Say whether one is the text of the other: ``5`` and ``"5"``, but not ``7`` and ``"007"``."""
    text, value = (expected, actual) if isinstance(expected, str) else (actual, expected)
    if not isinstance(text, str):
        return False
    if isinstance(value, bool):
        return _TRUTHS.get(text.strip().lower()) is value
    if not isinstance(value, int | float) or _NUMBER.fullmatch(text) is None:
        return False
    try:
        return float(text) == value if isinstance(value, float) else int(text) == value
    except ValueError:
        return False


def _kind(value: Json) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    names = {str: "string", dict: "object", list: "array", type(None): "null"}
    return names.get(type(value), "other")


def _escape(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
