import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tarx_toollog.errors import ConfigError, NothingMatchedError, StoreError
from tarx_toollog.replay.matching import Call
from tarx_toollog.replay.running.recorded import recorded_exchange
from tarx_toollog.replay.scenario import Recorded, Scenario, ScenarioStep
from tarx_toollog.replay.suites.freeze import REASONS, Skipped, build, freeze
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.suites import Suites
from tarx_toollog.wire.decode import decode
from tests.unit.replay.support import EVERY_SPLIT, Chat, Json, calling, saying


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ToolLog]:
    with ToolLog.open(tmp_path / "t.db", read_only=False) as opened:
        yield opened


def frozen(log: ToolLog) -> list[Scenario | Skipped]:
    return [freeze(trajectory) for trajectory in log.trajectories()]


def only(log: ToolLog) -> Scenario:
    (found,) = frozen(log)
    assert isinstance(found, Scenario)
    return found


RECALL = ("recall", {"query": "home"})
REMEMBER = ("remember", {"text": "Porto", "kind": "fact"})


def test_each_step_holds_exactly_what_the_model_saw_and_did(log: ToolLog) -> None:
    chat = Chat(log, "c", history=[{"role": "system", "content": "Be brief."}])
    chat.turn("where do I live?", calling(RECALL), calling(REMEMBER, RECALL), saying("In Porto."))
    scenario = only(log)
    assert [step.expected for step in scenario.steps] == [
        (Call(*RECALL),), (Call(*REMEMBER), Call(*RECALL)), (),
    ]  # fmt: skip
    assert [step.step_no for step in scenario.steps] == [1, 2, 3]
    assert [list(step.messages) for step in scenario.steps] == [chat.history[:2], chat.history[:4], chat.history[:7]]
    assert all(list(step.tools) == chat.tools for step in scenario.steps)
    assert all(step.params == chat.params for step in scenario.steps)
    assert scenario.signature == "recall>remember>recall"
    assert (scenario.tier, scenario.is_whole) == ("bronze", True)


def test_a_definition_comes_back_from_the_store_as_it_was(log: ToolLog) -> None:
    Chat(log, "c").turn("\ud83d hi \0", calling(("recall", {"query": "\u2028é", "limit": 2**70})), saying("ok"))
    build(log, "t", EVERY_SPLIT)
    (row,) = Suites(log).scenarios("t")
    assert Scenario.from_json(row.definition) == only(log)


def test_a_message_is_stored_once_however_many_steps_repeat_it(log: ToolLog) -> None:
    Chat(log, "c").turn("u" * 1000, calling(RECALL), calling(REMEMBER), saying("done"))
    assert json.dumps(only(log).to_json()).count("u" * 1000) == 1


def test_the_hash_is_that_of_the_question_not_of_where_it_came_from(log: ToolLog) -> None:
    for key, text in (("a", "Hello"), ("b", "Hi there"), ("c", "Hello")):
        chat = Chat(log, key)
        chat.turn("hello" if key != "c" else "hello!", saying(text))
    one, other, third = (found for found in frozen(log) if isinstance(found, Scenario))
    assert one.content_hash == other.content_hash  # both expect an answer in text
    assert one.content_hash != third.content_hash


def test_other_parameters_make_another_scenario(log: ToolLog) -> None:
    for key, limit in (("a", 10), ("b", 20)):
        Chat(log, key, params={"model": "base", "max_tokens": limit}).turn("hello", saying("Hi"))
    assert build(log, "t", EVERY_SPLIT).taken == 2


def test_a_suite_is_frozen_once_and_never_changes(log: ToolLog) -> None:
    chat = Chat(log, "c")
    chat.turn("one", calling(RECALL), saying("done"))
    first, again = (build(log, "t", EVERY_SPLIT) for _ in range(2))
    chat.turn("two", saying("done"))
    with pytest.raises(ConfigError, match="'t' is frozen, and holds other scenarios"):
        build(log, "t", EVERY_SPLIT)
    other = build(log, "u", EVERY_SPLIT)
    assert [(1, 2, True), (1, 2, False), (2, 3, True)] == [
        (one.taken, one.steps, one.is_new) for one in (first, again, other)
    ]
    assert [1, 2] == [len(Suites(log).scenarios(tag)) for tag in ("t", "u")]


def test_turns_that_ask_the_same_are_one_scenario(log: ToolLog) -> None:
    for key in ("a", "b"):
        Chat(log, key).turn("hello", saying("Hi"))
    report = build(log, "t", EVERY_SPLIT)
    assert (2, 1, 1) == (report.turns, report.taken, report.equal)
    assert 1 == len(Suites(log).scenarios("t"))


def test_filters_choose_the_turns(log: ToolLog) -> None:
    Chat(log, "a").turn("one", calling(RECALL), saying("done"))
    Chat(log, "b").turn("two", calling(REMEMBER), saying("done"))
    assert build(log, "t", replace(EVERY_SPLIT, tools=frozenset({"remember"}))).turns == 1
    with pytest.raises(NothingMatchedError):
        build(log, "t", replace(EVERY_SPLIT, tools=frozenset({"save"})))


BAD_CALLS = {
    "not JSON": ("recall", "{query"),
    "not an object": ("recall", '"x"'),
    "not offered": ("search", {"query": "x"}),
    "against its schema": ("recall", {"query": 1}),
}


@pytest.mark.parametrize("bad", BAD_CALLS.values(), ids=list(BAD_CALLS))
def test_a_bad_logged_call_is_no_expectation(log: ToolLog, bad: tuple[str, object]) -> None:
    Chat(log, "c").turn("u", calling(bad))
    (found,) = frozen(log)
    assert isinstance(found, Skipped)
    assert found.reason == "logged_call_is_bad"


def test_a_step_that_is_left_out_leaves_the_others_and_the_chain_unjudged(log: ToolLog) -> None:
    Chat(log, "c").turn("u", calling(RECALL), calling(("search", {})), saying("done"))
    scenario = only(log)
    assert [step.step_no for step in scenario.steps] == [1, 3]
    assert [(left.step_no, left.reason) for left in scenario.omitted] == [(2, "logged_call_is_bad")]
    assert not scenario.is_whole


def test_the_steps_after_a_call_that_is_not_json_are_asked_all_the_same(log: ToolLog) -> None:
    chat = Chat(log, "c")
    chat.turn("u", calling(RECALL), calling(("recall", "{query")), saying("done"))
    assert [(2, "logged_call_is_bad")] == [(left.step_no, left.reason) for left in only(log).omitted]
    assert '"{query"' in json.dumps(only(log).steps[-1].messages)  # as it was: a run decides what is sent


def test_a_call_whose_tool_failed_is_no_expectation(log: ToolLog) -> None:
    Chat(log, "c").turn("u", calling(RECALL), saying("sorry"), result='{"error": "no such memory"}')
    assert [(left.step_no, left.reason) for left in only(log).omitted] == [(1, "logged_call_failed")]


def skipped_reason(log: ToolLog) -> str:
    (found,) = frozen(log)
    assert isinstance(found, Skipped)
    return found.reason


def test_a_turn_that_failed_is_skipped(log: ToolLog) -> None:
    Chat(log, "c").turn("u", saying(""), status=500)
    assert skipped_reason(log) == "turn_failed"


def test_an_answer_without_tools_is_skipped_and_one_with_tools_is_kept(log: ToolLog) -> None:
    Chat(log, "a", tools=[]).turn("u", saying("hi"))
    assert skipped_reason(log) == "no_tools_offered"
    Chat(log, "b").turn("v", saying("hi"))
    assert [type(found) for found in frozen(log)] == [Skipped, Scenario]


@pytest.mark.parametrize(
    ("params", "text", "reason"),
    [
        ({"tool_choice": "none"}, "hi", "no_tools_offered"),
        ({"n": 2}, "hi", "several_choices"),
        ({}, " ", "empty_answer"),
        ({}, "<think>Well.</think>", "empty_answer"),
    ],
)
def test_what_is_no_decision_is_skipped(log: ToolLog, params: Json, text: str, reason: str) -> None:
    Chat(log, "c", params={"model": "base", **params}).turn("u", saying(text))
    assert skipped_reason(log) == reason
    assert build(log, "t", EVERY_SPLIT).skipped == {reason: 1}
    assert REASONS[reason]


def test_a_newer_format_is_refused() -> None:
    with pytest.raises(StoreError, match="format 4"):
        Scenario.from_json({"format": 4})


def test_a_damaged_definition_is_an_error_that_says_so() -> None:
    with pytest.raises(StoreError, match="damaged"):
        Scenario.from_json({"format": 1, "messages": [], "toolsets": []})


def test_of_two_answers_to_the_same_step_the_later_one_is_expected(log: ToolLog) -> None:
    chat = Chat(log, "c")
    chat.turn("u", calling(RECALL))
    del chat.history[:]
    chat.turn("u", calling(REMEMBER), saying("done"))
    scenario = only(log)
    assert [step.expected for step in scenario.steps] == [(Call(*REMEMBER),), ()]
    assert scenario.omitted == ()
    assert scenario.is_whole


@pytest.mark.parametrize("finish_reason", ["stop", "length", "tool_calls"])
def test_a_recorded_answer_is_decoded_to_what_was_logged(finish_reason: str) -> None:
    message = calling(RECALL)
    step = ScenarioStep(1, "", (), (), {}, (), Recorded(message, finish_reason, "base"))
    exchange = decode(recorded_exchange(step, b"{}", "run"))
    assert exchange.response is not None
    (choice,) = exchange.response.choices
    assert (choice.finish_reason, choice.message.raw, exchange.response.model) == (finish_reason, message, "base")
    assert (exchange.leg, exchange.run_uid, exchange.outcome) == ("replay", "run", "completed")
