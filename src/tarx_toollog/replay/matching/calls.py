"""The calls of one answer beside those that were expected: who is whose partner, and where partners differ."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tarx_toollog.replay.matching.assignment import cheapest_assignment
from tarx_toollog.replay.matching.rules import NO_RULES, Rules
from tarx_toollog.replay.matching.values import Difference, Schema, compare_arguments

# Costs of a pairing. Another tool costs more than any difference within a tool. A call without a partner costs
# nothing: how many there are is given by the two lengths, and a pair of different tools is reported as that.
_OTHER_TOOL = 1000
_UNPAIRED = 0
_UNREADABLE = 510
_DIFFERENCE, _SOFT = 10, 1
_MOST = 500


@dataclass(frozen=True, slots=True)
class Call:
    """A call to compare; ``arguments`` is None when they could not be read."""

    name: str
    arguments: Mapping[str, Any] | None


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

    @property
    def is_right(self) -> bool:
        """Whether the call is the expected one (standard)."""
        return self._is_readable and not self.differences

    @property
    def is_nearly_right(self) -> bool:
        """Whether a patient tool would take the call for the expected one (lenient)."""
        return self._is_readable and all(difference.is_soft for difference in self.differences)

    @property
    def _is_readable(self) -> bool:
        return self.same_tool and self.actual is not None and self.actual.arguments is not None


def pair_calls(
    expected: Sequence[Call], actual: Sequence[Call], schemas: Mapping[str, Schema], rules: Rules = NO_RULES
) -> tuple[Pair, ...]:
    """Pair the calls of one answer so that the differences are fewest, the expected ones first and in order.

    Args:
        expected: The calls that should have been made.
        actual: The calls that were made.
        schemas: The JSON Schema of the arguments by tool name, as offered.
        rules: What else is right.

    Example:
        >>> calls = [Call("recall", {"query": "a"}), Call("recall", {"query": "b"})]
        >>> [pair.differences for pair in pair_calls(calls, calls[::-1], {})]
        [(), ()]
    """
    if len(expected) == len(actual) == 1:  # most answers
        return (Pair(expected[0], actual[0], _differences(expected[0], actual[0], schemas, rules)),)
    size = max(len(expected), len(actual))
    found = [[_differences(e, a, schemas, rules) for a in actual] for e in expected]
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


def _differences(expected: Call, actual: Call, schemas: Mapping[str, Schema], rules: Rules) -> tuple[Difference, ...]:
    if expected.name != actual.name or expected.arguments is None or actual.arguments is None:
        return ()
    name = expected.name
    return compare_arguments(expected.arguments, actual.arguments, schemas.get(name), rules.get(name))


def _cost(expected: Call, actual: Call, differences: Sequence[Difference]) -> int:
    if expected.name != actual.name:
        return _OTHER_TOOL
    if expected.arguments is None or actual.arguments is None:
        return _UNREADABLE
    return min(sum(_SOFT if difference.is_soft else _DIFFERENCE for difference in differences), _MOST)
