"""The recorder: from journal to database, across threads, restarts and a database that comes and goes."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tarx_toollog import Settings
from tarx_toollog.capture.capture import Capture
from tarx_toollog.capture.headers import client_key
from tarx_toollog.capture.recorder import Recorder, recorder_for
from tarx_toollog.store import frames as fr
from tarx_toollog.store import ingest
from tarx_toollog.store import journal as jr
from tarx_toollog.store.ingest import Ingester
from tarx_toollog.store.journal import Journal
from tests.support.asgi import begin, exchange, finish, outcomes, query, recording, stored, uids
from tests.support.waiting import eventually


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    with recording(tmp_path) as made:
        yield made


def gaps(settings: Settings) -> list[tuple[str, int]]:
    return [(row["kind"], row["n"]) for row in query(settings, "SELECT kind, n FROM gap")]


# ---- one process ----------------------------------------------------------------------------------------------------


def test_an_exchange_is_open_while_it_runs_and_completed_afterwards(settings: Settings) -> None:
    recorder = recorder_for(settings)
    capture = begin(recorder)
    assert ["open"] == outcomes(settings)
    finish(capture)
    assert ["completed"] == outcomes(settings)


def test_an_answer_that_did_not_wait_for_the_request_is_in_the_journal_before_the_client_has_it(
    settings: Settings,
) -> None:
    recorder = recorder_for(settings)
    capture = Capture.begin(
        recorder, leg="proxy", method="POST", path="/v1/chat/completions", headers=[], client_key=None
    )
    assert capture is not None
    capture.response_start(401, [(b"content-length", b"2")])
    capture.response_data(b"{}")
    in_journal = [f.kind for path in jr.list_segments(settings.journal_path) for f in fr.read_frames(path)]
    assert [fr.Kind.BEGIN, fr.Kind.RESPONSE, fr.Kind.CHUNKS] == in_journal

    capture.request_data(b"late")
    capture.end(final_seen=True)
    (row,) = stored(settings)
    assert ("upstream_error", 401) == (row["outcome"], row["http_status"])


def test_closing_leaves_an_empty_journal_and_says_when_it_stopped(settings: Settings) -> None:
    exchange(recorder_for(settings))
    recorder_for(settings).close()

    assert ["identity.key"] >= [p.name for p in settings.journal_path.iterdir()]
    assert [1] == [row["n"] for row in query(settings, "SELECT count(stopped_at) AS n FROM writer")]
    assert 1 == len(uids(settings))


def test_after_closing_it_starts_again(settings: Settings) -> None:
    recorder = recorder_for(settings)
    for _ in range(3):
        exchange(recorder)
        recorder.close()
        recorder.close()

    assert (3, 0, 0) == (len(uids(settings)), recorder.lost, recorder.failures)
    assert [] == jr.list_segments(settings.journal_path)


def test_of_two_that_hold_it_the_first_that_goes_does_not_close_it(settings: Settings) -> None:
    recorder = recorder_for(settings)
    recorder.hold()
    recorder.hold()
    capture = begin(recorder)
    recorder.release()
    finish(capture)
    recorder.release()

    assert (["completed"], 0, []) == (outcomes(settings), recorder.lost, jr.list_segments(settings.journal_path))


def test_an_exchange_that_outlives_the_log_is_counted(settings: Settings) -> None:
    recorder = recorder_for(settings)
    capture = begin(recorder)
    recorder.close()
    finish(capture)
    exchange(recorder)

    assert ["interrupted", "completed"] == outcomes(settings)
    assert (1, [("journal", 1)]) == (recorder.lost, gaps(settings))


def test_nothing_that_is_appended_while_it_closes_is_deleted_unread(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = recorder_for(settings)
    recorded = [exchange(recorder)]
    finish_ = Ingester.finish

    def late(self: Ingester, journal: Journal) -> None:
        monkeypatch.undo()
        recorded.append(exchange(recorder))  # after the last look into the journal
        finish_(self, journal)

    monkeypatch.setattr(Ingester, "finish", late)
    recorder.close()

    assert recorded == uids(settings)


def test_closing_under_load_loses_nothing(settings: Settings) -> None:
    recorder = recorder_for(settings)
    stop = threading.Event()
    done: list[str] = []

    def work() -> None:
        for _ in range(150):  # on a busy machine closing takes long, and equal dialogues take longer the more there are
            if stop.wait(0.005):
                return
            done.append(exchange(recorder))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        time.sleep(0.02)
        recorder.close()
    stop.set()
    for thread in threads:
        thread.join()
    recorder.close()
    exchange(recorder)  # whatever a closed journal left behind is taken in by the next one
    recorder.close()
    # A close waits for its thread only a while; on a busy machine the threads of closed journals are still at it.
    assert eventually(lambda: not jr.list_segments(settings.journal_path), timeout_s=60)

    rows = query(settings, "SELECT uid, outcome FROM exchange")
    # One that was begun in a journal that closed cannot end in the next; that is counted, not hidden.
    cut = [row for row in rows if row["outcome"] == "interrupted"]
    assert set(done) <= {row["uid"] for row in rows}
    assert {"completed", "interrupted"} >= {row["outcome"] for row in rows}
    assert recorder.lost >= len(cut)
    assert len(cut) <= 3 * 5


def test_an_exchange_whose_end_could_not_be_written_does_not_keep_segments_for_ever(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jr, "MAX_SEGMENT_BYTES", 1000)
    recorder = recorder_for(settings)
    capture = begin(recorder)
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "append", lambda *_: (_ for _ in ()).throw(OSError("full")))
        finish(capture)
    for _ in range(10):
        exchange(recorder)
    assert recorder.flush()
    exchange(recorder)
    assert recorder.flush()

    assert ["interrupted"] + ["completed"] * 11 == outcomes(settings)
    assert (1, 1) == (recorder.lost, len(jr.list_segments(settings.journal_path)))


def test_bytes_beyond_a_segment_go_into_the_next_and_read_ones_are_deleted(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jr, "MAX_SEGMENT_BYTES", 1000)
    recorder = recorder_for(settings)
    done = [exchange(recorder) for _ in range(20)]

    assert recorder.flush()
    assert (done, 1) == (uids(settings), len(jr.list_segments(settings.journal_path)))


def test_a_segment_stays_while_an_exchange_that_began_in_it_runs(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jr, "MAX_SEGMENT_BYTES", 1000)
    recorder = recorder_for(settings)
    exchange(recorder)
    capture = begin(recorder)
    for _ in range(10):
        exchange(recorder)
    assert recorder.flush()
    before = jr.list_segments(settings.journal_path)
    finish(capture)
    exchange(recorder)
    assert recorder.flush()

    assert len(before) > 5
    assert 1 == len(jr.list_segments(settings.journal_path))


def test_a_journal_longer_than_memory_goes_in_whole(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """After hours without a database: segments that were not read yet must not be deleted with those that were."""
    monkeypatch.setattr(jr, "MAX_SEGMENT_BYTES", 1000)
    monkeypatch.setattr(ingest, "MAX_READY_BYTES", 500)
    open_ = Ingester.open
    away = threading.Event()

    def later(self: Ingester) -> None:
        if not away.is_set():
            raise OSError("the database is away")
        open_(self)

    monkeypatch.setattr(Ingester, "open", later)
    recorder = recorder_for(settings)
    done = [exchange(recorder) for _ in range(30)]
    away.set()

    assert recorder.flush()
    assert (done, 1) == (uids(settings), len(jr.list_segments(settings.journal_path)))


# ---- the key for hashes of clients ----------------------------------------------------------------------------------


def test_the_secret_is_made_once_and_private(settings: Settings) -> None:
    secrets = {Recorder(settings).secret for _ in range(3)}
    path = settings.journal_path / "identity.key"

    assert ({path.read_bytes()}, 32, "0o600") == (secrets, len(path.read_bytes()), oct(path.stat().st_mode & 0o777))
    assert ["identity.key"] == [p.name for p in settings.journal_path.iterdir()]


def test_clients_differ_by_address_credentials_or_program_and_by_the_secret() -> None:
    auth = (b"Authorization", b"Bearer x")
    keys = [
        client_key([auth], "1.1.1.1", b"s"),
        client_key([auth], "1.1.1.2", b"s"),
        client_key([], "1.1.1.1", b"s"),
        client_key([(b"user-agent", b"Bearer x")], "1.1.1.1", b"s"),
        client_key([auth], "1.1.1.1", b"t"),
    ]

    assert len(keys) == len(set(keys))
    assert keys[0] == client_key([(b"accept", b"*/*"), auth], "1.1.1.1", b"s")
