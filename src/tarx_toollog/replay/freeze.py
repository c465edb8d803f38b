"""From logged turns to scenarios: which decisions become tests, and why the others do not.

Nothing is dropped silently. A turn that gives no scenario comes back as ``Skipped`` with its reason; a step that
cannot be asked is an ``Omitted`` of its scenario. Both are counted, because what is left out is not random: a set
that only holds what the old model did well flatters the old model.

Only conversations that are kept for evaluation are frozen (``store.splits``), because training takes the others: a test
that the model has learned by heart measures its memory. Who wants others says so, and each scenario says what its
conversation was kept for.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from tarx_toollog.canonical import parse_arguments
from tarx_toollog.errors import NothingMatchedError
from tarx_toollog.model import LoggedCall, Outcome, Step, Trajectory
from tarx_toollog.replay.matching import NO_RULES, Call, Rules
from tarx_toollog.replay.scenario import Omitted, Recorded, Scenario, ScenarioStep
from tarx_toollog.store.filters import Filters
from tarx_toollog.store.queries import turns_by_split
from tarx_toollog.store.replays import NewScenario, Replays

if TYPE_CHECKING:
    from tarx_toollog.store.log import ToolLog

REASONS = {
    "turn_failed": "the turn did not complete",
    "not_completed": "the exchange did not complete",
    "other_protocol": "its wire protocol cannot be replayed yet",
    "several_choices": "more than one answer was asked for",
    "no_tools_offered": "no tool could be called, so there was nothing to decide",
    "no_output": "the log holds no answer",
    "empty_answer": "the answer was empty",
    "logged_call_is_bad": "the logged call is invalid, cut off, not offered or against its schema: it needs a label",
    "logged_call_failed": "the logged call came back with an error: it needs a label",
    "bad_call_in_history": "an earlier call in its history is not JSON; servers refuse such a history",
}
"""Every reason with its explanation."""

_TESTED = frozenset({"eval"})
_PROTOCOL = "openai_chat"
_MADE = ("native", "legacy_function")


@dataclass(frozen=True, slots=True)
class Skipped:
    """A turn that gives no scenario."""

    conversation_uid: str
    turn_no: int
    reason: str


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What ``build`` made of the log."""

    tag: str
    turns: int
    taken: int
    """New scenarios."""
    already_there: int
    steps: int
    """Steps of the new scenarios."""
    splits: tuple[str, ...] = ()
    """What the conversations that it took were kept for; ``eval`` alone, unless somebody asked for more."""
    kept_for: Mapping[str, int] = field(default_factory=dict)
    """Turns that match too, but whose conversations are kept for something else, by split."""
    skipped: Mapping[str, int] = field(default_factory=dict)
    """Turns without a scenario, by reason."""
    omitted: Mapping[str, int] = field(default_factory=dict)
    """Single steps left out of scenarios (new or already there), by reason."""

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {
            "tag": self.tag,
            "turns": self.turns,
            "taken": self.taken,
            "already_there": self.already_there,
            "steps": self.steps,
            "splits": list(self.splits),
            "kept_for": dict(self.kept_for),
            "skipped": dict(self.skipped),
            "omitted_steps": dict(self.omitted),
        }


def build(log: "ToolLog", tag: str, filters: Filters | None = None, rules: Rules = NO_RULES) -> BuildReport:
    """Freeze the turns that ``filters`` mean into scenarios under ``tag``.

    Doing it again takes what is new and leaves the rest as it is.

    Args:
        log: The store, open for writing.
        tag: Name of the set.
        filters: Which turns; without ``splits`` those of conversations that are kept for evaluation.
        rules: What else is right for single arguments; they are frozen, too.

    Raises:
        NothingMatchedError: The filters leave no turn.
    """
    filters = filters or Filters()
    splits = filters.splits or _TESTED
    kept_for = _others(log, filters, splits)
    scenarios: list[Scenario] = []
    skipped: Counter[str] = Counter()
    # The reader is exhausted before the first write: the writer has one connection.
    for trajectory in log.trajectories(replace(filters, splits=splits)):
        frozen = freeze(trajectory, rules)
        if isinstance(frozen, Skipped):
            skipped[frozen.reason] += 1
        else:
            scenarios.append(frozen)
    turns = len(scenarios) + skipped.total()
    if not turns:
        raise _nothing(splits, kept_for)
    new = set(Replays(log).add_scenarios(tag, [stored(scenario) for scenario in scenarios]))
    return BuildReport(
        tag=tag,
        turns=turns,
        taken=len(new),
        already_there=len(scenarios) - len(new),
        steps=sum(len(scenario.steps) for number, scenario in enumerate(scenarios) if number in new),
        splits=tuple(sorted(splits)),
        kept_for=kept_for,
        skipped=dict(skipped.most_common()),
        omitted=dict(Counter(left.reason for scenario in scenarios for left in scenario.omitted).most_common()),
    )


def freeze(trajectory: Trajectory, rules: Rules = NO_RULES) -> Scenario | Skipped:
    """Return the scenario of a turn, or why there is none."""
    if trajectory.status == "failed":
        return Skipped(trajectory.conversation_uid, trajectory.turn_no, "turn_failed")
    steps = []
    omitted = []
    for step in trajectory.steps:
        if reason := _reason_against(step):
            omitted.append(Omitted(step.step_no, reason))
        else:
            steps.append(_freeze_step(step, rules))
    if not steps:
        reason = omitted[0].reason if omitted else "no_output"
        return Skipped(trajectory.conversation_uid, trajectory.turn_no, reason)
    return Scenario(
        trajectory.conversation_uid, trajectory.turn_no, tuple(steps), tuple(omitted), split=trajectory.split
    )


def _others(log: "ToolLog", filters: Filters, splits: Collection[str]) -> dict[str, int]:
    there = turns_by_split(log.engine, replace(filters, splits=frozenset()))
    return {split: count for split, count in there.items() if split not in splits}


def _nothing(splits: Iterable[str], kept_for: Mapping[str, int]) -> NothingMatchedError:
    if not kept_for:
        return NothingMatchedError(
            "no turn matches", hint="widen the filters; `toollog conversations list` shows what there is"
        )
    others = " and ".join(f"{count} of {split}" for split, count in kept_for.items())
    options = " ".join(f"--split {split}" for split in sorted({*splits, *kept_for}))
    return NothingMatchedError(
        f"no turn matches whose conversation is kept for {', '.join(sorted(splits))}; there are {others}",
        hint=f"a small log may have none; {options} takes the others too, and training must then do without them",
    )


def has_text(content: Any) -> bool:
    """Say whether the content of a message holds text: a string, or parts one of which has some."""
    if isinstance(content, list):
        return any(has_text(part.get("text")) for part in content if isinstance(part, dict))
    return isinstance(content, str) and bool(content.strip())


def _reason_against(step: Step) -> str | None:
    if step.outcome != Outcome.COMPLETED:
        return "not_completed"
    if step.protocol != _PROTOCOL:
        return "other_protocol"
    if step.params.get("n") not in (None, 1):
        return "several_choices"
    if step.output is None:
        return "no_output"
    if any(map(_is_bad, (*step.tool_calls, *step.leaked_calls))):
        return "logged_call_is_bad"
    if any(call.result_is_error for call in step.tool_calls):
        return "logged_call_failed"
    if not step.tool_calls and (not step.tools or step.params.get("tool_choice") == "none"):
        return "no_tools_offered"
    if not step.tool_calls and not has_text(step.output.get("content")):
        return "empty_answer"
    return "bad_call_in_history" if _has_bad_call(step.messages) else None


def _is_bad(call: LoggedCall) -> bool:
    # A call that leaked into the text was not made; whether it should have been is for a person to say.
    readable = call.argument_state in ("ok", "empty") and call.complete and call.origin in _MADE
    return not readable or not call.offered or call.schema_state == "fail"


def _has_bad_call(messages: Iterable[Mapping[str, Any]]) -> bool:
    for message in messages:
        calls = message.get("tool_calls")
        for call in calls if isinstance(calls, list) else ():
            function = call.get("function") if isinstance(call, dict) else None
            arguments = function.get("arguments") if isinstance(function, dict) else None
            if isinstance(arguments, str) and parse_arguments(arguments).value is None:
                return True
    return False


def _freeze_step(step: Step, rules: Rules) -> ScenarioStep:
    expected = tuple(Call(call.name, parse_arguments(call.arguments).value) for call in step.tool_calls)
    return ScenarioStep(
        step_no=step.step_no,
        exchange_uid=step.exchange_uid,
        messages=step.messages,
        tools=step.tools,
        params=step.params,
        expected=expected,
        recorded=Recorded(step.output or {}, step.finish_reason, step.model),
        rules={call.name: rules[call.name] for call in expected if call.name in rules},
    )


def stored(scenario: Scenario) -> NewScenario:
    """Return a scenario as it is stored."""
    return NewScenario(
        hash=scenario.content_hash,
        conversation_uid=scenario.conversation_uid,
        turn_no=scenario.turn_no,
        signature=scenario.signature,
        n_steps=len(scenario.steps),
        tier=scenario.tier,
        definition=scenario.to_json(),
    )
