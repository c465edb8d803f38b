"""What the arguments of many calls of one tool look like: which are given, of what type, with which values. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median_low
from typing import Any, NamedTuple

from tarx_toollog.canonical import Json, json_text

_MOST = 8
"""Values of one argument that are told."""
_LONG = 120
"""Characters of a value that still tell it from others; a longer one is rarely the same twice."""
_TYPES: Mapping[type, str] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
    type(None): "null",
}


class Spread(NamedTuple):
    """Between which numbers some numbers lie."""

    least: float
    median: float
    most: float


@dataclass(frozen=True, slots=True)
class ArgumentUse:
    """One argument at the top level."""

    name: str
    given: int
    """Calls that gave it."""
    types: Mapping[str, int]
    """JSON type → calls, the most frequent first."""
    values: Sequence[tuple[str, int]]
    """The most frequent values as JSON, with their calls; of equally frequent ones those that came first."""
    n_values: int
    """How many different values there were."""
    lengths: Spread | None
    """Characters of texts, or items of lists; None where there were none."""
    numbers: Spread | None
    """The numbers themselves; None where there were none."""


def argument_uses(calls: Iterable[Mapping[str, Json]]) -> list[ArgumentUse]:
    """Return how each argument was used, the most frequently given first.

    Args:
        calls: The arguments of each call.

    Example:
        >>> (use,) = argument_uses([{"n": 1}, {"n": 3}, {}])
        >>> use.given, use.types, use.values, use.numbers
        (2, {'integer': 2}, [('1', 1), ('3', 1)], Spread(least=1, median=1, most=3))
    """
    given: dict[str, list[Json]] = {}
    for arguments in calls:
        for name, value in arguments.items():
            given.setdefault(name, []).append(value)
    found = [_use(name, values) for name, values in given.items()]
    return sorted(found, key=lambda use: (-use.given, use.name))


def _use(name: str, values: Sequence[Json]) -> ArgumentUse:
    # Most values stand for themselves: to write thousands of them as JSON takes longer than all the rest.
    counts = Counter(
        (None, json_text(value)) if isinstance(value, list | dict) else (type(value), value) for value in values
    )
    types = Counter(_TYPES[type(value)] for value in values)
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    told = ((value if kind is None else json_text(value), n) for (kind, value), n in counts.most_common(_MOST))
    return ArgumentUse(
        name=name,
        given=len(values),
        types=dict(sorted(types.items(), key=lambda entry: (-entry[1], entry[0]))),
        values=[(text if len(text) <= _LONG else f"{text[:_LONG]}…", n) for text, n in told],
        n_values=len(counts),
        lengths=_spread([len(value) for value in values if isinstance(value, str | list)]),
        numbers=_spread(numbers),
    )


def _spread(numbers: Sequence[Any]) -> Spread | None:
    return Spread(min(numbers), median_low(numbers), max(numbers)) if numbers else None
