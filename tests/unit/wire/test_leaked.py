"""Calls in the text of an answer become calls beside the native ones."""

import json
import time
from typing import Any

import pytest

from tarx_toollog.model import Exchange
from tarx_toollog.wire.decode import decode
from tests.support.builders import assistant, call, raw_exchange, user
from tests.support.captures import load_raw

TOOLS = [{"type": "function", "function": {"name": name}} for name in ("tarx_recall", "tarx_remember")]


def answered(content: str, *calls: dict[str, Any], **options: Any) -> Exchange:
    return decode(raw_exchange([user("Where do I live?")], assistant(content, *calls), tools=TOOLS, **options))


def leaked(exchange: Exchange) -> list[tuple[str, str, int, tuple[str, ...]]]:
    assert exchange.response is not None
    (choice,) = exchange.response.choices
    return [(c.name, c.arguments, c.ordinal, c.quirks) for c in choice.leaked_calls]


def test_a_call_in_the_text_is_a_leaked_call_and_the_text_stays() -> None:
    text = '<tool_call>\n{"name": "tarx_recall", "arguments": {"query": "home"}}\n</tool_call>'
    found = answered(text)

    assert [("tarx_recall", '{"query": "home"}', 0, ("tool_call_tag",))] == leaked(found)
    assert found.response is not None
    assert text == found.response.choices[0].message.text
    assert () == found.response.choices[0].message.tool_calls


def test_its_place_follows_on_the_native_calls() -> None:
    made = call("tarx_remember", {"key": "city"}, "call-1")
    found = answered('<tool_call>{"name": "tarx_recall", "arguments": {}}</tool_call>', made)

    assert [("tarx_recall", "{}", 1, ("tool_call_tag",))] == leaked(found)


def test_a_call_that_was_also_handed_over_is_one_call() -> None:
    made = call("tarx_recall", {"query": "home"}, "call-1")
    text = json.dumps({"name": "tarx_recall", "arguments": {"query": "home"}})

    assert [] == leaked(answered(f"<tool_call>{text}</tool_call>", made))


@pytest.mark.parametrize(
    ("made", "text", "is_same"),
    [
        ('{"a": 5, "b": [1, {"c": null}]}', '{"b": [1, {"c": null}], "a": 5.0}', True),
        ('{"a": [1, 2]}', '{"a": [2, 1]}', False),
        ('{"a": {"b": 1}}', '{"a": {"b": 2}}', False),
        ('{"a": []}', '{"a": {}}', False),
    ],
)
def test_a_call_is_the_same_when_its_arguments_mean_the_same(made: str, text: str, is_same: bool) -> None:
    native = {"id": "call-1", "type": "function", "function": {"name": "tarx_recall", "arguments": made}}
    found = answered(f'<tool_call>{{"name": "tarx_recall", "arguments": {text}}}</tool_call>', native)

    assert is_same == (leaked(found) == [])


def test_many_calls_in_the_text_beside_many_native_ones_are_compared_in_step_with_their_size() -> None:
    filling = "x" * 2000
    natives = [call("tarx_remember", {"value": f"{filling}{n}"}, f"call-{n}") for n in range(1000)]
    text = "\n".join(
        f'<tool_call>{{"name": "tarx_remember", "arguments": {{"n": {n}}}}}</tool_call>' for n in range(64)
    )
    one, many = (min(seconds(content, natives) for _ in range(3)) for content in (text.partition("\n")[0], text))

    assert many < 3 * one


def seconds(content: str, natives: list[dict[str, Any]]) -> float:
    raw = raw_exchange([user("?")], assistant(content, *natives), tools=TOOLS)
    start = time.process_time()
    found = leaked(decode(raw))
    taken = time.process_time() - start
    assert content.count("<tool_call>") == len(found)
    return taken


def test_an_ordinary_answer_has_none() -> None:
    assert [] == leaked(answered('You live in Lisbon. As JSON: {"name": "Lisbon"}'))


def test_the_real_leak_of_a_server_that_was_told_not_to_call_is_found() -> None:
    found = leaked(decode(load_raw("chat_tool_choice_none_leak")))

    assert ["fenced_json"] == [quirks[0] for _, _, _, quirks in found]


def test_the_same_exchange_decoded_twice_gives_the_same_ids() -> None:
    raw = raw_exchange([user("?")], assistant('<tool_call>{"name": "tarx_recall", "arguments": {}}</tool_call>'))
    first, second = decode(raw).response, decode(raw).response
    assert first is not None
    assert first == second
    assert first.choices[0].leaked_calls[0].call_id.startswith("tlx_")
