"""No wrong result is ever served: BFCL's 200 executable sessions, with its own classes as the judge."""

import pytest

from tarx_toollog.replay.results import suggest_effect
from tests.bfcl_sessions.serving import Played, Tally, guarded, play_sessions, tally, unguarded


@pytest.fixture(scope="module")
def played() -> Played:
    return play_sessions()


@pytest.fixture(scope="module")
def figures(played: Played) -> dict[str, Tally]:
    return tally(played, guarded)


def test_all_sessions_are_played_and_most_of_their_calls_write(played: Played) -> None:
    calls = [call for session in played["sessions"] for call in session["recorded"]]

    assert (200, 1142) == (len(played["sessions"]), len(calls))
    assert 600 < sum(played["effects"][call[0]] == "write" for call in calls) < 900


def test_a_session_that_is_made_again_as_it_was_gets_every_result(figures: dict[str, Tally]) -> None:
    assert {"right": 1142, "exact": 1142} == +figures["none"].calls


@pytest.mark.parametrize("kind", ["drop", "swap", "extra read", "wrong read", "wrong write", "other words"])
def test_no_wrong_result_is_served_after_a_change(figures: dict[str, Tally], kind: str) -> None:
    assert figures[kind].trajectories > 1000
    assert (0, 0) == (figures[kind].calls["wrong"], figures[kind].with_wrong)


def test_a_number_written_in_another_way_is_served_where_the_tool_cannot_tell(figures: dict[str, Tally]) -> None:
    calls = figures["other number"].calls

    assert calls["tolerant"] > 100
    assert 0 == calls["wrong"]


def test_before_the_change_every_result_is_served(figures: dict[str, Tally]) -> None:
    assert dict.fromkeys(figures, 0) == {kind: each.early_wrong for kind, each in figures.items()}


def test_results_that_are_still_right_are_served(figures: dict[str, Tally]) -> None:
    least = {"drop": 1300, "swap": 1600, "extra read": 2200, "wrong read": 130}

    assert {} == {kind: n for kind, n in least.items() if figures[kind].calls["right"] < n}


def test_effects_that_only_the_names_suggest_let_no_wrong_result_through_either(played: Played) -> None:
    suggested = {**played, "effects": {tool: suggest_effect(tool) for tool in played["effects"]}}

    assert 0 == sum(each.calls["wrong"] for each in tally(suggested, guarded).values())


def test_without_the_guard_these_changes_let_wrong_results_through(played: Played) -> None:
    wrong = {kind: each.calls["wrong"] for kind, each in tally(played, unguarded).items()}

    assert min(wrong["drop"], wrong["swap"], wrong["wrong write"]) > 100
