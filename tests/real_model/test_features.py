"""What the protocols offer beside plain chats and tools: the real server's answer or refusal is what the rows show.

This server ignores ``functions`` and takes custom tools only on ``/v1/responses``, and there without calling them. It
refuses ``n`` above 1 and ``previous_response_id``. Its model never refuses to answer, so no refusal of a model is here.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anthropic
import httpx
import openai
import pytest

from examples.local_model import launch
from tarx_toollog import Settings, ToolLog, ToolLogProxy
from tarx_toollog.model import Exchange
from tarx_toollog.wire.protocols import protocol_named
from tests.support.asgi import query, recording, stored
from tests.support.model_server import ModelServer, running_model_server
from tests.support.workers import serving

TOOLS: list[Any] = json.loads(launch.TOOLS.read_text(encoding="utf-8"))
FUNCTIONS: list[Any] = [tool["function"] for tool in TOOLS]
NAMES = [function["name"] for function in FUNCTIONS]
CAT: list[Any] = [{"role": "user", "content": "What is my cat called?"}]
BRIEF = {"role": "developer", "content": "Answer in one word."}
WAYS = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


@pytest.fixture
def settings(tmp_path: Path, model_server: ModelServer) -> Iterator[Settings]:
    with recording(tmp_path, upstream=model_server.base_url) as made:
        yield made


@contextmanager
def client_of(settings: Settings) -> Iterator[openai.OpenAI]:
    with (
        serving(ToolLogProxy(settings=settings)) as url,
        openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
    ):
        yield client


def said(client: openai.OpenAI, messages: list[Any], *, stream: bool, **options: Any) -> str:
    """Ask for a chat completion and return its text, as openai-python hands it over; no call may come with it."""
    options = {"model": "toy", "messages": messages, "temperature": 0, "max_tokens": 12, **options}
    if not stream:
        message = client.chat.completions.create(**options).choices[0].message
        assert (None, None) == (message.tool_calls, message.function_call)
        return message.content or ""
    deltas = [chunk.choices[0].delta for chunk in client.chat.completions.create(stream=True, **options)]
    assert [] == [delta for delta in deltas if delta.tool_calls or delta.function_call]
    return "".join(delta.content or "" for delta in deltas)


def exchanges(settings: Settings) -> list[Exchange]:
    """Return what is stored, put together again from the database."""
    uids = [row["uid"] for row in stored(settings)]
    with ToolLog.open(settings=settings) as log:
        return [log.exchange(uid) for uid in uids]


def answer(exchange: Exchange) -> str:
    assert exchange.response is not None
    (choice,) = exchange.response.choices
    assert () == choice.message.tool_calls
    return choice.message.text


def body_again(exchange: Exchange) -> dict[str, Any]:
    assert exchange.request is not None
    return protocol_named(exchange.protocol).request_body(exchange.request)


def refusal(settings: Settings, error: openai.APIStatusError | anthropic.APIStatusError) -> dict[str, Any]:
    """Return the only row, which must say about the refusal what the client was told."""
    (row,) = stored(settings)
    told: Any = error.response.json()["error"]
    assert ("upstream_error", error.status_code, 0) == (row["outcome"], row["http_status"], row["n_tool_calls"])
    assert (told["type"], told["message"], told) == (
        row["error_type"],
        row["error_text"],
        json.loads(row["error_body"]),
    )
    return row


# ---- chat completions -----------------------------------------------------------------------------------------------


@WAYS
@pytest.mark.parametrize("choice", ["auto", {"name": "tarx_recall"}], ids=["auto", "forced"])
def test_functions_of_the_first_days_are_offered_and_the_server_answers_without_them(
    choice: Any, stream: bool, settings: Settings
) -> None:
    with client_of(settings) as client:
        text = said(client, CAT, stream=stream, functions=FUNCTIONS, function_call=choice)
    (exchange,) = exchanges(settings)

    assert (text, "completed") == (answer(exchange), exchange.outcome)
    assert text
    assert (FUNCTIONS, choice) == (body_again(exchange)["functions"], body_again(exchange)["function_call"])
    (row,) = stored(settings)
    assert (3, 0, 0) == (row["n_tools"], row["n_tool_calls"], row["n_leaked_calls"])
    assert set(NAMES) == {row["name"] for row in query(settings, "SELECT name FROM tool_definition")}


@WAYS
def test_a_history_with_a_function_call_is_taken_and_its_result_is_kept(stream: bool, settings: Settings) -> None:
    made = {"name": "tarx_recall", "arguments": '{"query": "cat"}'}
    history = [
        *CAT,
        {"role": "assistant", "content": None, "function_call": made},
        {"role": "function", "name": "tarx_recall", "content": '{"cat": "Miso"}'},
    ]
    with client_of(settings) as client:
        text = said(client, history, stream=stream, functions=FUNCTIONS)
    (exchange,) = exchanges(settings)

    assert (text, "completed", history) == (answer(exchange), exchange.outcome, body_again(exchange)["messages"])
    assert exchange.request is not None
    _, asked, brought = exchange.request.messages
    assert [(made["name"], made["arguments"])] == [(call.name, call.arguments) for call in asked.tool_calls]
    assert ['{"cat": "Miso"}'] == [result.text for result in brought.tool_results]


@WAYS
def test_what_the_developer_says_is_part_of_the_row_and_not_of_the_dialogue(stream: bool, settings: Settings) -> None:
    asked: list[Any] = [{"role": "user", "content": "What is the capital of France?"}]
    with client_of(settings) as client:
        text = said(client, [BRIEF, *asked], stream=stream)
        other = {**BRIEF, "content": "Answer in one word. Today is Monday."}
        more: list[Any] = [{"role": "assistant", "content": text}, {"role": "user", "content": "And of Spain?"}]
        then = said(client, [other, *asked, *more], stream=stream)
    first, second = exchanges(settings)

    assert (text, then) == (answer(first), answer(second))
    assert [BRIEF, other] == [body_again(item)["messages"][0] for item in (first, second)]
    assert [("new", 1, 1), ("prefix", 1, 2)] == [
        (row["conversation_how"], row["conversation_id"], row["turn_no"]) for row in stored(settings)
    ]


@WAYS
def test_more_than_one_choice_is_refused_and_the_row_says_so(stream: bool, settings: Settings) -> None:
    with client_of(settings) as client, pytest.raises(openai.BadRequestError, match="'n'") as caught:
        said(client, CAT, stream=stream, n=2)

    assert 2 == json.loads(refusal(settings, caught.value)["params"])["n"]


CUSTOM: Any = {"type": "custom", "custom": {"name": "note", "description": "Takes a note, as text."}}
CUSTOM_HISTORY: list[Any] = [
    *CAT,
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "c1", "type": "custom", "custom": {"name": "note", "input": "cat"}}],
    },
    {"role": "tool", "tool_call_id": "c1", "content": "noted"},
]


@WAYS
@pytest.mark.parametrize(
    ("messages", "tools"), [(CAT, [CUSTOM]), (CAT, [*TOOLS, CUSTOM]), (CUSTOM_HISTORY, TOOLS)], ids=len
)
def test_custom_tools_in_a_chat_fail_in_the_server_and_the_row_says_so(
    messages: list[Any], tools: list[Any], stream: bool, settings: Settings
) -> None:
    with client_of(settings) as client, pytest.raises(openai.InternalServerError, match="custom") as caught:
        said(client, messages, stream=stream, tools=tools)

    assert len(tools) == refusal(settings, caught.value)["n_tools"]
    (exchange,) = exchanges(settings)
    assert (messages, tools) == (body_again(exchange)["messages"], body_again(exchange)["tools"])


# ---- responses ------------------------------------------------------------------------------------------------------


def responded(client: openai.OpenAI, *, stream: bool, **options: Any) -> Any:
    made: Any = client.responses.create(model="toy", temperature=0, max_output_tokens=8, stream=stream, **options)
    if not stream:
        return made
    *_, last = made
    return last.response


@WAYS
def test_a_custom_tool_of_responses_is_offered_and_not_called(stream: bool, settings: Settings) -> None:
    tool = {"type": "custom", "name": "note", "description": "Takes a note, as text."}
    with client_of(settings) as client:
        response = responded(client, stream=stream, input="Take a note: cat.", tools=[tool])
    (exchange,) = exchanges(settings)

    assert ["message"] == [item.type for item in response.output]
    assert (response.output_text, "completed") == (answer(exchange), exchange.outcome)
    assert [tool] == body_again(exchange)["tools"]
    assert ["note"] == [row["name"] for row in query(settings, "SELECT name FROM tool_definition")]


@WAYS
def test_a_history_with_a_custom_call_is_refused_and_kept(stream: bool, settings: Settings) -> None:
    history: list[Any] = [
        {"role": "user", "content": "Take a note: cat."},
        {"type": "custom_tool_call", "call_id": "c1", "name": "note", "input": "cat"},
        {"type": "custom_tool_call_output", "call_id": "c1", "output": "noted"},
    ]
    with client_of(settings) as client, pytest.raises(openai.BadRequestError, match="item") as caught:
        responded(client, stream=stream, input=history)

    refusal(settings, caught.value)
    (exchange,) = exchanges(settings)
    assert history == body_again(exchange)["input"]
    assert exchange.request is not None
    assert [("c1", "noted")] == [
        (result.call_id, result.text) for message in exchange.request.messages for result in message.tool_results
    ]


@WAYS
def test_a_follow_up_by_id_is_refused_and_the_one_with_its_history_goes_on(stream: bool, settings: Settings) -> None:
    """What a client does that learns that the server keeps nothing: all of it is one conversation."""
    asked: list[Any] = [BRIEF, {"role": "user", "content": "What is the capital of Italy?"}]
    then: list[Any] = [{"role": "user", "content": "And of Portugal?"}]
    with client_of(settings) as client:
        first = responded(client, stream=stream, input=asked, previous_response_id=None)
        with pytest.raises(openai.BadRequestError, match="previous_response_id"):
            responded(client, stream=stream, input=then, previous_response_id=first.id)
        echo = [item.model_dump(exclude_none=True) for item in first.output]
        second = responded(client, stream=stream, input=[*asked, *echo, *then])

    before, refused, after = exchanges(settings)
    assert (first.output_text, second.output_text) == (answer(before), answer(after))
    assert first.id == body_again(refused)["previous_response_id"]
    assert [
        ("completed", "new", 1, 1),
        ("upstream_error", "response_id", 1, 2),
        ("completed", "prefix", 1, 2),
    ] == [(row["outcome"], row["conversation_how"], row["conversation_id"], row["turn_no"]) for row in stored(settings)]


# ---- messages -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def thinking_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModelServer]:
    """Yield a server whose template lets the model think before it answers."""
    with running_model_server(tmp_path_factory.mktemp("think") / "server.log", template="md-think") as server:
        yield server


def thought(client: anthropic.Anthropic, messages: list[Any], *, stream: bool) -> list[dict[str, Any]]:
    """Ask once and return the blocks of the answer, as anthropic-python hands them over."""
    options: dict[str, Any] = {"model": "toy", "max_tokens": 40, "messages": messages}
    options |= {"thinking": {"type": "enabled", "budget_tokens": 1024}, "extra_body": {"temperature": 0}}
    if not stream:
        made = client.messages.create(**options)
    else:
        with client.messages.stream(**options) as events:
            made = events.get_final_message()
    return [block.model_dump(exclude_none=True) for block in made.content]


@WAYS
def test_what_the_model_thinks_is_kept_as_it_came(
    stream: bool, thinking_server: ModelServer, settings: Settings
) -> None:
    settings = settings.model_copy(update={"upstream": thinking_server.base_url})
    messages: list[Any] = [{"role": "user", "content": "What is the capital of France?"}]
    with (
        serving(ToolLogProxy(settings=settings)) as url,
        anthropic.Anthropic(base_url=url, api_key="none", max_retries=0) as client,
    ):
        first = thought(client, messages, stream=stream)
        messages += [{"role": "assistant", "content": first}, {"role": "user", "content": "And of Spain?"}]
        second = thought(client, messages, stream=stream)

    assert "thinking" == first[0]["type"]
    assert first[0]["thinking"]
    for blocks, exchange in zip((first, second), exchanges(settings), strict=True):
        assert exchange.response is not None
        (choice,) = exchange.response.choices
        assert blocks == choice.message.raw["content"]
        assert "".join(block["text"] for block in blocks if block["type"] == "text") == choice.message.text
    assert [("completed", "new", None, None), ("completed", "prefix", "same", None)] == [
        (row["outcome"], row["conversation_how"], row["assistant_echo"], row["notes"]) for row in stored(settings)
    ]


def test_pings_while_the_server_reads_a_long_prompt_are_no_part_of_the_answer(settings: Settings) -> None:
    """The prompt grows until the server takes more than a second for it: how long that is depends on the machine.

    On its other routes the server takes no interval from the request, and its own of 30 s is too long for a test.
    """
    options = {"model": "toy", "max_tokens": 4, "stream": True, "temperature": 0, "sse_ping_interval": 1}
    with serving(ToolLogProxy(settings=settings)) as url:
        for size in (400, 1500, 5000):
            prompt = f"{size}: {'word ' * size}"
            body = {**options, "messages": [{"role": "user", "content": prompt}]}
            received = httpx.post(f"{url}/v1/chat/completions", json=body, timeout=60).content
            if received.startswith(b":"):
                break
    chunks = [json.loads(line[6:]) for line in received.splitlines() if line.startswith(b"data: {")]
    text = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)

    assert received.startswith(b":\n\n")
    *_, row = stored(settings)
    assert ("completed", 1, None, len(received)) == (
        row["outcome"],
        row["terminated"],
        row["notes"],
        row["response_size"],
    )
    assert row["first_byte_ms"] < row["total_ms"]
    assert text == answer(exchanges(settings)[-1])
