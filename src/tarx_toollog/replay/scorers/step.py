"""The verdict on a step: was the decision right, under each of the three profiles (``matching``)?"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from tarx_toollog.canonical import canonical_json
from tarx_toollog.replay.matching import Call, Rule
from tarx_toollog.replay.scorers.base import Evidence, Score
from tarx_toollog.replay.scorers.phrases import has_question


def step(evidence: Evidence) -> Score:
    """1 when the decision is right: call or no call, the tools, and the arguments (standard profile)."""
    found = evidence.findings
    if not found:
        return Score(1.0)
    return Score(0.0, {"code": found[0].code, "findings": [finding.to_json() for finding in found]})


def step_lenient(evidence: Evidence) -> Score:
    """1 when nothing is wrong that a patient tool would mind."""
    return Score(float(all(finding.is_soft for finding in evidence.findings)))


def step_strict(evidence: Evidence) -> Score:
    """1 when the decision is right, and the arguments are the very same JSON; a text that should ask has a question."""
    if evidence.findings or not is_same_json(evidence):
        return Score(0.0)
    should_ask = evidence.step.asks and not evidence.wants_calls
    return Score(float(not should_ask or has_question(evidence.answer.text or "")))


def is_same_json(evidence: Evidence) -> bool:
    """Say whether the calls that were made are the expected ones to the letter, but for arguments that have a rule."""
    rules = evidence.step.rules

    def counted(calls: Iterable[Call]) -> Counter[tuple[str, bytes]]:
        return Counter((call.name, canonical_json(_without(call.arguments, rules.get(call.name)))) for call in calls)

    return counted(evidence.expected) == counted(evidence.made)


def _without(arguments: Mapping[str, Any] | None, rules: Mapping[str, Rule] | None) -> Mapping[str, Any] | None:
    if not rules or arguments is None:
        return arguments
    return {key: value for key, value in arguments.items() if f"/{key}" not in rules}
