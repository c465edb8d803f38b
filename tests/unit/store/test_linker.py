"""What a history means, and what a turn's main line is: pure functions."""

from typing import Any

import pytest

from tarx_toollog.store.linker import last_answer, sem_chain, semantic_form, split_leading
from tarx_toollog.store.pairing import OpenCall, pair_results
from tarx_toollog.store.turns import main_line
from tarx_toollog.wire.openai_fields import message_from_raw
from tests.support.builders import assistant, call, result, system, user

CALL = call("look", {"a": 1, "b": [2]}, "id-1")
SAME_MEANING = {
    "null content": (assistant(None, CALL), assistant("", CALL)),
    "order of keys": (assistant("", CALL), assistant("", call("look", '{"b":[2],"a":1}', "id-1"))),
    "ids": (assistant("", CALL), assistant("", call("look", {"a": 1, "b": [2]}, "id-2"))),
    "parts": (user("Hello"), user("x") | {"content": [{"type": "text", "text": "Hello"}]}),
    "line ends": (user("a\r\nb "), user("a\nb")),
    "reasoning": (assistant("Ok") | {"reasoning_content": "Hm"}, assistant("Ok")),
    "thoughts in the text": (assistant("<think>Hm</think>\n\nOk"), assistant("Ok")),
    "the end of thoughts in the text": (assistant("Hm</think>Ok"), assistant("Ok")),
    "the role of a result": (result("id-1", "x"), {"role": "function", "name": "look", "content": "x"}),
}
OTHER_MEANING = {
    "text": (user("Hello"), user("hello")),
    "role": (user("Ok"), assistant("Ok")),
    "name of a call": (assistant("", CALL), assistant("", call("seek", {"a": 1, "b": [2]}))),
    "argument": (assistant("", CALL), assistant("", call("look", {"a": "1", "b": [2]}))),
    "arguments that are not JSON": (assistant("", call("look", "{a")), assistant("", call("look", "{b"))),
    "thoughts of a user": (user("<think>a</think>b"), user("b")),
}


@pytest.mark.parametrize("pair", SAME_MEANING.values(), ids=SAME_MEANING.keys())
def test_what_clients_reshape_means_the_same(pair: tuple[dict[str, Any], dict[str, Any]]) -> None:
    one, other = (message_from_raw(raw) for raw in pair)

    assert semantic_form(one) == semantic_form(other)


@pytest.mark.parametrize("pair", OTHER_MEANING.values(), ids=OTHER_MEANING.keys())
def test_what_people_and_models_say_otherwise_means_something_else(pair: tuple[dict[str, Any], dict[str, Any]]) -> None:
    one, other = (message_from_raw(raw) for raw in pair)

    assert semantic_form(one) != semantic_form(other)


def test_a_chain_may_begin_where_another_ends() -> None:
    history = [message_from_raw(raw) for raw in (user("a"), assistant("b"), user("c"), assistant("d"))]
    whole = sem_chain(history)

    assert whole[2:] == sem_chain(history[2:], whole[1])
    assert 4 == len(set(whole))


def test_only_the_first_system_messages_lead() -> None:
    messages = [message_from_raw(raw) for raw in (system("a"), user("b"), system("c"), assistant("d"), user("e"))]
    leading, history = split_leading(messages)

    assert (["a"], ["b", "c", "d", "e"], 2) == (
        [m.text for m in leading],
        [m.text for m in history],
        last_answer(history),
    )


# ---- pairing --------------------------------------------------------------------------------------------------------

A, B, OLD = OpenCall(1, 7, "call_0", "look"), OpenCall(2, 7, "call_1", "seek"), OpenCall(3, 4, "call_0", "look")


@pytest.mark.parametrize(
    ("results", "calls", "expected"),
    [
        ([result("call_0", "x")], [OLD, A, B], [("id", 0.9, 1)]),
        ([result("call_1", "x")], [A, B, OLD], [("id", 1.0, 2)]),
        ([result("other", "x"), result("strange", "y")], [A, B, OLD], [("order", 0.8, 1), ("order", 0.8, 2)]),
        ([result(None, "x", name="seek")], [A, B, OLD], [("name", 0.6, 2)]),
        ([result(None, "x")], [A, B, OLD], [("none", 0.0, None)]),
        ([result("call_0", "x")], [OpenCall(1, 7, "call_0", "look", is_open=False), OLD], [("none", 0.0, None)]),
        ([result(None, "x")], [OLD], [("none", 0.0, None)]),
    ],
    ids=[
        "a repeated id means the call that is continued",
        "a single id",
        "the order of the step",
        "a name among several",
        "too few for an order",
        "an id that is answered means no older call",
        "no order among calls that are not continued",
    ],
)
def test_results_are_paired_within_the_step_that_is_continued(results: Any, calls: Any, expected: Any) -> None:
    history = [message_from_raw(raw) for raw in (user("Do"), assistant("x"), *results)]
    paired = pair_results(history, 2, calls, parent_id=7)

    assert expected == [(p.how, p.confidence, p.call.id if p.call else None) for p in paired]


# ---- main line ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("last", "parents", "expected"),
    [
        (7, {4: 3, 5: 4, 7: 4}, [4, 7]),
        (4, {4: None}, [4]),
        (6, {4: 6, 6: 4}, [4, 6]),
        (9, {4: 3}, []),
    ],
    ids=["beside a branch", "one step", "a circle ends", "not of this turn"],
)
def test_the_main_line_leads_from_parent_to_parent(last: int, parents: dict[int, int | None], expected: Any) -> None:
    assert expected == main_line(last, parents)
