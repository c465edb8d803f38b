"""Each step of a run with what was asked, expected and answered: what reports for people are made of."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tarx_toollog.replay.report import PROFILES, VERDICT, is_right
from tarx_toollog.replay.scenario import Scenario, ScenarioStep
from tarx_toollog.replay.scoring import scenarios_of
from tarx_toollog.store.replays import Replays, TrialRow

if TYPE_CHECKING:
    from tarx_toollog.store.log import ToolLog

ANSWER = "(answer)"
_CALLED_MOST = 200  # tools in a confusion matrix

State = str
"""right, wrong, or unjudged: the infrastructure failed, or there is no score yet."""


@dataclass(frozen=True, slots=True)
class StepDetail:
    """One step that was asked."""

    scenario_uid: str
    conversation_uid: str
    turn_no: int
    step_no: int
    n_steps: int
    signature: str
    state: State
    code: str | None
    """Primary failure code."""
    profiles: Mapping[str, bool]
    findings: Sequence[Mapping[str, Any]]
    asked: str
    """What the user said last."""
    last: str | None
    """What came after that: the last result of a tool."""
    expected: Sequence[Mapping[str, Any]]
    """Calls as objects; empty for an answer in text."""
    made: Sequence[Mapping[str, Any]]
    """Calls as objects, arguments as emitted."""
    text: str | None
    error: str | None
    exchange_uid: str | None


def details(log: "ToolLog", name: str) -> Iterator[StepDetail]:
    """Yield the steps of a run, in the order of its scenarios.

    Raises:
        NothingMatchedError: There is no such run.
    """
    replays = Replays(log)
    run = replays.run(name)
    first = (trial for trial in replays.trials(run.id) if trial.attempt == 1)
    trials = {(trial.scenario_id, trial.step_no): trial for trial in first}
    for row, scenario in scenarios_of(log, run):
        for step in scenario.steps:
            trial = trials.get((row.id, step.step_no))
            if trial is not None:
                yield _detail(row.uid, scenario, step, trial)


def confusion(steps: Iterable[StepDetail]) -> tuple[list[str], list[str], Counter[tuple[str, str]]]:
    """Return which tools were called where which were expected: both lists of tools, and the counts.

    Of steps that expect one decision and got one: a single call or an answer. Of several calls nobody can say which
    one was taken for which, unless their names are the same.
    """
    counts: Counter[tuple[str, str]] = Counter()
    for step in steps:
        if step.state == "unjudged" or len(step.expected) > 1 or len(step.made) > 1:
            continue
        wanted = step.expected[0]["name"] if step.expected else ANSWER
        counts[wanted, step.made[0]["name"] if step.made else ANSWER] += 1
    most = dict(counts.most_common(_CALLED_MOST))
    kept = Counter({pair: counts[pair] for pair in most})
    return sorted({pair[0] for pair in kept}), sorted({pair[1] for pair in kept}), kept


def _detail(uid: str, scenario: Scenario, step: ScenarioStep, trial: TrialRow) -> StepDetail:
    verdict = trial.scores.get(VERDICT)
    detail: Mapping[str, Any] = {} if verdict is None else verdict.detail
    state = "unjudged" if verdict is None else "right" if is_right(trial) else "wrong"
    asked, last = _last_words(step.messages)
    answer = trial.answer
    return StepDetail(
        scenario_uid=uid,
        conversation_uid=scenario.conversation_uid,
        turn_no=scenario.turn_no,
        step_no=step.step_no,
        n_steps=len(scenario.steps),
        signature=scenario.signature,
        state=state,
        code=detail.get("code"),
        profiles={name: is_right(trial, scorer) for name, scorer in PROFILES.items() if scorer in trial.scores},
        findings=detail.get("findings", ()),
        asked=asked,
        last=last,
        expected=[{"name": call.name, "arguments": call.arguments} for call in step.expected],
        made=[] if answer is None else [{"name": call.name, "arguments": call.arguments} for call in answer.calls],
        text=None if answer is None else answer.text,
        error=trial.error,
        exchange_uid=trial.exchange_uid,
    )


def _last_words(messages: Sequence[Mapping[str, Any]]) -> tuple[str, str | None]:
    asked = ""
    for message in messages:
        if message.get("role") == "user":
            asked = _text(message.get("content"))
    last = messages[-1] if messages else {}
    return asked, _text(last.get("content")) if last.get("role") == "tool" else None


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "\n".join(_text(part.get("text")) for part in content if isinstance(part, Mapping))
    return content if isinstance(content, str) else ""
