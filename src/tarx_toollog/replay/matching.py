r"""Are these the calls that were expected? Pure functions: two lists of calls in, differences out.

Theory. There are two profiles. *Strict* asks for the same canonical JSON and needs no code here. *Standard*, this
module, asks whether the arguments mean the same to a tool: numbers compare by value (``5`` is ``5.0``, but a
truth value is never a number), an omitted argument is its schema default, text compares without case, width,
runs of white space and closing punctuation, arrays keep their order, objects do not.

Standard is lenient towards prose only. A string that the schema restricts (``enum``, ``format`` …), or a single
word with a digit or one of ``/ \ _ @ #`` in it, is an identifier, a path, a date or an amount: it must be the
same, because ``-5`` is not ``5`` and ``/Data`` is not ``/data``. There is no numeric tolerance: two long ids
differ by less than any relative one.

The calls of one answer have no order. They are paired so that the whole costs least; pairing greedily blames
the wrong call, or rejects right calls that came in another order.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tarx_toollog.canonical import Json

Schema = Mapping[str, Any]

_RESTRICTED = frozenset({"enum", "const", "pattern", "format"})
_IDENTIFIER = re.compile(r"\S*[\d/\\_@#]\S*")
_SPACE = re.compile(r"\s+")
_QUOTES = "\"'`´‘’“”„«»"
_CLOSING = ".,;:!?…" + _QUOTES
_MAX_REFS = 8  # a chain of $ref longer than this is a loop

# Costs of a pairing. Another tool costs more than any difference within a tool. A call without a partner costs
# nothing: how many there are is given by the two lengths, and a pair of different tools is reported as that.
_OTHER_TOOL = 100
_UNPAIRED = 0
_UNREADABLE = 51
_MAX_DIFFERENCES = 50


@dataclass(frozen=True, slots=True)
class Call:
    """A call to compare; ``arguments`` is None when they could not be read."""

    name: str
    arguments: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Difference:
    """One place where two calls disagree. ``code`` is one of the failure codes of ``docs/replay.md``."""

    code: str
    path: str
    """JSON pointer within the arguments; empty for the whole."""
    expected: Json = None
    actual: Json = None

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {"code": self.code, "path": self.path, "expected": self.expected, "actual": self.actual}


@dataclass(frozen=True, slots=True)
class Pair:
    """An expected call and the one that was taken for it; one of them is None when there was no partner."""

    expected: Call | None
    actual: Call | None
    differences: tuple[Difference, ...] = ()

    @property
    def same_tool(self) -> bool:
        """Whether both exist and name the same tool."""
        return self.expected is not None and self.actual is not None and self.expected.name == self.actual.name


def pair_calls(expected: Sequence[Call], actual: Sequence[Call], schemas: Mapping[str, Schema]) -> tuple[Pair, ...]:
    """Pair the calls of one answer so that the differences are fewest, the expected ones first and in order.

    Args:
        expected: The calls that should have been made.
        actual: The calls that were made.
        schemas: The JSON Schema of the arguments by tool name, as offered.

    Example:
        >>> calls = [Call("recall", {"query": "a"}), Call("recall", {"query": "b"})]
        >>> [pair.differences for pair in pair_calls(calls, calls[::-1], {})]
        [(), ()]
    """
    size = max(len(expected), len(actual))
    found = [[_differences(e, a, schemas) for a in actual] for e in expected]
    costs = [
        [_cost(expected[i], actual[j], found[i][j]) if i < len(expected) and j < len(actual) else _UNPAIRED
         for j in range(size)]
        for i in range(size)
    ]  # fmt: skip
    pairs = []
    for i, j in enumerate(cheapest_assignment(costs)):
        if i < len(expected) and j < len(actual):
            pairs.append(Pair(expected[i], actual[j], found[i][j]))
        elif i < len(expected):
            pairs.append(Pair(expected[i], None))
        else:
            pairs.append(Pair(None, actual[j]))
    return tuple(pairs)


def cheapest_assignment(costs: Sequence[Sequence[int]]) -> list[int]:
    """Return for each row of a square matrix its column, such that the sum is least (Hungarian method, O(n³)).

    Example:
        >>> cheapest_assignment([[4, 1], [2, 8]])
        [1, 0]
    """
    n = len(costs)
    row_potential, column_potential = [0] * (n + 1), [0] * (n + 1)
    row_of = [0] * (n + 1)  # row assigned to each column, both from 1; column 0 holds the row being placed
    for row in range(1, n + 1):
        row_of[0], column = row, 0
        least: list[float] = [float("inf")] * (n + 1)
        came_from, used = [0] * (n + 1), [False] * (n + 1)
        while row_of[column]:
            used[column] = True
            current, following, delta = row_of[column], 0, float("inf")
            for j in range(1, n + 1):
                if used[j]:
                    continue
                reduced = costs[current - 1][j - 1] - row_potential[current] - column_potential[j]
                if reduced < least[j]:
                    least[j], came_from[j] = reduced, column
                if least[j] < delta:
                    delta, following = least[j], j
            _shift(used, row_of, row_potential, column_potential, least, int(delta))
            column = following
        while column:
            row_of[column], column = row_of[came_from[column]], came_from[column]
    columns = [0] * n
    for j in range(1, n + 1):
        columns[row_of[j] - 1] = j - 1
    return columns


def _shift(
    used: list[bool],
    row_of: list[int],
    row_potential: list[int],
    column_potential: list[int],
    least: list[float],
    delta: int,
) -> None:
    for j, is_used in enumerate(used):
        if is_used:
            row_potential[row_of[j]] += delta
            column_potential[j] -= delta
        else:
            least[j] -= delta


def compare_arguments(
    expected: Mapping[str, Any], actual: Mapping[str, Any], schema: Schema | None = None
) -> tuple[Difference, ...]:
    """Return where two sets of arguments differ under the standard profile; nothing when they mean the same.

    Example:
        >>> schema = {"properties": {"query": {"type": "string"}, "limit": {"type": "integer", "default": 5}}}
        >>> compare_arguments({"query": "where I live"}, {"query": "Where I live?", "limit": 5.0}, schema)
        ()
    """
    root = schema or {}
    return tuple(_objects(expected, actual, _resolve(root, root), root, ""))


def same_text(expected: str, actual: str, *, exact: bool = False) -> bool:
    """Say whether two strings mean the same: prose compares loosely, identifiers exactly.

    Example:
        >>> same_text("Hello,  World.", "hello, world"), same_text("-5", "5"), same_text("/Data", "/data")
        (True, False, False)
    """
    if expected == actual:
        return True
    texts = (expected.strip(), actual.strip())
    if exact or any(_IDENTIFIER.fullmatch(text) or _has_odd_number(text) for text in texts):
        return False
    return _plain(expected) == _plain(actual)


def _plain(text: str) -> str:
    folded = _SPACE.sub(" ", unicodedata.normalize("NFKC", text).casefold()).strip()
    start, end = 0, len(folded)
    while start < end and folded[start] in _QUOTES and not folded[start + 1 : start + 2].isdigit():
        start += 1
    while end > start and folded[end - 1] in _CLOSING and not _belongs_to_digit(folded, end - 1):
        end -= 1
    return folded[start:end].rstrip() or folded  # text that is nothing but punctuation keeps it


def _belongs_to_digit(text: str, position: int) -> bool:
    """Say whether a quote is a unit: 5' are feet."""
    return text[position] in _QUOTES and text[position - 1 : position].isdigit()


def _has_odd_number(text: str) -> bool:
    """Say whether text holds a superscript, a fraction or the like: NFKC would turn ``5²`` into ``52``."""
    return any(unicodedata.category(character) == "No" for character in text)


def _differences(expected: Call, actual: Call, schemas: Mapping[str, Schema]) -> tuple[Difference, ...]:
    if expected.name != actual.name or expected.arguments is None or actual.arguments is None:
        return ()
    return compare_arguments(expected.arguments, actual.arguments, schemas.get(expected.name))


def _cost(expected: Call, actual: Call, differences: Sequence[Difference]) -> int:
    if expected.name != actual.name:
        return _OTHER_TOOL
    if expected.arguments is None or actual.arguments is None:
        return _UNREADABLE
    return min(len(differences), _MAX_DIFFERENCES)


def _objects(
    expected: Mapping[str, Any], actual: Mapping[str, Any], schema: Schema, root: Schema, path: str
) -> Iterable[Difference]:
    declared = schema.get("properties")
    properties: Mapping[str, Any] = declared if isinstance(declared, dict) else {}
    required = schema.get("required")
    for key, value in expected.items():
        inner = _resolve(properties.get(key), root)
        where = f"{path}/{_escape(key)}"
        if key in actual:
            yield from _values(value, actual[key], inner, root, where)
        elif not _is_default(value, inner, root):
            missing = isinstance(required, list) and key in required
            yield Difference("missing_required" if missing else "arg_missing_optional", where, expected=value)
    for key, value in actual.items():
        inner = _resolve(properties.get(key), root)
        if key not in expected and not _is_default(value, inner, root):
            unknown = bool(properties) and key not in properties
            yield Difference("unknown_arg" if unknown else "arg_extra", f"{path}/{_escape(key)}", actual=value)


def _values(expected: Json, actual: Json, schema: Schema, root: Schema, path: str) -> Iterable[Difference]:
    kind = _kind(expected)
    if kind != _kind(actual):
        yield Difference("arg_type", path, expected, actual)
    elif kind == "object":
        yield from _objects(expected, actual, schema, root, path)
    elif kind == "array" and len(expected) == len(actual):
        items = _resolve(schema.get("items"), root)
        for number, (one, other) in enumerate(zip(expected, actual, strict=True)):
            yield from _values(one, other, items, root, f"{path}/{number}")
    elif not _same_scalar(expected, actual, schema):
        choices = schema.get("enum")
        outside = isinstance(choices, list) and actual not in choices
        yield Difference("arg_enum" if outside else "arg_value", path, expected, actual)


def _same_scalar(expected: Json, actual: Json, schema: Schema) -> bool:
    if isinstance(expected, str):
        return same_text(expected, actual, exact=not _RESTRICTED.isdisjoint(schema))
    # Arrays come here only when their lengths differ. NaN is the one value that is not equal to itself.
    return bool(expected == actual) or (expected != expected and actual != actual)


def _is_default(value: Json, schema: Schema, root: Schema) -> bool:
    return "default" in schema and not any(_values(schema["default"], value, schema, root, ""))


def _kind(value: Json) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | float):
        return "number"
    names = {str: "string", dict: "object", list: "array", type(None): "null"}
    return names.get(type(value), "other")


def _resolve(schema: Json, root: Schema) -> Schema:
    """Follow ``#/…`` references; siblings of a reference (a default, as a rule) stay in force."""
    for _ in range(_MAX_REFS):
        if not isinstance(schema, Mapping):
            return {}
        reference = schema.get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#/"):
            return schema
        target: Json = root
        for part in reference[2:].split("/"):
            target = target.get(part.replace("~1", "/").replace("~0", "~")) if isinstance(target, Mapping) else None
        siblings = {key: value for key, value in schema.items() if key != "$ref"}
        schema = {**target, **siblings} if isinstance(target, Mapping) else siblings
    return {}


def _escape(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
