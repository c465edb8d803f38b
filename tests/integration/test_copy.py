"""``toollog db copy``: SQLite → PostgreSQL → SQLite gives the same log; what goes wrong leaves nothing half done."""

import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from tarx_toollog.config import Settings
from tarx_toollog.errors import ConfigError, SchemaOutdatedError, StoreError
from tarx_toollog.ids import uuid7
from tarx_toollog.replay.scenario import Scenario
from tarx_toollog.store import schema
from tarx_toollog.store.copying.copy import CopyReport, NoSteps, copy_store
from tarx_toollog.store.filters import Filters
from tarx_toollog.store.frames import exchange_frames
from tarx_toollog.store.journal import Journal
from tarx_toollog.store.labels import Labels, NewLabel
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.migrate import upgrade
from tarx_toollog.store.search import catch_up, count_waiting, search
from tarx_toollog.store.tallies import changed_days, tallied
from tarx_toollog.store.verify import verify
from tarx_toollog.store.view import View
from tarx_toollog.store.views import VIEWS
from tests.support.builders import assistant, exchange, raw_exchange, user
from tests.support.full_log import write_full_log
from tests.support.postgres import database, postgres
from tests.support.ready_answers import ask
from tests.unit.cli.samples import bad_chat, run, write_log

Values = dict[str, list[tuple[str, ...]]]


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with postgres() as url:
        yield url


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a log in which every table has rows; all its words are indexed."""
    path: Path = tmp_path_factory.mktemp("full") / "full.db"
    write_full_log(path)
    # JSON that our own writer would write in another way.
    execute(path, """UPDATE exchange SET response_extra = '{ "x": 1.10, "x": 1e2, "\\u0041": [] }' WHERE id = 1""")
    with ToolLog.open(path, read_only=False) as log:
        catch_up(log.engine)
    return path


@pytest.fixture(scope="module")
def there(server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield a small log on PostgreSQL that tests may write into."""
    path = tmp_path_factory.mktemp("there") / "t.db"
    write_log(path, bad_chat())
    with database(server, "there") as url:
        copy(path, url)
        yield url


@pytest.fixture(scope="module")
def empty(server: str) -> Iterator[str]:
    """Yield an empty store on PostgreSQL."""
    with database(server, "empty") as url:
        upgrade(Settings(database=url))
        yield url


class Trip:
    """A log that went to PostgreSQL and came back."""

    def __init__(self, full: Path, url: str, back: Path) -> None:
        self.databases = {"first": str(full), "postgresql": url, "back": str(back)}
        self.there = copy(full, url)
        self.again = copy(url, back)

    def each(self) -> Iterator[ToolLog]:
        for name in self.databases.values():
            with ToolLog.open(name) as log:
                yield log


@pytest.fixture(scope="module")
def trip(full: Path, server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Trip]:
    with database(server, "trip") as url:
        yield Trip(full, url, tmp_path_factory.mktemp("back") / "back.db")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    path = tmp_path / "small.db"
    write_log(path, bad_chat())
    return path


def copy(source: str | Path, destination: str | Path, **options: Any) -> CopyReport:
    return copy_store(Settings(database=str(source)), Settings(database=str(destination)), **options)


def stored(path: str | Path) -> Values:
    """Return all that the tables of an SQLite file hold, as SQLite itself writes it: type, bytes and value."""
    with closing(sqlite3.connect(path)) as connection:
        found = {}
        for table in schema.metadata.sorted_tables:
            columns = ", ".join(
                f"typeof({column.name}) || ' ' || hex({column.name}) || ' ' || quote({column.name})"
                for column in table.columns
            )
            found[table.name] = sorted(connection.execute(f"SELECT {columns} FROM {table.name}").fetchall(), key=repr)
        return found


def execute(database: str | Path, sql: str) -> list[Any]:
    engine = sa.create_engine(str(database) if "://" in str(database) else f"sqlite:///{database}")
    with engine.begin() as connection:
        result = connection.exec_driver_sql(sql)
        rows = list(result) if result.returns_rows else []
    engine.dispose()
    return rows


def is_empty(database: str | Path) -> bool:
    return execute(database, "SELECT COUNT(*) FROM message") == [(0,)] == execute(database, "SELECT COUNT(*) FROM run")


# ---- there and back -------------------------------------------------------------------------------------------------


def test_every_row_of_every_table_comes_back_as_it_was(full: Path, trip: Trip) -> None:
    before = stored(full)

    assert [] == [name for name, rows in before.items() if not rows]
    assert before == stored(trip.databases["back"])
    assert (
        {name: len(rows) for name, rows in before.items()}
        == trip.there.rows
        == trip.again.rows | {"store_meta": len(before["store_meta"])}
    )
    assert set(before) == {name for name, text in trip.there.hashes.items() if len(text) == 32}
    unlike = {name for name in before if trip.there.hashes[name] != trip.again.hashes[name]}
    assert set() == unlike


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: str(view.name))
def test_every_view_says_the_same_on_all_three(trip: Trip, view: View) -> None:
    first, *others = [sorted(ask(log, f"SELECT * FROM {view.name}")["rows"], key=repr) for log in trip.each()]

    assert first
    assert [first, first] == others


def test_verify_search_and_tallies_agree_on_all_three(trip: Trip) -> None:
    found = []
    for log in trip.each():
        report = verify(log.engine, lambda definition: Scenario.from_json(definition).content_hash)
        with log.engine.connect() as connection:
            hits = search(connection, "lisbon*", Filters()).hits + search(connection, "half pair", Filters()).hits
            kept = tallied(connection, "calls", ("day", "tool")), tallied(connection, "latencies", ("what", "bucket"))
            found.append((report.problems, report.checked, hits, count_waiting(connection), kept))

    problems, checked, hits, waiting, kept = found[0]
    assert ([], 0) == (problems, waiting)
    assert hits
    assert all(checked.values())
    assert all(kept)
    assert [found[0]] * 2 == found[1:]


def test_a_copy_on_postgresql_has_all_rules_of_a_new_store_and_goes_on_where_the_log_ended(
    there: str, empty: str, small: Path
) -> None:
    rules = "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint ORDER BY 1, 2"
    hooks = "SELECT tgrelid::regclass::text, tgname, tgenabled FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1, 2"
    for sql in (rules, hooks):
        assert execute(empty, sql) == execute(there, sql) != []
    with ToolLog.open(there, read_only=False) as log:
        last = execute(there, "SELECT MAX(id) FROM exchange")[0][0]
        assert [last + 1] == log.write([exchange([user("and then?")], assistant("more"), at_s=86_400 * 30)])
        with log.engine.connect() as connection:
            assert "2026-10-21" in changed_days(connection)


# ---- one moment -----------------------------------------------------------------------------------------------------


class Disturbing(NoSteps):
    """Writes into the source while it is copied."""

    def __init__(self, source: str | Path) -> None:
        self._source = source
        self.wrote: list[int] = []

    def advance(self, count: int = 1) -> None:
        if not self.wrote:
            with ToolLog.open(self._source, read_only=False) as log:
                self.wrote = log.write([exchange([user("meanwhile")], assistant("yes"), at_s=9_000)])


@pytest.mark.parametrize("is_postgresql", [False, True], ids=["sqlite", "postgresql"])
def test_what_is_written_meanwhile_is_not_in_it(is_postgresql: bool, there: str, small: Path, tmp_path: Path) -> None:
    source, before, after = there if is_postgresql else small, tmp_path / "before.db", tmp_path / "after.db"
    copy(source, before)
    disturbing = Disturbing(source)
    report = copy(source, after, steps=disturbing)

    assert disturbing.wrote
    assert stored(before)["exchange"] == stored(after)["exchange"]
    assert [(report.rows["exchange"] + 1,)] == execute(source, "SELECT COUNT(*) FROM exchange")


# ---- refusals -------------------------------------------------------------------------------------------------------


def test_a_destination_that_is_not_empty_is_refused_and_stays_as_it_is(small: Path, there: str) -> None:
    other = small.with_name("other.db")
    write_log(other, bad_chat("other"))
    before = stored(other)
    with pytest.raises(StoreError, match=r"other.db is not empty: there are rows in conversation"):
        copy(small, other)
    assert before == stored(other)
    with pytest.raises(StoreError, match=r"/there is not empty: there are rows in conversation"):
        copy(small, there)
    waiting = small.with_name("waiting.db")
    upgrade(Settings(database=str(waiting)))
    execute(waiting, "INSERT INTO writer (uid, host, pid, version, started_at) VALUES ('u', 'h', 1, '1', '2026-01-01')")
    with pytest.raises(StoreError, match="there are rows in writer"):  # it records, and has nothing to record yet
        copy(small, waiting)


def test_schemas_have_to_be_the_same(small: Path) -> None:
    old, target = small.with_name("old.db"), small.with_name("new.db")
    upgrade(Settings(database=str(old)))
    execute(old, "UPDATE alembic_version SET version_num = '0001'")
    with pytest.raises(SchemaOutdatedError, match=r"old.db: the database has schema 0001") as refused:
        copy(old, target)
    assert "`toollog --database SRC db upgrade` brings it up to date" == refused.value.hint
    with pytest.raises(StoreError, match=r"old.db has schema 0001, the source has 0"):
        copy(small, old)
    assert not target.exists()


def test_the_same_database_and_that_of_another_program_are_refused(small: Path) -> None:
    with pytest.raises(ConfigError, match="the same database"):
        copy(small, f"sqlite:///{small}")
    stranger = small.with_name("stranger.db")
    execute(stranger, "CREATE TABLE notes (text)")
    with pytest.raises(StoreError, match="belongs to another program"):
        copy(small, stranger)


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("UPDATE exchange SET method = 'POSTPOSTPOST' WHERE id = 2", "a row of exchange does not fit: value too long"),
        ("UPDATE exchange SET n_tools = 3000000000 WHERE id = 2", "a row of exchange does not fit: .* out of range"),
        ("UPDATE exchange SET parent_exchange_id = 999 WHERE id = 2", "the source is damaged: exchange: .* foreign"),
    ],
)
def test_what_postgresql_cannot_hold_is_named_and_nothing_is_left(sql: str, told: str, small: Path, empty: str) -> None:
    with closing(sqlite3.connect(small)) as connection:
        connection.execute(sql)
        connection.commit()
    with pytest.raises(StoreError, match=told):
        copy(small, empty)
    assert is_empty(empty)


def test_a_reference_that_hangs_in_the_air_is_refused_on_sqlite(small: Path) -> None:
    execute(small, "UPDATE exchange SET parent_exchange_id = 999 WHERE id = 2")
    target = small.with_name("copy.db")
    with pytest.raises(StoreError, match="damaged: exchange row 2 refers to a row of exchange that is not there"):
        copy(small, target)
    assert is_empty(target)


@pytest.mark.parametrize("verified", [True, False])
def test_a_copy_that_is_not_equal_does_not_come_to_be(verified: bool, small: Path) -> None:
    """Somebody's trigger changes what is written; without ``verify`` a row that is missing is found all the same."""
    target = small.with_name("copy.db")
    upgrade(Settings(database=str(target)))
    with ToolLog.open(small, read_only=False) as log:
        Labels(log).add(
            NewLabel("conversation", next(log.trajectories()).conversation_uid, "quality", 1.0, annotator="a")
        )
    change = "UPDATE message SET content = 'x' WHERE id = 2" if verified else "DELETE FROM label WHERE id = 1"
    execute(target, f"CREATE TRIGGER theirs AFTER INSERT ON tool_result BEGIN {change}; END")

    wrong = "message" if verified else "label"
    with pytest.raises(StoreError, match=f"what was written is not what was read, in {wrong}; nothing was copied"):
        copy(small, target, verify=verified)
    assert is_empty(target)


class Stopped(NoSteps):
    """A person who presses Ctrl-C when the rows are written and compared."""

    def begin(self, label: str, total: int | None = None) -> None:
        if label == "rows compared":
            raise KeyboardInterrupt


def test_a_copy_that_was_stopped_leaves_nothing_and_can_be_made_again(small: Path, empty: str) -> None:
    target = small.with_name("copy.db")
    for destination in (target, empty):
        with pytest.raises(KeyboardInterrupt):
            copy(small, destination, steps=Stopped())
        assert is_empty(destination)
    assert copy(small, target).rows["exchange"] == len(stored(small)["exchange"])


# ---- the command ----------------------------------------------------------------------------------------------------


def test_the_command_says_what_it_does_and_what_stays_behind(small: Path) -> None:
    settings = Settings(database=str(small))
    execute(small, "CREATE TABLE my_notes (text)")
    journal = Journal(settings.journal_path, uuid7())
    raw = raw_exchange([user("late")], assistant("too late"), uid=uuid7())
    journal.append(exchange_frames(UUID(raw.begin.uid).bytes, raw))
    journal._close_files()  # as a process that was killed
    (settings.journal_path / "identity.key").write_bytes(b"k" * 32)
    target = small.with_name("copy.db")

    looked = json.loads(run("db", "copy", str(small), str(target), "--dry-run", "--json").stdout)
    assert not target.exists()
    told = run("db", "copy", str(small), str(target)).stdout
    again = json.loads(run("db", "copy", str(small), str(small.with_name("c.db")), "--no-verify", "--json").stdout)

    assert (True, 1, ["my_notes"], False, False) == tuple(
        looked[name] for name in ("dry_run", "waiting", "not_copied", "verified", "same_key")
    )
    assert looked["tables"] == again["tables"]
    assert (3, 2, 1) == tuple(looked["tables"][name] for name in ("tool_call", "turn", "conversation"))
    assert f"copied {looked['rows']} rows" in told
    assert "each table has the same hash on both sides" in told
    assert "not copied, since they are not ours: my_notes" in told
    assert f"not copied: 1 exchanges that wait in the journal, {settings.journal_path}" in told
    assert "set TOOLLOG_JOURNAL_DIR to that folder" in told
    assert target.stat().st_mode & 0o777 == 0o600

    shutil.copytree(settings.journal_path, Settings(database=str(small.with_name("d.db"))).journal_path)
    assert json.loads(run("db", "copy", str(small), str(small.with_name("d.db")), "--json").stdout)["same_key"]


def test_a_password_is_not_shown() -> None:
    url = "postgresql+psycopg://toollog:geheim@127.0.0.1:1/toollog"
    result = run("db", "copy", url, "x.db")

    assert 6 == result.exit_code
    assert "toollog:***@127.0.0.1" in result.stderr
    assert "geheim" not in result.output
