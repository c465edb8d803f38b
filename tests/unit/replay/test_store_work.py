from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from tarx_toollog.store import work
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.replays import NewTrial, Replays, ScoreRow, TrialRow, TrialStatus
from tarx_toollog.store.suites import NewScenario, Suites
from tarx_toollog.store.work import WHOLE_TURN, UnitKey, WorkUnits


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ToolLog]:
    with ToolLog.open(tmp_path / "t.db", read_only=False) as opened:
        Suites(opened).freeze("t", [NewScenario(bytes([n] * 17), "c", n, "a", 3, "bronze", {}) for n in (1, 2)], {})
        Replays(opened).start_run(name="r", tag="t", model="m", endpoint="e", params={}, server=None)
        yield opened


@pytest.fixture
def keys(log: ToolLog) -> list[UnitKey]:
    first, second = (row.id for row in Suites(log).scenarios("t"))
    return [UnitKey(key, step, 1) for key in (first, second) for step in (1, 2, 3)]


@pytest.fixture
def units(log: ToolLog, keys: list[UnitKey]) -> WorkUnits:
    units = WorkUnits(log)
    units.plan(1, keys)
    return units


def claimed(units: WorkUnits, worker: str = "a", **options: bool) -> list[UnitKey]:
    return [unit.key for unit in units.claim(1, worker, **options)]


def test_units_are_given_out_in_their_order_each_once(units: WorkUnits, keys: list[UnitKey]) -> None:
    assert keys == [key for worker in "ababab" for key in claimed(units, worker)]
    assert [] == claimed(units)
    assert ["a", "b"] == units.workers(1)


def test_a_whole_scenario_is_given_out_as_far_as_it_is_free(units: WorkUnits, keys: list[UnitKey]) -> None:
    assert keys[:1] == claimed(units)
    assert [keys[1:3], keys[3:], []] == [claimed(units, "b", whole_scenario=True) for _ in range(3)]


def test_a_plan_that_is_made_again_adds_what_is_neither_there_nor_done(
    log: ToolLog, units: WorkUnits, keys: list[UnitKey]
) -> None:
    statuses: tuple[TrialStatus, ...] = ("ok", "model_error", "infra_error")
    for key, status in zip(keys, statuses, strict=False):
        Replays(log).record_trial(1, NewTrial(key.scenario_id, key.step_no, status))
    with log.engine.begin() as connection:
        connection.exec_driver_sql("DELETE FROM work_unit")
    units.plan(1, keys)
    units.plan(1, keys)
    assert [[key] for key in keys[2:]] == [claimed(units) for _ in keys[2:]]
    assert [] == claimed(units)


def test_what_the_network_ate_waits_until_somebody_wants_it_again(
    log: ToolLog, units: WorkUnits, keys: list[UnitKey]
) -> None:
    (first,), (second,) = claimed(units), claimed(units)
    Replays(log).record_trial(1, NewTrial(first.scenario_id, first.step_no, "infra_error"))
    Replays(log).record_trial(1, NewTrial(second.scenario_id, second.step_no, "ok"))
    assert [keys[2:3], keys[3:]] == [claimed(units, whole_scenario=True) for _ in range(2)]
    units.retry(1)
    assert [keys[:1], []] == [claimed(units, "b") for _ in range(2)]


def test_a_lease_that_ended_frees_the_unit_and_one_that_is_renewed_does_not(
    units: WorkUnits, keys: list[UnitKey], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(work, "LEASE", timedelta(seconds=-1))
        assert [keys[:1], keys[:1]] == [claimed(units, worker) for worker in "ab"]
        assert [] == units.workers(1)
    units.renew(1, "b")
    assert keys[1:2] == claimed(units, "c")
    assert ["b", "c"] == units.workers(1)


def test_the_units_of_the_dead_are_free_at_once(units: WorkUnits, keys: list[UnitKey]) -> None:
    claimed(units, "dead")
    claimed(units, "alive")
    units.release(1, ["dead"])
    assert [keys[:1], keys[2:3]] == [claimed(units, "alive") for _ in range(2)]


def test_a_trial_comes_with_its_scores_or_not_at_all(log: ToolLog, units: WorkUnits, keys: list[UnitKey]) -> None:
    def fail(_: object) -> dict[int, dict[str, ScoreRow]]:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        Replays(log).record_trial(1, NewTrial(keys[0].scenario_id, 1, "ok"), fail)
    assert [] == list(Replays(log).trials(1))
    assert keys[:1] == claimed(units)


def test_trials_come_in_the_order_of_the_run_whoever_was_first(log: ToolLog, keys: list[UnitKey]) -> None:
    for key in reversed(keys):
        Replays(log).record_trial(1, NewTrial(key.scenario_id, key.step_no, "ok"))
    Replays(log).record_trial(1, NewTrial(keys[0].scenario_id, 1, "ok", attempt=2))
    found = [(trial.attempt, trial.scenario_id, trial.step_no) for trial in Replays(log).trials(1)]
    assert [(1, key.scenario_id, key.step_no) for key in keys] + [(2, keys[0].scenario_id, 1)] == found


def test_a_turn_is_recorded_as_a_whole_and_what_an_earlier_try_left_goes(log: ToolLog, keys: list[UnitKey]) -> None:
    replays, scenario_id = Replays(log), keys[0].scenario_id
    key = UnitKey(scenario_id, WHOLE_TURN, 1)
    WorkUnits(log).plan(1, [key], closed_loop=True)
    assert [key] == claimed(WorkUnits(log))
    assert replays.record_turn(1, key, [NewTrial(scenario_id, 4, "infra_error", error="gone")])
    assert [] == claimed(WorkUnits(log))
    WorkUnits(log).retry(1)
    assert [key] == claimed(WorkUnits(log))

    def judge(rows: Sequence[TrialRow]) -> dict[int, dict[str, ScoreRow]]:
        return {rows[-1].id: {"chain": ScoreRow(1.0, {})}}

    turn = [NewTrial(scenario_id, step, "ok") for step in (1, 2)]
    assert replays.record_turn(1, key, turn, judge)
    assert not replays.record_turn(1, key, turn, judge)
    assert [(1, "ok"), (2, "ok")] == [(trial.step_no, trial.status) for trial in replays.trials(1)]
    assert {key: 1.0} == replays.verdicts(1, "chain", whole_turns=True)
    WorkUnits(log).plan(1, [key], closed_loop=True)
    assert [] == claimed(WorkUnits(log))
