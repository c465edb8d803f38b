"""What passes the middleware is the same as without it: each message, in each direction, byte for byte."""

import asyncio
import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarx_toollog import Settings, ToolLogMiddleware
from tarx_toollog.capture.recorder import recorder_for
from tests.support.asgi import CHAT, App, Driven, Message, drive, piece, query, recording

names = st.binary(min_size=1, max_size=12)
headers = st.lists(
    st.tuples(
        names
        | st.sampled_from([b"content-type", b"content-length", b"Content-Encoding", b"x-session-id", b"authorization"]),
        st.binary(max_size=12) | st.sampled_from([b"text/event-stream", b"5", b"gzip", b"\xb2", b"-1"]),
    ),
    max_size=4,
)
fragments = st.binary(max_size=30) | st.sampled_from([b"data: [DONE]\n\n", b"data: {}\n\n", b'{"choices":[]}', b"[DO"])
scopes = st.fixed_dictionaries(
    {
        "method": st.sampled_from(["POST", "GET"]),
        "path": st.sampled_from([CHAT, "/s/x/v1/chat/completions", "/elsewhere", "/"]),
        "headers": headers,
        "client": st.none() | st.just(("10.0.0.1", 1)),
    }
)


@st.composite
def scripts(draw: st.DrawFn) -> list[Message]:
    """Return any messages that an application might send, also ones that are not quite right."""
    start: Message = {"type": "http.response.start", "status": draw(st.integers(100, 999))}
    if draw(st.booleans()):
        start["headers"] = draw(headers)
    bodies = draw(st.lists(fragments, max_size=6))
    messages = [start, *(piece(body) for body in bodies), piece(draw(fragments), more=False)]
    if draw(st.booleans()):
        del messages[-1]["more_body"]
    return messages[: draw(st.integers(0, len(messages)))] if draw(st.booleans()) else messages


def application(script: list[Message], reads: int, seen: list[Message], error: Exception | None) -> App:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.extend([await receive() for _ in range(reads)])
        for message in script:
            await send(message)
        if error is not None:
            raise error

    return app


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with recording(tmp_path_factory.mktemp("p")) as made:
        yield made


@given(
    body=st.lists(st.binary(max_size=20), min_size=1, max_size=4),
    script=scripts(),
    scope=scopes,
    reads=st.integers(0, 5),
    error=st.none() | st.just(RuntimeError("of the application")),
    hang_up=st.none() | st.integers(0, 4),
)
def test_messages_pass_unchanged_in_both_directions(
    settings: Settings,
    body: list[bytes],
    script: list[Message],
    scope: dict[str, Any],
    reads: int,
    error: Exception | None,
    hang_up: int | None,
) -> None:
    reads = min(reads, len(body))  # more would wait for a disconnect, with and without us
    untouched = copy.deepcopy(script)

    def once(*, tapped: bool) -> tuple[Driven, list[Message]]:
        seen: list[Message] = []
        app = application(script, reads, seen, error)
        outer = ToolLogMiddleware(app, settings=settings) if tapped else app
        return asyncio.run(drive(outer, body, hang_up_after_received=hang_up, **scope)), seen

    direct, direct_seen = once(tapped=False)
    tapped, tapped_seen = once(tapped=True)

    assert direct.sent == tapped.sent == untouched[: len(direct.sent)]
    assert all(one is other for one, other in zip(direct.sent, tapped.sent, strict=True))  # not even a copy
    assert all(one is other for one, other in zip(tapped.received, tapped_seen, strict=False))
    assert (direct_seen, repr(direct.error)) == (tapped_seen, repr(tapped.error))
    recorder = recorder_for(settings)
    assert (0, 0) == (recorder.lost, recorder.failures), recorder.last_error


def test_each_of_these_requests_to_a_model_route_has_become_a_row(tmp_path: Path) -> None:
    """Without this the test above would also pass for a middleware that does nothing."""
    with recording(tmp_path) as settings:
        for path in (CHAT, "/elsewhere", "/s/x/v1/chat/completions"):
            app = application([{"type": "http.response.start", "status": 200}, piece(b"x", more=False)], 1, [], None)
            asyncio.run(drive(ToolLogMiddleware(app, settings=settings), [b"{}"], path=path))
        assert recorder_for(settings).flush()

        found = [row["route"] for row in query(settings, "SELECT route FROM exchange ORDER BY id")]
        assert [CHAT, "/s/x/v1/chat/completions"] == found
