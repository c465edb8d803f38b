"""Several processes record into one PostgreSQL, which goes away and comes back: nothing is lost, or there twice."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tarx_toollog.capture.recorder import Recorder
from tarx_toollog.config import Settings
from tarx_toollog.store import schema
from tarx_toollog.store.engine import is_store_trouble, writer_engine
from tarx_toollog.store.journal import list_segments
from tarx_toollog.store.migrate import upgrade
from tarx_toollog.store.quarantine import held_in
from tarx_toollog.store.search import catch_up, count_waiting
from tarx_toollog.store.tallies import fold_changed, tallied
from tests.support.postgres import Server, database, own_server
from tests.support.shared_chats import PATIENCE_S, append, shared_chats
from tests.support.waiting import eventually

N_CHATS = 4
N_PROCESSES = 2
_FIRST = "(SELECT MIN(f.uid) FROM exchange f WHERE f.conversation_id = e.conversation_id)"
PLACES = f"""
SELECT e.uid, {_FIRST}, c.source, c.external_id, e.turn_no, e.step_no, e.outcome, e.conversation_how, p.uid,
       (SELECT COUNT(*) FROM tool_call t WHERE t.exchange_id = e.id),
       (SELECT called.uid FROM tool_result r JOIN tool_call t ON t.id = r.tool_call_id
                          JOIN exchange called ON called.id = t.exchange_id WHERE r.exchange_id = e.id)
FROM exchange e LEFT JOIN conversation c ON c.id = e.conversation_id
                LEFT JOIN exchange p ON p.id = e.parent_exchange_id ORDER BY e.uid
"""
"""Every exchange with its place: the conversation by its first exchange, what it continues, whose call it answers."""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with own_server() as running:
        yield running


@contextmanager
def recording(url: str, journal: Path) -> Iterator[Recorder]:
    recorder = Recorder(
        Settings(database=url, journal_dir=journal, idle_ms=0, max_delay_ms=5, probe=False, connect_timeout_s=1)
    )
    try:
        yield recorder
    finally:
        recorder.close()


def rows(url: str, sql: str) -> list[tuple[Any, ...]]:
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        found = [tuple(row) for row in connection.exec_driver_sql(sql)]
    engine.dispose()
    return found


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[Any, ...]]]:
    """Return what one process makes of the chats, on SQLite."""
    path = tmp_path_factory.mktemp("one") / "t.db"
    with recording(str(path), path.with_name("journal")) as recorder:
        append(recorder, shared_chats(N_CHATS))
        assert recorder.flush(PATIENCE_S)
    return {name: rows(f"sqlite:///{path}", sql) for name, sql in QUERIES.items()}


QUERIES = {
    "places": PLACES,
    "turns": "SELECT turn_no, signature, n_steps, chain_length, n_unanswered, status FROM turn ORDER BY 1, 2, 3, 4, 5",
    "shared": "SELECT (SELECT COUNT(*) FROM message), (SELECT COUNT(*) FROM node), (SELECT COUNT(*) FROM toolset), "
    "(SELECT COUNT(*) FROM toolset_item), (SELECT COUNT(*) FROM tool_definition)",
    "gaps": "SELECT kind, n, detail FROM gap",
}


def start_all(url: str, folder: Path) -> list[subprocess.Popen[str]]:
    """Start the processes; return them when all of them are ready to record."""
    started = []
    for part in range(N_PROCESSES):
        arguments = (url, str(folder / str(part)), str(part), str(N_PROCESSES), str(N_CHATS))
        command = [sys.executable, "-m", "tests.support.shared_chats", *arguments]
        pipes: dict[str, Any] = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        started.append(subprocess.Popen(command, text=True, **pipes))
    for process in started:
        assert process.stdout is not None
        assert "ready\n" == process.stdout.readline(), process.communicate()
    return started


def test_several_processes_write_the_same_log_as_one(
    server: Server, expected: dict[str, list[tuple[Any, ...]]], tmp_path: Path
) -> None:
    with database(server.url, "several") as url:
        processes = start_all(url, tmp_path)
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        told = [process.communicate(timeout=100) for process in processes]

        assert [("done 0 0 \n", "")] * N_PROCESSES == told
        assert expected == {name: rows(url, sql) for name, sql in QUERIES.items()}
        assert 4 * N_CHATS == len(expected["places"])
        assert [(N_PROCESSES,)] == rows(url, "SELECT COUNT(*) FROM writer WHERE stopped_at IS NOT NULL")
        assert [0] * N_PROCESSES == [held_in(tmp_path / str(part)).n_files for part in range(N_PROCESSES)]
        tidied_by_two(url)


def tidied_by_two(url: str) -> None:
    """Let two processes index and count at the same time; each row is indexed and counted once."""
    failed: list[BaseException] = []

    def tidy() -> None:
        engine = writer_engine(Settings(database=url))
        try:
            fold_changed(engine)
            catch_up(engine)
        except BaseException as error:
            failed.append(error)
        finally:
            engine.dispose()

    threads = [threading.Thread(target=tidy) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    engine = writer_engine(Settings(database=url))
    with engine.connect() as connection:
        counted = sum(row["n_calls"] for row in tallied(connection, "calls", ("tool",)))
        waiting = count_waiting(connection)
    engine.dispose()
    assert ([], 0, [(counted,)]) == (failed, waiting, rows(url, "SELECT COUNT(*) FROM tool_call"))
    assert rows(url, "SELECT COUNT(*) FROM message_search") == rows(url, "SELECT COUNT(*) FROM message")


def test_a_server_that_crashes_and_comes_back_gets_everything(
    server: Server, expected: dict[str, list[tuple[Any, ...]]], tmp_path: Path
) -> None:
    chats = shared_chats(N_CHATS)
    with database(server.url, "crashed") as url, recording(url, tmp_path / "journal") as recorder:
        append(recorder, chats[:10])
        assert recorder.flush(PATIENCE_S)
        server.stop(signal.SIGQUIT)
        try:
            append(recorder, chats[10:])
            assert eventually(lambda: recorder.failures > 1)  # it was tried again, and in vain
            waiting = sum(path.stat().st_size for path in list_segments(tmp_path / "journal"))
        finally:
            server.start()
        assert recorder.flush(PATIENCE_S)

        assert waiting > sum(len(raw.request_body) for raw in chats[10:])
        assert (0, None, 0) == (recorder.lost, recorder.last_error, held_in(tmp_path / "journal").n_files)
        assert expected == {name: rows(url, sql) for name, sql in QUERIES.items()}


def test_a_server_that_is_away_at_the_start_or_only_reads_gets_everything_later(
    server: Server, expected: dict[str, list[tuple[Any, ...]]], tmp_path: Path
) -> None:
    chats = shared_chats(N_CHATS)
    only_reads = "ALTER DATABASE later SET default_transaction_read_only = {}"
    leave = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'later' AND pid <> pg_backend_pid()"
    with database(server.url, "later") as url:
        upgrade(Settings(database=url))
        server.stop(signal.SIGINT)
        try:
            with recording(url, tmp_path / "journal") as recorder:
                append(recorder, chats[:10])
                assert eventually(lambda: recorder.failures > 0)
                server.start()
                assert recorder.flush(PATIENCE_S)
                execute(server.url, only_reads.format("on"), leave)
                failures = recorder.failures
                append(recorder, chats[10:])
                assert eventually(lambda: recorder.failures > failures + 1)
                assert recorder.last_error is not None
                assert "read-only transaction" in recorder.last_error
                assert "In Lisbon" not in recorder.last_error  # what was said stands in no log of errors
                execute(server.url, only_reads.format("off"), leave)
                assert recorder.flush(PATIENCE_S)
        finally:
            if server.is_stopped:
                server.start()

        assert 0 == held_in(tmp_path / "journal").n_files
        assert expected == {name: rows(url, sql) for name, sql in QUERIES.items()}


def execute(url: str, *statements: str) -> None:
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    engine.dispose()


@pytest.mark.parametrize(
    ("sql", "is_trouble"),
    [
        ("SET TRANSACTION READ ONLY; DELETE FROM label", True),
        ("SET LOCAL statement_timeout = 10; SELECT pg_sleep(60)", True),
        ("SELECT pg_terminate_backend(pg_backend_pid())", True),
        ("SET LOCAL ROLE pg_monitor; SELECT 1 FROM label", True),
        ("SELECT 1 FROM not_there", True),
        ("INSERT INTO store_meta VALUES ('created_by', 'x')", False),
        ("SELECT 1 / 0", False),
        ("SELECT", None),
        ("SELECT ' ", False),
    ],
)
def test_trouble_of_the_server_is_told_from_data_that_will_never_fit(
    sql: str, is_trouble: bool | None, server: Server, trouble_url: str
) -> None:
    engine = writer_engine(Settings(database=trouble_url))
    error = None
    try:
        with engine.begin() as connection:
            for statement in sql.split("; "):
                connection.exec_driver_sql(statement)
    except sa.exc.DBAPIError as raised:
        error = raised
    engine.dispose()
    assert is_trouble == (None if error is None else is_store_trouble(error))


@pytest.fixture(scope="module")
def trouble_url(server: Server) -> Iterator[str]:
    """Yield a store whose schema three processes made at once: two of them find that it is made."""
    failed: list[BaseException] = []

    def make(url: str) -> None:
        try:
            upgrade(Settings(database=url))
        except BaseException as error:
            failed.append(error)

    with database(server.url, "trouble") as url:
        threads = [threading.Thread(target=make, args=(url,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert [] == failed
        yield url


def test_the_schema_that_several_processes_make_at_once_is_made_once(trouble_url: str) -> None:
    assert [(schema.SCHEMA_REVISION,)] == rows(trouble_url, "SELECT version_num FROM alembic_version")
    assert [(1,)] == rows(trouble_url, "SELECT COUNT(*) FROM store_meta")
