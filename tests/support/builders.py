"""Exchanges for tests, built from bytes through the real decoder."""

import json
from typing import Any

from tarx_toollog.ids import uuid7
from tarx_toollog.model import Exchange
from tarx_toollog.wire.decode import decode
from tarx_toollog.wire.raw import Begin, Chunk, End, RawExchange, ResponseStart

START_NS = 1_790_000_000_000_000_000

RECALL = {
    "type": "function",
    "function": {
        "name": "tarx_recall",
        "description": "Look up a stored fact.",
        "parameters": {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]},
    },
}
REMEMBER = {
    "type": "function",
    "function": {
        "name": "tarx_remember",
        "description": "Store a fact.",
        "parameters": {
            "type": "object",
            "properties": {"key": {"type": "string"}, "value": {"type": "string"}},
            "required": ["key", "value"],
        },
    },
}
TOOLS = [RECALL, REMEMBER]


def call(name: str, arguments: Any, call_id: str | None = None) -> dict[str, Any]:
    """Return a tool call as it stands in a message."""
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    made: dict[str, Any] = {"type": "function", "function": {"name": name, "arguments": text}}
    if call_id is not None:
        made["id"] = call_id
    return made


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def system(text: str) -> dict[str, Any]:
    return {"role": "system", "content": text}


def assistant(text: str | None = None, *calls: dict[str, Any]) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": text}
    if calls:
        message["tool_calls"] = list(calls)
    return message


def result(call_id: str | None, value: Any, **keys: Any) -> dict[str, Any]:
    text = value if isinstance(value, str) else json.dumps(value)
    message = {"role": "tool", "content": text, **keys}
    if call_id is not None:
        message["tool_call_id"] = call_id
    return message


def raw_exchange(
    messages: list[dict[str, Any]],
    answer: dict[str, Any] | None,
    *,
    tools: list[dict[str, Any]] | None = None,
    at_s: float = 0.0,
    took_ms: float = 500.0,
    finish_reason: str | None = None,
    params: dict[str, Any] | None = None,
    end: bool = True,
    status: int = 200,
    body: dict[str, Any] | None = None,
    **begin: Any,
) -> RawExchange:
    """Return the bytes of one exchange; ``answer=None`` with ``end=False`` is one that still runs."""
    request: dict[str, Any] = {"model": "m", **(params or {}), "messages": messages}
    if tools is not None:
        request["tools"] = tools
    if body is None and answer is not None:
        reason = finish_reason or ("tool_calls" if answer.get("tool_calls") else "stop")
        body = {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "model": "m-q4",
            "choices": [{"index": 0, "finish_reason": reason, "message": answer}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 10},
        }
    took_ns = int(took_ms * 1e6)
    settings = {"leg": "proxy", "client_key": "c1", **begin}
    return RawExchange(
        begin=Begin(
            uid=settings.pop("uid", None) or uuid7(),
            method="POST",
            path=settings.pop("path", "/v1/chat/completions"),
            started_ns=START_NS + int(at_s * 1e9),
            **settings,
        ),
        request_body=json.dumps(request).encode(),
        response=ResponseStart(status, (("content-type", "application/json"),), 0) if end else None,
        chunks=(Chunk(took_ns, json.dumps(body).encode()),) if end and body is not None else (),
        end=End(took_ns, final_seen=True) if end else None,
    )


def exchange(messages: list[dict[str, Any]], answer: dict[str, Any] | None, **options: Any) -> Exchange:
    """Return one decoded exchange; see ``raw_exchange``."""
    open_ended = options.pop("open_ended", False)
    return decode(raw_exchange(messages, answer, **options), open_ended=open_ended)
