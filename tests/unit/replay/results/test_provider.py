"""What ``Results`` serves, rule by rule."""

import pytest

from tarx_toollog.replay.matching import Call
from tarx_toollog.replay.results import Results, Served
from tests.unit.replay.results.support import diverged, made, recorded, recording, serve

READ = made("read", name="a")
OTHER_READ = made("read", name="b")
WRITE = made("write", name="a", text="new")
OTHER_WRITE = made("write", name="b", text="new")
PRESS = made("press")

EDIT = recording(
    recorded(READ, "old text"), recorded(WRITE, "written"), recorded(READ, "new text"), recorded(OTHER_READ, "b")
)


def test_the_calls_of_the_log_get_the_results_of_the_log() -> None:
    expected = [("exact", "old text"), ("exact", "written"), ("exact", "new text"), ("exact", "b")]
    assert expected == serve(EDIT, *(call.call for call in EDIT.calls))


def test_the_nth_time_in_one_state_gives_the_nth_result() -> None:
    log = recording(recorded(READ, "queued"), recorded(READ, "running"), recorded(READ, "done"))

    assert [("exact", "queued"), ("exact", "running"), ("exact", "done")] == serve(log, READ, READ, READ)


def test_once_more_than_recorded_is_unclear_when_the_results_changed_by_themselves() -> None:
    log = recording(recorded(READ, "queued"), recorded(READ, "done"))

    assert ("diverged", "unclear") == serve(log, READ, READ, READ)[-1]


def test_a_loop_of_one_read_gets_its_one_result_for_ever() -> None:
    assert [("exact", "old text")] * 5 == serve(EDIT, *[READ] * 5)


def test_a_loop_of_one_write_diverges() -> None:
    assert [("exact", "old text"), ("exact", "written"), ("diverged", "other_writes")] == serve(
        EDIT, READ, WRITE, WRITE
    )


def test_a_read_that_was_left_out_before_a_write_does_not_shift_the_results() -> None:
    assert [("exact", "written"), ("exact", "new text")] == serve(EDIT, WRITE, READ)


def test_a_read_before_its_write_is_not_given_what_came_after_it() -> None:
    assert [("diverged", "other_writes")] == serve(EDIT, OTHER_READ)


def test_a_read_after_a_write_is_not_given_what_came_before_it() -> None:
    log = recording(recorded(OTHER_READ, "b"), recorded(WRITE, "written"))

    assert [("exact", "written"), ("diverged", "other_writes")] == serve(log, WRITE, OTHER_READ)


def test_reads_of_one_state_come_in_any_order() -> None:
    log = recording(recorded(READ, "a"), recorded(OTHER_READ, "b"))

    assert [("exact", "b"), ("exact", "a")] == serve(log, OTHER_READ, READ)


def test_two_writes_in_the_other_order_diverge() -> None:
    log = recording(recorded(WRITE, "1"), recorded(OTHER_WRITE, "2"))

    assert [("diverged", "other_writes")] == serve(log, OTHER_WRITE)


def test_a_failure_is_given_again_as_a_failure() -> None:
    log = recording(recorded(READ, "no such file", is_error=True), recorded(WRITE, "1"), recorded(READ, "new"))
    results = Results(log)

    assert Served("no such file", True, "exact") == results.serve(READ)
    assert Served("1", False, "exact") == results.serve(WRITE)
    assert Served("new", False, "exact") == results.serve(READ)


def test_a_write_that_failed_is_a_write_all_the_same() -> None:
    log = recording(recorded(WRITE, "disk full", is_error=True), recorded(READ, "old"))

    assert [("diverged", "other_writes")] == serve(log, READ)


def test_an_idempotent_call_made_again_right_away_counts_once() -> None:
    log = recording(recorded(PRESS, "on"), recorded(READ, "light"))

    assert [("exact", "on"), ("exact", "on"), ("exact", "light")] == serve(log, PRESS, PRESS, READ)
    twice = recording(recorded(PRESS, "on"), recorded(PRESS, "on"), recorded(READ, "light"))
    assert [("exact", "on"), ("exact", "light")] == serve(twice, PRESS, READ)


def test_an_idempotent_call_made_again_after_another_write_counts_again() -> None:
    log = recording(recorded(PRESS, "on"), recorded(WRITE, "1"), recorded(READ, "light"))

    assert ("diverged", "other_writes") == serve(log, PRESS, WRITE, PRESS)[-1]


def test_a_default_that_is_written_out_makes_no_other_call() -> None:
    assert [("exact", "old text")] == serve(EDIT, made("read", name="a", lines=10))


def test_a_call_that_means_the_same_to_the_tool_is_served_as_tolerant() -> None:
    log = recording(recorded(made("read", name="a", scale=2), "double"), recorded(READ, "all"))

    assert [("tolerant", "double")] == serve(log, made("read", name="a", scale=2.0))


def test_a_default_behind_a_reference_is_not_filled_in() -> None:
    log = recording(recorded(made("read", name="a", options={"deep": False}), "all"))

    assert [("diverged", "not_recorded")] == serve(log, made("read", name="a", options={}))


def test_a_default_in_another_notation_is_not_the_default_to_a_tool() -> None:
    assert [("diverged", "not_recorded")] == serve(EDIT, made("read", name="a", lines=10.0))


@pytest.mark.parametrize("name", ["Error log", "error log.", "error  log"])
def test_other_words_that_mean_the_same_to_a_person_are_not_served(name: str) -> None:
    log = recording(recorded(made("read", name="error log"), "3 lines"))

    assert [("diverged", "not_recorded")] == serve(log, made("read", name=name))


def test_a_whole_number_with_a_point_is_not_served_to_a_tool_that_may_break_on_it() -> None:
    log = recording(recorded(made("read", name="a", lines=3), "3 lines"))

    assert [("diverged", "not_recorded")] == serve(log, made("read", name="a", lines=3.0))


def test_a_tolerated_call_must_stand_behind_the_same_writes_too() -> None:
    log = recording(recorded(WRITE, "1"), recorded(made("read", name="a", scale=2), "double"))

    assert [("diverged", "not_recorded")] == serve(log, made("read", name="a", scale=2.0))


def test_calls_that_gave_the_same_result_once_are_not_taken_for_the_same() -> None:
    log = recording(
        recorded(READ, "empty"), recorded(OTHER_READ, "empty"), recorded(WRITE, "1"), recorded(READ, "full")
    )

    assert [("exact", "1"), ("diverged", "other_writes")] == serve(log, WRITE, OTHER_READ)


def test_an_attempt_is_over_once_it_has_diverged() -> None:
    results = Results(EDIT)
    first = results.serve(OTHER_WRITE)

    assert first is results.serve(READ)


def test_attempts_share_nothing() -> None:
    log = recording(recorded(READ, "queued"), recorded(READ, "done"))
    one, other = Results(log), Results(log)

    one.serve(READ)
    assert Served("queued", False, "exact") == other.serve(READ)


def test_a_declared_effect_wins_over_the_recorded_one() -> None:
    results = Results(recording(recorded(READ, "1"), recorded(READ, "2")), (), {"read": "write"})

    answers = [results.serve(READ), results.serve(READ)]
    assert [Served("1", False, "exact"), Served("2", False, "exact")] == answers
    assert not isinstance(results.serve(READ), Served)


def test_divergence_names_the_nearest_call_and_the_first_path_that_differs() -> None:
    log = recording(
        recorded(made("read", name="b", lines=5), "b"), recorded(made("read", name="a", lines=5, scale=1), "a")
    )
    end = diverged(log, made("read", name="a", lines=6, scale=1))

    assert ("not_recorded", "/lines") == (end.reason, end.path)
    assert log.calls[1] is end.nearest
    assert "no such call of read was recorded; the nearest differs at /lines" == end.why


def test_divergence_by_writes_names_the_first_write_that_differs() -> None:
    end = diverged(EDIT, WRITE, READ, OTHER_READ, OTHER_WRITE)
    assert ("not_recorded", "/name") == (end.reason, end.path)

    end = diverged(EDIT, READ, OTHER_READ)
    assert ("other_writes", None) == (end.reason, end.path)
    assert "write 1 before it was write in the log, and is nothing here" == end.why


def test_divergence_at_a_tool_that_was_never_called_has_no_nearest_call() -> None:
    end = diverged(EDIT, PRESS)

    assert ("not_recorded", None, None) == (end.reason, end.nearest, end.path)


def test_arguments_that_nobody_could_read_are_never_the_same_call() -> None:
    lax = recording(recorded(Call("read", None), "took it"))

    assert [("diverged", "unclear")] == serve(lax, Call("read", None))
