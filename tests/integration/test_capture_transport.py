"""The httpx tap against a real server: async and sync, unbuffered, and inside an inbound request."""

import asyncio
import gzip
import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import httpx2
import openai
import pytest

from tarx_toollog import Settings, ToolLogProxy, ToolLogTransport
from tarx_toollog.capture import transport as transport_module
from tarx_toollog.capture.recorder import recorder_for
from tests.support.asgi import answer_text, outcomes, query, recording, stored
from tests.support.model_server import free_port
from tests.support.upstream import (
    CHUNKED,
    DONE,
    JSON,
    SSE,
    Connection,
    Script,
    chat_body,
    running,
    stream,
    text_events,
    tool_events,
    whole,
)
from tests.support.upstream import Request as Received
from tests.support.workers import serving

EVENTS = [*text_events(["Hello", " world"]), DONE]
CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
PATH = "/v1/chat/completions"


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    with recording(tmp_path) as made:
        yield made
        recorder = recorder_for(made)
        assert (0, 0) == (recorder.lost, recorder.failures), recorder.last_error


def post(settings: Settings, url: str, *, asynchronous: bool, library: Any = httpx, **options: Any) -> Any:
    """Post a chat through the tap, with either client of either library."""

    async def post_async() -> Any:
        async with library.AsyncClient(transport=ToolLogTransport(settings=settings), timeout=5) as client:
            return await client.post(url + PATH, json=CHAT, **options)

    if asynchronous:
        return asyncio.run(post_async())
    with library.Client(transport=ToolLogTransport(settings=settings), timeout=5) as client:
        return client.post(url + PATH, json=CHAT, **options)


both_libraries = pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])
both_clients = pytest.mark.parametrize("asynchronous", [True, False], ids=["async", "sync"])


@both_libraries
@both_clients
@pytest.mark.parametrize(
    ("script", "body"),
    [
        (whole(chat_body()), chat_body()),
        (stream(EVENTS), b"".join(EVENTS)),
        (whole(gzip.compress(chat_body()), 200, JSON, ("content-encoding", "gzip")), chat_body()),
    ],
    ids=["json", "stream", "gzip"],
)
def test_an_answer_arrives_whole_and_is_a_row(
    settings: Settings, asynchronous: bool, library: Any, script: Script, body: bytes
) -> None:
    with running(script) as up:
        answer = post(settings, up.url, asynchronous=asynchronous, library=library)
        assert (200, body) == (answer.status_code, answer.content)
        assert [json.dumps(CHAT, separators=(",", ":")).encode()] == [request.body for request in up.requests]
    (row,) = stored(settings)
    assert ("completed", "transport", up.url) == (row["outcome"], row["leg"], row["upstream"])
    assert "Hello world" == answer_text(settings, row["uid"])


@both_clients
def test_the_request_is_the_same_as_without_the_tap(settings: Settings, asynchronous: bool) -> None:
    with running(whole(chat_body())) as up:
        post(settings, up.url, asynchronous=asynchronous)
        with httpx.Client() as client:
            client.post(up.url + PATH, json=CHAT)
    tapped, direct = up.requests
    assert direct == tapped


@pytest.mark.parametrize(("path", "method"), [("/v1/models", "GET"), ("/v1/embeddings", "POST"), (PATH, "GET")])
def test_other_routes_pass_unseen(settings: Settings, path: str, method: str) -> None:
    with running(whole(b"{}")) as up:
        with httpx.Client(transport=ToolLogTransport(settings=settings)) as client:
            assert b"{}" == client.request(method, up.url + path).content
        post(settings, up.url, asynchronous=False)
    assert [(PATH, "POST")] == [(row["route"], row["method"]) for row in stored(settings)]


def waiting(_request: Received, connection: Connection) -> None:
    connection.head(200, SSE, CHUNKED)
    connection.chunk(EVENTS[1])
    assert connection.upstream.go_on.wait(5)
    for data in (*EVENTS[2:], b""):
        connection.chunk(data)


@both_clients
def test_a_stream_is_not_buffered(settings: Settings, asynchronous: bool) -> None:
    with running(waiting) as up:

        async def read_async() -> bytes:
            async with (
                httpx.AsyncClient(transport=ToolLogTransport(settings=settings), timeout=5) as client,
                client.stream("POST", up.url + PATH, json=CHAT) as answer,
            ):
                pieces = answer.aiter_raw()
                first = await anext(pieces)
                up.go_on.set()
                return first + b"".join([piece async for piece in pieces])

        def read() -> bytes:
            with (
                httpx.Client(transport=ToolLogTransport(settings=settings), timeout=5) as client,
                client.stream("POST", up.url + PATH, json=CHAT) as answer,
            ):
                pieces = answer.iter_raw()
                first = next(pieces)
                up.go_on.set()
                return first + b"".join(pieces)

        assert b"".join(EVENTS[1:]) == (asyncio.run(read_async()) if asynchronous else read())
    assert ["completed"] == outcomes(settings)


@both_clients
def test_closing_early_stops_the_model_and_is_a_disconnect(settings: Settings, asynchronous: bool) -> None:
    def until_gone(_request: Received, connection: Connection) -> None:
        connection.head(200, SSE, CHUNKED)
        connection.chunk(EVENTS[1])
        if connection.wait_gone():
            connection.upstream.gone.set()

    with running(until_gone) as up:

        async def read_async() -> None:
            async with (
                httpx.AsyncClient(transport=ToolLogTransport(settings=settings)) as client,
                client.stream("POST", up.url + PATH, json=CHAT) as answer,
            ):
                await anext(answer.aiter_raw())

        def read() -> None:
            with (
                httpx.Client(transport=ToolLogTransport(settings=settings)) as client,
                client.stream("POST", up.url + PATH, json=CHAT) as answer,
            ):
                next(answer.iter_raw())

        if asynchronous:
            asyncio.run(read_async())
        else:
            read()
        assert up.gone.wait(1.0)
    (row,) = stored(settings)
    assert ("client_disconnected", "Hello") == (row["outcome"], answer_text(settings, row["uid"]))


def test_a_task_that_is_cancelled_is_a_disconnect(settings: Settings) -> None:
    with running(waiting) as up:

        async def main() -> None:
            async with httpx.AsyncClient(transport=ToolLogTransport(settings=settings)) as client:
                task = asyncio.create_task(client.post(up.url + PATH, json=CHAT))
                await asyncio.sleep(0.1)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task

        asyncio.run(main())
    assert ["client_disconnected"] == outcomes(settings)


@both_libraries
@both_clients
def test_a_server_that_breaks_off_is_an_upstream_error(settings: Settings, asynchronous: bool, library: Any) -> None:
    def breaking(_request: Received, connection: Connection) -> None:
        connection.head(200, SSE, CHUNKED)
        connection.chunk(EVENTS[1])
        connection.sock.close()

    with running(breaking) as up, pytest.raises(library.RemoteProtocolError):
        post(settings, up.url, asynchronous=asynchronous, library=library)
    (row,) = stored(settings)
    assert ("upstream_error", "RemoteProtocolError", "Hello") == (
        row["outcome"],
        row["error_type"],
        answer_text(settings, row["uid"]),
    )


@both_libraries
@both_clients
def test_a_server_that_is_not_there_is_an_upstream_error(settings: Settings, asynchronous: bool, library: Any) -> None:
    with pytest.raises(library.ConnectError):
        post(settings, f"http://127.0.0.1:{free_port()}", asynchronous=asynchronous, library=library)
    (row,) = stored(settings)
    assert ("upstream_error", "ConnectError", None) == (row["outcome"], row["error_type"], row["http_status"])


@both_libraries
@both_clients
def test_a_silent_server_is_a_timeout(settings: Settings, asynchronous: bool, library: Any) -> None:
    def silent(_request: Received, connection: Connection) -> None:
        connection.wait_gone()

    with running(silent) as up:
        began = time.monotonic()
        with pytest.raises(library.ReadTimeout):
            post(settings, up.url, asynchronous=asynchronous, library=library, timeout=0.2)
        assert time.monotonic() - began < 2
    assert ["timeout"] == outcomes(settings)


@both_clients
def test_a_redirect_sends_the_body_again_and_both_exchanges_are_rows(settings: Settings, asynchronous: bool) -> None:
    with running(whole(chat_body())) as second:
        with running(whole(b"", 307, ("location", second.url + PATH))) as first:
            answer = post(settings, first.url, asynchronous=asynchronous, follow_redirects=True)
        assert (chat_body(), 1) == (answer.content, len(second.requests))
        assert first.requests[0].body == second.requests[0].body
    assert [(307, len(first.requests[0].body)), (200, len(first.requests[0].body))] == [
        (row["http_status"], row["request_size"]) for row in stored(settings)
    ]


@both_clients
def test_two_taps_on_one_another_record_once(settings: Settings, asynchronous: bool) -> None:
    inner = ToolLogTransport(settings=settings)
    with running(whole(chat_body())) as up:
        if asynchronous:

            async def main() -> None:
                async with httpx.AsyncClient(transport=ToolLogTransport(inner, settings=settings)) as client:
                    await client.post(up.url + PATH, json=CHAT)

            asyncio.run(main())
        else:
            with httpx.Client(transport=ToolLogTransport(inner, settings=settings)) as client:
                client.post(up.url + PATH, json=CHAT)
    assert ["completed"] == outcomes(settings)


def test_an_answer_that_needed_no_network_is_a_row(settings: Settings) -> None:
    mock = httpx.MockTransport(lambda _request: httpx.Response(200, content=chat_body(), headers=[JSON]))
    with httpx.Client(transport=ToolLogTransport(mock, settings=settings)) as client:
        assert chat_body() == client.post("http://model" + PATH, json=CHAT).content
    assert ["completed"] == outcomes(settings)


def test_a_login_in_the_url_is_not_kept(settings: Settings, tmp_path: Path) -> None:
    with running(whole(chat_body())) as up:
        post(settings, f"http://me:canary-pass@127.0.0.1:{up.port}", asynchronous=False)
        assert b"Basic bWU6Y2FuYXJ5LXBhc3M=" == dict(up.requests[0].headers)[b"authorization"]
    (row,) = stored(settings)
    assert up.url == row["upstream"]
    assert not any(b"canary-pass" in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())


def test_a_fault_of_ours_reaches_nobody(settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def broken(*_: object) -> bool:
        raise ValueError("a bug of ours")

    with monkeypatch.context() as patch, running(whole(chat_body())) as up, recording(tmp_path / "other") as other:
        patch.setattr(transport_module, "is_model_route", broken)
        assert chat_body() == post(other, up.url, asynchronous=True).content
        assert 1 == recorder_for(other).failures


@both_clients
def test_openai_python_reads_a_stream_through_transport_and_proxy(tmp_path: Path, asynchronous: bool) -> None:
    with ExitStack() as stack:
        up = stack.enter_context(running(stream([*tool_events(), DONE])))
        near = stack.enter_context(recording(tmp_path / "near"))
        far = stack.enter_context(recording(tmp_path / "far", upstream=up.url))
        url = stack.enter_context(serving(ToolLogProxy(settings=far))) + "/v1"
        options: Any = {"model": "m", "messages": CHAT["messages"], "stream": True}
        transport = ToolLogTransport(settings=near)
        if asynchronous:

            async def main() -> int:
                http: Any  # openai-python 3 names httpx2 in its types; clients of httpx do as well
                async with httpx.AsyncClient(transport=transport) as http:
                    client = openai.AsyncOpenAI(base_url=url, api_key="none", http_client=http, max_retries=0)
                    return len([chunk async for chunk in await client.chat.completions.create(**options)])

            n_chunks = asyncio.run(main())
        else:
            http: Any
            with httpx.Client(transport=transport) as http:
                client = openai.OpenAI(base_url=url, api_key="none", http_client=http, max_retries=0)
                n_chunks = len(list(client.chat.completions.create(**options)))
        assert len(tool_events()) == n_chunks
        for settings in (near, far):
            assert ["completed"] == outcomes(settings)
            assert [{"name": "tarx_recall"}] == query(settings, "SELECT name FROM tool_call")
