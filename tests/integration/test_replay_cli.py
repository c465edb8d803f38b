"""``toollog replay`` from build to report, as a person types it."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import Response

from tarx_toollog.cli.main import cli
from tarx_toollog.store.log import ToolLog
from tests.unit.replay.support import Chat, Json, calling, fake_model, last_user, saying

BUILD = ("replay", "build", "--tag", "t", "--split", "eval", "--split", "dev", "--split", "train")
"""Chance decides what the conversations of a test are kept for."""


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "t.db"
    with ToolLog.open(path, read_only=False) as log:
        Chat(log, "a").turn("one", calling(("recall", {"query": "home"})), saying("Porto"))
        Chat(log, "b").turn("two", saying("Hello"))
        Chat(log, "c").turn("three", calling(("search", {})))
    return path


class Cli:
    """Runs commands against one database."""

    def __init__(self, database: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self._database = database
        self._capsys = capsys
        self.err = ""

    def __call__(self, *arguments: str, code: int = 0) -> str:
        with pytest.raises(SystemExit) as ended:
            cli.main(["--database", str(self._database), *arguments])
        out, self.err = self._capsys.readouterr()
        assert ended.value.code == code, self.err
        return out

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--json"))


@pytest.fixture
def toollog(database: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(database, capsys)


def test_build_says_what_it_took_and_what_it_did_not(toollog: Cli) -> None:
    text = toollog(*BUILD)
    assert "2 scenarios with 3 steps frozen" in text
    assert "it needs a label" in text
    assert "Nobody has verified" in text
    expected = {
        "tag": "t", "turns": 3, "taken": 2, "equal": 0, "steps": 3, "new": False, "needs_label": 1,
        "splits": ["dev", "eval", "train"], "kept_for": {}, "skipped": {"logged_call_is_bad": 1}, "omitted_steps": {},
    }  # fmt: skip
    found = toollog.json(*BUILD)
    assert expected == {key: found[key] for key in expected}


def test_the_recorded_answers_agree_in_full(toollog: Cli) -> None:
    toollog(*BUILD)
    found = toollog.json("replay", "run", "t", "--endpoint", "recorded:", "--model", "log", "--name", "r")
    assert (found["chains"]["numerator"], found["chains"]["denominator"]) == (2, 2)
    assert found["tiers"]["bronze"]["scenarios"] == 2
    assert "not accuracy" in found["tiers"]["bronze"]["meaning"]
    assert found == toollog.json("replay", "report", "r")


def test_run_then_report_list_show_and_score(toollog: Cli) -> None:
    toollog(*BUILD)
    with fake_model(lambda _: saying("I do not know")) as model:
        extra = '{"cache_prompt": false}'
        text = toollog("replay", "run", "t", "--endpoint", model.url, "--model", "m", "--name", "r",
                       "--extra-body", extra)  # fmt: skip
        assert all(body["cache_prompt"] is False for body in model.requests)
    assert "missing_call" in text
    assert text == toollog("replay", "report", "r")
    listed = toollog.json("replay", "list")
    assert [(row["kind"], row["name"]) for row in listed] == [("suite", "t"), ("run", "r")]
    (failed,) = toollog.json("replay", "show", "r", "--failed")
    assert (failed["expected"], failed["actual"], failed["failure"]) == ("recall", "(answer)", "missing_call")
    assert len(toollog.json("replay", "show", "r")) == 3
    assert {"run": "r", "answers": 3} == toollog.json("replay", "score", "r")
    assert text == toollog("replay", "report", "r")


def test_forms_without_a_file_are_named_after_the_run(
    toollog: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    toollog(*BUILD)
    toollog("replay", "run", "t", "--endpoint", "recorded:", "--model", "log", "--name", "a/b")

    toollog("replay", "report", "a/b", "--html", "out.html", "--json", "--junit", "--md")

    assert "--junit: a-b.xml\n--md: a-b.md\n" == toollog.err
    assert {"out.html", "a-b.xml", "a-b.md"} == {path.name for path in tmp_path.iterdir() if "t.db" not in path.name}


def test_in_a_closed_loop_a_step_without_a_verdict_is_no_failure(toollog: Cli) -> None:
    toollog(*BUILD)
    target = ("t", "--endpoint", "recorded:", "--model", "log", "--mode", "closed-loop")
    assert "2 scenarios, 2 turns" in toollog("replay", "run", *target, "--dry-run")
    toollog("replay", "run", *target, "--name", "r")

    assert {True: 2, None: 1} == Counter(row["agrees"] for row in toollog.json("replay", "show", "r"))
    assert [] == toollog.json("replay", "show", "r", "--failed")


def test_what_would_not_be_heeded_beside_resume_is_refused(toollog: Cli) -> None:
    toollog(*BUILD)
    toollog("replay", "run", "t", "--endpoint", "recorded:", "--model", "log", "--name", "r")

    toollog("replay", "run", "--resume", "r", "--attempts", "1", "--strict", code=2)
    assert toollog.err.startswith("error: --resume takes --fast/--strict, --attempts from the run")
    toollog("replay", "probe", "tools", "t", "--resume", "r", "--seed", "3", code=2)
    assert toollog.err.startswith("error: --resume takes TAG, --seed from the run")
    toollog("replay", "run", "--resume", "r", "--retries", "1", "--concurrency", "2", "--endpoint", "recorded:")


def test_a_run_that_is_not_valid_ends_with_the_code_of_the_endpoint(toollog: Cli) -> None:
    toollog(*BUILD)

    def handler(body: Json) -> Response | Json:
        if last_user(body) == "two":
            return Response(b'{"choices": [', headers={"content-length": "500"}, media_type="application/json")
        return saying("Hello")

    with fake_model(handler) as model:
        text = toollog("replay", "run", "t", "--endpoint", model.url, "--model", "m", "--retries", "0", code=5)
    assert "NOT VALID" in text


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["run", "t", "--endpoint", "http://127.0.0.1:1", "--model", "m"], 5),
        (["run", "nothing", "--endpoint", "recorded:", "--model", "m"], 3),
        (["run", "t", "--endpoint", "here", "--model", "m"], 2),
        (["run", "t", "--endpoint", "recorded:", "--model", "m", "--extra-body", "{"], 2),
        (["run", "t", "--endpoint", "recorded:", "--model", "m", "--extra-body", "[]"], 2),
        (["run", "t", "--model", "m"], 2),
        (["run", "t", "--resume", "r"], 2),
        (["run", "--resume", "nothing"], 3),
        (["run", "t", "--endpoint", "recorded:", "--model", "m", "--temperature", "-1"], 2),
        (["report", "nothing", "--against", "r"], 2),
        (["report", "nothing"], 3),
        (["build", "--tag", "t", "--tool", "nothing"], 3),
        (["build", "--tag", " "], 2),
    ],
)
def test_what_cannot_be_done_says_so_with_its_exit_code(toollog: Cli, arguments: list[str], code: int) -> None:
    toollog(*BUILD)
    toollog("replay", *arguments, code=code)
    assert toollog.err.startswith("error: ")
    assert "hint: " in toollog.err


def test_a_database_that_is_not_there_is_not_made(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Cli(tmp_path / "none.db", capsys)(*BUILD, code=6)
    assert not (tmp_path / "none.db").exists()
