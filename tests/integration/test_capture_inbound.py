"""The httpx tap inside an inbound request: whose calls they are, and what is recorded once."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import StreamingResponse

from tarx_toollog import Settings, ToolLogMiddleware, ToolLogTransport
from tests.support.asgi import CHAT as PATH
from tests.support.asgi import outcomes, query, recording, stored
from tests.support.upstream import (
    DONE,
    Connection,
    chat_request,
    request_bytes,
    running,
    stream,
    talk,
    text_events,
    tool_events,
)
from tests.support.upstream import Request as Received
from tests.support.workers import serving

EVENTS = [*text_events(["Hello", " world"]), DONE]
CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    with recording(tmp_path) as made:
        yield made


def workbench(settings: Settings, upstream: str, *, route: str = PATH) -> FastAPI:
    """Return a Workbench that runs the tool loop itself: two calls of the model for one request."""
    client = httpx.AsyncClient(base_url=upstream, transport=ToolLogTransport(settings=settings))

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async with client:
            yield

    app = FastAPI(lifespan=lifespan)
    app.add_middleware(ToolLogMiddleware, settings=settings)

    @app.post(route)
    async def chat(request: Request) -> StreamingResponse:
        body = {**CHAT, **await request.json()}
        offered = {**body, "tools": [{"type": "function", "function": {"name": "tarx_recall"}}]}
        first = await client.post(PATH, json={**offered, "stream": True})
        assert "tarx_recall" in first.text
        call = {
            "id": "call_1",
            "type": "function",
            "function": {"name": "tarx_recall", "arguments": '{"query":"city"}'},
        }
        messages = [
            *body["messages"],
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "call_1", "content": "Lisbon"},
        ]

        async def pieces() -> Any:
            async with client.stream("POST", PATH, json={**offered, "messages": messages, "stream": True}) as answer:
                async for data in answer.aiter_raw():
                    yield data

        return StreamingResponse(pieces(), media_type="text/event-stream")

    @app.post("/s/{session}/v1/chat/completions")
    async def forward(request: Request) -> StreamingResponse:
        answer = await client.send(client.build_request("POST", PATH, content=await request.body()), stream=True)
        return StreamingResponse(answer.aiter_raw(), media_type=answer.headers["content-type"])

    return app


def two_steps(request: Received, connection: Connection) -> None:
    has_result = b'"tool"' in request.body
    stream(EVENTS if has_result else [*tool_events(), DONE])(request, connection)


def test_model_calls_belong_to_the_request_that_they_are_made_for(settings: Settings) -> None:
    with running(two_steps) as up, serving(workbench(settings, up.url)) as url:
        answer = talk(url, chat_request(streamed=True))
        assert b"".join(EVENTS) == answer.body
    outer, first, second = stored(settings)
    assert ("middleware", 2, None) == (outer["leg"], outer["n_inner"], outer["outer_exchange_id"])
    for inner in (first, second):
        assert ("transport", outer["id"], 0) == (inner["leg"], inner["outer_exchange_id"], inner["n_inner"])
        assert outer["conversation_id"] == inner["conversation_id"]
        assert outer["client_key"] == inner["client_key"]
    assert ["completed"] * 3 == outcomes(settings)
    (result,) = query(settings, "SELECT match_how, tool_call_id FROM tool_result")
    assert {"match_how": "id", "tool_call_id": 1} == result


def test_a_chat_route_of_its_own_is_kept_as_unknown_around_the_model_calls(settings: Settings) -> None:
    with running(two_steps) as up, serving(workbench(settings, up.url, route="/chat")) as url:
        body = json.dumps(CHAT).encode()
        headers = [("content-type", "application/json"), ("x-tarx-session", "s-1")]
        assert talk(url, request_bytes(target="/chat", body=body, headers=headers)).is_whole
    rows = stored(settings)
    outer, *inner = [(row["leg"], row["protocol"], row["conversation_how"], row["outer_exchange_id"]) for row in rows]
    assert ("middleware", "unknown", "header", None) == outer
    assert [("transport", "openai_chat", "header", rows[0]["id"])] * 2 == inner
    assert [{"external_id": "s-1"}] == query(settings, "SELECT external_id FROM conversation")


def test_a_route_that_is_no_chat_lends_its_conversation_to_the_model_calls(settings: Settings) -> None:
    with running(two_steps) as up, serving(workbench(settings, up.url, route="/ask")) as url:
        body = json.dumps({"prompt": "What is my name?"}).encode()
        headers = [("content-type", "application/json"), ("x-tarx-session", "s-1")]
        assert talk(url, request_bytes(target="/ask", body=body, headers=headers)).is_whole
    assert [("transport", "header", None)] * 2 == [
        (row["leg"], row["conversation_how"], row["outer_exchange_id"]) for row in stored(settings)
    ]
    assert [{"external_id": "s-1"}] == query(settings, "SELECT external_id FROM conversation")


def test_a_request_that_is_passed_on_unchanged_is_recorded_once(settings: Settings) -> None:
    with running(stream(EVENTS)) as up, serving(workbench(settings, up.url)) as url:
        data = chat_request(streamed=True).replace(b"POST /v1/", b"POST /s/mine/v1/")
        assert b"".join(EVENTS) == talk(url, data).body
    (row,) = stored(settings)
    assert ("middleware", 0, "completed", "path") == (
        row["leg"],
        row["n_inner"],
        row["outcome"],
        row["conversation_how"],
    )
