"""anthropic-python on ``/v1/messages`` through each tap against the real model: rows agree with what it received."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anthropic
import httpx
import httpx2
import pytest

from examples.local_model import launch
from tarx_toollog import Settings, ToolLog, ToolLogProxy, ToolLogTransport
from tarx_toollog.wire.protocols import protocol_named
from tests.support.asgi import query, recording, stored
from tests.support.model_server import CLOSE, ModelServer
from tests.support.three_taps import LEGS, three_taps
from tests.support.workers import serving

FUNCTIONS = [entry["function"] for entry in json.loads(launch.TOOLS.read_text(encoding="utf-8"))]
TOOLS: list[Any] = [
    {"name": f["name"], "description": f["description"], "input_schema": f["parameters"]} for f in FUNCTIONS
]
RESULTS = {
    "tarx_recall": '{"facts": {"city": "Lisbon"}}',
    "tarx_remember": "the disk is full",
    "tarx_save_conversation": '{"saved": true, "id": "conv-17"}',
}
FAILS = "tarx_remember"
CHAIN = (
    "First recall which city I live in, then remember that I like the trams there, "
    "then save this conversation with the title Trams."
)
Received = list[tuple[str, str, Any]]


@contextmanager
def through_proxy(settings: Settings, prefix: str = "") -> Iterator[anthropic.Anthropic]:
    """Yield an Anthropic client whose messages pass the proxy."""
    options: dict[str, Any] = {"api_key": "none", "max_retries": 0, "timeout": 60}
    with (
        serving(ToolLogProxy(settings=settings)) as url,
        anthropic.Anthropic(base_url=url + prefix, **options) as client,
    ):
        yield client


def ask(client: anthropic.Anthropic, messages: list[Any], *, stream: bool, limit: int = 120) -> Any:
    """Ask once and return the message, as anthropic-python hands it over."""
    # This version of the client has no parameter for the temperature; the server takes it all the same.
    options: dict[str, Any] = {"model": "toy", "max_tokens": limit, "tools": TOOLS}
    options |= {"messages": messages, "extra_body": {"temperature": 0}}
    if not stream:
        return client.messages.create(**options)
    with client.messages.stream(**options) as answer:
        return answer.get_final_message()


def converse(client: anthropic.Anthropic, *, stream: bool) -> tuple[str, Received]:
    """Run the tool loop on the client's side; return the answer and all calls received."""
    messages: list[Any] = [{"role": "user", "content": CHAIN}]
    received: Received = []
    for _ in range(6):
        answer = ask(client, messages, stream=stream)
        calls = [block for block in answer.content if block.type == "tool_use"]
        if not calls:
            return "".join(block.text for block in answer.content if block.type == "text"), received
        received += [(call.id, call.name, call.input) for call in calls]
        results = []
        for call in calls:
            result = {"type": "tool_result", "tool_use_id": call.id, "content": RESULTS[call.name]}
            results.append(result | ({"is_error": True} if call.name == FAILS else {}))
        messages += [{"role": "assistant", "content": answer.content}, {"role": "user", "content": results}]
    raise AssertionError("the model went on calling tools")


@pytest.fixture
def settings(tmp_path: Path, model_server: ModelServer) -> Iterator[Settings]:
    with recording(tmp_path, upstream=model_server.base_url) as made:
        yield made


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_the_rows_of_each_tap_are_what_the_client_received(
    stream: bool, model_server: ModelServer, tmp_path: Path
) -> None:
    with three_taps(tmp_path, "/v1/messages", model_server) as (url, taps):
        transport: Any = ToolLogTransport(settings=taps["transport"])  # it serves httpx as well, which its type names
        http = httpx2.Client(transport=transport, timeout=60, headers=CLOSE)
        with http, anthropic.Anthropic(base_url=url, api_key="none", max_retries=0, http_client=http) as client:
            text, received = converse(client, stream=stream)

        assert ["tarx_recall", "tarx_remember", "tarx_save_conversation"] == [name for _, name, _ in received]
        for leg in LEGS:
            compare(leg, taps[leg], text, received, stream=stream)


def compare(leg: str, settings: Settings, text: str, received: Received, *, stream: bool) -> None:
    """Hold the rows of one tap against what the client got."""
    rows = stored(settings)
    assert received == [
        (call["call_id"], call["name"], json.loads(call["arguments"]))
        for call in query(settings, "SELECT * FROM tool_call ORDER BY id")
    ]
    assert [
        (leg, "anthropic_messages", "new", 1, 1, "completed", "tool_calls", int(stream)),
        (leg, "anthropic_messages", "prefix", 1, 2, "completed", "tool_calls", int(stream)),
        (leg, "anthropic_messages", "prefix", 1, 3, "completed", "tool_calls", int(stream)),
        (leg, "anthropic_messages", "prefix", 1, 4, "completed", "stop", int(stream)),
    ] == [
        (
            row["leg"],
            row["protocol"],
            row["conversation_how"],
            row["turn_no"],
            row["step_no"],
            row["outcome"],
            row["finish_reason"],
            row["stream"],
        )
        for row in rows
    ]
    assert [[]] * 4 == [json.loads(row["notes"] or "[]") for row in rows]
    assert [(RESULTS[name], "id", int(name == FAILS)) for _, name, _ in received] == [
        (row["text"], row["match_how"], row["is_error"])
        for row in query(settings, "SELECT * FROM tool_result ORDER BY id")
    ]
    assert [("tarx_recall>tarx_remember>tarx_save_conversation", 4, "answered", 1, 0)] == [
        (row["signature"], row["n_steps"], row["status"], row["n_error_results"], row["n_unanswered"])
        for row in query(settings, "SELECT * FROM v_chains")
    ]
    answers = query(settings, "SELECT answer FROM v_exchanges ORDER BY started_at DESC LIMIT 1")
    assert [text] == [row["answer"] for row in answers]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_token_counts_include_the_cached_part_of_the_prompt(
    stream: bool, model_server: ModelServer, settings: Settings
) -> None:
    messages = [{"role": "user", "content": "What is my cat called?"}]
    with through_proxy(settings) as client:
        usages = [ask(client, messages, stream=stream).usage for _ in range(2)]

    assert usages[1].cache_read_input_tokens > 0
    assert [
        (u.input_tokens + u.cache_read_input_tokens, u.cache_read_input_tokens, u.output_tokens) for u in usages
    ] == [(row["input_tokens"], row["cached_tokens"], row["output_tokens"]) for row in stored(settings)]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_what_was_sent_is_made_again_from_the_store(
    stream: bool, model_server: ModelServer, settings: Settings
) -> None:
    body = {"model": "toy", "max_tokens": 20, "temperature": 0, "system": "Be brief.", "stream": stream, "tools": TOOLS}
    body |= {"messages": [{"role": "user", "content": [{"type": "text", "text": "Capital of France?"}]}], "top_k": 1}
    with serving(ToolLogProxy(settings=settings)) as url:
        assert 200 == httpx.post(f"{url}/v1/messages", json=body, timeout=60).status_code
    (row,) = stored(settings)

    with ToolLog.open(settings=settings) as log:
        request = log.exchange(row["uid"]).request

    assert request is not None
    assert body == protocol_named("anthropic_messages").request_body(request)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_call_cut_by_the_token_limit_is_kept_and_marked(
    stream: bool, model_server: ModelServer, settings: Settings
) -> None:
    body = {"max_tokens": 14, "temperature": 0, "messages": [{"role": "user", "content": CHAIN}], "tools": TOOLS}
    with serving(ToolLogProxy(settings=settings)) as url:
        answer = httpx.post(f"{url}/v1/messages", json=body | {"stream": stream}, timeout=60)

    (row,) = stored(settings)
    assert ("max_tokens", "length", "completed") == (row["finish_reason_raw"], row["finish_reason"], row["outcome"])
    (call,) = query(settings, "SELECT * FROM tool_call")
    assert ("tarx_recall", 0) == (call["name"], call["complete"])
    if stream:
        pieces = [json.loads(line[6:]) for line in answer.text.splitlines() if line.startswith("data: ")]
        text = "".join(piece["delta"].get("partial_json", "") for piece in pieces if "delta" in piece)
        assert text
        assert text == call["arguments"]
    else:  # the server drops what it could not read
        (block,) = answer.json()["content"]
        assert ({}, "{}", ["arguments_lost"]) == (block["input"], call["arguments"], json.loads(call["quirks"]))


def test_the_conversation_may_stand_in_the_path(model_server: ModelServer, settings: Settings) -> None:
    with through_proxy(settings, prefix="/s/mine") as client:
        for text in ("Hi", "Another topic"):
            ask(client, [{"role": "user", "content": text}], stream=True, limit=4)

    assert [("path", 1)] * 2 == [(row["conversation_how"], row["conversation_id"]) for row in stored(settings)]


def test_a_prompt_beyond_the_context_is_a_row_that_says_so(model_server: ModelServer, settings: Settings) -> None:
    told = pytest.raises(anthropic.APIStatusError, match="context")
    with through_proxy(settings) as client, told:
        ask(client, [{"role": "user", "content": "word " * 20_000}], stream=False)

    assert [("upstream_error", 400, "exceed_context_size_error")] == [
        (row["outcome"], row["http_status"], row["error_type"]) for row in stored(settings)
    ]


def test_counting_tokens_is_no_exchange(model_server: ModelServer, settings: Settings) -> None:
    with through_proxy(settings) as client:
        counted = client.messages.count_tokens(model="toy", messages=[{"role": "user", "content": "Hi"}])
        ask(client, [{"role": "user", "content": "Hi"}], stream=False, limit=2)

    assert counted.input_tokens > 0
    assert 1 == len(stored(settings))
