"""A process that dies: what a client has seen is in the log, and what was running is there as far as it came."""

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog import Settings, ToolLog
from tarx_toollog.capture.recorder import recorder_for
from tarx_toollog.ids import uuid7
from tarx_toollog.store import journal as jr
from tarx_toollog.store.ingest import Ingester
from tests.support.asgi import answer_text, query
from tests.support.upstream import (
    CHUNKED,
    DONE,
    JSON,
    SSE,
    Connection,
    Request,
    chat_body,
    chat_request,
    dialled,
    event,
    read_answer,
    running,
    text_events,
    tool_events,
)
from tests.support.workers import Worker

ROUNDS = 10
both_taps = pytest.mark.parametrize("tap", ["proxy", "middleware"])


def model(request: Request, connection: Connection) -> None:
    """Answer as the text of the question says."""
    asked: dict[str, Any] = json.loads(request.body)
    how = asked["messages"][0]["content"].partition(" ")[0]
    if how == "json":
        body = chat_body("Hello world")
        connection.head(200, JSON, ("content-length", str(len(body))))
        connection.send(body)
        return
    connection.head(200, SSE, CHUNKED)
    if how == "endless":
        connection.chunk(event({"role": "assistant"}))
        for word in ("Hello", " world"):
            connection.chunk(event({"content": word}))
        connection.wait_gone(20)
        return
    events = tool_events() if how == "tool" else text_events()
    for data in [*events, DONE, b""]:
        connection.chunk(data)


class Log:
    """A database, and the processes that come and go in front of it."""

    def __init__(self, settings: Settings, stack: ExitStack) -> None:
        self.settings = settings
        self._stack = stack

    def start(self, tap: str) -> Worker:
        worker = Worker(tap, self.settings)
        self._stack.callback(worker.process.stdout.close)  # type: ignore[union-attr]
        self._stack.callback(worker.kill)
        return worker

    def recover(self) -> list[dict[str, Any]]:
        """Do what the next process does at its start; return all exchanges."""
        ingester = Ingester(self.settings, uuid7())
        ingester.open()
        ingester.recover()
        ingester.close()
        assert [] == jr.list_segments(self.settings.journal_path)
        with closing(sqlite3.connect(self.settings.database)) as connection:
            assert [("ok",)] == connection.execute("PRAGMA integrity_check").fetchall()
            assert [] == connection.execute("PRAGMA foreign_key_check").fetchall()
        return query(self.settings, "SELECT * FROM exchange ORDER BY id")


def question(settings: Settings, uid: str) -> str:
    with ToolLog.open(settings=settings) as log:
        request = log.exchange(uid).request
        assert request is not None
        return request.messages[0].text


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    with ExitStack() as stack:
        up = stack.enter_context(running(model))
        settings = Settings(database=str(tmp_path / "t.db"), upstream=up.url, checkpoint_ms=50)
        yield Log(settings, stack)


@both_taps
def test_a_kill_in_the_middle_of_a_stream_leaves_the_request_and_the_partial_answer(log: Log, tap: str) -> None:
    worker = log.start(tap)
    with dialled(worker.url, chat_request(streamed=True, text="endless story")) as client:
        client.read_until(b'" world"')
        time.sleep(0.3)  # several checkpoints: the model is silent, so no new piece reminds the tap of them
        worker.kill()

    (row,) = log.recover()
    assert ("interrupted", 1, "m") == (row["outcome"], row["n_messages"], row["request_model"])
    text = answer_text(log.settings, row["uid"])
    assert "Hello world" == text


def test_a_kill_before_the_answer_leaves_the_request(log: Log) -> None:
    worker = log.start("proxy")
    with dialled(worker.url, chat_request(text="endless")) as client:
        client.read_until(b"\r\n\r\n")
        time.sleep(0.1)  # a request is written a moment after it came
        worker.kill()

    (row,) = log.recover()
    assert ("interrupted", 1) == (row["outcome"], row["n_messages"])


@pytest.mark.parametrize("how", ["stream", "tool", "json"])
@both_taps
def test_what_a_client_has_survives_a_kill_at_that_very_instant(log: Log, tap: str, how: str) -> None:
    delivered: list[str] = []
    for number in range(ROUNDS // 2):
        worker = log.start(tap)
        for part in "ab":  # the first may already be in the database, the second never is
            text = f"{how} {number}{part}"
            with dialled(worker.url, chat_request(streamed=how != "json", text=text)) as client:
                if how == "json":
                    assert read_answer(client).is_whole
                else:
                    client.read_until(b"[DONE]")
                if part == "b":
                    worker.kill()
            delivered.append(text)

    rows = log.recover()
    assert sorted(delivered) == sorted(question(log.settings, row["uid"]) for row in rows)
    assert {"completed"} == {row["outcome"] for row in rows}
    expected = {"" if how == "tool" else "Hello world"}
    assert expected == {answer_text(log.settings, row["uid"]) for row in rows}
    if how == "tool":
        calls = query(log.settings, "SELECT name, arguments, complete FROM tool_call")
        assert [{"name": "tarx_recall", "arguments": '{"query":"city"}', "complete": 1}] * len(delivered) == calls


def test_the_next_process_takes_in_what_the_last_one_left(log: Log) -> None:
    worker = log.start("proxy")
    with dialled(worker.url, chat_request(streamed=True, text="stream")) as client:
        client.read_until(b"[DONE]")
        worker.kill()
    log.start("proxy")

    deadline = time.monotonic() + 10
    while jr.backlog_bytes(log.settings.journal_path) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert ["completed"] == [row["outcome"] for row in query(log.settings, "SELECT outcome FROM exchange")]


def test_a_kill_while_the_writer_writes_harms_neither_database_nor_journal(log: Log) -> None:
    settings = log.settings.model_copy(update={"idle_ms": 0, "max_delay_ms": 0})
    log.settings = settings
    delivered = 0
    for number in range(4):
        worker = log.start("proxy")
        for part in range(3 + 4 * number):
            with dialled(worker.url, chat_request(text=f"json {number}.{part}")) as client:
                assert read_answer(client).is_whole
            delivered += 1
        worker.kill()

    rows = log.recover()
    assert (delivered, {"completed"}) == (len(rows), {row["outcome"] for row in rows})
    assert delivered == len(query(settings, "SELECT DISTINCT input_node_id FROM exchange"))


@both_taps
def test_sigterm_under_open_streams_ends_soon_and_keeps_everything(log: Log, tap: str) -> None:
    worker = log.start(tap)
    with ExitStack() as stack:
        for number in range(5):
            client = stack.enter_context(dialled(worker.url, chat_request(streamed=True, text=f"endless {number}")))
            client.read_until(b'" world"')
        with dialled(worker.url, chat_request(streamed=True, text="stream")) as client:
            client.read_until(b"[DONE]")
        assert worker.terminate() < 8

    # Nothing is left for the next process to do: all of it is in the database already.
    assert [] == jr.list_segments(log.settings.journal_path)
    rows = query(log.settings, "SELECT uid, outcome FROM exchange ORDER BY id")
    assert 6 == len(rows)
    assert {"completed"} == {row["outcome"] for row in rows[5:]}
    assert {"client_disconnected"} == {row["outcome"] for row in rows[:5]}
    assert {"Hello world"} == {answer_text(log.settings, row["uid"]) for row in rows}
    recorder_for(log.settings).close()
