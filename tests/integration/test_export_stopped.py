"""An export that cannot go on: a database that cannot be written, a key that cannot be read, signals."""

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tarx_toollog.errors import StoreError, ToolLogError
from tarx_toollog.store import engine
from tarx_toollog.store.log import ToolLog
from tests.integration.test_export_placing import CANONICAL, Doing, export, files, names_in, statuses
from tests.unit.cli.samples import good_chat, write_log

PATIENCE_S = 20.0

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ToolLog]:
    """Open the log of one chat."""
    with ToolLog.open(settings=write_log(tmp_path / "log.db", good_chat())) as opened:
        yield opened


# ---- the database ----------------------------------------------------------------------------------------------------


@pytest.fixture
def locked(log: ToolLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], object]]:
    """Return what takes the lock of writers, as another program does."""
    monkeypatch.setattr(engine, "BUSY_TIMEOUT_S", 0.1)
    with closing(sqlite3.connect(tmp_path / "log.db", isolation_level=None)) as other:
        yield lambda: other.execute("BEGIN IMMEDIATE")


def test_a_database_that_cannot_be_written_is_told_before_anything_is_read(
    log: ToolLog, tmp_path: Path, locked: Callable[[], object]
) -> None:
    locked()
    doing = Doing()

    with pytest.raises(StoreError, match="is locked") as caught:
        export(log, tmp_path / "out", progress=doing)

    assert "--no-record writes the files alone" in caught.value.hint
    assert [] == doing.begun
    assert {"canonical": {"train": 4}} == {
        key: counts.rows for key, counts in export(log, tmp_path / "out", record=False).formats.items()
    }


@pytest.mark.parametrize("label", ["rows written", "build recorded"])
def test_a_database_that_cannot_be_written_any_more_leaves_the_folder_as_it_was(
    log: ToolLog, tmp_path: Path, locked: Callable[[], object], label: str
) -> None:
    export(log, tmp_path / "out")
    before = files(tmp_path / "out")

    with pytest.raises(StoreError, match="is locked") as caught:
        export(log, tmp_path / "out", "mlx", force=True, progress=Doing(label, locked))

    assert "--no-record writes the files alone" in caught.value.hint
    assert before == files(tmp_path / "out")


def test_a_build_that_cannot_be_finished_says_that_its_files_are_there(log: ToolLog, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "log.db")) as other:
        other.execute(
            "CREATE TRIGGER never BEFORE UPDATE ON dataset_build WHEN NEW.status = 'finished' "
            "BEGIN SELECT RAISE(ABORT, 'never'); END"
        )

    with pytest.raises(StoreError, match="never") as caught:
        export(log, tmp_path / "out")

    assert "the files are in their place, only the build v1" in caught.value.hint
    assert CANONICAL == set(files(tmp_path / "out"))
    assert [("failed", None)] == statuses(log)


def test_ctrl_c_while_the_build_is_recorded_leaves_a_failed_build_at_once(log: ToolLog, tmp_path: Path) -> None:
    def interrupt(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if "INTO dataset_example" in statement:
            raise KeyboardInterrupt

    sa.event.listen(sa.Engine, "after_cursor_execute", interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            export(log, tmp_path / "out")
    finally:
        sa.event.remove(sa.Engine, "after_cursor_execute", interrupt)

    assert [("failed", None)] == statuses(log)
    assert not (tmp_path / "out").exists()


# ---- files that are read ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_key_that_cannot_be_read_is_not_taken_for_the_output(log: ToolLog, tmp_path: Path, dry_run: bool) -> None:
    key = log.settings.journal_path / "identity.key"
    key.unlink(missing_ok=True)
    key.mkdir(parents=True)

    with pytest.raises(ToolLogError, match=f"cannot use {key}: Is a directory"):
        export(log, tmp_path / "out", dry_run=dry_run)


# ---- being stopped ---------------------------------------------------------------------------------------------------


@pytest.fixture
def waiting(log: ToolLog, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Return what starts an export that waits for the rows of a pipe, in its scratch folder."""
    os.mkfifo(pipe := tmp_path / "identity.jsonl")
    (tmp_path / "tmp").mkdir()
    processes, writers = [], []

    def start(*args: str) -> subprocess.Popen[str]:
        given = ("--database", str(tmp_path / "log.db"), "export", "run", str(tmp_path / "out"))
        with heeded():
            process = subprocess.Popen(
                [sys.executable, "-m", "tarx_toollog", *given, "--identity", str(pipe), *args],
                env=os.environ | {"TMPDIR": str(tmp_path / "tmp")},
                stderr=subprocess.PIPE,
                text=True,
            )
        processes.append(process)
        writers.append(writer_of(pipe))
        time.sleep(0.3)  # until it waits for rows: what a signal raises inside a finalizer is lost
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()
        assert process.stderr is not None
        process.stderr.close()
    for writer in writers:
        os.close(writer)


@contextmanager
def heeded() -> Iterator[None]:
    """Let a process that starts now heed signals, also where these tests run behind ``nohup``."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def writer_of(pipe: Path) -> int:
    """Return the other end of a pipe as soon as somebody reads it: from then on it waits."""
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            return os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:  # nobody reads it yet
            if time.monotonic() > until:
                raise
            time.sleep(0.02)


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("args", [["--dry-run"], []])
def test_a_signal_ends_an_export_like_ctrl_c_and_leaves_nothing(
    tmp_path: Path, waiting: Callable[..., subprocess.Popen[str]], number: signal.Signals, args: list[str]
) -> None:
    process = waiting(*args)

    process.send_signal(number)
    _, said = process.communicate(timeout=PATIENCE_S)

    assert 130 == process.returncode
    assert "Traceback" not in said
    assert set() == names_in(tmp_path / "tmp")
    assert [] == [name for name in names_in(tmp_path) if "out" in name]


def test_what_a_killed_dry_run_left_is_removed_by_the_next_export(
    tmp_path: Path, waiting: Callable[..., subprocess.Popen[str]], monkeypatch: pytest.MonkeyPatch, log: ToolLog
) -> None:
    process = waiting("--dry-run")
    process.kill()
    process.wait()
    assert 1 == len(names_in(tmp_path / "tmp"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))

    export(log, tmp_path / "new")

    assert set() == names_in(tmp_path / "tmp")
