"""Recorded wire captures as ``RawExchange``, and their golden summaries.

``python -m tests.support.captures`` rewrites the golden files. Read each difference against the raw bytes
before you accept it: a golden that nobody read proves nothing.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from tarx_toollog.model import Choice, Exchange, Message, Request, Response, ToolResult
from tarx_toollog.wire.decode import decode
from tarx_toollog.wire.protocols import protocol_for
from tarx_toollog.wire.raw import Begin, Chunk, End, Headers, RawExchange, ResponseStart

CAPTURES = Path(__file__).parent.parent / "captures" / "llama-server-b11434"
STARTED_NS = 1_795_334_318_000_000_000
"""The evening on which the captures were made; the exact times are not in the raw files."""
CHUNK_NS = 10_000_000
"""Synthetic time between two HTTP chunks."""


class HttpMessage(NamedTuple):
    """A request or a response as it stands in a capture file, framing removed."""

    first_line: str
    headers: Headers
    body: list[bytes]
    """One entry per HTTP chunk."""


@cache
def index() -> dict[str, dict[str, Any]]:
    """Return the rows of ``index.json`` by name."""
    rows = json.loads((CAPTURES / "index.json").read_text("utf-8"))
    return {row["name"]: row for row in rows}


def captures_of(path: str) -> list[str]:
    """Return the names of all captures of one route, ``/v1/messages`` for example."""
    return [name for name, row in index().items() if row["path"] == path]


def chat_captures() -> list[str]:
    """Return the names of all captures of the chat route."""
    return captures_of("/v1/chat/completions")


def wire_captures() -> list[str]:
    """Return the names of all captures of routes that a wire protocol claims."""
    return [name for name, row in index().items() if protocol_for("POST", row["path"]) is not None]


def load_raw(name: str) -> RawExchange:
    """Return one capture as a tap would have seen it."""
    row = index()[name]
    request = parse_http((CAPTURES / f"{name}.request.http").read_bytes())
    response_bytes = (CAPTURES / f"{name}.response.raw").read_bytes()
    method, path, _ = request.first_line.split(" ")
    body = b"".join(request.body)
    begin = Begin(name, "proxy", method, path, STARTED_NS, request.headers, body_size=len(body))
    start, chunks = None, []
    if response_bytes:
        response = parse_http(response_bytes)
        start = ResponseStart(int(response.first_line.split(" ")[1]), response.headers, CHUNK_NS)
        chunks = [Chunk(CHUNK_NS * number, data) for number, data in enumerate(response.body, start=1)]
    end = End(
        offset_ns=CHUNK_NS * (len(chunks) + 1),
        final_seen=row["complete"],
        disconnected=row["client_aborted"],
        body_size=sum(len(chunk.data) for chunk in chunks),
    )
    return RawExchange(begin, body, start, tuple(chunks), end)


def parse_http(data: bytes) -> HttpMessage:
    """Parse one HTTP/1.1 message; a body that was cut off is returned as far as it came."""
    head, _, rest = data.partition(b"\r\n\r\n")
    first_line, *lines = head.decode("latin-1").split("\r\n")
    headers = tuple((key.lower(), value.strip()) for key, _, value in (line.partition(":") for line in lines))
    if ("transfer-encoding", "chunked") in headers:
        return HttpMessage(first_line, headers, list(_dechunk(rest)))
    return HttpMessage(first_line, headers, [rest] if rest else [])


def _dechunk(data: bytes) -> Iterator[bytes]:
    while data:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        if not length:
            return
        yield data[:length]
        data = data[length + 2 :]


def split_at(raw: RawExchange, cuts: Sequence[int]) -> RawExchange:
    """Return the exchange with its response body cut at other places; all chunks get the same time."""
    body = raw.response_body
    places = [0, *sorted(cut for cut in set(cuts) if 0 < cut < len(body)), len(body)]
    pieces = [body[start:stop] for start, stop in pairwise(places)]
    return with_chunks(raw, pieces)


def with_chunks(raw: RawExchange, pieces: Sequence[bytes]) -> RawExchange:
    """Return the exchange with another response body."""
    chunks = tuple(Chunk(CHUNK_NS, piece) for piece in pieces)
    return RawExchange(raw.begin, raw.request_body, raw.response, chunks, raw.end)


def summary(exchange: Exchange) -> dict[str, Any]:
    """Return what a golden file holds of an exchange: all that was decoded, except the times."""
    return {
        "protocol": exchange.protocol,
        "outcome": exchange.outcome.value,
        "http_status": exchange.http_status,
        "error_type": exchange.error_type,
        "error_text": exchange.error_text,
        "notes": list(exchange.notes),
        "request": None if exchange.request is None else _request_summary(exchange.request),
        "response": None if exchange.response is None else _response_summary(exchange.response),
    }


def _request_summary(request: Request) -> dict[str, Any]:
    found = {
        "model": request.model,
        "messages": [_message_summary(message) for message in request.messages],
        "tools": [tool.name for tool in request.tools],
        "tools_key": request.tools_key,
        "params": dict(request.params),
    }
    return found | ({"layout": list(request.layout)} if request.layout else {})


def _response_summary(response: Response) -> dict[str, Any]:
    return {
        "response_id": response.response_id,
        "model": response.model,
        "terminated": response.terminated,
        "error": response.error,
        "error_in_stream": response.error_in_stream,
        "usage": None if response.usage is None else asdict(response.usage),
        "prompt_ms": response.prompt_ms,
        "predicted_ms": response.predicted_ms,
        "extra_keys": sorted(response.extra),
        "choices": [_choice_summary(choice) for choice in response.choices],
    }


def _choice_summary(choice: Choice) -> dict[str, Any]:
    return {
        "index": choice.index,
        "finish_reason": choice.finish_reason,
        "finish_reason_raw": choice.finish_reason_raw,
        "raw_message": choice.message.raw,
        **_message_summary(choice.message),
    }


def _message_summary(message: Message) -> dict[str, Any]:
    text = message.text if len(message.text) <= 2000 else f"{message.text[:80]}… {len(message.text)} characters"
    found = {
        "role": message.role,
        "text": text,
        "reasoning": message.reasoning,
        "name": message.name,
        "tool_call_id": message.tool_call_id,
        "tool_calls": [
            {key: value for key, value in asdict(call).items() if key != "emitted_ms"} | {"quirks": list(call.quirks)}
            for call in message.tool_calls
        ],
    }
    # The result of a tool message is the message itself, which is there already.
    if message.tool_results != (ToolResult(message.tool_call_id, message.text, message.name),):
        found["tool_results"] = [asdict(result) for result in message.tool_results]
    return {key: value for key, value in found.items() if value not in (None, [])}


def golden_path(name: str) -> Path:
    """Return the file of a capture's golden summary."""
    return CAPTURES / f"{name}.expected.json"


def update_goldens() -> None:
    """Rewrite every golden file."""
    for name in wire_captures():
        text = json.dumps(summary(decode(load_raw(name))), ensure_ascii=False, indent=1)
        golden_path(name).write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    update_goldens()
