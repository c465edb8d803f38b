"""Scenarios in the files of other tools, held against these tools: BFCL's rows and checker, Inspect's reader, and the
JavaScript in which promptfoo judges."""

import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog.replay.bfcl import CATEGORIES, Expects
from tarx_toollog.replay.files import bfcl, bfcl_export, inspect_ai, ours, promptfoo
from tarx_toollog.replay.files.lines import Entry, Placed, read_objects
from tarx_toollog.replay.matching import Call, pair_calls
from tarx_toollog.replay.scenario import Scenario, ScenarioStep, offered_schemas
from tests.bfcl.ruler import ask, python_of_bfcl, verdicts
from tests.consumers.environments import ROOT, read_in
from tests.unit.replay.support import TOOLS, calling

READABLE = [name for name, expects in CATEGORIES.items() if expects is not Expects.ANY_CALL]
FIRST = {"role": "user", "content": "Where do I live?"}
EMITTED = calling(("recall", '{"query":"home"}'), ("save", "{broken"))
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}


@pytest.fixture(scope="session")
def bfcl_python() -> Path:
    return python_of_bfcl()


@pytest.fixture(scope="session")
def read_rows(bfcl_python: Path) -> dict[str, tuple[list[Placed], list[Placed], list[Entry]]]:
    """Questions, answers and entries by category."""
    data = Path(read_in(bfcl_python, "read_bfcl.py", "data"))
    found = {}
    for category in READABLE:
        file, answers = (folder / f"BFCL_v4_{category}.json" for folder in (data, data / "possible_answer"))
        rows, accepted = read_objects(file), read_objects(answers) if answers.exists() else []
        found[category] = (rows, accepted, [entry for _, entry in bfcl.read(rows, accepted)])
    return found


def test_every_case_of_one_turn_comes_back_from_bfcl_as_it_went(
    read_rows: dict[str, tuple[list[Placed], list[Placed], list[Entry]]],
) -> None:
    asked = [ours.scenario_of(entry, "") for *_, entries in read_rows.values() for entry in entries]
    rows = bfcl_export.written([{"id": "", **entry} for *_, entries in read_rows.values() for entry in entries])
    back = [
        ours.scenario_of(entry, "")
        for category, questions in rows.questions.items()
        for _, entry in bfcl.read(
            (("", row) for row in questions), (("", row) for row in rows.answers.get(category, ()))
        )
    ]

    assert ({}, {}) == (dict(rows.left_out), dict(rows.lost))
    assert 3475 == len(asked)
    assert Counter(one.content_hash for one in asked) == Counter(one.content_hash for one in back)


def test_each_accepted_value_is_right_by_our_scorer(
    read_rows: dict[str, tuple[list[Placed], list[Placed], list[Entry]]],
) -> None:
    wrong, tried = [], 0
    for _, accepted, entries in read_rows.values():
        truth = {answer["id"]: answer["ground_truth"] for _, answer in accepted}
        for entry in entries:
            (step,) = ours.scenario_of(entry, "").steps
            for calls in one_value_each(entry, truth.get(entry["id"], [])):
                tried += 1
                if not is_right(step, calls):
                    wrong.append((entry["id"], calls))

    assert [] == wrong
    assert tried > 10_000


def one_value_each(entry: Entry, truth: list[dict[str, Any]]) -> Iterator[list[Call]]:
    """Yield the expected calls with each accepted value of each parameter in turn."""
    schemas = {tool["function"]["name"]: tool["function"]["parameters"] for tool in entry["tools"]}
    expected = [Call(call["name"], call["arguments"]) for call in entry["expected"].get("calls", ())]
    for place, (call, accepted) in enumerate(zip(expected, truth, strict=True)):
        properties = schemas[call.name].get("properties", {})
        required = schemas[call.name].get("required", ())
        for key, values in next(iter(accepted.values())).items():
            for value in values:
                options: list[dict[str, Any]] = [{}]
                if value != "" or key in required:
                    options = [{key: one} for one in bfcl.unwrapped(value, properties.get(key, {}))]
                others = {name: one for name, one in (call.arguments or {}).items() if name != key}
                for option in options:
                    yield [*expected[:place], Call(call.name, others | option), *expected[place + 1 :]]


def is_right(step: ScenarioStep, calls: list[Call]) -> bool:
    schemas = {name: schema for name, schema in offered_schemas(step).items() if schema is not None}
    return any(
        all(pair.is_right for pair in pair_calls(answer, calls, schemas, step.rules))
        for answer in (step.expected, *step.alternatives)
        if len(answer) == len(calls)
    )


def test_bfcl_s_own_checker_takes_what_we_write_for_what_it_was(
    bfcl_python: Path, read_rows: dict[str, tuple[list[Placed], list[Placed], list[Entry]]], tmp_path: Path
) -> None:
    its, ours_ = [], []
    for category, (questions, accepted, entries) in read_rows.items():
        truth = {answer["id"]: answer for _, answer in accepted}
        for (_, question), entry in zip(questions, entries, strict=True):
            if entry["id"] in truth:
                (step,) = ours.scenario_of(entry, "").steps
                made = [step.expected, *step.alternatives[:5]]
                rows = bfcl_export.written([entry])
                ((name, (row,)),) = rows.questions.items()
                its.append((ask(category, question, truth[entry["id"]]), made))
                ours_.append((ask(name, row, rows.answers[name][0]), made))

    expected = verdicts(bfcl_python, its, tmp_path)
    assert 2351 == len(expected)
    assert expected == verdicts(bfcl_python, ours_, tmp_path)
    assert sum(map(all, expected)) > 2340  # what is not: its own answers that it refuses


def test_inspect_reads_what_we_write_and_we_read_it_again(tmp_path: Path) -> None:
    folder = ROOT / ".venv-inspect"
    if not (folder / ".installed").exists():
        pytest.skip(".venv-inspect is not there: sh scripts/consumers.sh inspect")
    history = [
        {"role": "developer", "content": "Be brief."},
        FIRST,
        EMITTED,
        {"role": "tool", "tool_call_id": EMITTED["tool_calls"][0]["id"], "content": "Porto"},
        {"role": "user", "content": [{"type": "text", "text": "And this?"}, PICTURE]},
    ]
    recall = {"name": "recall", "arguments": {"query": "home"}}
    line = {
        "tools": TOOLS,
        "steps": [
            {"messages": [FIRST], "expected": {"calls": [recall]}, "alternatives": [{"answer": True}]},
            {"messages": history, "expected": {"ask": True}, "params": {"max_tokens": 9}},
        ],
    }
    scenario = ours.scenario_of(line, "")
    file = tmp_path / "suite.jsonl"
    rows, _ = inspect_ai.written([ours.entry_of("u", scenario)])
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows), "utf-8")

    first, second = read_in(folder / "bin" / "python", "read_inspect.py", file)

    assert ("u:1", [["user", "Where do I live?"]]) == (first["id"], first["chat"])
    assert [json.dumps([recall], separators=(",", ":")), ""] == first["target"]
    assert ["system", "user", "assistant", "tool", "user"] == [role for role, _ in second["chat"]]
    assert ["user", "And this?"] == second["chat"][-1]
    assert [["recall", {"query": "home"}, None], ["save", {}, "no JSON object"]] == second["calls"]
    samples = [{"id": one["id"], "input": "unread", "metadata": one["metadata"]} for one in (first, second)]
    assert rows[1]["metadata"] == samples[1]["metadata"]
    assert scenario.content_hash == back(file).content_hash


def back(file: Path) -> Scenario:
    ((where, entry),) = inspect_ai.read(read_objects(file))
    return ours.scenario_of(entry, where)


def made(*calls: tuple[str, str]) -> list[dict[str, Any]]:
    return [{"type": "function", "function": {"name": name, "arguments": text}} for name, text in calls]


JUDGED: list[tuple[Any, bool]] = [
    (made(("recall", '{"limit": 3, "query": "a"}'), ("save", '{"tags": ["p", {"x": 1, "y": 2}]}')), True),
    (made(("save", '{"tags": ["p", {"y": 2, "x": 1}]}'), ("recall", '{"query": "a", "limit": 3.0}')), True),
    ({"content": "So:", "tool_calls": made(("forget", ""))}, True),
    ("I do not know", True),
    ("  ", False),
    (made(("save", '{"tags": [{"x": 1, "y": 2}, "p"]}'), ("recall", '{"query": "a", "limit": 3}')), False),
    (made(("recall", '{"query": "a", "limit": 3}')), False),
    (made(("forget", ""), ("forget", "")), False),
    (made(("forget", '{"all": true}')), False),
]


def test_promptfoo_judges_the_calls_of_an_answer_in_any_order(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not there: promptfoo's assertion is JavaScript")
    tags = ["p", {"x": 1, "y": 2}]
    calls = [{"name": "recall", "arguments": {"query": "a", "limit": 3}}, {"name": "save", "arguments": {"tags": tags}}]
    alternatives = [{"calls": [{"name": "forget", "arguments": {}}]}, {"answer": True}]
    context = {"test": {"metadata": {"expected": {"calls": calls}, "alternatives": alternatives}}}
    script = tmp_path / "judge.js"
    script.write_text(
        f"const judge = new Function('output', 'context', {json.dumps(promptfoo.JUDGE)});\n"
        f"const outputs = {json.dumps([output for output, _ in JUDGED])};\n"
        f"console.log(JSON.stringify(outputs.map((output) => judge(output, {json.dumps(context)}))));\n",
        "utf-8",
    )

    found = subprocess.run([node, str(script)], capture_output=True, text=True, check=True)

    assert [is_right for _, is_right in JUDGED] == json.loads(found.stdout)
