"""A small log made of real decoded exchanges: a client that chats with a model and answers its tool calls.

And the way to ask it: ``run`` and ``rows`` call ``toollog`` in this process.
"""

import json
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from click.testing import CliRunner, Result

from tarx_toollog.cli.main import cli
from tarx_toollog.config import Settings
from tarx_toollog.ids import uuid7
from tarx_toollog.model import Exchange
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.schema import conversation
from tarx_toollog.wire.decode import decode
from tarx_toollog.wire.raw import Begin, Chunk, End, RawExchange, ResponseStart

START_NS = 1_780_000_000_000_000_000  # 2026-05-28 20:26:40 UTC
SECOND_NS = 1_000_000_000
JSON_TYPE = (("content-type", "application/json"),)


def tool(name: str, **properties: str) -> dict[str, Any]:
    """Return a definition whose properties, all required, have the types given."""
    schema = {
        "type": "object",
        "properties": {key: {"type": kind} for key, kind in properties.items()},
        "required": list(properties),
    }
    return {"type": "function", "function": {"name": name, "description": f"{name}.", "parameters": schema}}


TOOLS = [tool("tarx_recall", query="string"), tool("tarx_remember", key="string", value="string")]


def call(name: str, arguments: str, call_id: str = "call_1") -> dict[str, Any]:
    """Return a tool call as it stands in an assistant message."""
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


class Chat:
    """A client: keeps the history, sends it with each request, and collects the exchanges."""

    def __init__(self, name: str, *, start_s: int = 0, tools: list[dict[str, Any]] | None = None) -> None:
        self.name = name
        self.messages: list[dict[str, Any]] = [{"role": "system", "content": "You are TARX."}]
        self.exchanges: list[Exchange] = []
        self.tools = TOOLS if tools is None else tools
        self.model = "qwen2.5-7b"
        self._now_ns = START_NS + start_s * SECOND_NS

    def user(self, text: str) -> "Chat":
        """Add what the user says."""
        self.messages.append({"role": "user", "content": text})
        return self

    def result(self, text: str, call_id: str = "call_1") -> "Chat":
        """Add what a tool returned."""
        self.messages.append({"role": "tool", "tool_call_id": call_id, "content": text})
        return self

    def answer(
        self,
        text: str | None = None,
        *calls: dict[str, Any],
        finish: str | None = None,
        cut: bool = False,
        **extra: Any,
    ) -> "Chat":
        """Send the history and get an answer; ``cut`` breaks the connection in the middle of it."""
        message: dict[str, Any] = {"role": "assistant", "content": text, **extra}
        if calls:
            message["tool_calls"] = list(calls)
        body = {"model": self.model, "messages": self.messages}
        if self.tools:
            body["tools"] = self.tools
        reply = {
            "id": f"chatcmpl-{uuid7()}",
            "object": "chat.completion",
            "model": self.model,
            "choices": [
                {"index": 0, "message": message, "finish_reason": finish or ("tool_calls" if calls else "stop")}
            ],
            "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
        }
        self.exchanges.append(self._exchange(body, json.dumps(reply).encode(), cut=cut))
        self.messages = [*self.messages, message]
        return self

    def _exchange(self, body: dict[str, Any], reply: bytes, *, cut: bool) -> Exchange:
        self._now_ns += SECOND_NS
        request = json.dumps(body).encode()
        begin = Begin(
            uuid7(now_ns=self._now_ns),
            "proxy",
            "POST",
            "/v1/chat/completions",
            self._now_ns,
            JSON_TYPE,
            conversation_hint=self.name,
            hint_source="header",
            body_size=len(request),
        )
        data = reply[: len(reply) // 2] if cut else reply
        end = End(40_000_000, final_seen=not cut, disconnected=cut, body_size=len(data))
        chunks = (Chunk(30_000_000, data),)
        return decode(RawExchange(begin, request, ResponseStart(200, JSON_TYPE, 20_000_000), chunks, end))


def good_chat(name: str = "good", *, start_s: int = 0) -> Chat:
    """Return a chat of two turns: recall, then remember, each answered."""
    chat = Chat(name, start_s=start_s)
    chat.user("What is my cat called?").answer(None, call("tarx_recall", '{"query": "cat"}'))
    chat.result('{"found": "Miez"}').answer("She is called Miez.")
    chat.user("She is three.").answer("", call("tarx_remember", '{"key": "cat age", "value": "3"}', "call_2"))
    return chat.result("saved", "call_2").answer("I will remember that.")


def bad_chat(name: str = "bad", *, start_s: int = 100) -> Chat:
    """Return a chat in which calls go wrong, one way after the other, and the model recovers."""
    chat = Chat(name, start_s=start_s)
    chat.user("Remember Rex.").answer(None, call("tarx_remember", '{"key": "dog"}', "c1"))
    chat.result("error: value is missing", "c1")
    chat.answer(None, call("tarx_remember", '{"key": "dog", "value": "Rex"}', "c2"))
    chat.result('{"ok": true}', "c2").answer("Done.")
    chat.user("And fly.").answer(None, call("tarx_fly", "{}", "c3")).result("error: no such tool", "c3")
    return chat.answer("I cannot fly.", cut=True)


def write_log(path: Path, *chats: Chat, split: str | None = "train") -> Settings:
    """Write the chats into a new database, in the order of time, and return its settings.

    Args:
        path: A file that does not exist.
        chats: Those to write.
        split: What all their conversations are kept for; None leaves that to chance, as in real life.
    """
    settings = Settings(database=str(path))
    exchanges = sorted((item for chat in chats for item in chat.exchanges), key=lambda item: item.started_ns)
    with ToolLog.open(settings=settings, read_only=False) as log:
        log.write(exchanges)
        if split is not None:
            keep_for(log, split)
    return settings


def keep_for(log: ToolLog, split: str, *conversations: str) -> None:
    """Keep conversations, all by default, for training, for development or for evaluation."""
    statement = sa.update(conversation).values(split=split)
    if conversations:
        statement = statement.where(conversation.c.uid.in_(conversations))
    with log.engine.begin() as connection:
        connection.execute(statement)


def run(*args: str) -> Result:
    """Run ``toollog`` with these arguments in this process."""
    return CliRunner().invoke(cli, list(args))


def rows(*args: str) -> list[dict[str, Any]]:
    """Return the rows of a list command."""
    result = run(*args, "--json")
    assert result.exit_code == 0, result.stderr
    found: list[dict[str, Any]] = json.loads(result.stdout)
    return found
