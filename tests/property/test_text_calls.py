"""Leaked calls and repairs: what holds for every text, however hostile."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tarx_toollog.wire.repair import repair_arguments
from tarx_toollog.wire.text_calls import FORMS, MAX_CALLS, find_calls
from tarx_toollog.wire.text_calls.scan import _FORMS

F = frozenset({"f", "search"})
MARKS = [
    *_FORMS,
    "<think>",
    "</think>",
    "```",
    "```json\n",
    "\n",
    " ",
    "`",
    "{",
    "}",
    "[",
    "]",
    "(",
    ")",
    '"',
    "'",
    "\\",
]
WORDS = ["f", "search", '"name"', '"f"', '"arguments"', ":", ",", "=", "1", "x", "é", "\ud800", "\0", "True", "<|sep|>"]
ENDS = ["</tool_call>", "</function>", "<parameter=x>", "</parameter>", "<arg_key>x</arg_key>", "<arg_value>", "[ARGS]"]
hostile = st.lists(st.sampled_from(MARKS + WORDS + ENDS), max_size=60).map("".join)

numbers = st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | numbers | st.text(max_size=20)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner))
arguments = st.dictionaries(st.text(max_size=8), values, max_size=4)


@settings(max_examples=1000)
@given(hostile, st.sampled_from([F, frozenset[str]()]))
def test_any_text_gives_calls_that_stand_in_it_one_behind_the_other(text: str, offered: frozenset[str]) -> None:
    calls = find_calls(text, offered)

    assert all(0 <= call.start < call.end <= len(text) for call in calls)
    assert [call.start for call in calls] == sorted(call.start for call in calls)
    assert {call.form for call in calls} <= FORMS.keys()
    assert all(call.name for call in calls)
    assert len(calls) <= MAX_CALLS


WRITERS = {
    "tool_call_tag": "<tool_call>\n{call}\n</tool_call>",
    "fenced_json": "```json\n{call}\n```",
    "bare_json": "{call}",
    "function_tag": "<function=f>{arguments}</function>",
    "mistral": "[TOOL_CALLS]f[ARGS]{arguments}",
    "kimi": "<|tool_call_begin|>functions.f:0<|tool_call_argument_begin|>{arguments}<|tool_call_end|>",
    "deepseek": "<｜tool▁call▁begin｜>f<｜tool▁sep｜>{arguments}<｜tool▁call▁end｜>",
    "gpt_oss": "<|channel|>commentary to=functions.f<|message|>{arguments}",
}


@given(arguments, st.sampled_from(sorted(WRITERS)), st.booleans())
def test_arguments_come_out_as_they_were_written_whatever_they_hold(
    value: dict[str, Any], form: str, is_ascii: bool
) -> None:
    written = json.dumps(value, ensure_ascii=is_ascii)
    call = f'{{"name": "f", "arguments": {written}}}'
    text = "I look that up.\n\n" + WRITERS[form].replace("{call}", call).replace("{arguments}", written)

    assert [(form, "f", written, True)] == [
        (call.form, call.name, call.arguments, call.complete) for call in find_calls(text, F)
    ]


@given(arguments, st.data())
def test_a_call_that_is_cut_anywhere_is_never_complete(value: dict[str, Any], data: st.DataObject) -> None:
    text = f"[TOOL_CALLS]f[ARGS]{json.dumps({'x': value})}"
    cut = text[: data.draw(st.integers(0, len(text) - 1))]

    assert [] == [call for call in find_calls(cut, F) if call.complete]


UNITS = [
    *_FORMS,
    "{",
    "[",
    '"',
    "\n{",
    "\n[",
    "\n ",
    "\n```\n",
    "<tool_call>{",
    '<tool_call>{"a":"',
    '<tool_call>{"name":"f","arguments":{',
    '<tool_call>[{"name":"f"},',
    '\n```json\n{"name":"f","arguments":{',
    '{"name":"f","arguments":{"x":1}} x\n',
    "\n[f(x=1),",
    "\n[f(x=1)] x",
    "<function=f><parameter=x>\n",
    "<tool_call>f<arg_key>k</arg_key><arg_value>",
    '<｜DSML｜invoke name="f"><｜DSML｜parameter name="k" string="true">',
    '<|open|>call tool="f"<|sep|><|open|>argument key="k"<|sep|>',
    '<|tool_call>call:f{a:<|"|>',
    '[TOOL_CALLS]f[ARGS]{"a":"',
    "Calling tools:[{'a':",
    '<|python_tag|>f.call(x="',
    "to=functions.commentary",
]
ROOM = 3.0
"""Four times the text takes four times as long, and up to so many times that on a busy machine; 4 were quadratic."""


def fastest(text: str) -> float:
    """Return the seconds of the fastest of three scans."""
    times = []
    for _ in range(3):
        begin = time.process_time()
        find_calls(text, F)
        times.append(time.process_time() - begin)
    return min(times)


@pytest.mark.parametrize("unit", UNITS)
def test_four_times_the_hostile_text_takes_four_times_as_long(unit: str) -> None:
    short, long = (unit * (size // len(unit)) for size in (50_000, 200_000))

    assert fastest(long) < 4 * ROOM * max(fastest(short), 0.002)


@pytest.mark.parametrize("unit", ["<tool_call>", "{", "[", '[TOOL_CALLS]f[ARGS]{"a":"', '<tool_call>{"name":"f",'])
def test_a_megabyte_of_openers_takes_seconds_at_most(unit: str) -> None:
    text = unit * (1_000_000 // len(unit))
    begin = time.process_time()

    assert [] == [call for call in find_calls(text, F) if call.complete]
    assert time.process_time() - begin < 3


@given(arguments)
def test_a_json_object_needs_no_repair(value: dict[str, Any]) -> None:
    assert repair_arguments(json.dumps(value)) is None
    assert repair_arguments(json.dumps(value, ensure_ascii=False, indent=1)) is None


@settings(max_examples=1000)
@given(hostile)
def test_no_text_breaks_the_repair_and_none_is_repaired_without_a_code(text: str) -> None:
    repaired = repair_arguments(text)

    assert repaired is None or len(repaired[1]) > 0


MUTATIONS: dict[str, Callable[[str], str]] = {
    "trailing_comma": lambda text: f"{text[:-1]},}}",
    "code_fence": lambda text: f"```json\n{text}\n```",
    "double_encoded": json.dumps,
    "trailing_text": lambda text: f"{text}</tool_call>",
}


@given(arguments.filter(bool), st.sampled_from(sorted(MUTATIONS)))
def test_a_slip_is_undone(value: dict[str, Any], code: str) -> None:
    assert (value, (code,)) == repair_arguments(MUTATIONS[code](json.dumps(value)))


# Python chooses double quotes for a text with an apostrophe, and then writes escapes that JSON would have to know.
printable = st.text(st.characters(exclude_characters="'"), min_size=1, max_size=8)
printed = st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | printable | st.none()


@given(st.dictionaries(printable, printed | st.lists(printed, max_size=3), min_size=1))
def test_what_python_prints_is_read_back(value: dict[str, Any]) -> None:
    repaired = repair_arguments(repr(value))

    assert repaired is not None
    assert value == repaired[0]
    assert "single_quotes" in repaired[1]


@given(st.dictionaries(st.text(min_size=1, max_size=8), st.text(alphabet='ab\n\t"\\', max_size=8), min_size=1))
def test_raw_line_breaks_are_undone(value: dict[str, str]) -> None:
    text = json.dumps(value)
    raw = text.replace(r"\\", "\0").replace(r"\n", "\n").replace("\0", r"\\")
    repaired = repair_arguments(raw)

    assert (value, ("raw_newline",)) == repaired if raw != text else repaired is None


@given(arguments.filter(bool), st.data())
def test_a_cut_object_is_never_repaired(value: dict[str, Any], data: st.DataObject) -> None:
    text = json.dumps(value)
    cut = text[: data.draw(st.integers(1, len(text) - 1))]

    assert repair_arguments(cut) is None
