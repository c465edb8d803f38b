"""anthropic-python through the taps against scripted answers in Anthropic's own form, and Messages in the store."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tarx_toollog import Settings, ToolLog, ToolLogProxy, ToolLogTransport
from tarx_toollog.canonical import canonical_json, parse_json
from tarx_toollog.wire.decode import decode
from tarx_toollog.wire.protocols import protocol_named
from tests.support.asgi import query, recording, stored
from tests.support.builders import exchange, raw_exchange
from tests.support.upstream import CHUNKED, SSE, Connection, Request, Upstream, running
from tests.support.workers import serving

RECALL = {"type": "tool_use", "id": "toolu_01", "name": "tarx_recall", "input": {"query": "city"}}
REMEMBER = {"type": "tool_use", "id": "toolu_02", "name": "tarx_remember", "input": {"key": "likes", "value": "trams"}}
THINKING = {"type": "thinking", "thinking": "They ask for a city.", "signature": "EqQB=="}
SYSTEM = [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]
TOOLS: list[Any] = [
    {
        "name": name,
        "description": "A tool of TARX",
        "input_schema": {
            "type": "object",
            "properties": {key: {"type": "string"} for key in keys},
            "required": list(keys),
        },
    }
    for name, keys in (("tarx_recall", ("query",)), ("tarx_remember", ("key", "value")))
]
USAGE = {"input_tokens": 5, "cache_read_input_tokens": 100, "cache_creation_input_tokens": 20, "output_tokens": 1}
ROUTE = "/v1/messages"


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    with recording(tmp_path) as made:
        yield made


def text(words: str) -> dict[str, Any]:
    return {"type": "text", "text": words}


def result(block: dict[str, Any], content: Any, **more: Any) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": block["id"], "content": content, **more}


def said(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def told(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "user", "content": list(blocks)}


def answer(*blocks: dict[str, Any]) -> dict[str, Any]:
    """Return a whole answer."""
    reason = "tool_use" if any(block["type"] == "tool_use" for block in blocks) else "end_turn"
    head = {"id": "msg_01", "type": "message", "role": "assistant", "model": "claude-x"}
    return {**head, "content": list(blocks), "stop_reason": reason, "stop_sequence": None, "usage": USAGE}


# ---- the client -----------------------------------------------------------------------------------------------------


def events_of(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the events of an answer, as Anthropic's reference shows them."""
    yield {"type": "message_start", "message": {**body, "content": [], "stop_reason": None}}
    yield {"type": "ping"}
    for index, block in enumerate(body["content"]):
        pieces: list[dict[str, Any]] = []
        if block["type"] == "text":
            start: dict[str, Any] = {**block, "text": ""}
            pieces = [{"type": "text_delta", "text": letter} for letter in block["text"]]
        elif block["type"] == "thinking":
            start = {**block, "thinking": "", "signature": ""}
            pieces = [{"type": "thinking_delta", "thinking": letter} for letter in block["thinking"]]
            pieces += [{"type": "signature_delta", "signature": block["signature"]}]
        else:
            start = {**block, "input": {}}
            written = json.dumps(block["input"])
            pieces = [{"type": "input_json_delta", "partial_json": part} for part in ("", written[:4], written[4:])]
        yield {"type": "content_block_start", "index": index, "content_block": start}
        yield from ({"type": "content_block_delta", "index": index, "delta": delta} for delta in pieces)
        yield {"type": "content_block_stop", "index": index}
    delta = {"stop_reason": body["stop_reason"], "stop_sequence": None}
    yield {"type": "message_delta", "delta": delta, "usage": {"output_tokens": 12}}
    yield {"type": "message_stop"}


def as_bytes(event: dict[str, Any]) -> bytes:
    return f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode()


@contextmanager
def scripted(*answers: Any) -> Iterator[Upstream]:
    """Run a server that gives these answers, streamed where it is asked to; a list is a list of events."""
    left = list(answers)

    def play(request: Request, connection: Connection) -> None:
        given_answer = left.pop(0)
        if isinstance(given_answer, dict) and not json.loads(request.body).get("stream"):
            data = json.dumps(given_answer).encode()
            status = 529 if given_answer["type"] == "error" else 200
            connection.head(status, ("content-type", "application/json"), ("content-length", str(len(data))))
            connection.send(data)
            return
        connection.head(200, SSE, CHUNKED)
        for event in given_answer if isinstance(given_answer, list) else events_of(given_answer):
            connection.chunk(as_bytes(event))
        connection.chunk(b"")

    with running(play) as up:
        yield up


@contextmanager
def client_of(
    settings: Settings, up: Upstream, *, tap: str = "proxy", prefix: str = ""
) -> Iterator[anthropic.Anthropic]:
    """Yield a client whose messages pass one tap."""
    settings = settings.model_copy(update={"upstream": up.url})
    options: dict[str, Any] = {"api_key": "none", "max_retries": 0, "timeout": 30}
    if tap == "transport":
        transport: Any = ToolLogTransport(settings=settings)  # it serves httpx as well, which its type names
        with (
            httpx2.Client(transport=transport) as http,
            anthropic.Anthropic(base_url=up.url, http_client=http, **options) as client,
        ):
            yield client
        return
    with (
        serving(ToolLogProxy(settings=settings)) as url,
        anthropic.Anthropic(base_url=url + prefix, **options) as client,
    ):
        yield client


def ask(client: anthropic.Anthropic, messages: list[Any], *, stream: bool) -> Any:
    """Ask once; return the message as the client hands it over."""
    asked: dict[str, Any] = {"model": "claude-x", "max_tokens": 100, "system": SYSTEM, "tools": TOOLS}
    if not stream:
        return client.messages.create(messages=messages, **asked)
    with client.messages.stream(messages=messages, **asked) as answered:
        return answered.get_final_message()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("tap", ["proxy", "transport"])
def test_a_chain_with_two_results_in_one_message_is_one_turn(tap: str, stream: bool, settings: Settings) -> None:
    script = (answer(THINKING, text("Let me look."), RECALL, REMEMBER), answer(text("You live in Lisbon.")))
    messages: list[Any] = [{"role": "user", "content": "Where do I live?"}]
    with scripted(*script) as up, client_of(settings, up, tap=tap) as client:
        first = ask(client, messages, stream=stream)
        messages += [
            {"role": "assistant", "content": first.content},
            told(result(RECALL, [text("Lis"), text("bon")]), result(REMEMBER, "disk full", is_error=True)),
        ]
        second = ask(client, messages, stream=stream)
        bodies = [json.loads(request.body) for request in up.requests]

    rows = stored(settings)
    assert [(tap, "anthropic_messages", 1, 1, "new", None), (tap, "anthropic_messages", 1, 2, "prefix", "same")] == [
        (
            row["leg"],
            row["protocol"],
            row["turn_no"],
            row["step_no"],
            row["conversation_how"],
            # The client adds keys of its own to the blocks that it sends back.
            row["assistant_echo"] and row["assistant_echo"].replace("reshaped", "same"),
        )
        for row in rows
    ]
    assert {(125, 100, int(stream))} == {(row["input_tokens"], row["cached_tokens"], row["stream"]) for row in rows}
    received = [(block.id, block.name, block.input) for block in first.content if block.type == "tool_use"]
    assert received == [
        (call["call_id"], call["name"], json.loads(call["arguments"]))
        for call in query(settings, "SELECT * FROM tool_call ORDER BY ordinal")
    ]
    assert [("Lisbon", "id", 0, None), ("disk full", "id", 1, "flag")] == [
        (row["text"], row["match_how"], row["is_error"], row["error_how"])
        for row in query(settings, "SELECT * FROM tool_result ORDER BY part")
    ]
    assert [("tarx_recall>tarx_remember", 2, "answered", 1)] == [
        (row["signature"], row["n_steps"], row["status"], row["n_error_results"])
        for row in query(settings, "SELECT * FROM v_chains")
    ]
    with ToolLog.open(settings=settings) as log:
        exchanges = [log.exchange(row["uid"]) for row in rows]
    protocol = protocol_named("anthropic_messages")
    assert bodies == [protocol.request_body(e.request) for e in exchanges if e.request is not None]
    assert [said(THINKING, text("Let me look."), RECALL, REMEMBER), said(*(b.to_dict() for b in second.content))] == [
        e.response.choices[0].message.raw for e in exchanges if e.response is not None
    ]


def test_the_conversation_may_stand_in_the_path(settings: Settings) -> None:
    script = (answer(text("Hello.")), answer(text("Something else.")))
    with scripted(*script) as up, client_of(settings, up, prefix="/s/mine") as client:
        for words in ("Hi", "Another topic"):
            ask(client, [{"role": "user", "content": words}], stream=True)
        targets = [request.target.partition(b"?")[0] for request in up.requests]

    assert [ROUTE.encode()] * 2 == targets
    assert [("path", 1, "/s/mine/v1/messages")] * 2 == [
        (row["conversation_how"], row["conversation_id"], row["route"]) for row in stored(settings)
    ]
    assert [("mine", "path")] == [
        (row["external_id"], row["source"]) for row in query(settings, "SELECT * FROM conversation")
    ]


def test_an_error_event_is_a_stream_error(settings: Settings) -> None:
    *begun, _, _ = events_of(answer(text("Hello")))
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
    failing = pytest.raises(anthropic.APIStatusError, match="Overloaded")
    with scripted([*begun, error]) as up, client_of(settings, up) as client, failing:
        ask(client, [{"role": "user", "content": "Hi"}], stream=True)

    (row,) = stored(settings)
    assert ("stream_error", 200, "overloaded_error", "Overloaded") == (
        row["outcome"],
        row["http_status"],
        row["error_type"],
        row["error_text"],
    )


def test_an_error_body_is_an_error_of_the_server(settings: Settings) -> None:
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}, "request_id": "req_01"}
    failing = pytest.raises(anthropic.APIStatusError, match="Overloaded")
    with scripted(error) as up, client_of(settings, up) as client, failing:
        ask(client, [{"role": "user", "content": "Hi"}], stream=False)

    (row,) = stored(settings)
    assert ("upstream_error", 529, "overloaded_error", {"request_id": "req_01"}) == (
        row["outcome"],
        row["http_status"],
        row["error_type"],
        json.loads(row["response_extra"]),
    )


# ---- the store ------------------------------------------------------------------------------------------------------


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ToolLog]:
    with ToolLog.open(settings=Settings(database=str(tmp_path / "t.db")), read_only=False) as opened:
        yield opened


def step(log: ToolLog, messages: list[Any], *blocks: dict[str, Any], at_s: float, **params: Any) -> None:
    made = {"system": SYSTEM, "max_tokens": 100, **params}
    log.write([exchange(messages, None, body=answer(*blocks), path=ROUTE, tools=TOOLS, params=made, at_s=at_s)])


def rows_of(log: ToolLog, sql: str) -> list[tuple[Any, ...]]:
    with ToolLog.open(settings=log.settings) as reader:
        return list(reader.query(sql).rows)


def test_a_tool_chain_of_many_steps_is_one_conversation_with_its_turns(log: ToolLog) -> None:
    history: list[Any] = [{"role": "user", "content": "Where do I live?"}]
    step(log, history, THINKING, text("I look."), RECALL, at_s=0)
    # The client leaves the thinking out, as many do.
    history += [said(text("I look."), RECALL), told(result(RECALL, "Lisbon"))]
    step(log, history, REMEMBER, at_s=2, system="Another date")
    history += [said(REMEMBER), told(result(REMEMBER, "no", is_error=True))]
    step(log, history, text("You live in Lisbon."), at_s=4)
    history += [said(text("You live in Lisbon.")), {"role": "user", "content": "Thanks"}]
    step(log, history, text("You are welcome."), at_s=9)

    assert [
        ("new", 1, 1, None),
        ("prefix", 1, 2, "reshaped"),
        ("prefix", 1, 3, "same"),
        ("prefix", 2, 1, "same"),
    ] == rows_of(log, "SELECT conversation_how, turn_no, step_no, assistant_echo FROM exchange ORDER BY id")
    assert [(1,)] == rows_of(log, "SELECT COUNT(*) FROM conversation")
    assert [("id", 1.0, 0), ("id", 1.0, 1)] == rows_of(
        log, "SELECT match_how, confidence, is_error FROM tool_result ORDER BY id"
    )
    assert [("tarx_recall>tarx_remember", 3, "answered", 0), ("", 1, "answered", 0)] == rows_of(
        log, "SELECT signature, n_steps, status, n_unanswered FROM turn ORDER BY turn_no"
    )


def test_results_are_paired_by_id_whatever_their_order(log: ToolLog) -> None:
    history: list[Any] = [{"role": "user", "content": "Do both"}]
    step(log, history, RECALL, REMEMBER, at_s=0)
    step(log, [*history, said(RECALL, REMEMBER), told(result(REMEMBER, "b"), result(RECALL, "a"))], text("Ok"), at_s=1)

    assert [("tarx_recall", "a", "id"), ("tarx_remember", "b", "id")] == rows_of(
        log, "SELECT tool, result, match_how FROM v_tool_calls ORDER BY ordinal"
    )


def test_an_empty_result_is_empty_and_not_the_message_around_it(log: ToolLog) -> None:
    history: list[Any] = [{"role": "user", "content": "Remember"}]
    step(log, history, REMEMBER, at_s=0)
    empty = {"type": "tool_result", "tool_use_id": REMEMBER["id"]}
    step(log, [*history, said(REMEMBER), told(empty)], text("Ok"), at_s=1)

    assert [("", 0)] == rows_of(log, "SELECT result, result_is_error FROM v_tool_calls")


WORDS = st.text(st.characters(exclude_categories=[]), max_size=8)  # lone surrogates and NUL included
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**80), 2**80) | st.floats(allow_nan=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)
BLOCK = st.fixed_dictionaries(
    {
        "type": st.sampled_from(
            ["text", "thinking", "tool_use", "tool_result", "server_tool_use", "web_search_tool_result", "image"]
        )
    },
    optional=dict.fromkeys(("text", "thinking", "id", "name", "input", "tool_use_id", "content"), WORDS | VALUES)
    | {"partial_json": WORDS, "is_error": st.booleans() | WORDS},
)
CONTENT = WORDS | st.lists(BLOCK, max_size=4) | VALUES
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system", "wizard"])},
    optional={"content": CONTENT, "x-more": VALUES},
)
TOOL = st.fixed_dictionaries({}, optional={"name": WORDS, "type": WORDS, "input_schema": VALUES, "description": VALUES})


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    messages=st.lists(MESSAGE, max_size=4),
    tools=st.none() | st.lists(TOOL, max_size=3),
    params=st.fixed_dictionaries({}, optional={"system": CONTENT, "max_tokens": VALUES, "metadata": VALUES}),
    blocks=st.lists(BLOCK, max_size=4),
)
def test_what_is_read_is_what_was_written_and_the_body_is_made_again(
    log: ToolLog, messages: Any, tools: Any, params: dict[str, Any], blocks: Any
) -> None:
    raw = raw_exchange(messages, None, body=answer(*blocks), path=ROUTE, tools=tools, params=params)
    written = decode(raw)
    log.write([written])

    read = log.exchange(written.uid)

    assert written == read
    assert read.request is not None
    rebuilt = protocol_named("anthropic_messages").request_body(read.request)
    assert canonical_json(parse_json(raw.request_body)) == canonical_json(rebuilt)
