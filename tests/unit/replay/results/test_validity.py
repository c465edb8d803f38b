"""Calls that a tool refuses before it runs."""

from tarx_toollog.replay.matching import Call
from tarx_toollog.replay.results import Recording, Results, Served
from tests.unit.replay.results.support import made, recorded, recording, serve

READ = made("read", name="a")
NO_NAME = made("write", text="x")
WRITE = made("write", name="a")


def test_a_call_that_breaks_its_schema_gets_a_plain_error() -> None:
    results = Results(recording(recorded(READ, "text")))

    expected = Served("invalid call of read: /lines: 'ten' is not of type 'integer'", True, "schema_error")
    assert expected == results.serve(made("read", name="a", lines="ten"))
    assert Served("text", False, "exact") == results.serve(READ)


def test_it_gets_the_recorded_error_of_a_call_with_the_same_mistake() -> None:
    log = recording(recorded(made("read", name="log.txt", lines="ten"), "lines must be a number", is_error=True))

    assert [("schema_error", "lines must be a number")] == serve(log, made("read", name="b", lines="six"))


def test_a_recorded_error_that_quotes_its_own_call_is_not_given_to_another() -> None:
    log = recording(recorded(made("read", name="log.txt", lines="ten"), "bad lines: ten", is_error=True))

    expected = "invalid call of read: /lines: 'y' is not of type 'integer'"
    assert [("schema_error", expected)] == serve(log, made("read", name="a", lines="y"))


def test_a_recorded_error_is_not_given_for_another_mistake() -> None:
    log = recording(recorded(made("read", lines=100), "something is missing", is_error=True))

    expected = "invalid call of read: /lines: 'y' is not of type 'integer'"
    assert [("schema_error", expected)] == serve(log, made("read", name="a", lines="y"))


def test_a_refused_call_writes_nothing_so_a_model_that_avoids_it_goes_on() -> None:
    log = recording(recorded(NO_NAME, "name is missing", is_error=True), recorded(WRITE, "1"), recorded(READ, "new"))

    assert [("exact", "1"), ("exact", "new")] == serve(log, WRITE, READ)
    assert [("exact", "1"), ("exact", "name is missing"), ("exact", "new")] == serve(log, WRITE, NO_NAME, READ)


def test_a_tool_that_took_an_invalid_call_is_not_taken_to_validate() -> None:
    log = recording(recorded(NO_NAME, "written to a new file"), recorded(READ, "x"))

    assert [("exact", "written to a new file"), ("exact", "x")] == serve(log, NO_NAME, READ)
    assert [("diverged", "not_recorded")] == serve(log, made("write", text="y"))
    assert [("diverged", "other_writes")] == serve(log, READ)


def test_a_tool_that_was_not_offered_does_not_exist() -> None:
    log = recording(recorded(READ, "text"))

    expected = "invalid call of fly: there is no tool 'fly'"
    assert [("schema_error", expected), ("exact", "text")] == serve(log, made("fly"), READ)


def test_where_nobody_knows_what_was_offered_every_tool_may_exist() -> None:
    assert [("diverged", "not_recorded")] == serve(Recording((recorded(READ, "text"),), {}), made("fly"))


def test_arguments_that_cannot_be_read_are_refused() -> None:
    log = recording(recorded(READ, "text"))

    expected = "invalid call of read: the arguments are not a JSON object"
    assert [("schema_error", expected), ("exact", "text")] == serve(log, Call("read", None), READ)
