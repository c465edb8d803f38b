"""The ASGI tap with a scripted server: outcomes, what is kept, and whose fault it is."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import ClientDisconnect

from tarx_toollog import Settings, ToolLogMiddleware
from tarx_toollog.capture import middleware as middleware_module
from tarx_toollog.capture.context import inbound
from tarx_toollog.capture.recorder import recorder_for
from tarx_toollog.store import frames as fr
from tarx_toollog.store import journal as jr
from tests.support.asgi import (
    JSON_HEADERS,
    REQUEST,
    App,
    answer_text,
    answering,
    drive,
    outcomes,
    piece,
    read_body,
    recording,
    start,
    stored,
)
from tests.support.upstream import DONE, chat_body, text_events

EVENTS = text_events(["Hello", " world"])


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    with recording(tmp_path) as made:
        yield made


def through(settings: Settings, app: App, **options: Any) -> Any:
    return asyncio.run(drive(ToolLogMiddleware(app, settings=settings), **options))


def streamed(*more: bytes, end: bool = True) -> App:
    last = [piece(b"", more=False)] if end else []
    return answering([start(), *(piece(event) for event in [*EVENTS, *more]), *last])


def test_a_stream_that_ends_with_done_is_completed(settings: Settings) -> None:
    through(settings, streamed(DONE))

    (row,) = stored(settings)
    assert ("completed", "stop", "Hello world") == (
        row["outcome"],
        row["finish_reason"],
        answer_text(settings, row["uid"]),
    )


def test_a_stream_without_done_is_completed_by_its_finish_reason(settings: Settings) -> None:
    through(settings, streamed())

    assert ["completed"] == outcomes(settings)


def test_a_json_answer_is_completed(settings: Settings) -> None:
    through(settings, answering([start(200, JSON_HEADERS), piece(chat_body(), more=False)]))

    assert ["completed"] == outcomes(settings)


def test_an_answer_that_the_application_leaves_unfinished_is_truncated(settings: Settings) -> None:
    through(settings, answering([start(), piece(EVENTS[1])]))

    assert ["truncated"] == outcomes(settings)


@pytest.mark.parametrize("after", [0, 1, 2, 3])
def test_a_client_that_leaves_is_told_from_an_answer_that_ends(settings: Settings, after: int) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await read_body(receive)
        for message in [start(), *(piece(event) for event in EVENTS)][:after]:
            await send(message)
        await receive()  # as Starlette's StreamingResponse does: it returns without a word
        if after == 3:
            await send(piece(b"", more=False))  # and some applications finish politely

    through(settings, app, hang_up_after_sent=after, **({"hang_up_after_received": 1} if after == 0 else {}))

    assert ["client_disconnected"] == outcomes(settings)


def test_a_client_that_leaves_after_the_end_changes_nothing(settings: Settings) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await streamed(DONE)(scope, receive, send)
        assert "http.disconnect" == (await receive())["type"]

    through(settings, app)

    assert ["completed"] == outcomes(settings)


def test_a_client_that_leaves_right_after_done_has_everything(settings: Settings) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await streamed(DONE, end=False)(scope, receive, send)
        await receive()

    through(settings, app, hang_up_after_sent=2 + len(EVENTS))

    assert ["completed"] == outcomes(settings)


def test_a_client_that_leaves_during_its_upload_is_no_error_of_the_application(settings: Settings) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        if (await receive())["type"] == "http.disconnect":
            raise ClientDisconnect

    driven = through(settings, app, body=[REQUEST[:10], REQUEST[10:]], hang_up_after_received=1)

    (row,) = stored(settings)
    assert ("ClientDisconnect()", "client_disconnected", 10) == (
        repr(driven.error),
        row["outcome"],
        row["request_size"],
    )


def test_a_server_that_says_in_send_that_the_client_is_gone_is_believed(settings: Settings) -> None:
    driven = through(settings, streamed(DONE), hang_up_after_sent=2, send_error=OSError("gone"))

    assert ("OSError('gone')", ["client_disconnected"]) == (repr(driven.error), outcomes(settings))


@pytest.mark.parametrize("sent", [0, 1, 3])
def test_an_error_of_the_application_is_its_own_and_is_raised_on(settings: Settings, sent: int) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await read_body(receive)
        for message in [start(), *(piece(event) for event in EVENTS)][:sent]:
            await send(message)
        raise KeyError("tool")

    driven = through(settings, app)

    (row,) = stored(settings)
    found = (repr(driven.error), row["outcome"], row["error_type"], row["http_status"])
    assert ("KeyError('tool')", "app_error", "KeyError", 200 if sent else None) == found


def test_an_error_that_cannot_be_printed_does_not_cost_the_exchange(settings: Settings) -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise MuteError

    through(settings, app)

    (row,) = stored(settings)
    assert ("app_error", "MuteError", 0) == (row["outcome"], row["error_type"], recorder_for(settings).lost)


@pytest.mark.parametrize(("status", "kind"), [(400, "invalid_request_error"), (503, "unavailable_error")])
def test_an_error_status_is_an_upstream_error_with_its_type(settings: Settings, status: int, kind: str) -> None:
    body = b'{"error":{"message":"no","type":"%s","code":%d}}' % (kind.encode(), status)
    through(settings, answering([start(status, JSON_HEADERS), piece(body, more=False)]))

    (row,) = stored(settings)
    assert ("upstream_error", kind, status) == (row["outcome"], row["error_type"], row["http_status"])


def test_an_error_event_in_a_stream_is_a_stream_error(settings: Settings) -> None:
    error = b'data: {"error":{"message":"out of memory","type":"server_error"}}\n\n'
    through(settings, answering([start(), piece(EVENTS[1]), piece(error), piece(b"", more=False)]))

    (row,) = stored(settings)
    assert ("stream_error", "server_error", "out of memory") == (row["outcome"], row["error_type"], row["error_text"])


def test_cancelling_the_application_ends_the_capture_and_goes_on(settings: Settings) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await read_body(receive)
        await send(start())
        await send(piece(EVENTS[1]))
        await asyncio.sleep(60)

    async def main() -> None:
        task = asyncio.ensure_future(drive(ToolLogMiddleware(app, settings=settings)))
        await asyncio.sleep(0.05)
        task.cancel()
        assert isinstance((await task).error, asyncio.CancelledError)

    asyncio.run(main())
    assert ["client_disconnected"] == outcomes(settings)


def test_headers_that_can_be_read_only_once_reach_the_server(settings: Settings) -> None:
    message = {**start(), "headers": iter([(b"x-a", b"1")])}
    driven = through(settings, answering([message, piece(b"", more=False)]))

    assert [(b"x-a", b"1")] == list(driven.sent[0]["headers"])


def test_a_buffer_that_the_application_uses_again_is_kept_as_it_was(settings: Settings) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await read_body(receive)
        await send(start())
        for event in (*EVENTS, DONE):
            buffer = bytearray(event)
            await send(piece(buffer))  # type: ignore[arg-type]
            buffer[:] = b"?" * len(buffer)

    through(settings, app)

    (row,) = stored(settings)
    assert "Hello world" == answer_text(settings, row["uid"])


def test_a_partial_answer_is_in_the_journal_although_the_model_falls_silent(tmp_path: Path) -> None:
    def chunks(settings: Settings) -> bytes:
        assembly = fr.Assembly()
        for frame in fr.read_frames(jr.list_segments(settings.journal_path)[0]):
            assembly.add(frame)
        return b"".join(chunk.data for chunk in assembly.chunks)

    with recording(tmp_path, checkpoint_ms=50) as settings:

        async def app(scope: Any, receive: Any, send: Any) -> None:
            await read_body(receive)
            await send(start())
            await send(piece(EVENTS[0]))
            await send(piece(EVENTS[1]))
            assert b"" == chunks(settings)  # not one write a token
            await asyncio.sleep(0.1)
            assert EVENTS[0] + EVENTS[1] == chunks(settings)

        assert through(settings, app).error is None


def test_a_body_beyond_the_cap_is_counted_and_passes(tmp_path: Path) -> None:
    with recording(tmp_path, max_request_bytes=100, max_response_bytes=150) as settings:
        events = [b"data: " + b"x" * 100 + b"\n\n"] * 5
        app = answering([start(), *(piece(event) for event in events), piece(b"", more=False)])
        driven = through(settings, app, body=[REQUEST, b" " * 500])

        (row,) = stored(settings)
        assert (b"".join(events), len(REQUEST) + 500, 5 * 108) == (
            driven.body,
            row["request_size"],
            row["response_size"],
        )
        assert {"request_capped", "response_capped"} <= {note.partition(":")[0] for note in _notes(row)}


def _notes(row: dict[str, Any]) -> list[str]:
    return [str(note) for note in json.loads(row["notes"])]


def test_a_protocol_that_raises_hurts_nobody(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_method: str, _path: str) -> bool:
        raise ValueError("of a third party")

    monkeypatch.setattr(middleware_module, "is_model_route", broken)
    driven = through(settings, streamed(DONE))

    assert (b"".join([*EVENTS, DONE]), None, 1) == (driven.body, driven.error, recorder_for(settings).failures)


def test_mounted_twice_it_records_once(settings: Settings) -> None:
    inner = ToolLogMiddleware(streamed(DONE), settings=settings)
    through(settings, inner)

    assert ["completed"] == outcomes(settings)


def test_websockets_pass(settings: Settings) -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    asyncio.run(drive(ToolLogMiddleware(app, settings=settings), type="websocket"))

    assert ["websocket"] == seen


def test_turned_off_it_records_nothing(tmp_path: Path) -> None:
    settings = Settings(database=str(tmp_path / "t.db"), enabled=False)
    driven = through(settings, streamed(DONE))

    assert (b"".join([*EVENTS, DONE]), []) == (driven.body, list(tmp_path.iterdir()))


def test_what_the_application_sets_in_a_task_of_its_own_is_seen_by_the_transport(settings: Settings) -> None:
    seen: list[bytes] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.create_task(read_body(receive))  # BaseHTTPMiddleware and Starlette's task groups do so
        inside = inbound.get()
        assert inside is not None
        assert inside.capture is not None
        seen.append(inside.capture.request_body)

    through(settings, app)

    assert ([REQUEST], None) == (seen, inbound.get())


def test_the_headers_tell_conversation_and_client(settings: Settings) -> None:
    app = streamed(DONE)
    for headers in (
        [(b"x-session-id", b"s1"), (b"authorization", b"Bearer a")],
        [(b"x-session-id", b"s2"), (b"authorization", b"Bearer b")],
        [(b"x-session-id", b"s1"), (b"authorization", b"Bearer a")],
    ):
        through(settings, app, headers=headers)

    rows = stored(settings)
    keys = [row["client_key"] for row in rows]
    assert (["header"] * 3, True, True) == (
        [row["conversation_how"] for row in rows],
        keys[0] == keys[2] != keys[1],
        rows[0]["conversation_id"] == rows[2]["conversation_id"] != rows[1]["conversation_id"],
    )
