"""From answers to scores. Needs no model: a run can be scored again whenever a scorer has changed."""

from typing import TYPE_CHECKING

from tarx_toollog.replay.scenario import Scenario, ScenarioStep
from tarx_toollog.replay.scorers import SCORERS, Evidence
from tarx_toollog.store.replays import Answer, Replays, RunRow, ScenarioRow, ScoreRow, TrialRow

if TYPE_CHECKING:
    from tarx_toollog.store.log import ToolLog

_BATCH = 200  # trials a transaction: the write lock is held for milliseconds

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


def scenarios_of(log: "ToolLog", run: RunRow) -> list[tuple[ScenarioRow, Scenario]]:
    """Return the scenarios that a run asks, in its order: those of its tag that existed when it began."""
    rows = Replays(log).scenarios(run.tag, until=run.started_at, limit=run.params.get("limit"))
    return [(row, Scenario.from_json(row.definition)) for row in rows]


def score_run(log: "ToolLog", name: str) -> int:
    """Score all trials of a run, replacing the scores that they have; return how many there were.

    Raises:
        NothingMatchedError: There is no such run.
    """
    replays = Replays(log)
    run = replays.run(name)
    steps = {(row.id, step.step_no): step for row, scenario in scenarios_of(log, run) for step in scenario.steps}
    batch: dict[int, Scores] = {}
    count = 0
    for trial in replays.trials(run.id):
        batch[trial.id] = judge_trial(steps[trial.scenario_id, trial.step_no], trial)
        count += 1
        if len(batch) >= _BATCH:
            replays.replace_scores(batch)
            batch = {}
    replays.replace_scores(batch)
    return count
