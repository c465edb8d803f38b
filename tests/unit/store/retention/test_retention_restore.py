"""Restoring: a sound backup takes the place of the database, and nothing is lost silently."""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from uuid import UUID

import pytest

from tarx_toollog import ToolLog
from tarx_toollog.config import Settings
from tarx_toollog.errors import ConfigError, SchemaTooNewError, StoreError
from tarx_toollog.ids import uuid7
from tarx_toollog.store import frames as fr
from tarx_toollog.store import maintenance, migrate
from tarx_toollog.store.engine import create_private_file, writer_engine
from tarx_toollog.store.ingest import Ingester
from tarx_toollog.store.journal import Journal
from tarx_toollog.store.retention.restore import Restored, restore
from tests.support.builders import assistant, exchange, raw_exchange, user
from tests.unit.store.retention.logs import Heard

TEXTS = ("one", "two", "three")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a backup of two exchanges, and the database, which got a third one since."""
    folder = tmp_path_factory.mktemp("log")
    settings = Settings(database=str(folder / "t.db"))
    with ToolLog.open(settings=settings, read_only=False) as log:
        for at_s, text in enumerate(TEXTS):
            if text == TEXTS[-1]:
                with ToolLog.open(settings=settings) as reader:
                    create_private_file(folder / "backup.db")
                    maintenance.copy_database(reader.engine, folder / "backup.db")
            log.write([exchange([user(text)], assistant("yes"), at_s=100.0 * at_s)])
    return folder


@pytest.fixture
def settings(written: Path, tmp_path: Path) -> Settings:
    return Settings(database=str(shutil.copytree(written, tmp_path / "log") / "t.db"))


@pytest.fixture
def backup(settings: Settings) -> Path:
    return Path(settings.database).with_name("backup.db")


def do(settings: Settings, file: Path, **options: bool) -> Restored:
    chosen = {"force": True, "discard": False, "dry_run": False, **options}
    return restore(settings, file, steps=Heard(), **chosen)


def asked(database: str | Path) -> list[str]:
    with ToolLog.open(database) as log:
        return sorted(row[0] for row in log.query("SELECT content FROM message WHERE role = 'user'").rows)


def beside(settings: Settings) -> list[str]:
    return sorted(path.name for path in Path(settings.database).parent.glob("t.db*") if path.is_file())


def test_the_backup_takes_the_place_and_what_was_there_stays_beside(settings: Settings, backup: Path) -> None:
    found = do(settings, backup)

    assert ["one", "two"] == asked(settings.database)
    assert found.kept_as is not None
    assert ["one", "three", "two"] == asked(found.kept_as)
    assert (2, 1, 0, False) == (found.exchanges, found.missing, found.waiting, found.upgraded)
    assert [0o600, 0o600] == [path.stat().st_mode & 0o777 for path in (Path(settings.database), found.kept_as)]
    assert ["t.db", found.kept_as.name] == [name for name in beside(settings) if not name.endswith(("-wal", "-shm"))]
    with ToolLog.open(settings=settings) as log:
        assert [] == maintenance.damage(log.engine)


def test_a_database_that_is_there_is_replaced_only_when_that_is_asked_for(settings: Settings, backup: Path) -> None:
    with pytest.raises(ConfigError, match="exists") as caught:
        do(settings, backup, force=False)
    assert "--force" in caught.value.hint
    assert ["one", "three", "two"] == asked(settings.database)


def test_a_dry_run_checks_and_changes_nothing(settings: Settings, backup: Path) -> None:
    before = Path(settings.database).read_bytes()
    found = do(settings, backup, force=False, dry_run=True)

    assert (2, 1) == (found.exchanges, found.missing)
    assert before == Path(settings.database).read_bytes()
    assert ["t.db"] == [name for name in beside(settings) if not name.endswith(("-wal", "-shm"))]


def test_what_is_replaced_goes_when_that_is_asked_for_and_is_counted(settings: Settings, backup: Path) -> None:
    found = do(settings, backup, discard=True)

    assert (None, 1) == (found.kept_as, found.missing)
    assert ["one", "two"] == asked(settings.database)
    assert ["t.db"] == [name for name in beside(settings) if not name.endswith(("-wal", "-shm"))]


def test_a_backup_is_restored_where_nothing_was(settings: Settings, backup: Path) -> None:
    Path(settings.database).unlink()
    found = do(settings, backup, force=False)

    assert (None, None) == (found.kept_as, found.missing)
    assert ["one", "two"] == asked(settings.database)


@pytest.mark.parametrize(("is_there", "discard"), [(True, False), (False, False), (False, True)])
def test_the_log_of_the_old_file_is_never_read_into_the_new_one(
    is_there: bool, discard: bool, settings: Settings, backup: Path
) -> None:
    database = Path(settings.database)
    with closing(sqlite3.connect(database)) as connection:
        connection.execute("UPDATE message SET content = 'of the old log' WHERE content = 'one'")
        connection.commit()
        left = Path(f"{database}-wal").read_bytes()
        whole = database.read_bytes()
    database.write_bytes(whole)
    Path(f"{database}-wal").write_bytes(left)  # as a process leaves it that is killed
    assert b"of the old log" in left
    if not is_there:
        database.unlink()

    found = do(settings, backup, discard=discard)

    assert not Path(f"{database}-wal").exists()
    assert ["one", "two"] == asked(settings.database)
    assert discard is (found.kept_as is None)
    if found.kept_as is not None and is_there:
        assert ["of the old log", "three", "two"] == asked(found.kept_as)
    elif found.kept_as is not None:
        assert left == Path(f"{found.kept_as}-wal").read_bytes()


def test_a_damaged_database_is_replaced_and_kept_as_it_is(settings: Settings, backup: Path) -> None:
    Path(settings.database).write_bytes(b"no database at all" * 1000)
    Path(f"{settings.database}-wal").unlink(missing_ok=True)

    found = do(settings, backup)

    assert found.missing is None
    assert found.kept_as is not None
    assert found.kept_as.read_bytes().startswith(b"no database")
    assert ["one", "two"] == asked(settings.database)


def damaged(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        (page,) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'ix_exchange_input_sem'"
        ).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * 100)


def newer(path: Path) -> None:
    change(path, "UPDATE alembic_version SET version_num = '9999'")


def inconsistent(path: Path) -> None:
    change(path, "UPDATE exchange SET input_node_id = 999")


def foreign(path: Path) -> None:
    path.unlink()
    change(path, "CREATE TABLE theirs (id INTEGER)")


def empty(path: Path) -> None:
    path.write_bytes(b"")


def text(path: Path) -> None:
    path.write_text("SQLite, but not quite" * 100)


def change(path: Path, sql: str) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(sql)
        connection.commit()


@pytest.mark.parametrize("spoil", [damaged, newer, inconsistent, foreign, empty, text])
def test_a_backup_that_is_no_good_changes_nothing(spoil, settings: Settings, backup: Path) -> None:  # type: ignore[no-untyped-def]
    spoil(backup)
    with pytest.raises(SchemaTooNewError if spoil is newer else StoreError):
        do(settings, backup)

    assert ["one", "three", "two"] == asked(settings.database)
    assert ["t.db"] == [name for name in beside(settings) if not name.endswith(("-wal", "-shm"))]


def test_what_is_no_file_and_the_database_itself_cannot_be_restored(settings: Settings, backup: Path) -> None:
    for file in (backup.with_name("missing.db"), backup.parent, Path(settings.database)):
        with pytest.raises(ConfigError):
            do(settings, file)
    with pytest.raises(ConfigError, match="SQLite") as caught:
        do(Settings(database="postgresql://nobody@127.0.0.1:1/log"), backup)
    assert "pg_restore" in caught.value.hint


@pytest.fixture
def journal(settings: Settings, backup: Path) -> Iterator[Journal]:
    made = Journal(settings.journal_path, uuid7())
    yield made
    made.close()


def test_nobody_may_record_or_write_meanwhile(
    settings: Settings, backup: Path, journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maintenance, "_LOCK_WAIT_S", 0.01)
    with pytest.raises(StoreError, match="recording"):
        do(settings, backup)
    journal.close()
    with closing(sqlite3.connect(settings.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreError, match="locked"):
            do(settings, backup)
    assert 1 == do(settings, backup).missing


def test_what_waits_in_the_journal_stays_and_goes_into_the_restored_database(
    settings: Settings, backup: Path, journal: Journal
) -> None:
    raw = raw_exchange([user("four")], assistant("yes"), at_s=900)
    journal.append(fr.exchange_frames(UUID(raw.begin.uid).bytes, raw))
    journal.close()

    assert 1 == do(settings, backup).waiting

    ingester = Ingester(settings, uuid7())
    ingester.open()
    ingester.recover()
    ingester.close()
    assert ["four", "one", "two"] == asked(settings.database)


def test_an_older_backup_is_brought_to_the_schema_of_this_version(settings: Settings, tmp_path: Path) -> None:
    old = tmp_path / "old.db"
    engine = writer_engine(Settings(database=str(old)))
    migrate._upgrade(engine, "0003")
    engine.dispose()
    with closing(sqlite3.connect(old)) as plain:
        plain.executescript((Path(__file__).parents[3] / "migrations/rows_0003.sql").read_text("utf-8"))

    found = do(settings, old)

    assert ("0003", True) == (found.revision, found.upgraded)
    with ToolLog.open(settings=settings) as log:
        assert [] == maintenance.damage(log.engine)
        assert found.exchanges == len(list(log.query("SELECT id FROM exchange").rows))
    with closing(sqlite3.connect(old)) as plain:
        assert [("0003",)] == plain.execute("SELECT version_num FROM alembic_version").fetchall()
