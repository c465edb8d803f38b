"""Which texts hold a call, and what is said about it."""

import json
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog.wire.text_calls import FORMS, MAX_CALLS, TextCall, find_calls

F = frozenset({"f"})
UNKNOWN: frozenset[str] = frozenset()
CALL = '{"name": "f", "arguments": {"x": 1}}'
TAGGED = f"<tool_call>{CALL}</tool_call>"


def calls(text: str, offered: frozenset[str] = F) -> list[tuple[str, Any]]:
    """Return names and arguments of the complete calls."""
    return [(call.name, json.loads(call.arguments)) for call in find_calls(text, offered) if call.complete]


@pytest.mark.parametrize("form", FORMS)
def test_the_example_of_every_form_is_found(form: str) -> None:
    example = FORMS[form].example

    assert [(form, "f", {"x": 1}, 0, len(example), True)] == [
        (call.form, call.name, json.loads(call.arguments), call.start, call.end, call.complete)
        for call in find_calls(example, F)
    ]


@pytest.mark.parametrize("form", FORMS)
def test_without_an_offer_only_forms_with_a_marker_count(form: str) -> None:
    assert (1 if FORMS[form].is_marked else 0) == len(find_calls(FORMS[form].example, UNKNOWN))


ONE = [("f", {"x": 1})]
TWO = [("f", {"x": 1}), ("f", {"x": 2})]
OTHER = CALL.replace("1", "2")
_XML_VALUES = (
    "<function=f><parameter=a> 1</parameter><parameter=b>[1]</parameter><parameter=c>007</parameter>"
    '<parameter=d>NaN</parameter><parameter=e>"q"</parameter><parameter=g>False</parameter></function>'
)
VARIANTS: dict[str, tuple[str, list[tuple[str, Any]]]] = {
    "text around a tag": (f"I look.\n{TAGGED}\nWait.", ONE),
    "text before a tag on its line": (f"I look.{TAGGED}", ONE),
    "two tags": (f"{TAGGED}\n<tool_call>\n{OTHER}\n</tool_call>", TWO),
    "two objects in one tag": (f"<tool_call>\n{CALL}\n{OTHER}\n</tool_call>", TWO),
    "a list in one tag": (f"<tool_call>[{CALL}, {OTHER}]</tool_call>", TWO),
    "no closing tag": (f"<tool_call>\n{CALL}", ONE),
    "a brace too few": (f"<tool_call>{CALL[:-1]}</tool_call>", ONE),
    "a brace too many": (f"<tool_call>{CALL}}}</tool_call>", ONE),
    "Python in a tag": ("<tool_call>{'name': 'f', 'arguments': {'x': 1}}</tool_call>", ONE),
    "the tag in a fence": (f"```xml\n{TAGGED}\n```", ONE),
    "another tag": (f"<function_call>{CALL}</function_call>", ONE),
    "tools as tag": (f"<tools>\n{CALL}\n</tools>", ONE),
    "arguments as string": ('<tool_call>{"name": "f", "arguments": "{\\"x\\": 1}"}</tool_call>', ONE),
    "OpenAI's form": ('{"type": "function", "function": {"name": "f", "arguments": {"x": 1}}}', ONE),
    "Llama's form": ('{"type": "function", "function": "f", "parameters": {"x": 1}}', ONE),
    "a wrapper": (f'{{"tool_calls": [{CALL}, {OTHER}]}}', TWO),
    "a fence with prose": (f"I look.\n\n```json\n{CALL}\n```\n\nOne moment.", ONE),
    "a fence with a list": (f"```json\n[{CALL}, {OTHER}]\n```", TWO),
    "a fence with two objects": (f"```\n{CALL}\n{OTHER}\n```", TWO),
    "a fence on one line": (f"```json {CALL}```", ONE),
    "a fence in a list": (f"1. Look:\n   ```json\n   {CALL}\n   ```", ONE),
    "a fence without end": (f"```json\n{CALL}", ONE),
    "lines of JSON": (f"I look.\n{CALL}\n{OTHER}", TWO),
    "JSON with semicolons": (f"{CALL}; {OTHER}", TWO),
    "a closer without opener": (f"{CALL}</tool_call>", ONE),
    "an end token": (f"{CALL}<|im_end|>", ONE),
    "behind a thought": (f"I should look.</think>{CALL}", ONE),
    "two in Python": ("[f(x=1), f(x=2)]", TWO),
    "Python in prose": ("I look.\n\n[f(x=1)]\n\nWait.", ONE),
    "Python values": (
        "[f(a='it\\'s', b=[1, (2,)], c={'d': None, 'e': True}, g=-1.5, )]",
        [("f", {"a": "it's", "b": [1, [2]], "c": {"d": None, "e": True}, "g": -1.5})],
    ),
    "Python printed": ("```tool_code\nprint(f(x=1))\nf(x=2)\n```", TWO),
    "JSON in a function tag": ('<function=f>{"x": 1}</function>', ONE),
    "no parameters": ("<tool_call>\n<function=f>\n</function>\n</tool_call>", [("f", {})]),
    "values of XML": (_XML_VALUES, [("f", {"a": " 1", "b": [1], "c": "007", "d": "NaN", "e": '"q"', "g": False})]),
    "a closer in a value": (
        "<function=f>\n<parameter=a>\nclose with </parameter> and </function>\n</parameter>\n</function>",
        [("f", {"a": "close with </parameter> and </function>"})],
    ),
    "GLM without arguments": ("<tool_call>f</tool_call>", [("f", {})]),
    "Mistral with an id": ('[TOOL_CALLS]f[CALL_ID]abc123def[ARGS]{"x": 1}', ONE),
    "Mistral without its tokens": ('[TOOL_CALLS]f{"x": 1}', ONE),
    "a built-in of Llama": ("<|python_tag|>f.call(x=1)", ONE),
    "gpt-oss without tokens": ('assistantcommentary to=functions.f json{"x": 1}', ONE),
    "a marker inside an argument": (
        '[TOOL_CALLS]f[ARGS]{"x": "<tool_call>{\\"name\\": \\"f\\"}</tool_call>"}',
        [("f", {"x": '<tool_call>{"name": "f"}</tool_call>'})],
    ),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_of_the_forms_are_found(variant: str) -> None:
    text, expected = VARIANTS[variant]

    assert expected == calls(text)


def test_a_marked_call_may_leave_its_arguments_out() -> None:
    assert [("f", "")] == [
        (call.name, call.arguments) for call in find_calls('<tool_call>{"name": "f"}</tool_call>', F)
    ]


def test_the_leak_of_a_real_server_is_found() -> None:
    capture = Path(__file__).parents[2] / "captures/llama-server-b11434/chat_tool_choice_none_leak.response.raw"
    body = json.loads(capture.read_bytes().partition(b"\r\n\r\n")[2])
    content = body["choices"][0]["message"]["content"]

    assert [("tarx_recall", {"query": "What is my cat called?"})] == calls(content, frozenset({"tarx_recall"}))


NO_CALL: dict[str, str] = {
    "JSON of another shape": '{"name": "f", "arguments": {"x": 1}, "note": "hi"}',
    "arguments that are no object": '{"name": "f", "parameters": "none"}',
    "no arguments": '{"name": "f"}',
    "a tool that is not offered": CALL.replace('"f"', '"g"'),
    "JSON inside a line": f"You could send {CALL} to it.",
    "JSON before more text": f"{CALL} is what you send.",
    "a definition": '{"name": "f", "parameters": {"type": "object", "properties": {"x": {}}}}',
    "a message that holds a call": f'```json\n{{"role": "assistant", "tool_calls": [{CALL}]}}\n```',
    "another record that holds a call": f'{{"id": "r1", "tool_calls": [{CALL}]}}',
    "a broken call with its closer": '<tool_call>{"name": "f", "arguments": {"x": [}</tool_call>',
    "a fence with more than the call": f"```json\n{CALL}\n// done\n```",
    "a fence of another language": f"```python\n{CALL}\n```",
    "a fence in a longer fence": f"````markdown\n```json\n{CALL}\n```\n````",
    "an example in a fence": f"For example:\n\n```json\n{CALL}\n```",
    "an example in a line": f"The call looks like this:\n{CALL}",
    "a tag in inline code": f"It writes `{TAGGED}` then.",
    "a tag in code": f"```python\ntext = '{TAGGED}'\n```",
    "a foreign tag in a fence": f"```\n{TAGGED.replace('f', 'g')}\n```",
    "a foreign tag in a sentence": f"It wrote {TAGGED.replace('f', 'g')} to me.",
    "a tag without JSON": "<tool_call>not a call</tool_call>",
    "a word in a tag": "<tool_call>word</tool_call>",
    "positional arguments": "[f(1)]",
    "a program": "[f(x=1) for x in y]",
    "a link": "[f(x=1)](https://example.org)",
    "a program for Llama": "<|python_tag|>print(f(1))",
    "a thought that ends": f"<think>{TAGGED}</think>Done.",
    "a thought without begin": f"{TAGGED}\n</think>\n\nDone.",
}


@pytest.mark.parametrize("text", NO_CALL.values(), ids=NO_CALL.keys())
def test_what_is_only_shown_is_no_call(text: str) -> None:
    assert () == find_calls(text, F)


def test_a_marked_call_to_an_unknown_tool_counts_on_lines_of_its_own() -> None:
    text = f"I look.\n{TAGGED}\n"

    assert ["f"] == [call.name for call in find_calls(text, frozenset({"other"}))]


def test_a_call_at_the_end_of_a_thought_is_kept() -> None:
    assert ONE == calls(f"<think>I look.\n{TAGGED}\n</think>\n")


def test_only_the_calls_of_a_thought_are_dropped() -> None:
    assert ONE == calls(f"<think>a</think>\n{TAGGED}\n<think>\n<tool_call>{OTHER}</tool_call></think>\nDone.")


def test_arguments_are_kept_as_they_stand_there() -> None:
    text = '<tool_call>{"arguments": {"x":  1.50, "y": "\\u00e9"}, "name": "f"}</tool_call>'

    assert ['{"x":  1.50, "y": "\\u00e9"}'] == [call.arguments for call in find_calls(text, F)]


def test_arguments_that_are_nearly_json_are_kept_for_repair() -> None:
    assert ["{'x': 1,}"] == [call.arguments for call in find_calls("[TOOL_CALLS]f[ARGS]{'x': 1,}", F)]


CUT = {
    "a tag": ('<tool_call>{"name": "f", "arguments": {"x": 1, "y": "a', '{"x": 1, "y": "a'),
    "the last brace": ('<tool_call>{"name": "f", "arguments": {"x": 1}', '{"x": 1}'),
    "before the arguments": ('<tool_call>{"name": "f", ', ""),
    "OpenAI's form": ('{"type": "function", "function": {"name": "f", "arguments": {"x"', '{"x"'),
    "a fence": ('```json\n{"name": "f", "arguments": {"x": [1', '{"x": [1'),
    "JSON": ('{"name": "f", "parameters": {"x": 1,', '{"x": 1,'),
    "a parameter": ("<function=f>\n<parameter=x>\nab", "<parameter=x>\nab"),
    "between parameters": ("<tool_call>f<arg_key>x</arg_key>", "<arg_key>x</arg_key>"),
    "Mistral": ('[TOOL_CALLS]f[ARGS]{"x": "a', '{"x": "a'),
    "Python": ('[f(x="a', 'x="a'),
    "Gemma": ('<|tool_call>call:f{x:<|"|>a', '{x:<|"|>a'),
}


@pytest.mark.parametrize("cut", CUT)
def test_a_call_that_was_cut_is_found_but_not_complete(cut: str) -> None:
    text, arguments = CUT[cut]

    assert [("f", arguments, False, len(text))] == [
        (call.name, call.arguments, call.complete, call.end) for call in find_calls(text, F)
    ]


def test_a_list_that_was_cut_has_no_complete_call() -> None:
    assert [False, False] == [call.complete for call in find_calls('[f(x=1), f(x="a', F)]
    assert [False, False] == [call.complete for call in find_calls(f'[TOOL_CALLS][{CALL}, {{"name": "f", ', F)]


def test_a_call_before_the_cut_one_is_complete() -> None:
    assert [True, False] == [call.complete for call in find_calls(f'{TAGGED}<tool_call>{{"name": "f", "a', F)]


@pytest.mark.parametrize(
    ("text", "call_id"),
    [
        ('<|tool_call_begin|>functions.f:3<|tool_call_argument_begin|>{"x": 1}', "functions.f:3"),
        ('[TOOL_CALLS]f[CALL_ID]abc123def[ARGS]{"x": 1}', "abc123def"),
        ('{"id": "call_7", "type": "function", "function": {"name": "f", "arguments": {}}}', "call_7"),
        ("Calling tools:\n[{'id': 'c1', 'function': {'name': 'f', 'arguments': {}}}]", "c1"),
        (TAGGED, None),
    ],
)
def test_the_id_of_a_call_is_kept_where_the_form_has_one(text: str, call_id: str | None) -> None:
    assert [call_id] == [call.call_id for call in find_calls(text, F)]


def test_the_places_of_calls_cover_their_markers() -> None:
    text = f"Look: {TAGGED}\n[TOOL_CALLS][{CALL}, {OTHER}] end"
    first, second, third = find_calls(text, F)

    assert TAGGED == text[first.start : first.end]
    assert f"[TOOL_CALLS][{CALL}" == text[second.start : second.end]
    assert f"{OTHER}]" == text[third.start : third.end]


def test_an_answer_has_at_most_so_many_calls() -> None:
    assert MAX_CALLS == len(find_calls(TAGGED * (MAX_CALLS + 10), F))
    assert MAX_CALLS == len(find_calls(f"[TOOL_CALLS][{', '.join([CALL] * (MAX_CALLS + 10))}]", F))


def test_a_call_is_a_plain_record() -> None:
    assert (TextCall("f", '{"x": 1}', "tool_call_tag", 0, len(TAGGED), True, None),) == find_calls(TAGGED, F)
