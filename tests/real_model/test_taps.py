"""openai-python through each tap against the real model: the rows agree with what the client received."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import httpx2
import openai
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from examples.local_model import launch
from tarx_toollog import Settings, ToolLog, ToolLogMiddleware, ToolLogProxy, ToolLogTransport
from tarx_toollog.capture.recorder import recorder_for
from tests.support.model_server import CLOSE, ModelServer
from tests.support.workers import serving

TOOLS = json.loads(launch.TOOLS.read_text(encoding="utf-8"))
RESULTS = {
    "tarx_recall": {"facts": {"city": "Lisbon"}},
    "tarx_remember": {"stored": True, "key": "likes"},
    "tarx_save_conversation": {"saved": True, "id": "conv-17"},
}
CHAIN = (
    "First recall which city I live in, then remember that I like the trams there, "
    "then save this conversation with the title Trams."
)
Received = list[tuple[str, str, str]]


def forwarder(upstream: str) -> Starlette:
    """Return the smallest Workbench: it hands chats to the model and streams what comes back."""

    async def chat(request: Request) -> StreamingResponse:
        body = await request.body()
        # llama.cpp closes a connection after a streamed answer without announcing it.
        limits = httpx.Limits(max_keepalive_connections=0)
        client = httpx.AsyncClient(base_url=upstream, timeout=60, limits=limits)
        sent = client.build_request("POST", "/v1/chat/completions", content=body)
        answer = await client.send(sent, stream=True)

        async def pieces() -> AsyncIterator[bytes]:
            async for piece in answer.aiter_raw():
                yield piece
            await client.aclose()

        return StreamingResponse(pieces(), answer.status_code, media_type=answer.headers["content-type"])

    return Starlette(routes=[Route("/v1/chat/completions", chat, methods=["POST"])])


@contextmanager
def through(tap: str, model: ModelServer, settings: Settings) -> Iterator[openai.OpenAI]:
    """Yield an OpenAI client whose chats pass one tap."""
    if tap.startswith("transport"):
        # openai-python takes clients of httpx as well as of httpx2; its types know only the latter.
        library: Any = httpx2 if tap.endswith("httpx2") else httpx
        with library.Client(transport=ToolLogTransport(settings=settings), timeout=60, headers=CLOSE) as http:
            yield openai.OpenAI(base_url=f"{model.base_url}/v1", api_key="none", http_client=http, max_retries=0)
        return
    app: Any = ToolLogProxy(settings=settings)
    if tap == "middleware":
        app = forwarder(model.base_url)
        app.add_middleware(ToolLogMiddleware, settings=settings)
    with serving(app) as url, openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        yield client


def ask(client: openai.OpenAI, messages: list[Any], *, stream: bool) -> tuple[str, Received]:
    """Ask once; return the text and the calls, put together as openai-python hands them over."""
    options: Any = {"model": "toy", "messages": messages, "tools": TOOLS, "temperature": 0, "max_tokens": 120}
    if not stream:
        message = client.chat.completions.create(**options).choices[0].message
        calls = [(c.id, c.function.name, c.function.arguments) for c in message.tool_calls or []]
        return message.content or "", calls
    text = ""
    parts: dict[int, list[str]] = {}
    for chunk in client.chat.completions.create(stream=True, **options):
        delta = chunk.choices[0].delta
        text += delta.content or ""
        for part in delta.tool_calls or []:
            call = parts.setdefault(part.index, ["", "", ""])
            call[0] += part.id or ""
            call[1] += part.function.name or ""
            call[2] += part.function.arguments or ""
    return text, [(i, name, arguments) for i, name, arguments in parts.values()]


def converse(client: openai.OpenAI, *, stream: bool) -> tuple[str, Received]:
    """Run the tool loop on the client's side; return the answer and all calls received."""
    messages: list[Any] = [{"role": "user", "content": CHAIN}]
    received: Received = []
    for _ in range(6):
        text, calls = ask(client, messages, stream=stream)
        received += calls
        if not calls:
            return text, received
        made = [{"id": i, "type": "function", "function": {"name": n, "arguments": a}} for i, n, a in calls]
        messages.append({"role": "assistant", "content": text, "tool_calls": made})
        for call_id, name, _arguments in calls:
            content = json.dumps(RESULTS.get(name, {"error": "no such tool"}))
            messages.append({"role": "tool", "tool_call_id": call_id, "content": content})
    raise AssertionError("the model went on calling tools")


def rows(settings: Settings, sql: str) -> list[tuple[Any, ...]]:
    recorder = recorder_for(settings)
    assert recorder.flush(10)
    assert (0, 0) == (recorder.lost, recorder.failures), recorder.last_error
    with ToolLog.open(settings=settings) as log:
        return list(log.query(sql).rows)


@pytest.fixture
def settings(tmp_path: Path, model_server: ModelServer) -> Iterator[Settings]:
    made = Settings(database=str(tmp_path / "t.db"), upstream=model_server.base_url)
    yield made
    recorder_for(made).close()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("tap", ["middleware", "transport", "transport with httpx2", "proxy"])
def test_the_rows_are_what_the_client_received(
    tap: str, stream: bool, model_server: ModelServer, settings: Settings
) -> None:
    with through(tap, model_server, settings) as client:
        text, received = converse(client, stream=stream)
    leg = tap.split()[0]

    assert ["tarx_recall", "tarx_remember", "tarx_save_conversation"] == [name for _, name, _ in received]
    assert received == rows(settings, "SELECT call_id, name, arguments FROM tool_call ORDER BY id")
    assert [
        ("tarx_recall>tarx_remember>tarx_save_conversation", 3, 4, 0, 0, 0, "answered", 1),
    ] == rows(
        settings,
        "SELECT signature, chain_length, n_steps, n_bad_calls, n_error_results, n_unanswered, status, is_clean "
        "FROM v_chains",
    )
    assert [
        (leg, "new", 1, "completed", "tool_calls", int(stream), None),
        (leg, "prefix", 2, "completed", "tool_calls", int(stream), "same"),
        (leg, "prefix", 3, "completed", "tool_calls", int(stream), "same"),
        (leg, "prefix", 4, "completed", "stop", int(stream), "same"),
    ] == [
        # The client of this test sends "" where a streamed answer began with null: a reshaped echo.
        (*row[:-1], "same" if row[-1] == "reshaped" else row[-1])
        for row in rows(
            settings,
            "SELECT leg, conversation_how, step_no, outcome, finish_reason, stream, assistant_echo "
            "FROM exchange ORDER BY id",
        )
    ]
    assert [(text,)] == rows(settings, "SELECT answer FROM v_exchanges ORDER BY started_at DESC LIMIT 1")
    assert [("id", 1.0)] * 3 == rows(settings, "SELECT match_how, confidence FROM tool_result ORDER BY id")


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_the_async_client_is_logged_as_well(stream: bool, model_server: ModelServer, settings: Settings) -> None:
    async def ask_once() -> None:
        http: Any = httpx.AsyncClient(transport=ToolLogTransport(settings=settings), timeout=60, headers=CLOSE)
        url = f"{model_server.base_url}/v1"
        async with http, openai.AsyncOpenAI(base_url=url, api_key="none", http_client=http) as client:
            options: Any = {"model": "toy", "tools": TOOLS, "temperature": 0, "max_tokens": 60}
            options["messages"] = [{"role": "user", "content": "What is my cat called?"}]
            if stream:
                async for _ in await client.chat.completions.create(stream=True, **options):
                    pass
            else:
                await client.chat.completions.create(**options)

    asyncio.run(ask_once())

    assert [("tarx_recall", '{"query": "cat"}', "ok", "ok", 1, "completed")] == rows(
        settings, "SELECT tool, arguments, argument_state, schema_state, offered, outcome FROM v_tool_calls"
    )


def test_many_requests_in_a_row_pass_the_proxy(model_server: ModelServer, settings: Settings) -> None:
    """llama.cpp closes connections without announcing it; the proxy must not hand that on."""
    with serving(ToolLogProxy(settings=settings)) as url, httpx.Client(timeout=60) as client:
        for number in range(40):
            body = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1, "stream": number % 2 == 0}
            answer = client.post(f"{url}/v1/chat/completions", json=body)
            assert answer.status_code == 200, answer.text

    assert [("completed", 40)] == rows(settings, "SELECT outcome, COUNT(*) FROM exchange GROUP BY outcome")


def test_a_prompt_beyond_the_context_is_a_row_that_says_so(model_server: ModelServer, settings: Settings) -> None:
    with serving(ToolLogProxy(settings=settings)) as url:
        body = {"messages": [{"role": "user", "content": "word " * 20_000}]}
        answer = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60)

    assert answer.status_code == 400
    found = rows(settings, "SELECT outcome, http_status, error_type, error_text FROM v_exchanges")
    assert [("upstream_error", 400, "exceed_context_size_error")] == [row[:3] for row in found]
    assert "context" in found[0][3]


def test_a_call_cut_by_the_token_limit_is_kept_and_marked(model_server: ModelServer, settings: Settings) -> None:
    with serving(ToolLogProxy(settings=settings)) as url:
        body = {"messages": [{"role": "user", "content": CHAIN}], "tools": TOOLS, "max_tokens": 14, "temperature": 0}
        answer = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60).json()
    (call,) = answer["choices"][0]["message"]["tool_calls"]

    assert [("tarx_recall", call["function"]["arguments"], "incomplete", 0, 1, "length")] == rows(
        settings,
        "SELECT c.tool, c.arguments, c.argument_state, c.complete, c.is_bad, e.finish_reason "
        "FROM v_tool_calls c JOIN v_exchanges e ON e.exchange_uid = c.exchange_uid",
    )
