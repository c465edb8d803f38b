"""Redaction of a log with replay runs: every run still says what it said, and none goes on meanwhile."""

from pathlib import Path
from typing import Any

import pytest

from tarx_toollog.config import Settings
from tarx_toollog.errors import StoreError
from tarx_toollog.redaction import Policy, Redactor
from tarx_toollog.replay.reports.report import build_report
from tarx_toollog.replay.running.runner import replay
from tarx_toollog.replay.scoring import score_run
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.replays import CLOSED_LOOP, Replays
from tarx_toollog.store.secret import load_secret
from tarx_toollog.store.work import UnitKey, WorkUnits
from tests.support.faulty_model import Answering, answering, scripted
from tests.support.redaction import apply
from tests.support.replays import figures, request, write_log

USERS = tuple(f"I am number{n}@nordwind.se" for n in range(12))


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)  # a toollog.toml of the person who runs the tests must not be read
    write_log(tmp_path / "t.db", USERS)
    return Settings(database=str(tmp_path / "t.db"))


@pytest.fixture
def redactor(settings: Settings) -> Redactor:
    return Redactor(Policy.load("all"), load_secret(settings))


def said(settings: Settings, name: str) -> dict[str, Any]:
    """Return the figures of a run, but those by the length of what was shown, which redaction changes."""
    with ToolLog.open(settings=settings) as log:
        found = figures(build_report(log, name))
    del found["by_axis"]
    return found


@pytest.mark.parametrize("mode", ["teacher_forced", CLOSED_LOOP])
def test_a_run_over_a_part_of_a_suite_keeps_its_scenarios(settings: Settings, redactor: Redactor, mode: str) -> None:
    with ToolLog.open(settings=settings, read_only=False) as log, answering(Answering(scripted)) as model:
        replay(log, request(model, limit=5, mode=mode))
    before = said(settings, "r")

    assert {"email"} <= set(apply(settings, redactor).rules)

    assert before == said(settings, "r")
    with ToolLog.open(settings=settings, read_only=False) as log:
        score_run(log, "r")
    assert before == said(settings, "r")


def test_a_process_that_works_on_a_run_is_not_disturbed(settings: Settings, redactor: Redactor) -> None:
    with ToolLog.open(settings=settings, read_only=False) as log, answering(Answering(scripted)) as model:
        replay(log, request(model, limit=1))
        run = Replays(log).run("r")
        units = WorkUnits(log)
        units.plan(run.id, [UnitKey(1, 1, 2)])
        units.claim(run.id, "host:7:1")

        with pytest.raises(StoreError, match="host:7:1 works on the replay run r"):
            apply(settings, redactor)
        units.release(run.id, ["host:7:1"])

    assert {"email"} <= set(apply(settings, redactor).rules)
