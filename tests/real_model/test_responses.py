"""openai-python on ``/v1/responses`` through each tap against the real model: rows agree with what it received."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from examples.local_model import launch
from tarx_toollog import Settings, ToolLog, ToolLogProxy, ToolLogTransport
from tarx_toollog.capture.recorder import recorder_for
from tests.support.model_server import CLOSE, ModelServer
from tests.support.three_taps import LEGS, three_taps
from tests.support.workers import serving

# The definitions of chat completions, without the wrapper that this protocol does not have.
TOOLS: list[Any] = [
    {"type": "function", **entry["function"]} for entry in json.loads(launch.TOOLS.read_text(encoding="utf-8"))
]
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


@contextmanager
def through_proxy(settings: Settings, prefix: str = "") -> Iterator[openai.OpenAI]:
    """Yield an OpenAI client whose requests pass the proxy."""
    with (
        serving(ToolLogProxy(settings=settings)) as url,
        openai.OpenAI(base_url=f"{url}{prefix}/v1", api_key="none", max_retries=0) as client,
    ):
        yield client


def ask(client: openai.OpenAI, items: list[Any], *, stream: bool, limit: int = 120) -> Any:
    """Ask once and return the response object, as openai-python hands it over.

    The events are read one by one: the SDK's ``responses.stream`` asks for a ``content_index`` with each piece of
    text, which llama.cpp does not send.
    """
    options: Any = {"model": "toy", "input": items, "tools": TOOLS, "temperature": 0, "max_output_tokens": limit}
    answer: Any = client.responses.create(stream=stream, **options)
    if not stream:
        return answer
    *_, last = answer
    assert "response.completed" == last.type
    return last.response


def converse(client: openai.OpenAI, *, stream: bool) -> tuple[str, Received]:
    """Run the tool loop on the client's side; return the answer and all calls received."""
    items: list[Any] = [{"role": "user", "content": CHAIN}]
    received: Received = []
    for _ in range(6):
        response = ask(client, items, stream=stream)
        calls = [item for item in response.output if item.type == "function_call"]
        received += [(call.call_id, call.name, call.arguments) for call in calls]
        if not calls:
            return response.output_text, received
        # Without the keys that the SDK adds; llama.cpp does not know all of them.
        items += [item.model_dump(exclude_none=True, exclude={"parsed_arguments"}) for item in response.output]
        for call in calls:
            output = json.dumps(RESULTS.get(call.name, {"error": "no such tool"}))
            items.append({"type": "function_call_output", "call_id": call.call_id, "output": output})
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
def test_the_rows_of_each_tap_are_what_the_client_received(
    stream: bool, model_server: ModelServer, tmp_path: Path
) -> None:
    with three_taps(tmp_path, "/v1/responses", model_server) as (url, taps):
        http: Any = httpx.Client(transport=ToolLogTransport(settings=taps["transport"]), timeout=60, headers=CLOSE)
        with http, openai.OpenAI(base_url=f"{url}/v1", api_key="none", http_client=http, max_retries=0) as client:
            text, received = converse(client, stream=stream)

        assert ["tarx_recall", "tarx_remember", "tarx_save_conversation"] == [name for _, name, _ in received]
        for leg in LEGS:
            compare(leg, taps[leg], text, received, stream=stream)


def compare(leg: str, settings: Settings, text: str, received: Received, *, stream: bool) -> None:
    """Hold the rows of one tap against what the client got."""
    assert received == rows(settings, "SELECT call_id, name, arguments FROM tool_call ORDER BY id")
    assert [("tarx_recall>tarx_remember>tarx_save_conversation", 3, 4, 0, 0, 0, "answered", 1)] == rows(
        settings,
        "SELECT signature, chain_length, n_steps, n_bad_calls, n_error_results, n_unanswered, status, is_clean "
        "FROM v_chains",
    )
    assert [
        ("openai_responses", leg, how, step, "completed", reason, int(stream))
        for how, step, reason in (
            ("new", 1, "tool_calls"),
            ("prefix", 2, "tool_calls"),
            ("prefix", 3, "tool_calls"),
            ("prefix", 4, "stop"),
        )
    ] == rows(
        settings,
        "SELECT protocol, leg, conversation_how, step_no, outcome, finish_reason, stream FROM exchange ORDER BY id",
    )
    assert [(text,)] == rows(settings, "SELECT answer FROM v_exchanges ORDER BY started_at DESC LIMIT 1")
    assert [("id", 1.0)] * 3 == rows(settings, "SELECT match_how, confidence FROM tool_result ORDER BY id")
    assert [(0,)] == rows(settings, "SELECT COUNT(*) FROM exchange WHERE input_tokens IS NULL OR notes <> '[]'")


def test_the_path_names_the_conversation(model_server: ModelServer, settings: Settings) -> None:
    with (
        through_proxy(settings, prefix="/s/demo") as client,
        client.responses.stream(model="toy", input="What is my cat called?", tools=TOOLS, temperature=0) as events,
    ):
        pieces = [event.delta for event in events if event.type == "response.function_call_arguments.delta"]
        response = events.get_final_response()

    assert [("path", "demo", response.id, "/s/demo/v1/responses", "".join(pieces))] == rows(
        settings,
        "SELECT e.conversation_how, c.external_id, e.response_id, e.route, t.arguments FROM exchange e "
        "JOIN conversation c ON c.id = e.conversation_id JOIN tool_call t ON t.exchange_id = e.id",
    )


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_server_that_keeps_no_history_is_logged_as_saying_so(
    stream: bool, model_server: ModelServer, settings: Settings
) -> None:
    with through_proxy(settings) as client, pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="toy", input="And now?", previous_response_id="resp_1", stream=stream)

    ((protocol, outcome, status, error_type, error_text, params),) = rows(
        settings, "SELECT protocol, outcome, http_status, error_type, error_text, params FROM exchange"
    )
    assert ("openai_responses", "upstream_error", 400) == (protocol, outcome, status)
    assert "invalid_request_error" == error_type
    assert "previous_response_id" in error_text
    assert error_text in str(caught.value)
    assert "resp_1" == json.loads(params)["previous_response_id"]


def test_an_answer_that_the_limit_cut_is_marked_although_the_server_calls_it_completed(
    model_server: ModelServer, settings: Settings
) -> None:
    with through_proxy(settings) as client:
        response = ask(client, [{"role": "user", "content": CHAIN}], stream=False, limit=14)
    (call,) = response.output

    assert "completed" == response.status
    assert [(call.call_id, call.arguments, "incomplete", 0, "length", "completed")] == rows(
        settings,
        "SELECT c.call_id, c.arguments, c.argument_state, c.complete, e.finish_reason, e.finish_reason_raw "
        "FROM tool_call c JOIN exchange e ON e.id = c.exchange_id",
    )
