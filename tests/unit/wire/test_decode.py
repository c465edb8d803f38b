"""``decode``: how a body is recognised, what is noted, and that nothing is raised."""

import gzip
import json
from dataclasses import replace
from typing import Any, Literal

import pytest

from tarx_toollog.model import Outcome, Request, Response
from tarx_toollog.wire import protocols
from tarx_toollog.wire.decode import decode, is_model_route
from tarx_toollog.wire.fields import DecodeContext
from tarx_toollog.wire.raw import Begin, Chunk, End, Headers, RawExchange, ResponseStart

REQUEST = b'{"model": "m", "messages": [{"role": "user", "content": "Hello"}]}'
ANSWER = b'{"choices": [{"index": 0, "message": {"role": "assistant", "content": "Hey"}, "finish_reason": "stop"}]}'
STREAM = b'data: {"choices": [{"index": 0, "delta": {"content": "Hey"}, "finish_reason": "stop"}]}\n\ndata: [DONE]\n\n'
JSON_TYPE = (("content-type", "application/json"),)
SSE_TYPE = (("content-type", "text/event-stream"),)
BEGIN = Begin("uid-1", "middleware", "POST", "/v1/chat/completions", 1_000_000_000)
END = End(offset_ns=5_000_000, final_seen=True)


def exchange(
    *body: bytes, headers: Headers = JSON_TYPE, status: int = 200, request: bytes = REQUEST, **begin: Any
) -> RawExchange:
    chunks = tuple(Chunk(number * 1_000_000, piece) for number, piece in enumerate(body, start=1))
    return RawExchange(replace(BEGIN, **begin), request, ResponseStart(status, headers), chunks, END)


def text_of(raw: RawExchange) -> str | None:
    response = decode(raw).response
    return response.choices[0].message.text if response is not None and response.choices else None


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("POST", "/v1/chat/completions", True),
        ("POST", "/v1/chat/completions/", True),
        ("POST", "/s/conversation-7/v1/chat/completions?key=secret", True),
        ("GET", "/v1/chat/completions", False),
        ("OPTIONS", "/v1/chat/completions", False),
        ("POST", "/v1/embeddings", False),
        ("POST", "", False),
        ("POST", "/?/chat/completions", False),
    ],
)
def test_a_tap_can_ask_which_requests_are_for_a_model(method: str, path: str, expected: bool) -> None:
    assert expected == is_model_route(method, path)


def test_the_facts_of_the_tap_are_carried_over() -> None:
    raw = exchange(
        b"",
        ANSWER,
        path="/s/x/v1/chat/completions?key=secret",
        headers=JSON_TYPE,
        client_key="k",
        upstream="http://127.0.0.1:11435",
        conversation_hint="x",
        hint_source="path",
        outer_uid="outer",
        run_uid="run",
    )
    raw = replace(raw, begin=replace(raw.begin, headers=(("user-agent", "openai-python"),)))

    actual = decode(raw)

    assert (
        actual.uid,
        actual.leg,
        actual.protocol,
        actual.method,
        actual.route,
        actual.started_ns,
    ) == ("uid-1", "middleware", "openai_chat", "POST", "/s/x/v1/chat/completions", 1_000_000_000)
    assert (
        actual.client_key,
        actual.upstream,
        actual.conversation_hint,
        actual.hint_source,
        actual.outer_uid,
        actual.run_uid,
        actual.user_agent,
    ) == ("k", "http://127.0.0.1:11435", "x", "path", "outer", "run", "openai-python")
    assert (len(REQUEST), len(ANSWER), 200) == (actual.request_size, actual.response_size, actual.http_status)
    assert (
        actual.timing.first_byte_ms,
        actual.timing.first_tool_ms,
        actual.timing.total_ms,
    ) == (2.0, None, 5.0)


@pytest.mark.parametrize(
    ("headers", "body", "notes"),
    [
        (JSON_TYPE, ANSWER, ()),
        ((), ANSWER, ()),
        (SSE_TYPE, STREAM, ()),
        ((("content-type", "Text/Event-Stream; charset=utf-8"),), STREAM, ()),
        (SSE_TYPE, b": ping\n\n" + STREAM, ()),
        (SSE_TYPE, ANSWER, ("stream_is_json",)),
        (SSE_TYPE, b"\xef\xbb\xbf \n" + b" " * 100 + ANSWER, ("stream_is_json",)),
        (JSON_TYPE, STREAM, ("stream_unannounced:application/json",)),
        ((), b"\xef\xbb\xbf" + STREAM, ("stream_unannounced:",)),
        ((), b": ping\n\n" + STREAM, ("stream_unannounced:",)),
        ((("content-type", "text/plain"),), b"event: message\n" + STREAM, ("stream_unannounced:text/plain",)),
    ],
)
def test_a_stream_is_told_by_its_type_or_its_first_bytes(headers: Headers, body: bytes, notes: tuple[str, ...]) -> None:
    for pieces in ((body,), tuple(bytes((byte,)) for byte in body)):
        raw = exchange(*pieces, headers=headers)
        actual = decode(raw)
        assert text_of(raw) == "Hey"
        assert actual.outcome == Outcome.COMPLETED
        assert [True] * len(notes) == [
            found.startswith(note.rstrip(":")) for found, note in zip(actual.notes, notes, strict=True)
        ]


@pytest.mark.parametrize(("headers", "body"), [(JSON_TYPE, ANSWER), (SSE_TYPE, STREAM)])
def test_a_compressed_answer_is_read_with_the_times_of_its_chunks(headers: Headers, body: bytes) -> None:
    packed = gzip.compress(body)
    raw = exchange(packed[:7], packed[7:], headers=(*headers, ("content-encoding", "gzip")))

    assert text_of(raw) == "Hey"
    assert decode(raw).notes == ()
    assert len(packed) == decode(raw).response_size


def test_a_compressed_request_is_read() -> None:
    headers = (("content-encoding", "gzip"),)

    request = decode(exchange(ANSWER, request=gzip.compress(REQUEST), headers=JSON_TYPE)).request
    assert None is request

    raw = exchange(ANSWER, request=gzip.compress(REQUEST))
    request = decode(replace(raw, begin=replace(raw.begin, headers=headers))).request
    assert request is not None
    assert request.model == "m"


def test_an_encoding_that_cannot_be_read_is_noted() -> None:
    actual = decode(exchange(b"\x28\xb5\x2f\xfd", headers=(*JSON_TYPE, ("content-encoding", "zstd"))))

    assert actual.notes == ("response_content_encoding_unsupported:zstd",)
    assert (actual.response, actual.outcome) == (None, Outcome.COMPLETED)  # as far as its last byte tells


def test_a_request_that_is_no_model_call_is_unknown_and_judged_by_its_last_byte() -> None:
    raw = exchange(b"{}", path="/v1/embeddings")

    actual = decode(raw)

    assert (
        actual.protocol,
        actual.request,
        actual.response,
        actual.outcome,
    ) == ("unknown", None, None, Outcome.COMPLETED)
    assert decode(replace(raw, end=End(1))).outcome == Outcome.TRUNCATED


def test_a_begin_alone_is_open_or_interrupted() -> None:
    raw = RawExchange(BEGIN, REQUEST)

    assert decode(raw).outcome == Outcome.INTERRUPTED
    assert decode(raw, open_ended=True).outcome == Outcome.OPEN
    assert None is decode(raw).timing.total_ms


@pytest.mark.parametrize(
    ("status", "body", "error_type", "error_text"),
    [
        (
            400,
            b'{"error":{"code":400,"type":"exceed_context_size_error","message":"m"}}',
            "exceed_context_size_error",
            "m",
        ),
        (422, b'{"detail":[{"loc":["body"],"msg":"field required"},{"msg":"x"}]}', "http_422", "field required; x"),
        (422, b'{"detail":"Unexpected fields"}', "http_422", "Unexpected fields"),
        (500, b"Internal Server Error\n", "http_500", "Internal Server Error"),
        (502, b"", "http_502", None),
        (500, b'"text"', "http_500", "text"),
        (500, b'{"type":"x","message":"m"}', "http_500", "m"),
        (500, b'{"code":"c"}', "c", None),
        (500, b"\xff\xfe", "http_500", "\ufffd\ufffd"),
        (200, b'{"error":{"type":"t","message":"m"}}', "t", "m"),
    ],
)
def test_an_error_answer_tells_its_type_and_text(
    status: int, body: bytes, error_type: str, error_text: str | None
) -> None:
    actual = decode(exchange(body, status=status, request=b'{"stream": true}'))

    assert (Outcome.UPSTREAM_ERROR, error_type, error_text) == (actual.outcome, actual.error_type, actual.error_text)


@pytest.mark.parametrize(
    ("body", "note"),
    [
        (b"", "request_json_invalid:Expecting value"),
        (b'{"messages": [', "request_json_invalid:"),
        (b"[]", "request_not_object:list"),
        (b"[" * 100_000, "request_json_invalid:"),
        (b'{"n": ' + b"9" * 5000 + b"}", "request_json_invalid:"),
    ],
)
def test_a_request_that_cannot_be_read_is_noted_and_the_answer_is_read(body: bytes, note: str) -> None:
    actual = decode(exchange(ANSWER, request=body))

    assert None is actual.request
    assert [found.startswith(note) for found in actual.notes] == [True]
    assert text_of(exchange(ANSWER, request=body)) == "Hey"
    assert actual.outcome == Outcome.COMPLETED


def test_bytes_that_are_not_utf8_are_replaced_and_noted() -> None:
    for raw in (exchange(ANSWER.replace(b"Hey", b"H\xffy")), exchange(STREAM.replace(b"Hey", b"H\xffy"))):
        assert text_of(raw) == "H\ufffdy"
        assert "not_utf8" in decode(raw).notes


def test_values_beyond_ordinary_json_survive() -> None:
    request = decode(
        exchange(
            ANSWER,
            request=rb'{"messages": [{"role": "user", "content": "\ud83d"}], "seed": NaN, "n": 1e999, "big": %d}'
            % 2**70,
        )
    ).request

    assert request is not None
    assert request.messages[0].text == "\ud83d"
    assert ("nan", float("inf"), 2**70) == (str(request.params["seed"]), request.params["n"], request.params["big"])


@pytest.mark.parametrize("depths", [range(100, 1100, 50), range(890, 980, 2)])
def test_no_depth_of_nesting_raises(depths: range) -> None:
    """A few levels below the recursion limit reading works and writing does not, hence the small steps."""
    for depth in depths:
        assert faults_at(depth) == ()


def faults_at(depth: int) -> tuple[str, ...]:
    nested = b'{"a":' * depth + b"1" + b"}" * depth
    call = b'{"function": {"name": "f", "arguments": ' + nested + b"}}"
    message = b'{"role": "assistant", "content": ' + nested + b', "tool_calls": [' + call + b"]}"
    answer = b'{"choices": [{"message": ' + message + b"}]}"
    stream = b'data: {"choices": [{"delta": ' + message + b"}]}\n\ndata: [DONE]\n\n"

    bodies = (answer, stream, b'{"error": ' + nested + b"}", b'data: {"error": {"message": ' + nested + b"}}\n\n")
    exchanges = [decode(exchange(body, request=b'{"messages": [' + message + b"]}")) for body in bodies]
    return tuple(note for each in exchanges for note in each.notes if note.startswith("decode_error"))


def test_a_capped_body_is_noted() -> None:
    raw = exchange(ANSWER, body_size=10_000)

    actual = decode(replace(raw, end=replace(END, body_size=20_000)))

    assert actual.notes == ("request_capped:10000", "response_capped:20000")
    assert (actual.request_size, actual.response_size) == (10_000, 20_000)


class Broken:
    """A third party's protocol that fails wherever it is told to."""

    name = "broken"
    stream_format: Literal["sse"] = "sse"

    def __init__(self, fails_in: str) -> None:
        self.fails_in = fails_in

    def _fail(self, where: str) -> None:
        if where == self.fails_in:
            raise RuntimeError("bug")

    def matches(self, method: str, path: str) -> bool:
        self._fail("matches")
        return path.endswith("/broken")

    def accepts(self, body: dict[str, Any]) -> bool:
        self._fail("accepts")
        return True

    def decode_request(self, body: dict[str, Any], context: DecodeContext) -> Request:
        self._fail("decode_request")
        return Request("m", (), (), body)

    def request_body(self, request: Request) -> dict[str, Any]:
        self._fail("request_body")
        return dict(request.params)

    def decode_response(self, body: dict[str, Any], context: DecodeContext) -> Response:
        self._fail("decode_response")
        return Response(terminated=True)

    def stream(self, context: DecodeContext) -> "Broken":
        self._fail("stream")
        return self

    def receive_data(self, data: bytes, offset_ns: int) -> None:
        self._fail("receive_data")

    def close(self) -> Response:
        self._fail("close")
        return Response(terminated=True)


@pytest.mark.parametrize(
    ("fails_in", "note"),
    [
        ("matches", "decode_error:protocol:RuntimeError:bug"),
        ("decode_request", "decode_error:request:RuntimeError:bug"),
        ("accepts", "decode_error:protocol:RuntimeError:bug"),
        ("request_body", "decode_error:request_body:RuntimeError:bug"),
        ("decode_response", "decode_error:response:RuntimeError:bug"),
        ("stream", "decode_error:response:RuntimeError:bug"),
        ("receive_data", "decode_error:stream:RuntimeError:bug"),
        ("close", "decode_error:stream_end:RuntimeError:bug"),
        ("nowhere", None),
    ],
)
def test_a_fault_in_a_decoder_costs_only_its_own_part(
    fails_in: str, note: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocols, "WIRE_PROTOCOLS", [Broken(fails_in)])
    body, headers = (b"{}", JSON_TYPE) if fails_in == "decode_response" else (b"data: 1\n\n", SSE_TYPE)

    actual = decode(exchange(body, headers=headers, path="/broken", request=json.dumps({"a": 1}).encode()))

    assert (() if note is None else (note,)) == actual.notes
    assert (fails_in in ("matches", "decode_request")) == (actual.request is None)
    assert (fails_in in ("matches", "decode_response", "stream", "close")) == (actual.response is None)
