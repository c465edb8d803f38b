"""``toollog labels add``: what a person may say, and what is refused."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from tarx_toollog.cli.main import cli
from tarx_toollog.store.labels import Labels
from tarx_toollog.store.log import ToolLog
from tests.unit.replay.support import Chat, calling, saying

CALL = {"name": "recall", "arguments": {"query": "home"}}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with ToolLog.open(tmp_path / "t.db", read_only=False) as log:
        Chat(log, "c").turn("u", calling(("recall", {"query": "home"})), saying("Porto"))
    return tmp_path / "t.db"


def add(path: Path, *arguments: str) -> int:
    with ToolLog.open(path) as log:
        (turn,) = log.trajectories()
    target = f"{turn.steps[0].exchange_uid}.0.0"
    return CliRunner().invoke(cli, ["--database", str(path), "labels", "add", target, *arguments]).exit_code


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--good",), ("quality", 1.0, None, None)),
        (("--bad",), ("quality", -1.0, None, None)),
        (("--ask",), ("expected", None, None, {"ask": True})),
        (("--answer",), ("expected", None, None, {"answer": True})),
        (("--call", "recall", '{"query": "home"}'), ("expected", None, None, CALL)),
        (("--name", "tone", "--value", "curt"), ("tone", None, "curt", None)),
        (("--name", "tone", "--value", "-0.5"), ("tone", -0.5, None, None)),
    ],
)
def test_one_thing_is_said_of_a_call(path: Path, arguments: tuple[str, ...], expected: tuple[object, ...]) -> None:
    assert 0 == add(path, *arguments, "--by", "eve", "--comment", "why")
    with ToolLog.open(path) as log:
        (row,) = Labels(log).labels()
    assert expected == (row.name, row.value_num, row.value_text, row.correction)
    assert ("tool_call", "human", "eve", "why") == (row.target_type, row.annotator_kind, row.annotator, row.comment)


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--good", "--call", "recall", "{}"),
        ("--good", "--name", "tone", "--value", "1"),
        ("--name", "tone"),
        ("--value", "1"),
        ("--name", "", "--value", "1"),
        ("--name", "tone", "--value", " "),
        ("--call", "recall", "[]"),
    ],
)
def test_nothing_and_two_things_at_once_are_refused(path: Path, arguments: tuple[str, ...]) -> None:
    assert 2 == add(path, *arguments)
    with ToolLog.open(path) as log:
        assert [] == Labels(log).labels()
