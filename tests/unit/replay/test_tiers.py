"""What is expected at a step, and how far it is trusted: a real log, real labels."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog.replay.matching import Call
from tarx_toollog.replay.scenario import Scenario
from tarx_toollog.store.labels import ANSWER, ASK, THUMBS, Labels, NewLabel
from tarx_toollog.store.log import ToolLog
from tests.unit.replay.labelling import FAILED, OK, exchanges, expect, say, steps, talk, tiers, turns
from tests.unit.replay.support import Chat, calling, saying

HOME = ("recall", {"query": "home"})
WORK = ("recall", {"query": "work"})
WRONG = ("recall", {"query": 1})
HOME_JSON = {"name": "recall", "arguments": {"query": "home"}}
RULE: Any = {"annotator_kind": "rule", "annotator": "r"}


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ToolLog]:
    with ToolLog.open(tmp_path / "t.db", read_only=False) as opened:
        yield opened


def one_call(log: ToolLog, result: str = OK) -> str:
    """Log a turn of a call and a text, and return the exchange of the call."""
    talk(Chat(log, "c"), "where?", (calling(HOME), result), (saying("In Porto."), ""))
    return exchanges(log)[0]


# ---- gold, silver, bronze -------------------------------------------------------------------------------------------


def test_what_was_logged_and_nobody_looked_at_is_bronze(log: ToolLog) -> None:
    one_call(log)
    assert ["bronze", "bronze"] == tiers(log)


@pytest.mark.parametrize("place", ["", ".0.0"], ids=["the exchange", "each of its calls"])
def test_what_a_person_calls_good_is_gold_and_the_turn_is_as_trusted_as_its_least_step(
    log: ToolLog, place: str
) -> None:
    say(log, one_call(log) + place)
    assert ["gold", "bronze"] == tiers(log)
    (turn,) = turns(log)
    assert isinstance(turn.found, Scenario)
    assert ("bronze", ["gold", None]) == (turn.found.tier, [step.tier for step in turn.found.steps])
    say(log, exchanges(log)[1])
    (turn,) = turns(log)
    assert isinstance(turn.found, Scenario)
    assert ("gold", [None, None]) == (turn.found.tier, [step.tier for step in turn.found.steps])


def test_one_good_call_of_two_does_not_verify_the_answer(log: ToolLog) -> None:
    talk(Chat(log, "c"), "where?", (calling(HOME, WORK), OK), (saying("ok"), ""))
    uid = exchanges(log)[0]
    say(log, f"{uid}.0.0")
    assert "silver" == tiers(log)[0]
    say(log, f"{uid}.0.1")
    assert "gold" == tiers(log)[0]


@pytest.mark.parametrize(
    "approval",
    [RULE, {"annotator_kind": "model"}, {"name": THUMBS}],
    ids=["a rule", "a model", "the user's thumb"],
)
def test_what_was_approved_of_without_a_look_is_silver(log: ToolLog, approval: Any) -> None:
    say(log, one_call(log), **approval)
    assert ["silver", "bronze"] == tiers(log)


def test_a_number_of_another_name_is_no_approval(log: ToolLog) -> None:
    say(log, one_call(log), name="length", value=12.0, **RULE)
    assert ["bronze", "bronze"] == tiers(log)


def test_a_good_conversation_approves_of_its_steps(log: ToolLog) -> None:
    one_call(log)
    (turn,) = log.trajectories()
    Labels(log).add(NewLabel("conversation", turn.conversation_uid, "quality", value_num=1.0, annotator="ann"))
    assert ["silver", "silver"] == tiers(log)


@pytest.mark.parametrize(("turns_later", "expected"), [(1, "bronze"), (2, "bronze"), (3, "silver")])
def test_an_approval_that_is_taken_back_within_two_turns_is_none(log: ToolLog, turns_later: int, expected: str) -> None:
    chat = Chat(log, "c")
    talk(chat, "where?", (calling(HOME), OK), (saying("In Porto."), ""))
    for number in range(3):
        talk(chat, f"and {number}?", (saying("so"), ""))
    other = Chat(log, "other")
    talk(other, "hm", (saying("no"), ""))
    say(log, exchanges(log)[0], **RULE)
    say(log, exchanges(log)[1 + turns_later], -1.0, **RULE)
    say(log, exchanges(log)[-1], -1.0)
    assert expected == tiers(log)[0]


def test_what_is_said_of_another_conversation_takes_nothing_back(log: ToolLog) -> None:
    one_call(log)
    talk(Chat(log, "next"), "hm", (saying("no"), ""))
    say(log, exchanges(log)[0], **RULE)
    say(log, exchanges(log)[-1], -1.0)
    assert ["silver", "bronze", "labelled_bad"] == tiers(log)


def test_a_result_that_was_never_seen_makes_no_silver(log: ToolLog) -> None:
    talk(Chat(log, "c"), "where?", (calling(HOME), OK))
    say(log, exchanges(log)[0], **RULE)
    assert ["bronze"] == tiers(log)


# ---- bad ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("who", [{}, RULE, {"name": THUMBS}], ids=["a person", "a rule", "a thumb"])
def test_what_was_called_bad_waits_for_somebody_to_say_what_was_right(log: ToolLog, who: Any) -> None:
    say(log, one_call(log), -1.0, **who)
    assert ["labelled_bad", "bronze"] == tiers(log)


def test_a_person_knows_better_than_a_rule_and_two_persons_have_to_agree(log: ToolLog) -> None:
    uid = one_call(log)
    say(log, uid, -1.0, **RULE)
    say(log, uid)
    assert "gold" == tiers(log)[0]
    say(log, uid, -1.0, annotator="bob")
    assert "labelled_bad" == tiers(log)[0]


def test_a_right_call_of_a_tool_that_failed_is_gold_when_a_person_says_so(log: ToolLog) -> None:
    uid = one_call(log, FAILED)
    assert "logged_call_failed" == tiers(log)[0]
    say(log, uid, **RULE)
    assert "logged_call_failed" == tiers(log)[0]
    say(log, uid)
    assert "gold" == tiers(log)[0]
    assert (Call(*HOME),) == steps(log)[0].expected


def test_no_person_can_make_a_call_right_that_no_tool_could_take(log: ToolLog) -> None:
    talk(Chat(log, "c"), "where?", (calling(WRONG), FAILED), (saying("sorry"), ""))
    say(log, exchanges(log)[0])
    assert ["logged_call_is_bad", "bronze"] == tiers(log)


# ---- corrections ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("correction", "calls", "asks"),
    [
        (HOME_JSON, (Call(*HOME),), False),
        ({"tool_calls": [HOME_JSON, HOME_JSON]}, (Call(*HOME), Call(*HOME)), False),
        ({**HOME_JSON, "arguments": '{"query": "home"}'}, (Call(*HOME),), False),
        ({"content": "I do not know."}, (), False),
        (ANSWER, (), False),
        (ASK, (), True),
    ],
    ids=str,
)
@pytest.mark.parametrize("logged", [(WRONG, FAILED), (HOME, FAILED), (WORK, OK)], ids=["bad", "failed", "well"])
def test_what_a_person_wrote_is_expected_whatever_was_logged(
    log: ToolLog, logged: Any, correction: Any, calls: Any, asks: bool
) -> None:
    talk(Chat(log, "c"), "where?", (calling(logged[0]), logged[1]), (saying("ok"), ""))
    expect(log, exchanges(log)[0], correction)
    first = steps(log)[0]
    assert (calls, asks, "gold") == (first.expected, first.asks, tiers(log)[0])


def test_what_a_rule_wrote_is_corrected_and_a_person_comes_before_it(log: ToolLog) -> None:
    uid = one_call(log)
    expect(log, uid, HOME_JSON)
    expect(log, uid, {"name": "recall", "arguments": {"query": "work"}}, **RULE)
    assert ((Call(*HOME),), "gold") == (steps(log)[0].expected, tiers(log)[0])
    Labels(log).withdraw(1, "ann")
    assert ((Call(*WORK),), "corrected") == (steps(log)[0].expected, tiers(log)[0])


def test_an_answer_that_is_empty_or_never_came_can_be_labelled(log: ToolLog) -> None:
    chat = Chat(log, "c")
    talk(chat, "where?", (saying(" "), ""))
    chat.turn("and?", saying("x"), status=500)
    assert ["empty_answer", "turn_failed"] == tiers(log)
    for uid in exchanges(log):
        expect(log, uid, HOME_JSON)
    assert ["gold", "gold"] == tiers(log)
    assert [(Call(*HOME),)] * 2 == [step.expected for step in steps(log)]


def test_a_correction_of_one_call_leaves_the_others(log: ToolLog) -> None:
    talk(Chat(log, "c"), "where?", (calling(WRONG, HOME), OK), (saying("ok"), ""))
    uid = exchanges(log)[0]
    expect(log, f"{uid}.0.0", {"name": "recall", "arguments": {"query": "work"}})
    assert (Call(*WORK), Call(*HOME)) == steps(log)[0].expected
    expect(log, f"{uid}.0.0", ANSWER)
    assert (Call(*HOME),) == steps(log)[0].expected


def test_a_correction_beside_another_wrong_call_says_too_little(log: ToolLog) -> None:
    talk(Chat(log, "c"), "where?", (calling(WRONG, WRONG), FAILED), (saying("ok"), ""))
    expect(log, f"{exchanges(log)[0]}.0.0", HOME_JSON)
    assert "bad_correction" == tiers(log)[0]


def test_a_label_cannot_make_a_question_of_what_is_none(log: ToolLog) -> None:
    talk(Chat(log, "c", tools=[]), "where?", (saying("there"), ""))
    expect(log, exchanges(log)[0], ANSWER)
    assert ["no_tools_offered"] == tiers(log)


# ---- retries --------------------------------------------------------------------------------------------------------

PORTO = ("remember", {"text": "Porto", "kind": "fact"})


@pytest.mark.parametrize("wrong", [("remember", {"text": "Porto", "kind": "place"}), ("remember", {"kind": "fact"})])
def test_the_same_call_made_again_rightly_is_what_was_right_at_once(log: ToolLog, wrong: Any) -> None:
    talk(Chat(log, "c"), "I live in Porto.", (calling(wrong), FAILED), (calling(PORTO), OK), (saying("ok"), ""))
    assert ["corrected", "bronze", "bronze"] == tiers(log)
    assert (Call(*PORTO),) == steps(log)[0].expected
    made = steps(log)[0].recorded.message["tool_calls"]
    assert [json.dumps(wrong[1])] == [call["function"]["arguments"] for call in made]  # what was wrong is kept beside


@pytest.mark.parametrize(
    ("user", "retry", "result"),
    [
        pytest.param("I live in Porto.", PORTO, FAILED, id="that failed, too"),
        pytest.param("I live in Porto.", ("recall", {"query": "Porto"}), OK, id="of another tool"),
        pytest.param("Note it.", ("remember", {"text": "memory-7781"}), OK, id="with what only the error told"),
    ],
)
def test_a_retry_is_no_answer_to_the_first_question(log: ToolLog, user: str, retry: Any, result: str) -> None:
    told = '{"error": "say which, for example memory-7781"}'
    said = [(calling(("remember", {"text": "it"})), told), (calling(retry), result), (saying("ok"), "")]
    talk(Chat(log, "c"), user, *said)
    assert "logged_call_failed" == tiers(log)[0]


def test_the_same_arguments_again_show_that_the_call_was_not_what_was_wrong(log: ToolLog) -> None:
    talk(Chat(log, "c"), "where?", (calling(HOME), FAILED), (calling(HOME), OK), (saying("ok"), ""))
    assert ["logged_call_failed", "bronze", "bronze"] == tiers(log)


def test_a_retry_that_somebody_called_bad_corrects_nothing(log: ToolLog) -> None:
    talk(Chat(log, "c"), "home or work?", (calling(HOME), FAILED), (calling(WORK), OK), (saying("ok"), ""))
    assert "corrected" == tiers(log)[0]
    say(log, exchanges(log)[1], -1.0)
    assert "logged_call_failed" == tiers(log)[0]
