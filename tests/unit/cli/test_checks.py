import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import NamedTuple

import pytest

from tarx_toollog.cli import checks, files
from tarx_toollog.cli.checks import Finding, examine, model_server, sqlite_library
from tarx_toollog.cli.files import Waiting, waiting_in
from tarx_toollog.config import Settings
from tarx_toollog.ids import uuid7
from tarx_toollog.store import quarantine
from tarx_toollog.store.frames import Kind, begin_payload, json_payload
from tarx_toollog.store.journal import Journal
from tarx_toollog.store.log import ToolLog
from tarx_toollog.wire.raw import Begin, End
from tests.unit.cli.samples import run


@contextmanager
def server(status: int, body: bytes, *, hang: bool = False) -> Iterator[str]:
    """Run a server that answers everything alike, and give its base URL."""
    released = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if hang:
                released.wait(10)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{http.server_port}"
        finally:
            released.set()
            http.shutdown()
            thread.join()


class Case(NamedTuple):
    status: int
    body: bytes
    state: str
    words: str


@pytest.mark.parametrize(
    "case",
    [
        Case(200, b'{"object": "list", "data": [{"id": "qwen"}]}', "ok", "offers qwen"),
        Case(503, b'{"error": {"message": "Loading model"}}', "note", "still loading"),
        Case(401, b"{}", "ok", "API key"),
        Case(404, b"nothing", "problem", "status 404"),
        Case(200, b"<html>", "problem", "not a list of models"),
        Case(200, b'{"data": 1}', "problem", "not a list of models"),
        Case(200, b"[]", "problem", "not a list of models"),
    ],
    ids=lambda case: f"{case.status} {case.state}",
)
def test_what_the_upstream_answers_is_told_apart(case: Case) -> None:
    with server(case.status, case.body) as url:
        found = model_server(url)

    assert case.state == found.state
    assert case.words in found.text


def test_an_upstream_that_nobody_listens_at_is_a_problem_with_a_hint() -> None:
    with server(200, b"") as url:
        pass  # now its port is free

    found = model_server(url)

    assert (found.state, found.text) == ("problem", f"nothing listens at {url}")
    assert "TOOLLOG_UPSTREAM" in found.hint


def test_an_upstream_that_hangs_is_given_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "PROBE_TIMEOUT_S", 0.2)

    with server(200, b"", hang=True) as url:
        found = model_server(url)

    assert found.state == "problem"
    assert "did not answer" in found.text


def test_a_name_that_nobody_knows_is_a_problem() -> None:
    assert model_server("http://nowhere.invalid:1").state == "problem"


@pytest.mark.parametrize(
    ("version", "state"),
    [((3, 6, 9), "ok"), ((3, 7, 0), "note"), ((3, 40, 1), "note"), ((3, 51, 2), "note"), ((3, 51, 3), "ok")],
)
def test_the_sqlite_library_with_the_wal_reset_bug_is_a_note(version: tuple[int, ...], state: str) -> None:
    assert state == sqlite_library(version).state


Spoil = Callable[[Path, pytest.MonkeyPatch], None]


def found_for(database: Path, check: str) -> Finding:
    return next(item for item in examine(str(database)) if item.check == check)


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the path of a sound, empty log, with an upstream that refuses at once."""
    monkeypatch.setenv("TOOLLOG_UPSTREAM", "http://127.0.0.1:9")
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "log.db"
    ToolLog.open(path, read_only=False).close()
    return path


def test_a_sound_log_has_no_problem_but_the_missing_server(database: Path) -> None:
    problems = [item.check for item in examine(str(database)) if item.state == "problem"]

    assert problems == ["model server"]


def test_a_wrong_setting_is_a_problem_and_nothing_else_is_looked_at(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOOLLOG_PORT", "many")

    (found,) = examine(str(database))

    assert found.state == "problem"
    assert "'port' (from environment)" in found.text


def test_a_broken_settings_file_is_a_problem(database: Path) -> None:
    (database.parent / "toollog.toml").write_text("port = = 1")

    (found,) = examine(str(database))

    assert found.state == "problem"
    assert "toollog.toml is not valid TOML" in found.text


def test_a_missing_database_is_a_note_that_says_who_makes_it(database: Path) -> None:
    found = found_for(database.parent / "none.db", "database")

    assert found.state == "note"
    assert "toollog serve" in found.hint


def test_a_file_that_is_no_database_is_a_problem(database: Path) -> None:
    other = database.parent / "photo.db"
    other.write_bytes(b"not a database at all, " * 100)

    assert found_for(other, "database").state == "problem"


def change_revision(path: Path, revision: str) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    connection.close()


@pytest.mark.parametrize(("revision", "hint"), [("0000", "toollog db upgrade"), ("9999", "update tarx-toollog")])
def test_another_schema_is_a_problem_that_says_what_to_do(database: Path, revision: str, hint: str) -> None:
    change_revision(database, revision)

    found = found_for(database, "database")

    assert found.state == "problem"
    assert hint in found.hint


def test_a_database_that_another_program_keeps_locked_is_a_problem(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tarx_toollog.store.maintenance._LOCK_WAIT_S", 0.05)
    other = sqlite3.connect(database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    found = found_for(database, "write lock")
    other.close()

    assert found.state == "problem"
    assert "locked" in found.text
    assert found_for(database, "write lock").state == "ok"


def test_a_log_that_others_can_read_is_a_note(database: Path) -> None:
    database.chmod(0o644)

    found = found_for(database, "permissions")

    assert (found.state, found.hint) == ("note", f"chmod 600 {database}")


def test_a_folder_that_is_a_file_is_a_problem(database: Path) -> None:
    found = found_for(database / "log.db", "folder")

    assert found.state == "problem"
    assert "is not a folder" in found.text


def test_a_folder_that_cannot_be_written_is_a_problem(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The tests may run as root, whom no permission bits stop.
    monkeypatch.setattr("os.access", lambda path, mode: False)

    found = found_for(database, "folder")

    assert found.state == "problem"
    assert "read-only" in found.text


def test_a_disk_that_is_nearly_full_is_a_problem(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "MIN_FREE_BYTES", 2**70)

    assert found_for(database, "disk").state == "problem"


def test_gaps_are_a_note_that_says_where_to_look(database: Path) -> None:
    with sqlite3.connect(database) as connection:
        connection.execute(
            "INSERT INTO gap (kind, from_at, to_at, n, detail) VALUES ('torn', '2026-01-01', '2026-01-01', 3, 'x')"
        )
    connection.close()

    found = found_for(database, "gaps")

    assert (found.state, found.text) == ("note", "3 exchanges could not be kept (3 torn)")
    assert "FROM gap" in found.hint


def append(journal: Journal, *, ended: bool) -> None:
    uid = uuid7()
    key = bytes.fromhex(uid.replace("-", ""))
    begin = Begin(uid, "proxy", "POST", "/v1/chat/completions", 1)
    frames = [(Kind.BEGIN, key, begin_payload(begin, [b"{}"]))]
    if ended:
        frames.append((Kind.END, key, json_payload(End(1, final_seen=True))))
    journal.append(frames)


def test_what_a_dead_process_left_in_the_journal_is_a_problem(database: Path) -> None:
    folder = Settings(database=str(database)).journal_path
    journal = Journal(folder, uuid7())
    append(journal, ended=True)
    append(journal, ended=False)
    journal.close()  # a kill closes the files, too

    found = found_for(database, "journal")

    assert found.state == "problem"
    assert "2 exchanges of a process that died" in found.text


def test_what_a_live_process_has_not_stored_for_a_minute_is_stuck_unless_it_still_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path / "j", uuid7())
    append(journal, ended=True)
    append(journal, ended=False)

    assert waiting_in(tmp_path / "j", lambda _: ()) == Waiting(left_behind=0, stuck=0)
    monkeypatch.setattr(files, "STALE_S", -1.0)
    assert waiting_in(tmp_path / "j", lambda _: ()) == Waiting(left_behind=0, stuck=1)
    assert waiting_in(tmp_path / "j", lambda uids: uids) == Waiting(left_behind=0, stuck=0)
    journal.close()


def test_what_could_not_be_stored_is_a_problem_that_says_where_it_lies(database: Path) -> None:
    journal = Settings(database=str(database)).journal_path
    assert "ok" == found_for(database, "quarantine").state
    journal.mkdir(exist_ok=True)
    quarantine.put(journal, "one.tlj", b"x" * 2048)

    found = found_for(database, "quarantine")
    assert ("problem", True) == (
        found.state,
        f"1 files (2.0 KiB) that could not be stored lie in {journal}" in found.text,
    )
    status = run("--database", str(database), "status").stdout
    assert "quarantine     1 files (2.0 KiB) that could not be stored\n" in status
    assert "next           toollog doctor\n" in status


def test_a_misspelt_variable_is_a_note_that_names_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TOOLLOG_PROT", "11450")

    found = next(examine(str(tmp_path / "log.db")))

    assert (found.state, found.text) == ("note", "no setting is called TOOLLOG_PROT")
    assert found.hint == "is TOOLLOG_PORT meant?"


def test_a_log_that_cannot_be_opened_does_not_send_the_doctor_to_the_doctor(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: object, **__: object) -> ToolLog:
        raise sqlite3.OperationalError("unable to open database file")  # as on a read-only file system

    monkeypatch.setattr(ToolLog, "open", refuse)
    (tmp_path / "log.db").touch()

    (found,) = [finding for finding in examine(str(tmp_path / "log.db")) if finding.check == "database"]

    assert found.state == "problem"
    assert "toollog doctor" not in found.hint
