"""One call beside the one that was expected, argument by argument. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tarx_toollog.canonical import canonical_json
from tarx_toollog.replay.matching import NO_RULES, Difference, Pair, Rule, Rules
from tarx_toollog.replay.matching.rules import rule_for
from tarx_toollog.replay.suites.argument_rules import from_root

State = Literal["same", "alike", "ruled", "soft", "differs"]
"""alike: other JSON that means the same; ruled: a rule lets it through; soft: a patient tool would not mind."""


@dataclass(frozen=True, slots=True)
class ArgumentRow:
    """One argument."""

    path: str
    """JSON pointer within the arguments."""
    has_expected: bool
    has_made: bool
    expected: Any
    made: Any
    state: State


@dataclass(frozen=True, slots=True)
class CallRow:
    """Two calls that belong together; a name is None where there is no such call."""

    expected: str | None
    made: str | None
    is_right: bool
    arguments: tuple[ArgumentRow, ...]


def call_row(pair: Pair, rules: Rules = NO_RULES) -> CallRow:
    """Return a pair of calls, which was compared by these rules, as it is shown."""
    wanted = dict(_leaves(pair.expected.arguments or {}, "")) if pair.expected else {}
    given = dict(_leaves(pair.actual.arguments or {}, "")) if pair.actual else {}
    ruled = rules.get(pair.expected.name, {}) if pair.expected else {}
    return CallRow(
        expected=None if pair.expected is None else pair.expected.name,
        made=None if pair.actual is None else pair.actual.name,
        is_right=pair.is_right,
        arguments=tuple(_row(path, wanted, given, pair, ruled) for path in {**wanted, **given}),
    )


def _row(
    path: str, wanted: Mapping[str, Any], given: Mapping[str, Any], pair: Pair, rules: Mapping[str, Rule]
) -> ArgumentRow:
    both = path in wanted and path in given
    expected, made = wanted.get(path), given.get(path)
    found = [each for each in pair.differences if _concerns(each, path)]
    state: State
    if both and canonical_json(expected) == canonical_json(made):
        state = "same"
    elif not pair.same_tool:
        state = "differs"
    elif not found:
        state = "ruled" if any(rule_for(rules, place) for place in from_root(path)) else "alike"
    else:
        state = "soft" if all(each.is_soft for each in found) else "differs"
    return ArgumentRow(path, path in wanted, path in given, expected, made, state)


def _concerns(found: Difference, path: str) -> bool:
    return any(one == other or one.startswith(f"{other}/") for one, other in ((found.path, path), (path, found.path)))


def _leaves(value: Mapping[str, Any], path: str) -> Iterator[tuple[str, Any]]:
    """Yield what stands in an object, by JSON pointer: objects are gone into, lists are values."""
    for key, inner in value.items():
        where = f"{path}/{str(key).replace('~', '~0').replace('/', '~1')}"
        if isinstance(inner, Mapping) and inner:
            yield from _leaves(inner, where)
        else:
            yield where, inner
