"""Chat completions in their older and rarer forms: each whole and streamed, read alike, and kept by the store."""

import json
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog.model import Exchange, ToolResult
from tarx_toollog.wire.decode import decode
from tarx_toollog.wire.fields import DecodeContext
from tarx_toollog.wire.openai_chat import OpenAIChat
from tarx_toollog.wire.raw import Begin, Chunk, End, RawExchange, ResponseStart
from tests.support.protocol_checks import check_body_rebuilt, check_exchange

PROTOCOL = OpenAIChat()
ARGUMENTS = '{"query": "city"}'
FUNCTION = {"name": "tarx_recall", "description": "Look up", "parameters": {"type": "object"}}
SQL = {"type": "custom", "custom": {"name": "run_sql", "description": "Run SQL", "format": {"type": "text"}}}


def raw_exchange(request: dict[str, Any], content_type: str, body: bytes) -> RawExchange:
    data = json.dumps({"model": "m", "messages": [{"role": "user", "content": "hi"}], **request}).encode()
    return RawExchange(
        Begin("uid-1", "proxy", "POST", "/v1/chat/completions", 0, body_size=len(data)),
        data,
        ResponseStart(200, (("content-type", content_type),)),
        (Chunk(1_000_000, body),),
        End(2_000_000, final_seen=True),
    )


def whole(choices: list[Any], **request: Any) -> RawExchange:
    return raw_exchange(request, "application/json", json.dumps({"id": "chatcmpl-1", "choices": choices}).encode())


def streamed(deltas: list[tuple[int, Any, str | None]], **request: Any) -> RawExchange:
    """Return a stream of (choice, delta, finish reason)."""
    events = [
        {"id": "chatcmpl-1", "choices": [{"index": index, "delta": delta, "finish_reason": reason}]}
        for index, delta, reason in deltas
    ]
    body = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
    return raw_exchange({"stream": True, **request}, "text/event-stream", body.encode())


def answers(exchange: Exchange) -> list[Any]:
    assert exchange.response is not None
    return [
        (
            choice.finish_reason,
            choice.message.raw,
            [(c.name, c.arguments, c.origin, c.id_state, c.complete, c.quirks) for c in choice.message.tool_calls],
        )
        for choice in exchange.response.choices
    ]


LEGACY_CALL = {"name": "tarx_recall", "arguments": ARGUMENTS}
CUSTOM_CALL = {"id": "call_a", "type": "custom", "custom": {"name": "run_sql", "input": "SELECT 1"}}
FORMS: dict[str, tuple[dict[str, Any], list[Any], list[Any], list[Any]]] = {
    "legacy function_call": (
        {"functions": [FUNCTION], "function_call": "auto"},
        [
            {
                "index": 0,
                "finish_reason": "function_call",
                "message": {"role": "assistant", "content": None, "function_call": LEGACY_CALL},
            }
        ],
        [
            (
                0,
                {"role": "assistant", "content": None, "function_call": {"name": "tarx_recall", "arguments": ""}},
                None,
            ),
            (0, {"function_call": {"arguments": '{"query": '}}, None),
            (0, {"function_call": {"arguments": '"city"}'}}, None),
            (0, {}, "function_call"),
        ],
        [
            (
                "tool_calls",
                {"role": "assistant", "content": None, "function_call": LEGACY_CALL},
                [("tarx_recall", ARGUMENTS, "legacy_function", "missing", True, ())],
            )
        ],
    ),
    "custom tool": (
        {"tools": [SQL]},
        [
            {
                "index": 0,
                "finish_reason": "tool_calls",
                "message": {"role": "assistant", "content": None, "tool_calls": [CUSTOM_CALL]},
            }
        ],
        [
            (0, {"role": "assistant", "content": None}, None),
            (
                0,
                {"tool_calls": [{"index": 0, "id": "call_a", "type": "custom", "custom": {"name": "run_sql"}}]},
                None,
            ),
            (0, {"tool_calls": [{"index": 0, "custom": {"input": "SELECT"}}]}, None),
            (0, {"tool_calls": [{"index": 0, "custom": {"input": " 1"}}]}, None),
            (0, {}, "tool_calls"),
        ],
        [
            (
                "tool_calls",
                {"role": "assistant", "content": None, "tool_calls": [CUSTOM_CALL]},
                [("run_sql", "SELECT 1", "custom", "ok", True, ())],
            )
        ],
    ),
    "refusal": (
        {},
        [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": None, "refusal": "I cannot."},
            }
        ],
        [
            (0, {"role": "assistant", "content": None, "refusal": ""}, None),
            (0, {"refusal": "I can"}, None),
            (0, {"refusal": "not."}, None),
            (0, {}, "stop"),
        ],
        [("stop", {"role": "assistant", "content": None, "refusal": "I cannot."}, [])],
    ),
    "several choices, interleaved": (
        {"n": 2},
        [
            {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "In Lisbon."}},
            {
                "index": 1,
                "finish_reason": "tool_calls",
                "message": {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [{"id": "call_a", "type": "function", "function": LEGACY_CALL}],
                },
            },
        ],
        [
            (1, {"role": "assistant", "content": None}, None),
            (0, {"role": "assistant", "content": "In "}, None),
            (
                1,
                {
                    "tool_calls": [
                        {
                            "index": 0,
                            "id": "call_a",
                            "type": "function",
                            "function": {"name": "tarx_recall", "arguments": '{"query": '},
                        }
                    ]
                },
                None,
            ),
            (0, {"content": "Lisbon."}, None),
            (1, {"tool_calls": [{"index": 0, "function": {"arguments": '"city"}'}}]}, None),
            (0, {}, "stop"),
            (1, {}, "tool_calls"),
        ],
        [
            ("stop", {"role": "assistant", "content": "In Lisbon."}, []),
            (
                "tool_calls",
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [{"id": "call_a", "type": "function", "function": LEGACY_CALL}],
                },
                [("tarx_recall", ARGUMENTS, "native", "ok", True, ())],
            ),
        ],
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_an_odd_form_reads_the_same_whole_and_streamed_and_passes_every_check(name: str, tmp_path: Path) -> None:
    request, choices, deltas, expected = FORMS[name]

    for kind, raw in (("whole", whole(choices, **request)), ("stream", streamed(deltas, **request))):
        (tmp_path / kind).mkdir()
        exchange = check_exchange(PROTOCOL, raw, tmp_path / kind)
        assert expected == answers(exchange)
        assert ("completed", ()) == (exchange.outcome.value, exchange.notes)


@pytest.mark.parametrize(("reason", "expected"), [("length", [True, False]), ("tool_calls", [True, True])])
def test_a_limit_cuts_the_last_of_several_free_texts(reason: str, expected: list[bool]) -> None:
    message = {"role": "assistant", "tool_calls": [CUSTOM_CALL, {**CUSTOM_CALL, "id": "call_b"}]}

    exchange = decode(whole([{"index": 0, "message": message, "finish_reason": reason}]))

    assert exchange.response is not None
    assert expected == [call.complete for call in exchange.response.choices[0].message.tool_calls]


HISTORY: list[dict[str, Any]] = [
    {"role": "developer", "content": "Be kind."},
    {"role": "user", "content": "Where do I live?", "name": "Ann"},
    {"role": "assistant", "content": None, "function_call": LEGACY_CALL},
    {"role": "function", "name": "tarx_recall", "content": "Lisbon"},
    {"role": "assistant", "content": None, "refusal": "I cannot.", "audio": {"id": "audio_1"}},
    {"role": "assistant", "content": None, "tool_calls": [CUSTOM_CALL]},
    {"role": "tool", "tool_call_id": "call_a", "content": [{"type": "text", "text": "1"}]},
    {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "…", "format": "wav"}}]},
]


@pytest.mark.parametrize("tools", [{"tools": [SQL]}, {"functions": [FUNCTION], "function_call": {"name": "f"}}, {}])
def test_a_history_of_odd_forms_is_rebuilt_exactly(tools: dict[str, Any], tmp_path: Path) -> None:
    more = {"modalities": ["text", "audio"], "audio": {"voice": "x"}, "logprobs": True, "top_logprobs": 2, **tools}
    body = {"model": "m", "messages": HISTORY, **more}

    check_body_rebuilt(PROTOCOL, body)
    check_exchange(PROTOCOL, whole([], messages=HISTORY, **more), tmp_path)
    request = PROTOCOL.decode_request(body, DecodeContext())
    assert ["developer", "user", "assistant", "function", "assistant", "assistant", "tool", "user"] == [
        message.role for message in request.messages
    ]
    assert [("tarx_recall", "legacy_function"), ("run_sql", "custom")] == [
        (call.name, call.origin) for message in request.messages for call in message.tool_calls
    ]
    assert [ToolResult(None, "Lisbon", "tarx_recall"), ToolResult("call_a", "1")] == [
        result for message in request.messages for result in message.tool_results
    ]


def test_audio_and_logprobs_of_a_whole_answer_stay_as_they_came(tmp_path: Path) -> None:
    audio = {"id": "audio_1", "data": "UklGRg==", "transcript": "Lisbon", "expires_at": 1}
    message: dict[str, Any] = {"role": "assistant", "content": None, "refusal": None, "audio": audio, "annotations": []}

    exchange = check_exchange(
        PROTOCOL,
        whole([{"index": 0, "message": message, "finish_reason": "stop", "logprobs": {"content": []}}]),
        tmp_path,
    )

    assert [("stop", message, [])] == answers(exchange)
    assert ("not_kept:logprobs",) == exchange.notes  # which makes the store keep the bytes of the answer


def test_what_a_stream_brings_beside_text_is_noted_and_harms_nothing() -> None:
    deltas = [
        (0, {"role": "assistant", "audio": {"id": "audio_1", "transcript": "Lis"}}, None),
        (0, {"content": "Lisbon", "audio": {"data": "UklGRg=="}}, None),
        (0, {}, "stop"),
    ]

    exchange = decode(streamed(deltas))

    assert [("stop", {"role": "assistant", "content": "Lisbon"}, [])] == answers(exchange)
    assert ("not_kept:audio",) == exchange.notes
