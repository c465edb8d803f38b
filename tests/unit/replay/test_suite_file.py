"""Scenarios as a file: what a line may say, what comes back, and what is refused."""

import json
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog.errors import ConfigError, NothingMatchedError
from tarx_toollog.replay.freeze import build
from tarx_toollog.replay.matching import Call, Rule
from tarx_toollog.replay.scenario import Scenario
from tarx_toollog.replay.suite_file import import_file, read_file
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.replays import Replays
from tests.unit.cli.samples import run
from tests.unit.replay.support import EVERY_SPLIT, TOOLS, Chat, calling, saying

ASKED = [{"role": "user", "content": "Where do I live?"}]
RECALL = {"calls": [{"name": "recall", "arguments": {"query": "home"}}]}
LINE: dict[str, Any] = {"messages": ASKED, "tools": TOOLS, "expected": RECALL}


def written(folder: Path, *lines: Any) -> Path:
    path = folder / "suite.jsonl"
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines), "utf-8")
    return path


def test_a_line_is_a_scenario_that_somebody_vouches_for(tmp_path: Path) -> None:
    more = {"alternatives": [{"answer": True}], "rules": {"recall": {"/query": {"rule": "present"}}}}
    (one,) = read_file(written(tmp_path, {**LINE, **more, "params": {"max_tokens": 9}}))

    (step,) = one.steps
    assert ("gold", 1, tuple(ASKED), {"max_tokens": 9}) == (one.tier, step.step_no, step.messages, step.params)
    assert (Call("recall", {"query": "home"}),) == step.expected
    assert ((),) == step.alternatives
    assert {"recall": {"/query": Rule("present")}} == step.rules


def test_a_turn_of_several_steps_shares_what_stands_beside_them(tmp_path: Path) -> None:
    steps = [{"messages": ASKED, "expected": RECALL}, {"messages": [*ASKED, *ASKED], "expected": {"answer": True}}]
    (one,) = read_file(written(tmp_path, {"tools": TOOLS, "steps": steps}))

    assert [1, 2] == [step.step_no for step in one.steps]
    assert [tuple(TOOLS)] * 2 == [step.tools for step in one.steps]
    assert "recall" == one.signature


def test_cases_of_one_group_hang_together(tmp_path: Path) -> None:
    lines = [{**LINE, "id": name, "group": group} for name, group in (("a", "x"), ("b", "x"), ("c", "y"))]
    first, second, third = (one.conversation_uid for one in read_file(written(tmp_path, *lines)))

    assert first == second != third


def test_what_is_exported_is_what_comes_back(tmp_path: Path) -> None:
    with ToolLog.open(tmp_path / "t.db", read_only=False) as log:
        Chat(log, "c").turn("Where?", calling(("recall", {"query": "home"})), saying("Porto"))
        build(log, "logged", EVERY_SPLIT)
        told = run("--database", log.settings.database, "replay", "export", "logged")
        path = tmp_path / "out.jsonl"
        path.write_text(told.stdout, "utf-8")
        again = import_file(log, path, "again")
        twice = import_file(log, path, "again")
        scenarios = [Scenario.from_json(Replays(log).scenarios(tag)[0].definition) for tag in ("logged", "again")]

    assert ((1, 0, 2), (0, 1, 0)) == tuple((one.scenarios, one.already_there, one.steps) for one in (again, twice))
    logged, back = scenarios
    assert ("bronze", "gold") == (logged.tier, back.tier)
    for one, other in zip(logged.steps, back.steps, strict=True):
        assert (one.messages, one.tools, one.params, one.expected) == (
            other.messages,
            other.tools,
            other.params,
            other.expected,
        )


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "line 2 is no JSON"),
        ("[1]", "line 2 is no JSON object"),
        ({"messages": ASKED}, "step 1 does not say what is right"),
        ({**LINE, "expected": {"calls": []}}, "does not say what is right"),
        ({**LINE, "expected": {"calls": [{"name": "recall"}]}}, "does not say what is right"),
        ({**LINE, "expected": {"answer": True, "calls": RECALL["calls"]}}, "does not say what is right"),
        ({**LINE, "messages": "Hello"}, "`messages` of step 1 must be a list"),
        ({**LINE, "tools": {}}, "`tools` must be a list"),
        ({**LINE, "alternatives": {}}, "`alternatives` must be a list"),
        ({**LINE, "steps": []}, "`steps` must be a list of objects"),
        ({**LINE, "expectd": 1}, "unknown key 'expectd'"),
        ({**LINE, "rules": {"recall": {"/query": {"rule": "magic"}}}}, "`rule` must be one of"),
    ],
)
def test_a_line_that_is_wrong_is_named_and_nothing_is_stored(tmp_path: Path, line: Any, says: str) -> None:
    path = written(tmp_path, LINE, line)
    with ToolLog.open(tmp_path / "t.db", read_only=False) as log:
        with pytest.raises(ConfigError) as caught:
            import_file(log, path, "t")
        with pytest.raises(NothingMatchedError):
            Replays(log).scenarios("t")
    assert says in caught.value.message
    assert "line 2" in caught.value.message


def test_a_file_that_cannot_be_read_or_is_empty_says_so(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"\xe4")
    with ToolLog.open(tmp_path / "t.db", read_only=False) as log:
        with pytest.raises(ConfigError, match="codec"):
            import_file(log, tmp_path / "latin", "t")
        with pytest.raises(NothingMatchedError, match="no scenarios"):
            import_file(log, written(tmp_path), "t")
