"""What lies over a suite: what somebody accepted as right beside what it expects, answers and rules for arguments.

A suite never changes, so two figures of one suite may differ by what was accepted in between. ``accepted_overlay``
gives that a name, for reports to show.

*Theory.* Whoever accepts an answer takes its calls for right, or says of single arguments what is right from now on. A
rule lies over one step, and lets more through than the suite does: what it takes for one of some values are these and
all that is right there already. Of two rules for one argument the later one holds. In a closed loop the rules of all
steps are one; there, a rule counts where no other step of the turn expects that tool.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tarx_toollog.canonical import Json, canonical_json, content_hash, json_text, parse_arguments
from tarx_toollog.replay.matching import Call, Rule, Rules
from tarx_toollog.replay.matching.rules import RULES, rule_for
from tarx_toollog.replay.scenario import Scenario, ScenarioStep
from tarx_toollog.store.accepted import Accepted, AcceptedLabel
from tarx_toollog.store.labels import rules_of
from tarx_toollog.store.replays import Answer, Replays

if TYPE_CHECKING:
    from tarx_toollog.store.log import ToolLog

Calls = tuple[Call, ...]
"""No calls mean an answer in text."""


@dataclass(frozen=True, slots=True)
class AcceptedRules:
    """What somebody said of arguments when accepting an answer."""

    rules: Rules
    exchange_uid: str
    """The answer, with the label that says it."""


@dataclass(frozen=True, slots=True)
class Laid:
    """What is accepted at one step."""

    answers: tuple[Calls, ...] = ()
    """As right as the expected one."""
    rules: tuple[AcceptedRules, ...] = ()
    """In the order in which they were said."""


Overlay = Mapping[tuple[int, int], Laid]
"""Key of a scenario and step → what is accepted there."""


@dataclass(frozen=True, slots=True)
class OverlayId:
    """What is accepted beside what a suite expects."""

    n_answers: int
    """Accepted answers, those with a rule among them; equal ones count once."""
    hash: str
    """Of what was accepted where, in hexadecimal digits; empty where nothing was."""
    n_by_rule: int = 0
    """Answers that were accepted with a rule."""

    def to_json(self) -> dict[str, Any]:
        """Return all parts."""
        return {"answers": self.n_answers, "by_rule": self.n_by_rule, "hash": self.hash or None}

    def __str__(self) -> str:
        """Say it in a sentence; empty where nothing is accepted."""
        if not self.n_answers:
            return ""
        told = "1 answer is" if self.n_answers == 1 else f"{self.n_answers} answers are"
        by_rule = f", {self.n_by_rule} with a rule for its arguments" if self.n_by_rule else ""
        return f"{told} accepted{by_rule}, beside what the suite expects"


NOTHING_ACCEPTED = OverlayId(0, "")


def overlay(log: "ToolLog", tag: str) -> Overlay:
    """Return what is accepted beside what the scenarios of a suite expect."""
    answers: dict[tuple[int, int], dict[bytes, Calls]] = defaultdict(dict)
    rules: dict[tuple[int, int], list[AcceptedRules]] = defaultdict(list)
    for said, calls in _accepted(log, tag):
        place = said.scenario_id, said.asked.step_no
        if (given := _rules(said)) is not None:
            rules[place].append(AcceptedRules(given, said.asked.exchange_uid))
        else:
            answers[place][canonical_json(_essence(calls))] = calls
    places = dict.fromkeys([*answers, *rules])
    return {place: Laid(tuple(answers.get(place, {}).values()), tuple(rules.get(place, ()))) for place in places}


def accepted_overlay(log: "ToolLog", tag: str) -> OverlayId:
    """Return how many answers are accepted beside what a suite expects, and the hash of what they are."""
    parts = set()
    n_by_rule = 0
    for said, calls in _accepted(log, tag):
        rules = rules_of(said.correction)
        essence = _essence(calls) if rules is None else {"rules": rules}
        part = canonical_json([said.asked.scenario_hash.hex(), said.asked.step_no, essence])
        n_by_rule += rules is not None and part not in parts
        parts.add(part)
    if not parts:
        return NOTHING_ACCEPTED
    return OverlayId(
        len(parts), content_hash("overlay", sorted(part.decode() for part in parts)).hex(), n_by_rule=n_by_rule
    )


def overlaid(scenario_id: int, scenario: Scenario, accepted: Overlay, *, as_turn: bool = False) -> Scenario:
    """Return a scenario with what is accepted at its steps.

    Args:
        scenario_id: Its key.
        scenario: As it was frozen.
        accepted: Of its suite.
        as_turn: Whether it is judged as a whole, as in a closed loop.
    """
    laid = {step.step_no: accepted.get((scenario_id, step.step_no), Laid()) for step in scenario.steps}
    if not any(over.answers or over.rules for over in laid.values()):
        return scenario
    steps = []
    for step in scenario.steps:
        others = [other for other in scenario.steps if other is not step] if as_turn else []
        elsewhere = {call.name for other in others for call in other.expected}
        steps.append(with_accepted(step, laid[step.step_no], without=elsewhere))
    return replace(scenario, steps=tuple(steps))


def with_accepted(step: ScenarioStep, laid: Laid, *, without: set[str] | frozenset[str] = frozenset()) -> ScenarioStep:
    """Return a step with what is accepted there.

    Args:
        step: As it was frozen.
        laid: What is accepted.
        without: Tools for which no rule shall count.
    """
    right = (step.expected, *step.alternatives, *laid.answers)
    rules = {tool: dict(by_path) for tool, by_path in step.rules.items()}
    for said in laid.rules:
        for tool, by_path in said.rules.items():
            for path, rule in by_path.items():
                if tool not in without:
                    known = rules.setdefault(tool, {})
                    known[path] = _over(rule_for(known, path), rule, tool, path, right)
    return replace(step, alternatives=right[1:], rules=rules)


def values_at(arguments: Json, path: str) -> list[Json]:
    """Return what stands at a JSON pointer, in which ``*`` is any place of an array; nothing where that is not there.

    Example:
        >>> values_at({"at": {"city": "Porto"}, "tags": ["a", "b"]}, "/at/city"), values_at({"tags": ["a"]}, "/tags/*")
        (['Porto'], ['a'])
    """
    found = [arguments]
    for part in path.split("/")[1:]:
        found = [inner for value in found for inner in _inner(value, part.replace("~1", "/").replace("~0", "~"))]
    return found


def told_rules(rules: Rules) -> Iterator[tuple[str, str]]:
    """Yield each argument that has a rule, and the rule in words.

    Example:
        >>> list(told_rules({"recall": {"/limit": Rule("number", atol=1)}}))
        [('recall/limit', 'equal within `rtol` (relative) or `atol` (atol 1)')]
    """
    for tool, by_path in rules.items():
        for path, rule in by_path.items():
            needs = ", ".join(f"{key} {json_text(value)}" for key, value in rule.to_json().items() if key != "rule")
            yield f"{tool}{path}", f"{RULES[rule.kind]} ({needs})" if needs else RULES[rule.kind]


def calls_made(answer: Answer) -> Calls:
    """Return the calls of an answer, read."""
    return tuple(Call(call.name, parse_arguments(call.arguments, complete=call.complete).value) for call in answer.made)


def _over(old: Rule | None, new: Rule, tool: str, path: str, right: Sequence[Calls]) -> Rule:
    """Return a rule as it holds over what is right without it."""
    if new.kind != "oneof":
        return new
    there = [values_at(call.arguments, path) for calls in right for call in calls if call.name == tool]
    before = (old,) if old is not None and old.kind == "oneof" else ()
    values = [value for rule in (*before, new) for value in rule.values] + [value for found in there for value in found]
    may_omit = any(rule.may_omit for rule in (*before, new)) or not all(there)
    return replace(new, values=tuple({canonical_json(value): value for value in values}.values()), may_omit=may_omit)


def _inner(value: Json, key: str) -> Iterator[Json]:
    if isinstance(value, Mapping) and key in value:
        yield value[key]
    elif isinstance(value, list) and key == "*":
        yield from value
    elif isinstance(value, list) and key.isdecimal() and int(key) < len(value):
        yield value[int(key)]


def _accepted(log: "ToolLog", tag: str) -> list[tuple[AcceptedLabel, Calls]]:
    """Return what was accepted, each with the calls of the answer."""
    replays = Replays(log)
    return [
        (said, calls_made(row.answer))
        for said in Accepted(log).answers(tag)
        for row in replays.trials(said.asked.run_id, trial_id=said.asked.trial_id)
        if row.answer is not None
    ]


def _rules(said: AcceptedLabel) -> Rules | None:
    told = rules_of(said.correction)
    if told is None:
        return None
    return {
        tool: {path: Rule.from_json(rule, f"{tool}{path}") for path, rule in by_path.items()}
        for tool, by_path in told.items()
    }


def _essence(calls: Calls) -> list[Any]:
    return sorted(([call.name, call.arguments] for call in calls), key=canonical_json)
