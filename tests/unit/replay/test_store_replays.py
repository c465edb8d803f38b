from collections.abc import Iterator
from pathlib import Path

import pytest

from tarx_toollog.errors import ConfigError, StoreError
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.replays import NewTrial, Replays, RunRow, ScoreRow, TrialStatus
from tarx_toollog.store.suites import NewScenario, Suites
from tarx_toollog.store.work import WHOLE_TURN, UnitKey


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ToolLog]:
    with ToolLog.open(tmp_path / "t.db", read_only=False) as log:
        yield log


@pytest.fixture
def replays(log: ToolLog) -> Replays:
    return Replays(log)


@pytest.fixture
def scenario_id(log: ToolLog) -> int:
    Suites(log).freeze("t", [NewScenario(bytes(17), "c", 1, "a>b", 2, "bronze", {})], {})
    return Suites(log).scenarios("t")[0].id


def start(replays: Replays, name: str = "r") -> RunRow:
    return replays.start_run(name=name, tag="t", model="m", endpoint="e", params={"a": 1}, server=None)


def test_an_answered_trial_stays_and_a_lost_one_is_replaced(replays: Replays, scenario_id: int) -> None:
    run = start(replays)
    lost = replays.record_trial(run.id, NewTrial(scenario_id, 1, "infra_error", error="gone"))
    assert replays.verdicts(run.id, "step") == {}
    assert replays.record_trial(run.id, NewTrial(scenario_id, 1, "ok")) == lost
    assert replays.verdicts(run.id, "step") == {(scenario_id, 1, 1): None}
    assert replays.record_trial(run.id, NewTrial(scenario_id, 1, "model_error", error="late")) is None
    (trial,) = replays.trials(run.id)
    assert (trial.status, trial.error, trial.answer) == ("ok", None, None)


@pytest.mark.parametrize("late", [("ok",) * 4, ("infra_error",) * 3])
def test_of_two_processes_that_played_the_same_turn_the_first_counts(
    replays: Replays, scenario_id: int, late: tuple[TrialStatus, ...]
) -> None:
    run, key = start(replays), UnitKey(scenario_id, WHOLE_TURN, 1)
    first, second = (
        [NewTrial(scenario_id, step_no, status) for step_no, status in enumerate(statuses, start=1)]
        for statuses in (("ok", "ok"), late)
    )
    assert replays.record_turn(run.id, key, first)
    assert not replays.record_turn(run.id, key, second[-1:] if late[-1] == "infra_error" else second)
    assert [(1, "ok"), (2, "ok")] == [(trial.step_no, trial.status) for trial in replays.trials(run.id)]


def test_scores_are_replaced_as_a_whole(replays: Replays, scenario_id: int) -> None:
    run = start(replays)
    key = replays.record_trial(run.id, NewTrial(scenario_id, 1, "ok"))
    assert key is not None
    replays.replace_scores({key: {"a": ScoreRow(1.0, {"x": [1]}), "b": ScoreRow(None, {})}})
    replays.replace_scores({key: {"b": ScoreRow(0.0, {"why": "\ud83d"})}})
    (trial,) = replays.trials(run.id)
    assert trial.scores == {"b": ScoreRow(0.0, {"why": "\ud83d"})}


def test_a_run_ends_and_can_go_on(replays: Replays) -> None:
    run = start(replays)
    assert (run.status, run.ended_at, run.params) == ("running", None, {"a": 1})
    replays.set_status(run.id, "aborted")
    assert replays.run("r").ended_at is not None
    replays.set_status(run.id, "running")
    assert replays.run("r") == run
    with pytest.raises(ConfigError):
        start(replays)
    start(replays, "s")
    assert [row.name for row in replays.runs()] == ["s", "r"]


def test_a_read_only_log_refuses_to_write_in_words(tmp_path: Path) -> None:
    ToolLog.open(tmp_path / "t.db", read_only=False).close()
    with ToolLog.open(tmp_path / "t.db") as log, pytest.raises(StoreError):
        start(Replays(log))
