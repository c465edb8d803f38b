"""Scenarios as a file of our own shape: what a line may say, what comes back, and what is refused."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog.errors import ConfigError, NothingMatchedError
from tarx_toollog.replay.files.lines import read_objects
from tarx_toollog.replay.files.ours import scenario_of
from tarx_toollog.replay.files.suites import export_set, import_file, place
from tarx_toollog.replay.matching import Call, Rule
from tarx_toollog.replay.scenario import SILVER, Scenario
from tarx_toollog.replay.suites.freeze import build, stored
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.suites import NewScenario, Suites
from tests.unit.cli.samples import run
from tests.unit.replay.support import EVERY_SPLIT, TOOLS, Chat, calling, saying

ASKED = [{"role": "user", "content": "Where do I live?"}]
RECALL = {"calls": [{"name": "recall", "arguments": {"query": "home"}}]}
LINE: dict[str, Any] = {"messages": ASKED, "tools": TOOLS, "expected": RECALL}


def written(folder: Path, *lines: Any) -> Path:
    path = folder / "suite.jsonl"
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines), "utf-8")
    return path


def read_file(path: Path) -> list[Scenario]:
    return [scenario_of(value, where) for where, value in read_objects(path)]


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
        scenarios = [Scenario.from_json(Suites(log).scenarios(tag)[0].definition) for tag in ("logged", "again")]

    assert ((1, 2, True), (1, 2, False)) == tuple((one.scenarios, one.steps, one.is_new) for one in (again, twice))
    logged, back = scenarios
    assert ("bronze", "bronze") == (logged.tier, back.tier)
    for one, other in zip(logged.steps, back.steps, strict=True):
        assert (one.messages, one.tools, one.params, one.expected) == (
            other.messages,
            other.tools,
            other.params,
            other.expected,
        )


def test_a_model_may_be_expected_to_ask_or_to_say_something(tmp_path: Path) -> None:
    lines = [
        {"messages": ASKED, "expected": {"ask": True}},
        {"messages": ASKED, "expected": {"answer": True}, "text_check": {"says": ["TARX"]}},
    ]
    asked, said = (one.steps[0] for one in read_file(written(tmp_path, *lines)))

    assert (True, (), {}) == (asked.asks, asked.expected, asked.text_check)
    assert (False, (), {"says": ["TARX"]}) == (said.asks, said.expected, said.text_check)


def test_weights_and_strata_come_back(tmp_path: Path) -> None:
    path = written(tmp_path, {**LINE, "weight": 2.5, "stratum": "deep"}, {**LINE, "messages": ASKED * 2})
    with ToolLog.open(tmp_path / "t.db", read_only=False) as log:
        import_file(log, path, "t")
        (out,) = place(export_set(log, "t", "toollog"), tmp_path / "out" / "again.jsonl")
        import_file(log, Path(out), "u")
        first, second = ({(row.hash, row.weight, row.stratum) for row in rows(log, tag)} for tag in ("t", "u"))

    assert first == second
    assert {(2.5, "deep"), (1.0, None)} == {(weight, stratum) for _, weight, stratum in first}


def rows(log: ToolLog, tag: str) -> list[NewScenario]:
    return [
        stored(Scenario.from_json(row.definition), weight=row.weight, stratum=row.stratum)
        for row in Suites(log).scenarios(tag)
    ]


def test_what_nobody_verified_stays_so_and_what_hangs_together_goes_along(tmp_path: Path) -> None:
    (one,) = read_file(written(tmp_path, LINE))
    silver = replace(one, steps=(replace(one.steps[0], tier=SILVER),), tier=SILVER)
    with ToolLog.open(tmp_path / "t.db", read_only=False) as log:
        Suites(log).freeze("t", [stored(silver, cluster="together")], {})
        ((line,),) = export_set(log, "t", "toollog").files.values()

    assert "together" == line["group"]
    assert "silver" == line["tier"] == scenario_of(line, "here").tier
    looked_at = {key: value for key, value in line.items() if key != "tier"}
    assert one.content_hash == scenario_of(looked_at, "here").content_hash


def test_lines_that_ask_the_same_count_once(tmp_path: Path) -> None:
    with ToolLog.open(tmp_path / "t.db", read_only=False) as log:
        found = import_file(log, written(tmp_path, {**LINE, "id": "a"}, {**LINE, "id": "b"}), "t")

    assert (1, 1) == (found.scenarios, found.equal)


def test_a_list_and_a_single_object_are_read_as_lines_are(tmp_path: Path) -> None:
    (tmp_path / "list.json").write_text(json.dumps([LINE, LINE], indent=1), "utf-8")
    (tmp_path / "one.json").write_text("\n" + json.dumps(LINE, indent=1), "utf-8")

    assert ["list.json, item 1", "list.json, item 2"] == [
        Path(where).name for where, _ in read_objects(tmp_path / "list.json")
    ]
    assert ["one.json, line 2"] == [Path(where).name for where, _ in read_objects(tmp_path / "one.json")]


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
        ({**LINE, "expected": {"ask": True, "answer": True}}, "does not say what is right"),
        ({**LINE, "expected": {"ask": False}}, "does not say what is right"),
        ({**LINE, "text_check": []}, "`text_check` an object"),
        ({**LINE, "step_no": 0}, "`step_no` must be a number from 1"),
        ({**LINE, "step_no": 2, "steps": [{}, {}]}, "must rise"),
        ({**LINE, "recording": [{"name": "recall"}]}, "`omitted`, `recording` or `variant` is none"),
        ({**LINE, "variant": {"of": "u"}}, "`omitted`, `recording` or `variant` is none"),
        ({**LINE, "omitted": [5]}, "`omitted`, `recording` or `variant` is none"),
        ({**LINE, "tier": "best"}, "`tier` must be one of gold, silver, corrected, bronze"),
        ({**LINE, "tier": None}, "`tier` must be one of"),
        ({**LINE, "weight": 0}, "`weight` must be a number above 0"),
        ({**LINE, "stratum": 5}, "`stratum` must be a text"),
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
            Suites(log).scenarios("t")
    assert says in caught.value.message
    assert "line 2" in caught.value.message


def test_a_file_that_cannot_be_read_or_is_empty_says_so(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes(b"\xe4")
    with ToolLog.open(tmp_path / "t.db", read_only=False) as log:
        with pytest.raises(ConfigError, match="codec"):
            import_file(log, tmp_path / "latin", "t")
        with pytest.raises(NothingMatchedError, match="no scenarios"):
            import_file(log, written(tmp_path), "t")
