import json
from typing import Any

import pytest

from tarx_toollog.replay.running.asking import Overrides, question
from tarx_toollog.replay.running.history import History, as_sent, bad_calls
from tarx_toollog.replay.scenario import Recorded, ScenarioStep

Json = dict[str, Any]


def called(**arguments: Any) -> Json:
    """Return an assistant message with a call for each id; arguments that are text stand as they are."""
    calls = [
        {"id": key, "type": "function", "function": {"name": "save", "arguments": value}}
        for key, value in arguments.items()
    ]
    return {"role": "assistant", "content": "", "tool_calls": calls}


def told(call_id: str) -> Json:
    return {"role": "tool", "tool_call_id": call_id, "content": "ok"}


USER: Json = {"role": "user", "content": "Go."}
BAD = [USER, called(a='{"x": 1}', b="{'x': 2}"), told("a"), told("b"), called(b='{"cut": "in'), told("b"), USER]


def test_bad_calls_are_counted_and_those_that_a_server_reads_are_not() -> None:
    good = [called(a="", b="{}"), called(c={"already": "an object"}), {"role": "assistant", "tool_calls": "odd"}]
    assert (2, 0) == (bad_calls(BAD), bad_calls(good))


@pytest.mark.parametrize("policy", History)
def test_a_good_history_is_sent_as_it_is_by_every_policy(policy: History) -> None:
    good = [USER, called(a='{"x":  1}', b=""), told("a"), told("b")]
    assert (good, 0) == as_sent(good, policy)


def test_verbatim_sends_bad_calls_too() -> None:
    assert (BAD, 0) == as_sent(BAD, History.VERBATIM)


def test_repair_sends_what_was_meant_or_nothing() -> None:
    sent, changed = as_sent(BAD, History.REPAIR)
    assert (2, 0) == (changed, bad_calls(sent))
    assert [USER, told("a"), told("b"), told("b"), USER] == [sent[place] for place in (0, 2, 3, 5, 6)]
    arguments = [call["function"]["arguments"] for place in (1, 4) for call in sent[place]["tool_calls"]]
    assert [{"x": 1}, {"x": 2}, {}] == [json.loads(text) for text in arguments]
    assert '{"x": 1}' == arguments[0]  # what was good stays to the letter


def test_drop_takes_the_results_along_and_a_message_that_says_nothing_else() -> None:
    sent, changed = as_sent(BAD, History.DROP)
    assert 2 == changed
    assert [USER, called(a='{"x": 1}'), told("a"), USER] == sent


def test_drop_keeps_what_was_said_beside_the_call_and_later_calls_of_the_same_id() -> None:
    history = [{**called(a="{"), "content": "Let me see."}, told("a"), called(a="{}"), told("a")]
    sent, _ = as_sent(history, History.DROP)
    assert [{"role": "assistant", "content": "Let me see."}, called(a="{}"), told("a")] == sent


def test_what_the_model_itself_wrote_in_a_closed_loop_stays() -> None:
    own = called(c="{'mine': 1}")
    step = ScenarioStep(2, "", (*BAD, own, told("c")), (), {}, (), Recorded({}, None, None))
    asked = question(step, Overrides("m", history=History.REPAIR), n_logged=len(BAD))
    assert [own, told("c")] == asked.body["messages"][-2:]
    assert (2, False, "history changed: malformed calls: 2") == (asked.changed, asked.is_poisoned, asked.remark)
    assert question(step, Overrides("m", history=History.VERBATIM), n_logged=len(BAD)).is_poisoned
