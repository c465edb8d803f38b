"""Calls side by side, argument by argument."""

from typing import Any

from tarx_toollog.replay.matching import Call, Rule, pair_calls
from tarx_toollog.web.argument_diff import CallRow, call_row

SCHEMA: dict[str, Any] = {
    "properties": {
        "query": {"type": "string"},
        "limit": {"type": "integer", "default": 5},
        "where": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
    "required": ["query"],
}


def beside(expected: dict[str, Any], made: dict[str, Any], name: str = "recall") -> CallRow:
    (pair,) = pair_calls([Call("recall", expected)], [Call(name, made)], {"recall": SCHEMA})
    return call_row(pair)


def states(row: CallRow) -> dict[str, str]:
    return {argument.path: argument.state for argument in row.arguments}


def test_arguments_are_the_same_alike_nearly_the_same_or_different() -> None:
    found = beside({"query": "Where I live", "limit": 7, "a": 1}, {"query": "where I live?", "limit": "7", "a": 2})
    assert {"/query": "alike", "/limit": "soft", "/a": "differs"} == states(found)
    assert {"/query": "same"} == states(beside({"query": "x"}, {"query": "x"}))


def test_a_default_that_was_left_out_is_alike() -> None:
    found = beside({"query": "x", "limit": 5}, {"query": "x"})
    assert ("alike", True) == (states(found)["/limit"], found.is_right)
    (_, limit) = found.arguments
    assert (True, False) == (limit.has_expected, limit.has_made)


def test_what_a_rule_lets_through_is_not_said_to_mean_the_same() -> None:
    rules = {"recall": {"/query": Rule("present"), "/where": Rule("ignore"), "/limit": Rule("present")}}
    calls = [Call("recall", {"query": "x", "limit": 7})], [Call("recall", {"query": "y", "where": {"city": "Faro"}})]
    (pair,) = pair_calls(*calls, {"recall": SCHEMA}, rules)
    assert {"/query": "ruled", "/where/city": "ruled", "/limit": "differs"} == states(call_row(pair, rules))


def test_objects_are_gone_into_and_keys_escaped() -> None:
    found = beside({"query": "x", "where": {"city": "Porto"}}, {"query": "x", "where": {"city": "Faro"}, "a/b~": []})
    assert {"/query": "same", "/where/city": "differs", "/a~1b~0": "differs"} == states(found)


def test_nothing_of_another_tool_is_alike() -> None:
    assert {"/query": "differs", "/title": "differs"} == states(beside({"query": "x"}, {"title": "x"}, "save"))


def test_a_call_without_a_partner_and_one_that_cannot_be_read() -> None:
    (lonely,) = map(call_row, pair_calls([Call("recall", {"query": "x"})], [], {}))
    assert ("recall", None, False) == (lonely.expected, lonely.made, lonely.is_right)
    (unread,) = map(call_row, pair_calls([Call("recall", {"query": "x"})], [Call("recall", None)], {}))
    assert [(True, False)] == [(argument.has_expected, argument.has_made) for argument in unread.arguments]
