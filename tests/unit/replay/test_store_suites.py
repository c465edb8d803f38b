from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from tarx_toollog.errors import ConfigError, NothingMatchedError, StoreError
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.suites import NewScenario, Suites


@pytest.fixture
def suites(tmp_path: Path) -> Iterator[Suites]:
    with ToolLog.open(tmp_path / "t.db", read_only=False) as log:
        yield Suites(log)


def scenarios(*numbers: int) -> Sequence[NewScenario]:
    return [
        NewScenario(n.to_bytes(17, "big"), "c", 1, "a>b", 2, "bronze", {"n": n, "text": "\0\ud83d"}) for n in numbers
    ]


def test_scenarios_come_in_the_order_of_their_hashes_and_as_they_went_in(suites: Suites) -> None:
    assert suites.freeze("t", scenarios(3, 1, 2, 1), {})
    assert [one.definition for one in scenarios(1, 2, 3)] == [row.definition for row in suites.scenarios("t")]
    assert [1, 2] == [row.definition["n"] for row in suites.scenarios("t", limit=2)]


def test_a_name_means_one_suite_for_good(suites: Suites) -> None:
    weighted = [replace(one, weight=2.5, stratum="deep", cluster="k") for one in scenarios(1)]
    assert suites.freeze("t", weighted, {"n": 1})
    assert not suites.freeze("t", weighted, {"n": 2})
    for other in (scenarios(1), scenarios(1, 2), ()):
        with pytest.raises(ConfigError, match="holds other scenarios"):
            suites.freeze("t", other, {})
    (row,) = suites.scenarios("t")
    assert (2.5, "deep", "k") == (row.weight, row.stratum, row.cluster)
    suite = suites.suite("t")
    assert suite is not None
    assert (1, 2, {"n": 1}) == (suite.n_scenarios, suite.n_steps, suite.made)


def test_the_same_scenarios_may_be_in_two_suites(suites: Suites) -> None:
    for name in ("t", "u"):
        suites.freeze(name, scenarios(1), {})
    assert {"t": (1, 2), "u": (1, 2)} == {row["tag"]: (row["scenarios"], row["steps"]) for row in suites.tags()}
    first, second = suites.suite("t"), suites.suite("u")
    assert first is not None
    assert second is not None
    assert first.hash == second.hash
    assert suites.suite("v") is None


def test_scenarios_of_an_earlier_moment_are_only_those_that_existed(suites: Suites) -> None:
    suites.freeze("t", scenarios(1), {})
    suite = suites.suite("t")
    assert suite is not None
    assert [1] == [row.definition["n"] for row in suites.scenarios("t", until=suite.created_at + timedelta(minutes=1))]
    with pytest.raises(NothingMatchedError):
        suites.scenarios("t", until=suite.created_at - timedelta(days=1))


def test_a_read_only_log_refuses_to_freeze_in_words(tmp_path: Path) -> None:
    ToolLog.open(tmp_path / "t.db", read_only=False).close()
    with ToolLog.open(tmp_path / "t.db") as log, pytest.raises(StoreError):
        Suites(log).freeze("t", scenarios(1), {})
