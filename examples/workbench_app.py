"""The example Workbench: a chat route whose server calls the tools itself.

    WORKBENCH_MODEL_URL=http://127.0.0.1:11435 uvicorn examples.workbench_app:app

One question of a client becomes several requests to the model: the model asks for a tool, the Workbench runs
it and asks again, until the model answers in words. Two lines make all of it visible to ``toollog``; look for
``tarx_toollog`` below. The rest is an ordinary FastAPI app.
"""

import asyncio
import contextlib
import json
import os
import sqlite3
import uuid
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

from tarx_toollog import ToolLogMiddleware, ToolLogTransport

MODEL_URL = os.environ.get("WORKBENCH_MODEL_URL", "http://127.0.0.1:11435")
STORE = Path(os.environ.get("WORKBENCH_STORE", "workbench.db"))
TOOLS = json.loads((Path(__file__).parent / "local_model" / "tarx_tools.json").read_text(encoding="utf-8"))
MAX_STEPS = 6


# -- The tools ------------------------------------------------------------------------------------


def tarx_recall(db: sqlite3.Connection, query: str) -> dict[str, Any]:
    words = [word for word in query.lower().replace("_", " ").split() if len(word) > 2]
    facts = db.execute("SELECT key, value FROM facts ORDER BY rowid").fetchall()
    return {"facts": {key: value for key, value in facts if any(w in f"{key} {value}".lower() for w in words)}}


def tarx_remember(db: sqlite3.Connection, key: str, value: str) -> dict[str, Any]:
    db.execute("INSERT OR REPLACE INTO facts (key, value) VALUES (?, ?)", (key, value))
    return {"stored": True, "key": key}


def tarx_save_conversation(db: sqlite3.Connection, title: str, summary: str) -> dict[str, Any]:
    row = db.execute("INSERT INTO conversations (title, summary) VALUES (?, ?)", (title, summary))
    return {"saved": True, "id": f"conv-{row.lastrowid}"}


RUN = {tool.__name__: tool for tool in (tarx_recall, tarx_remember, tarx_save_conversation)}


def run_tool(name: str, arguments: str) -> str:
    """Run one tool call. Whatever the model got wrong becomes a result that it can read."""
    with contextlib.closing(sqlite3.connect(STORE)) as db, db:
        db.execute("CREATE TABLE IF NOT EXISTS facts (key TEXT PRIMARY KEY, value TEXT NOT NULL)")
        db.execute("CREATE TABLE IF NOT EXISTS conversations (id INTEGER PRIMARY KEY, title TEXT, summary TEXT)")
        try:
            result = RUN[name](db, **{key: str(value) for key, value in json.loads(arguments).items()})
        except KeyError:
            result = {"error": f"there is no tool {name!r}"}
        except (ValueError, TypeError, AttributeError) as error:
            result = {"error": f"bad arguments for {name}: {error}"}
    return json.dumps(result)


# -- The model ------------------------------------------------------------------------------------


class ModelError(Exception):
    """The model server refused; the client gets its answer as it came."""

    def __init__(self, status: int, body: bytes) -> None:
        super().__init__(f"model server answered {status}")
        self.status, self.body = status, body


async def ask(model: httpx.AsyncClient, payload: dict[str, Any]) -> dict[str, Any]:
    """Ask the model once; return its whole answer."""
    response = await model.post("/v1/chat/completions", json=payload)
    if response.status_code != 200:
        raise ModelError(response.status_code, response.content)
    answer: dict[str, Any] = response.json()
    return answer


async def ask_streaming(
    model: httpx.AsyncClient, payload: dict[str, Any], message: dict[str, Any]
) -> AsyncGenerator[dict[str, Any]]:
    """Ask the model once; yield the chunks that the client may see and put the message together."""
    async with model.stream("POST", "/v1/chat/completions", json=payload) as response:
        if response.status_code != 200:
            raise ModelError(response.status_code, await response.aread())
        pending = b""
        async for piece in response.aiter_bytes():
            # Bytes split at line feeds only: text lines would also split at U+2028 inside a JSON string.
            *lines, pending = (pending + piece).split(b"\n")
            for line in lines:
                if not line.startswith(b"data: {"):
                    continue
                chunk = json.loads(line.removeprefix(b"data: "))
                for choice in chunk.get("choices", []):
                    gather(message, choice["delta"])
                if not message["tool_calls"]:
                    yield chunk


def gather(message: dict[str, Any], delta: dict[str, Any]) -> None:
    """Add one streamed fragment to the message."""
    message["content"] += delta.get("content") or ""
    for part in delta.get("tool_calls") or []:
        while len(message["tool_calls"]) <= part["index"]:
            message["tool_calls"].append({"id": "", "type": "function", "function": {"name": "", "arguments": ""}})
        call, function = message["tool_calls"][part["index"]], part.get("function", {})
        call["id"] = part.get("id") or call["id"]
        call["function"]["name"] += function.get("name") or ""
        call["function"]["arguments"] += function.get("arguments") or ""


async def tool_loop(model: httpx.AsyncClient, payload: dict[str, Any]) -> AsyncGenerator[dict[str, Any]]:
    """Go back and forth between the model and the tools; yield what the client may see."""
    messages = list(payload.get("messages", []))
    payload = {"temperature": 0, **payload, "tools": TOOLS, "messages": messages}
    answer_id = f"chatcmpl-{uuid.uuid4().hex}"  # one id for the client, however many steps it takes
    for step in range(MAX_STEPS):
        if step == MAX_STEPS - 1:
            payload["tool_choice"] = "none"  # the last step has to end in words
        if payload.get("stream"):
            message: dict[str, Any] = {"role": "assistant", "content": "", "tool_calls": []}
            async with contextlib.aclosing(ask_streaming(model, payload, message)) as chunks:
                async for chunk in chunks:
                    if step > 0:  # the client has been told the role
                        for choice in chunk.get("choices", []):
                            choice["delta"].pop("role", None)
                    yield {**chunk, "id": answer_id}
        else:
            answer = await ask(model, payload)
            message = answer["choices"][0]["message"]
        if not message.get("tool_calls"):
            break
        messages.append(message)
        for call in message["tool_calls"]:
            function = call["function"]
            result = await asyncio.to_thread(run_tool, function["name"], function["arguments"])
            messages.append({"role": "tool", "tool_call_id": call["id"], "content": result})
    if not payload.get("stream"):
        yield {**answer, "id": answer_id}


# -- The app --------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    # llama.cpp closes a connection after a streamed answer without announcing it, so none is used twice.
    wire = httpx.AsyncHTTPTransport(limits=httpx.Limits(max_keepalive_connections=0))
    # First line for toollog: the requests from here to the model.
    transport = ToolLogTransport(wire)
    async with httpx.AsyncClient(transport=transport, base_url=MODEL_URL, timeout=600) as app.state.model:
        yield


app = FastAPI(title="Example Workbench", lifespan=lifespan)
# Second line for toollog: the requests from the clients to here.
app.add_middleware(ToolLogMiddleware)


@app.post("/v1/chat/completions")
async def chat(payload: dict[str, Any], request: Request) -> Response:
    answers = tool_loop(request.app.state.model, payload)
    try:
        first = await anext(answers)  # an error of the model server is known before the answer begins
    except ModelError as error:
        return Response(error.body, error.status, media_type="application/json")
    except httpx.TransportError as error:
        return JSONResponse(error_body(error), 502)
    if not payload.get("stream"):
        return JSONResponse(first)
    return StreamingResponse(server_sent_events(first, answers), media_type="text/event-stream")


async def server_sent_events(first: dict[str, Any], answers: AsyncGenerator[dict[str, Any]]) -> AsyncIterator[str]:
    async with contextlib.aclosing(answers):
        yield f"data: {json.dumps(first)}\n\n"
        try:
            async for chunk in answers:
                yield f"data: {json.dumps(chunk)}\n\n"
        except (ModelError, httpx.TransportError) as error:
            yield f"data: {json.dumps(error_body(error))}\n\n"
        else:
            yield "data: [DONE]\n\n"


def error_body(error: Exception) -> dict[str, Any]:
    return {"error": {"message": f"the model at {MODEL_URL} failed: {error}", "type": "model_error", "code": 502}}
