"""When what was captured is written: a request in a moment, an answer before its last byte, its end with the next."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog import Settings
from tarx_toollog.capture.recorder import recorder_for
from tarx_toollog.errors import StoreError
from tarx_toollog.store import frames as fr
from tarx_toollog.store import journal as jr
from tarx_toollog.store.frames import Kind
from tarx_toollog.store.ingest import Ingester
from tarx_toollog.store.journal import Journal
from tests.support.asgi import begin, finish, outcomes, query, recording
from tests.support.waiting import eventually

WHOLE = [Kind.BEGIN, Kind.RESPONSE, Kind.CHUNKS]
SLOW = {"idle_ms": 60_000, "max_delay_ms": 60_000}


def written(settings: Settings) -> list[Kind]:
    return [frame.kind for path in jr.list_segments(settings.journal_path) for frame in fr.read_frames(path)]


def in_a_loop(test: Callable[[], Any]) -> None:
    asyncio.run(test())


def test_a_request_is_written_a_moment_after_it_came_although_nothing_else_happens(tmp_path: Path) -> None:
    async def test() -> None:
        capture = begin(recorder_for(settings))
        assert [] == written(settings)
        await asyncio.sleep(0.2)
        assert [Kind.BEGIN] == written(settings)
        finish(capture)

    with recording(tmp_path, **SLOW) as settings:
        in_a_loop(test)


def test_an_exchange_that_is_over_at_once_is_one_write_and_its_end_comes_with_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes: list[list[Kind]] = []
    write: Any = Journal._write

    def noting(self: Journal, frames: Any) -> Any:
        writes.append([kind for kind, *_ in frames])
        return write(self, frames)

    monkeypatch.setattr(Journal, "_write", noting)

    async def test() -> None:
        for _ in range(3):
            finish(begin(recorder_for(settings)))

    with recording(tmp_path, **SLOW) as settings:
        in_a_loop(test)
        assert [WHOLE, [Kind.END, *WHOLE], [Kind.END, *WHOLE]] == writes
        assert ["completed"] * 3 == outcomes(settings)


def test_without_an_event_loop_a_request_is_written_at_once(tmp_path: Path) -> None:
    with recording(tmp_path, **SLOW) as settings:
        capture = begin(recorder_for(settings))
        assert [Kind.BEGIN] == written(settings)
        finish(capture)


def test_while_the_database_is_away_an_end_does_not_wait_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(self: Ingester) -> None:
        raise StoreError("away")

    with recording(tmp_path) as settings, monkeypatch.context() as patched:
        patched.setattr(Ingester, "open", away)
        recorder = recorder_for(settings)
        finish(begin(recorder))
        assert eventually(lambda: recorder.failures >= 3)  # it waits for more than half a second now
        finish(begin(recorder))
        assert eventually(lambda: [*WHOLE, Kind.END] * 2 == written(settings), 0.3)


def test_with_a_full_disk_what_is_in_the_journal_is_stored_before_the_rest_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Journal) -> None:
        if self._held:
            raise OSError(28, "No space left on device")

    with recording(tmp_path) as settings:
        recorder = recorder_for(settings)
        with monkeypatch.context() as patched:
            patched.setattr(Journal, "write_held", full)
            finish(begin(recorder))
            assert eventually(lambda: recorder.failures > 0)
            assert "No space left" in str(recorder.last_error)
            assert ["open"] == [row["outcome"] for row in query(settings, "SELECT outcome FROM exchange")]
        assert ["completed"] == outcomes(settings)
        assert eventually(lambda: recorder.last_error is None)


def test_while_traffic_never_pauses_the_writer_begins_with_an_eighth_of_the_journal(tmp_path: Path) -> None:
    with recording(tmp_path, **SLOW, journal_max_bytes=80_000) as settings:
        recorder = recorder_for(settings)
        finish(begin(recorder))
        time.sleep(0.3)
        run = recorder._run
        assert run is not None
        assert 0 == run._ingested_bytes
        while run.journal.bytes_appended <= 10_000:
            finish(begin(recorder))

        assert eventually(lambda: run._ingested_bytes > 0)
