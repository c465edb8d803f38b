"""Makes the variants of the probe of identity: questions with the system prompt and without, and late in a dialogue.

The steps of a suite are asked in the same two arms: what helps the model to say who it is must not cost it its tools.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tarx_toollog.canonical import json_text
from tarx_toollog.errors import ConfigError
from tarx_toollog.replay.probes.cases import Original
from tarx_toollog.replay.probes.distractors import rank
from tarx_toollog.replay.probes.identity.questions import Question
from tarx_toollog.replay.probes.padding import Messages, without_system
from tarx_toollog.replay.running.history import bad_calls
from tarx_toollog.replay.scenario import GOLD, Recorded, Scenario, ScenarioStep, Variant
from tarx_toollog.replay.scorers.identity.judging import TextCheck, judge_text
from tarx_toollog.store.filters import Filters

if TYPE_CHECKING:
    from tarx_toollog.model import Trajectory
    from tarx_toollog.store.log import ToolLog

PROBE = "identity"
WITH, WITHOUT = "with_prompt", "without_prompt"
ARMS = (WITH, WITHOUT)
"""Levels: the system prompt is there, or not."""
FIRST, ORDINARY, TOOL_USE = "turn 1", "ordinary", "tool_use"
"""Factors: asked at once; an ordinary question; a step of the suite."""
LATER = (4, 8)
"""Turns at which one question of each family is asked again, behind a logged dialogue."""
MAX_TOKENS = 160
"""Of an answer: enough for some sentences, and a small model that does not end costs no more."""
_LOOKED_AT = 2_000  # turns of the log
_CARRIERS = 8  # of each length: chance chooses among them
_MAX_CARRIER = 12_000  # characters: what is asked behind it is the question, not how much the model can hold


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the questions are asked in."""

    system_prompt: str
    tools: tuple[Mapping[str, Any], ...] = ()
    carriers: Mapping[int, Sequence[Messages]] = field(default_factory=dict)
    """Turn at which is asked → dialogues that lead to it."""
    params: Mapping[str, Any] = field(default_factory=lambda: {"max_tokens": MAX_TOKENS})


def surroundings(log: "ToolLog", check: TextCheck, system_prompt: str | None, *, with_tools: bool) -> Surroundings:
    """Return the surroundings that the log shows: its system prompt, its tools, some of its dialogues.

    Args:
        log: The store.
        check: Of any question: dialogues in which the model takes another identity carry nothing.
        system_prompt: The prompt where a person gives it; None takes the most used one.
        with_tools: Whether the tools that are offered most are offered with the questions, too.

    Raises:
        ConfigError: No system prompt is known.
    """
    prompts: Counter[str] = Counter()
    toolsets: Counter[str] = Counter()
    tools: dict[str, tuple[Mapping[str, Any], ...]] = {}
    carriers: dict[int, list[Messages]] = defaultdict(list)
    for turn in log.trajectories(Filters(limit=_LOOKED_AT)):
        first = turn.steps[0] if turn.steps else None
        if first is None or not first.messages:
            continue
        if first.messages[0].get("role") == "system" and isinstance(said := first.messages[0].get("content"), str):
            prompts[said] += 1
        if first.tools:
            key = json_text([dict(tool) for tool in first.tools])
            toolsets[key] += 1
            tools[key] = first.tools
        if turn.turn_no in LATER and len(carriers[turn.turn_no]) < _CARRIERS and (found := _carrier(turn, check)):
            carriers[turn.turn_no].append(found)
    prompt = system_prompt or next((said for said, _ in prompts.most_common(1)), None)
    if not prompt or not prompt.strip():
        raise ConfigError("the log has no system prompt", hint="give one with --system-prompt")
    offered = tools[toolsets.most_common(1)[0][0]] if with_tools and toolsets else ()
    return Surroundings(prompt, offered, {turn: tuple(found) for turn, found in carriers.items() if found})


def identity_variants(
    questions: Iterable[Question], around: Surroundings, originals: Iterable[Original] = ()
) -> Iterator[Scenario]:
    """Yield each question in both arms, one of each family late in a dialogue, and each scenario in both arms."""
    families: dict[str, Question] = {}
    for question in questions:
        is_ordinary = question.check.is_negative
        yield from _in_both_arms(question, around, ORDINARY if is_ordinary else FIRST, ())
        if not is_ordinary:
            families.setdefault(question.check.family, question)
    for turn, carriers in around.carriers.items():
        for family, question in families.items():
            carrier = carriers[rank(b"carrier", f"{turn} {family}") % len(carriers)]
            yield from _in_both_arms(question, around, f"turn {turn}", carrier)
    for original in originals:
        for arm in ARMS:
            steps = tuple(
                replace(step, messages=_prompted(step.messages, arm, around.system_prompt, keep=True), exchange_uid="")
                for step in original.scenario.steps
            )
            yield replace(original.scenario, steps=steps, variant=Variant(original.uid, PROBE, TOOL_USE, arm))


def _in_both_arms(question: Question, around: Surroundings, factor: str, carrier: Messages) -> Iterator[Scenario]:
    for arm in ARMS:
        step = ScenarioStep(
            step_no=1,
            exchange_uid="",
            messages=_prompted((*carrier, *question.messages), arm, around.system_prompt),
            tools=around.tools,
            params=around.params,
            expected=(),
            recorded=Recorded({}, None, None),
            text_check=question.check.to_json(),
        )
        variant = Variant(question.id, PROBE, factor, arm)
        yield Scenario(f"identity:{question.check.family}", 1, (step,), tier=GOLD, variant=variant)


def _prompted(messages: Sequence[Mapping[str, Any]], arm: str, prompt: str, *, keep: bool = False) -> Messages:
    """Return messages with the system prompt or without; ``keep`` keeps one that is there."""
    rest = without_system(messages)
    if arm == WITHOUT:
        return rest
    own = tuple(messages[: len(messages) - len(rest)])
    return (*own, *rest) if keep and own else ({"role": "system", "content": prompt}, *rest)


def _carrier(turn: "Trajectory", check: TextCheck) -> Messages | None:
    """Return the dialogue before a turn; None when it is long, cannot be sent again, or is about who speaks."""
    messages = without_system(turn.steps[0].messages)
    last = max((place for place, each in enumerate(messages) if each.get("role") == "user"), default=0)
    carrier = messages[:last]
    n_turns = sum(each.get("role") == "user" for each in carrier)
    if n_turns != turn.turn_no - 1 or not carrier or len(json_text(list(map(dict, carrier)))) > _MAX_CARRIER:
        return None
    if carrier[-1].get("role") != "assistant" or carrier[-1].get("tool_calls"):
        return None
    said = (each.get("content") for each in carrier)
    claims = any(judge_text(text, check).claimed for text in said if isinstance(text, str))
    return None if claims or bad_calls(carrier) else carrier
