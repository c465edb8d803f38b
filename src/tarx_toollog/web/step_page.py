"""Everything that the page of one step of a run shows: gathered here, so that the template only lays it out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tarx_toollog.errors import NothingMatchedError
from tarx_toollog.replay.overlay import Laid, overlay, told_rules, with_accepted
from tarx_toollog.replay.reports.chains import PROFILES, TURN_PROFILES, TURN_VERDICT, VERDICT
from tarx_toollog.replay.scenario import Scenario, ScenarioStep
from tarx_toollog.replay.scorers import Evidence
from tarx_toollog.replay.scorers.findings import CODES
from tarx_toollog.replay.suites.argument_rules import Offer, offers
from tarx_toollog.store.labels import ALSO_RIGHT, LabelRow, Labels
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.replay_steps import RIGHT, UNJUDGED, WRONG, ReplaySteps
from tarx_toollog.store.replays import CLOSED_LOOP, Replays, RunRow, ScoreRow, TrialRow
from tarx_toollog.web.argument_diff import CallRow, call_row


@dataclass(frozen=True, slots=True)
class RuleSaid:
    """A rule for an argument, and who said it."""

    argument: str
    meaning: str
    label: LabelRow


@dataclass(frozen=True, slots=True)
class StepPage:
    """One step of a run, asked once."""

    run: RunRow
    scenario_uid: str
    scenario: Scenario
    step_no: int
    step: ScenarioStep | None
    """None: the model went its own way further than the logged turn did."""
    trial: TrialRow
    attempts: Sequence[int]
    """All attempts at this step."""
    calls: Sequence[CallRow]
    """The expected calls beside those that were made; none in a closed loop."""
    labels: Sequence[LabelRow]
    """In force, on the logged answer."""
    accepted: LabelRow | None
    """What says that the answer is as right as the expected one."""
    rules: Sequence[RuleSaid]
    """What somebody said of arguments of this step, of whatever answer."""
    offers: Sequence[Offer]
    """Arguments that differ, where rules would make the answer right."""

    @property
    def state(self) -> str:
        """Whether it is right, wrong or unjudged."""
        value = None if self._verdict is None else self._verdict.value
        return UNJUDGED if value is None else RIGHT if value == 1.0 else WRONG

    @property
    def is_closed_loop(self) -> bool:
        """Whether the model went its own way: then its steps are not those of the log, and turns have verdicts."""
        return self.run.mode == CLOSED_LOOP

    @property
    def course(self) -> Sequence[Mapping[str, Any]]:
        """The calls of a turn in a closed loop, each with its step, its name and how a result was found for it."""
        made: Sequence[Mapping[str, Any]] = () if self._verdict is None else self._verdict.detail.get("calls", ())
        return made

    @property
    def code(self) -> str | None:
        """What went wrong first."""
        return None if self._verdict is None else self._verdict.detail.get("code")

    @property
    def meaning(self) -> str:
        """The same in words."""
        return CODES.get(self.code or "", self.trial.error or "")

    @property
    def findings(self) -> Sequence[Mapping[str, Any]]:
        """All that was found."""
        found: Sequence[Mapping[str, Any]] = () if self._verdict is None else self._verdict.detail.get("findings", ())
        return found

    @property
    def profiles(self) -> Mapping[str, bool]:
        """Whether it is right, by how arguments are compared."""
        scorers = TURN_PROFILES if TURN_VERDICT in self.trial.scores else PROFILES
        given = {name: self.trial.scores.get(scorer) for name, scorer in scorers.items()}
        return {name: score.value == 1.0 for name, score in given.items() if score and score.value is not None}

    @property
    def logged_uid(self) -> str | None:
        """The exchange that the step was frozen from; None where a person wrote the scenario."""
        return self.step.exchange_uid or None if self.step else None

    @property
    def can_accept(self) -> bool:
        """Whether somebody may say that the answer is right after all."""
        could_be_right = not self.is_closed_loop and self.trial.status == "ok"
        return self.state == WRONG and self.step is not None and could_be_right

    @property
    def _verdict(self) -> ScoreRow | None:
        return self.trial.scores.get(TURN_VERDICT) or self.trial.scores.get(VERDICT)


def step_page(log: ToolLog, run: RunRow, scenario_uid: str, step_no: int, attempt: int = 1) -> StepPage:
    """Return what is known of a step.

    Raises:
        NothingMatchedError: It has not been asked.
    """
    steps = ReplaySteps(log)
    trials = steps.trial_ids(run.name, scenario_uid, step_no)
    if attempt not in trials:
        raise NothingMatchedError(f"that step was not asked {attempt} times", hint="look at the first attempt")
    (trial,) = Replays(log).trials(run.id, trial_id=trials[attempt])
    frozen = steps.scenarios([scenario_uid])[scenario_uid]
    scenario = Scenario.from_json(frozen.definition)
    step = next((step for step in scenario.steps if step.step_no == step_no), None)
    laid = overlay(log, run.tag).get((frozen.id, step_no), Laid())
    offered = () if step is None or trial.answer is None else offers(step, laid, trial.answer)
    step = None if step is None else with_accepted(step, laid)
    labels = Labels(log).labels({uid for uid in (trial.exchange_uid, step.exchange_uid if step else None) if uid})
    return StepPage(
        run=run,
        scenario_uid=scenario_uid,
        scenario=scenario,
        step_no=step_no,
        step=step,
        trial=trial,
        attempts=tuple(trials),
        calls=_calls(step, trial) if step is not None and run.mode != CLOSED_LOOP else (),
        labels=[label for label in labels if step is not None and label.target_uid == step.exchange_uid],
        accepted=next(
            (label for label in labels if label.name == ALSO_RIGHT and label.target_uid == trial.exchange_uid), None
        ),
        rules=_rules(log, laid),
        offers=offered,
    )


def _rules(log: ToolLog, laid: Laid) -> list[RuleSaid]:
    said = {accepted.exchange_uid: accepted.rules for accepted in laid.rules}
    return [
        RuleSaid(argument, meaning, label)
        for label in Labels(log).labels(said, name=ALSO_RIGHT)
        for argument, meaning in told_rules(said[label.target_uid])
    ]


def _calls(step: ScenarioStep, trial: TrialRow) -> tuple[CallRow, ...]:
    if trial.answer is None:
        return ()
    return tuple(call_row(pair, step.rules) for pair in Evidence(step, trial.answer).pairs)
