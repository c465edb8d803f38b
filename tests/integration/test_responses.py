"""OpenAI Responses through the whole house: real clients and captures in, rows out.

A llama-server keeps no history, so the stateful form is played by a small server of this file's own.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import openai
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from tarx_toollog import Settings, ToolLog, ToolLogProxy
from tarx_toollog.capture.recorder import recorder_for
from tarx_toollog.wire.decode import decode
from tarx_toollog.wire.protocols import protocol_named
from tests.support.captures import load_raw
from tests.support.workers import serving

CHAIN = ["toy_chain_responses_1", "toy_chain_responses_2", "toy_chain_responses_3", "toy_chain_responses_4"]
TOOLS: list[Any] = [
    {"type": "function", "name": "tarx_recall", "parameters": {"type": "object", "properties": {}}, "strict": False},
    {"type": "mcp", "server_label": "files", "server_url": "https://files.example"},
]


def rows(log: ToolLog, sql: str) -> list[tuple[Any, ...]]:
    return list(log.query(sql).rows)


def write_chain(log: ToolLog, names: list[str]) -> None:
    for number, name in enumerate(names):
        raw = load_raw(name)
        begin = replace(raw.begin, started_ns=raw.begin.started_ns + number * 10**9)
        log.write([decode(replace(raw, begin=begin))])


def test_a_chain_that_the_client_keeps_is_one_conversation_with_its_results_paired(tmp_path: Path) -> None:
    with ToolLog.open(settings=Settings(database=str(tmp_path / "t.db")), read_only=False) as log:
        write_chain(log, CHAIN)

        steps = rows(log, "SELECT conversation_how, turn_no, step_no, assistant_echo FROM exchange ORDER BY id")
        chains = rows(log, "SELECT signature, chain_length, n_steps, n_unanswered, status FROM v_chains")
        results = rows(log, "SELECT match_how, confidence FROM tool_result ORDER BY id")
        bodies = [log.exchange(name).request for name in CHAIN]

    assert [("new", 1, 1, None), ("prefix", 1, 2, "same"), ("prefix", 1, 3, "same"), ("prefix", 1, 4, "same")] == steps
    assert [("tarx_recall>tarx_remember>tarx_save_conversation", 3, 4, 0, "answered")] == chains
    assert [("id", 1.0)] * 3 == results
    for name, request in zip(CHAIN, bodies, strict=True):
        assert request is not None
        assert json.loads(load_raw(name).request_body) == protocol_named("openai_responses").request_body(request)


def test_streamed_answers_are_recognised_in_the_history_although_their_ids_changed(tmp_path: Path) -> None:
    """The requests of these captures echo the answers that the same server gave without streaming."""
    with ToolLog.open(settings=Settings(database=str(tmp_path / "t.db")), read_only=False) as log:
        write_chain(log, [f"{name}_stream" for name in CHAIN])

        steps = rows(log, "SELECT conversation_how, turn_no, step_no, assistant_echo FROM exchange ORDER BY id")

    assert [("new", 1, 1, None), *(("prefix", 1, step, "reshaped") for step in (2, 3, 4))] == steps


# ---- a server that keeps the history --------------------------------------------------------------------------------


def response(number: int, body: dict[str, Any], *output: Any) -> dict[str, Any]:
    """Return a response object with everything that the SDK insists on."""
    return {
        "id": f"resp_{number}",
        "object": "response",
        "created_at": 1_795_334_350,
        "status": "completed",
        "model": "m-q4",
        "output": list(output),
        "tools": body.get("tools", []),
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "previous_response_id": body.get("previous_response_id"),
        "store": True,
        "usage": {
            "input_tokens": 20,
            "output_tokens": 7,
            "total_tokens": 27,
            "input_tokens_details": {"cached_tokens": 5},
            "output_tokens_details": {"reasoning_tokens": 3},
        },
    }


def stateful() -> Starlette:
    """Return a server that knows its own responses by id: it calls a tool, looks into a file, and answers."""
    known: list[str] = []

    def output(body: dict[str, Any]) -> list[Any]:
        if body.get("previous_response_id") is None:
            looked = {"type": "mcp_call", "id": "mcp_1", "server_label": "files", "name": "read_file"}
            call = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "tarx_recall"}
            return [
                {**looked, "arguments": '{"path": "a"}', "output": "hello", "status": "completed"},
                {**call, "arguments": '{"query": "city"}', "status": "completed"},
            ]
        text = {"type": "output_text", "text": f"Answer {len(known)}.", "annotations": []}
        return [{"type": "message", "id": "msg_1", "role": "assistant", "status": "completed", "content": [text]}]

    async def create(request: Request) -> Response:
        body = await request.json()
        before = body.get("previous_response_id")
        if before is not None and before not in known:
            error = {"message": f"no response {before}", "type": "invalid_request_error", "code": "not_found"}
            return JSONResponse({"error": error}, 404)
        made = response(len(known) + 1, body, *output(body))
        known.append(made["id"])
        return (
            StreamingResponse(events(made), media_type="text/event-stream")
            if body.get("stream")
            else JSONResponse(made)
        )

    return Starlette(routes=[Route("/v1/responses", create, methods=["POST"])])


def events(made: dict[str, Any]) -> Iterator[str]:
    steps: list[dict[str, Any]] = [
        {"type": "response.created", "response": {**made, "status": "in_progress", "output": []}}
    ]
    for index, item in enumerate(made["output"]):
        place = {"output_index": index, "item_id": item["id"]}
        begun = {**item, "status": "in_progress", **({"content": []} if "content" in item else {"arguments": ""})}
        steps.append({"type": "response.output_item.added", "output_index": index, "item": begun})
        if "content" in item:
            part = {**place, "content_index": 0}
            steps += [
                {"type": "response.content_part.added", **part, "part": {**item["content"][0], "text": ""}},
                {"type": "response.output_text.delta", **part, "delta": item["content"][0]["text"], "logprobs": []},
                {"type": "response.output_text.done", **part, "text": item["content"][0]["text"], "logprobs": []},
            ]
        else:
            kind = "function_call" if item["type"] == "function_call" else "mcp_call"
            arguments = item["arguments"]
            steps += [
                {"type": f"response.{kind}_arguments.delta", **place, "delta": arguments[:5]},
                {"type": f"response.{kind}_arguments.delta", **place, "delta": arguments[5:]},
                {"type": f"response.{kind}_arguments.done", **place, "arguments": arguments, "name": item["name"]},
            ]
        steps.append({"type": "response.output_item.done", "output_index": index, "item": item})
    steps.append({"type": "response.completed", "response": made})
    for number, step in enumerate(steps):
        yield f"event: {step['type']}\ndata: {json.dumps({**step, 'sequence_number': number})}\n\n"


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    with serving(stateful()) as upstream:
        made = Settings(database=str(tmp_path / "t.db"), upstream=upstream)
        yield made
        recorder_for(made).close()


@contextmanager
def logged(settings: Settings, path: str) -> Iterator[openai.OpenAI]:
    """Yield a client whose requests pass the proxy."""
    with (
        serving(ToolLogProxy(settings=settings)) as url,
        openai.OpenAI(base_url=f"{url}{path}", api_key="none", max_retries=0) as client,
    ):
        yield client


def ask(client: openai.OpenAI, *, stream: bool, **options: Any) -> Any:
    if not stream:
        return client.responses.create(model="m", store=True, **options)
    with client.responses.stream(model="m", store=True, **options) as running:
        for _ in running:
            pass
        return running.get_final_response()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_dialogue_that_the_server_keeps_is_logged_as_the_client_saw_it(stream: bool, settings: Settings) -> None:
    with logged(settings, "/s/demo/v1") as client:
        first = ask(client, stream=stream, input="Where do I live?", tools=TOOLS)
        result: Any = {"type": "function_call_output", "call_id": first.output[1].call_id, "output": "Lisbon"}
        second = ask(client, stream=stream, input=[result], previous_response_id=first.id)
        third = ask(client, stream=stream, input="And now?", previous_response_id=second.id)
    recorder = recorder_for(settings)
    assert recorder.flush(10), recorder.last_error

    with ToolLog.open(settings=settings) as log:
        uids = [uid for (uid,) in rows(log, "SELECT uid FROM exchange ORDER BY id")]
        exchanges = [log.exchange(uid) for uid in uids]
        calls = rows(log, "SELECT call_id, name, arguments, origin, complete FROM tool_call ORDER BY id")
        results = rows(log, "SELECT call_id, match_how FROM tool_result")
    assert [("openai_responses", "completed", ())] * 3 == [(e.protocol, e.outcome.value, e.notes) for e in exchanges]
    assert [None, first.id, second.id] == [e.request and e.request.previous_response_id for e in exchanges]
    assert [first.id, second.id, third.id] == [e.response and e.response.response_id for e in exchanges]
    assert [["user"], ["tool"], ["user"]] == [[m.role for m in e.request.messages] for e in exchanges if e.request]
    assert [
        ("mcp_1", "read_file", '{"path": "a"}', "server_side", 1),
        ("call_1", "tarx_recall", '{"query": "city"}', "native", 1),
    ] == calls
    assert [("call_1", "id")] == results
    answers = [e.response.choices[0] for e in exchanges if e.response]
    assert ["tool_calls", "stop", "stop"] == [answer.finish_reason for answer in answers]
    assert [r.output_text for r in (first, second, third)] == [answer.message.text for answer in answers]


def test_an_unknown_response_is_an_error_with_its_name(settings: Settings) -> None:
    with logged(settings, "/v1") as client, pytest.raises(openai.NotFoundError):
        ask(client, stream=False, input="x", previous_response_id="resp_99")
    assert recorder_for(settings).flush(10)

    with ToolLog.open(settings=settings) as log:
        found = rows(log, "SELECT protocol, outcome, http_status, error_type, error_text FROM exchange")
    assert [("openai_responses", "upstream_error", 404, "invalid_request_error", "no response resp_99")] == found
