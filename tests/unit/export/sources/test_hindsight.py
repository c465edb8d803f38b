from typing import Any

import pytest

from tarx_toollog.export.example import Piece
from tarx_toollog.export.sources.hindsight import needs_hindsight
from tests.unit.cli.samples import tool


def is_hindsight(arguments: Any, told: str, *, asked: str = "Please.", failed: Any = None) -> bool:
    def calling(given: Any) -> dict[str, Any]:
        function = {"name": "tarx_open", "arguments": given}
        return {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "1", "type": "function", "function": function}],
        }

    tools = [tool("tarx_open", path="string", unit="string", limit="integer", done="boolean")]
    tools[0]["function"]["parameters"]["properties"]["unit"]["enum"] = ["celsius", "kelvin"]
    known = [Piece({"role": "user", "content": asked}), Piece(calling(failed or {})), Piece(tools)]
    return needs_hindsight(calling(arguments), known, [Piece({"role": "tool", "content": told})])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        pytest.param({"path": "notes"}, "error: no such file, there is: notes", id="a name"),
        pytest.param({"path": "Notes"}, 'error: did you mean "notes"?', id="in another case"),
        pytest.param({"path": "my  notes"}, "error: only my\nnotes", id="with other white space"),
        pytest.param({"path": "/data/x.txt"}, "error: not under /data", id="a part of a path"),
        pytest.param({"path": "the file u-42 of Ann"}, "error: did you mean u-42?", id="an identifier in a text"),
        pytest.param({"limit": 50}, "error: at most 50", id="a number"),
        pytest.param({"limit": -5}, "error: at least -5", id="a negative number"),
        pytest.param({"filter": {"names": ["rex"]}}, '{"error": "known: rex"}', id="a value within others"),
        pytest.param({"folder": "x"}, "error: folder is missing", id="the name of an argument"),
        pytest.param({"path": "caf\u00e9"}, '{"error": "known: caf\\u00e9"}', id="a text that JSON escapes"),
    ],
)
def test_what_only_the_error_told_is_hindsight(arguments: Any, told: str) -> None:
    assert is_hindsight(arguments, told)


@pytest.mark.parametrize(
    ("arguments", "told", "given"),
    [
        pytest.param({"path": "notes"}, "error: only notes", {"asked": "Open my notes!"}, id="the user said it"),
        pytest.param({"unit": "kelvin"}, "error: celsius or kelvin", {}, id="the schema allows it"),
        pytest.param({"path": "notes"}, "error: notes?", {"failed": {"unit": "notes"}}, id="the wrong call had it"),
        pytest.param({"path": "diary"}, "error: no such file", {}, id="nobody said it"),
        pytest.param({"path": "note"}, "error: only notes", {}, id="a part of another word"),
        pytest.param({"limit": 5}, "error: at most 50", {}, id="a part of another number"),
        pytest.param({"path": "find the notes"}, "error: the path is missing", {}, id="words that any error has"),
        pytest.param({"done": True}, "error: done must be true", {}, id="a truth value"),
        pytest.param({"path": ""}, "error: path is empty", {}, id="an empty text"),
        pytest.param({}, "error: only notes", {}, id="no arguments"),
    ],
)
def test_what_was_known_or_made_up_is_none(arguments: Any, told: str, given: dict[str, Any]) -> None:
    assert not is_hindsight(arguments, told, **given)
