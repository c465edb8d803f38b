"""``toollog replay import`` and ``export`` in every form, as a person types them."""

import json
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.suites import Suites
from tests.unit.cli.samples import run
from tests.unit.replay.support import TOOLS, calling

ASKED = {"role": "user", "content": "Where do I live?"}
HISTORY = [ASKED, calling(("recall", {"query": "home"})), {"role": "tool", "tool_call_id": "c", "content": "Porto"}]
RECALL = {"name": "recall", "arguments": {"query": "home"}}
LINES = [
    {
        "tools": TOOLS,
        "params": {"max_tokens": 64},
        "steps": [
            {"messages": [ASKED], "expected": {"calls": [RECALL]}},
            {"messages": HISTORY, "expected": {"answer": True}},
        ],
        "recording": [{"step_no": 1, **RECALL, "result_text": "Porto"}],
    },
    {
        "messages": [{"role": "user", "content": "Hello"}],
        "tools": TOOLS,
        "params": {"max_tokens": 9},
        "expected": {"answer": True},
    },
]

REFERENCE = Path(__file__).parents[2] / "docs" / "replay-reference.md"


class Toollog:
    """Runs commands against one database with a suite of two scenarios, ``base``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = folder / "t.db"
        ToolLog.open(self.database, read_only=False).close()
        (folder / "base.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in LINES), "utf-8")
        self("import", folder / "base.jsonl", "--tag", "base")

    def __call__(self, *arguments: str | Path, code: int = 0) -> tuple[str, str]:
        told = run("--database", str(self.database), "replay", *map(str, arguments))
        assert code == told.exit_code, told.stderr
        return told.stdout, told.stderr

    def json(self, *arguments: str | Path) -> Any:
        return json.loads(self(*arguments, "--json")[0])

    def hash_of(self, tag: str) -> bytes:
        with ToolLog.open(self.database) as log:
            suite = Suites(log).suite(tag)
        assert suite is not None
        return suite.hash


@pytest.fixture
def toollog(tmp_path: Path) -> Toollog:
    return Toollog(tmp_path)


def test_the_scenario_on_the_page_can_be_imported_and_is_right(toollog: Toollog) -> None:
    shown = REFERENCE.read_text("utf-8").partition("```json\n")[2].partition("```")[0]
    (toollog.folder / "cat.jsonl").write_text(" ".join(shown.split("\n")), "utf-8")

    toollog("import", toollog.folder / "cat.jsonl", "--tag", "cat")

    assert "1 scenarios: nothing to object to\n" == toollog("lint", "cat")[0]


def test_the_lint_names_what_has_no_exchange(toollog: Toollog) -> None:
    line = {**LINES[1], "group": "g", "expected": {"calls": [{"name": "nope", "arguments": {}}]}}
    (toollog.folder / "odd.jsonl").write_text(json.dumps(line), "utf-8")
    toollog("import", toollog.folder / "odd.jsonl", "--tag", "odd")

    group = json.loads(toollog("export", "odd")[0])["group"]
    assert f"    {group}  turn 1, step 1: nope\n" in toollog("lint", "odd", code=4)[0]


@pytest.mark.parametrize("form", ["toollog", "inspect", "promptfoo"])
def test_what_is_exported_is_recognised_and_is_the_same_suite(toollog: Toollog, form: str) -> None:
    out = toollog.folder / f"{form}.json"
    said = toollog.json("export", "base", "--format", form, "--out", out)
    assert (form, 2, {}, [str(out)]) == (said["format"], said["scenarios"], said["left_out"], said["files"])
    assert (2 if form == "toollog" else 3) == said["cases"]

    text, _ = toollog("import", out, "--tag", "again")
    assert f"read as {form}: 2 scenarios with 3 steps\nfrozen as 'again'" in text
    assert toollog.hash_of("base") == toollog.hash_of("again")

    text, _ = toollog("import", out, "--tag", "again")
    assert "the suite 'again' is there already, with these scenarios" in text


def test_what_another_tool_does_not_act_upon_is_told(toollog: Toollog) -> None:
    stdout, stderr = toollog("export", "base", "--format", "inspect")

    assert 3 == len([json.loads(line) for line in stdout.splitlines()])
    assert "2 scenarios of 'base' as 3 cases of inspect" in stderr
    assert "written, but weaker than they are:" in stderr
    assert "     2  parameters of the request are not sent" in stderr
    assert "     1  each step of a turn stands alone" in stderr
    assert "     1  the results of the logged calls do not answer" in stderr


def test_a_form_that_says_all_has_nothing_to_tell(toollog: Toollog) -> None:
    _, stderr = toollog("export", "base")

    assert "2 scenarios of 'base' as 2 cases of toollog\n" == stderr


def test_bfcl_is_a_folder_with_its_answers_beside_the_questions(toollog: Toollog) -> None:
    out = toollog.folder / "bfcl"
    text, _ = toollog("export", "base", "--format", "bfcl", "--out", out)
    files = ["BFCL_v4_irrelevance.json", "BFCL_v4_multiple.json", "possible_answer/BFCL_v4_multiple.json"]
    assert files == sorted(str(path.relative_to(out)) for path in out.rglob("*.json"))
    assert {0o600} == {path.stat().st_mode & 0o777 for path in out.rglob("*.json")}
    assert all(str(out / name) in text for name in files)
    assert "parameters of the request are not sent" in text

    found = toollog.json("import", out / files[1], "--tag", "calls")
    assert {"tag": "calls", "format": "bfcl", "scenarios": 1, "steps": 1, "equal": 0, "is_new": True} == found
    assert 2 == toollog.json("import", out / files[0], "--tag", "texts")["scenarios"]


def test_the_answers_of_bfcl_may_stand_anywhere(toollog: Toollog) -> None:
    out = toollog.folder / "bfcl"
    toollog("export", "base", "--format", "bfcl", "--out", out)
    answers = (out / "possible_answer" / "BFCL_v4_multiple.json").rename(toollog.folder / "answers.json")

    _, stderr = toollog("import", out / "BFCL_v4_multiple.json", "--tag", "t", code=2)
    assert "BFCL_v4_multiple.json, line 1: multiple: multiple_0: the accepted answers are missing" in stderr
    assert 1 == toollog.json("import", out / "BFCL_v4_multiple.json", "--tag", "t", "--answers", answers)["scenarios"]


def test_steps_that_bfcl_cannot_tell_are_counted(toollog: Toollog) -> None:
    tool = {"type": "function", "function": {"name": "a.b", "parameters": {"type": "object", "properties": {}}}}
    line = {
        "messages": [{"role": "user", "content": "Go"}],
        "tools": [tool],
        "expected": {"calls": [{"name": "a.b", "arguments": {}}]},
    }
    (toollog.folder / "suite.jsonl").write_text(json.dumps(line), "utf-8")
    toollog("import", toollog.folder / "suite.jsonl", "--tag", "dotted")

    text, _ = toollog("export", "dotted", "--format", "bfcl", "--out", toollog.folder / "bfcl")
    assert "1 scenarios of 'dotted' as 0 cases of bfcl\nnot written:\n         1  left out: the tools" in text


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["export", "base", "--format", "bfcl"], 2, "--out is needed"),
        (["export", "base", "--json"], 2, "--out is needed"),
        (["export", "nothing"], 3, "no scenarios under the tag 'nothing'"),
        (["export", "base", "--out", "t.db/x"], 1, "cannot write"),
        (["import", "other.json", "--tag", "t"], 2, "other.json, line 1: it has none of the known forms"),
        (["import", "other.json", "--tag", "t", "--format", "inspect"], 2, "other.json, line 1: `metadata` must have"),
        (["import", "empty.json", "--tag", "t"], 3, "has no scenarios"),
        (["import", "tests.json", "--tag", "t"], 3, "has no scenarios"),
        (["import", "tests.yaml", "--tag", "t"], 2, "tests.yaml, line 1 is no JSON"),
    ],
)
def test_what_cannot_be_done_says_so(
    toollog: Toollog, monkeypatch: pytest.MonkeyPatch, arguments: list[str], code: int, says: str
) -> None:
    texts = {"other.json": '{"a": 1}', "empty.json": "", "tests.json": '{"tests": []}', "tests.yaml": "tests:\n- vars:"}
    for name, text in texts.items():
        (toollog.folder / name).write_text(text, "utf-8")
    monkeypatch.chdir(toollog.folder)

    _, stderr = toollog(*arguments, code=code)

    assert says in stderr
    assert "hint: " in stderr
