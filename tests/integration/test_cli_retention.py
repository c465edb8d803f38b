"""``toollog db prune, erase, gc, compact, restore, backup``: what people type; and the same on PostgreSQL."""

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tarx_toollog import ToolLog
from tarx_toollog.config import Settings
from tarx_toollog.ids import uuid7
from tarx_toollog.store import maintenance, schema
from tarx_toollog.store.journal import Journal
from tarx_toollog.store.search import catch_up
from tests.support.analyst_log import write_analyst_log
from tests.support.builders import assistant, exchange, user
from tests.support.postgres import database as postgres_database
from tests.support.postgres import postgres
from tests.unit.cli.samples import run
from tests.unit.store.retention.logs import bytes_of, care, columns, problems, said

BEFORE = "2026-09-24"
"""After the first week of the log."""


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("log") / "t.db"
    write_analyst_log(path)
    with ToolLog.open(path, read_only=False) as log:
        catch_up(log.engine)
    return path


@pytest.fixture
def database(original: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the path of a log; it is the one that the command line finds."""
    path = tmp_path / "t.db"
    path.write_bytes(original.read_bytes())
    monkeypatch.setenv("TOOLLOG_DATABASE", str(path))
    return path


def told(*arguments: str) -> dict[str, Any]:
    result = run("db", *arguments, "--json")
    assert 0 == result.exit_code, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def test_prune_says_what_would_go_then_it_goes_and_compact_gives_the_space_back(database: Path) -> None:
    promised = told("prune", "--before", BEFORE, "--keep", "none", "--dry-run")
    text = run("db", "prune", "--before", BEFORE, "--keep", "none", "--dry-run").stdout
    assert "conversation             3\n" in text
    assert "nothing was changed" in text

    gone = told("prune", "--before", BEFORE, "--keep", "none")
    assert (True, False) == (promised["dry_run"], gone["dry_run"])
    assert promised["rows"] == gone["rows"]
    assert {} == told("gc", "--dry-run")["rows"] == told("gc")["rows"]
    assert 0 == run("db", "verify").exit_code

    free = told("compact", "--dry-run")
    after = told("compact")
    assert free["free"] > 0
    assert after["after"] < after["before"]
    assert database.stat().st_size == after["after"]
    assert "nothing to delete" in run("db", "prune", "--older-than", "9999w").stdout


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("prune",), "say what is old"),
        (("prune", "--older-than", "90d", "--before", BEFORE), "exclude each other"),
        (("prune", "--older-than", "soon"), "cannot read the time"),
        (("prune", "--before", BEFORE, "--keep", "none", "--keep", "suites"), "excludes the others"),
        (("erase",), "--conversation"),
        (("erase", "--conversation", "nobody"), "no conversation 'nobody'"),
        (("erase", "--conversation", "talk"), "several conversations 'talk'"),
        (("restore", "nothing.db"), "no file"),
    ],
)
def test_what_cannot_be_meant_is_refused(database: Path, arguments: tuple[str, ...], problem: str) -> None:
    before = database.read_bytes()
    result = run("db", *arguments)

    assert result.exit_code in (2, 3)
    assert problem in result.stderr
    assert before == database.read_bytes()


def test_an_erased_conversation_is_gone_and_the_report_says_what_is_not_touched(database: Path) -> None:
    (database.parent / "t.db.before-restore-1").write_bytes(b"an older copy")
    looked = run("db", "erase", "--conversation", "talk-4", "--dry-run").stdout
    assert "nothing was changed" in looked
    assert b"tiles" in bytes_of(database.parent)

    result = run("db", "erase", "--conversation", "talk-4")

    assert 0 == result.exit_code, result.stderr
    assert "hold none of them" in result.stdout
    assert "not touched: t.db.before-restore-1 beside the database" in result.stdout
    assert b"tiles" not in bytes_of(database.parent)


@pytest.mark.parametrize("command", [("compact",), ("erase", "--conversation", "talk-4")])
def test_who_writes_the_file_anew_wants_nobody_to_write(
    command: tuple[str, ...], database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "_LOCK_WAIT_S", 0.01)
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        result = run("db", *command)
    assert (6, True) == (result.exit_code, "keeps" in result.stderr)

    journal = Journal(Settings(database=str(database)).journal_path, uuid7())
    try:
        result = run("db", *command)
    finally:
        journal.close()
    assert (6, True) == (result.exit_code, "1 process is recording" in result.stderr)


def test_a_backup_taken_while_another_writes_is_sound_and_can_be_restored(database: Path) -> None:
    copy, stop, begun = database.with_name("copy.db"), threading.Event(), threading.Event()
    written: list[int] = []

    def write() -> None:
        with ToolLog.open(database, read_only=False) as log:
            while not stop.is_set():
                at_s = 5_000_000.0 + len(written)
                item = exchange([user(f"Number {len(written)}.")], assistant("Noted."), at_s=at_s)
                written.extend(log.write([item]))
                begun.set()

    thread = threading.Thread(target=write)
    thread.start()
    assert begun.wait(10)
    try:
        made = told("backup", str(copy))
    finally:
        stop.set()
        thread.join()

    assert (str(copy), copy.stat().st_size, 0) == (made["file"], made["bytes"], made["waiting"])
    with care(copy) as place:
        assert [] == problems(place)
    whole = said(database)
    found = told("restore", str(copy), "--force")
    assert found["exchanges"] + found["missing"] == len(whole["exchange"])
    assert 24 < found["exchanges"]
    assert Path(found["kept_as"]).exists()


def test_restore_says_what_it_does(database: Path, original: Path) -> None:
    told("prune", "--before", BEFORE, "--keep", "none")
    copy = database.with_name("small.db")
    told("backup", str(copy))
    database.write_bytes(original.read_bytes())

    assert 2 == run("db", "restore", str(copy)).exit_code
    looked = run("db", "restore", str(copy), "--dry-run").stdout
    assert "would be restored" in looked
    result = run("db", "restore", str(copy), "--force")
    assert "exchanges of the replaced database are not in it; they are in" in result.stdout
    assert result.stdout.splitlines()[-1].startswith(f"restored to {database}; the one before is ")


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres() as url:
        yield url


def test_on_postgresql_the_same_goes_and_the_same_stays(server: str, database: Path, tmp_path: Path) -> None:
    with postgres_database(server, "retention") as url:
        write_analyst_log(url)
        with ToolLog.open(url, read_only=False) as log:
            catch_up(log.engine)
        prune = ("prune", "--before", BEFORE, "--keep", "none")
        journal = ("--database", url, "db")

        def there(*arguments: str) -> dict[str, Any]:
            result = run(*journal, *arguments, "--json")
            assert 0 == result.exit_code, result.stderr
            found: dict[str, Any] = json.loads(result.stdout)
            return found

        promised = there(*prune, "--dry-run")["rows"]
        assert told(*prune)["rows"] == promised == there(*prune)["rows"]
        erase = ("erase", "--conversation", "talk-6")
        assert told(*erase)["rows"] == there(*erase)["rows"]
        with care(url) as place, care(database) as here:
            assert [] == problems(place)
            e = schema.exchange.c.uid
            assert columns(here, e) == columns(place, e)
            with place.reader.connect() as connection:
                gone = sa.text("SELECT COUNT(*) FROM message_search WHERE message_id NOT IN (SELECT id FROM message)")
                assert 0 == connection.scalar(gone)
        assert {} == there("gc")["rows"]
        assert there("compact")["after"] > 0
        assert said(database) == said(url)
        for command, tool in ((("backup", str(tmp_path / "x")), "pg_dump"), (("restore", str(database)), "pg_restore")):
            refused = run(*journal, *command)
            assert (2, True) == (refused.exit_code, tool in refused.stderr)
