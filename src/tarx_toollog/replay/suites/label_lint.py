"""What is wrong with expectations themselves: people who label err, too. Pure.

A call that no tool could take, or that the log shows to have failed, cannot be right: that is an *error*. A value that
stands nowhere in what the model was shown may have been made up by whoever labelled it: that is a *warning*, and only
for values that look copied (ids, amounts), since titles, summaries and dates are made by rule.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tarx_toollog.canonical import Json
from tarx_toollog.replay.matching import Call
from tarx_toollog.replay.provenance import origins, schema_of
from tarx_toollog.replay.scenario import GOLD, Scenario, ScenarioStep, offered_schemas
from tarx_toollog.replay.shown import Shown, leaves
from tarx_toollog.store.verdicts import check_schema

ERROR, WARNING = "error", "warning"
CODES = {
    "unknown_tool": "a tool that is not offered is expected",
    "unknown_arg": "an argument is expected that the tool does not have",
    "missing_required": "a required argument is missing",
    "against_schema": "a value breaks the schema: its type, its allowed values",
    "expects_known_bad": "the very call is expected that went wrong in the log",
    "expects_what_failed": "a person expects the very call that came back with an error in the log",
    "unreachable_value": "a value stands in nothing that the model was shown",
}
"""Every code with its explanation."""

_WARNINGS = frozenset({"expects_what_failed", "unreachable_value"})
_REQUIRED = "is a required property"
_EXTRA = re.compile(r"properties are not allowed|match any of the regexes", re.IGNORECASE)
_MADE_BY_RULE = frozenset({"date", "date-time", "time", "duration"})
_TOKEN = re.compile(r"\S*\d\S*")


@dataclass(frozen=True, slots=True)
class LintFinding:
    """One thing that is wrong with an expectation."""

    code: str
    conversation_uid: str
    turn_no: int
    step_no: int
    exchange_uid: str
    detail: str

    @property
    def level(self) -> str:
        """``error`` or ``warning``."""
        return WARNING if self.code in _WARNINGS else ERROR

    def to_json(self) -> dict[str, Any]:
        """Return it as a report shows it."""
        return {"level": self.level, **{slot: getattr(self, slot) for slot in self.__slots__}}


@dataclass(frozen=True, slots=True)
class LintReport:
    """What is wrong with the expectations of some scenarios."""

    findings: tuple[LintFinding, ...]

    @property
    def errors(self) -> int:
        """How many of them cannot be right."""
        return sum(finding.level == ERROR for finding in self.findings)

    @property
    def counts(self) -> dict[str, int]:
        """How often there is each, in the order of ``CODES``."""
        counted = Counter(finding.code for finding in self.findings)
        return {code: counted[code] for code in CODES if counted[code]}

    def examples(self, each: int) -> list[LintFinding]:
        """Return the first of each code."""
        found: dict[str, list[LintFinding]] = {code: [] for code in CODES}
        for finding in self.findings:
            found[finding.code].append(finding)
        return [finding for of in found.values() for finding in of[:each]]

    def to_json(self, each: int | None = None) -> dict[str, Any]:
        """Return counts and findings; of each code the first ``each``."""
        shown = self.findings if each is None else self.examples(each)
        return {
            "errors": self.errors,
            "warnings": len(self.findings) - self.errors,
            "counts": self.counts,
            "findings": [finding.to_json() for finding in shown],
        }


def lint(scenarios: Iterable[Scenario]) -> LintReport:
    """Return what is wrong with what scenarios expect, alternatives included."""
    return LintReport(
        tuple(
            LintFinding(code, scenario.conversation_uid, scenario.turn_no, step.step_no, step.exchange_uid, detail)
            for scenario in scenarios
            for step in scenario.steps
            for code, detail in _of_step(scenario, step)
        )
    )


def _of_step(scenario: Scenario, step: ScenarioStep) -> Iterator[tuple[str, str]]:
    schemas = offered_schemas(step)
    shown = Shown(step.messages)
    for calls in (step.expected, *step.alternatives):
        for call in calls:
            if call.name not in schemas:
                yield "unknown_tool", call.name
                continue
            for code, detail in _against_schema(call, schemas[call.name] or {}):
                yield code, f"{call.name}: {detail}"
            for path in _unreachable(step, call, schemas[call.name] or {}, shown):
                yield "unreachable_value", f"{call.name}{path}"
    yield from _known_bad(scenario, step)


def _against_schema(call: Call, schema: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    given = dict(call.arguments or {})
    properties = schema.get("properties")
    is_open = bool(schema.get("additionalProperties") or schema.get("patternProperties"))
    if isinstance(properties, Mapping) and not is_open:
        for name in sorted(given.keys() - properties.keys()):
            yield "unknown_arg", f"/{name}"
    state, errors = check_schema(given, schema)
    for error in (errors or ()) if state == "fail" else ():
        if error.endswith(_REQUIRED):
            yield "missing_required", error
        elif not (_EXTRA.search(error) and not is_open):  # told above
            yield "against_schema", error


def _unreachable(step: ScenarioStep, call: Call, schema: Mapping[str, Any], shown: Shown) -> Iterator[str]:
    values = dict(leaves(call.arguments or {}))
    ruled = step.rules.get(call.name, {})
    for origin in origins(call, step.messages, schema):
        value, top = values[origin.path], "/" + origin.path.split("/")[1]
        is_made = schema_of(origin.path, schema).get("format") in _MADE_BY_RULE or top in ruled
        if origin.source == "generated" and not is_made and _looks_copied(value) and not shown.has_parts_of(value):
            yield f"{origin.path}: {json.dumps(value, ensure_ascii=False)}"


def _looks_copied(value: Json) -> bool:
    return not isinstance(value, str) or _TOKEN.fullmatch(value.strip()) is not None


def _known_bad(scenario: Scenario, step: ScenarioStep) -> Iterator[tuple[str, str]]:
    logged = [call for call in scenario.recording if call.step_no == step.step_no]
    if any(call.is_error for call in logged) and _same(step.expected, [Call(c.name, c.arguments) for c in logged]):
        is_gold = (step.tier or scenario.tier) == GOLD
        yield "expects_what_failed" if is_gold else "expects_known_bad", " ".join(c.name for c in step.expected)


def _same(one: Sequence[Call], other: Sequence[Call]) -> bool:
    return Counter(map(_key, one)) == Counter(map(_key, other))


def _key(call: Call) -> str:
    return json.dumps([call.name, call.arguments], sort_keys=True)
