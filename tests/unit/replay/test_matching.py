import doctest
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped]

from tarx_toollog.replay.matching import (
    Call,
    assignment,
    calls,
    chain,
    cheapest_assignment,
    compare_arguments,
    pair_calls,
    same_text,
    similar_text,
    text,
    values,
)
from tarx_toollog.replay.reports import text_report
from tarx_toollog.replay.running import asking, endpoint
from tarx_toollog.replay.scorers.base import is_right
from tarx_toollog.replay.statistics import attempts, beta, paired, proportion, sequential, survival

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "query": {"type": "string"},
        "limit": {"type": "integer", "default": 5},
        "unit": {"type": "string", "enum": ["c", "f"]},
        "place": {"$ref": "#/$defs/place"},
        "tags": {"type": "array", "items": {"type": "string"}},
        "home": {"anyOf": [{"$ref": "#/$defs/place"}, {"type": "null"}], "default": None},
        "at": {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]},
        "mode": {"oneOf": [{"type": "null"}, {"type": "string", "enum": ["fast", "safe"]}]},
        "from": {"allOf": [{"$ref": "#/$defs/place"}], "title": "From"},
        "either": {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "string"}]},
        "open": {"type": "object", "properties": {"a": {}}, "additionalProperties": True},
    },
    "required": ["query"],
    "$defs": {
        "place": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "country": {"type": "string", "default": "PT"}},
        }
    },
}


@pytest.mark.parametrize(
    ("expected", "actual"),
    [
        ({"limit": 7}, {"limit": 7.0}),
        ({"limit": 0.3}, {"limit": 0.1 + 0.2}),
        ({"query": " BRCA1 "}, {"query": "BRCA1"}),
        ({"query": "a"}, {"query": "a", "limit": 5}),
        ({"query": "a", "limit": 5.0}, {"query": "a"}),
        ({"query": "Where do I live?"}, {"query": " where  do i live "}),
        ({"query": "“Lisbon”"}, {"query": "Lisbon."}),
        ({"query": "ｆｕｌｌ width"}, {"query": "full WIDTH"}),
        ({"place": {"city": "Porto", "country": "PT"}}, {"place": {"city": "porto"}}),
        ({"home": {"city": "Porto", "country": "PT"}}, {"home": {"city": "Porto"}}),
        ({"from": {"city": "Porto", "country": "PT"}}, {"from": {"city": "Porto"}}),
        ({"home": None}, {}),
        ({"at": "2026-11-23T10:00:00Z"}, {"at": "2026-11-23T11:00:00+01:00"}),
        ({"query": "Don’t forget: Mon–Fri"}, {"query": "don't forget: Mon-Fri"}),
        ({"query": "2 + 3!"}, {"query": "2+3!"}),
        ({"query": "2x^2 - 1"}, {"query": "2x^2 - 1."}),
        ({"query": "See /Data/x."}, {"query": "see  /Data/x"}),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({"x": float("nan")}, {"x": float("nan")}),
        ({"x": None}, {"x": None}),
    ],
)
def test_these_mean_the_same(expected: dict[str, Any], actual: dict[str, Any]) -> None:
    assert compare_arguments(expected, actual, SCHEMA) == ()
    assert compare_arguments(actual, expected, SCHEMA) == ()


@pytest.mark.parametrize(
    ("expected", "actual", "code", "path"),
    [
        ({"limit": 1}, {"limit": True}, "arg_type", "/limit"),
        ({"limit": 0}, {"limit": False}, "arg_type", "/limit"),
        ({"limit": 5}, {"limit": "5"}, "arg_type_coerced", "/limit"),
        ({"limit": 5}, {"limit": "5.5"}, "arg_type", "/limit"),
        ({"limit": 8990000000.0}, {"limit": 8990000001.0}, "arg_value", "/limit"),
        ({"limit": 1617262800000}, {"limit": 1617262800000.5}, "arg_value", "/limit"),
        ({"limit": 2**62}, {"limit": 2.0**62 + 1024}, "arg_value", "/limit"),
        ({"limit": 6}, {"limit": 7}, "arg_value", "/limit"),
        ({"limit": 6}, {}, "arg_missing_optional", "/limit"),
        ({}, {"limit": 6}, "arg_extra", "/limit"),
        ({"query": "a"}, {}, "missing_required", "/query"),
        ({"query": "a"}, {"query": "a", "lang": "en"}, "unknown_arg", "/lang"),
        ({"query": "-5"}, {"query": "5"}, "arg_value", "/query"),
        ({"query": "1.5"}, {"query": "15"}, "arg_value", "/query"),
        ({"query": "height 5'"}, {"query": 'height 5"'}, "arg_value", "/query"),
        ({"query": "5² m"}, {"query": "52 m"}, "arg_value", "/query"),
        ({"query": "/Data"}, {"query": "/data"}, "arg_value", "/query"),
        ({"query": "cat /Data/x"}, {"query": "cat /data/x"}, "arg_value", "/query"),
        ({"query": "tar -X f"}, {"query": "tar -x f"}, "arg_value", "/query"),
        ({"query": "cd .."}, {"query": "cd"}, "arg_other_words", "/query"),
        ({"query": "if a:\n  b\n  c"}, {"query": "if a:\n  b\nc"}, "arg_other_words", "/query"),
        ({"query": "2 + 3!"}, {"query": "2 + 3"}, "arg_value", "/query"),
        ({"query": "12 * 7"}, {"query": "12 + 7"}, "arg_value", "/query"),
        (
            {"query": "The price fell by −5 % in all of May"},
            {"query": "The price fell by 5 % in all of May"},
            "arg_value",
            "/query",
        ),
        ({"query": "00745"}, {"query": 745}, "arg_type", "/query"),
        ({"query": "+49170"}, {"query": 49170}, "arg_type", "/query"),
        ({"query": "1_0"}, {"query": 10}, "arg_type", "/query"),
        ({"mode": "fast"}, {"mode": "Fast"}, "arg_enum_case", "/mode"),
        ({"home": {"city": "Porto"}}, {"home": {"city": "Porto", "zip": "1"}}, "unknown_arg", "/home/zip"),
        ({"either": "2026-11-23T10:00:00Z"}, {"either": "2026-11-23T11:00:00+01:00"}, "arg_value", "/either"),
        ({"open": {"a": 1}}, {"open": {"a": 1, "b": 2}}, "arg_extra", "/open/b"),
        ({"query": "2026-05-01"}, {"query": "2026-05-10"}, "arg_value", "/query"),
        ({"unit": "c"}, {"unit": "C"}, "arg_enum_case", "/unit"),
        ({"unit": "c"}, {"unit": "k"}, "arg_enum", "/unit"),
        ({"unit": "c"}, {"unit": "f"}, "arg_value", "/unit"),
        ({"tags": ["a", "b"]}, {"tags": ["b", "a"]}, "arg_value", "/tags/0"),
        ({"tags": ["a", "b"]}, {"tags": ["a"]}, "arg_value", "/tags"),
        ({"place": {"city": "Porto"}}, {"place": {"city": "Faro"}}, "arg_value", "/place/city"),
        ({"place": {"city": "Porto"}}, {"place": {"city": "Porto", "country": "ES"}}, "arg_extra", "/place/country"),
        ({"query": None}, {"query": "a"}, "arg_type", "/query"),
        ({"limit": 12345678901}, {"limit": 12345678902}, "arg_value", "/limit"),
        ({"a/b": 1}, {"a/b": 2}, "arg_value", "/a~1b"),
    ],
)
def test_these_differ(expected: dict[str, Any], actual: dict[str, Any], code: str, path: str) -> None:
    found = compare_arguments(expected, actual, SCHEMA)
    assert (found[0].code, found[0].path) == (code, path)
    assert compare_arguments(actual, expected, SCHEMA)


def test_a_reference_that_loops_ends() -> None:
    schema = {"properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"$ref": "#/$defs/a"}}}
    assert compare_arguments({"a": 1}, {"a": 1}, schema) == ()


@pytest.mark.parametrize(
    ("expected", "actual", "is_similar"),
    [
        ("He does not want to be called before noon", "He wants to be called, but not before noon", True),
        ("He does not want to be called before noon", "He does want to be called before noon", False),
        ("She eats fish, she doesn’t eat any meat", "She eats fish, she does eat any meat", False),
        ("Sie isst kein Fleisch und auch sonst nichts davon", "Sie isst Fleisch und auch sonst alles davon", False),
        ("The user eats no meat, only fish and vegetables", "The user eats meat, fish and vegetables", False),
        ("Ele mora no Porto com a família e dois gatos", "Ele mora em Porto com a família e dois gatos", True),
        ("The files of the user are in (/Data/x)", "The user has the files in /Data/x", True),
        ("The files of the user are in /Data/x", "The user has the files in /data/x", False),
        ("Ann has the address ann@Host.de since last May", "Since last May Ann has the address ann@host.de", True),
    ],
)
def test_other_words_say_the_same_only_with_all_that_counts(expected: str, actual: str, is_similar: bool) -> None:
    assert is_similar is similar_text(expected, actual)
    assert is_similar is similar_text(actual, expected)


def test_text_that_is_only_punctuation_keeps_it() -> None:
    assert not same_text("!", "?")


@given(st.text(), st.text())
def test_same_text_is_symmetric(one: str, other: str) -> None:
    assert same_text(one, other) == same_text(other, one)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
ARGUMENTS = st.dictionaries(st.sampled_from(["query", "limit", "unit", "place", "tags", "x"]), JSON_VALUES)


@given(ARGUMENTS)
def test_everything_means_the_same_as_itself(arguments: dict[str, Any]) -> None:
    assert compare_arguments(arguments, arguments, SCHEMA) == ()


@given(ARGUMENTS, ARGUMENTS)
def test_meaning_the_same_is_symmetric(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert bool(compare_arguments(one, other, SCHEMA)) == bool(compare_arguments(other, one, SCHEMA))


@given(st.integers(1, 7).flatmap(lambda n: st.lists(st.lists(st.integers(0, 120), min_size=n, max_size=n),
                                                     min_size=n, max_size=n)))  # fmt: skip
def test_the_assignment_costs_as_little_as_that_of_scipy(costs: list[list[int]]) -> None:
    columns = cheapest_assignment(costs)
    assert sorted(columns) == list(range(len(costs)))
    rows, best = linear_sum_assignment(costs)
    assert sum(costs[i][j] for i, j in enumerate(columns)) == sum(costs[i][j] for i, j in zip(rows, best, strict=True))


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 2)), min_size=1, max_size=4))
def test_every_order_of_the_right_calls_is_right(pairs: list[tuple[str, int]]) -> None:
    calls = [Call(name, {"n": n}) for name, n in pairs]
    assert all(is_right(pair_calls(calls, order, {})) for order in permutations(calls))


def test_pairing_blames_the_call_that_is_wrong() -> None:
    expected = [Call("t", {"a": 1, "b": 1}), Call("t", {"a": 2, "b": 2})]
    made = [Call("t", {"a": 2, "b": 2}), Call("t", {"a": 1, "b": 9})]
    first, second = pair_calls(expected, made, {})
    assert [d.path for d in first.differences] == ["/b"]
    assert second.differences == ()


def test_one_call_too_few_is_missing_and_one_too_many_extra() -> None:
    one, two = Call("a", {}), Call("b", {})
    assert [(p.expected, p.actual) for p in pair_calls([one, two], [two], {})] == [(one, None), (two, two)]
    assert [(p.expected, p.actual) for p in pair_calls([two], [one, two], {})] == [(two, two), (None, one)]


@pytest.mark.parametrize(
    "module",
    [
        assignment,
        calls,
        chain,
        text,
        values,
        asking,
        endpoint,
        text_report,
        attempts,
        beta,
        paired,
        proportion,
        sequential,
        survival,
    ],
)
def test_examples_in_the_docstrings_run(module: Any) -> None:
    assert doctest.testmod(module).failed == 0
    assert doctest.testmod(module).attempted > 0
