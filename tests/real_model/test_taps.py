"""openai-python through each tap against the real model: the rows agree with what the client received."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import httpx2
import openai
import pytest

from examples.local_model import launch
from tarx_toollog import Settings, ToolLog, ToolLogProxy, ToolLogTransport
from tarx_toollog.capture.recorder import recorder_for
from tests.support.model_server import CLOSE, ModelServer
from tests.support.three_taps import LEGS, three_taps
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


@pytest.mark.parametrize(
    ("library", "stream"), [(httpx, False), (httpx2, True)], ids=["whole, httpx", "stream, httpx2"]
)
def test_the_rows_of_each_tap_are_what_the_client_received(
    library: Any, stream: bool, model_server: ModelServer, tmp_path: Path
) -> None:
    with three_taps(tmp_path, "/v1/chat/completions", model_server) as (url, taps):
        # openai-python takes clients of httpx as well as of httpx2; its types know only the latter.
        http = library.Client(transport=ToolLogTransport(settings=taps["transport"]), timeout=60, headers=CLOSE)
        with http, openai.OpenAI(base_url=f"{url}/v1", api_key="none", http_client=http, max_retries=0) as client:
            text, received = converse(client, stream=stream)

        assert ["tarx_recall", "tarx_remember", "tarx_save_conversation"] == [name for _, name, _ in received]
        for leg in LEGS:
            compare(leg, taps[leg], text, received, stream=stream)


def compare(leg: str, settings: Settings, text: str, received: Received, *, stream: bool) -> None:
    """Hold the rows of one tap against what the client got."""
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
