"""Durability levels and a full journal, seen from the taps; and a writer thread that dies."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tarx_toollog import Settings, ToolLogMiddleware, ToolLogTransport
from tarx_toollog.capture.recorder import recorder_for
from tarx_toollog.capture.run import Run
from tarx_toollog.store import frames as fr
from tarx_toollog.store import journal as jr
from tarx_toollog.store.engine import writer_engine
from tests.support.asgi import (
    CHAT,
    REQUEST,
    answering,
    begin,
    drive,
    exchange,
    finish,
    outcomes,
    piece,
    query,
    recording,
    start,
    stored,
)
from tests.support.upstream import DONE, chat_body, running, stream, text_events
from tests.support.waiting import eventually

EVENTS = [*text_events(["Hello", " world"]), DONE]
MESSAGES = [start(), *(piece(event) for event in EVENTS), piece(b"", more=False)]


@pytest.fixture(name="settings")
def _settings(tmp_path: Path) -> Iterator[Settings]:
    with recording(tmp_path) as made:
        yield made


class Disk:
    """Holds up every sync of a journal until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.may_go = threading.Event()
        self.asked = threading.Event()
        monkeypatch.setattr(jr, "sync_file", self.sync)

    def sync(self, _fd: int) -> None:
        self.asked.set()
        assert self.may_go.wait(10)


# ---- power ----------------------------------------------------------------------------------------------------------


def test_with_power_the_end_of_an_answer_waits_for_the_disk_and_nothing_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    sent: list[Any] = []

    async def chat(settings: Settings) -> None:
        async def app(scope: Any, receive: Any, send: Any) -> None:
            async def noted(message: Any) -> None:
                await send(message)
                sent.append(message)

            await answering(MESSAGES)(scope, receive, noted)

        task = asyncio.create_task(drive(ToolLogMiddleware(app, settings=settings)))
        assert await asyncio.to_thread(disk.asked.wait, 5)
        assert MESSAGES[: len(sent)] == sent
        assert EVENTS[-2] not in [message.get("body") for message in sent], "its finish reason went first"
        assert len(sent) >= 3
        disk.may_go.set()
        assert MESSAGES == (await task).sent

    with recording(tmp_path, durability="power") as settings:
        asyncio.run(chat(settings))
        assert ["completed"] == outcomes(settings)


@pytest.mark.parametrize("asynchronous", [True, False], ids=["async", "sync"])
def test_with_power_the_transport_waits_as_well(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asynchronous: bool
) -> None:
    disk = Disk(monkeypatch)
    answers: list[httpx.Response] = []

    async def post_async(url: str, transport: ToolLogTransport) -> None:
        async with httpx.AsyncClient(transport=transport) as client:
            answers.append(await client.post(url + CHAT, content=REQUEST))

    def post(url: str, transport: ToolLogTransport) -> None:
        with httpx.Client(transport=transport) as client:
            answers.append(client.post(url + CHAT, content=REQUEST))

    def run(url: str) -> None:
        transport = ToolLogTransport(settings=settings)
        if asynchronous:
            asyncio.run(post_async(url, transport))
        else:
            post(url, transport)

    with recording(tmp_path, durability="power") as settings, running(stream(EVENTS)) as up:
        thread = threading.Thread(target=run, args=(up.url,))
        thread.start()
        assert disk.asked.wait(5)
        assert [] == answers
        disk.may_go.set()
        thread.join(5)
        assert [b"".join(EVENTS)] == [answer.content for answer in answers]
        assert ["completed"] == outcomes(settings)


def test_with_power_a_commit_waits_for_the_disk_since_the_segment_goes_after_it(tmp_path: Path) -> None:
    for level, synchronous in (("process", 1), ("power", 2)):
        engine = writer_engine(Settings.model_validate({"database": str(tmp_path / "t.db"), "durability": level}))
        with engine.begin() as connection:
            assert synchronous == connection.exec_driver_sql("PRAGMA synchronous").scalar()
        engine.dispose()


# ---- async ----------------------------------------------------------------------------------------------------------


def test_with_async_everything_gets_there_and_a_close_leaves_nothing_behind(tmp_path: Path) -> None:
    with recording(tmp_path, durability="async") as settings:
        done = [exchange(recorder_for(settings)) for _ in range(70)]
        recorder_for(settings).close()
        assert sorted(done) == [row["uid"] for row in query(settings, "SELECT uid FROM exchange ORDER BY uid")]
        assert [] == jr.list_segments(settings.journal_path)


# ---- a full journal -------------------------------------------------------------------------------------------------


def gaps(settings: Settings) -> dict[str, int]:
    return {row["kind"]: row["n"] for row in query(settings, "SELECT kind, sum(n) AS n FROM gap GROUP BY kind")}


def test_what_was_shed_once_stays_shed_so_that_no_answer_has_a_hole_in_its_middle(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = recorder_for(settings)
    capture = begin(recorder)
    run = recorder._run
    assert run is not None
    capture.response_start(200, [(b"content-type", b"text/event-stream")])
    capture.response_data(EVENTS[0])
    with monkeypatch.context() as patch:
        patch.setattr(run.room, "has", lambda size: size < 0)
        capture.response_data(EVENTS[-2])  # says how it ended, so it is written at once
    capture.response_data(EVENTS[-1])
    capture.end(final_seen=True)
    exchange(recorder)

    rows = stored(settings)
    assert ["truncated", "completed"] == [row["outcome"] for row in rows]
    assert sum(map(len, [EVENTS[0], *EVENTS[-2:]])) == rows[0]["response_size"]
    assert ({"overflow": 1}, 0, set()) == (gaps(settings), recorder.lost, recorder._stubs)


def test_when_there_is_no_room_for_stubs_either_exchanges_are_only_counted(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = recorder_for(settings)
    exchange(recorder)
    run = recorder._run
    assert run is not None
    with monkeypatch.context() as patch:
        patch.setattr(run.room, "has", lambda size: False)
        exchange(recorder)
    exchange(recorder)

    assert (["completed"] * 2, 1) == (outcomes(settings), recorder.lost)
    assert 1 == gaps(settings)["journal"]


@pytest.mark.parametrize("asynchronous", [True, False], ids=["async", "sync"])
def test_the_transport_refuses_while_the_journal_is_full(tmp_path: Path, asynchronous: bool) -> None:
    async def post_async(url: str) -> httpx.Response:
        async with httpx.AsyncClient(transport=ToolLogTransport(settings=settings)) as client:
            return await client.post(url, content=REQUEST)

    def post(url: str) -> httpx.Response:
        with httpx.Client(transport=ToolLogTransport(settings=settings)) as client:
            return client.post(url, content=REQUEST)

    options = {"on_full": "refuse", "min_free_bytes": 2**60}
    with recording(tmp_path, **options) as settings, running(stream(EVENTS)) as up:
        answer = asyncio.run(post_async(up.url + CHAT)) if asynchronous else post(up.url + CHAT)
        other = post(f"{up.url}/health")  # no chat: the journal does not concern it
        assert (503, "log_full", 200) == (answer.status_code, answer.json()["error"]["type"], other.status_code)
        assert 1 == len(up.requests)


def test_a_journal_that_cannot_be_opened_is_full_for_who_wants_no_holes(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with recording(tmp_path, journal_dir=tmp_path / "file" / "journal", on_full="refuse") as settings:
        app = ToolLogMiddleware(answering(MESSAGES), settings=settings)
        assert 503 == asyncio.run(drive(app)).sent[0]["status"]
        (tmp_path / "file").unlink()
        assert MESSAGES == asyncio.run(drive(app)).sent
        assert ["completed"] == outcomes(settings)


# ---- the writer thread ----------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_writer_thread_that_dies_is_started_again_and_counted_and_nothing_is_lost(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = set(threading.enumerate())
    recorder = recorder_for(settings)
    exchange(recorder)
    assert recorder.flush()
    dead = next(one for one in set(threading.enumerate()) - others if one.name == "toollog-writer")

    def die(_: Run) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(Run, "_wait_for_work", die)
        exchange(recorder)  # wakes it, for the last time
        assert eventually(lambda: not dead.is_alive())
    exchange(recorder)

    assert (["completed"] * 3, 0) == (outcomes(settings), recorder.lost)
    assert 1 <= recorder.failures <= 2


def test_a_capture_that_ends_after_a_stub_began_knows_its_size(settings: Settings) -> None:
    recorder = recorder_for(settings)
    capture = begin(recorder)
    recorder._stubs.add(capture._uid_bytes)
    finish(capture)

    (row,) = stored(settings)
    assert (len(REQUEST), len(chat_body())) == (row["request_size"], row["response_size"])


def test_an_answer_without_any_mark_of_its_end_is_written_before_its_body_ends(tmp_path: Path) -> None:
    seen: list[bytes] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answering([start(), piece(EVENTS[0]), piece(EVENTS[1])])(scope, receive, send)
        run = recorder_for(settings)._run
        assert run is not None
        await send(piece(b"", more=False))
        seen.extend(frame.payload for frame in fr.read_frames(run.journal.current))  # before the exchange has ended

    with recording(tmp_path, checkpoint_ms=60_000) as settings:
        asyncio.run(drive(ToolLogMiddleware(app, settings=settings)))
        assert b"Hello" in b"".join(seen)
        assert ["truncated"] == outcomes(settings)
