"""Replay on a real PostgreSQL: several processes share a run, and its result is that of one process on SQLite."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tarx_toollog.errors import NothingMatchedError
from tarx_toollog.replay.running.runner import replay
from tarx_toollog.store.labels import Labels, NewLabel
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.replays import Replays
from tarx_toollog.store.work import Unit, UnitKey, WorkUnits
from tests.support.faulty_model import Answering, answering, scripted
from tests.support.postgres import database, postgres
from tests.support.replays import request, result, start, write_log

MANY = tuple(f"user {number}" for number in range(12))


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres() as url:
        yield url


@contextmanager
def log_on(server: str, name: str) -> Iterator[ToolLog]:
    with database(server, name) as url:
        write_log(url, MANY)
        with ToolLog.open(url, read_only=False) as log:
            yield log


def test_two_processes_share_a_run_and_its_result_is_that_of_one_on_sqlite(server: str, tmp_path: Path) -> None:
    write_log(tmp_path / "t.db", MANY)
    script, both = Answering(scripted), threading.Event()

    def wait_for_two(*_: object) -> bool:
        if len(script.requests) >= 5:
            both.set()
        if len(script.requests) > 3:
            assert both.wait(60)
        return False

    with answering(Answering(scripted)) as model, ToolLog.open(tmp_path / "t.db", read_only=False) as log:
        replay(log, request(model))
    script.fault = wait_for_two
    with log_on(server, "shared") as log, answering(script) as model:
        url = log.settings.database
        arguments = ("--database", url, "replay", "run")
        first = start(*arguments, "t", "--endpoint", model.url, "--model", "tuned", "--name", "r")
        while len(script.requests) < 4:
            assert first.poll() is None, first.communicate()
            both.wait(0.05)
        second = start(*arguments, "--resume", "r")
        told = [process.communicate(timeout=100) for process in (first, second)]
        found = result(url, "r", anywhere=True)

    assert [0, 0] == [first.returncode, second.returncode], told
    assert "this process joins in" in told[1][1]
    assert 3 * len(MANY) == len(script.requests)
    assert without_uuids(result(tmp_path / "t.db", "r", anywhere=True)) == without_uuids(found)


def without_uuids(text: str) -> str:
    """Take out what two logs of the same conversations cannot share."""
    return re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "", text)


def test_a_unit_that_another_transaction_is_taking_is_passed_over(server: str) -> None:
    with log_on(server, "skipped") as log, answering(Answering(scripted)) as model:
        replay(log, request(model, limit=1))
        run = Replays(log).run("r")
        (scenario_id,) = {trial.scenario_id for trial in Replays(log).trials(run.id)}
        keys = [UnitKey(scenario_id, step_no, 2) for step_no in range(1, 5)]
        units = WorkUnits(log)
        units.plan(run.id, keys)
        with log.engine.begin() as taking:
            taking.exec_driver_sql("SELECT id FROM work_unit ORDER BY position LIMIT 2 FOR UPDATE")
            passed = units.claim(run.id, "second")  # would wait for the other without SKIP LOCKED
        assert keys[2:3] == [unit.key for unit in passed]
        claimed = claim_in_threads(units, run.id)

    assert sorted([*keys[:2], keys[3]]) == sorted(unit.key for unit in claimed)


def test_a_label_on_what_no_database_can_hold_is_refused_in_words(server: str) -> None:
    with log_on(server, "nul") as log, pytest.raises(NothingMatchedError, match="no exchange"):
        Labels(log).add(NewLabel("exchange", "\0", "quality", 1.0, annotator="ann"))


def claim_in_threads(units: WorkUnits, run_id: int) -> list[Unit]:
    """Claim all that is left from several threads at once."""
    found: list[Unit] = []

    def take(worker: str) -> None:
        while claimed := units.claim(run_id, worker):
            found.extend(claimed)

    threads = [threading.Thread(target=take, args=(f"worker {number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found
