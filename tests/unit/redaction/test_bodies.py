"""Raw bodies: JSON, streams whose values come in pieces, compressed bodies, and bytes that are nothing of that."""

import gzip
import json
import zlib
from typing import Any

import pytest

from tarx_toollog.redaction import Policy, Redactor
from tarx_toollog.wire.decode import decode
from tarx_toollog.wire.raw import Begin, Chunk, End, RawExchange, ResponseStart
from tests.support.builders import START_NS

# Put together here, so that scanners of code hosts do not take it for real.
SECRET = "sk-" + "proj-" + "a8B7c6D5e4F3g2H1i0J9k8L7"


@pytest.fixture
def redactor() -> Redactor:
    return Redactor(Policy.load("all"), bytes(32))


def event(**delta: Any) -> dict[str, Any]:
    return {"id": "c1", "object": "chat.completion.chunk", "choices": [{"index": 0, "delta": delta}]}


def sse(*events: Any) -> bytes:
    return b"".join(b"data: " + json.dumps(one).encode() + b"\n\n" for one in events) + b"data: [DONE]\n\n"


def assembled(body: bytes) -> Any:
    """Return what the real decoder makes of a streamed body."""
    raw = RawExchange(
        begin=Begin(uid="u", leg="proxy", method="POST", path="/v1/chat/completions", started_ns=START_NS),
        request_body=b'{"model": "m", "messages": []}',
        response=ResponseStart(200, (("content-type", "text/event-stream"),), 0),
        chunks=(Chunk(1, body),),
        end=End(2, final_seen=True),
    )
    item = decode(raw)
    assert item.response is not None
    (answer,) = item.response.choices
    return answer.message.text, [call.arguments for call in answer.message.tool_calls]


def test_a_body_without_a_value_is_the_same_object(redactor: Redactor) -> None:
    for body in (
        b"",
        b"{}",
        b'{"a": "b"}',
        sse(event(content="Hello"), event(content=" world")),
        b"\xff\xfe\x00",
        b"x" * 99,
    ):
        assert redactor.body(body) is body


def test_json_stays_json_and_keeps_everything_else(redactor: Redactor) -> None:
    body = ('{ "messages":[{"content":"é ' + SECRET + '"}],  "n": 1e3}').encode()

    new = redactor.body(body)

    assert body.replace(SECRET.encode(), redactor.text(SECRET)[0].encode()) == new


def test_a_value_in_pieces_of_a_stream_is_found(redactor: Redactor) -> None:
    pieces = ["Your key is s", "k-pro", SECRET[6:20], SECRET[20:], ", keep it."]
    body = sse(event(role="assistant", content=""), *(event(content=piece) for piece in pieces))

    new = redactor.body(body)

    assert (f"Your key is {redactor.text(SECRET)[0]}, keep it.", []) == assembled(new)
    assert body.count(b"data:") == new.count(b"data:")
    assert all(json.loads(line[6:]) for line in new.split(b"\n") if line.startswith(b"data: {"))


def test_arguments_in_pieces_stay_with_their_calls(redactor: Redactor) -> None:
    def fragment(index: int, text: str, **more: Any) -> dict[str, Any]:
        return event(tool_calls=[{"index": index, "function": {"arguments": text}, **more}])

    first, second = json.dumps({"password": "hunter2"}), json.dumps({"query": "tea"})
    body = sse(
        event(tool_calls=[{"index": 0, "id": "a", "function": {"name": "f", "arguments": ""}}]),
        *(fragment(0, piece) for piece in (first[:8], first[8:17], first[17:])),
        event(tool_calls=[{"index": 1, "id": "b", "function": {"name": "g", "arguments": ""}}]),
        *(fragment(1, piece) for piece in (second[:5], second[5:])),
    )

    _, arguments = assembled(redactor.body(body))

    assert [redactor.text(first)[0], second] == arguments


def test_a_stream_of_json_lines_is_read_like_one_of_events(redactor: Redactor) -> None:
    lines = [{"message": {"role": "assistant", "content": piece}} for piece in ("key ", SECRET[:9], SECRET[9:])]
    body = "\n".join(json.dumps(line) for line in lines).encode()

    new = [json.loads(line)["message"]["content"] for line in redactor.body(body).split(b"\n")]

    assert [f"key {redactor.text(SECRET)[0]}", "", ""] == new


def test_of_keys_that_are_given_twice_in_an_event_the_last_is_joined_as_it_is_decoded(redactor: Redactor) -> None:
    twice = [f'{{"content": {{"a": 1}}, "content": "old", "content": "{piece}"}}' for piece in (SECRET[:9], SECRET[9:])]
    body = "".join(f"data: {event}\n\n" for event in twice).encode()

    new = redactor.body(body).decode()

    events = [json.loads(line[6:]) for line in new.split("\n\n") if line]
    assert [{"content": redactor.text(SECRET)[0]}, {"content": ""}] == events
    assert 2 == new.count('"content": "old"')


def test_a_compressed_body_is_looked_into(redactor: Redactor) -> None:
    clean, dirty = gzip.compress(b'{"a": 1}'), gzip.compress(f'{{"a": "{SECRET}"}}'.encode())

    assert redactor.body(clean) is clean
    assert {"a": redactor.text(SECRET)[0]} == json.loads(redactor.body(dirty))
    assert b"\x1f\x8bgarbage" == redactor.body(b"\x1f\x8bgarbage")


@pytest.mark.parametrize("member", [0, 1])
def test_every_member_of_a_compressed_body_is_looked_into(redactor: Redactor, member: int) -> None:
    parts = [b'{"a": "x"}\n', b'{"b": "y"}\n']
    parts[member] = f'{{"key": "{SECRET}"}}\n'.encode()
    body = b"".join(map(gzip.compress, parts))

    new, found = redactor.body_found(body)

    assert ["openai_key"] == [one.rule for one in found]
    assert b"".join(parts).replace(SECRET.encode(), redactor.text(SECRET)[0].encode()) == new


def test_a_body_that_is_compressed_twice_or_with_deflate_is_looked_into(redactor: Redactor) -> None:
    text = f'{{"a": "{SECRET}"}}'.encode()

    for body in (gzip.compress(gzip.compress(text)), zlib.compress(text)):
        assert text.replace(SECRET.encode(), redactor.text(SECRET)[0].encode()) == redactor.body(body)


def test_what_follows_a_compressed_body_is_looked_into(redactor: Redactor) -> None:
    packed = gzip.compress(b'{"a": "x"}')

    assert packed + b"\0\0 and more" == redactor.body(packed + b"\0\0 and more")
    assert b'{"a": "x"}' == redactor.body(packed + f"\0\0 {SECRET}".encode())


def test_of_a_body_that_unpacks_to_too_much_only_what_was_looked_at_is_kept(redactor: Redactor) -> None:
    body = gzip.compress(b"0" * 2**20 + SECRET.encode())

    new = redactor.body(body)

    assert new != body
    assert b"0" * len(new) == new


def test_bytes_that_are_no_text_are_carried_along(redactor: Redactor) -> None:
    body = b"\xff\xfe key " + SECRET.encode() + b" \x80"

    assert b"\xff\xfe key " + redactor.text(SECRET)[0].encode() + b" \x80" == redactor.body(body)


def test_redacting_a_body_twice_changes_nothing(redactor: Redactor) -> None:
    body = sse(event(content="DB_PASS"), event(content="WORD=hunter2 "), event(content=SECRET))

    once = redactor.body(body)

    assert redactor.body(once) is once
