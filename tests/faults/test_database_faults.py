"""The database goes away under a real server: the client notices nothing, and afterwards everything is there."""

import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path

import pytest

from tests.support.fault_lab import Lab, fill, lab, locked, overwrite, read_only, small_disk
from tests.support.fault_model import model
from tests.support.upstream import Upstream, running
from tests.support.waiting import eventually

MIXED = ("json", "stream", "tool")


@pytest.fixture(scope="module")
def up() -> Iterator[Upstream]:
    with running(model) as upstream:
        yield upstream


def is_in_trouble(here: Lab) -> bool:
    return here.health()["last_error"] is not None


# ---- faults that somebody ends --------------------------------------------------------------------------------------


@contextmanager
def full(here: Lab) -> Iterator[None]:
    filler = fill(here.database.parent)
    yield
    filler.unlink()


@contextmanager
def size_limit(here: Lab) -> Iterator[None]:
    """Let no file grow: the journal has room left below the limit, the log of the database has none."""
    import resource

    limit = here.database.with_name("t.db-wal").stat().st_size
    resource.prlimit(here.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    yield
    resource.prlimit(here.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))


@contextmanager
def another_revision(here: Lab, revision: str) -> Iterator[None]:
    """Say that the schema is another one; the process meets that when it opens the database."""
    here.close()
    with closing(sqlite3.connect(here.database)) as other:
        (ours,) = other.execute("SELECT version_num FROM alembic_version").fetchone()
        other.execute("UPDATE alembic_version SET version_num = ?", [revision])
        other.commit()
        here.restart()
        yield
        other.execute("UPDATE alembic_version SET version_num = ?", [ours])
        other.commit()


@contextmanager
def read_only_start(here: Lab) -> Iterator[None]:
    here.close()
    with read_only(here.database.parent):
        here.restart()
        yield


Fault = Callable[[Lab], AbstractContextManager[None]]
FAULTS: dict[str, Fault] = {
    "locked by another process": lambda here: locked(here.database),
    "disk full": full,
    "file size limit": size_limit,
    "read-only folder": read_only_start,
    "half-done migration": lambda here: another_revision(here, "0001"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_said_while_the_database_is_away_goes_in_when_the_fault_ends(
    tmp_path: Path, up: Upstream, name: str
) -> None:
    folder = tmp_path / "db"
    folder.mkdir()
    disk = small_disk(folder, "3m") if name == "disk full" else nullcontext(folder)
    with disk, lab(folder, up.url, journal_dir=tmp_path / "journal") as here:
        here.chat(*MIXED)
        here.drained()
        with FAULTS[name](here):
            here.chat(*MIXED, times=3)
            assert here.slowest_s < 2, "a chat waited for the database"
            if name != "locked by another process":  # it waits up to ten seconds before it calls that trouble
                assert eventually(lambda: is_in_trouble(here)), "the fault did nothing"
            assert here.backlog() > 0
        here.chat("json")
        here.drained()
        assert {} == here.gaps()
        assert (0, None) == (here.health()["lost"], here.health()["last_error"])


def checkpoint(database: Path) -> None:
    with closing(sqlite3.connect(database)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")


# ---- files that are damaged or gone ---------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [0, 8 * 4096], ids=["header", "middle pages"])
def test_a_damaged_database_is_left_alone_and_a_new_one_takes_everything_the_journal_has(
    tmp_path: Path, up: Upstream, place: int
) -> None:
    with lab(tmp_path, up.url) as here:
        here.chat(*MIXED)
        here.drained()
        here.close()
        checkpoint(here.database)  # puts the write-ahead log into the file, or it would hide the damage
        size = here.database.stat().st_size
        overwrite(here.database, place, 100 if place == 0 else size - place)
        damaged = here.database.read_bytes()
        here.restart()
        here.chat(*MIXED)
        assert eventually(lambda: is_in_trouble(here))
        assert damaged == here.database.read_bytes(), "nobody may write into a damaged file"

        for path in tmp_path.glob("t.db*"):
            path.rename(path.with_name(f"damaged-{path.name}"))
        here.chat("stream")
        here.drained()
        assert damaged == (tmp_path / "damaged-t.db").read_bytes()


def test_pages_that_are_damaged_while_it_runs_are_no_fault_of_the_exchanges(tmp_path: Path, up: Upstream) -> None:
    with lab(tmp_path, up.url) as here:
        here.chat(*MIXED)
        here.drained()
        checkpoint(here.database)  # so that the process reads the file again
        overwrite(here.database, 4096, here.database.stat().st_size - 4096)
        here.chat(*MIXED)
        assert eventually(lambda: is_in_trouble(here))
        for path in tmp_path.glob("t.db*"):
            path.rename(path.with_name(f"damaged-{path.name}"))
        here.chat("stream")
        here.drained()
        assert {"database": 1} == here.gaps()
        assert not (tmp_path / "journal" / "quarantine").exists()


@pytest.mark.parametrize("names", [("t.db", "t.db-wal", "t.db-shm"), ("t.db",)], ids=["with its log", "alone"])
def test_a_database_that_is_deleted_while_it_is_open_is_made_again_and_the_loss_is_a_row(
    tmp_path: Path, up: Upstream, names: tuple[str, ...]
) -> None:
    with lab(tmp_path, up.url) as here:
        here.chat(*MIXED)
        here.drained()
        for name in names:
            (tmp_path / name).unlink()
        here.chat(*MIXED, times=3)
        here.drained()  # the first ones are still in the journal
        assert {"database": 1} == here.gaps()


def test_a_write_ahead_log_that_is_deleted_while_it_is_open_costs_nothing(tmp_path: Path, up: Upstream) -> None:
    with lab(tmp_path, up.url) as here:
        here.chat(*MIXED)
        here.drained()
        (tmp_path / "t.db-wal").unlink()
        here.chat(*MIXED, times=3)
        here.drained()
        assert {} == here.gaps()


def test_a_torn_write_ahead_log_costs_nothing(tmp_path: Path, up: Upstream) -> None:
    with lab(tmp_path, up.url) as here:
        here.chat(*MIXED, times=4)
        here.drained()
        here.close()
        log = tmp_path / "t.db-wal"
        with log.open("r+b") as file:
            file.truncate(log.stat().st_size // 2 + 7)
        here.restart()
        here.chat("json")
        here.drained()
        assert {} == here.gaps()


# ---- others ---------------------------------------------------------------------------------------------------------


def test_two_servers_on_one_database_record_both(tmp_path: Path, up: Upstream) -> None:
    with lab(tmp_path, up.url) as one, lab(tmp_path, up.url) as other:
        other._number = 1000
        for _ in range(4):
            one.chat(*MIXED)
            other.chat(*MIXED)
        one.delivered += other.delivered
        one.drained()
        assert ({}, 0, 0) == (one.gaps(), one.health()["lost"], other.health()["lost"])


def test_the_shell_of_another_program_may_hold_a_read_transaction(tmp_path: Path, up: Upstream) -> None:
    program = (
        "import sqlite3, sys\n"
        "c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('BEGIN'); c.execute('SELECT count(*) FROM exchange').fetchall(); print(flush=True)\n"
        "sys.stdin.read()"
    )
    with lab(tmp_path, up.url) as here:
        here.chat(*MIXED)
        here.drained()
        command = [sys.executable, "-c", program, str(here.database)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            assert other.stdout is not None
            other.stdout.readline()
            here.chat(*MIXED)
            here.drained()
            other.communicate()
        assert {} == here.gaps()
