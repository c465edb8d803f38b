"""How much disk a chain of calls takes: every request carries the whole history, the store keeps it once."""

import sqlite3
import tempfile
from pathlib import Path
from typing import Any

from tarx_toollog import Settings, ToolLog
from tarx_toollog.canonical import canonical_json, parse_json
from tarx_toollog.wire.decode import decode
from tests.support.builders import assistant, call, raw_exchange, result, system, user

RESULT_LENGTH = 660
"""Makes the chain of 100 calls 5.6 MB of traffic, the size of the one on which the peers were measured."""
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": f"tool_{i}",
            "description": f"Tool number {i}. " + "It does something useful with its arguments. " * 10,
            "parameters": {"type": "object", "properties": {"query": {"type": "string"}}, "required": ["query"]},
        },
    }
    for i in range(15)
]


def chain(length: int) -> dict[str, Any]:
    """Store one agent chain of ``length`` calls; return raw bytes sent, those that are sent only once (messages and
    tools as JSON), bytes on disk, and whether all requests rebuild.
    """
    history: list[dict[str, Any]] = [system("You are an agent."), user("Do the work.")]
    raws = []
    for i in range(length + 1):
        made = call(f"tool_{i % 15}", {"query": f"item {i}"}, f"call-{i:05}")
        answer = assistant("", made) if i < length else assistant("Done.")
        raws.append(raw_exchange(history, answer, tools=TOOLS, at_s=i * 3.0))
        text = f"Row {i}: " + "".join(chr(97 + (i * 7 + k * k) % 26) for k in range(RESULT_LENGTH))
        history = [*history, answer, result(f"call-{i:05}", {"text": text})]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.db"
        with ToolLog.open(settings=Settings(database=str(path)), read_only=False) as log:
            for raw in raws:
                log.write([decode(raw)])
            rebuilt = sum(_is_rebuilt(log, raw.begin.uid, raw.request_body) for raw in raws)
        size = _file_size(path)
    empty = _empty_store()
    unique = sum(map(_json_size, [*history, *TOOLS]))
    sent = sum(len(raw.request_body) + len(raw.response_body) for raw in raws)
    return {
        "raw_bytes": sent,
        "unique_bytes": unique,
        "disk_bytes": size,
        "empty_store_bytes": empty,
        "added_bytes": size - empty,
        "ratio": round((size - empty) / sent, 4),
        "rebuilt": f"{rebuilt} of {len(raws)}",
    }


def _json_size(value: dict[str, Any]) -> int:
    return len(canonical_json(value))


def _empty_store() -> int:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "t.db"
        ToolLog.open(settings=Settings(database=str(path)), read_only=False).close()
        return _file_size(path)


def _file_size(path: Path) -> int:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return path.stat().st_size


def _is_rebuilt(log: ToolLog, uid: str, body: bytes) -> bool:
    request = log.exchange(uid).request
    assert request is not None
    whole = dict(request.params) | {"messages": [dict(m.raw) for m in request.messages]}
    whole["tools"] = [dict(tool.raw) for tool in request.tools]
    return canonical_json(whole) == canonical_json(parse_json(body))


def measure() -> dict[str, Any]:
    """Return the figures for chains of 100 and 400 calls; ``ratio`` is what they add / raw traffic."""
    return {
        "baseline": "the raw bytes of the same requests and responses",
        "100 calls": chain(100),
        "400 calls": chain(400),
    }
