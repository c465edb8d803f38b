"""Group syncs, and the journal that uses them: durability levels ``async`` and ``power``."""

import errno
import fcntl
import os
import threading
from pathlib import Path
from uuid import UUID

import pytest

from tarx_toollog.ids import uuid7
from tarx_toollog.store import frames as fr
from tarx_toollog.store import journal as jr
from tarx_toollog.store import syncing
from tarx_toollog.store.frames import Kind
from tarx_toollog.store.journal import Journal, JournalEndedError
from tarx_toollog.store.syncing import Syncer, sync_file
from tests.support.waiting import eventually

UID = UUID(uuid7()).bytes
END = (Kind.END, UID, [b'{"offset_ns":1}'])


def never(error: Exception) -> None:
    raise AssertionError(error)


class Disk:
    """Takes note of syncs; may hold them up or refuse them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.n_syncs = 0
        self.may_go = threading.Event()
        self.may_go.set()
        self.refuses = False
        monkeypatch.setattr(jr, "sync_file", self.sync)

    def sync(self, fd: int) -> None:
        self.n_syncs += 1
        assert self.may_go.wait(5)
        os.fstat(fd)  # it is open
        if self.refuses:
            raise OSError(errno.EIO, os.strerror(errno.EIO))


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def wait_synced(journal: Journal) -> None:
    done = threading.Event()
    journal.when_synced(done.set)
    assert done.wait(5)


# ---- groups ---------------------------------------------------------------------------------------------------------


def test_whoever_asks_while_a_sync_runs_shares_the_next_one() -> None:
    n_syncs, go, began = 0, threading.Event(), threading.Event()

    def sync() -> None:
        nonlocal n_syncs
        n_syncs += 1
        began.set()
        assert go.wait(5)

    syncer = Syncer(sync, never)
    answered: list[int] = []
    syncer.ask(lambda: answered.append(n_syncs))
    assert began.wait(5)
    for _ in range(8):
        syncer.ask(lambda: answered.append(n_syncs))
    go.set()
    syncer.close()
    assert [1] + [2] * 8 == answered


def test_a_sync_that_fails_answers_and_is_told_and_the_next_one_goes_on() -> None:
    failures: list[Exception] = []
    results = iter([OSError("no"), ValueError("a bug of ours"), None])

    def sync() -> None:
        if (error := next(results)) is not None:
            raise error

    syncer = Syncer(sync, failures.append)
    for _ in range(3):
        done = threading.Event()
        syncer.ask(done.set)
        assert done.wait(5)
    syncer.close()
    syncer.ask(done.clear)  # closed: nobody waits for ever
    assert (["no", "a bug of ours"], False) == ([str(error) for error in failures], done.is_set())


def test_where_fsync_stops_at_the_cache_of_the_drive_the_full_one_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, int]] = []
    synced: list[int] = []
    monkeypatch.setattr(syncing, "_FULL", 51)  # F_FULLFSYNC of macOS
    monkeypatch.setattr(fcntl, "fcntl", lambda fd, command: asked.append((fd, command)))
    monkeypatch.setattr(os, "fsync", synced.append)
    sync_file(7)
    assert ([(7, 51)], []) == (asked, synced)

    def refuse(fd: int, command: int) -> None:
        raise OSError(errno.ENOTTY, "not here")

    monkeypatch.setattr(fcntl, "fcntl", refuse)
    sync_file(7)
    assert [7] == synced


# ---- the journal: power ---------------------------------------------------------------------------------------------


def test_power_answers_only_after_the_disk_has_it(tmp_path: Path, disk: Disk) -> None:
    journal = Journal(tmp_path, "w", "power", never)
    disk.may_go.clear()
    journal.append([END])
    done = threading.Event()
    journal.when_synced(done.set)
    assert eventually(lambda: disk.n_syncs == 1)
    assert not done.is_set()
    disk.may_go.set()
    assert done.wait(5)
    journal.close()


@pytest.mark.parametrize("level", ["process", "async"])
def test_the_other_levels_wait_for_no_disk(tmp_path: Path, disk: Disk, level: str) -> None:
    journal = Journal(tmp_path, "w", level, never)
    journal.append([END])
    wait_synced(journal)
    journal.close()
    assert 0 == disk.n_syncs


def test_power_syncs_full_segments_as_well_and_lets_go_of_them(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jr, "MAX_SEGMENT_BYTES", 100)
    journal = Journal(tmp_path, "w", "power", never)
    for _ in range(10):
        journal.append([END])
    n_full = len(jr.list_segments(tmp_path)) - 1
    assert n_full >= 3
    assert n_full == len(journal._full_fds)
    wait_synced(journal)
    assert (n_full + 1, []) == (disk.n_syncs, journal._full_fds)
    wait_synced(journal)
    assert n_full + 2 == disk.n_syncs
    journal.close()


def test_after_a_sync_that_failed_the_journal_goes_on_in_a_new_segment(tmp_path: Path, disk: Disk) -> None:
    failures: list[Exception] = []
    journal = Journal(tmp_path, "w", "power", failures.append)
    journal.append([END])
    disk.refuses = True
    wait_synced(journal)
    disk.refuses = False
    journal.append([END])
    wait_synced(journal)
    assert (1, 2) == (len(failures), len(jr.list_segments(tmp_path)))
    assert [1, 1] == [len(list(fr.read_frames(path))) for path in jr.list_segments(tmp_path)]
    journal.close()
    wait_synced(journal)  # nothing to wait for


# ---- the journal: async ---------------------------------------------------------------------------------------------


def test_async_writes_when_the_writer_comes_by(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "w", "async")
    uids = [UUID(uuid7()) for _ in range(200)]
    for uid in uids:
        journal.append([(Kind.END, uid.bytes, [b"{}"])])
    assert [] == list(fr.read_frames(journal.current))
    size = journal.bytes_appended
    journal.write_held()
    assert [str(uid) for uid in uids] == [frame.uid for frame in fr.read_frames(journal.current)]
    assert size == journal.segment_bytes - len(fr.MAGIC)
    journal.close()


def test_async_holds_no_more_than_its_bound_and_nothing_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jr, "MAX_HELD_BYTES", 4 * fr.packed_size([END]))
    journal = Journal(tmp_path, "w", "async")
    for _ in range(4):
        journal.append([END])
    with pytest.raises(OSError, match="memory"):
        journal.append([END])

    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="full"):
            journal.write_held()
    journal.end()  # writes what is held
    with pytest.raises(JournalEndedError):
        journal.append([END])
    assert 4 == len(list(fr.read_frames(journal.current)))
    journal.close()
