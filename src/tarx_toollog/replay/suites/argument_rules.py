"""What a person says of single arguments of an answer: which rule is meant, and whether it may stand. Pure.

A rule may only let more through. What counts as right already, by what the suite expects or by what was accepted,
stays right, and the answer that the rule is said of becomes right by it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import NamedTuple

from tarx_toollog.canonical import Json
from tarx_toollog.errors import ConfigError
from tarx_toollog.replay.matching import Difference, Pair, Rule, Rules, pair_calls
from tarx_toollog.replay.matching.rules import rule_for
from tarx_toollog.replay.overlay import AcceptedRules, Laid, values_at, with_accepted
from tarx_toollog.replay.scenario import ScenarioStep
from tarx_toollog.replay.scorers import Evidence
from tarx_toollog.store.replays import Answer

WORDS: Mapping[str, str] = {
    "oneof": "this value too",
    "text": "any wording with the same facts",
    "set": "any order",
    "present": "any value",
    "ignore": "any value, or none",
}
"""What the rules that need nothing but a name are called where a person chooses one; the narrowest first."""

_BLIND = ("oneof", "regex")  # they do not look at the expected value: of two calls of a tool, one could stand for both


_LEFT_OUT = ("missing_required", "arg_missing_optional")
_MOST = 20  # arguments of one answer that a person would decide on one by one


class Said(NamedTuple):
    """A rule as a person says it."""

    argument: str
    """Its name or its JSON pointer; with the tool and ``/`` before it where several tools have one like it."""
    rule: Json
    """Name of the rule, or an object with what it needs."""


@dataclass(frozen=True, slots=True)
class Offer:
    """An argument that differs, and the rules that would let it through."""

    argument: str
    """Tool and JSON pointer."""
    is_left_out: bool
    """Whether the answer does not have it."""
    rules: tuple[str, ...]
    """The narrowest first."""


class _Place(NamedTuple):
    tool: str
    path: str

    def __str__(self) -> str:
        return self.tool + self.path


def rules_said(step: ScenarioStep, laid: Laid, answer: Answer, said: Sequence[Said]) -> Rules:
    """Return the rules that a person says of an answer.

    Args:
        step: As it was frozen.
        laid: What is accepted there by now.
        answer: It was judged wrong.
        said: What the person says.

    Raises:
        ConfigError: It is no rule, or about nothing that differs; what is right now would be wrong, or the answer
            would still be.
    """
    before = Evidence(with_accepted(step, laid), answer)
    if not before.findings:
        raise ConfigError(
            "by what is accepted that answer is right", hint="`toollog replay score RUN` counts it where it is not yet"
        )
    found: dict[str, dict[str, Rule]] = {}
    for one in said:
        place = _meant(one.argument, before.pairs)
        rule = _rule(one.rule, place, before.pairs)
        _require_wider(rule, place, before.step)
        found.setdefault(place.tool, {})[place.path] = rule
    after = Evidence(with_accepted(step, Laid(laid.answers, (*laid.rules, AcceptedRules(found, "")))), answer)
    _require_still_right(after)
    if after.findings:
        left = ", ".join(f"{finding.code}{_where(finding.detail)}" for finding in after.findings)
        raise ConfigError(
            f"with that the answer would still be wrong: {left}",
            hint="say a rule for each argument that differs, or none: then the answer is accepted as it is",
        )
    return found


def offers(step: ScenarioStep, laid: Laid, answer: Answer) -> tuple[Offer, ...]:
    """Return the arguments of an answer that differ, with rules for them; none where rules would not do."""
    evidence = Evidence(with_accepted(step, laid), answer)
    places = dict(_differing(evidence.pairs))
    if len(places) > _MOST or not all(pair.is_right or pair.differences for pair in evidence.pairs):
        return ()  # a call too many, too few, of another tool or that cannot be read
    found = []
    for place, difference in places.items():
        rules = tuple(name for name in WORDS if _would_do(name, place, step, laid, evidence))
        if not rules:
            return ()
        found.append(Offer(str(place), difference.code in _LEFT_OUT, rules))
    return tuple(found)


def from_root(path: str) -> Iterator[str]:
    """Yield what a place stands in, from the outside, and the place itself."""
    parts = path.split("/")
    return ("/".join(parts[:end]) for end in range(2, len(parts) + 1))


def _would_do(name: str, place: _Place, step: ScenarioStep, laid: Laid, evidence: Evidence) -> bool:
    try:
        rule = _rule(name, place, evidence.pairs)
        _require_wider(rule, place, evidence.step)
        said = AcceptedRules({place.tool: {place.path: rule}}, "")
        after = Evidence(with_accepted(step, Laid(laid.answers, (*laid.rules, said))), evidence.answer)
        _require_still_right(after)
    except ConfigError:
        return False
    return place not in [other for other, _ in _differing(after.pairs)]


def _differing(pairs: Sequence[Pair]) -> Iterator[tuple[_Place, Difference]]:
    for pair in pairs:
        for difference in pair.differences:
            if pair.expected is not None:
                yield _Place(pair.expected.name, difference.path), difference


def _meant(argument: str, pairs: Sequence[Pair]) -> _Place:
    """Return the argument that a person means: one that differs, or that holds a place which does."""
    differing = list(dict.fromkeys(place for place, _ in _differing(pairs)))
    found = {
        _Place(place.tool, path)
        for place in differing
        for path in _paths(argument, place.tool)
        if any(rule_for({path: Rule("ignore")}, part) for part in from_root(place.path))
    }
    if len(found) == 1:
        return found.pop()
    if not differing:
        raise ConfigError("no argument differs: a rule would not help", hint="accept the answer as it is")
    raise ConfigError(
        f"{argument!r} differs in calls of several tools" if found else f"{argument!r} is no argument that differs",
        hint=f"these do: {', '.join(map(str, differing))}",
    )


def _paths(argument: str, tool: str) -> Iterator[str]:
    if argument.startswith("/"):
        yield argument
    else:
        yield f"/{argument}"
    if argument.startswith(f"{tool}/"):
        yield argument.removeprefix(tool)


def _rule(told: Json, place: _Place, pairs: Sequence[Pair]) -> Rule:
    entry = {"rule": told} if isinstance(told, str) else told
    if isinstance(entry, Mapping) and entry.get("rule") == "oneof" and "values" not in entry:
        calls = chain.from_iterable(
            (pair.expected, pair.actual) for pair in pairs if pair.expected and pair.expected.name == place.tool
        )
        there = [values_at(call.arguments, place.path) for call in calls if call is not None]
        entry = {**entry, "values": [value for found in there for value in found], "omit": not all(there)}
    return Rule.from_json(entry, str(place))


def _require_wider(rule: Rule, place: _Place, step: ScenarioStep) -> None:
    """See that a rule lets through what the one that is there does, and that a value cannot stand for another's."""
    old = rule_for(step.rules.get(place.tool, {}), place.path)
    is_wider = (
        old is None
        or old.kind == "exact"
        or rule.kind == "ignore"
        or (rule.kind == "present" and old.kind != "ignore" and not old.may_omit)
        or (rule.kind == old.kind == "oneof")
    )
    if old is not None and not is_wider:
        raise ConfigError(
            f"{place} has the rule {old.kind!r} already, and {rule.kind!r} would not let all through that it does",
            hint="say a wider one (present, ignore), or accept the answer as it is",
        )
    answers = (step.expected, *step.alternatives)
    if rule.kind in _BLIND and any(sum(call.name == place.tool for call in calls) > 1 for calls in answers):
        raise ConfigError(
            f"{place.tool} is to be called more than once there: by the rule {rule.kind!r} one call could stand for "
            "another",
            hint="accept the answer as it is",
        )


def _require_still_right(after: Evidence) -> None:
    for calls in (after.step.expected, *after.step.alternatives):
        for pair in pair_calls(calls, calls, after.schemas, after.step.rules):
            if not pair.is_right:
                told = ", ".join(str(place) for place, _ in _differing([pair]))
                raise ConfigError(
                    f"by that rule, what is right now would be wrong: {told}", hint="say one that fits that value, too"
                )


def _where(detail: Mapping[str, Json]) -> str:
    place = f"{detail.get('name', '')}{detail.get('path', '')}"
    return f" at {place}" if place else ""
