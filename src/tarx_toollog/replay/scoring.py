"""From answers to scores. Needs no model: a run can be scored again whenever a scorer has changed.

It can, too, when an answer was accepted (``accepting``): that counts for every run that is scored afterwards.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING

from tarx_toollog.replay.overlay import overlaid, overlay
from tarx_toollog.replay.scenario import Scenario, ScenarioStep
from tarx_toollog.replay.scorers import SCORERS, Evidence
from tarx_toollog.replay.turns.course import LoopOptions
from tarx_toollog.replay.turns.turn_scoring import CHAIN, score_turns
from tarx_toollog.store.accepted import Accepted, AskedTrial
from tarx_toollog.store.replays import CLOSED_LOOP, Answer, Replays, RunRow, ScoreRow, TrialRow
from tarx_toollog.store.suites import ScenarioRow, Suites

if TYPE_CHECKING:
    from tarx_toollog.store.log import ToolLog

_BATCH = 200  # trials a transaction: the write lock is held for milliseconds

VERDICT = "step"
"""The scorer whose full marks make a step right."""

Scores = dict[str, ScoreRow]


def judge(step: ScenarioStep, answer: Answer) -> Scores:
    """Return what every scorer gives an answer."""
    evidence = Evidence(step, answer)
    given = ((name, SCORERS.get(name)(evidence)) for name in SCORERS.names())
    return {name: ScoreRow(score.value, score.detail) for name, score in given}


def judge_trial(step: ScenarioStep, trial: TrialRow) -> Scores:
    """Return the scores of a trial; none when the infrastructure failed, which says nothing about the model."""
    if trial.status == "infra_error":
        return {}
    return judge(step, trial.answer or Answer(outcome="upstream_error", error=trial.error))


def judge_trials(run: RunRow, scenarios: Mapping[int, Scenario], trials: Iterable[TrialRow]) -> dict[int, Scores]:
    """Return the scores of trials by their ids; those of a closed loop must be of whole turns."""
    if run.mode == CLOSED_LOOP:
        return score_turns(scenarios, trials, LoopOptions.from_json(run.params))
    steps = {(key, step.step_no): step for key, scenario in scenarios.items() for step in scenario.steps}
    return {trial.id: judge_trial(steps[trial.scenario_id, trial.step_no], trial) for trial in trials}


def scenarios_of(log: "ToolLog", run: RunRow) -> list[tuple[ScenarioRow, Scenario]]:
    """Return the scenarios that a run asks, in its order: those of its tag that existed when it began.

    What somebody accepted since they were frozen lies over them.
    """
    rows = Suites(log).scenarios(run.tag, until=run.started_at, limit=run.params.get("limit"))
    accepted = overlay(log, run.tag)
    as_turn = run.mode == CLOSED_LOOP
    return [(row, overlaid(row.id, Scenario.from_json(row.definition), accepted, as_turn=as_turn)) for row in rows]


def score_run(log: "ToolLog", name: str, *, only: Collection[int] | None = None) -> int:
    """Score trials of a run, replacing the scores that they have; return how many there were.

    Args:
        log: The store, open for writing.
        name: Of the run.
        only: Keys of the scenarios whose trials are meant; left out, all.

    Raises:
        NothingMatchedError: There is no such run.
    """
    replays = Replays(log)
    run = replays.run(name)
    scenarios = {row.id: scenario for row, scenario in scenarios_of(log, run)}
    trials = [trial for trial in replays.trials(run.id) if only is None or trial.scenario_id in only]
    scores = list(judge_trials(run, scenarios, trials).items())
    for start in range(0, len(scores), _BATCH):
        replays.replace_scores(dict(scores[start : start + _BATCH]))
    return len(scores)


def changed_runs(log: "ToolLog", asked: AskedTrial) -> tuple[str, ...]:
    """Return the other runs whose verdict on an answer to the same scenario would change if they were scored again."""
    replays = Replays(log)
    found: dict[str, None] = {}
    for name, scenario_id in Accepted(log).asked_by(asked.scenario_hash):
        run = replays.run(name)
        if name == asked.run or name in found:
            continue
        scenarios = {row.id: scenario for row, scenario in scenarios_of(log, run) if row.id == scenario_id}
        trials = {trial.id: trial for trial in replays.trials(run.id) if trial.scenario_id in scenarios}
        scores = judge_trials(run, scenarios, trials.values())
        if any(_values(scores[key]) != _values(trial.scores) for key, trial in trials.items()):
            found[name] = None
    return tuple(found)


def is_outdated(log: "ToolLog", run: RunRow) -> bool:
    """Say whether a verdict of a run would change if it were scored again: something was accepted, or taken back."""
    scenarios = {row.id: scenario for row, scenario in scenarios_of(log, run)}
    trials = {trial.id: trial for trial in Replays(log).trials(run.id)}
    scores = judge_trials(run, scenarios, trials.values())
    return any(_values(scores[key]) != _values(trial.scores) for key, trial in trials.items())


def _values(scores: Mapping[str, ScoreRow]) -> dict[str, float | None]:
    return {name: score.value for name, score in scores.items() if name in (VERDICT, CHAIN)}
