"""Two models replay the same scenarios, and the command line says which is better."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog.replay.running.runner import replay
from tarx_toollog.replay.suites.freeze import build
from tarx_toollog.store.log import ToolLog
from tests.integration.test_replay import CHAIN, request
from tests.unit.cli.samples import run
from tests.unit.replay.support import EVERY_SPLIT, Chat, Json, calling, fake_model, last_user, results_since

USERS = [f"user {letter}{letter}" for letter in "abcdefghijklmnop"]  # digits alone would make them one cluster


def base(body: Json) -> Json:
    """Answer as in the log to three users; take the wrong tool for all others."""
    known = last_user(body) in USERS[:3]
    return CHAIN[results_since(body)] if known or results_since(body) != 1 else calling(("save", {"title": "Porto"}))


def tuned(body: Json) -> Json:
    """Answer as in the log, but for one user."""
    return CHAIN[results_since(body)] if last_user(body) != USERS[0] else calling(("recall", {"query": "work"}))


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ToolLog]:
    """A log of 16 turns, frozen and replayed with both models."""
    with ToolLog.open(tmp_path / "t.db", read_only=False) as opened:
        for user in USERS:
            Chat(opened, user).turn(user, *CHAIN)
        build(opened, "t", EVERY_SPLIT)
        for name, model in (("base", base), ("tuned", tuned)):
            with fake_model(model) as served:
                replay(opened, request(served, name))
        yield opened


def compare(log: ToolLog, *arguments: str) -> Any:
    return run("--database", log.settings.database, "replay", "compare", *arguments)


def test_the_model_that_is_right_more_often_is_better_and_its_regressions_come_first(log: ToolLog) -> None:
    told = compare(log, "base", "tuned")

    assert 0 == told.exit_code, told.output
    assert told.output.startswith("tuned is better than base: +35.9 to +97.5 points (95 %, 16 chains")
    assert "chains          2         1        13        0   +75.0 [+35.9, +97.5]" in told.output
    assert told.output.index("regressions: right before, wrong now") < told.output.index("gains: wrong before")


def test_the_figures_are_the_same_as_json(log: ToolLog) -> None:
    found = json.loads(compare(log, "base", "tuned", "--json").stdout)

    assert ("better", True, 0, []) == (found["verdict"], found["valid"], found["chains_unpaired"], found["doubts"])
    assert (2, 1, 13, 0, 0.75) == tuple(
        found["chains"][key] for key in ("both", "only_first", "only_second", "neither", "difference")
    )
    assert ["base", "tuned"] == [found[place]["name"] for place in ("first", "second")]
    assert 13 == len(found["gains"])


def test_a_run_beside_itself_is_not_told_apart(log: ToolLog) -> None:
    assert compare(log, "base", "base").output.startswith("base and base are not told apart: -")


def test_runs_of_different_scenarios_are_not_compared(log: ToolLog) -> None:
    build(log, "others", EVERY_SPLIT)
    with fake_model(base) as served:
        replay(log, request(served, "other", tag="others"))

    refused = compare(log, "base", "other")

    assert (2, True) == (refused.exit_code, "replay one set with both models" in refused.output)


def test_an_unknown_run_and_a_margin_without_sense_are_refused(log: ToolLog) -> None:
    assert [3, 2] == [
        compare(log, "base", "nobody").exit_code,
        compare(log, "base", "tuned", "--margin", "-1").exit_code,
    ]
