"""``toollog export run --explain``: what becomes of one example, with its texts."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog.errors import NothingMatchedError
from tarx_toollog.export.explain import Explanation
from tarx_toollog.export.options import ExportOptions
from tarx_toollog.export.pipeline import run_export
from tarx_toollog.store.log import ToolLog
from tests.unit.cli.samples import Chat, bad_chat, good_chat, keep_for, run, write_log


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ToolLog]:
    """Open a log of two chats, and let the command line find it."""
    settings = write_log(tmp_path / "log.db", good_chat(), bad_chat())
    monkeypatch.setenv("TOOLLOG_DATABASE", str(tmp_path / "log.db"))
    monkeypatch.chdir(tmp_path)
    with ToolLog.open(settings=settings, read_only=False) as opened:
        yield opened


def explained(log: ToolLog, name: str, **options: Any) -> Explanation:
    explanation = Explanation(name, log)
    run_export(log, Path("out"), ExportOptions(**options), explain=explanation)
    assert not Path("out").exists()
    return explanation


def uid_of(log: ToolLog, condition: str) -> str:
    uid: str = next(iter(log.query(f"SELECT exchange_uid FROM v_tool_calls WHERE {condition}").rows))[0]
    return uid


def test_what_is_in_is_shown_as_the_row_says_it(log: ToolLog) -> None:
    (one,) = explained(log, uid_of(log, "tool = 'tarx_recall'")).as_json()["examples"]

    assert (True, "train", "row") == (one["is_in"], one["split"], one["texts_from"])
    assert ["system", "user"] == [message["role"] for message in one["prompt"]]
    assert {"query": "cat"} == one["answer"]["tool_calls"][0]["function"]["arguments"]


def test_a_refused_answer_is_shown_as_it_was_logged_with_what_its_schema_says(log: ToolLog) -> None:
    explanation = explained(log, uid_of(log, "schema_state = 'fail'"))

    (one,) = explanation.as_json()["examples"]
    assert ("gate", "schema_failure", "log") == (one["stage"], one["reason"], one["texts_from"])
    assert ["You are TARX.", "Remember Rex."] == [message["content"] for message in one["prompt"]]
    assert ["tarx_remember: (root): 'value' is a required property"] == one["schema_errors"]
    text = explanation.text()
    assert "left out by gate: a call of the answer breaks the schema of its tool" in text
    assert "  schema    tarx_remember: (root): 'value' is a required property\n" in text
    assert '→ tarx_remember({"key": "dog"})' in text


def test_calls_in_the_logged_history_of_a_refused_answer_are_shown(log: ToolLog) -> None:
    text = explained(log, uid_of(log, "tool = 'tarx_fly'")).text()

    assert '  assistant\n            → tarx_remember({"key": "dog"})\n  tool      error: value is missing\n' in text
    assert "  schema " not in text


def test_a_log_of_which_nothing_is_exported_can_be_explained(log: ToolLog) -> None:
    keep_for(log, "eval")
    uid = uid_of(log, "tool = 'tarx_recall'")

    (one,) = explained(log, uid).as_json()["examples"]

    assert ("eval_conversation", "What is my cat called?") == (one["reason"], one["prompt"][1]["content"])


def test_every_step_of_a_dialogue_leads_to_its_row(log: ToolLog) -> None:
    uid = uid_of(log, "tool = 'tarx_recall'")  # the first of four answers

    (one,) = explained(log, uid, formats=("canonical",), unit="trajectory").as_json()["examples"]

    assert one["is_in"]
    assert 4 == len(one["learned"])
    assert uid == one["learned"][0]["exchange_uid"] != one["exchange_uid"]


def test_an_example_that_is_not_there_cannot_be_explained(log: ToolLog) -> None:
    with pytest.raises(NothingMatchedError, match="nobody"):
        explained(log, "nobody")
    with pytest.raises(NothingMatchedError, match="None"):
        explained(log, "None")


def test_a_prefix_that_fits_very_many_says_how_many_are_not_shown(tmp_path: Path) -> None:
    chats = [Chat(f"c{n}", start_s=n).user(f"Say {n}.").answer(f"{n}") for n in range(53)]
    with ToolLog.open(settings=write_log(tmp_path / "many.db", *chats)) as log:
        explanation = explained(log, "0")

    assert (50, 3) == (len(explanation.as_json()["examples"]), explanation.as_json()["n_more"])
    assert explanation.text().endswith("\n\nand 3 more: give more of the name")


def test_no_name_is_refused_and_exports_nothing(log: ToolLog) -> None:
    for nothing in ("", "  "):
        result = run("export", "run", "out", "--explain", nothing)

        assert (2, "") == (result.exit_code, result.stdout)
        assert "--explain wants an example" in result.stderr
    assert not Path("out").exists()


def test_the_folder_may_be_in_use_when_nothing_is_written(log: ToolLog) -> None:
    Path("out").mkdir()
    Path("out/mine.txt").write_text("keep")

    result = run("export", "run", "out", "--explain", uid_of(log, "tool = 'tarx_fly'"), "--json")

    assert 0 == result.exit_code, result.stderr
    assert "tool_not_offered" == json.loads(result.stdout)["examples"][0]["reason"]
    assert ["out/mine.txt"] == [str(path) for path in Path("out").rglob("*")]
