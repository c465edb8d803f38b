from typing import Any

import pytest

from tarx_toollog.cli.readable import MAX_TEXT, conversation_text, pretty_arguments, verdict
from tarx_toollog.store.queries import TurnDetail

CALL: dict[str, Any] = {
    "complete": True,
    "argument_state": "ok",
    "offered": True,
    "schema_state": "ok",
    "origin": "native",
}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({}, "ok"),
        ({"argument_state": "empty", "schema_state": "unchecked"}, "ok"),
        ({"complete": False, "argument_state": "incomplete"}, "cut off, arguments incomplete"),
        ({"offered": False}, "not offered"),
        ({"schema_state": "fail"}, "against its schema"),
        ({"origin": "leaked_text"}, "leaked_text"),
    ],
)
def test_the_verdict_on_a_call_names_everything_that_is_wrong(change: dict[str, Any], words: str) -> None:
    assert words == verdict(CALL | change)


def test_arguments_are_indented_when_they_are_json_and_left_alone_when_not() -> None:
    assert pretty_arguments('{"a":"ä"}') == '{\n  "a": "ä"\n}'
    assert pretty_arguments('{"a":') == '{"a":'
    assert pretty_arguments("[" * 100_000) == "[" * 100_000


def test_a_step_that_failed_shows_its_error_and_a_long_text_is_cut() -> None:
    facts = {"conversation_uid": "c", "external_id": None, "first_at": None}
    step = {
        "step_no": 1,
        "outcome": "timeout",
        "exchange_uid": "e",
        "answer": "x" * (MAX_TEXT + 7),
        "error_text": "too slow",
        "calls": [],
    }

    text = conversation_text(facts, [TurnDetail({"turn_no": 1, "user_text": "Hi"}, [step])])

    assert "assistant, step 1, timeout  [e]:" in text
    assert "… (7 more characters)" in text
    assert text.endswith("error: too slow")
