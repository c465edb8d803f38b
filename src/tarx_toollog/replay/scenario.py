"""Scenarios: tests frozen from one logged turn, each step with its exact input and the logged decision.

The expectation is what the model did then. Nobody has said that it was right, hence the tier ``bronze``:
a bronze score is *agreement with the log*, never accuracy. A decision that the log itself shows to be bad (its
arguments are no JSON, no such tool was offered, it breaks the schema, its tool failed) is no expectation at
all; it is left out and counted, and waits for a person who says what would have been right.

The definition is JSON with a format version. Messages are stored once per scenario and referred to by number,
because each step repeats the history of the one before.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tarx_toollog.canonical import Json, content_hash
from tarx_toollog.errors import StoreError
from tarx_toollog.replay.matching import Call, Rule, Rules
from tarx_toollog.wire.openai_chat import tool_from_raw

FORMATS = (1, 2, 3)
"""Versions of the definition that are read: 2 has alternatives and rules; 3 has questions, checks of texts, tiers of
steps, recordings and variants. A definition has the lowest that says it."""

GOLD = "gold"
"""Tier of an expectation that a person wrote down, or verified."""
SILVER = "silver"
"""Tier of an expectation that the user approved of, and that nothing spoke against."""
CORRECTED = "corrected"
"""Tier of an expectation that took the place of a logged answer that went wrong."""
BRONZE = "bronze"
"""Tier of an expectation that was logged and not verified."""
TIERS = (GOLD, SILVER, CORRECTED, BRONZE)
"""All tiers; a scenario has the last one that a step of it has."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """The answer in the log; the ``recorded:`` endpoint gives it again."""

    message: Mapping[str, Any]
    finish_reason: str | None
    model: str | None


@dataclass(frozen=True, slots=True)
class TurnCall:
    """One call of the logged turn, and what came back for it: what a closed loop serves."""

    step_no: int
    name: str
    arguments: Mapping[str, Any] | None
    """None when they could not be read."""
    result_text: str | None
    """None when no result was seen."""
    is_error: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return it as it is stored."""
        return {slot: getattr(self, slot) for slot in self.__slots__}


@dataclass(frozen=True, slots=True)
class Variant:
    """Says that a scenario is another one with one thing changed, to see what that does."""

    of: str
    """The uid of the other."""
    probe: str
    """Who asks: ``tools``, ``context`` or ``identity``."""
    factor: str
    """What was changed."""
    level: str
    """How much."""

    def to_json(self) -> dict[str, str]:
        """Return it as it is stored."""
        return {slot: getattr(self, slot) for slot in self.__slots__}


@dataclass(frozen=True, slots=True)
class ScenarioStep:
    """One decision of the model: what it is shown, and what it is expected to do."""

    step_no: int
    """Step of the logged turn, from 1: the depth in the chain."""
    exchange_uid: str
    """The exchange that it was frozen from."""
    messages: tuple[Mapping[str, Any], ...]
    tools: tuple[Mapping[str, Any], ...]
    params: Mapping[str, Any]
    """All other keys of the logged request."""
    expected: tuple[Call, ...]
    """The calls to make, in any order; none when it should answer in text."""
    recorded: Recorded
    alternatives: tuple[tuple[Call, ...], ...] = ()
    """Other answers that are as right."""
    rules: Rules = field(default_factory=dict)
    """What else is right for single arguments."""
    asks: bool = False
    """Whether it should ask the user for what is missing, and call nothing before; then nothing is ``expected``."""
    text_check: Mapping[str, Any] = field(default_factory=dict)
    """What an answer in text has to say (``scorers.identity``); empty: any text will do."""
    tier: str | None = None
    """Trust in this expectation; None: that in the scenario."""
    axes: Mapping[str, float] = field(default_factory=dict, compare=False)
    """How hard it is, counted when it was frozen (``reports.axes``): redaction may make a text longer or shorter later.
    Empty where an earlier version froze it."""


@dataclass(frozen=True, slots=True)
class Omitted:
    """A step of the turn that is not asked, and why."""

    step_no: int
    reason: str


@dataclass(frozen=True, slots=True)
class Scenario:
    """A replayable test, frozen from one turn."""

    conversation_uid: str
    turn_no: int
    steps: tuple[ScenarioStep, ...]
    omitted: tuple[Omitted, ...] = ()
    tier: str = BRONZE
    split: str | None = None
    """What the conversation was kept for when it was frozen; None where an earlier version froze it."""
    recording: tuple[TurnCall, ...] = ()
    """The calls of the whole turn in order, also those of steps that are not asked."""
    variant: Variant | None = None
    """None: it is as it was frozen."""

    @property
    def signature(self) -> str:
        """The names of the expected calls in order, joined by ``>``."""
        return ">".join(call.name for step in self.steps for call in step.expected)

    @property
    def is_whole(self) -> bool:
        """Whether every step of the turn is asked; only then can the chain be said to be complete."""
        return {left.step_no for left in self.omitted} <= {step.step_no for step in self.steps}

    @property
    def content_hash(self) -> bytes:
        """Hash of what is asked and expected. Where it came from and what was answered is not part of it."""
        asked = [
            {
                "step_no": step.step_no,
                "messages": list(step.messages),
                "tools": list(step.tools),
                "params": step.params,
                **step_to_json(step),
            }
            for step in self.steps
        ]
        variant = {} if self.variant is None else {"variant": self.variant.to_json()}
        essence = {"format": self._format_of_what_is_asked, "tier": self.tier, "steps": asked, **variant}
        return content_hash("scenario", essence)

    @property
    def _format(self) -> int:
        return 3 if self.recording else self._format_of_what_is_asked

    @property
    def _format_of_what_is_asked(self) -> int:
        if self.variant is not None or any(step.asks or step.text_check or step.tier for step in self.steps):
            return 3
        return 2 if any(step.alternatives or step.rules for step in self.steps) else 1

    def to_json(self) -> dict[str, Any]:
        """Return the definition as it is stored."""
        messages, toolsets = _Pool(), _Pool()
        steps = [
            {
                "step_no": step.step_no,
                "exchange_uid": step.exchange_uid,
                "messages": [messages.place(message) for message in step.messages],
                "toolset": toolsets.place(list(step.tools)),
                "params": dict(step.params),
                **step_to_json(step),
                "recorded": {
                    "message": dict(step.recorded.message),
                    "finish_reason": step.recorded.finish_reason,
                    "model": step.recorded.model,
                },
                **({"axes": dict(step.axes)} if step.axes else {}),
            }
            for step in self.steps
        ]
        return {
            "format": self._format,
            "tier": self.tier,
            "source": {"conversation_uid": self.conversation_uid, "turn_no": self.turn_no, "split": self.split},
            "messages": messages.items,
            "toolsets": toolsets.items,
            "steps": steps,
            "omitted": [{"step_no": left.step_no, "reason": left.reason} for left in self.omitted],
            **({"recording": [call.to_json() for call in self.recording]} if self.recording else {}),
            **({} if self.variant is None else {"variant": self.variant.to_json()}),
        }

    @classmethod
    def from_json(cls, definition: Mapping[str, Any]) -> "Scenario":
        """Return the scenario of a stored definition.

        Raises:
            StoreError: A newer version of this package wrote it, or it is not a definition.
        """
        if definition.get("format") not in FORMATS:
            raise StoreError(
                f"scenario of format {definition.get('format')!r}, this version reads {FORMATS[-1]}",
                hint="upgrade tarx-toollog",
            )
        try:
            return _from_json(definition)
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise StoreError(
                f"a scenario's definition is damaged: {error!r}", hint="build the scenarios again under another tag"
            ) from error


def offered_schemas(step: ScenarioStep) -> dict[str, Mapping[str, Any] | None]:
    """Return the argument schema of every tool that a step offers, by name; None for a tool without one."""
    return {tool.name: tool.parameters for tool in (tool_from_raw(dict(raw)) for raw in step.tools)}


class _Pool:
    """Equal values once, in order of appearance. Key order counts as a difference: a template may show it."""

    def __init__(self) -> None:
        self.items: list[Json] = []
        self._places: dict[str, int] = {}

    def place(self, value: Json) -> int:
        """Return the number of ``value``, adding it when it is new."""
        place = self._places.setdefault(json.dumps(value), len(self.items))
        if place == len(self.items):
            self.items.append(value)
        return place


def _expected_to_json(calls: Sequence[Call], *, asks: bool = False) -> dict[str, Any]:
    if not calls:
        return {"ask" if asks else "answer": True}
    return {"calls": [{"name": call.name, "arguments": call.arguments} for call in calls]}


def expected_from_json(value: Mapping[str, Any]) -> tuple[Call, ...]:
    """Return the calls that are expected; none for an answer in text, also one that asks."""
    return tuple(Call(call["name"], call["arguments"]) for call in value.get("calls", ()))


def step_to_json(step: ScenarioStep) -> dict[str, Any]:
    """Return what a definition says of what is right: ``expected``, and what else it has of that kind."""
    rules = {tool: {path: rule.to_json() for path, rule in of.items()} for tool, of in step.rules.items()}
    alternatives = [_expected_to_json(calls) for calls in step.alternatives]
    more = {"alternatives": alternatives, "rules": rules, "text_check": dict(step.text_check), "tier": step.tier}
    expected = _expected_to_json(step.expected, asks=step.asks)
    return {"expected": expected, **{key: value for key, value in more.items() if value}}


def _from_json(definition: Mapping[str, Any]) -> Scenario:
    messages, toolsets = definition["messages"], definition["toolsets"]
    steps = tuple(
        ScenarioStep(
            step_no=step["step_no"],
            exchange_uid=step["exchange_uid"],
            messages=tuple(messages[number] for number in step["messages"]),
            tools=tuple(toolsets[step["toolset"]]),
            params=step["params"],
            expected=expected_from_json(step["expected"]),
            recorded=Recorded(**step["recorded"]),
            alternatives=tuple(map(expected_from_json, step.get("alternatives", ()))),
            rules={
                tool: {path: Rule.from_json(rule, f"{tool}{path}") for path, rule in rules.items()}
                for tool, rules in step.get("rules", {}).items()
            },
            asks="ask" in step["expected"],
            text_check=step.get("text_check", {}),
            tier=step.get("tier"),
            axes=step.get("axes", {}),
        )
        for step in definition["steps"]
    )
    return Scenario(
        conversation_uid=definition["source"]["conversation_uid"],
        turn_no=definition["source"]["turn_no"],
        steps=steps,
        omitted=tuple(Omitted(left["step_no"], left["reason"]) for left in definition["omitted"]),
        tier=definition["tier"],
        split=definition["source"].get("split"),
        recording=tuple(TurnCall(**call) for call in definition.get("recording", ())),
        variant=Variant(**definition["variant"]) if "variant" in definition else None,
    )
