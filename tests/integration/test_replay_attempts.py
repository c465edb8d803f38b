"""Several attempts at each step: seeds of their own, figures of the first, and how often all are right."""

import json
from collections import Counter
from pathlib import Path

from tarx_toollog.replay.reports.details import details
from tarx_toollog.replay.reports.report import build_report
from tarx_toollog.replay.reports.text_report import report_text
from tarx_toollog.replay.running.asking import Overrides
from tarx_toollog.replay.running.runner import RunRequest, replay
from tarx_toollog.replay.suites.freeze import build
from tarx_toollog.store.log import ToolLog
from tests.integration.test_replay import CHAIN
from tests.unit.cli.samples import run
from tests.unit.replay.support import EVERY_SPLIT, Chat, Json, calling, fake_model, last_user, results_since

USERS = ("always", "never", "first", "later")


def moody(body: Json) -> Json:
    """Answer as in the log, by the mood of the user and the seed."""
    mood, is_first = last_user(body), body["seed"] == 7
    is_right = {"always": True, "never": False, "first": is_first, "later": not is_first}[mood]
    return CHAIN[results_since(body)] if is_right or results_since(body) != 1 else calling(("save", {"title": "?"}))


def asked(log: ToolLog, url: str, name: str = "r", attempts: int = 3) -> None:
    for user in USERS:
        Chat(log, user).turn(user, *CHAIN)
    build(log, "t", EVERY_SPLIT)
    replay(log, RunRequest(name, "t", url, Overrides("m", 0.8, seed=7), attempts=attempts))


def test_each_attempt_has_its_seed_and_the_figures_are_those_of_the_first(tmp_path: Path) -> None:
    with ToolLog.open(tmp_path / "t.db", read_only=False) as log, fake_model(moody) as model:
        asked(log, model.url)
        report = build_report(log, "r")
        steps = list(details(log, "r"))

    n_steps = len(USERS) * len(CHAIN)
    assert Counter({7: n_steps, 8: n_steps, 9: n_steps}) == Counter(body["seed"] for body in model.requests)
    assert [7] * n_steps == [body["seed"] for body in model.requests[:n_steps]]
    assert (2, 4) == (report.chains.numerator, report.chains.denominator)
    assert (3 * n_steps, 3 * n_steps, n_steps) == (report.asked.total, report.asked.asked, len(steps))


def test_what_is_right_every_time_is_told_beside_what_is_right_at_first(tmp_path: Path) -> None:
    with ToolLog.open(tmp_path / "t.db", read_only=False) as log, fake_model(moody) as model:
        asked(log, model.url)
        report = build_report(log, "r")

    assert report.attempts is not None
    # always: 3 of 3, never: 0, first: 1, later: 2 of 3.
    assert (4, 3, 0.25, 0.75, 2) == (
        report.attempts.n_scenarios,
        report.attempts.k,
        report.attempts.every_time,
        report.attempts.some_time,
        report.attempts.n_flaky,
    )
    text = report_text(report)
    assert "of 3 attempts: every one right 25.0 % (pass^3), one of them 75.0 % (pass@3)" in text
    assert "2 of 4 chains are right in some attempts and wrong in others" in text


def test_a_run_that_was_stopped_goes_on_with_the_attempts_that_are_left(tmp_path: Path) -> None:
    with ToolLog.open(tmp_path / "t.db", read_only=False) as log, fake_model(moody) as model:
        asked(log, model.url)
        with log.engine.begin() as connection:
            connection.exec_driver_sql("DELETE FROM score")
            connection.exec_driver_sql("DELETE FROM trial WHERE attempt = 3")
        before = len(model.requests)
        replay(log, RunRequest("r", resume=True))

    assert {9} == {body["seed"] for body in model.requests[before:]}
    assert len(USERS) * len(CHAIN) == len(model.requests) - before


def test_alike_attempts_are_told(tmp_path: Path) -> None:
    with ToolLog.open(tmp_path / "t.db", read_only=False) as log, fake_model(moody) as model:
        asked(log, model.url, attempts=1)
        target = ("--endpoint", model.url, "--model", "m", "--seed", "7", "--name", "twice", "--attempts", "2")
        told = run("--database", log.settings.database, "replay", "run", "t", *target)
        rows = json.loads(run("--database", log.settings.database, "replay", "show", "twice", "--json").stdout)

    assert 0 == told.exit_code, told.output
    assert "at temperature 0 all attempts are alike" in told.output
    assert {1, 2} == {row["attempt"] for row in rows}
