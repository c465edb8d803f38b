from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from tarx_toollog.errors import ConfigError, NothingMatchedError, StoreError
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.replays import NewScenario, NewTrial, Replays, RunRow, ScoreRow


@pytest.fixture
def replays(tmp_path: Path) -> Iterator[Replays]:
    with ToolLog.open(tmp_path / "t.db", read_only=False) as log:
        yield Replays(log)


def scenario(number: int) -> NewScenario:
    return NewScenario(number.to_bytes(17, "big"), "c", 1, "a>b", 2, "bronze", {"n": number, "text": "\0\ud83d"})


def start(replays: Replays, name: str = "r") -> RunRow:
    return replays.start_run(name=name, tag="t", model="m", endpoint="e", params={"a": 1}, server=None)


def test_scenarios_come_in_the_order_of_their_hashes_and_as_they_went_in(replays: Replays) -> None:
    assert replays.add_scenarios("t", [scenario(3), scenario(1)]) == [0, 1]
    assert replays.add_scenarios("t", [scenario(1), scenario(2)]) == [1]
    assert [row.definition for row in replays.scenarios("t")] == [scenario(n).definition for n in (1, 2, 3)]
    assert [row.definition["n"] for row in replays.scenarios("t", limit=2)] == [1, 2]


def test_the_same_scenario_may_be_under_two_tags(replays: Replays) -> None:
    assert replays.add_scenarios("t", [scenario(1)]) == replays.add_scenarios("u", [scenario(1)]) == [0]
    assert {row["tag"]: (row["scenarios"], row["steps"]) for row in replays.tags()} == {"t": (1, 2), "u": (1, 2)}


def test_scenarios_of_an_earlier_moment_are_only_those_that_existed(replays: Replays) -> None:
    replays.add_scenarios("t", [scenario(1)])
    run = start(replays)
    replays.add_scenarios("t", [scenario(0)])
    assert [row.definition["n"] for row in replays.scenarios("t", until=run.started_at)] == [1]
    with pytest.raises(NothingMatchedError):
        replays.scenarios("t", until=run.started_at - timedelta(days=1))


def test_an_answered_trial_stays_and_a_lost_one_is_replaced(replays: Replays) -> None:
    replays.add_scenarios("t", [scenario(1)])
    (row,) = replays.scenarios("t")
    run = start(replays)
    lost = replays.record_trial(run.id, NewTrial(row.id, 1, "infra_error", error="gone"))
    assert replays.answered(run.id) == set()
    assert replays.record_trial(run.id, NewTrial(row.id, 1, "ok")) == lost
    assert replays.answered(run.id) == {(row.id, 1, 1)}
    assert replays.record_trial(run.id, NewTrial(row.id, 1, "model_error", error="late")) is None
    (trial,) = replays.trials(run.id)
    assert (trial.status, trial.error, trial.answer) == ("ok", None, None)


def test_scores_are_replaced_as_a_whole(replays: Replays) -> None:
    replays.add_scenarios("t", [scenario(1)])
    run = start(replays)
    key = replays.record_trial(run.id, NewTrial(replays.scenarios("t")[0].id, 1, "ok"))
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
        Replays(log).add_scenarios("t", [scenario(1)])
