"""The command as a process: pipes, signals, and recording end to end."""

import asyncio
import json
import os
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO
from urllib.request import Request, urlopen

import pytest
from fastapi import FastAPI
from fastapi import Request as ChatRequest
from fastapi.responses import StreamingResponse

from tarx_toollog import ToolLogMiddleware
from tarx_toollog.store.log import ToolLog
from tests.support.asgi import CHAT, query, recording, stored
from tests.support.upstream import DONE, chat_request, talk, text_events
from tests.support.waiting import eventually
from tests.support.workers import serving
from tests.unit.cli.samples import bad_chat, good_chat, write_log
from tests.unit.cli.test_checks import server

PATIENCE_S = 20.0
COMMAND = [sys.executable, "-m", "tarx_toollog"]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """Return the path of a log of one chat."""
    write_log(tmp_path / "log.db", good_chat())
    return tmp_path / "log.db"


@pytest.fixture
def started(database: Path) -> Iterator[list[subprocess.Popen[str]]]:
    """Collect the processes of a test, and end them after it."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def start(processes: list[subprocess.Popen[str]], database: Path, *args: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [*COMMAND, *args],
        env=os.environ | {"TOOLLOG_DATABASE": str(database), "PYTHONUNBUFFERED": "1"},
        cwd=database.parent,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    processes.append(process)
    return process


def stream(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe


def test_a_reader_that_has_had_enough_is_no_error(database: Path, started: list[subprocess.Popen[str]]) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 3000000) SELECT i FROM n"
    process = start(started, database, "db", "query", endless)

    assert stream(process.stdout).readline() == "i\n"
    stream(process.stdout).close()
    process.stdout = None

    assert process.wait(PATIENCE_S) == 0
    assert stream(process.stderr).read() == ""


def test_follow_prints_what_comes_and_ends_with_130_on_ctrl_c(
    database: Path, started: list[subprocess.Popen[str]]
) -> None:
    process = start(started, database, "log", "tail", "-f", "-n", "1", "--jsonl")
    before = json.loads(stream(process.stdout).readline())

    with ToolLog.open(database, read_only=False) as log:
        log.write(bad_chat().exchanges[:1])
    after = json.loads(stream(process.stdout).readline())
    process.send_signal(signal.SIGINT)

    assert before["tools"] == ""
    assert after["tools"] == "tarx_remember"
    assert process.wait(PATIENCE_S) == 130
    assert "Traceback" not in stream(process.stderr).read()


def test_follow_shows_live_traffic_and_a_stream_once_when_it_ends(
    tmp_path: Path, started: list[subprocess.Popen[str]]
) -> None:
    may_end = threading.Event()

    async def pieces(text: str) -> AsyncIterator[bytes]:
        yield b"".join(text_events([text]))
        if text == "slow":
            await asyncio.to_thread(may_end.wait, PATIENCE_S)
        yield DONE

    app = FastAPI()

    @app.post(CHAT)
    async def chat(request: ChatRequest) -> StreamingResponse:
        said = (await request.json())["messages"][-1]["content"]
        return StreamingResponse(pieces(said), media_type="text/event-stream")

    with recording(tmp_path) as settings, ThreadPoolExecutor() as threads:
        app.add_middleware(ToolLogMiddleware, settings=settings)
        with serving(app) as url:
            talk(url, chat_request(streamed=True, text="first"))
            stored(settings)
            assert settings.database_path is not None
            process = start(started, settings.database_path, "log", "tail", "-f", "--jsonl")
            shown = [json.loads(stream(process.stdout).readline())]
            slow = threads.submit(talk, url, chat_request(streamed=True, text="slow"))
            assert eventually(lambda: "open" in {row["outcome"] for row in query(settings, "SELECT * FROM exchange")})
            talk(url, chat_request(streamed=True, text="quick"))
            shown.append(json.loads(stream(process.stdout).readline()))
            may_end.set()
            slow.result(PATIENCE_S)
            shown.append(json.loads(stream(process.stdout).readline()))
            talk(url, chat_request(streamed=True, text="last"))
            shown.append(json.loads(stream(process.stdout).readline()))
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE_S) == 130
        first, second, third, fourth = stored(settings)

    assert [row["uid"] for row in (first, third, second, fourth)] == [row["exchange_uid"] for row in shown]
    assert ["completed"] * 4 == [row["outcome"] for row in shown]
    assert stream(process.stdout).read() == ""
    assert "Traceback" not in stream(process.stderr).read()


def test_ctrl_c_in_a_query_is_no_query_that_took_too_long(database: Path, started: list[subprocess.Popen[str]]) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n WHERE i < 3"
    process = start(started, database, "db", "query", endless)
    assert [stream(process.stdout).readline() for _ in range(2)] == ["i\n", "1\n"]

    process.send_signal(signal.SIGINT)

    assert process.wait(PATIENCE_S) == 130
    assert stream(process.stderr).read().strip() == ""


def test_serve_records_what_passes_and_ctrl_c_stops_it(database: Path, started: list[subprocess.Popen[str]]) -> None:
    answer = b'{"object": "list", "data": [{"id": "qwen"}]}'
    with server(200, answer) as upstream:
        process = start(started, database, "serve", "--port", "0", "--upstream", upstream)
        first = stream(process.stderr).readline()
        assert first.startswith("listening on http://127.0.0.1:")
        address = first.split()[2].rstrip(",")
        assert stream(process.stderr).readline() == f"recording into {database}\n"
        body = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hi"}]}).encode()

        assert answer == urlopen(f"{address}/v1/models", timeout=PATIENCE_S).read()
        chat = Request(f"{address}/v1/chat/completions", body, {"content-type": "application/json"})
        # The upstream of this test knows GET only, so the chat fails: that, too, has to be recorded.
        assert status_of(chat) == 501
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0

    with ToolLog.open(database) as log:
        rows = list(log.query("SELECT route, outcome, http_status FROM exchange ORDER BY id DESC LIMIT 1").rows)
    assert rows == [("/v1/chat/completions", "upstream_error", 501)]


def status_of(request: Request) -> int:
    from urllib.error import HTTPError

    try:
        with urlopen(request, timeout=PATIENCE_S) as answer:
            return int(answer.status)
    except HTTPError as error:
        error.close()
        return error.code


def test_a_port_that_is_taken_is_said_in_two_lines(database: Path, started: list[subprocess.Popen[str]]) -> None:
    with server(200, b"") as taken:
        process = start(started, database, "serve", "--port", taken.rpartition(":")[2])

        assert process.wait(PATIENCE_S) == 1

    error, hint = stream(process.stderr).read().splitlines()
    assert error.startswith("error: cannot listen on 127.0.0.1:")
    assert "--port" in hint


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ({"TOOLLOG_DATABASE": "garbage.db"}, "error: not recording yet: {folder}/garbage.db is damaged"),
        ({"TOOLLOG_JOURNAL_DIR": "garbage.db"}, "error: recording nothing: {folder}/garbage.db is not a folder"),
        ({"TOOLLOG_ENABLED": "false"}, "recording nothing: the setting `enabled` is off"),
    ],
)
def test_serve_does_not_claim_to_record_what_it_cannot(
    database: Path,
    started: list[subprocess.Popen[str]],
    monkeypatch: pytest.MonkeyPatch,
    setting: dict[str, str],
    words: str,
) -> None:
    (database.parent / "garbage.db").write_text("not a database, and long enough to be taken for one " * 9)
    for name, value in setting.items():
        monkeypatch.setenv(name, value if name == "TOOLLOG_ENABLED" else str(database.parent / value))
    at = Path(os.environ.get("TOOLLOG_DATABASE", database))

    process = start(started, at, "serve", "--port", "0")
    assert stream(process.stderr).readline().startswith("listening on ")

    assert stream(process.stderr).readline().startswith(words.format(folder=database.parent))


def cpu_seconds(*command: str) -> float:
    """Return the processor time of a command, the best of a few runs: a busy machine must not fail a test."""
    times = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *command], capture_output=True, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(times)


def test_help_costs_little_more_than_click_itself() -> None:
    # 150 ms is the budget on a quiet machine, and click alone takes about 60 of them.
    assert cpu_seconds("-m", "tarx_toollog", "--help") < 2.5 * cpu_seconds("-c", "import click")
