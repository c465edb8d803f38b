"""Routes that no protocol claims: passed through byte for byte, kept when they look like a chat, never failed."""

import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tarx_toollog import Settings, ToolLogProxy
from tests.support.asgi import query, recording, stored
from tests.support.upstream import DONE, request_bytes, running, stream, talk, text_events, whole
from tests.support.workers import serving

EVENTS = [*text_events(["Hello", " world"]), DONE]
CHAT = b'{"model": "m", "messages": [{"role": "user", "content": "hi"}]}'
JSON_TYPE = [("content-type", "application/json")]


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    with recording(tmp_path) as made:
        yield made


def ask(target: str, body: bytes) -> bytes:
    return request_bytes(target=target, body=body, headers=JSON_TYPE)


def test_a_chat_on_an_unknown_route_is_kept_with_its_bytes(settings: Settings) -> None:
    body = b'{"model": "m", "messages": [{"role": "user", "content": "hi"}], "wizard": 1}'
    with running(whole(b'{"reply": "Hello"}')) as up:
        settings = settings.model_copy(update={"upstream": up.url})
        with serving(ToolLogProxy(settings=settings)) as url:
            assert b'{"reply": "Hello"}' == talk(url, ask("/v2/converse", body)).body
        assert body == up.requests[0].body
    (row,) = stored(settings)
    assert ("unknown", "/v2/converse", "completed", 200) == (
        row["protocol"],
        row["route"],
        row["outcome"],
        row["http_status"],
    )
    kept = query(settings, "SELECT data FROM raw_body ORDER BY id")
    assert [body, b'{"reply": "Hello"}'] == [row["data"] for row in kept]


UNKNOWN = {
    "no model": b'{"messages": [{"role": "user", "content": "hi"}]}',
    "as Responses": b'{"model": "m", "input": [{"role": "user", "content": "hi"}], "tools": []}',
    "as Gemini": b'{"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}',
    "as gzip": gzip.compress(CHAT),
    "as deflate": zlib.compress(CHAT),
}


@pytest.mark.parametrize("how", UNKNOWN)
def test_chats_of_other_shapes_are_kept_as_they_came(how: str, settings: Settings) -> None:
    body, target = UNKNOWN[how], "/v1beta/models/g:generateContent?key=AIza"
    packed = [("content-encoding", how.removeprefix("as "))] if how in ("as gzip", "as deflate") else []
    with running(whole(b'{"reply": "Hello"}')) as up:
        settings = settings.model_copy(update={"upstream": up.url})
        with serving(ToolLogProxy(settings=settings)) as url:
            asked = request_bytes(target=target, body=body, headers=[*JSON_TYPE, *packed])
            assert b'{"reply": "Hello"}' == talk(url, asked).body
        assert (target.encode(), body) == (up.requests[0].target, up.requests[0].body)
    assert [("unknown", "completed", "/v1beta/models/g:generateContent")] == [
        (row["protocol"], row["outcome"], row["route"]) for row in stored(settings)
    ]
    assert body == query(settings, "SELECT data FROM raw_body ORDER BY id")[0]["data"]


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("/v1/embeddings", b'{"model": "m", "input": "text", "messages": []}'),
        ("/v1/messages/count_tokens", b'{"model": "m", "messages": []}'),
        ("/tokenize", b'{"content": "text"}'),
        ("/completion", b'{"prompt": "text"}'),
        ("/api/chat", b'{"message": "hi", "messages": []}'),
        ("/api/chat", b'{"messages": [{"role": "user", "content": "hi"}]}'),
        ("/v1/audio/speech", b'{"model": "m", "input": "hi", "voice": "v"}'),
        ("/v1beta/models/g:countTokens", b'{"contents": [{"parts": [{"text": "hi"}]}]}'),
        ("/import", b'{"chats": [' + CHAT + b"]}"),
        ("/mails", b'{"messages": [{"to": "ann@example.org", "text": "hi"}]}'),
        ("/files", b'{"path": "notes.txt", "contents": "hi"}'),
        ("/upload", b"\0\1\2" * 1000),
        ("/nothing", b""),
    ],
)
def test_what_is_no_chat_passes_and_leaves_no_row(target: str, body: bytes, settings: Settings) -> None:
    with running(whole(b'{"tokens": []}')) as up:
        settings = settings.model_copy(update={"upstream": up.url})
        with serving(ToolLogProxy(settings=settings)) as url:
            assert b'{"tokens": []}' == talk(url, ask(target, body)).body
            # The chat after it shows that capture goes on.
            assert talk(url, ask("/v1/chat/completions", CHAT)).is_whole
        assert [target.encode(), b"/v1/chat/completions"] == [request.target for request in up.requests]
    assert ["openai_chat"] == [row["protocol"] for row in stored(settings)]


def test_a_body_that_is_not_of_the_protocol_of_its_route_is_unknown(settings: Settings) -> None:
    with running(whole(b'{"reply": "Hello"}')) as up:
        settings = settings.model_copy(update={"upstream": up.url})
        with serving(ToolLogProxy(settings=settings)) as url:
            body = {"text": "hi", "model": "m", "messages": "two"}
            assert talk(url, ask("/api/chat", json.dumps(body).encode())).is_whole
    assert ["unknown"] == [row["protocol"] for row in stored(settings)]


def test_the_conversation_in_the_path_is_taken_off_before_the_server_sees_it(settings: Settings) -> None:
    with running(stream(EVENTS)) as up:
        settings = settings.model_copy(update={"upstream": up.url})
        with serving(ToolLogProxy(settings=settings)) as url:
            for target in ("/s/mine/v1/chat/completions?trace=1", "/s/mine/v1/models", "/s/mine/other"):
                talk(url, ask(target, CHAT))
        assert [b"/v1/chat/completions?trace=1", b"/v1/models", b"/s/mine/other"] == [
            request.target for request in up.requests
        ]
    assert [("mine", "path")] == [
        (row["external_id"], row["source"])
        for row in query(settings, "SELECT external_id, source FROM conversation WHERE external_id IS NOT NULL")
    ]
