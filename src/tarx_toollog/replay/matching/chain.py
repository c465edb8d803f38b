"""The calls of a whole turn beside the expected ones: all there, none too many, and in an order that works.

*Theory.* Calls are paired over the whole turn, not message by message: a model that asks two questions at once that
were asked one after the other is not wrong. What order has to hold is little. A call that uses a result comes in a
later message than the call that gave it; and calls that change something keep their order among each other, because
the world is another one after each. Calls that only read are free. To read the same again is waste, which is soft; to
write again is wrong.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from tarx_toollog.replay.matching.calls import Call, Pair, pair_calls
from tarx_toollog.replay.matching.rules import NO_RULES, Rules
from tarx_toollog.replay.matching.values import Schema, compare_arguments


@dataclass(frozen=True, slots=True)
class ExpectedCall:
    """One call of the expected chain."""

    call: Call
    needs: frozenset[int] = frozenset()
    """Places in the chain of the calls whose results it uses."""


@dataclass(frozen=True, slots=True)
class ChainProblem:
    """One thing that is wrong with the chain as a whole; what is wrong with single calls is in the pairs."""

    code: str
    name: str
    """Tool of the call that is out of place, or too many."""
    is_soft: bool = False


@dataclass(frozen=True, slots=True)
class ChainMatch:
    """A turn beside what was expected of it."""

    pairs: tuple[Pair, ...]
    """The expected calls in order, each with its partner; then, without one, those that are too many."""
    problems: tuple[ChainProblem, ...]

    @property
    def is_right(self) -> bool:
        """Whether the turn does what was expected (standard)."""
        return not self.problems and all(pair.is_right for pair in self.pairs)

    @property
    def is_nearly_right(self) -> bool:
        """Whether nothing is wrong that a patient tool would mind (lenient)."""
        partners = [pair for pair in self.pairs if pair.expected is not None]
        return all(problem.is_soft for problem in self.problems) and all(pair.is_nearly_right for pair in partners)


def match_chain(
    expected: Sequence[ExpectedCall],
    made: Sequence[Sequence[Call]],
    schemas: Mapping[str, Schema],
    *,
    is_read: Callable[[str], bool],
    rules: Rules = NO_RULES,
) -> ChainMatch:
    """Hold the calls of a turn against those that were expected.

    Args:
        expected: In the order in which they were recorded.
        made: For each message of the model its calls.
        schemas: The JSON Schema of the arguments by tool name, as offered.
        is_read: Says whether a tool only reads.
        rules: What else is right.

    Example:
        >>> save, send = Call("save_file", {}), Call("send_mail", {})
        >>> order = [ExpectedCall(save), ExpectedCall(send)]
        >>> turns = [[save], [send]], [[send], [save]]
        >>> [match_chain(order, turn, {}, is_read=lambda name: False).is_right for turn in turns]
        [True, False]
    """
    flat = [(message, call) for message, calls in enumerate(made) for call in calls]
    wanted = [one.call for one in expected]
    pairs = pair_calls(wanted, [call for _, call in flat], schemas, rules)
    places = _places(pairs, [call for _, call in flat])
    problems = [
        *_out_of_order(expected, places, [message for message, _ in flat], is_read),
        *_too_many(pairs, schemas, rules, is_read),
    ]
    return ChainMatch(pairs, tuple(problems))


def _places(pairs: Sequence[Pair], flat: Sequence[Call]) -> list[int | None]:
    """Return for each expected call where its partner stands; None without a partner that is the same tool."""
    numbers: dict[int, list[int]] = {}
    for number, call in enumerate(flat):
        numbers.setdefault(id(call), []).append(number)
    return [
        numbers[id(pair.actual)].pop(0) if pair.same_tool and pair.actual is not None else None
        for pair in pairs
        if pair.expected is not None
    ]


def _out_of_order(
    expected: Sequence[ExpectedCall],
    places: Sequence[int | None],
    messages: Sequence[int],
    is_read: Callable[[str], bool],
) -> list[ChainProblem]:
    found, last_write = [], -1
    for one, place in zip(expected, places, strict=True):
        if place is None:
            continue
        sources = [places[need] for need in one.needs]
        is_early = any(source is not None and messages[source] >= messages[place] for source in sources)
        if not is_read(one.call.name):
            is_early |= place < last_write
            last_write = max(last_write, place)
        if is_early:
            found.append(ChainProblem("wrong_order", one.call.name))
    return found


def _too_many(
    pairs: Sequence[Pair], schemas: Mapping[str, Schema], rules: Rules, is_read: Callable[[str], bool]
) -> list[ChainProblem]:
    known = [pair.actual for pair in pairs if pair.expected is not None and pair.actual is not None]
    found = []
    for pair in pairs:
        if pair.expected is not None or pair.actual is None:
            continue
        extra = pair.actual
        is_again = is_read(extra.name) and any(_is_same(one, extra, schemas, rules) for one in known)
        found.append(ChainProblem("redundant_call" if is_again else "extra_call", extra.name, is_again))
    return found


def _is_same(one: Call, other: Call, schemas: Mapping[str, Schema], rules: Rules) -> bool:
    if one.name != other.name or one.arguments is None or other.arguments is None:
        return False
    return not compare_arguments(one.arguments, other.arguments, schemas.get(one.name), rules.get(one.name))
