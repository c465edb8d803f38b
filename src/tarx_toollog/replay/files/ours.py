"""Our own shape: all that a scenario is, one JSON object a line. Pure: objects in, scenarios out, and back.

    {"id": "cat", "messages": [{"role": "user", "content": "What is my cat called?"}], "tools": […],
     "expected": {"calls": [{"name": "tarx_recall", "arguments": {"query": "cat"}}]},
     "rules": {"tarx_recall": {"/query": {"rule": "ignore"}}}}

``expected`` is ``{"calls": […]}``, ``{"answer": true}`` (``text_check`` says what it must say) or ``{"ask": true}``: it
should ask the user. A turn of several decisions has ``steps``, a list of such objects; what they share (``tools``,
``params``) may stand beside it. ``alternatives`` lists other answers that are as right, ``group`` names cases that hang
together. What was frozen from a log may have more: ``omitted`` steps, then ``step_no``, the ``recording`` that a closed
loop serves, of what it is a ``variant``, and the ``weight`` and ``stratum`` that it was drawn with. Where somebody
wrote down what is right, the tier is ``gold``, and what is counted is accuracy. What nobody has verified has its
``tier``: that it went through a file says nothing about it.
"""

from collections.abc import Mapping
from typing import Any

from tarx_toollog.canonical import bytes_hash, json_text
from tarx_toollog.errors import ConfigError
from tarx_toollog.replay.files.lines import HINT, Entry, is_objects
from tarx_toollog.replay.matching import Call, Rule
from tarx_toollog.replay.scenario import (
    GOLD,
    TIERS,
    Omitted,
    Recorded,
    Scenario,
    ScenarioStep,
    TurnCall,
    Variant,
    expected_from_json,
    step_to_json,
)

STEP_KEYS = frozenset({"messages", "tools", "params", "expected", "alternatives", "rules", "text_check", "step_no"})
"""What an object may say of one decision."""
TURN_KEYS = frozenset({"omitted", "recording", "variant", "tier", "weight", "stratum"})
"""What it may say of the turn beside its decisions; ``suites`` reads the last two."""
_KEYS = STEP_KEYS | TURN_KEYS | {"id", "group", "steps"}


def recognises(row: Mapping[str, Any]) -> bool:
    """Say whether an object looks like one of ours."""
    return "messages" in row or "steps" in row


def scenario_of(value: Mapping[str, Any], where: str) -> Scenario:
    """Return the scenario that an object describes.

    Raises:
        ConfigError: It describes none; ``where`` says where it stands.
    """
    if unknown := sorted(value.keys() - _KEYS):
        raise ConfigError(f"{where}: unknown key {unknown[0]!r}", hint=f"known are {', '.join(sorted(_KEYS))}")
    shared = {key: value[key] for key in STEP_KEYS if key in value}
    steps = value.get("steps", [{}])
    if not is_objects(steps) or not steps:
        raise ConfigError(f"{where}: `steps` must be a list of objects", hint=HINT)
    frozen = tuple(_step(number, {**shared, **step}, where) for number, step in enumerate(steps, 1))
    numbers = [step.step_no for step in frozen]
    if numbers != sorted(set(numbers)):
        raise ConfigError(f"{where}: the numbers of the steps (`step_no`) must rise", hint=HINT)
    name = value.get("group", value.get("id", json_text(dict(value))))
    uid = f"file:{bytes_hash('suite', str(name).encode('utf-8', 'surrogatepass')).hex()[:16]}"
    tier = value.get("tier", GOLD)
    if tier not in TIERS:
        raise ConfigError(f"{where}: `tier` must be one of {', '.join(TIERS)}", hint=HINT)
    return _with_turn(Scenario(uid, 1, frozen, tier=tier), value, where)


def entry_of(uid: str, scenario: Scenario) -> Entry:
    """Return the object of a scenario, without what was logged as the answer, and without better tiers of its steps."""
    steps = [_step_entry(place, step) for place, step in enumerate(scenario.steps, 1)]
    whole = steps[0] if len(steps) == 1 else {"steps": steps}
    turn: Entry = {
        "omitted": [{"step_no": left.step_no, "reason": left.reason} for left in scenario.omitted],
        "recording": [call.to_json() for call in scenario.recording],
        "variant": None if scenario.variant is None else scenario.variant.to_json(),
        "tier": scenario.tier if scenario.tier != GOLD else None,
    }
    return {
        "id": uid,
        "group": scenario.conversation_uid,
        **whole,
        **{key: value for key, value in turn.items() if value},
    }


def steps_of(entry: Entry) -> list[Entry]:
    """Return the decisions of an entry, each with all that it says."""
    shared = {key: entry[key] for key in STEP_KEYS if key in entry}
    return [{**shared, **step} for step in entry.get("steps", [{}])]


def _step_entry(place: int, step: ScenarioStep) -> Entry:
    right = step_to_json(step)
    right.pop("tier", None)  # the scenario has that of its weakest step
    number = {} if step.step_no == place else {"step_no": step.step_no}
    return {
        "messages": list(step.messages),
        "tools": list(step.tools),
        "params": dict(step.params),
        **right,
        **number,
    }


def _step(place: int, value: Mapping[str, Any], where: str) -> ScenarioStep:
    messages, tools, params = value.get("messages"), value.get("tools", []), value.get("params", {})
    number, alternatives, check = value.get("step_no", place), value.get("alternatives", []), value.get("text_check")
    if not is_objects(messages) or not messages:
        raise ConfigError(f"{where}: `messages` of step {place} must be a list of messages", hint=HINT)
    if not is_objects(tools) or not isinstance(params, Mapping):
        raise ConfigError(f"{where}: `tools` must be a list of tools, and `params` an object", hint=HINT)
    if not isinstance(alternatives, list):
        raise ConfigError(f"{where}: `alternatives` must be a list", hint=HINT)
    if not isinstance(number, int) or number < 1 or not isinstance(check, Mapping | None):
        raise ConfigError(f"{where}: `step_no` must be a number from 1, and `text_check` an object", hint=HINT)
    expected = value.get("expected")
    return ScenarioStep(
        step_no=number,
        exchange_uid="",
        messages=tuple(messages),
        tools=tuple(tools),
        params=params,
        expected=_expected(expected, where, place),
        recorded=Recorded({}, None, None),
        alternatives=tuple(_expected(one, where, place) for one in alternatives),
        rules=_rules(value.get("rules", {}), where),
        asks=isinstance(expected, Mapping) and "ask" in expected,
        text_check=check or {},
    )


def _with_turn(scenario: Scenario, value: Mapping[str, Any], where: str) -> Scenario:
    try:
        return Scenario(
            scenario.conversation_uid,
            scenario.turn_no,
            scenario.steps,
            omitted=tuple(Omitted(**left) for left in value.get("omitted", ())),
            tier=scenario.tier,
            recording=tuple(TurnCall(**call) for call in value.get("recording", ())),
            variant=Variant(**value["variant"]) if value.get("variant") else None,
        )
    except TypeError:
        raise ConfigError(
            f"{where}: `omitted`, `recording` or `variant` is none",
            hint="leave them as `toollog replay export` wrote them",
        ) from None


def _expected(value: Any, where: str, place: int) -> tuple[Call, ...]:
    told = value if isinstance(value, Mapping) else {}
    calls = told.get("calls")
    texts = [key for key in ("answer", "ask") if key in told]
    is_text = len(texts) == 1 and told[texts[0]] is True and not calls
    is_calls = isinstance(calls, list) and bool(calls) and all(map(_is_call, calls)) and not texts
    if not is_text and not is_calls:
        raise ConfigError(
            f"{where}: step {place} does not say what is right",
            hint='{"answer": true}, {"ask": true}, or {"calls": [{"name": "…", "arguments": {…}}]}',
        )
    return expected_from_json(told)


def _rules(value: Any, where: str) -> dict[str, dict[str, Rule]]:
    if not isinstance(value, Mapping) or not all(isinstance(rules, Mapping) for rules in value.values()):
        raise ConfigError(f"{where}: `rules` must name tools, and their arguments", hint=HINT)
    return {
        str(tool): {str(path): Rule.from_json(rule, f"{where}: {tool}{path}") for path, rule in rules.items()}
        for tool, rules in value.items()
    }


def _is_call(value: Any) -> bool:
    is_object = isinstance(value, Mapping)
    return is_object and isinstance(value.get("name"), str) and isinstance(value.get("arguments"), Mapping)
