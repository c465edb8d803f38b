"""Argument texts that are JSON, but not as one would write it: keys that stand twice, and a byte order mark."""

import pytest

from tarx_toollog.canonical import has_repeated_keys, parse_arguments, parse_json


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"a": 1, "a": 2}', True),
        ('{"a": {"b": 1, "c": 2, "b": 3}}', True),
        ('[{"a": 1, "b": [{"c": 1, "c": 1}]}]', True),
        ('{"a": 1, "\\u0061": 2}', True),
        ('\ufeff{"a": 1, "a": 2}', True),
        ('{"a": 1, "b": {"a": 1}}', False),
        ('[{"a": 1}, {"a": 2}]', False),
        ('{"a": "{\\"b\\": 1, \\"b\\": 2}"}', False),
        ('{"a": 1, "a": 2', False),
        ("", False),
        ('{"a":' * 100_000, False),
        ('{"a": 1, "b": ' + "9" * 5000 + "}", False),
    ],
)
def test_a_key_that_stands_twice_in_one_object_is_found(text: str, expected: bool) -> None:
    assert expected == has_repeated_keys(text)


@pytest.mark.parametrize("text", ['\ufeff{"a": 1}', '{"a": NaN}', '{"a": [Infinity]}', '{"a": {"b": -Infinity}}'])
def test_what_only_some_readers_take_is_no_json(text: str) -> None:
    assert (None, "invalid") == parse_arguments(text)


def test_words_that_look_like_it_are_text() -> None:
    assert ({"a": "NaN, Infinity"}, "ok") == parse_arguments('{"a": "NaN, Infinity"}')


def test_a_byte_order_mark_elsewhere_is_a_character_and_two_are_no_json() -> None:
    assert {"a": "\ufeff"} == parse_json('{"a": "\ufeff"}')
    assert (None, "invalid") == parse_arguments("\ufeff\ufeff{}")
    assert {"a": 1} == parse_json(b'\xef\xbb\xbf{"a": 1}')
