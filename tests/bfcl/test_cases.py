"""BFCL's rows become cases that a server can be asked; what is none of its rows is refused."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from tarx_toollog.errors import ConfigError
from tarx_toollog.replay.bfcl import AcceptedCall, BfclCase, Expects, read_case
from tarx_toollog.replay.bfcl.cases import tool_name
from tests.bfcl.ruler import Asked, lines_of
from tests.consumers.environments import read_in

ROW: dict[str, Any] = {
    "id": "simple_python_0",
    "question": [[{"role": "user", "content": "Where is the next ATM?"}]],
    "function": [
        {
            "name": "maps.find",
            "description": "Finds places.",
            "parameters": {
                "type": "dict",
                "properties": {
                    "type": {"type": "string", "enum": ["atm", "bank"], "default": "bank"},
                    "at": {"type": "tuple", "items": {"type": "float"}},
                    "stops": {"type": "array", "items": {"type": "dict"}},
                    "options": {
                        "type": "dict",
                        "properties": {"radius": {"type": "float"}, "more": {"type": "any", "description": "?"}},
                    },
                },
                "required": ["type"],
            },
        }
    ],
}
ANSWER: dict[str, Any] = {
    "id": "simple_python_0",
    "ground_truth": [{"maps.find": {"type": ["atm"], "options": ["", {"radius": [1.5, ""]}]}}],
}


def test_a_row_is_what_a_server_can_be_asked_and_the_calls_that_are_right() -> None:
    parameters = {
        "type": "object",
        "properties": {
            "type": {"type": "string", "enum": ["atm", "bank"], "default": "bank"},
            "at": {"type": "array", "items": {"type": "number"}},
            "stops": {"type": "array", "items": {"type": "object"}},
            "options": {
                "type": "object",
                "properties": {"radius": {"type": "number"}, "more": {"description": "?"}},
            },
        },
        "required": ["type"],
    }
    tool = {"name": "maps_find", "description": "Finds places.", "parameters": parameters}
    expected = BfclCase(
        id="simple_python_0",
        category="simple_python",
        messages=({"role": "user", "content": "Where is the next ATM?"},),
        tools=({"type": "function", "function": tool},),
        expects=Expects.CALLS,
        accepted=(AcceptedCall("maps_find", {"type": ("atm",), "options": ("", {"radius": [1.5, ""]})}),),
    )

    assert expected == read_case("simple_python", ROW, ANSWER)


@pytest.mark.parametrize(
    ("category", "expects"),
    [("irrelevance", Expects.NO_CALL), ("live_irrelevance", Expects.NO_CALL), ("live_relevance", Expects.ANY_CALL)],
)
def test_a_category_without_answers_asks_whether_there_is_a_call(category: str, expects: Expects) -> None:
    case = read_case(category, ROW)

    assert (expects, ()) == (case.expects, case.accepted)


def test_a_row_is_not_changed() -> None:
    row, answer = json.dumps(ROW), json.dumps(ANSWER)

    read_case("simple_python", ROW, ANSWER)

    assert (row, answer) == (json.dumps(ROW), json.dumps(ANSWER))


def changed(value: Any, path: tuple[str | int, ...], to: Any) -> Any:
    """Return a copy of a JSON value with something else in one place."""
    copy = json.loads(json.dumps(value))
    inner = copy
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = to
    return copy


OFFERED = ROW["function"][0]
TOOL = ("function", 0)
SCHEMA = (*TOOL, "parameters")
CALL = ("ground_truth", 0)


@pytest.mark.parametrize(
    ("path", "to", "says"),
    [
        (("id",), None, "a row of simple_python: 'id' is missing or not a str"),
        (("question",), "Where?", "'question' is missing or not a list"),
        (("question",), [], "'question' is not one turn of messages"),
        (("question",), [[], []], "'question' is not one turn of messages"),
        (("question",), [["Where?"]], "'question' is not one turn of messages"),
        (("function",), {}, "'function' is missing or not a list"),
        (("function",), ["maps.find"], "'parameters' is missing or not a dict"),
        (("function",), [OFFERED, {**OFFERED, "name": "maps_find"}], "two tools have the same name"),
        ((*TOOL, "name"), None, "'name' is missing or not a str"),
        ((*TOOL, "description"), None, "'description' is missing or not a str"),
        ((*SCHEMA, "type"), "object", "'object' is not a type of its Python cases"),
        ((*SCHEMA, "properties", "at", "items", "type"), "HashMap", "'HashMap' is not a type of its Python cases"),
        ((*SCHEMA, "properties", "at", "items"), "float", "'items' is missing or not a dict"),
        ((*SCHEMA, "properties"), [], "'properties' is missing or not a dict"),
        ((*SCHEMA, "required"), "type", "'required' is missing or not a list"),
    ],
)  # fmt: skip
def test_a_row_that_is_none_of_bfcl_s_is_refused(path: tuple[str | int, ...], to: Any, says: str) -> None:
    with pytest.raises(ConfigError, match="simple_python") as refused:
        read_case("simple_python", changed(ROW, path, to), ANSWER)

    assert says in refused.value.message
    assert "BFCL_v4_<category>.json" in refused.value.hint


@pytest.mark.parametrize(
    ("path", "to", "says"),
    [
        (("id",), "simple_python_1", "the accepted answers are missing, or of another row"),
        (("ground_truth",), {}, "'ground_truth' is missing or not a list"),
        (("ground_truth",), [], "no call is accepted"),
        (CALL, "maps.find()", "an accepted call is not an object with one tool"),
        (CALL, {"maps.find": {}, "maps.lose": {}}, "an accepted call is not an object with one tool"),
        (CALL, {"maps.lose": {}}, "the accepted call names 'maps.lose', which is not offered"),
        ((*CALL, "maps.find"), [], "'maps.find' is missing or not a dict"),
        ((*CALL, "maps.find", "type"), "atm", "'type' is missing or not a list"),
        ((*CALL, "maps.find", "options"), [{"radius": 1.5}], "'radius' is missing or not a list"),
        ((*CALL, "maps.find", "stops"), ["", [{"at": "home"}]], "'at' is missing or not a list"),
    ],
)
def test_an_answer_that_is_none_of_bfcl_s_is_refused(path: tuple[str | int, ...], to: Any, says: str) -> None:
    with pytest.raises(ConfigError) as refused:
        read_case("simple_python", ROW, changed(ANSWER, path, to))

    assert f"simple_python: simple_python_0: {says}" == refused.value.message


def test_a_row_without_its_answer_is_refused_where_calls_are_compared() -> None:
    with pytest.raises(ConfigError, match="the accepted answers are missing"):
        read_case("simple_python", ROW)


def test_a_long_name_is_cut_to_what_servers_take() -> None:
    assert "a_" + 62 * "b" == tool_name("a." + 70 * "b")


def test_a_category_that_cannot_be_read_is_refused_and_the_others_are_named() -> None:
    with pytest.raises(ConfigError, match="'simple_java' is not a category") as refused:
        read_case("simple_java", ROW, ANSWER)

    assert "simple_python, multiple, parallel" in refused.value.hint


def test_every_row_of_one_turn_converts(asked: list[Asked]) -> None:
    expected = {Expects.CALLS: 2351, Expects.NO_CALL: 1124, Expects.ANY_CALL: 16}

    assert expected == Counter(one.case.expects for one in asked)


def test_every_schema_is_valid_and_every_name_one_that_servers_take(asked: list[Asked]) -> None:
    tools = [tool["function"] for one in asked for tool in one.case.tools]
    schemas = {json.dumps(tool["parameters"]) for tool in tools}

    for schema in schemas:
        Draft202012Validator.check_schema(json.loads(schema))

    assert 8576 == len(tools)
    assert [] == [tool["name"] for tool in tools if not tool["name"].replace("-", "_").isidentifier()]


def test_the_rows_of_other_languages_and_of_several_turns_are_refused(bfcl: Path) -> None:
    data = Path(read_in(bfcl, "read_bfcl.py", "data"))
    others = ("simple_java", "simple_javascript", "multi_turn_base", "memory", "web_search")

    for category in others:
        for row, answer in lines_of(data, category):
            with pytest.raises(ConfigError):
                read_case(category, row, answer)
