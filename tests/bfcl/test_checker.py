"""BFCL's rules, one by one, and what is said of whole calls."""

import json
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog.replay.bfcl import AcceptedCall, BfclCase, Expects, check_calls
from tarx_toollog.replay.matching import Call
from tests.bfcl.ruler import Asked, ask, verdicts

RULES: list[dict[str, Any]] = json.loads((Path(__file__).parent / "rules.json").read_text("utf-8"))
"""One parameter ``p`` each: its schema, the accepted values, a value, and the code of what is wrong with it."""


def asked_by(rule: dict[str, Any]) -> Asked:
    parameters = {"type": "dict", "properties": {"p": rule["schema"]}, "required": []}
    row = {
        "id": rule["rule"],
        "question": [[]],
        "function": [{"name": "f", "description": "", "parameters": parameters}],
    }
    return ask("simple_python", row, {"id": rule["rule"], "ground_truth": [{"f": {"p": rule["accepted"]}}]})


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["rule"])
def test_a_value_is_judged_by_the_rule(rule: dict[str, Any]) -> None:
    found = check_calls(asked_by(rule).case, [Call("f", {"p": rule["value"]})])

    assert [rule["code"]] * (rule["code"] is not None) == [finding.code for finding in found]


def test_the_rules_are_bfcl_s(bfcl: Path, tmp_path: Path) -> None:
    judged = verdicts(bfcl, [(asked_by(rule), [[Call("f", {"p": rule["value"]})]]) for rule in RULES], tmp_path)

    assert [(rule["rule"], rule["code"] is None) for rule in RULES] == [
        (rule["rule"], valid) for rule, [valid] in zip(RULES, judged, strict=True)
    ]


def tool(name: str, *required: str, **types: str) -> dict[str, Any]:
    properties = {parameter: {"type": kind} for parameter, kind in types.items()}
    parameters = {"type": "object", "properties": properties, "required": list(required)}
    return {"type": "function", "function": {"name": name, "description": "", "parameters": parameters}}


def case(*accepted: AcceptedCall, expects: Expects = Expects.CALLS) -> BfclCase:
    tools = (tool("f", "a", a="integer", b="string", c="string"), tool("g", "x/y", **{"x/y": "integer"}))
    return BfclCase("1", "parallel", (), tools, expects, accepted)


ONE = AcceptedCall("f", {"a": (1,), "b": ("x",)})
TWO = AcceptedCall("f", {"a": (2,), "b": ("y", "")})


@pytest.mark.parametrize(
    ("calls", "codes"),
    [
        ([], ["missing_call"]),
        ([Call("f", {"a": 1, "b": "x"})], []),
        ([Call("f", None)], ["malformed_json"]),
        ([Call("g", {})], ["wrong_tool"]),
        ([Call("h", {})], ["hallucinated_tool"]),
        ([Call("f", {"a": 1, "b": "x"}), Call("f", {"a": 1, "b": "x"})], ["extra_call"]),
        ([Call("h", {}), Call("f", {"a": 1, "b": "x"})], ["hallucinated_tool"]),
        ([Call("f", {"b": "x"})], ["missing_required"]),
        ([Call("f", {"a": 1})], ["arg_missing_optional"]),
        ([Call("f", {"a": 1, "b": "x", "c": "z"})], ["arg_extra"]),
        ([Call("f", {"a": 1, "b": "x", "d": "z"})], ["unknown_arg"]),
        ([Call("f", {"b": "z", "d": "z"})], ["missing_required", "unknown_arg", "arg_value"]),
    ],
)
def test_calls_that_are_wrong_say_how_the_primary_code_first(calls: list[Call], codes: list[str]) -> None:
    assert codes == [finding.code for finding in check_calls(case(ONE), calls)]


def test_what_may_be_left_out_is_not_missed() -> None:
    assert () == check_calls(case(TWO), [Call("f", {"a": 2})])


def test_calls_are_paired_so_that_the_fewest_things_are_wrong() -> None:
    either = AcceptedCall("f", {"a": (1, 2), "b": ("x", "y")})
    calls = [Call("f", {"a": 1, "b": "x"}), Call("f", {"a": 2, "b": "y"})]

    # Greedily, the first call goes to ``either``, and nothing is left for ``ONE``.
    assert () == check_calls(case(either, ONE), calls)


def test_a_finding_names_the_call_the_argument_and_the_values() -> None:
    calls = [Call("f", {"a": 2, "b": "y"}), Call("g", {"x/y": "1"}), Call("f", {"a": 1, "b": "z"})]

    found = check_calls(case(ONE, TWO, AcceptedCall("g", {"x/y": (1,)})), calls)

    assert [
        {"code": "arg_type", "name": "g", "call": 1, "path": "/x~1y", "expected": [1], "actual": "1"},
        {"code": "arg_value", "name": "f", "call": 2, "path": "/b", "expected": ["x"], "actual": "z"},
    ] == [finding.to_json() for finding in found]


@pytest.mark.parametrize(
    ("expects", "calls", "codes"),
    [
        (Expects.NO_CALL, [], []),
        (Expects.NO_CALL, [Call("f", {}), Call("h", {})], ["unneeded_call", "unneeded_call"]),
        (Expects.NO_CALL, [Call("f", {}), Call("f", None)], []),
        (Expects.ANY_CALL, [Call("h", {})], []),
        (Expects.ANY_CALL, [], ["missing_call"]),
        (Expects.ANY_CALL, [Call("f", None)], ["missing_call"]),
    ],
)
def test_where_no_call_is_compared_only_whether_there_is_one_counts(
    expects: Expects, calls: list[Call], codes: list[str]
) -> None:
    assert codes == [finding.code for finding in check_calls(case(expects=expects), calls)]
