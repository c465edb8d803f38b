"""What is repaired, what the codes say, and what is left alone."""

import json
from typing import Any

import pytest

from tarx_toollog.wire.repair import MAX_DEPTH, REPAIRS, repair_arguments

REPAIRED: dict[str, tuple[str, dict[str, Any], tuple[str, ...]]] = {
    "a trailing comma": ('{"a": [1, 2,],}', {"a": [1, 2]}, ("trailing_comma",)),
    "single quotes": ("{'a': 'b\"c'}", {"a": 'b"c'}, ("single_quotes",)),
    "an escape in single quotes": (r"{'a': 'it\'s \x41\u00e9\n'}", {"a": "it's Aé\n"}, ("single_quotes",)),
    "Python's words": ('{"a": True, "b": None, "c": False}', {"a": True, "b": None, "c": False}, ("python_literals",)),
    "a dict of Python": ("{'a': [True, 1.5]}", {"a": [True, 1.5]}, ("single_quotes", "python_literals")),
    "a line break": ('{"a": "x\ny\tz"}', {"a": "x\ny\tz"}, ("raw_newline",)),
    "keys without quotes": ("{a: 1, b_2 : {c: null}}", {"a": 1, "b_2": {"c": None}}, ("unquoted_keys",)),
    "an escaped apostrophe": (r'{"a": "it\'s"}', {"a": "it's"}, ("escaped_apostrophe",)),
    "a fence": ('```json\n{"a": 1}\n```', {"a": 1}, ("code_fence",)),
    "a fence without end": ('```\n{"a": 1}', {"a": 1}, ("code_fence",)),
    "a fence and words": ('```json\n{"a": 1}\n```\nThat is it.', {"a": 1}, ("code_fence", "trailing_text")),
    "encoded twice": (json.dumps('{"a": "b"}'), {"a": "b"}, ("double_encoded",)),
    "encoded three times": (json.dumps(json.dumps('{"a": "b"}')), {"a": "b"}, ("double_encoded",)),
    "escaped quotes": (r"{\"a\": \"b\"}", {"a": "b"}, ("double_encoded",)),
    "encoded and careless": (json.dumps("{'a': 1}"), {"a": 1}, ("double_encoded", "single_quotes")),
    "a brace too many": ('{"a": 1}}', {"a": 1}, ("trailing_text",)),
    "an end token": ('{"a": 1}<|im_end|>', {"a": 1}, ("trailing_text",)),
    "words behind it": ('{"a": 1}\nI hope that helps.', {"a": 1}, ("trailing_text",)),
    "a pair of surrogates": ("{'a': '\\ud83d\\ude00'}", {"a": "😀"}, ("single_quotes",)),
    "a byte order mark": ('\ufeff{"a": 1}', {"a": 1}, ("byte_order_mark",)),
}


@pytest.mark.parametrize("case", REPAIRED)
def test_what_obviously_means_an_object_is_repaired(case: str) -> None:
    text, value, codes = REPAIRED[case]

    assert (value, codes) == repair_arguments(text)


def test_every_code_of_the_table_can_be_returned() -> None:
    assert REPAIRS.keys() == {code for _, _, codes in REPAIRED.values() for code in codes}


LEFT_ALONE = {
    "an object": '{"a": 1, "b": [true, null]}',
    "nothing": "",
    "blanks": " \n",
    "a list": "[1]",
    "a careless list": "['a']",
    "a number": "5",
    "a string": '"abc"',
    "words": "no arguments",
    "a number that JSON cannot say": "{'a': -Infinity}",
    "not a number": '{"a": NaN}',
    "a cut string": '{"a": "b',
    "a cut object": '{"a": 1',
    "a cut object with slips": "{'a': True, ",
    "a cut fence": '```json\n{"a": ',
    "a cut encoding": r'"{\"a\": 1',
    "a missing value": '{"a": }',
    "a missing comma": '{"a": 1 "b": 2}',
    "an apostrophe in single quotes": "{'a': 'it's'}",
    "two objects": '{"a": 1}{"b": 2}',
    "a member behind the end": '{"a": {"b": 1}}, "c": 2}',
    "a bare member behind the end": "{a: 1}}, c: 2}",
    "a set": "{1, 2}",
    "a number as key": "{1: 2}",
    "a word as value": "{a: b}",
    "an expression": '{"a": 1 + 2}',
    "a path of Windows": r'{"a": "C:\data\new",}',
    "a cut code point": r"{'a': '\u00'}",
    "no code point": r"{'a': '\U00110000'}",
    "a tuple": "{'a': (1, 2)}",
    "digits without end": f"{{'a': {'9' * 5000}}}",
    "too deep": '{"a": ' + "[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1) + ",}",
}


@pytest.mark.parametrize("text", LEFT_ALONE.values(), ids=LEFT_ALONE.keys())
def test_what_is_cut_or_could_mean_two_things_is_left_alone(text: str) -> None:
    assert repair_arguments(text) is None
