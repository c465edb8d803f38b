"""OpenAI Responses: real captures, and what must hold for any bytes."""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tarx_toollog import Settings, ToolLog
from tarx_toollog.canonical import canonical_json
from tarx_toollog.ids import uuid7
from tarx_toollog.model import Outcome
from tarx_toollog.wire.decode import decode
from tarx_toollog.wire.fields import DecodeContext
from tarx_toollog.wire.openai_responses import OpenAIResponses
from tarx_toollog.wire.raw import Begin, Chunk, End, RawExchange, ResponseStart
from tests.support.builders import START_NS
from tests.support.captures import captures_of, load_raw, split_at
from tests.support.protocol_checks import (
    check_body_rebuilt,
    check_exchange,
    check_tolerance,
    json_objects,
    json_values,
)

PROTOCOL = OpenAIResponses()
NAMES = captures_of("/v1/responses")
SMALL = [name for name in NAMES if len(load_raw(name).request_body) < 10_000]


KEYS = ["input", "instructions", "tools", "role", "content", "output", "type", "call_id", "id", "name", "arguments"]
KEYS += ["status", "text", "summary", "action", "model", "previous_response_id", "max_output_tokens"]
WORDS = ["assistant", "user", "message", "function_call", "function_call_output", "reasoning", "custom_tool_call"]
WORDS += ["item_reference", "web_search_call", "output_text", "completed", "incomplete", "mcp_approval_response"]


@given(json_objects(KEYS, WORDS))
@example({"input": [{"role": "assistant", "output": [{"role": "assistant", "output": []}]}]})
@example({"input": [{"type": "x_call_output", "role": "assistant", "output": []}]})
def test_any_body_is_rebuilt_exactly(body: dict[str, Any]) -> None:
    check_body_rebuilt(PROTOCOL, body)


ITEMS = st.lists(st.dictionaries(st.sampled_from(KEYS), json_values(KEYS, WORDS), max_size=5), max_size=6)


@given(ITEMS)
def test_any_list_of_items_is_rebuilt_exactly(items: list[Any]) -> None:
    check_body_rebuilt(PROTOCOL, {"input": items})


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ToolLog]:
    database = str(tmp_path_factory.mktemp("store") / "t.db")
    with ToolLog.open(settings=Settings(database=database), read_only=False) as opened:
        yield opened


@given(json_objects(KEYS, WORDS), ITEMS, ITEMS)
def test_any_items_come_back_from_the_store(log: ToolLog, body: dict[str, Any], items: Any, output: Any) -> None:
    answer = json.dumps({"status": "completed", "output": output}).encode()
    raw = RawExchange(
        Begin(uuid7(), "proxy", "POST", "/v1/responses", START_NS),
        json.dumps({**body, "input": items}).encode(),
        ResponseStart(200, (("content-type", "application/json"),)),
        (Chunk(1, answer),),
        End(2, final_seen=True),
    )
    written = decode(raw)
    log.write([written])

    # Canonical JSON, because NaN is not equal to itself.
    assert canonical_json(asdict(written)) == canonical_json(asdict(log.exchange(written.uid)))


@pytest.mark.parametrize("name", NAMES)
def test_a_capture_passes_every_check(name: str, tmp_path: Path) -> None:
    exchange = check_exchange(PROTOCOL, load_raw(name), tmp_path)

    assert exchange.outcome is (Outcome.UPSTREAM_ERROR if name.startswith("err_") else Outcome.COMPLETED)


@pytest.mark.parametrize("name", [name for name in NAMES if f"{name}_stream" in NAMES])
def test_a_streamed_answer_has_the_form_of_the_same_answer_without_streaming(name: str) -> None:
    """The server was asked the same at temperature 0: only ids differ, and whether reasoning has a status."""

    def shape(capture: str) -> Any:
        response = decode(load_raw(capture)).response
        assert response is not None
        (choice,) = response.choices
        items = [
            {key: value for key, value in item.items() if key not in ("id", "call_id", "status")}
            for item in choice.message.raw["output"]
        ]
        calls = [replace(call, call_id="…", emitted_ms=None) for call in choice.message.tool_calls]
        return items, calls, choice.finish_reason, choice.message.text, choice.message.reasoning

    assert shape(name) == shape(f"{name}_stream")


@given(st.sampled_from(SMALL), st.lists(st.integers(0, 20_000), max_size=30))
def test_a_capture_reads_the_same_however_it_is_cut(name: str, cuts: list[int]) -> None:
    raw = load_raw(name)

    assert decode(split_at(raw, [])) == decode(split_at(raw, cuts))


EVENT_KEYS = [
    *KEYS,
    "item",
    "item_id",
    "output_index",
    "content_index",
    "part",
    "delta",
    "response",
    "error",
    "refusal",
]
EVENT_WORDS = [*WORDS, "error", "fc_a", "msg_a", "reasoning_text", "summary_text", "refusal"]
EVENT_WORDS += [
    f"response.{name}"
    for name in (
        "created",
        "output_item.added",
        "output_item.done",
        "content_part.added",
        "content_part.done",
        "output_text.delta",
        "output_text.done",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "reasoning_summary_text.delta",
        "completed",
        "incomplete",
        "failed",
    )
]


@given(
    json_values(EVENT_KEYS, EVENT_WORDS),
    st.lists(
        st.dictionaries(st.sampled_from(EVENT_KEYS), json_values(EVENT_KEYS, EVENT_WORDS), max_size=6), max_size=5
    ),
    st.sampled_from([200, 400]),
)
def test_any_json_in_any_place_raises_nothing(request: Any, events: list[Any], status: int) -> None:
    check_tolerance("/v1/responses", request, events, status)


def hostile(size: int) -> dict[str, list[Any]]:
    """Return streams that would take quadratic time if items or parts were searched for."""
    message = {"type": "message", "role": "assistant", "content": []}
    text = {"type": "response.output_text.delta", "delta": "x"}
    final = [{**message, "id": f"other_{number}"} for number in range(size)]
    return {
        "items under other ids": [
            *({"type": "response.output_item.added", "item": {**message, "id": f"msg_{n}"}} for n in range(size)),
            {"type": "response.completed", "response": {"status": "completed", "output": final}},
        ],
        "many parts, then no number": [*({**text, "content_index": n} for n in range(size)), *([text] * size)],
        "pieces of one text": [text] * (2 * size),
    }


@pytest.mark.parametrize("name", hostile(1))
def test_the_time_to_assemble_grows_in_step_with_the_stream(name: str) -> None:
    def seconds(size: int) -> float:
        stream = "".join(f"data: {json.dumps(event)}\n\n" for event in hostile(size)[name]).encode()
        best = float("inf")
        for _ in range(2):
            assembler = PROTOCOL.stream(DecodeContext())
            start = time.process_time()
            assembler.receive_data(stream, 1)
            response = assembler.close()
            best = min(best, time.process_time() - start)
        assert response.choices
        return best

    assert seconds(8000) / seconds(2000) < 8
