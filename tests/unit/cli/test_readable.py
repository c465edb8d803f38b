from typing import Any

import pytest

from tarx_toollog.cli.readable import LINE, MAX_TEXT, conversation_text, exchange_text, pretty_arguments, verdict
from tarx_toollog.store.answers.queries import ExchangeDetail, TurnDetail

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
        ({"complete": False, "argument_state": "incomplete"}, "cut off, arguments end too early"),
        ({"offered": False}, "not offered"),
        ({"schema_state": "fail"}, "against its schema"),
        ({"origin": "leaked_text"}, "leaked into the text"),
    ],
)
def test_the_verdict_on_a_call_names_everything_that_is_wrong(change: dict[str, Any], words: str) -> None:
    assert words == verdict(CALL | change)


def test_long_arguments_are_indented_when_they_are_json_and_left_alone_when_not() -> None:
    long = "x" * 80

    assert pretty_arguments('{"a":"ä"}') == '{"a": "ä"}'
    assert pretty_arguments(f'{{"a":"{long}"}}') == f'{{\n  "a": "{long}"\n}}'
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


def exchange_facts(**facts: Any) -> dict[str, Any]:
    names = (
        "uid started_at conversation_uid turn_no step_no leg route request_model response_model user_agent outcome "
        "finish_reason http_status error_type error_text n_messages n_tools input_tokens output_tokens cached_tokens "
        "first_byte_ms total_ms notes"
    )
    return dict.fromkeys(names.split()) | {"uid": "e", "outcome": "completed"} | facts


def message(role: str, content: str, call_id: str | None = None, extra: Any = None) -> dict[str, Any]:
    return {"role": role, "content": content, "name": None, "tool_call_id": call_id, "extra": extra or {}}


def test_a_result_names_the_tool_and_a_message_that_only_calls_has_no_empty_line() -> None:
    calls = {"tool_calls": [{"id": "c1", "function": {"name": "recall", "arguments": "{}"}}]}
    messages = [
        message("assistant", "", extra=calls),
        message("tool", "Miez", "c1"),
        message("tool", "", "c0"),
    ]

    text = exchange_text(ExchangeDetail(exchange_facts(outcome="timeout"), messages, None, []))

    assert text.endswith(
        "assistant:\n    call recall {}\n\ntool recall:\n    Miez\n\ntool for c0:\n    (empty)\n\nno answer: timeout"
    )


def test_the_facts_of_an_exchange_fit_a_narrow_terminal() -> None:
    facts = exchange_facts(
        conversation_uid="c" * 36, route="/v1/chat/completions", request_model="m" * 30, user_agent="u" * 30
    )

    lines = exchange_text(ExchangeDetail(facts, [], None, [])).splitlines()

    assert [line for line in lines if len(line) > LINE] == []
    assert f"    conversation_uid {'c' * 36}" in lines
