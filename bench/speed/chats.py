"""What is asked and what is answered: a request of 10.5 KB with eight tools, and events of about 270 bytes.

What a request wants of the model stands in the words of its user message, since not every proxy passes on anything
else: ``events=60 pause_ms=1``. Every event carries the moment at which it was made (CLOCK_MONOTONIC, one clock for all
processes of a machine), so the latency of each event is exact.
"""

import json
import re
import time
from typing import NamedTuple

PATH = "/v1/chat/completions"
MODEL = "bench"
_TOOLS = [
    {
        "type": "function",
        "function": {
            "name": f"tool_{i}",
            "description": "What this tool does, and when it is the right one. " * 19,
            "parameters": {
                "type": "object",
                "properties": {
                    "query": {"type": "string", "description": "What to look for, in a few words of plain text."},
                    "limit": {"type": "integer", "description": "How many results at most.", "default": 10},
                },
                "required": ["query"],
            },
        },
    }
    for i in range(8)
]
_EVENT = (
    b'data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1700000000,"model":"bench",'
    b'"choices":[{"index":0,"delta":{"content":"@%d@ some more words of an answer that goes on"},'
    b'"logprobs":null,"finish_reason":null}],"system_fingerprint":"fp_0123456789ab"}\n\n'
)
LAST = (
    b'data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1700000000,"model":"bench",'
    b'"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
)
ANSWER = json.dumps(
    {
        "id": "chatcmpl-bench",
        "object": "chat.completion",
        "created": 1700000000,
        "model": MODEL,
        "choices": [
            {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "An answer. " * 40}}
        ],
        "usage": {"prompt_tokens": 2500, "completion_tokens": 80, "total_tokens": 2580},
    }
).encode()
STAMP = re.compile(rb"@(\d+)@")
_WANTED = re.compile(rb"events=(\d+) pause_ms=(\d+)")


class Wanted(NamedTuple):
    """What the model is asked to do."""

    events: int
    pause_s: float


def request_body(*, events: int = 0, pause_ms: int = 0) -> bytes:
    """Return the body of a request; without events it asks for a JSON answer."""
    words = f"events={events} pause_ms={pause_ms}"
    body = {"model": MODEL, "messages": [{"role": "user", "content": words}], "tools": _TOOLS}
    return json.dumps({**body, "stream": True} if events else body).encode()


def wanted(body: bytes) -> Wanted:
    """Return what a request asks for."""
    found = _WANTED.search(body)
    return Wanted(int(found[1]), int(found[2]) / 1000) if found else Wanted(0, 0.0)


def event() -> bytes:
    """Return an event that was made now."""
    return _EVENT % time.monotonic_ns()
