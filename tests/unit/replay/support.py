"""Logged conversations to replay, and a model server whose answers a test controls."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tarx_toollog.ids import uuid7
from tarx_toollog.store.filters import Filters
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.splits import SPLITS
from tarx_toollog.wire.decode import decode
from tarx_toollog.wire.raw import Begin, Chunk, End, RawExchange, ResponseStart

Json = dict[str, Any]
Calls = Sequence[tuple[str, Any]]
"""Name and arguments of the calls of one answer; arguments that are text go out as they are."""

EVERY_SPLIT = Filters(splits=frozenset(SPLITS))
"""Chance decides what a test's conversations are kept for; tests of other things take them all."""


def tool(name: str, properties: Json, required: Sequence[str] = ()) -> Json:
    parameters = {"type": "object", "properties": properties, "required": list(required)}
    return {"type": "function", "function": {"name": name, "description": name, "parameters": parameters}}


TOOLS = [
    tool("recall", {"query": {"type": "string"}, "limit": {"type": "integer", "default": 5}}, ["query"]),
    tool("remember", {"text": {"type": "string"}, "kind": {"type": "string", "enum": ["fact", "wish"]}}, ["text"]),
    tool("save", {"title": {"type": "string"}, "tags": {"type": "array", "items": {"type": "string"}}}, ["title"]),
]
PARAMS = {"model": "base", "temperature": 0.8, "max_tokens": 64, "stream": False}


def calling(*calls: tuple[str, Any]) -> Json:
    """Return an assistant message with calls."""
    entries = [
        {
            "id": f"call_{uuid7()}",
            "type": "function",
            "function": {"name": name, "arguments": args if isinstance(args, str) else json.dumps(args)},
        }
        for name, args in calls
    ]
    return {"role": "assistant", "content": "", "tool_calls": entries}


def saying(text: str) -> Json:
    """Return an assistant message with text."""
    return {"role": "assistant", "content": text}


def completion(message: Json, finish_reason: str | None = None) -> Json:
    """Return the body of an answer."""
    reason = finish_reason or ("tool_calls" if message.get("tool_calls") else "stop")
    choice = {"index": 0, "message": message, "finish_reason": reason}
    return {"id": "c", "object": "chat.completion", "model": "base", "choices": [choice]}


@dataclass
class Chat:
    """One logged conversation, written exchange by exchange as a proxy would have seen it."""

    log: ToolLog
    key: str
    params: Json = field(default_factory=lambda: dict(PARAMS))
    tools: list[Json] = field(default_factory=lambda: list(TOOLS))
    history: list[Json] = field(default_factory=list)

    def turn(self, user: str, *answers: Json, status: int = 200, result: str = "ok") -> None:
        """Log one turn: the user's text, and the model's answers in order; calls get ``result``."""
        self.history.append({"role": "user", "content": user})
        for answer in answers:
            self._exchange(
                completion(answer) if status == 200 else {"error": {"message": "no", "code": status}}, status
            )
            self.history.append(answer)
            for call in answer.get("tool_calls", ()):
                self.history.append({"role": "tool", "tool_call_id": call["id"], "content": result})

    def _exchange(self, answer: Json, status: int) -> None:
        request = {**self.params, "messages": self.history}
        if self.tools:
            request["tools"] = self.tools
        body, data = json.dumps(request).encode(), json.dumps(answer).encode()
        raw = RawExchange(
            Begin(uuid7(), "proxy", "POST", "/v1/chat/completions", time.time_ns(), conversation_hint=self.key,
                  hint_source="header", body_size=len(body)),
            body,
            ResponseStart(status, (("content-type", "application/json"),)),
            (Chunk(1, data),),
            End(2, final_seen=True, body_size=len(data)),
        )  # fmt: skip
        self.log.write([decode(raw)])


Handler = Callable[[Json], Response | Json]


@dataclass
class FakeModel:
    """A running server; ``handler`` gets each request body and returns a message or a whole response."""

    url: str
    requests: list[Json] = field(default_factory=list)
    loading: int = 0
    """How often the list of models is still refused, because the model is loading."""
    adapters: list[Json] = field(default_factory=list)
    props: Json = field(default_factory=lambda: {"model_path": "a.gguf", "chat_template": "{{ x }}"})


@contextlib.contextmanager
def fake_model(handler: Handler) -> Iterator[FakeModel]:
    model = FakeModel("")

    def chat(body: Json) -> Response:
        model.requests.append(body)
        answer = handler(body)
        return answer if isinstance(answer, Response) else JSONResponse(completion(answer))

    async def on_chat(request: Request) -> Response:
        from starlette.concurrency import run_in_threadpool

        return await run_in_threadpool(chat, await request.json())

    async def on_models(_: Request) -> Response:
        if model.loading:
            model.loading -= 1
            return JSONResponse({"error": {"message": "Loading model", "code": 503}}, 503)
        return JSONResponse({"data": [{"id": "fake", "meta": {"ftype": "Q4_K - Medium"}}]})

    async def on_props(_: Request) -> Response:
        return JSONResponse(model.props)

    async def on_adapters(_: Request) -> Response:
        return JSONResponse(model.adapters)

    app = Starlette(
        routes=[
            Route("/v1/chat/completions", on_chat, methods=["POST"]),
            Route("/v1/models", on_models),
            Route("/props", on_props),
            Route("/lora-adapters", on_adapters),
        ]
    )
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.005)
        model.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        yield model
    finally:
        server.should_exit = True
        thread.join()


def last_user(body: Mapping[str, Any]) -> str:
    """Return what the user said last."""
    return str([message for message in body["messages"] if message["role"] == "user"][-1]["content"])


def results_since(body: Mapping[str, Any]) -> int:
    """Return how many tool results came after it: the depth in the chain."""
    count = 0
    for message in body["messages"]:
        count = 0 if message["role"] == "user" else count + (message["role"] == "tool")
    return count
