"""Each step of a run with what was asked, expected and answered: what reports for people are made of."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tarx_toollog.replay.reports.chains import PROFILES, TURN_PROFILES, TURN_VERDICT, VERDICT, is_right
from tarx_toollog.replay.reports.material import load
from tarx_toollog.replay.scenario import Scenario, ScenarioStep
from tarx_toollog.store.replays import TrialRow

if TYPE_CHECKING:
    from tarx_toollog.store.log import ToolLog

ANSWER = "(answer)"
_CALLED_MOST = 200  # tools in a confusion matrix

State = str
"""right, wrong, or unjudged: the infrastructure failed, there is no score yet, or nobody can know."""


@dataclass(frozen=True, slots=True)
class StepDetail:
    """One step that was asked."""

    scenario_uid: str
    conversation_uid: str
    turn_no: int
    step_no: int
    """0: the whole turn, of a closed loop."""
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
    of = load(log, name)
    asked: dict[int, list[TrialRow]] = defaultdict(list)
    for trial in of.trials:
        if trial.attempt == 1:
            asked[trial.scenario_id].append(trial)
    for key, scenario in of.scenarios.items():
        uid = of.places[key].uid
        if of.is_closed_loop and asked[key]:
            yield _turn(uid, scenario, asked[key])
            continue
        steps = {step.step_no: step for step in scenario.steps}
        yield from (_detail(uid, scenario, steps[trial.step_no], trial) for trial in asked[key])


def _turn(uid: str, scenario: Scenario, trials: Sequence[TrialRow]) -> StepDetail:
    """Return a turn of a closed loop as one thing: all calls that it should make beside all that it made."""
    last = trials[-1]
    score = last.scores.get(TURN_VERDICT)
    state = "unjudged" if score is None or score.value is None else "right" if score.value == 1.0 else "wrong"
    expected = [call for step in scenario.steps for call in step.expected]
    made = [call for trial in trials if trial.answer for call in trial.answer.made]
    return StepDetail(
        scenario_uid=uid,
        conversation_uid=scenario.conversation_uid,
        turn_no=scenario.turn_no,
        step_no=0,
        n_steps=len(scenario.steps),
        signature=scenario.signature,
        state=state,
        code=None if score is None else score.detail.get("code"),
        profiles={
            name: is_right(last, scorer)
            for name, scorer in TURN_PROFILES.items()
            if scorer in last.scores and last.scores[scorer].value is not None
        },
        findings=() if score is None else score.detail.get("findings", ()),
        asked=_last_words(scenario.steps[0].messages)[0],
        last=None,
        expected=[{"name": call.name, "arguments": call.arguments} for call in expected],
        made=[{"name": call.name, "arguments": call.arguments} for call in made],
        text=last.answer.text if last.answer else None,
        error=last.error,
        exchange_uid=last.exchange_uid,
    )


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
        made=[] if answer is None else [{"name": call.name, "arguments": call.arguments} for call in answer.made],
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
