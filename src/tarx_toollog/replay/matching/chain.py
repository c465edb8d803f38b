"""The calls of a whole turn beside the expected ones: all there, none too many, and in an order that works.

*Theory.* Calls are paired over the whole turn, not message by message: a model that asks two questions at once that
were asked one after the other is not wrong. A call of another tool is no partner: over a turn it says nothing about
the one that is missing. What order has to hold is little. A call that uses a result comes in a later message than the
call that gave it; and calls that change something keep their order among each other, because the world is another one
after each, but for those that were expected at once. Calls that only read are free.

To do more than was expected is wrong where it changes something. To read the same again, or to get a call right only
after the tool refused it, is waste, which is soft. To look at something else as well is no fault at all.
"""

from collections import Counter
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass

from tarx_toollog.canonical import canonical_json
from tarx_toollog.replay.matching.calls import Call, Pair, pair_calls
from tarx_toollog.replay.matching.rules import NO_RULES, Rules
from tarx_toollog.replay.matching.values import Schema, compare_arguments


@dataclass(frozen=True, slots=True)
class ExpectedCall:
    """One call of the expected chain."""

    call: Call
    needs: frozenset[int] = frozenset()
    """Places in the chain of the calls whose results it uses."""
    step: int | None = None
    """Which answer it belongs to: calls of one answer have no order. None: one of its own."""


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
    more_reads: tuple[Call, ...] = ()
    """Calls of those too many that only read, and something else: no fault."""
    places: tuple[int | None, ...] = ()
    """For each expected call the place of its partner among all calls; None where it has none."""

    @property
    def is_right(self) -> bool:
        """Whether the turn does what was expected (standard)."""
        return not self.problems and all(pair.is_right for pair in self.partners)

    @property
    def is_nearly_right(self) -> bool:
        """Whether nothing is wrong that a patient tool would mind (lenient)."""
        return all(problem.is_soft for problem in self.problems) and all(pair.is_nearly_right for pair in self.partners)

    @property
    def partners(self) -> tuple[Pair, ...]:
        """The pairs of the expected calls."""
        return self.pairs[: len(self.places)]


def match_chain(
    expected: Sequence[ExpectedCall],
    made: Sequence[Sequence[Call]],
    schemas: Mapping[str, Schema],
    *,
    is_read: Callable[[str], bool],
    rules: Rules = NO_RULES,
    failed: Container[int] = (),
) -> ChainMatch:
    """Hold the calls of a turn against those that were expected.

    Args:
        expected: In the order in which they were recorded.
        made: For each message of the model its calls.
        schemas: The JSON Schema of the arguments by tool name, as offered.
        is_read: Says whether a tool only reads.
        rules: What else is right.
        failed: Places, among all calls, of those that came back with an error.

    Example:
        >>> save, send = Call("save_file", {}), Call("send_mail", {})
        >>> order = [ExpectedCall(save), ExpectedCall(send)]
        >>> turns = [[save], [send]], [[send], [save]]
        >>> [match_chain(order, turn, {}, is_read=lambda name: False).is_right for turn in turns]
        [True, False]
    """
    messages = [message for message, calls in enumerate(made) for _ in calls]
    flat = [call for calls in made for call in calls]
    partners, places = _partners([one.call for one in expected], flat, schemas, rules, failed)
    extra = [place for place in range(len(flat)) if place not in places]
    known = [pair.actual for pair in partners if pair.actual is not None]
    again = {place for place in extra if is_read(flat[place].name) and _is_among(flat[place], known, schemas, rules)}
    wasted = [place for place in extra if place in failed or place in again]
    more = [place for place in extra if place not in wasted]
    problems = (
        *_out_of_order(expected, places, messages, is_read),
        *(ChainProblem("extra_call", flat[place].name) for place in more if not is_read(flat[place].name)),
        *(ChainProblem("redundant_call", flat[place].name, is_soft=True) for place in wasted),
    )
    pairs = (*partners, *(Pair(None, flat[place]) for place in extra))
    return ChainMatch(pairs, problems, tuple(flat[place] for place in more if is_read(flat[place].name)), places)


def _partners(
    wanted: Sequence[Call], flat: Sequence[Call], schemas: Mapping[str, Schema], rules: Rules, failed: Container[int]
) -> tuple[list[Pair], tuple[int | None, ...]]:
    """Return for each expected call its pair, and where its partner stands."""
    pairs = [pair for pair in pair_calls(wanted, flat, schemas, rules) if pair.expected is not None]
    partners = [pair if pair.same_tool else Pair(pair.expected, None) for pair in pairs]
    free = _in_order_of_use(flat, [pair.actual for pair in partners if pair.actual is not None], failed)
    places = tuple(None if pair.actual is None else free[_key(pair.actual)].pop(0) for pair in partners)
    return partners, places


def _in_order_of_use(flat: Sequence[Call], used: Sequence[Call], failed: Container[int]) -> dict[bytes, list[int]]:
    """Return the places of equal calls, as many as are partners of expected ones.

    Which of them was paired is chance. Those that worked are taken before those that failed, and the first ones before
    later ones, which are repetitions.
    """
    found: dict[bytes, list[int]] = {}
    for place, call in enumerate(flat):
        found.setdefault(_key(call), []).append(place)
    n_used = Counter(map(_key, used))
    return {
        key: sorted(sorted(places, key=lambda place: (place in failed, place))[: n_used[key]])
        for key, places in found.items()
    }


def _key(call: Call) -> bytes:
    return canonical_json([call.name, call.arguments])


def _out_of_order(
    expected: Sequence[ExpectedCall],
    places: Sequence[int | None],
    messages: Sequence[int],
    is_read: Callable[[str], bool],
) -> list[ChainProblem]:
    found, last_write, of_step = [], -1, -1
    step: int | None = None
    for one, place in zip(expected, places, strict=True):
        if one.step is None or one.step != step:
            step, last_write = one.step, max(last_write, of_step)
        if place is None:
            continue
        sources = [places[need] for need in one.needs]
        is_early = any(source is not None and messages[source] >= messages[place] for source in sources)
        if not is_read(one.call.name):
            is_early |= place < last_write
            of_step = max(of_step, place)
        if is_early:
            found.append(ChainProblem("wrong_order", one.call.name))
    return found


def _is_among(call: Call, known: Sequence[Call], schemas: Mapping[str, Schema], rules: Rules) -> bool:
    return any(_is_same(one, call, schemas, rules) for one in known)


def _is_same(one: Call, other: Call, schemas: Mapping[str, Schema], rules: Rules) -> bool:
    if one.name != other.name or one.arguments is None or other.arguments is None:
        return False
    return not compare_arguments(one.arguments, other.arguments, schemas.get(one.name), rules.get(one.name))
