"""The same model asked again: what flips by itself, and the doubt that it casts on a difference."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog.replay.running.noise import noise, noise_text
from tarx_toollog.replay.running.runner import replay
from tarx_toollog.replay.suites.freeze import build
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.replays import Replays
from tests.integration.test_replay import CHAIN, request
from tests.unit.cli.samples import run
from tests.unit.replay.support import EVERY_SPLIT, Chat, Json, calling, fake_model, last_user, results_since

USERS = [f"user {number}" for number in range(14)]
FLIPS = 3


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ToolLog]:
    with ToolLog.open(tmp_path / "t.db", read_only=False) as opened:
        for user in USERS:
            Chat(opened, user).turn(user, *CHAIN)
        build(opened, "t", EVERY_SPLIT)
        yield opened


def restless() -> Callable[[Json], Json]:
    """Return a model that answers some users otherwise the second time."""
    seen: set[str] = set()

    def answer(body: Json) -> Json:
        user, step = last_user(body), results_since(body)
        is_again = f"{user} {step}" in seen
        seen.add(f"{user} {step}")
        return calling(("save", {"title": "?"})) if is_again and step == 1 and user in USERS[:FLIPS] else CHAIN[step]

    return answer


def replayed(log: ToolLog, *arguments: str) -> Any:
    return run("--database", log.settings.database, "replay", *arguments)


def test_what_flips_by_itself_is_counted(log: ToolLog) -> None:
    with fake_model(restless()) as model:
        replay(log, request(model, "base"))
        told = replayed(log, "noise", "base", "--share", "1", "--json")

    found = json.loads(told.stdout)
    assert ("base", "base-again") == (found["run"], found["again"])
    assert (FLIPS, len(USERS)) == (found["chains_flipped"]["numerator"], found["chains_flipped"]["denominator"])
    assert (FLIPS, 3 * len(USERS)) == (found["steps_flipped"]["numerator"], found["steps_flipped"]["denominator"])


def test_each_attempt_counts_and_what_hangs_together_is_told(log: ToolLog) -> None:
    with fake_model(restless()) as model:
        replay(log, request(model, "base", attempts=2))
        told = replayed(log, "noise", "base", "--share", "1", "--json").stdout
    text = noise_text(noise(log, "base-again"))

    chains = json.loads(told)["chains_flipped"]
    # The second attempt of the first run was already the second time.
    assert (FLIPS, 2 * len(USERS)) == (chains["numerator"], chains["denominator"])
    assert "wilson, design effect" == chains["method"]
    assert chains["n_effective"] < len(USERS)
    assert "counted at each of 2 attempts" in text
    assert "have nothing to do with each other" in text


def test_a_part_is_asked_at_least_ten_scenarios_and_twice_is_another_run(log: ToolLog) -> None:
    with fake_model(lambda body: CHAIN[results_since(body)]) as model:
        replay(log, request(model, "base"))
        told = [replayed(log, "noise", "base", "--share", "0.2") for _ in range(2)]

    assert [0, 0] == [one.exit_code for one in told], told[0].output
    assert "0 of 10 chains another verdict: 0.0 %" in told[0].output
    assert {"base", "base-again", "base-again-2"} == {one.name for one in Replays(log).runs()}


def test_a_difference_that_is_no_larger_than_the_noise_is_doubted(log: ToolLog) -> None:
    def other(body: Json) -> Json:
        is_wrong = last_user(body) == USERS[-1] and results_since(body) == 0
        return calling(("save", {"title": "?"})) if is_wrong else CHAIN[results_since(body)]

    with fake_model(restless()) as model:
        replay(log, request(model, "base"))
        with fake_model(other) as served:
            replay(log, request(served, "other"))
        before = replayed(log, "compare", "base", "other").output
        replayed(log, "noise", "base", "--share", "1")
        after = replayed(log, "compare", "base", "other").output

    assert "asked again" not in before
    assert f"doubt: asked again, base gives another verdict on {FLIPS} of {len(USERS)} chains: that is as much" in after
