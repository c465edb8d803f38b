"""Verdicts on calls and on results, and that a stranger's schema cannot keep the writer busy."""

import re
import time
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.linking import examples, verdicts
from tarx_toollog import Settings, ToolLog
from tarx_toollog.model import ToolCall, ToolDefinition
from tarx_toollog.store.patterns import MAX_PATTERN, max_length
from tarx_toollog.store.results import MAX_JSON, judge_result
from tarx_toollog.store.verdicts import CallVerdict, check_schema, judge_call
from tests.support.builders import TOOLS, assistant, call, exchange, user

STRICT = {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]}
OFFERED = {"look": ToolDefinition("look", {}, parameters=STRICT), "bare": ToolDefinition("bare", {})}


# ---- calls ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (ToolCall("look", '{"query": "x"}', "1"), ({"query": "x"}, "ok", "ok", None, True, [])),
        (ToolCall("bare", "", "1"), ({}, "empty", "unchecked", None, True, [])),
        (ToolCall("none", "{}", "1"), ({}, "ok", "unchecked", None, False, [])),
        (
            ToolCall("look", "{'query': 'x',}", "1", quirks=("id_missing",)),
            (None, "repaired", "ok", None, True, ["id_missing", "repaired:single_quotes", "repaired:trailing_comma"]),
        ),
        (
            ToolCall("look", "{'q': 1}", "1"),
            (
                None,
                "repaired",
                "fail",
                ["(root): 'query' is a required property"],
                True,
                ["repaired:single_quotes"],
            ),
        ),
        (ToolCall("look", '{"query": "x', "1", complete=False), (None, "incomplete", "unchecked", None, True, [])),
        (ToolCall("look", "[1]", "1"), (None, "invalid", "unchecked", None, True, [])),
    ],
    ids=["good", "empty", "not offered", "repaired", "repaired and wrong", "cut off", "not an object"],
)
def test_a_call_is_judged_by_its_arguments_and_the_schema_as_offered(call: ToolCall, expected: Any) -> None:
    verdict = judge_call(call, OFFERED)
    if expected[1] == "repaired":
        assert verdict.arguments_json is not None
        verdict = verdict._replace(arguments_json=None)

    assert CallVerdict(*expected) == verdict


# ---- schemas of strangers -------------------------------------------------------------------------------------------

HOSTILE = "(a+)+$"
ENDLESS = {
    "$defs": {
        **{f"d{i}": {"anyOf": [{"$ref": f"#/$defs/d{i + 1}"}, {"$ref": f"#/$defs/d{i + 1}"}]} for i in range(30)},
        "d30": {"type": "string"},
    },
    "properties": {"a": {"$ref": "#/$defs/d0"}},
}
TEXT = "a" * 40 + "!"


@pytest.mark.parametrize(
    ("value", "schema", "state", "reason"),
    [
        ({"a": TEXT}, {"properties": {"a": {"pattern": HOSTILE}}}, "unchecked", "pattern"),
        ({"a": TEXT}, {"properties": {"a": {"pattern": "(?:a?){40}a{40}$"}}}, "unchecked", "pattern"),
        ({"a": "a" * 3000}, {"properties": {"a": {"pattern": "a*a*a*a*b"}}}, "unchecked", "pattern"),
        ({TEXT: 1}, {"patternProperties": {HOSTILE: {}}, "additionalProperties": False}, "unchecked", "pattern"),
        ({TEXT: 1}, {"patternProperties": {HOSTILE: {}}, "unevaluatedProperties": False}, "unchecked", "pattern"),
        ({"a": 1}, ENDLESS, "unchecked", "given up"),
        ({"a": [{"n": n} for n in range(5000)]}, {"properties": {"a": {"uniqueItems": True}}}, "unchecked", "unique"),
        ({"a": TEXT, "b": 1}, {"properties": {"a": {"pattern": HOSTILE}, "b": {"type": "string"}}}, "fail", "/b"),
        (
            {"a": TEXT},
            {"properties": {"a": {"if": {"pattern": HOSTILE}, "then": {"maxLength": 3}}}},
            "unchecked",
            "pattern",
        ),
    ],
    ids=[
        "repetition in a repetition",
        "many optional parts",
        "many repetitions",
        "in a key",
        "in a key, seen from another keyword",
        "references to references",
        "unique items",
        "beside a real mistake",
        "in a condition",
    ],
)
def test_a_hostile_schema_costs_no_time_and_is_called_unchecked(
    value: dict[str, Any], schema: dict[str, Any], state: str, reason: str
) -> None:
    start = time.perf_counter()
    found, reasons = check_schema(value, schema)

    assert state == found
    assert reasons is not None
    assert reason in reasons[0]
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize(
    ("value", "schema", "expected"),
    [
        ({"a": "2026-11-22"}, {"properties": {"a": {"pattern": r"^\d{4}-\d{2}-\d{2}$"}}}, "ok"),
        ({"a": "today"}, {"properties": {"a": {"pattern": r"^\d{4}-\d{2}-\d{2}$"}}}, "fail"),
        ({"a_1": 1}, {"patternProperties": {"^a_": {"type": "integer"}}, "additionalProperties": False}, "ok"),
        ({"b": 1}, {"patternProperties": {"^a_": {"type": "integer"}}, "additionalProperties": False}, "fail"),
        ({"a": [1, 2, 1]}, {"properties": {"a": {"uniqueItems": True}}}, "fail"),
        ({"a": 1}, {"properties": {"a": {"$ref": "https://example.org/x"}}}, "unchecked"),
        ({"a": 1}, {"type": 3}, "unchecked"),
    ],
)
def test_an_ordinary_schema_is_checked_as_ever(value: dict[str, Any], schema: dict[str, Any], expected: str) -> None:
    assert expected == check_schema(value, schema)[0]


@pytest.mark.parametrize(
    ("value", "schema", "raised"),
    [
        ({"a": 1e999}, {"properties": {"a": {"type": "number", "multipleOf": 0.01}}}, "OverflowError"),
        ({"a": 10**400}, {"properties": {"a": {"type": "number", "multipleOf": 0.01}}}, "OverflowError"),
        ({"a": 1}, {"properties": {"a": {"$ref": "#/required"}}, "required": ["a"]}, "AttributeError"),
        ({"a": 1}, {"properties": {"a": {"$ref": "#/x"}}, "x": "text"}, "AttributeError"),
        ({"a": 1}, {"properties": {"a": {"$ref": "#/x"}}, "x": {"multipleOf": 0}}, "ZeroDivisionError"),
    ],
    ids=["infinity", "a huge number", "a reference to a list", "to a text", "to a schema that is none"],
)
def test_a_check_that_fails_is_no_verdict_and_costs_no_row(
    tmp_path: Path, value: dict[str, Any], schema: dict[str, Any], raised: str
) -> None:
    assert ("unchecked", [f"(root): the check broke off: {raised}"]) == check_schema(value, schema)

    tool = {"type": "function", "function": {"name": "look", "parameters": schema}}
    made = exchange([user("Do")], assistant("", call("look", value)), tools=[tool])
    with ToolLog.open(settings=Settings(database=str(tmp_path / "t.db")), read_only=False) as log:
        log.write([made])
        with ToolLog.open(settings=log.settings) as reader:
            assert [("unchecked",)] == list(reader.query("SELECT schema_state FROM tool_call").rows)


MANY = {f"field_{n}": 1 for n in range(5000)}
NAMES = [f"name_{n}" for n in range(5000)]
FEWER = NAMES[:1000]


@pytest.mark.parametrize(
    ("value", "schema", "state"),
    [
        ({"a": [{}] * 9000}, {"properties": {"a": {"items": {"required": NAMES}}}}, "fail"),
        ({"a": [{}] * 9000}, {"anyOf": [{"properties": {"a": {"items": {"required": NAMES}}}}]}, "unchecked"),
        ({"a": NAMES}, {"properties": {"a": {"items": {"enum": NAMES[::-1]}}}}, "unchecked"),
        (MANY, {"propertyNames": {"enum": NAMES}}, "fail"),
        (MANY, {"anyOf": [{"propertyNames": {"enum": NAMES}}]}, "unchecked"),
        (
            {"a": [{}] * 9000},
            {"properties": {"a": {"items": {"properties": {name: {} for name in FEWER}}}}},
            "unchecked",
        ),
        (
            {"a": [{"b": 1}] * 9000},
            {"properties": {"a": {"items": {"patternProperties": {f"^{name}": {} for name in FEWER}}}}},
            "unchecked",
        ),
        ({"a": ["a" * 999] * 5000}, {"properties": {"a": {"items": {"pattern": "[a-z]+1"}}}}, "fail"),
        ({"a": ["a" * 999] * 5000}, {"anyOf": [{"properties": {"a": {"items": {"pattern": "[a-z]+1"}}}}]}, "unchecked"),
        ({"a": "x" * 10**6}, {"properties": {"a": {"anyOf": [False] * 500}}}, "unchecked"),
        ({"a": "x" * 10**6}, {"properties": {"a": {"oneOf": [{"maxLength": 1}] * 500}}}, "unchecked"),
        ({"a": [MANY | {"n": n} for n in range(40)]}, {"properties": {"a": {"uniqueItems": True}}}, "unchecked"),
    ],
    ids=[
        "errors",
        "errors in a choice",
        "enum",
        "enum of keys",
        "enum of keys in a choice",
        "properties",
        "patterns of keys",
        "searches",
        "searches in a choice",
        "forbidden branches",
        "messages with a long text",
        "unique items that are large",
    ],
)
def test_a_check_is_bounded_in_time_and_memory(value: dict[str, Any], schema: dict[str, Any], state: str) -> None:
    check_schema({}, schema)  # reads the schema, which is done once
    start = time.process_time()
    found = check_schema(value, schema)[0]
    took = time.process_time() - start
    tracemalloc.start()  # makes it several times slower
    check_schema(value, schema)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert state == found
    assert peak < 64 * 2**20
    assert took < 2


@pytest.mark.parametrize(
    ("pattern", "longest"),
    [
        ("^[a-z]+$", 1_000_000),
        ("[a-z]+", 1_000),
        ("^[^@]+@[^@]+$", 1_000),
        ("^(jan|feb|mar)$", 10**9),
        (r"^[0-9a-f]{8}-[0-9a-f]{4}$", 10**9),
        ("^a|b+c", 707),
        ("^(a|b)*$", -1),
        ("^(a?b)+$", -1),
        ("^((a+)b)*$", -1),
        (r"(.)\1", -1),
        ("(?(1)a|b)", -1),
        ("(?#a)b", -1),
        ("(a", -1),
        ("a" * (MAX_PATTERN + 1), -1),
    ],
)
def test_the_choices_of_a_pattern_say_how_long_a_text_may_be(pattern: str, longest: int) -> None:
    assert longest == max_length(pattern)


ATOMS = st.sampled_from(["a", "b", ".", "[ab]", r"\w", "^", "$", "|"])
REPEATS = st.sampled_from(["", "", "", "?", "*", "+", "{2}", "{1,3}", "*?", "{,2}", "{20}"])
PATTERNS = st.recursive(
    st.tuples(ATOMS, REPEATS).map(lambda p: p[0] + ("" if p[0] in "^$|" else p[1])),
    lambda inner: st.lists(inner, min_size=1, max_size=4).flatmap(
        lambda parts: st.tuples(st.sampled_from(["({})", "(?:{})", "{}", "(?={})"]), REPEATS).map(
            lambda form: form[0].format("".join(parts)) + (form[1] if form[0].startswith("(") else "")
        )
    ),
    max_leaves=10,
)


@given(pattern=PATTERNS, letters=st.sampled_from(["a", "ab", "aab"]))
def test_what_is_run_is_quick(pattern: str, letters: str) -> None:
    length = min(max_length(pattern), 20_000)
    if length < 1:
        return
    text = (letters * length)[: length - 1] + "!"
    start = time.perf_counter()
    re.search(pattern, text)

    assert time.perf_counter() - start < 2


# ---- results --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("row", examples("failed"), ids=lambda row: repr(row["text"])[1:50])
def test_failed_results_are_told_by(row: dict[str, Any]) -> None:
    verdict = judge_result(row["text"], row.get("flag"))

    assert (row["how"] is not None, row["how"]) == verdict


@pytest.mark.parametrize("row", examples("ordinary"), ids=lambda row: repr(row["text"])[1:50])
def test_ordinary_results_are_no_failures(row: dict[str, Any]) -> None:
    verdict = judge_result(row["text"], row.get("flag"))

    assert (row["how"] is not None, row["how"]) == verdict


def test_few_are_missed_and_few_are_mistaken() -> None:
    figures = verdicts()

    assert figures["failed"] >= 60
    assert figures["ordinary"] >= 60
    assert figures["precision"] >= 0.95
    assert figures["recall"] >= 0.9


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"a":' * 5_000, "a." * 500_000, ": " * 10_000, '["' * 1_000, "\u26a0" * 100_000]
)
def test_a_strange_result_costs_no_time(text: str) -> None:
    start = time.perf_counter()

    assert not judge_result(text).is_error
    assert time.perf_counter() - start < 1


def test_a_huge_result_is_data() -> None:
    assert not judge_result('{"error": "x", "fill": "' + "x" * MAX_JSON + '"}').is_error


def test_what_was_repaired_is_noted_beside_what_the_server_did_and_read_back_without(tmp_path: Path) -> None:
    made = exchange([user("Do")], assistant("", call("tarx_recall", "{'query': 'x'}")), tools=TOOLS)
    with ToolLog.open(settings=Settings(database=str(tmp_path / "t.db")), read_only=False) as log:
        log.write([made])
        with ToolLog.open(settings=log.settings) as reader:
            (stored,) = reader.query("SELECT argument_state, schema_state, is_bad, quirks FROM v_tool_calls").rows
            read = reader.exchange(made.uid)

    assert ("repaired", "ok", 1, '["id_missing","repaired:single_quotes"]') == stored
    assert made == read
