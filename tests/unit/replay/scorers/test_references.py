"""Wrong values: outdated, taken from elsewhere, or made up; and where both values stood."""

import json
from dataclasses import replace
from typing import Any

import pytest

from tarx_toollog.model import LoggedCall
from tarx_toollog.replay.matching import Call, Rule
from tarx_toollog.replay.scenario import Recorded, ScenarioStep
from tarx_toollog.replay.scoring import judge
from tarx_toollog.store.replays import Answer
from tests.unit.replay.support import Json, calling, saying, tool

STRING, NUMBER = {"type": "string"}, {"type": "integer"}
TOOLS = [
    tool("find_order", {"customer": STRING}),
    tool("get_order", {"id": NUMBER, "note": STRING, "limit": {"type": "integer", "default": 25}}),
    tool("create_booking", {"room": STRING, "nights": NUMBER}),
    tool("cancel", {"id": STRING, "kind": {"$ref": "#/$defs/kind"}, "tags": {"type": "array", "items": STRING}}),
    tool("weather", {"city": STRING}),
]
TOOLS[3]["function"]["parameters"]["$defs"] = {"kind": {"enum": ["soft", "hard"]}}


def user(text: str) -> Json:
    return {"role": "user", "content": text}


def did(name: str, arguments: Json, result: Any) -> list[Json]:
    """Return a call with its result."""
    message = calling((name, arguments))
    text = result if isinstance(result, str) else json.dumps(result)
    return [message, {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": text}]


def finding(messages: list[Json], name: str, expected: Json, actual: Json, **changes: Any) -> Json:
    """Return the primary finding on a call with ``actual`` where ``expected`` was right."""
    step = ScenarioStep(1, "", tuple(messages), tuple(TOOLS), {}, (Call(name, expected),), Recorded({}, None, None))
    made = LoggedCall("u", name, json.dumps(actual), "ok", "ok", True, True, "native", "id")
    found: Json = dict(judge(replace(step, **changes), Answer((made,)))["step"].detail["findings"][0])
    return found


def code(*args: Any, **changes: Any) -> str:
    return str(finding(*args, **changes)["code"])


ORDERS = [user("Where is my order?"), *did("find_order", {"customer": "Ana"}, {"orders": [{"id": 4711}, {"id": 4822}]})]
BOOKED = [
    user("Book the room Alba, no, then rather the room Duna."),
    *did("create_booking", {"room": "Alba"}, {"booking": {"id": "B-17"}}),
    *did("create_booking", {"room": "Duna"}, {"booking": {"id": "B-42"}}),
    user("Cancel that."),
]


def test_another_value_of_the_same_result_is_a_wrong_reference() -> None:
    found = finding(ORDERS, "get_order", {"id": 4822}, {"id": 4711})
    assert {
        "code": "wrong_reference", "name": "get_order", "path": "/id", "expected": 4822, "actual": 4711,
        "expected_at": {"message": 2, "role": "tool", "tool": "find_order"},
        "actual_at": {"message": 2, "role": "tool", "tool": "find_order"},
    } == found  # fmt: skip


def test_what_a_newer_result_of_the_same_tool_replaced_is_stale() -> None:
    found = finding(BOOKED, "cancel", {"id": "B-42"}, {"id": "B-17"})
    assert ("stale_reference", 4, 2) == (
        found["code"], found["expected_at"]["message"], found["actual_at"]["message"]
    )  # fmt: skip


def test_what_a_newer_result_still_says_is_not_stale() -> None:
    again = [*BOOKED, *did("find_order", {"customer": "Ana"}, {"old": "B-17"})]
    assert "wrong_reference" == code(again, "cancel", {"id": "B-42"}, {"id": "B-17"})


def test_a_reading_tool_replaces_an_answer_only_to_the_same_question() -> None:
    def asked(first: str, second: str) -> list[Json]:
        return [
            user("Which day is it?"),
            *did("find_order", {"customer": first}, {"id": "B-17"}),
            *did("find_order", {"customer": second}, {"id": "B-42"}),
        ]

    values = ("cancel", {"id": "B-42"}, {"id": "B-17"})
    assert ["stale_reference", "wrong_reference"] == [code(asked("Ana", of), *values) for of in ("Ana", "Rui")]


def test_the_argument_of_an_earlier_call_is_stale_when_the_right_value_was_said_later() -> None:
    before = [user("The weather in Porto?"), *did("weather", {"city": "Porto"}, "Sunny"), saying("Sunny.")]
    assert "stale_reference" == code([*before, user("And in Faro?")], "weather", {"city": "Faro"}, {"city": "Porto"})


def test_the_argument_of_an_earlier_call_is_not_stale_when_both_were_asked_for_at_once() -> None:
    both = [user("The weather in Porto and in Faro?"), *did("weather", {"city": "Porto"}, "Sunny")]
    assert "wrong_reference" == code(both, "weather", {"city": "Faro"}, {"city": "Porto"})


def test_an_argument_of_another_tool_is_not_replaced() -> None:
    before = [user("Find Ana."), *did("find_order", {"customer": "Ana"}, "none"), user("Book Alba")]
    assert "wrong_reference" == code(before, "create_booking", {"room": "Alba"}, {"room": "Ana"})


def test_a_value_that_stands_nowhere_is_hallucinated() -> None:
    found = finding(ORDERS, "get_order", {"id": 4822}, {"id": 4999})
    assert ("hallucinated_value", False) == (found["code"], "actual_at" in found)
    assert {"message": 2, "role": "tool", "tool": "find_order"} == found["expected_at"]


@pytest.mark.parametrize(
    ("shown", "expected", "actual"),
    [
        ("room Alba, bread of yesterday", "Alba", "of the bread"),  # in other words
        ("room Alba on 24.11.2026", "Alba", "2026-11-24"),  # in another form
        ("room Alba, cats", "Alba", "cat"),
    ],
)
def test_a_text_of_which_parts_were_shown_is_not_called_made_up(shown: str, expected: str, actual: str) -> None:
    assert "arg_value" == code([user(shown)], "create_booking", {"room": expected}, {"room": actual})
    assert "hallucinated_value" == code([user("Alba")], "create_booking", {"room": expected}, {"room": actual})


@pytest.mark.parametrize(
    ("shown", "code_of_it"),
    [("1,200 or 4711", "arg_value"), ("1 200 or 4711", "arg_value"), ("1200 or 4711", "wrong_reference"),
     ("4711", "hallucinated_value")],
)  # fmt: skip
def test_a_number_may_have_been_shown_in_another_form(shown: str, code_of_it: str) -> None:
    assert code_of_it == code([user(shown)], "get_order", {"id": 4711}, {"id": 1200})


def test_a_small_number_refers_to_nothing_unless_it_stands_by_itself() -> None:
    prose = [user("Order 4711?"), *did("weather", {"city": "Faro"}, "3 clouds, 7 birds, and 4711 more")]
    assert "arg_value" == code(prose, "get_order", {"id": 4711}, {"id": 7})
    listed = [user("Order?"), *did("find_order", {}, [{"id": 3}, {"id": 7}])]
    assert "wrong_reference" == code(listed, "get_order", {"id": 3}, {"id": 7})


def test_a_generated_value_refers_to_nothing() -> None:
    found = finding(ORDERS, "get_order", {"note": "a late parcel"}, {"note": "4711"})
    assert ("arg_value", False) == (found["code"], "expected_at" in found)


def test_a_default_and_a_choice_of_the_schema_are_taken_from_nowhere() -> None:
    shown = [user("25 rooms, 50 of them soft, hard")]
    assert "arg_value" == code(shown, "get_order", {"limit": 50}, {"limit": 25})
    assert "arg_value" == code(shown, "cancel", {"kind": "soft"}, {"kind": "hard"})


def test_an_argument_with_a_rule_for_prose_refers_to_nothing() -> None:
    rules = {"get_order": {"/note": Rule("text")}}
    values = ([user("4711 4822")], "get_order", {"note": "4711"}, {"note": "4822"})
    assert ["wrong_reference", "arg_value"] == [code(*values), code(*values, rules=rules)]


def test_a_value_is_found_behind_the_escapes_of_json() -> None:
    shown = [user("Which?"), *did("find_order", {}, json.dumps([{"name": "René"}, {"name": 'the "Duna"'}]))]
    assert "wrong_reference" == code(shown, "create_booking", {"room": "René"}, {"room": 'the "Duna"'})


def test_results_belong_to_calls_by_order_where_there_are_no_ids() -> None:
    shown = [dict(message) for message in BOOKED]
    for message in shown:
        message.pop("tool_call_id", None)
        message.update(tool_calls=[{"function": call["function"]} for call in message.get("tool_calls", ())])
    assert "stale_reference" == code(shown, "cancel", {"id": "B-42"}, {"id": "B-17"})


def test_the_code_of_a_reference_takes_precedence_over_that_of_another_value() -> None:
    shown = [user("Room Alba or Duna")]
    made = finding(shown, "create_booking", {"room": "Duna", "nights": 12}, {"room": "Alba", "nights": 14})
    assert "wrong_reference" == made["code"]


def test_items_of_arrays_and_odd_messages_are_looked_at() -> None:
    odd: list[Json] = [
        {"role": "assistant", "content": None, "tool_calls": ["x", {"function": "y"}, {"function": {"name": "z"}}]},
        {"role": "tool", "content": None},
        user("B-1 B-2 B-3"),
    ]
    assert "wrong_reference" == code(odd, "cancel", {"tags": ["B-1", "B-2"]}, {"tags": ["B-1", "B-3"]})
    assert "arg_value" == code(odd, "cancel", {"tags": ["B-1", "B-2"]}, {"tags": ["B-1"]})
