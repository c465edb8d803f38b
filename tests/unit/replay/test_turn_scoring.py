"""The verdict on a turn that a model made by itself, ending by ending. Values are strict, standard, lenient."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from tarx_toollog.replay.matching import Rule
from tarx_toollog.replay.results import SIMULATORS, Recording, Simulated
from tarx_toollog.replay.turns.course import LoopOptions
from tarx_toollog.replay.turns.turn_scoring import judge_turn, score_turns
from tarx_toollog.store.replays import Answer, TrialRow
from tests.unit.replay.turns import Logged, calls, code, found, judged, says, turn, values

FIND = Logged("find_user", {"name": "Ann"}, '{"id": "u-4711"}')
NOTE = Logged("read_note", {"name": "plan"}, "three steps")
OTHER_NOTE = ("read_note", {"name": "budget"})
SEND = Logged("send", {"to": "u-4711", "text": "Hello"}, "sent")
PAY = Logged("pay", {"to": "u-4711", "amount": 5}, "paid")
TURN = turn([FIND], [NOTE], [SEND])
RIGHT, WRONG, UNKNOWN = (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), (None, None, None)


class Directory:
    """Knows two names for Ann, each with an id of its own, and sends whatever it is given."""

    tools = frozenset({"find_user", "send"})

    def make(self, recording: Recording) -> "Directory":
        return self

    def call(self, name: str, arguments: Mapping[str, Any]) -> Simulated:
        ids = {"Ann": "u-4711", "Annie": "u-99"}
        return Simulated("sent" if name == "send" else json.dumps({"id": ids[arguments["name"]]}))


def test_the_calls_of_the_log_and_then_a_text_are_right() -> None:
    scores = judged(TURN, calls(FIND), calls(NOTE), calls(SEND), says())

    assert values(scores) == RIGHT
    assert scores["chain"].detail == {
        "ending": "answered",
        "findings": [],
        "calls": [
            {"step": 1, "name": "find_user", "how": "exact"},
            {"step": 2, "name": "read_note", "how": "exact"},
            {"step": 3, "name": "send", "how": "exact"},
        ],
    }


def test_questions_may_be_asked_at_once_and_in_any_order() -> None:
    assert values(judged(TURN, calls(NOTE, FIND), calls(SEND), says())) == RIGHT


def test_a_value_that_is_used_before_the_result_that_holds_it_is_in_the_wrong_order() -> None:
    scores = judged(TURN, calls(NOTE), calls(FIND, SEND), says())

    assert (values(scores), code(scores)) == (WRONG, "wrong_order")


def test_a_value_that_the_user_had_said_needs_no_result() -> None:
    told = turn([FIND], [NOTE], [SEND], user="Write to Ann, u-4711.")

    assert values(judged(told, calls(FIND, NOTE, SEND), says())) == RIGHT


def test_a_question_asked_again_is_waste() -> None:
    scores = judged(TURN, calls(FIND), calls(FIND), calls(NOTE), calls(SEND), says())

    assert (values(scores), code(scores)) == ((0.0, 0.0, 1.0), "redundant_call")


def test_a_write_made_again_is_wrong_although_it_diverges() -> None:
    scores = judged(TURN, calls(FIND), calls(NOTE), calls(SEND), calls(SEND))

    assert (values(scores), code(scores)) == (WRONG, "extra_call")


def test_an_answer_before_the_last_call_is_stopping_early() -> None:
    scores = judged(TURN, calls(FIND), calls(NOTE), says())

    assert (values(scores), code(scores)) == (WRONG, "stopped_early")


def test_a_call_that_was_left_out_in_the_middle_is_missing() -> None:
    scores = judged(TURN, calls(FIND), calls(SEND), says())

    assert (values(scores), code(scores)) == (WRONG, "missing_call")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Done.", "missing_call"),
        ("I'm sorry, I can't send messages.", "refused"),
        ("Which Ann do you mean?", "asked_instead"),
    ],
)
def test_a_text_without_any_call_says_why_they_are_missing(text: str, expected: str) -> None:
    scores = judged(TURN, says(text))

    assert (values(scores), code(scores)) == (WRONG, expected)


def test_an_empty_answer_at_the_end_is_wrong() -> None:
    scores = judged(TURN, calls(FIND), calls(NOTE), calls(SEND), says(""))

    assert (values(scores), code(scores)) == (WRONG, "empty_answer")


def test_the_same_result_for_the_same_call_three_times_is_a_loop() -> None:
    scores = judged(TURN, calls(FIND), calls(FIND), calls(FIND))

    assert (values(scores), code(scores)) == (WRONG, "looped")
    assert scores["chain"].detail["ending"] == "looped"


def test_what_comes_in_the_same_answer_behind_a_loop_does_not_end_it() -> None:
    assert code(judged(TURN, calls(FIND, FIND, FIND, NOTE))) == "looped"


def test_what_the_log_does_three_times_is_no_loop() -> None:
    log = turn([NOTE], [NOTE], [NOTE])

    assert values(judged(log, calls(NOTE), calls(NOTE), calls(NOTE), says())) == RIGHT
    assert code(judged(log, calls(NOTE), calls(NOTE), calls(NOTE), calls(NOTE))) == "looped"


def test_a_turn_that_does_not_end_is_over_after_four_steps_more_than_the_log_has() -> None:
    texts = (f"{number}" for number in range(99))
    refused = [calls(("send", {"to": text})) for text in texts]

    assert judged(TURN, *refused[:7]) == {}
    scores = judged(TURN, *refused[:8])
    assert (values(scores), code(scores)) == (WRONG, "max_steps")


def test_the_allowed_steps_can_be_given() -> None:
    assert code(judged(TURN, calls(FIND), calls(NOTE), max_steps=2)) == "max_steps"


def test_another_question_than_those_of_the_log_leaves_the_verdict_open_but_for_the_strict_profile() -> None:
    scores = judged(TURN, calls(FIND), calls(OTHER_NOTE))

    assert (values(scores), code(scores)) == ((0.0, None, None), "diverged_undetermined")
    assert scores["chain"].detail["divergence"] == {
        "reason": "not_recorded",
        "call": {"name": "read_note", "arguments": {"name": "budget"}},
        "nearest": {"name": "read_note", "arguments": {"name": "plan"}},
        "path": "/name",
        "why": "no such call of read_note was recorded; the nearest differs at /name",
    }


def test_a_right_write_whose_result_nobody_knows_leaves_the_verdict_open() -> None:
    log = turn([Logged("send", {"to": "Ann", "text": "I am late."}, "sent")])
    scores = judged(log, calls(("send", {"to": "Ann", "text": "i am late"})))

    assert (values(scores), code(scores)) == ((0.0, None, None), "diverged_undetermined")


def test_a_write_of_the_same_facts_in_other_words_is_open_for_the_lenient_profile_alone() -> None:
    log = turn([Logged("send", {"to": "Ann", "text": "the train at 9:40 is late again"}, "sent")])
    scores = judged(log, calls(("send", {"to": "Ann", "text": "again the train at 9:40 is quite late"})))

    assert (values(scores), code(scores)) == ((0.0, 0.0, None), "arg_other_words")


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (("send", {"to": "u-4712", "text": "Hello"}), "hallucinated_value"),
        (("send", {"to": "Ann", "text": "Hello"}), "wrong_reference"),
        (("pay", {"to": "u-4711", "amount": 5}), "extra_call"),
    ],
)
def test_a_wrong_write_is_wrong_whatever_would_have_come_back(made: tuple[str, Any], expected: str) -> None:
    scores = judged(TURN, calls(FIND), calls(NOTE), calls(made))

    assert (values(scores), code(scores)) == (WRONG, expected)
    assert scores["chain"].detail["ending"] == "diverged"


def test_a_wrong_write_beside_an_unknown_question_is_wrong_too() -> None:
    scores = judged(TURN, calls(FIND), calls(NOTE), calls(OTHER_NOTE, PAY))

    assert (values(scores), code(scores)) == (WRONG, "extra_call")


def test_writes_in_another_order_are_wrong_although_the_first_diverges() -> None:
    scores = judged(turn([FIND], [PAY], [SEND]), calls(FIND), calls(SEND))

    assert (values(scores), code(scores)) == (WRONG, "wrong_order")


def test_two_writes_that_changed_places_are_one_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SIMULATORS._items, "directory", Directory())
    scores = judged(turn([FIND], [PAY], [SEND]), calls(FIND), calls(SEND), calls(PAY), simulators=("directory",))

    assert (values(scores), found(scores)) == (WRONG, ["wrong_order"])


def test_writes_that_were_logged_at_once_are_not_wrong_the_other_way_round() -> None:
    scores = judged(turn([FIND], [PAY, SEND]), calls(FIND), calls(SEND, PAY), says())

    assert ((None, None, None), "diverged_undetermined") == (values(scores), code(scores))


def test_a_refused_write_before_the_turn_diverged_may_still_have_been_mended() -> None:
    scores = judged(TURN, calls(FIND), calls(("send", {"to": "u-4711"})), calls(OTHER_NOTE))

    assert (values(scores), found(scores)) == ((0.0, None, None), ["extra_call"])


def test_a_value_used_too_early_is_wrong_also_when_the_turn_diverges_later() -> None:
    scores = judged(TURN, calls(FIND, SEND), calls(OTHER_NOTE))

    assert (values(scores), code(scores), found(scores)) == (WRONG, "wrong_order", ["wrong_order", "extra_call"])


def test_a_tool_that_was_not_offered_is_wrong_even_when_the_rest_is_right() -> None:
    scores = judged(TURN, calls(("call_ann", {})), calls(FIND), calls(NOTE), calls(SEND), says())

    assert (values(scores), code(scores)) == (WRONG, "hallucinated_tool")


def test_a_refused_call_that_is_then_made_rightly_is_waste() -> None:
    scores = judged(TURN, calls(FIND), calls(NOTE), calls(("send", {"to": "u-4711"})), calls(SEND), says())

    assert (values(scores), code(scores)) == ((0.0, 0.0, 1.0), "redundant_call")
    assert [call["how"] for call in scores["chain"].detail["calls"]] == ["exact", "exact", "schema_error", "exact"]


def test_a_refused_call_that_is_not_made_rightly_is_no_recovery() -> None:
    scores = judged(TURN, calls(FIND), calls(NOTE), calls(("send", {"to": "u-4711"})), says("I sent it."))

    assert (values(scores), code(scores)) == (WRONG, "no_recovery_after_error")
    assert found(scores) == ["no_recovery_after_error", "missing_required"]


FAILED = Logged("read_note", {"name": "plans"}, "no such note", is_error=True)


def test_an_error_of_the_log_comes_again_and_who_recovers_like_the_log_is_right() -> None:
    log = turn([FAILED], [NOTE])

    assert values(judged(log, calls(FAILED), calls(NOTE), says())) == RIGHT


def test_who_does_without_the_call_that_failed_in_the_log_is_right() -> None:
    assert values(judged(turn([FAILED], [NOTE]), calls(NOTE), says())) == RIGHT


def test_who_gives_up_at_the_error_of_the_log_does_not_recover() -> None:
    scores = judged(turn([FAILED], [NOTE]), calls(FAILED), says("There is no such note."))

    assert (values(scores), code(scores)) == (WRONG, "no_recovery_after_error")


def test_a_failure_that_ends_the_turn_of_the_log_is_expected() -> None:
    log = turn([Logged("send", SEND.arguments, "no connection", is_error=True)])

    assert values(judged(log, calls(SEND), says("That failed."))) == RIGHT
    assert code(judged(log, says("Done."))) == "missing_call"


def test_what_a_corrected_step_expects_is_to_be_done_once() -> None:
    log = turn([FAILED], [NOTE], expected={1: [NOTE]})

    assert values(judged(log, calls(NOTE), says())) == RIGHT
    assert values(judged(log, calls(FAILED), calls(NOTE), says())) == (0.0, 0.0, 1.0)


def test_arguments_that_are_no_json_are_the_fault_also_of_the_server_that_refuses_them() -> None:
    broken = Answer(outcome="upstream_error", error="Failed to parse tool call arguments")
    scores = judged(TURN, calls(FIND), calls(("send", '{"to"')), broken)

    assert (values(scores), code(scores)) == (WRONG, "malformed_json")
    assert found(scores) == ["malformed_json", "missing_call"]


def test_an_answer_that_the_server_could_not_make_is_a_server_error() -> None:
    scores = judged(TURN, calls(FIND), Answer(outcome="upstream_error", error="500"))

    assert (values(scores), code(scores)) == (WRONG, "server_error")


def test_a_call_that_was_cut_off_is_truncated() -> None:
    scores = judged(TURN, calls(FIND), calls(("send", '{"to"'), cut=True), says())

    assert (values(scores), code(scores)) == (WRONG, "truncated")


@pytest.mark.parametrize(("last", "would_have_been_right"), [(SEND, True), (PAY, False)])
def test_a_call_that_leaked_into_the_text_is_not_made(last: Logged, would_have_been_right: bool) -> None:
    scores = judged(TURN, calls(FIND), calls(NOTE), calls(last, leaked=True))

    assert (values(scores), code(scores)) == (WRONG, "unparsed_tool_call")
    assert found(scores) == ["unparsed_tool_call", "missing_call"]
    assert scores["chain"].detail["findings"][0]["would_have_been_right"] is would_have_been_right
    assert [call["name"] for call in scores["chain"].detail["calls"]] == ["find_user", "read_note"]


def test_a_call_where_a_text_is_expected_is_unneeded_though_nobody_knows_its_result() -> None:
    scores = judged(turn(), calls(NOTE))

    assert (values(scores), code(scores)) == (WRONG, "unneeded_call")
    assert values(judged(turn(), says())) == RIGHT


def test_a_call_where_a_question_is_expected_should_have_been_asked() -> None:
    scores = judged(turn([FIND], asks=True), calls(FIND), calls(SEND))

    assert (values(scores), code(scores)) == (WRONG, "should_have_asked")
    assert values(judged(turn([FIND], asks=True), calls(FIND), says("To which Ann?"))) == RIGHT


def test_any_of_several_right_answers_will_do_and_the_nearest_one_counts() -> None:
    log = turn([FIND], [NOTE], [SEND], alternatives={2: [[]], 3: [[SEND], [PAY]]})

    assert values(judged(log, calls(FIND), calls(SEND), says())) == RIGHT
    scores = judged(log, calls(FIND), calls(("pay", {"to": "u-4711", "amount": 6})))
    assert (values(scores), code(scores)) == (WRONG, "arg_value")


def test_another_answer_may_be_right_at_several_steps() -> None:
    log = turn([NOTE], [FIND], [Logged("send", {"to": "Ann", "text": "Hello"})], alternatives={1: [[]], 2: [[]]})

    assert values(judged(log, calls(("send", {"to": "Ann", "text": "Hello"})), says())) == RIGHT


def test_a_rule_holds_in_the_turn_too() -> None:
    log = turn([FIND], [SEND], rules={"send": {"/text": Rule("present")}})
    other = ("send", {"to": "u-4711", "text": "Good day"})

    assert values(judged(log, calls(FIND), calls(other))) == UNKNOWN


@pytest.mark.parametrize(("to", "verdict"), [("u-99", 1.0), ("u-4711", 0.0)])
def test_what_a_tool_says_this_time_is_right_and_not_the_logged_value(
    monkeypatch: pytest.MonkeyPatch, to: str, verdict: float
) -> None:
    monkeypatch.setitem(SIMULATORS._items, "directory", Directory())
    log = turn([FIND], [SEND], rules={"find_user": {"/name": Rule("present")}})
    answers = (calls(("find_user", {"name": "Annie"})), calls(("send", {"to": to, "text": "Hello"})), says())
    scores = judged(log, *answers, simulators=("directory",))

    # The sending of the log stands behind another question, but behind the same writes: it is the same call.
    assert ["simulated", "exact" if to == "u-4711" else "simulated"] == [
        call["how"] for call in scores["chain"].detail["calls"]
    ]
    assert (scores["chain"].value, code(scores)) == (verdict, None if verdict else "hallucinated_value")


def test_an_unavailable_tool_lets_the_turn_go_on_and_marks_it() -> None:
    answers = (calls(FIND), calls(OTHER_NOTE), calls(NOTE), calls(SEND), says())
    scores = judged(TURN, *answers, on_divergence="error-result")

    assert (values(scores), found(scores)) == ((0.0, 1.0, 1.0), ["extra_call"])
    assert scores["chain"].detail["exploratory"] is True
    assert [call["how"] for call in scores["chain"].detail["calls"]] == ["exact", "unknown", "exact", "exact"]


def test_giving_up_at_an_unavailable_tool_is_no_recovery() -> None:
    scores = judged(TURN, calls(FIND), calls(OTHER_NOTE), says("No luck."), on_divergence="error-result")

    assert (values(scores), code(scores)) == (WRONG, "no_recovery_after_error")


def test_a_turn_that_is_not_over_has_no_verdict() -> None:
    assert judged(TURN, calls(FIND), calls(NOTE)) == {}


def test_what_comes_behind_the_end_of_a_turn_does_not_count() -> None:
    assert values(judged(TURN, calls(FIND), calls(NOTE), calls(SEND), says(), calls(PAY))) == RIGHT


def trial(number: int, step_no: int, answer: Answer | None, status: Any = "ok", attempt: int = 1) -> TrialRow:
    return TrialRow(number, 7, step_no, attempt, status, "it broke", answer)


def test_the_scores_of_a_turn_stand_on_its_last_trial_whatever_order_they_come_in() -> None:
    options = LoopOptions(simulators=())
    answers = (calls(FIND), calls(NOTE), calls(SEND), says())
    first = [trial(number, number, answer) for number, answer in enumerate(answers, start=1)]
    second = [trial(11, 1, answers[0], attempt=2), trial(12, 2, None, "model_error", attempt=2)]
    third = [trial(21, 1, answers[0], attempt=3), trial(22, 2, None, "infra_error", attempt=3)]
    scores = score_turns({7: TURN}, [*third, *reversed(first), *second], options)

    assert scores.pop(4) == judge_turn(TURN, answers, options)
    broken = scores.pop(12)
    assert (values(broken), code(broken), broken["chain"].detail["findings"][0]["error"]) == (
        WRONG, "server_error", "it broke",
    )  # fmt: skip
    assert scores == {1: {}, 2: {}, 3: {}, 11: {}, 21: {}, 22: {}}
