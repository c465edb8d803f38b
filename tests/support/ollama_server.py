"""A small server that speaks Ollama's documented API, with answers from a script. It holds no model.

Routes and shapes are those of Ollama's API reference: ``/api/chat`` (whole, and as lines of JSON), ``/api/show``,
``/api/ps``, ``/api/tags`` and ``/api/version``. Real Ollama needs a model of gigabytes; what matters here is the wire,
and the client that drives it is the real one.
"""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tests.support.workers import serving

MODEL = "tarx:1b"
DIGEST = "sha256:" + "0" * 64
DETAILS = {
    "parent_model": "",
    "format": "gguf",
    "family": "llama",
    "families": ["llama"],
    "parameter_size": "134.52M",
    "quantization_level": "Q4_1",
}
CREATED_AT = "2026-11-22T18:00:00.000000Z"
COUNTS = {
    "total_duration": 900_000_000,
    "load_duration": 50_000_000,
    "prompt_eval_count": 120,
    "prompt_eval_duration": 200_000_000,
    "eval_count": 9,
    "eval_duration": 450_000_000,
}
Call = tuple[str, dict[str, Any]]


@dataclass(frozen=True)
class Answer:
    """What the server says to one chat."""

    text: str = ""
    calls: tuple[Call, ...] = ()
    """Names and arguments."""
    thinking: str = ""
    done_reason: str = "stop"
    ids: bool = False
    """Calls have ids and indexes, as newer servers give them."""
    error: str | None = None
    """Streamed: the line that comes in place of the end."""
    dies: bool = False
    """Streamed: the connection breaks in place of the end."""


@dataclass
class OllamaServer:
    """The application: its script, and what it was asked."""

    answers: list[Answer]
    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    """Bodies of the chats, in order."""
    paths: list[str] = field(default_factory=list)
    """All paths, in order."""

    def app(self) -> Starlette:
        """Return the application."""
        model = {"name": MODEL, "model": MODEL, "size": 91_000_000, "digest": DIGEST, "details": DETAILS}
        running = {**model, "expires_at": CREATED_AT, "size_vram": 0, "context_length": 4096}
        info = {"general.architecture": "llama", "llama.context_length": 8192}
        shown = {
            "modelfile": "FROM tarx",
            "parameters": "temperature 0",
            "template": "{{ .Prompt }}",
            "details": DETAILS,
            "model_info": info,
            "capabilities": ["completion", "tools"],
        }
        return Starlette(
            routes=[
                Route("/api/chat", self._chat, methods=["POST"]),
                Route("/api/show", self._say(shown), methods=["POST"]),
                Route("/api/ps", self._say({"models": [running]})),
                Route("/api/tags", self._say({"models": [{**model, "modified_at": CREATED_AT}]})),
                Route("/api/version", self._say({"version": "0.13.0"})),
            ]
        )

    def _say(self, body: dict[str, Any]) -> Any:
        async def handler(request: Request) -> Response:
            self.paths.append(request.url.path)
            return JSONResponse(body)

        return handler

    async def _chat(self, request: Request) -> Response:
        body = await request.json()
        self.paths.append(request.url.path)
        self.bodies.append(body)
        if body["model"] != MODEL:
            return JSONResponse({"error": f'model "{body["model"]}" not found, try pulling it first'}, 404)
        if not body.get("messages"):
            reason = "unload" if body.get("keep_alive") == 0 else "load"
            answer = Answer(done_reason=reason)
        else:
            answer = self.answers.pop(0)
        if body.get("stream") is False:
            return JSONResponse(_whole(answer))
        return StreamingResponse(_lines(answer), media_type="application/x-ndjson")


@contextmanager
def ollama(*answers: Answer) -> Iterator[OllamaServer]:
    """Run the server; each chat takes the next answer."""
    server = OllamaServer(list(answers))
    with serving(server.app()) as server.url:
        yield server


def _line(message: dict[str, Any], **more: Any) -> dict[str, Any]:
    head = {"model": MODEL, "created_at": CREATED_AT, "message": {"role": "assistant", "content": "", **message}}
    return {**head, "done": False, **more}


def _whole(answer: Answer) -> dict[str, Any]:
    message: dict[str, Any] = {"content": answer.text}
    if answer.thinking:
        message["thinking"] = answer.thinking
    if answer.calls:
        message["tool_calls"] = _calls(answer)
    return _last(answer, message)


def _last(answer: Answer, message: dict[str, Any]) -> dict[str, Any]:
    counts = COUNTS if answer.done_reason in ("stop", "length") else {}
    return _line(message, done=True, done_reason=answer.done_reason, **counts)


async def _lines(answer: Answer) -> AsyncIterator[bytes]:
    pieces: list[dict[str, Any]] = [{"thinking": piece} for piece in _pieces(answer.thinking)]
    pieces += [{"content": piece} for piece in _pieces(answer.text)]
    pieces += [{"tool_calls": [call]} for call in _calls(answer)]
    for piece in pieces:
        yield _as_bytes(_line(piece))
    if answer.dies:
        raise ConnectionError("the model is gone")
    if answer.error is not None:
        yield _as_bytes({"error": answer.error})
        return
    yield _as_bytes(_last(answer, {}))


def _calls(answer: Answer) -> list[dict[str, Any]]:
    calls = []
    for number, (name, arguments) in enumerate(answer.calls):
        function = {"name": name, "arguments": arguments}
        if answer.ids:
            calls.append({"id": f"call_{number:08x}", "function": {"index": number, **function}})
        else:
            calls.append({"function": function})
    return calls


def _pieces(text: str) -> list[str]:
    words = text.split(" ")
    return [word + " " for word in words[:-1]] + [word for word in words[-1:] if word]


def _as_bytes(line: dict[str, Any]) -> bytes:
    return json.dumps(line, separators=(",", ":")).encode() + b"\n"
