"""Exports at the edge of what works: an odd template, one kind of answers, a full disk, a folder that is read only."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

import pytest
import sqlalchemy as sa

from tarx_toollog.export.options import ExportOptions
from tarx_toollog.export.pipeline import run_export
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.schema import conversation, exchange, turn
from tests.unit.cli.samples import Chat, bad_chat, call, good_chat, run, tool, write_log

COMMAND = [sys.executable, "-m", "tarx_toollog"]
DIGITS = "9" * 20
_PR_CAPBSET_DROP, _CAPABILITIES = 24, (1, 2)  # those by which root passes over the permissions of files


@pytest.fixture(autouse=True)
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a log of two chats, and stand beside it."""
    path = tmp_path / "log.db"
    write_log(path, good_chat(), bad_chat())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOOLLOG_DATABASE", str(path))
    return path


class DeletesTurns:
    """Deletes the turns of the first conversation when the log is about to be read."""

    def __init__(self, database: Path) -> None:
        self._database = database

    def begin(self, label: str, total: int | None = None) -> None:
        if label == "steps read":
            first = sa.select(sa.func.min(conversation.c.id)).scalar_subquery()
            with ToolLog.open(self._database, read_only=False) as log, log.engine.begin() as connection:
                gone = sa.update(exchange).values(turn_no=None, step_no=None)
                connection.execute(gone.where(exchange.c.conversation_id == first))
                connection.execute(sa.delete(turn).where(turn.c.conversation_id == first))

    def advance(self, count: int = 1) -> None:
        """Count nothing."""


def test_what_is_deleted_while_an_export_runs_has_a_reason_and_the_stages_still_add_up(database: Path) -> None:
    with ToolLog.open(database) as log:
        options = ExportOptions(formats=("canonical",))
        report = run_export(log, Path("out"), options, record=False, progress=DeletesTurns(database))

    select, assemble = report.stages[:2]
    assert {"gone"} == select.dropped.keys()
    assert 0 < select.n_out == select.n_in - select.dropped["gone"] == assemble.n_in
    assert "× it was deleted, or linked anew, while the export ran (`gone`)" in Path("out/REPORT.md").read_text()


def test_a_template_that_does_not_write_answers_makes_no_rows() -> None:
    Path("chat.jinja").write_text("{% for m in messages %}{{ m.content if m.role == 'user' }};{% endfor %}")

    result = run("export", "run", "out", "--for", "rendered", "--template", "chat.jinja")

    assert result.exit_code == 3
    assert "the format has no way to say it" in result.stderr


@pytest.mark.parametrize(("chats", "kinds"), [((good_chat,), ["bad"]), ((good_chat, bad_chat), [])])
def test_judged_answers_of_one_kind_are_told(tmp_path: Path, chats: tuple[Any, ...], kinds: list[str]) -> None:
    settings = write_log(tmp_path / "judged.db", *(chat() for chat in chats))
    with ToolLog.open(settings=settings) as log:
        report = run_export(log, Path("out"), ExportOptions(formats=("trl",), task="kto"), record=False)

    said = "answer is for training: kto learns to tell good ones from bad ones, and needs both"
    assert [f"no {kind} {said}" for kind in kinds] == [one for one in report.warnings if said in one]
    assert bool(kinds) == ("rarer" not in Path("out/trl/kto.py").read_text())


@pytest.mark.parametrize(
    "wrong",
    [
        ["export", "run", "out", "--max-tokens", DIGITS],
        ["export", "run", "out", "--max-steps", DIGITS],
        ["export", "run", "out", "--limit", DIGITS],
        ["log", "list", "--limit", DIGITS],
        ["export", "run", "out", "--min-feedback", "nan"],
        ["export", "run", "out", "--own-name", ""],
    ],
)
def test_a_value_that_cannot_work_is_a_wrong_option_and_no_bug(wrong: list[str]) -> None:
    result = run(*wrong)

    assert result.exit_code == 2
    assert "bug of toollog" not in result.stderr
    assert not Path("out").exists()


def test_a_number_of_ten_thousand_digits_in_a_file_is_told_in_our_words() -> None:
    Path("made.jsonl").write_text('{"messages": [], "x": ' + "1" * 10_000 + "}\n")

    result = run("export", "run", "out", "--synthetic", "made.jsonl")

    assert result.exit_code == 2
    assert "line 1: a number has more than 4300 digits; write it as a string" in result.stderr
    assert "sys." not in result.stderr


def test_a_template_that_cannot_be_read_is_one_line_with_the_name_of_the_file() -> None:
    Path("latin.jinja").write_bytes("{{ 'Größe' }}".encode("latin-1"))
    Path("folder.jinja").mkdir()
    for name, said in {
        "latin.jinja": "is not UTF-8 (byte 7)",
        "folder.jinja": "cannot be read: Is a directory",
    }.items():
        result = run("--quiet", "export", "run", "out", "--template", name)

        assert (2, f"error: the chat template {name} {said}") == (result.exit_code, result.stderr.splitlines()[0])


@pytest.mark.parametrize("size", [0, 15, 65])
def test_a_key_of_a_wrong_size_is_refused_and_its_file_is_named(database: Path, size: int) -> None:
    run("export", "run", "first", "--no-record")
    key = database.with_name("log.db.journal") / "identity.key"
    assert 32 == len(key.read_bytes())
    key.write_bytes(b"k" * size)

    result = run("export", "run", "out", "--no-record")

    assert result.exit_code == 6
    assert f"identity.key holds no key: it has {size} bytes, a key has 32" in result.stderr
    assert "take it from a backup" in result.stderr


def spoken(*args: str, stdout: IO[bytes] | None = None, **options: Any) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*COMMAND, "--quiet", *args], stdout=stdout, stderr=subprocess.PIPE, check=False, timeout=60, **options
    )


@pytest.mark.parametrize("form", [[], ["--json"]])
def test_a_report_that_a_full_disk_does_not_take_is_no_lost_export(form: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        result = spoken("export", "run", "out", *form, stdout=full)

    lines = [
        "error: the result cannot be written: No space left on device",
        "hint: the export itself is complete: it is in out",
    ]
    assert (1, lines) == (result.returncode, result.stderr.decode().splitlines())
    assert Path("out/manifest.json").exists()


def test_a_closed_stdout_is_told_and_the_files_are_there() -> None:
    result = spoken("export", "run", "out", preexec_fn=lambda: os.close(1))

    lines = [
        "error: the result cannot be written: stdout is closed",
        "hint: the export itself is complete: it is in out",
    ]
    assert (1, lines) == (result.returncode, result.stderr.decode().splitlines())
    assert Path("out/manifest.json").exists()


def test_a_dry_run_whose_result_cannot_be_written_claims_no_files() -> None:
    with Path("/dev/full").open("wb") as full:
        result = spoken("export", "run", "out", "--dry-run", stdout=full)

    assert 1 == result.returncode
    assert b"hint: free some space, or write it elsewhere" in result.stderr
    assert not Path("out").exists()


def _obeys_permissions() -> None:
    """Make a process of root obey the permissions of files, as those of others do anyway."""
    for capability in _CAPABILITIES:
        ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)


def test_a_log_in_a_folder_that_is_read_only_says_what_to_copy(database: Path, tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    folder.mkdir()
    database.rename(folder / "log.db")
    folder.chmod(0o555)
    try:
        arguments = ("--database", str(folder / "log.db"), "export", "run", "out", "--no-record")
        result = spoken(*arguments, preexec_fn=_obeys_permissions)
    finally:
        folder.chmod(0o755)

    assert 6 == result.returncode
    assert b"its folder cannot be written, which SQLite must even to read" in result.stderr
    assert b"hint: copy it with its -wal and .journal into another folder" in result.stderr


def test_the_report_bears_any_name_of_a_tool(tmp_path: Path) -> None:
    name = "a\x1b[31m|\r\n# <b"
    chat = Chat("odd", tools=[tool(name, query="string")]).user("Go.").answer(None, call(name, '{"query": "x"}'))
    with ToolLog.open(settings=write_log(tmp_path / "odd.db", chat)) as log:
        run_export(log, Path("out"), ExportOptions(formats=("canonical",)), record=False)

    page = Path("out/REPORT.md").read_bytes().decode()
    assert "| a\ufffd\\[31m\\|\ufffd\ufffd# \\<b | 1 |" in page
    assert not set("\x1b\r") & set(page)
