"""Accepting: an answer of a run that was judged wrong, and that a person finds as right as the expected one.

*Theory.* A suite never changes, so what is accepted lies over it: a label ``also_right`` on the answer of the run. It
holds for everything that asks the same, in any suite and for any run, and a run that is scored again counts it
(``overlay``). What is accepted are the calls, or that the model answered in text; its words are not compared. Or it
is what the person says of single arguments from now on (``argument_rules``), by which the answer is right, and others
are, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tarx_toollog.errors import ConfigError
from tarx_toollog.model import Outcome
from tarx_toollog.replay.matching import Rules
from tarx_toollog.replay.overlay import Laid, calls_made, overlay, with_accepted
from tarx_toollog.replay.scenario import Scenario, ScenarioStep
from tarx_toollog.replay.scorers import Evidence
from tarx_toollog.replay.scorers.findings import LEAKED
from tarx_toollog.replay.scoring import VERDICT, changed_runs, score_run
from tarx_toollog.replay.suites.argument_rules import Said, rules_said
from tarx_toollog.store.accepted import Accepted, AskedTrial
from tarx_toollog.store.labels import ALSO_RIGHT, Labels, NewLabel
from tarx_toollog.store.replays import TEACHER_FORCED, Answer, Replays
from tarx_toollog.store.suites import Suites

if TYPE_CHECKING:
    from tarx_toollog.store.log import ToolLog


@dataclass(frozen=True, slots=True)
class AcceptedAnswer:
    """What accepting an answer did."""

    label_id: int
    run: str
    exchange_uid: str
    step_no: int
    rules: Rules
    """What is right for single arguments from now on; none where the answer was accepted as it is."""
    rescored: int
    """Trials of the run that were scored again."""
    other_runs: tuple[str, ...]
    """Other runs that have a verdict which would change when they are scored again."""

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        told = {slot: getattr(self, slot) for slot in self.__slots__}
        return told | {"rules": _as_json(self.rules), "other_runs": list(self.other_runs)}


def accept(
    log: "ToolLog", exchange_uid: str, *, by: str, comment: str | None = None, rules: Sequence[Said] = ()
) -> AcceptedAnswer:
    """Say that an answer of a run is as right as the expected one, and score the run's answers to it again.

    Args:
        log: The store, open for writing.
        exchange_uid: The exchange that the run made.
        by: Who says so.
        comment: Why.
        rules: What makes it right: rules for its arguments. None: the answer is right as it is.

    Raises:
        NothingMatchedError: The exchange is no answer of a run.
        ConfigError: The answer cannot be accepted, or is right already; the rules do not make it right.
    """
    asked = Accepted(log).trial_of(exchange_uid)
    answer = _acceptable(log, asked)
    step, laid = _step(log, asked)
    found = rules_said(step, laid, answer, rules) if rules else {}
    if not rules:
        _require_right_as_it_is(step, laid, answer)
    new = NewLabel(
        "exchange",
        exchange_uid,
        ALSO_RIGHT,
        value_num=1.0,
        comment=comment,
        correction={"rules": _as_json(found)} if rules else None,
        annotator=by,
    )
    label_id = Labels(log).add(new)
    rescored = score_run(log, asked.run, only={asked.scenario_id})
    others = changed_runs(log, asked)
    return AcceptedAnswer(label_id, asked.run, exchange_uid, asked.step_no, found, rescored, others)


def _step(log: "ToolLog", asked: AskedTrial) -> tuple[ScenarioStep, Laid]:
    """Return the step that was asked, as it was frozen, and what is accepted there."""
    tag = Replays(log).run(asked.run).tag
    frozen = next(row for row in Suites(log).scenarios(tag) if row.id == asked.scenario_id)
    steps = Scenario.from_json(frozen.definition).steps
    step = next(step for step in steps if step.step_no == asked.step_no)
    return step, overlay(log, tag).get((asked.scenario_id, asked.step_no), Laid())


def _require_right_as_it_is(step: ScenarioStep, laid: Laid, answer: Answer) -> None:
    after = with_accepted(step, Laid((*laid.answers, calls_made(answer)), laid.rules))
    if found := Evidence(after, answer).findings:
        place = f"{found[0].detail.get('name', '')}{found[0].detail.get('path', '')}"
        raise ConfigError(
            f"a rule says what is right for {place}, and the answer is not",
            hint=f"`--rule {place} oneof` takes its value for right, too",
        )


def _as_json(rules: Rules) -> dict[str, Any]:
    return {tool: {path: rule.to_json() for path, rule in by_path.items()} for tool, by_path in rules.items()}


def _acceptable(log: "ToolLog", asked: AskedTrial) -> Answer:
    """Return the answer that is to be accepted.

    Raises:
        ConfigError: It cannot be accepted.
    """
    if asked.mode != TEACHER_FORCED:
        raise ConfigError(
            "an answer of a closed loop cannot be accepted: the model was shown a history of its own",
            hint="label the logged turn: `toollog labels add`",
        )
    (trial,) = Replays(log).trials(asked.run_id, trial_id=asked.trial_id)
    if trial.answer is None or trial.answer.outcome != Outcome.COMPLETED:
        raise ConfigError("there is no complete answer to accept", hint=f"`toollog replay show {asked.run}` says why")
    calls = [call for call in trial.answer.calls if call.origin != LEAKED]
    if len(calls) < len(trial.answer.calls) or any(not call.offered for call in calls):
        raise ConfigError("it has a call that nobody could carry out", hint="only what works can be accepted")
    if any(call.arguments is None for call in calls_made(trial.answer)):
        raise ConfigError("it has arguments that cannot be read", hint="only what works can be accepted")
    if not calls and not (trial.answer.text or "").strip():
        raise ConfigError("the answer is empty", hint="only what works can be accepted")
    verdict = trial.scores.get(VERDICT)
    if verdict is not None and verdict.value == 1.0:
        raise ConfigError("that answer counts as right already", hint=f"`toollog replay show {asked.run} --failed`")
    return trial.answer
