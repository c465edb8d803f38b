"""Which bodies on a route that no protocol claims are kept: the look that decides, and what it costs."""

import gzip
import json
import timeit
import zlib
from typing import Any

import pytest

from tarx_toollog.wire.protocols import looks_like_chat, may_be_chat

HI = {"role": "user", "content": "hi"}
GEMINI = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]}
CHAT = {"model": "m", "messages": [HI]}
TALK = "/v2/talk"


def packed(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)  # no clock in the names of the tests: two processes must give the same


def body(value: Any) -> bytes:
    return json.dumps(value).encode()


@pytest.mark.parametrize(
    "value",
    [
        CHAT,
        {"messages": [HI]},
        {"model": "m", "messages": []},
        {"model": "m", "messages": "two"},
        {"model": "m", "input": "hi"},
        {"model": "m", "input": [HI], "tools": []},
        {"input": [HI], "tools": [], "model": "m"},
        GEMINI,
        {"systemInstruction": {"parts": [{"text": "Be brief."}]}, **GEMINI},
        {"contents": {"role": "user", "parts": {"text": "hi"}}},
        {"tools": [{"name": "x", "description": 'say "}" or \\" or {[', "schema": {"messages": {}}}], **CHAT},
        {"system": "x" * 60_000, **CHAT},
    ],
    ids=lambda value: ",".join(value),
)
def test_a_chat_of_any_shape_is_one(value: dict[str, Any]) -> None:
    for data in (body(value), json.dumps(value, indent=2).encode(), b"\xef\xbb\xbf \r\n\t" + body(value)):
        assert looks_like_chat(TALK, data)
        assert looks_like_chat(TALK, packed(data), "gzip")
        assert looks_like_chat(TALK, packed(data[:9]) + packed(data[9:]), "X-GZIP")
        assert looks_like_chat(TALK, zlib.compress(data), "deflate")
        assert looks_like_chat(TALK, zlib.compress(data)[2:-4], "deflate")


def test_a_chat_behind_a_long_list_of_tools_is_one() -> None:
    tool = {"name": "x", "description": "d" * 300}
    assert looks_like_chat(TALK, body({"tools": [tool] * 300, **CHAT}))
    assert looks_like_chat(TALK, body({"system": "x" * 70_000, **CHAT}))
    assert not looks_like_chat(TALK, body({"saved": [CHAT] * 2000}))


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"model": "m", "prompt": "hi"},
        {"text": "how do I send messages to a model? with contents and input"},
        {"text": '{"model": "m", "messages": []}'},
        {"saved": CHAT},
        {"saved": [CHAT, CHAT]},
        {"conversations": [{"model": "m", "messages": [HI]}], "version": 2},
        {"messages": 3, "unread": True},
        {"messages": [{"to": "+49", "text": "Your order is on its way."}]},
        {"messages": "two"},
        {"path": "/notes.txt", "contents": "hi"},
        {"path": "/notes", "contents": [{"name": "a.txt"}]},
        {"input": "hi"},
        {"model": "m", "input": {"prompt": "hi"}},
        {"model": "m", "input": None},
        [CHAT],
        "messages",
    ],
    ids=lambda value: json.dumps(value)[:40],
)
def test_what_only_has_the_words_is_none(value: Any) -> None:
    assert not looks_like_chat(TALK, body(value))
    assert not looks_like_chat(TALK, packed(body(value)), "gzip")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"{",
        b"\0\1\2" * 1000,
        b'--boundary\r\ncontent-disposition: form-data; name="x"\r\n\r\n' + body(CHAT),
        b"data=" + body(CHAT),
    ],
)
def test_an_upload_that_is_no_json_object_is_none(data: bytes) -> None:
    assert not looks_like_chat(TALK, data)
    assert not looks_like_chat(TALK, packed(data), "gzip")


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        (packed(body(CHAT))[:20], "gzip"),
        (packed(body(CHAT)), "zstd"),
        (body(CHAT), "gzip"),
        (b"\x1f\x8b" + b"\xff" * 100, "gzip"),
        (b"", "gzip"),
    ],
)
def test_what_cannot_be_unpacked_is_none(data: bytes, encoding: str) -> None:
    assert not looks_like_chat(TALK, data, encoding)


@pytest.mark.parametrize("value", [{"messages": [HI]}, GEMINI, {"model": "m", "input": "hi"}])
def test_a_workbench_has_its_own_use_for_a_route_that_is_also_ollamas(value: dict[str, Any]) -> None:
    for path in ("/api/chat", "/s/mine/api/chat", "/api/chat/?x=1"):
        assert not looks_like_chat(path, body(value))
        assert looks_like_chat(path, body(CHAT))
        assert looks_like_chat(path, body({"messages": [HI], "model": "m"}))


@pytest.mark.parametrize(
    "path",
    [
        "/v1/audio/speech",
        "/v1/images/generations",
        "/v1/moderations",
        "/api/embed",
        "/embedding",
        "/v1/engines/m/embeddings",
        "/v1/reranking",
        "/classify",
        "/pooling",
        "/score",
        "/v1/audio/speech/?x=1",
    ],
)
def test_input_for_a_model_that_does_not_talk_is_no_chat(path: str) -> None:
    assert not (may_be_chat("POST", path) and looks_like_chat(path, body({"model": "m", "input": "hi"})))


@pytest.mark.parametrize("path", ["/v1beta/models/g:countTokens", "/v1/projects/p/models/g:computeTokens?key=k"])
def test_counting_tokens_is_none(path: str) -> None:
    assert not may_be_chat("POST", path)
    assert may_be_chat("POST", path.replace("count", "generate").replace("compute", "generate"))


def test_a_long_body_is_looked_at_where_it_begins() -> None:
    """The rest is searched for bytes: a chat must not be lost because its tools or its history are long."""
    tools = [{"name": f"tool_{number}", "description": "x" * 1000} for number in range(200)]
    history = [HI, {"role": "user", "content": "x" * 200_000}]

    assert looks_like_chat(TALK, body({"model": "m", "tools": tools, "messages": [HI]}))
    assert looks_like_chat(TALK, body({"messages": history}))
    for path in (TALK, "/api/chat"):
        assert looks_like_chat(path, body({"messages": history, "model": "m"}))
        assert looks_like_chat(path, packed(body({"messages": history, "model": "m"})), "gzip")
    assert not looks_like_chat("/api/chat", body({"messages": history}))
    assert not looks_like_chat(TALK, body({"conversations": [{"model": "m", "messages": history}] * 3}))
    assert not looks_like_chat(TALK, packed(body({"conversations": [CHAT] * 10_000})), "gzip")


MB = 2**20
COSTLY = {
    "random bytes": (b"\x89PNG" + bytes(range(256)) * 40_000, ""),
    "a bomb": (packed(b" " * 20 * MB), "gzip"),
    "a bomb in a bomb": (packed(packed(b"{" * 50 * MB)), "gzip, gzip"),
    "a bomb of brackets": (packed(b'{"a":' * MB), "gzip"),
    "keys without end": (b'{"model":' * MB, ""),
    "keys in quotes": (b'{"messages"' * MB, ""),
    "quotes": (b"{" + b'"' * 10 * MB, ""),
    "backslashes": (b'{"' + b"\\" * 10 * MB + b'"messages": [', ""),
    "blanks": (b'{"messages"' + b" " * 10 * MB, ""),
    "blanks after each key": ((b'"messages"' + b" " * 1000) * 10_000, ""),
    "blanks in front": (b" " * 10 * MB + b"{", ""),
    "documents": (body({"docs": [{"id": n, "text": "x" * 100} for n in range(50_000)], "messages": []}), ""),
}


@pytest.mark.parametrize("name", COSTLY)
def test_no_upload_holds_the_event_loop(name: str) -> None:
    data, encoding = COSTLY[name]
    took_s = min(timeit.repeat(lambda: looks_like_chat(TALK, data, encoding), number=1, repeat=5))
    assert took_s < 0.1  # 13 ms for the slowest of them where this was written
