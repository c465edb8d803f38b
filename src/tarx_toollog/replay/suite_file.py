"""Scenarios as a file: written by a person or another program, and given to others. One JSON object a line.

    {"id": "cat", "messages": [{"role": "user", "content": "What is my cat called?"}], "tools": [...],
     "expected": {"calls": [{"name": "tarx_recall", "arguments": {"query": "cat"}}]},
     "rules": {"tarx_recall": {"/query": {"rule": "ignore"}}}}

``expected`` is ``{"calls": […]}`` or ``{"answer": true}``. A turn of several decisions has ``steps``, a list of such
objects; what they share (``tools``, ``params``) may stand beside it. ``alternatives`` lists other answers that are as
right, ``group`` names cases that hang together. Somebody wrote down what is right: the tier is ``gold``, and what is
counted is accuracy.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tarx_toollog.canonical import bytes_hash, json_text, parse_json
from tarx_toollog.errors import ConfigError, NothingMatchedError
from tarx_toollog.replay.freeze import stored
from tarx_toollog.replay.matching import Call, Rule
from tarx_toollog.replay.scenario import GOLD, Recorded, Scenario, ScenarioStep, expected_from_json, step_to_json
from tarx_toollog.store.replays import Replays

if TYPE_CHECKING:
    from tarx_toollog.store.log import ToolLog

_STEP_KEYS = frozenset({"messages", "tools", "params", "expected", "alternatives", "rules"})
_KEYS = _STEP_KEYS | {"id", "group", "steps"}
_HINT = "docs/replay.md shows a line"


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What came of a file."""

    tag: str
    scenarios: int
    """New ones."""
    already_there: int
    steps: int
    """Of the new ones."""

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {
            "tag": self.tag,
            "scenarios": self.scenarios,
            "already_there": self.already_there,
            "steps": self.steps,
        }


def import_file(log: "ToolLog", path: Path, tag: str) -> ImportReport:
    """Store the scenarios of a file under ``tag``. All of them, or none when a line is wrong.

    Raises:
        ConfigError: It cannot be read, or a line is no scenario; the message names the line.
        NothingMatchedError: It has no lines.
    """
    scenarios = list(read_file(path))
    if not scenarios:
        raise NothingMatchedError(f"{path} has no scenarios", hint=_HINT)
    new = Replays(log).add_scenarios(tag, [stored(scenario) for scenario in scenarios])
    steps = sum(len(scenarios[place].steps) for place in new)
    return ImportReport(tag, len(new), len(scenarios) - len(new), steps)


def read_file(path: Path) -> Iterator[Scenario]:
    """Yield the scenarios of a file.

    Raises:
        ConfigError: It cannot be read, or a line is no scenario.
    """
    try:
        lines = path.read_text("utf-8-sig").split("\n")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}", hint="a file of JSON lines in UTF-8") from None
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield scenario_of(_object(line, f"{path}, line {number}"), f"{path}, line {number}")


def scenario_of(value: Mapping[str, Any], where: str) -> Scenario:
    """Return the scenario that an object of such a file describes.

    Raises:
        ConfigError: It describes none; ``where`` says where it stands.
    """
    if unknown := sorted(value.keys() - _KEYS):
        raise ConfigError(f"{where}: unknown key {unknown[0]!r}", hint=f"known are {', '.join(sorted(_KEYS))}")
    shared = {key: value[key] for key in _STEP_KEYS if key in value}
    steps = value.get("steps", [{}])
    if not isinstance(steps, list) or not steps or not all(isinstance(step, Mapping) for step in steps):
        raise ConfigError(f"{where}: `steps` must be a list of objects", hint=_HINT)
    frozen = tuple(_step(number, {**shared, **step}, where) for number, step in enumerate(steps, 1))
    name = value.get("group", value.get("id", json_text(dict(value))))
    uid = f"file:{bytes_hash('suite', str(name).encode('utf-8', 'surrogatepass')).hex()[:16]}"
    return Scenario(uid, 1, frozen, tier=GOLD)


def exported(log: "ToolLog", tag: str) -> Iterator[dict[str, Any]]:
    """Yield the scenarios of ``tag`` as objects of such a file; what was logged as the answer is left out.

    Raises:
        NothingMatchedError: The tag has none.
    """
    for row in Replays(log).scenarios(tag):
        scenario = Scenario.from_json(row.definition)
        steps = [
            {"messages": list(step.messages), "tools": list(step.tools), "params": dict(step.params),
             **step_to_json(step)}
            for step in scenario.steps
        ]  # fmt: skip
        whole = steps[0] if len(steps) == 1 else {"steps": steps}
        yield {"id": row.uid, "group": scenario.conversation_uid, **whole}


def _step(number: int, value: Mapping[str, Any], where: str) -> ScenarioStep:
    messages, tools, params = value.get("messages"), value.get("tools", []), value.get("params", {})
    if not _is_objects(messages) or not messages:
        raise ConfigError(f"{where}: `messages` of step {number} must be a list of messages", hint=_HINT)
    if not _is_objects(tools) or not isinstance(params, Mapping):
        raise ConfigError(f"{where}: `tools` must be a list of tools, and `params` an object", hint=_HINT)
    alternatives = value.get("alternatives", [])
    if not isinstance(alternatives, list):
        raise ConfigError(f"{where}: `alternatives` must be a list", hint=_HINT)
    return ScenarioStep(
        step_no=number,
        exchange_uid="",
        messages=tuple(messages),
        tools=tuple(tools),
        params=params,
        expected=_expected(value.get("expected"), where, number),
        recorded=Recorded({}, None, None),
        alternatives=tuple(_expected(one, where, number) for one in alternatives),
        rules=_rules(value.get("rules", {}), where),
    )


def _expected(value: Any, where: str, number: int) -> tuple[Call, ...]:
    calls = value.get("calls") if isinstance(value, Mapping) else None
    is_answer = isinstance(value, Mapping) and value.get("answer") is True and not calls
    is_calls = isinstance(calls, list) and bool(calls) and all(map(_is_call, calls)) and "answer" not in value
    if not is_answer and not is_calls:
        raise ConfigError(
            f"{where}: step {number} does not say what is right",
            hint='{"answer": true}, or {"calls": [{"name": "…", "arguments": {…}}]}',
        )
    return expected_from_json(value)


def _rules(value: Any, where: str) -> dict[str, dict[str, Rule]]:
    if not isinstance(value, Mapping) or not all(isinstance(rules, Mapping) for rules in value.values()):
        raise ConfigError(f"{where}: `rules` must name tools, and their arguments", hint=_HINT)
    return {
        str(tool): {str(path): Rule.from_json(rule, f"{where}: {tool}{path}") for path, rule in rules.items()}
        for tool, rules in value.items()
    }


def _object(line: str, where: str) -> dict[str, Any]:
    try:
        value = parse_json(line)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{where} is no JSON: {error}", hint=_HINT) from None
    if not isinstance(value, dict):
        raise ConfigError(f"{where} is no JSON object", hint=_HINT)
    return value


def _is_call(value: Any) -> bool:
    is_object = isinstance(value, Mapping)
    return is_object and isinstance(value.get("name"), str) and isinstance(value.get("arguments"), Mapping)


def _is_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(one, Mapping) for one in value)
