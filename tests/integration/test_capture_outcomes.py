"""How exchanges end, each by the real thing: uvicorn, sockets, and a server or client that misbehaves."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tarx_toollog import Settings, ToolLogMiddleware, ToolLogProxy
from tarx_toollog.capture.recorder import recorder_for
from tests.support.asgi import answer_text, piece, query, recording, start, stored
from tests.support.model_server import free_port
from tests.support.upstream import (
    CHUNKED,
    DONE,
    JSON,
    SSE,
    Connection,
    Request,
    Script,
    Upstream,
    chat_body,
    chat_request,
    dialled,
    event,
    read_answer,
    request_bytes,
    running,
    stream,
    talk,
    text_events,
    tool_events,
    whole,
)
from tests.support.workers import serving, workbench

EVENTS = text_events(["Hello", " world"])


class Place(NamedTuple):
    """A tap in front of a server."""

    url: str
    up: Upstream
    settings: Settings

    def row(self) -> dict[str, Any]:
        """Wait for the one exchange to have ended and return it."""
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            rows = stored(self.settings)
            if rows and rows[-1]["outcome"] != "open":
                assert 1 == len(rows)
                return rows[0]
            time.sleep(0.01)
        raise AssertionError(f"the exchange does not end: {rows}")

    def text(self) -> str | None:
        return answer_text(self.settings, self.row()["uid"])


@contextmanager
def place(folder: Path, script: Script, tap: str = "proxy", **options: Any) -> Iterator[Place]:
    with ExitStack() as stack:
        up = stack.enter_context(running(script))
        settings = stack.enter_context(recording(folder, **{"upstream": up.url, **options}))
        app: Any = ToolLogProxy(settings=settings)
        if tap == "middleware":
            app = ToolLogMiddleware(workbench(up.url), settings=settings)
        yield Place(stack.enter_context(serving(app)), up, settings)
        recorder = recorder_for(settings)
        assert (0, 0) == (recorder.lost, recorder.failures), recorder.last_error


both_taps = pytest.mark.parametrize("tap", ["proxy", "middleware"])


# ---- whole answers --------------------------------------------------------------------------------------------------


@both_taps
@pytest.mark.parametrize(
    "script",
    [stream([*EVENTS, DONE]), stream(EVENTS), stream([b"".join([*EVENTS, DONE])]), whole(chat_body("Hello world"))],
    ids=["stream", "no-done", "one-piece", "json"],
)
def test_a_whole_answer_is_completed(tmp_path: Path, tap: str, script: Script) -> None:
    with place(tmp_path, script, tap) as here:
        assert talk(here.url, chat_request(streamed=True)).is_whole
        assert ("completed", 200, "Hello world", tap) == (
            here.row()["outcome"],
            here.row()["http_status"],
            here.text(),
            here.row()["leg"],
        )


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_a_tool_call_is_a_row_however_the_stream_is_cut(tmp_path: Path, size: int) -> None:
    data = b"".join([*tool_events("tarx_recall", '{"query":"c\u00edty \u2028"}'), DONE])
    with place(tmp_path, stream([data[i : i + size] for i in range(0, len(data), size)])) as here:
        assert data == talk(here.url, chat_request(streamed=True)).body
        assert "completed" == here.row()["outcome"]
        (call,) = query(here.settings, "SELECT name, call_id, arguments, complete FROM tool_call")
        assert ["tarx_recall", "call_1", '{"query":"c\u00edty \u2028"}', 1] == list(call.values())


# ---- the client hangs up --------------------------------------------------------------------------------------------


def until_gone(first: bytes = b"") -> Script:
    def script(_request: Request, connection: Connection) -> None:
        if first:
            connection.head(200, SSE, CHUNKED)
            connection.chunk(first)
        if connection.wait_gone():
            connection.upstream.gone.set()

    return script


@both_taps
def test_a_client_that_leaves_in_the_middle_stops_the_model_and_leaves_the_partial_answer(
    tmp_path: Path, tap: str
) -> None:
    with place(tmp_path, until_gone(b"".join(EVENTS[:2])), tap) as here:
        with dialled(here.url, chat_request(streamed=True)) as connection:
            connection.read_until(b'"Hello"')
        assert here.up.gone.wait(1.0), "the model goes on talking to nobody"
        assert ("client_disconnected", "Hello") == (here.row()["outcome"], here.text())


def test_a_client_that_leaves_before_the_first_byte_stops_the_model(tmp_path: Path) -> None:
    with place(tmp_path, until_gone()) as here:
        with dialled(here.url, chat_request(streamed=True)):
            while not here.up.requests:
                time.sleep(0.005)
        assert here.up.gone.wait(1.0)
        row = here.row()
        assert ("client_disconnected", None, None) == (row["outcome"], row["http_status"], row["error_type"])


def test_a_client_that_leaves_during_its_upload_is_no_fault_of_the_server(tmp_path: Path) -> None:
    head, _, body = request_bytes(body=b'{"messages": "' + b"x" * 100_000 + b'"}').partition(b"\r\n\r\n")
    with place(tmp_path, whole(chat_body())) as here:
        with dialled(here.url, head + b"\r\n\r\n" + body[:50_000]):
            time.sleep(0.1)
        row = here.row()
        assert ("client_disconnected", None, 50_000) == (row["outcome"], row["http_status"], row["request_size"])
        assert here.up.gone.wait(1.0), "the server still waits for the rest"


def test_a_client_that_leaves_right_after_done_has_everything(tmp_path: Path) -> None:
    """As openai-python does: it reads no further than ``[DONE]``."""

    def script(_request: Request, connection: Connection) -> None:
        connection.head(200, SSE, CHUNKED)
        for data in [*EVENTS, DONE]:
            connection.chunk(data)
        connection.wait_gone()

    with place(tmp_path, script) as here:
        with dialled(here.url, chat_request(streamed=True)) as connection:
            connection.read_until(b"[DONE]")
        assert ("completed", "Hello world") == (here.row()["outcome"], here.text())


def test_a_refusal_before_the_upload_is_over_reaches_the_client(tmp_path: Path) -> None:
    # The script runs once the raw server has the whole request, so this server is made by hand.
    listening = socket.create_server(("127.0.0.1", 0))
    address = f"http://127.0.0.1:{listening.getsockname()[1]}"
    with (
        listening,
        recording(tmp_path, upstream=address) as settings,
        serving(ToolLogProxy(settings=settings)) as url,
        dialled(url, request_bytes(headers=[("content-length", "1000000")]) + b"x" * 1000) as client,
    ):
        sock, _ = listening.accept()
        with sock:
            server = Connection(sock)
            server.read_head()
            server.head(413, JSON, ("content-length", "29"))
            server.send(b'{"error":{"message":"large"}}')
            answer = read_answer(client)
    assert (413, b'{"error":{"message":"large"}}') == (answer.status, answer.body)
    (row,) = stored(settings)
    assert ("upstream_error", "large") == (row["outcome"], row["error_text"])


# ---- the server breaks off ------------------------------------------------------------------------------------------


def breaking(data: bytes, *, reset: bool, framing: tuple[str, str] = CHUNKED) -> Script:
    def script(_request: Request, connection: Connection) -> None:
        connection.head(200, SSE, framing)
        if framing == CHUNKED:
            connection.chunk(data)
        else:
            connection.send(data)
        time.sleep(0.05)  # else a RST throws away what was sent before it
        if reset:
            connection.reset()
        else:
            connection.sock.close()

    return script


@pytest.mark.parametrize("reset", [False, True], ids=["fin", "rst"])
@pytest.mark.parametrize("framing", [CHUNKED, ("content-length", "5000")], ids=["chunked", "length"])
def test_a_server_that_breaks_off_looks_broken_to_the_client_as_well(
    tmp_path: Path, reset: bool, framing: tuple[str, str]
) -> None:
    with place(tmp_path, breaking(b"".join(EVENTS[:2]), reset=reset, framing=framing)) as here:
        answer = talk(here.url, chat_request(streamed=True))
        assert (200, b"".join(EVENTS[:2]), False) == (answer.status, answer.body, answer.is_whole)
        row = here.row()
        assert ("upstream_error", "ReadError", "Hello") == (row["outcome"], row["error_type"], here.text())


def test_an_answer_that_ends_cleanly_in_the_middle_is_truncated(tmp_path: Path) -> None:
    with place(tmp_path, stream(EVENTS[:2])) as here:
        assert talk(here.url, chat_request(streamed=True)).is_whole
        assert ("truncated", "Hello") == (here.row()["outcome"], here.text())


def error_of(body: bytes) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(body)["error"]
    assert {"message", "type", "code", "param"} == set(found)
    return found


def test_a_server_that_is_not_there_is_a_502_that_says_so(tmp_path: Path) -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"
    with place(tmp_path, whole(b""), upstream=nowhere) as here:
        answer = talk(here.url, chat_request())
        error = error_of(answer.body)
        assert (502, 502, "upstream_unreachable") == (answer.status, error["code"], error["type"])
        assert nowhere in error["message"]
        row = here.row()
        assert ("proxy_error", 502, "ConnectError") == (row["outcome"], row["http_status"], row["error_type"])


@pytest.mark.parametrize("how", ["fin", "rst", "garbage", "half a head", "huge head"])
def test_a_server_without_an_answer_is_a_502(tmp_path: Path, how: str) -> None:
    def script(_request: Request, connection: Connection) -> None:
        if how == "rst":
            connection.reset()
            return
        head = {"garbage": b"SSH-2.0-hello\r\n\r\n", "half a head": b"HTTP/1.1 200 OK\r\ncontent-", "fin": b""}
        connection.send(head.get(how, b"HTTP/1.1 200 OK\r\nx: " + b"x" * 500_000 + b"\r\n\r\n"))
        connection.sock.close()

    with place(tmp_path, script) as here:
        answer = talk(here.url, chat_request())
        assert (502, "upstream_unreachable") == (answer.status, error_of(answer.body)["type"])
        assert "proxy_error" == here.row()["outcome"]


def test_garbage_in_a_chunked_answer_is_a_broken_answer(tmp_path: Path) -> None:
    def script(_request: Request, connection: Connection) -> None:
        connection.head(200, SSE, CHUNKED)
        connection.chunk(EVENTS[1])
        time.sleep(0.05)
        connection.send(b"zzzz\r\nno chunk\r\n")
        connection.wait_gone(1)

    with place(tmp_path, script) as here:
        answer = talk(here.url, chat_request(streamed=True))
        assert (EVENTS[1], False) == (answer.body, answer.is_whole)
        assert "upstream_error" == here.row()["outcome"]


def test_a_silent_server_is_a_504(tmp_path: Path) -> None:
    with place(tmp_path, until_gone(), read_timeout_s=0.2) as here:
        answer = talk(here.url, chat_request())
        assert (504, "upstream_timeout") == (answer.status, error_of(answer.body)["type"])
        row = here.row()
        assert ("timeout", 504, "ReadTimeout") == (row["outcome"], row["http_status"], row["error_type"])
        assert here.up.gone.wait(1.0)


def test_a_server_that_falls_silent_in_the_middle_is_a_broken_answer(tmp_path: Path) -> None:
    with place(tmp_path, until_gone(EVENTS[1]), read_timeout_s=0.2) as here:
        answer = talk(here.url, chat_request(streamed=True))
        assert (EVENTS[1], False) == (answer.body, answer.is_whole)
        assert ("timeout", "Hello") == (here.row()["outcome"], here.text())


def test_slow_headers_are_no_timeout_as_long_as_they_come(tmp_path: Path) -> None:
    def script(_request: Request, connection: Connection) -> None:
        for line in (
            b"HTTP/1.1 200 OK\r\n",
            b"content-type: application/json\r\n",
            b"content-le",
            b"ngth: 2\r\n\r\n{}",
        ):
            connection.send(line)
            time.sleep(0.15)

    with place(tmp_path, script, read_timeout_s=0.5) as here:
        assert (200, b"{}") == ask(here.url)


def ask(url: str) -> tuple[int, bytes]:
    answer = talk(url, chat_request())
    return answer.status, answer.body


# ---- errors that are answers ----------------------------------------------------------------------------------------


@both_taps
@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, b'{"error":{"message":"no","type":"invalid_request_error","code":400}}', "invalid_request_error"),
        (503, b'{"error":{"message":"loading","type":"unavailable_error","code":503}}', "unavailable_error"),
        (500, b"Internal Server Error", "http_500"),
    ],
)
def test_an_error_status_passes_and_is_an_upstream_error(
    tmp_path: Path, tap: str, status: int, body: bytes, kind: str
) -> None:
    with place(tmp_path, whole(body, status), tap) as here:
        assert (status, body) == ask(here.url)
        row = here.row()
        assert ("upstream_error", status, kind) == (row["outcome"], row["http_status"], row["error_type"])


@both_taps
@pytest.mark.parametrize(("status", "body"), [(307, b""), (301, b"<html>Moved</html>"), (304, b""), (204, b"")])
def test_a_redirect_is_passed_on_and_complete_and_no_answer(tmp_path: Path, tap: str, status: int, body: bytes) -> None:
    with place(tmp_path, whole(body, status, ("location", "/v1/chat/completions/")), tap) as here:
        assert (status, body) == ask(here.url)
        row = here.row()
        assert ("completed", status, None) == (row["outcome"], row["http_status"], row["error_type"])


def test_an_error_event_in_a_stream_is_a_stream_error(tmp_path: Path) -> None:
    error = b'data: {"error":{"message":"out of memory","type":"server_error"}}\n\n'
    with place(tmp_path, stream([EVENTS[1], error])) as here:
        assert EVENTS[1] + error == talk(here.url, chat_request(streamed=True)).body
        row = here.row()
        assert ("stream_error", "server_error", "out of memory", "Hello") == (
            row["outcome"],
            row["error_type"],
            row["error_text"],
            here.text(),
        )


@pytest.mark.parametrize("started", [False, True])
def test_an_error_of_the_application_is_an_app_error(tmp_path: Path, started: bool) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        await receive()
        if started:
            await send(start())
            await send(piece(EVENTS[1]))
        raise RuntimeError("bug")

    with recording(tmp_path) as settings:
        with serving(ToolLogMiddleware(app, settings=settings)) as url:
            answer = talk(url, chat_request(streamed=True))
        assert ((200, False) if started else (500, True)) == (answer.status, answer.is_whole)
        (row,) = stored(settings)
        assert ("app_error", "RuntimeError", "bug") == (row["outcome"], row["error_type"], row["error_text"])


def test_two_hundred_streams_at_once_are_two_hundred_rows(tmp_path: Path) -> None:
    def script(_request: Request, connection: Connection) -> None:
        connection.head(200, SSE, CHUNKED)
        connection.chunk(event({"content": "Hello"}))
        assert connection.upstream.go_on.wait(5)
        for data in (event({"content": " world"}, finish_reason="stop"), DONE, b""):
            connection.chunk(data)

    with place(tmp_path, script) as here, ExitStack() as stack:
        clients = [
            stack.enter_context(dialled(here.url, chat_request(streamed=True, text=f"number {n}"))) for n in range(200)
        ]
        for client in clients:
            client.read_until(b"Hello")
        here.up.go_on.set()
        for client in clients:
            client.read_until(b"[DONE]")
        rows = stored(here.settings)
        deadline = time.monotonic() + 5
        while any(row["outcome"] == "open" for row in rows) and time.monotonic() < deadline:
            rows = stored(here.settings)
        assert (200, {"completed"}) == (len(rows), {row["outcome"] for row in rows})
