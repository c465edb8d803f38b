"""A gate on the share of right chains: three verdicts, each with its exit code, and what to do next."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from statsmodels.stats.proportion import proportion_confint  # type: ignore[import-untyped]

from tarx_toollog.replay.running.runner import replay
from tarx_toollog.replay.suites.freeze import build
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.replays import Replays
from tests.integration.test_replay import CHAIN, request
from tests.unit.cli.samples import run
from tests.unit.replay.support import EVERY_SPLIT, Chat, Json, calling, fake_model, last_user, results_since

USERS = [f"user {chr(97 + number // 26)}{chr(97 + number % 26)}" for number in range(40)]
CLEAR = 6  # turns that a weak model can do


def weak(body: Json) -> Json:
    """Answer as in the log to a few users; take the wrong tool for all others."""
    known = last_user(body) in USERS[:CLEAR]
    return CHAIN[results_since(body)] if known or results_since(body) != 1 else calling(("save", {"title": "Porto"}))


def good(body: Json) -> Json:
    """Answer as in the log."""
    return CHAIN[results_since(body)]


def middling(body: Json) -> Json:
    """Answer as in the log to all but a few users."""
    is_wrong = last_user(body) in USERS[:CLEAR] and results_since(body) == 0
    return calling(("save", {"title": "?"})) if is_wrong else CHAIN[results_since(body)]


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ToolLog]:
    """A log of 40 turns, each a conversation, frozen and replayed with each model."""
    with ToolLog.open(tmp_path_factory.mktemp("gate") / "t.db", read_only=False) as opened:
        for user in USERS:
            Chat(opened, user).turn(user, *CHAIN)
        build(opened, "t", EVERY_SPLIT)
        for model in (good, weak, middling):
            replayed(opened, model)
        yield opened


def replayed(log: ToolLog, model: Callable[[Json], Json]) -> None:
    with fake_model(model) as served:
        replay(log, request(served, model.__name__))


def gate(log: ToolLog, model: Callable[[Json], Json], *arguments: str) -> Any:
    return run("--database", log.settings.database, "replay", "gate", model.__name__, *arguments)


@pytest.mark.parametrize(
    ("model", "code", "says", "advice"),
    [
        (good, 0, "PASS: at least 85 % of chains agree with the log", "next: keep the model"),
        (weak, 4, "FAIL: less than 85 % of chains agree with the log", "next: fine-tuning is worth it"),
        (middling, 7, "INCONCLUSIVE: it is not clear whether 85 % of chains", "next: the share is too near"),
    ],
)
def test_each_verdict_has_its_code_and_says_what_to_do(
    log: ToolLog, model: Callable[[Json], Json], code: int, says: str, advice: str
) -> None:
    told = gate(log, model)

    assert code == told.exit_code, told.output
    assert told.output.startswith(says)
    assert advice in told.output
    assert "agreement with the log, not accuracy" in told.output


def test_an_open_verdict_says_about_how_many_chains_would_decide(log: ToolLog) -> None:
    found = json.loads(gate(log, middling, "--min-accuracy", "0.8", "--json").stdout)

    assert ("inconclusive", 34, 40) == (found["verdict"], found["chains"]["numerator"], found["chains"]["denominator"])
    enough = next(n for n in count(1) if proportion_confint(0.85 * n, n, method="wilson")[0] >= 0.8)
    assert enough - 40 == found["chains_to_decide"]
    assert 0.5 < found["probability"] < 0.95


@pytest.mark.parametrize(("choice", "code"), [("pass", 0), ("fail", 4), ("error", 7)])
def test_what_an_open_verdict_means_to_a_script_is_its_owners_choice(log: ToolLog, choice: str, code: int) -> None:
    assert code == gate(log, middling, "--on-inconclusive", choice).exit_code


def test_turns_of_one_conversation_count_for_less(tmp_path: Path) -> None:
    with ToolLog.open(tmp_path / "t.db", read_only=False) as log:
        for number in range(8):
            chat = Chat(log, f"chat {number}")
            for user in USERS[number * 5 : number * 5 + 5]:
                chat.turn(user, *CHAIN)
        build(log, "t", EVERY_SPLIT)
        replayed(log, good)

        found = json.loads(gate(log, good, "--json").stdout)

    # 40 of 40 would pass; 8 conversations in which all is right leave room for worse.
    assert ("inconclusive", 8.0, 8) == (found["verdict"], found["chains"]["n_effective"], found["clusters"])


def test_a_run_that_is_not_finished_has_a_sequential_gate_alone(log: ToolLog) -> None:
    stopped = Replays(log).run("weak").id
    Replays(log).set_status(stopped, "aborted")
    try:
        refused, told = gate(log, weak), gate(log, weak, "--sequential")
    finally:
        Replays(log).set_status(stopped, "finished")

    assert (2, True) == (refused.exit_code, "toollog replay run --resume weak" in refused.output)
    assert (4, True) == (told.exit_code, "beta-binomial confidence sequence" in told.output)


def test_a_sequential_gate_takes_one_chain_of_each_conversation(tmp_path: Path) -> None:
    with ToolLog.open(tmp_path / "t.db", read_only=False) as log:
        for number in range(20):
            Chat(log, f"chat {number}").turn(USERS[number], *CHAIN)
        chat = Chat(log, "long")
        for user in USERS[20:]:
            chat.turn(user, *CHAIN)
        build(log, "t", EVERY_SPLIT)
        replayed(log, good)

        found = json.loads(gate(log, good, "--sequential", "--json").stdout)

    assert (21, 21) == (found["chains"]["numerator"], found["chains"]["denominator"])


@pytest.mark.parametrize("option", [("--min-accuracy", "85"), ("--min-accuracy", "0"), ("--confidence", "1")])
def test_a_share_that_is_none_is_refused(log: ToolLog, option: tuple[str, str]) -> None:
    refused = gate(log, good, *option)

    assert (2, True) == (refused.exit_code, "0.85 is 85 of 100" in refused.output)


def test_too_many_steps_without_an_answer_are_no_verdict(tmp_path: Path) -> None:
    with ToolLog.open(tmp_path / "t.db", read_only=False) as log:
        for user in USERS[:4]:
            Chat(log, user).turn(user, *CHAIN)
        build(log, "t", EVERY_SPLIT)
        replayed(log, good)
        with log.engine.begin() as connection:
            connection.exec_driver_sql("DELETE FROM score WHERE trial_id = 1")
            connection.exec_driver_sql("UPDATE trial SET status = 'infra_error' WHERE id = 1")

        told = gate(log, good)

    assert (5, True) == (told.exit_code, told.output.startswith("NOT VALID"))
    assert "toollog replay run --resume good" in told.output


@pytest.mark.parametrize(("model", "verdict", "code"), [(good, "pass", 0), (weak, "fail", 4)])
def test_a_run_ends_when_its_gate_is_clear(
    tmp_path: Path, model: Callable[[Json], Json], verdict: str, code: int
) -> None:
    with ToolLog.open(tmp_path / "t.db", read_only=False) as log:
        for user in USERS:
            Chat(log, user).turn(user, *CHAIN)
        build(log, "t", EVERY_SPLIT)
        with fake_model(model) as served:
            wanted = replace(request(served, model.__name__), until=0.7)
            replay(log, wanted)
            asked = len(served.requests)
            replay(log, replace(wanted, resume=True))
        told = gate(log, model, "--sequential", "--min-accuracy", "0.7", "--json")
        others = [gate(log, model), gate(log, model, "--sequential", "--min-accuracy", "0.8")]

    found = json.loads(told.stdout)
    assert (code, verdict) == (told.exit_code, found["verdict"])
    assert asked == found["chains"]["denominator"] * len(CHAIN) < len(USERS) * len(CHAIN)
    assert [2, 2] == [one.exit_code for one in others]
    assert "--sequential --min-accuracy 0.7" in others[0].output
    assert asked == len(served.requests)
