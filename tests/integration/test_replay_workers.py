"""Runs that are killed, and runs that several processes or endpoints share: the result is that of one quiet process."""

import asyncio
import random
import signal
import sqlite3
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tarx_toollog.errors import ConfigError, EndpointError
from tarx_toollog.replay.reports.gate import gate_run
from tarx_toollog.replay.reports.report import build_report
from tarx_toollog.replay.running.headway import Progress
from tarx_toollog.replay.running.runner import RunRequest, replay, replay_async
from tarx_toollog.replay.running.server import Pace
from tarx_toollog.replay.running.work import is_gone, this_worker
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.replays import LOST, Replays
from tarx_toollog.store.work import LEASE
from tests.support.faulty_model import PROPS, Answering, answering, scripted, server
from tests.support.replays import HASTY, figures, mostly_right, request, result, right, start, write_log
from tests.support.upstream import Connection
from tests.unit.replay.support import FakeModel, Json, fake_model

MANY = tuple(f"user {number}" for number in range(12))
N_UNITS = 3 * len(MANY)
WORDS = (
    "violin", "printer", "ladder", "orchid", "whistle", "blanket", "lantern", "pepper", "meadow", "guitar", "rocket",
    "garden", "kettle", "magnet", "needle", "harbour", "pancake", "glacier",
)  # fmt: skip
"""Turns that have nothing to do with each other; ``scripted`` is wrong in all but the last three. In any order, nine of
them tell that 90 % are not right."""
KILLS = 6
SLOW_S = 0.02
TRIALS = "SELECT COUNT(*) FROM trial WHERE run_id = (SELECT id FROM run WHERE name = 'r')"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    write_log(tmp_path / "t.db", MANY)
    return tmp_path / "t.db"


@pytest.fixture
def log(database: Path) -> Iterator[ToolLog]:
    with ToolLog.open(database, read_only=False) as opened:
        yield opened


def run(database: Path, *arguments: str) -> subprocess.Popen[str]:
    return start("--database", str(database), "replay", "run", *arguments)


def fresh(database: Path, url: str, name: str = "r", *options: str) -> subprocess.Popen[str]:
    return run(database, "t", "--endpoint", url, "--model", "m", "--name", name, *options)


def quiet(database: Path, url: str) -> str:
    """Return the result of a run that nothing disturbs."""
    process = fresh(database, url, "quiet")
    _, errors = process.communicate(timeout=60)
    assert 0 == process.returncode, errors
    return result(database, "quiet")


def count(database: Path, sql: str) -> int:
    with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)) as connection:
        return int(connection.execute(sql).fetchone()[0])


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


# ---- killed, and gone on with ---------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.timeout(400)  # a dozen processes, one after the other
def test_a_run_that_is_killed_again_and_again_gives_the_result_of_one_that_was_not(database: Path) -> None:
    moments = random.Random(7)
    with server(SLOW_S) as model:
        expected = quiet(database, model.url)
        before = count(database, "SELECT COUNT(*) FROM exchange WHERE run_id IS NOT NULL")
        process = fresh(database, model.url)
        for number in range(KILLS):
            answered = 2 * (number + 1)
            wait_for(lambda n=answered: count(database, TRIALS) >= n)  # type: ignore[misc]
            time.sleep(moments.uniform(0, 2 * SLOW_S))  # while it asks, decodes, writes the exchange, or the trial
            process.kill()
            process.communicate(timeout=30)
            assert count(database, TRIALS) < N_UNITS
            process = run(database, "--resume", "r")
        _, errors = process.communicate(timeout=60)

    assert 0 == process.returncode, errors
    assert expected == result(database, "r")
    asked = count(database, "SELECT COUNT(*) FROM exchange WHERE run_id IS NOT NULL") - before
    orphans = asked - N_UNITS
    assert 0 <= orphans <= KILLS
    assert 0 == count(database, "SELECT COUNT(*) FROM work_unit")


def test_a_kill_between_exchange_and_trial_asks_the_step_again(log: ToolLog, monkeypatch: pytest.MonkeyPatch) -> None:
    class KilledError(BaseException):
        pass

    def die(*_: object) -> None:
        raise KilledError

    with answering(Answering(scripted)) as model:
        with monkeypatch.context() as patch:
            patch.setattr(Replays, "record_trial", die)
            with pytest.raises(KilledError):
                replay(log, request(model))
        replay(log, RunRequest("r", resume=True))
        replay(log, request(model, "quiet"))
    assert [(N_UNITS + 1,)] == list(log.query("SELECT COUNT(*) FROM exchange WHERE run_id = 1").rows)
    assert figures(build_report(log, "quiet")) == figures(build_report(log, "r"))


def test_ctrl_c_keeps_what_is_there_and_says_how_to_go_on(database: Path) -> None:
    with server(SLOW_S) as model:
        process = fresh(database, model.url)
        wait_for(lambda: count(database, "SELECT COUNT(*) FROM trial") >= 3)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
        assert 130 == process.returncode
        assert "toollog replay run --resume r" in errors
        assert 0 == count(database, "SELECT COUNT(*) FROM work_unit WHERE worker IS NOT NULL")
        resumed = run(database, "--resume", "r")
        resumed.communicate(timeout=60)
        assert 0 == resumed.returncode
        assert quiet(database, model.url) == result(database, "r")


def test_cancelling_leaves_the_run_to_be_resumed(log: ToolLog) -> None:
    async def cancel_after_three(model: FakeModel) -> None:
        enough = asyncio.Event()

        def listen(now: Progress) -> None:
            if now.done == 3:
                enough.set()

        task = asyncio.create_task(replay_async(log, request(model), listen))
        await enough.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with fake_model(right) as model:
        asyncio.run(cancel_after_three(model))
        assert "aborted" == Replays(log).run("r").status
        assert 3 == build_report(log, "r").asked.asked
        replay(log, RunRequest("r", resume=True))
    assert len(MANY) == build_report(log, "r").chains.numerator


def test_a_run_of_an_earlier_version_has_no_units_and_can_be_resumed(log: ToolLog) -> None:
    with fake_model(mostly_right) as model:
        replay(log, request(model))
        with log.engine.begin() as connection:
            connection.exec_driver_sql("DELETE FROM score WHERE trial_id > 30")
            connection.exec_driver_sql("DELETE FROM trial WHERE id > 30")
            old = '{"temperature": 0.0, "seed": null, "stream": false, "extra_body": {}, "limit": null}'
            connection.exec_driver_sql("UPDATE run SET status = 'running', params = ?", (old,))
        before = len(model.requests)
        replay(log, RunRequest("r", resume=True))
    assert N_UNITS - 30 == len(model.requests) - before
    assert {None} == {body.get("cache_prompt") for body in model.requests[before:]}
    assert ("finished", N_UNITS) == (Replays(log).run("r").status, build_report(log, "r").asked.asked)


# ---- several processes ----------------------------------------------------------------------------------------------


class Waiting(Answering):
    """Answers three requests, and the others when it is told to go on; then each takes a while.

    Args:
        delay_s: How long.
    """

    def __init__(self, delay_s: float) -> None:
        super().__init__(scripted)
        self._delay_s = delay_s
        self.go_on = threading.Event()
        self.fault = self._wait

    def _wait(self, _: Json, __: Connection) -> bool:
        if len(self.requests) > 3:
            self.go_on.wait(60)
            time.sleep(self._delay_s)
        return False


@contextmanager
def two_at_work(
    database: Path, *options: str, delay_s: float = 0.0
) -> Iterator[tuple[Waiting, str, list[subprocess.Popen[str]]]]:
    """Have two processes work on the run ``r``; each waits for an answer. Yields the server, its URL, and them."""
    script = Waiting(delay_s)
    with answering(script) as model:
        first = fresh(database, model.url, "r", *options)
        wait_for(lambda: len(script.requests) == 4)
        second = run(database, "--resume", "r")
        wait_for(lambda: len(script.requests) == 5)
        assert 2 == count(database, "SELECT COUNT(DISTINCT worker) FROM work_unit")
        yield script, model.url, [first, second]


def test_two_processes_share_a_run_and_its_result_is_that_of_one(database: Path) -> None:
    with two_at_work(database) as (script, url, processes):
        script.go_on.set()
        told = [process.communicate(timeout=60) for process in processes]
        assert N_UNITS == len(script.requests)
        expected = quiet(database, url)

    assert [0, 0] == [process.returncode for process in processes], told
    assert "this process joins in" in told[1][1]
    assert told[0][0] == told[1][0]
    assert expected == result(database, "r")


def test_two_processes_stop_when_the_gate_is_clear_and_say_what_one_says(tmp_path: Path) -> None:
    write_log(tmp_path / "t.db", WORDS)
    database = tmp_path / "t.db"
    with two_at_work(database, "--until", "0.9", delay_s=0.25) as (script, _, processes):
        script.go_on.set()
        told = [process.communicate(timeout=60) for process in processes]
    asked = count(database, TRIALS)
    with ToolLog.open(database, read_only=False) as log, answering(Answering(scripted)) as model:
        replay(log, RunRequest("r", endpoint=model.url, resume=True))  # nothing is left to ask
        replay(log, request(model, "alone", until=0.9))
        alone, shared = (gate_run(log, name, min_accuracy=0.9, sequential=True) for name in ("alone", "r"))

    assert [0, 0] == [process.returncode for process in processes], told
    assert alone.report.asked.asked <= asked < 3 * len(WORDS)
    assert asked == shared.report.asked.asked
    assert ("finished", "fail", "fail") == (shared.report.run.status, alone.verdict, shared.verdict)
    assert alone.chains == shared.chains
    assert 0 == count(database, "SELECT COUNT(*) FROM work_unit WHERE worker IS NOT NULL")


def test_what_a_killed_process_had_claimed_is_taken_over_by_the_one_beside_it(database: Path) -> None:
    with two_at_work(database) as (script, url, (first, second)):
        first.kill()
        first.communicate(timeout=30)
        began = time.monotonic()
        script.go_on.set()
        _, errors = second.communicate(timeout=60)
        lasted_s = time.monotonic() - began
        expected = quiet(database, url)

    assert 0 == second.returncode, errors
    assert lasted_s < LEASE.total_seconds() / 2
    assert expected == result(database, "r")


def test_a_process_that_is_interrupted_leaves_the_run_to_the_one_beside_it(database: Path) -> None:
    with two_at_work(database) as (script, url, (first, second)):
        first.send_signal(signal.SIGINT)
        first.communicate(timeout=30)
        running = count(database, "SELECT COUNT(*) FROM run WHERE name = 'r' AND status = 'running'")
        script.go_on.set()
        _, errors = second.communicate(timeout=60)
        expected = quiet(database, url)

    assert (130, 1, 0) == (first.returncode, running, second.returncode), errors
    assert expected == result(database, "r")


def test_a_process_of_this_host_is_known_to_be_dead_or_alive() -> None:
    host = this_worker().rsplit(":", 2)[0]
    sleeper = subprocess.Popen(["sleep", "60"])
    alive = f"{host}:{sleeper.pid}:"
    assert not is_gone(this_worker())
    assert is_gone(alive + "1")  # another process has got its number
    assert not is_gone(f"another-{host}:{sleeper.pid}:1")
    sleeper.kill()
    assert is_gone(f"{host}:{sleeper.pid}:{this_worker().rpartition(':')[2]}")  # not waited for yet: a zombie
    sleeper.wait()
    assert is_gone(alive + "1")


# ---- several endpoints ----------------------------------------------------------------------------------------------


def test_two_endpoints_share_a_run_and_its_result_is_that_of_one(database: Path, log: ToolLog) -> None:
    with answering(Answering(scripted)) as model:
        replay(log, request(model, "quiet"))
    scripts = Answering(scripted), Answering(scripted)
    with answering(scripts[0]) as one, answering(scripts[1]) as two:
        replay(log, request(one, more_endpoints=(two.url,), pace=Pace.FAST))
        assert [two.url] == Replays(log).run("r").params["more_endpoints"]
    assert N_UNITS == sum(len(script.requests) for script in scripts)
    assert all(script.requests for script in scripts)
    assert result(database, "quiet", anywhere=True) == result(database, "r", anywhere=True)


def test_an_endpoint_that_dies_leaves_its_work_to_the_others(database: Path, log: ToolLog) -> None:
    told: list[str] = []
    with answering(Answering(scripted)) as one, server(SLOW_S) as two:
        replay(log, request(one, "quiet"))

        def kill_soon(now: Progress) -> None:
            if now.done == 8:
                two.kill()

        both = request(one, more_endpoints=(two.url,))
        replay(log, both, kill_soon, told.append)

    assert result(database, "quiet", anywhere=True) == result(database, "r", anywhere=True)
    (said,) = told
    assert said.startswith(f"{two.url} does not answer any more: ConnectError")
    (lost,) = (Replays(log).run("r").server or {})[LOST]
    assert two.url == lost["endpoint"]


def test_when_all_endpoints_are_dead_the_run_stops_and_a_new_one_finishes_it(database: Path, log: ToolLog) -> None:
    with server(SLOW_S) as one, server(SLOW_S) as two:

        def kill_soon(now: Progress) -> None:
            if now.done == 8:
                one.kill()
                two.kill()

        with pytest.raises(EndpointError, match="does not answer any more"):
            replay(log, request(one, more_endpoints=(two.url,)), kill_soon)
    assert "aborted" == Replays(log).run("r").status
    with answering(Answering(scripted)) as model:
        replay(log, RunRequest("r", endpoint=model.url, resume=True, patience=HASTY))
        replay(log, request(model, "quiet"))
    assert result(database, "quiet", anywhere=True) == result(database, "r", anywhere=True)


def test_an_endpoint_that_is_away_at_the_resume_is_missed_by_nobody(log: ToolLog) -> None:
    told: list[str] = []
    with answering(Answering(scripted)) as one:
        with answering(Answering(scripted)) as two:
            replay(log, request(one, more_endpoints=(two.url,), limit=1))
        with log.engine.begin() as connection:
            connection.exec_driver_sql("DELETE FROM score")
            connection.exec_driver_sql("DELETE FROM trial")
        replay(log, RunRequest("r", resume=True, patience=HASTY), notify=told.append)
    assert 3 == build_report(log, "r").asked.asked
    (said,) = told
    assert said.startswith(f"no model server at {two.url}: ConnectError")
    assert said.endswith("the other endpoints do its work")


@pytest.mark.parametrize("key", ["chat_template", "model_path", "model_ftype"])
def test_endpoints_that_are_not_the_same_model_are_refused(log: ToolLog, key: str) -> None:
    other = Answering(scripted, {**PROPS, key: "another"})
    with answering(Answering(scripted)) as one, answering(other) as two:
        with pytest.raises(ConfigError, match="the endpoints are not the same") as caught:
            replay(log, request(one, more_endpoints=(two.url,)))
        assert two.url in caught.value.message
    assert [] == Replays(log).runs()
