"""What dead processes and forked children leave behind, and how it gets into the database."""

import os
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import pytest

from tarx_toollog import Settings
from tarx_toollog.capture.recorder import Recorder, recorder_for
from tarx_toollog.ids import uuid7
from tarx_toollog.store import frames as fr
from tarx_toollog.store import ingest, quarantine
from tarx_toollog.store import journal as jr
from tarx_toollog.store.ingest import Ingester
from tarx_toollog.store.journal import Journal
from tarx_toollog.wire.raw import RawExchange
from tests.support.asgi import (
    answer_text,
    begin,
    exchange,
    finish,
    outcomes,
    query,
    recording,
    stored,
    uids,
)
from tests.support.builders import assistant, raw_exchange, user


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    with recording(tmp_path) as made:
        yield made


def journal_of(settings: Settings, name: str, *exchanges: RawExchange) -> Journal:
    journal = Journal(settings.journal_path, name)
    for raw in exchanges:
        journal.append(fr.exchange_frames(UUID(raw.begin.uid).bytes, raw))
    return journal


def made(text: str = "hi", *, end: bool = True) -> RawExchange:
    return raw_exchange([user(text)], assistant("yes"), end=end, uid=uuid7())


def gaps(settings: Settings) -> list[tuple[str, int]]:
    return [(row["kind"], row["n"]) for row in query(settings, "SELECT kind, n FROM gap")]


def test_memory_stays_bounded_while_the_database_refuses(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jr, "MAX_SEGMENT_BYTES", 1000)
    monkeypatch.setattr(ingest, "MAX_READY_BYTES", 2000)
    journal = journal_of(settings, "w", *(made() for _ in range(50)))
    ingester = Ingester(settings, "w")
    ingester.open()

    def refuse(*_: object) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(Ingester, "_commit", refuse)
        for _ in range(20):
            with pytest.raises(OSError, match="disk full"):
                ingester.poll()
        assert ingester.backlog < 20
    ingester.poll()
    assert 50 == len(uids(settings))
    ingester.close()
    journal.close()


# ---- after the death of a process -----------------------------------------------------------------------------------


def test_what_a_dead_process_left_is_taken_in_at_start_without_waiting_for_a_chat(settings: Settings) -> None:
    left = [made("whole"), made("running", end=False)]
    journal_of(settings, "dead", *left).close()
    recorder = recorder_for(settings)
    recorder.hold()

    deadline = time.monotonic() + 5
    while jr.list_segments(settings.journal_path, "dead") and time.monotonic() < deadline:
        time.sleep(0.01)
    found = {row["uid"]: row["outcome"] for row in query(settings, "SELECT uid, outcome FROM exchange")}
    assert {left[0].begin.uid: "completed", left[1].begin.uid: "interrupted"} == found
    assert "yes" == answer_text(settings, left[0].begin.uid)


def test_reading_a_journal_again_changes_nothing(settings: Settings) -> None:
    left = [made("whole"), made("running", end=False)]
    seen = []
    for name in ("first", "again"):
        journal_of(settings, name, *left).close()
        ingester = Ingester(settings, uuid7())
        ingester.open()
        ingester.recover()
        ingester.close()
        tables = ("exchange", "conversation", "message", "choice", "turn", "node", "tool_call")
        seen.append([query(settings, f"SELECT count(*) AS n FROM {table}")[0]["n"] for table in tables])

    assert seen[0] == seen[1]
    assert 2 == seen[0][0]


@pytest.mark.parametrize("damage", ["torn", "flipped"])
def test_damage_is_put_aside_and_counted_once_and_what_stands_before_it_goes_in(
    settings: Settings, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = [made("one"), made("two"), made("three")]
    journal = journal_of(settings, "dead", *left)
    journal.close()
    data = bytearray(journal.current.read_bytes())
    third = len(fr.pack_frames(fr.exchange_frames(UUID(left[2].begin.uid).bytes, left[2])))
    if damage == "torn":
        del data[-third + 40 :]
    else:
        data[-third + 40] ^= 4
    journal.current.write_bytes(data)

    ingester = Ingester(settings, uuid7())
    ingester.open()
    with monkeypatch.context() as patch:  # the database goes away in the middle: the next try begins again
        patch.setattr(ingester, "_sweep", lambda: (_ for _ in ()).throw(OSError("away")))
        with pytest.raises(OSError, match="away"):
            ingester.recover()
    ingester.recover()
    ingester.close()

    assert sorted(raw.begin.uid for raw in left[:2]) == uids(settings)
    assert [("torn", 1)] == gaps(settings)
    assert [bytes(data)] == [path.read_bytes() for path in (settings.journal_path / quarantine.FOLDER).iterdir()]
    assert [] == jr.list_segments(settings.journal_path)


def test_a_poisoned_exchange_is_counted_once_although_it_comes_twice(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a bug of ours")

    recorder = recorder_for(settings)
    with monkeypatch.context() as patch:
        patch.setattr(ingest, "decode", broken)
        capture = begin(recorder)
        assert recorder.flush()
        finish(capture)
        assert recorder.flush()
    assert ([], [("parse_error", 1)]) == (uids(settings), gaps(settings))


def test_two_processes_that_share_a_database_record_both(settings: Settings) -> None:
    other = Settings(**{**settings.model_dump(), "database": f"{Path(settings.database).parent}/./toollog.db"})
    recorders = [recorder_for(settings), Recorder(other)]
    done = [exchange(recorder) for _ in range(5) for recorder in recorders]
    assert all(recorder.flush() for recorder in recorders)
    recorders[1].close()

    assert sorted(done) == uids(settings)
    assert 2 == len(query(settings, "SELECT id FROM writer"))


# ---- fork -----------------------------------------------------------------------------------------------------------


def in_child(work: Callable[[], None]) -> int:
    """Run ``work`` in a forked child and return its exit code."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_child_records_its_own_exchanges_and_the_parent_goes_on(settings: Settings) -> None:
    recorder = recorder_for(settings)
    first = exchange(recorder)
    running = begin(recorder)
    assert recorder.flush()

    def work() -> None:
        finish(running)  # a request of the parent: not the child's to record
        exchange(recorder)
        exchange(recorder)
        assert recorder.flush(), recorder.last_error
        assert (0, 0) == (recorder.lost, recorder.failures), recorder.last_error

    assert 0 == in_child(work)
    assert "open" == {row["uid"]: row["outcome"] for row in stored(settings)}[running.uid]
    finish(running)
    last = exchange(recorder)

    assert {"completed"} == set(outcomes(settings))
    found = uids(settings)
    assert (5, {first, running.uid, last} <= set(found)) == (len(found), True)
    assert (0, 0) == (recorder.lost, recorder.failures)


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_child_that_lives_on_does_not_keep_its_dead_parent_alive(tmp_path: Path) -> None:
    with recording(tmp_path) as settings:
        ready, go = os.pipe(), os.pipe()

        def parent() -> None:
            recorder = recorder_for(settings)
            begin(recorder)
            child = os.fork()
            if child == 0:
                os.write(ready[1], b"x")
                os.read(go[0], 1)
                os._exit(0)
            os.kill(os.getpid(), 9)

        assert -9 == in_child(parent)
        os.read(ready[0], 1)  # the grandchild lives
        ingester = Ingester(settings, uuid7())
        ingester.open()
        ingester.recover()
        ingester.close()
        os.write(go[1], b"x")
        for fd in (*ready, *go):
            os.close(fd)

        assert ["interrupted"] == [row["outcome"] for row in query(settings, "SELECT outcome FROM exchange")]
