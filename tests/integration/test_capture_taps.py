"""What all taps have in common: secrets, lifespan, mounting twice, and several of them in one process."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.gzip import GZipMiddleware

from tarx_toollog import Settings, ToolLogMiddleware, ToolLogProxy, ToolLogTransport
from tarx_toollog.capture.recorder import recorder_for
from tarx_toollog.store import journal as jr
from tests.support.asgi import answering, drive, outcomes, piece, query, recording, start, stored
from tests.support.upstream import DONE, chat_body, chat_request, running, stream, talk, text_events, whole
from tests.support.workers import serving, workbench

PATH = "/v1/chat/completions"


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    with recording(tmp_path) as made:
        yield made


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


SECRETS = [
    ("authorization", "Bearer canary-123"),
    ("cookie", "login=canary-123"),
    ("x-api-key", "canary-123"),
    ("proxy-authorization", "Basic canary-123"),
    ("x-forwarded-access-token", "canary-123"),
]


@pytest.mark.parametrize("tap", ["middleware", "transport", "proxy"])
def test_no_byte_of_a_secret_is_kept(tmp_path: Path, tap: str) -> None:
    answer = whole(chat_body(), 200, ("content-type", "application/json"), ("set-cookie", "canary-123"))
    with ExitStack() as stack:
        up = stack.enter_context(running(answer))
        settings = stack.enter_context(recording(tmp_path, upstream=up.url, keep_raw="always"))
        target = f"{PATH}?api_key=canary-123"
        if tap == "transport":
            client = stack.enter_context(httpx.Client(transport=ToolLogTransport(settings=settings)))
            client.post(up.url + target, content=b"{}", headers=dict(SECRETS))
        else:
            app: Any = ToolLogProxy(settings=settings)
            if tap == "middleware":
                app = ToolLogMiddleware(workbench(up.url), settings=settings)
            url = stack.enter_context(serving(app))
            talk(url, chat_request(headers=SECRETS).replace(PATH.encode(), target.encode()))
            key = query(settings, "SELECT client_key FROM exchange") if stored(settings) else []
            assert [16] == [len(row["client_key"]) for row in key]
        assert ["completed"] == outcomes(settings)
        found = files(tmp_path)  # now, while there are a WAL and a journal
    assert {"toollog.db", "toollog.db-wal"} <= set(found)
    assert any(name.endswith(jr.SEGMENT_SUFFIX) and len(data) > 100 for name, data in found.items())
    assert [] == [name for name, data in (found | files(tmp_path)).items() if b"canary" in data]


def test_files_are_readable_for_their_owner_only(settings: Settings, tmp_path: Path) -> None:
    asyncio.run(drive(ToolLogMiddleware(answering([start(), piece(DONE, more=False)]), settings=settings)))
    stored(settings)

    assert {"0o600"} == {oct(path.stat().st_mode & 0o777) for path in tmp_path.rglob("*") if path.is_file()}


# ---- lifespan -------------------------------------------------------------------------------------------------------


def test_the_lifespan_opens_the_log_and_everything_is_in_the_database_when_the_server_has_stopped(
    settings: Settings,
) -> None:
    with running(stream([*text_events(), DONE])) as up:
        app = workbench(up.url)
        app.add_middleware(ToolLogMiddleware, settings=settings)
        with serving(app) as url:
            assert 1 == len(jr.list_segments(settings.journal_path))
            for _ in range(5):
                talk(url, chat_request(streamed=True))
    assert ["completed"] * 5 == [row["outcome"] for row in query(settings, "SELECT outcome FROM exchange")]
    assert ["identity.key"] == [path.name for path in settings.journal_path.iterdir()]
    assert not [thread for thread in threading.enumerate() if thread.name == "toollog-writer"]


def test_the_log_is_written_before_the_server_hears_that_it_may_go(settings: Settings) -> None:
    """uvicorn ends the process with the signal that it got as soon as it has heard ``shutdown.complete``."""
    heard: list[int] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await answering([start(), piece(DONE, more=False)])(scope, receive, send)
            return
        for kind in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{kind}.complete"})

    async def main() -> None:
        tapped = ToolLogMiddleware(app, settings=settings)
        messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]

        async def receive() -> Any:
            if len(messages) == 1:
                await drive(tapped)
            return messages.pop(0)

        async def send(message: Any) -> None:
            if message["type"] == "lifespan.shutdown.complete":
                heard.append(len(query(settings, "SELECT uid FROM exchange")))

        await tapped({"type": "lifespan", "asgi": {}, "state": {}}, receive, send)

    asyncio.run(main())
    assert [1] == heard


@pytest.mark.parametrize("lifespan", ["off", "auto"])
def test_an_application_without_a_lifespan_is_recorded(settings: Settings, lifespan: str) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert scope["type"] == "http"
        await answering([start(), piece(DONE, more=False)])(scope, receive, send)

    with serving(ToolLogMiddleware(app, settings=settings), lifespan=lifespan) as url:
        assert DONE == talk(url, chat_request()).body
    assert 1 == len(stored(settings))


def test_a_lifespan_that_fails_is_told_to_the_server_as_without_us(settings: Settings) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no model"})

    sent: list[Any] = []

    async def main() -> None:
        async def receive() -> Any:
            return {"type": "lifespan.startup"}

        async def send(message: Any) -> None:
            sent.append(message)

        await ToolLogMiddleware(app, settings=settings)({"type": "lifespan"}, receive, send)

    asyncio.run(main())
    assert [{"type": "lifespan.startup.failed", "message": "no model"}] == sent


def test_the_lifespan_of_the_application_runs_as_without_us(settings: Settings) -> None:
    seen: list[str] = []

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> Any:
        seen.append("up")
        yield {"model": "m"}
        seen.append("down")

    app = FastAPI(lifespan=lifespan)

    @app.post(PATH)
    async def chat(request: Request) -> dict[str, str]:
        seen.append(request.state.model)
        return {}

    app.add_middleware(ToolLogMiddleware, settings=settings)
    with serving(app) as url:
        assert b"{}" == talk(url, chat_request()).body
    assert ["up", "m", "down"] == seen


# ---- among other middleware -----------------------------------------------------------------------------------------


def test_mounted_twice_and_under_others_it_records_once(settings: Settings) -> None:
    seen: list[str] = []

    async def other(request: Request, call_next: Any) -> Any:
        seen.append(request.url.path)
        return await call_next(request)

    with running(stream([*text_events(), DONE])) as up:
        app = workbench(up.url)
        app.add_middleware(ToolLogMiddleware, settings=settings)
        app.add_middleware(BaseHTTPMiddleware, dispatch=other)
        app.add_middleware(ToolLogMiddleware, settings=settings)
        with serving(app) as url:
            assert b"".join([*text_events(), DONE]) == talk(url, chat_request(streamed=True)).body
    assert (["completed"], [PATH]) == (outcomes(settings), seen)


def test_an_answer_that_the_application_compresses_is_read(settings: Settings) -> None:
    with running(whole(chat_body("Hello world " * 200))) as up:
        app = workbench(up.url)
        app.add_middleware(GZipMiddleware, minimum_size=10)
        app.add_middleware(ToolLogMiddleware, settings=settings)
        with serving(app) as url:
            answer = talk(url, chat_request(headers=[("accept-encoding", "gzip")]))
            assert (b"content-encoding", b"gzip") in answer.headers
    (row,) = stored(settings)
    assert ("completed", "stop", len(answer.body)) == (row["outcome"], row["finish_reason"], row["response_size"])


def test_two_applications_with_one_database_record_into_it_and_end_one_by_one(settings: Settings) -> None:
    with running(stream([*text_events(), DONE])) as up, ExitStack() as outer:
        shared = settings.model_copy(update={"upstream": up.url})
        url = outer.enter_context(serving(ToolLogProxy(settings=shared)))
        with serving(ToolLogMiddleware(workbench(up.url), settings=shared)) as other:
            talk(other, chat_request(streamed=True))
        talk(url, chat_request(streamed=True))
        assert ["completed"] * 2 == outcomes(settings)
        assert 1 == len(query(settings, "SELECT id FROM writer")), "the first to end closed the log of the other"
    assert not jr.list_segments(settings.journal_path)


def test_a_workbench_without_settings_uses_those_in_force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOLLOG_DATABASE", str(tmp_path / "env.db"))
    app = FastAPI()
    app.add_middleware(ToolLogMiddleware)

    @app.post(PATH)
    async def chat() -> dict[str, Any]:
        found: dict[str, Any] = json.loads(chat_body())
        return found

    with serving(app) as url:
        talk(url, chat_request())
    settings = Settings(database=str(tmp_path / "env.db"))
    assert ["completed"] == [row["outcome"] for row in query(settings, "SELECT outcome FROM exchange")]
    recorder_for(settings).close()


def test_the_writer_waits_for_a_pause_but_not_for_ever(tmp_path: Path) -> None:
    with recording(tmp_path, idle_ms=10_000, max_delay_ms=1000) as settings:
        app = ToolLogMiddleware(answering([start(), piece(DONE, more=False)]), settings=settings)
        recorder_for(settings).hold()
        deadline = time.monotonic() + 5
        while not Path(settings.database).exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.1)
        asyncio.run(drive(app))
        time.sleep(0.1)
        assert [] == query(settings, "SELECT uid FROM exchange")
        deadline = time.monotonic() + 5
        while not (found := query(settings, "SELECT uid FROM exchange")) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert 1 == len(found)
