"""ollama-python through the proxy and the transport: the rows are what the client received."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import ollama
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tarx_toollog import Settings, ToolLog, ToolLogProxy, ToolLogTransport
from tarx_toollog.canonical import canonical_json, parse_json
from tarx_toollog.wire.decode import decode
from tarx_toollog.wire.protocols import protocol_named
from tests.support.asgi import query, recording, stored
from tests.support.builders import raw_exchange
from tests.support.ollama_server import MODEL, Answer, OllamaServer
from tests.support.ollama_server import ollama as ollama_server
from tests.support.workers import serving

RECALL = ("tarx_recall", {"query": "city"})
REMEMBER = ("tarx_remember", {"value": "the trams", "key": "likes"})
RESULTS = {"tarx_recall": "Lisbon", "tarx_remember": '{"error": "disk full"}'}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "description": "A tool of TARX",
            "parameters": {"type": "object", "properties": {key: {"type": "string"} for key in arguments}},
        },
    }
    for name, arguments in (RECALL, REMEMBER)
]
Received = list[tuple[str, dict[str, Any]]]


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[Settings]:
    with recording(tmp_path) as made:
        yield made


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ToolLog]:
    with ToolLog.open(settings=Settings(database=str(tmp_path / "t.db")), read_only=False) as opened:
        yield opened


@contextmanager
def client_of(
    settings: Settings, server: OllamaServer, *, tap: str = "proxy", prefix: str = ""
) -> Iterator[ollama.Client]:
    """Yield a client whose chats pass one tap."""
    settings = settings.model_copy(update={"upstream": server.url})
    if tap == "transport":
        with ollama.Client(server.url, transport=ToolLogTransport(settings=settings), timeout=30) as client:
            yield client
        return
    with serving(ToolLogProxy(settings=settings)) as url, ollama.Client(url + prefix, timeout=30) as client:
        yield client


def ask(client: ollama.Client, messages: list[Any], *, stream: bool, **options: Any) -> ollama.Message:
    """Ask once; return the message, its pieces put together as the client hands them over."""
    asked: dict[str, Any] = {"model": MODEL, "messages": messages, "tools": TOOLS, **options}
    if not stream:
        message: ollama.Message = client.chat(**asked).message
        return message
    content, thinking = "", ""
    calls: list[Any] = []
    for part in client.chat(stream=True, **asked):
        content += part.message.content or ""
        thinking += part.message.thinking or ""
        calls += part.message.tool_calls or []
    return ollama.Message(role="assistant", content=content, thinking=thinking or None, tool_calls=calls or None)


def converse(client: ollama.Client, *, stream: bool) -> tuple[str, Received]:
    """Run the tool loop on the client's side; return the answer and all calls received."""
    messages: list[Any] = [{"role": "user", "content": "Where do I live? Remember that I like the trams."}]
    received: Received = []
    while True:
        message = ask(client, messages, stream=stream)
        if not message.tool_calls:
            return message.content or "", received
        messages.append(message)
        for call in message.tool_calls:
            received.append((call.function.name, dict(call.function.arguments)))
            content = RESULTS[call.function.name]
            messages.append({"role": "tool", "tool_name": call.function.name, "content": content})


@pytest.mark.parametrize("ids", [False, True], ids=["no ids", "ids"])
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("tap", ["proxy", "transport"])
def test_a_chain_of_calls_is_one_conversation(tap: str, stream: bool, ids: bool, settings: Settings) -> None:
    script = (
        Answer(calls=(RECALL,), thinking="They ask for a city.", ids=ids),
        Answer("One moment.", calls=(REMEMBER,), ids=ids),
        Answer("You live in Lisbon."),
    )
    with ollama_server(*script) as server, client_of(settings, server, tap=tap) as client:
        text, received = converse(client, stream=stream)

    assert ("You live in Lisbon.", [RECALL, REMEMBER]) == (text, received)
    rows = stored(settings)
    # The proxy hands an answer over after its last byte: the next request may come into the journal first.
    calls = query(settings, "SELECT tc.* FROM tool_call tc JOIN exchange e ON e.id = tc.exchange_id ORDER BY e.step_no")
    assert received == [(call["name"], json.loads(call["arguments"])) for call in calls]
    assert [
        (tap, "ollama_chat", "new", 1, 1, "completed", "stop", int(stream)),
        (tap, "ollama_chat", "prefix", 1, 2, "completed", "stop", int(stream)),
        (tap, "ollama_chat", "prefix", 1, 3, "completed", "stop", int(stream)),
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
    assert {(120, 9, "eval_count", 200.0, 450.0)} == {
        (row["input_tokens"], row["output_tokens"], row["usage_source"], row["prompt_ms"], row["predicted_ms"])
        for row in rows
    }
    # The client drops ids and names the tool instead, so the order pairs the results.
    assert [
        ("tarx_recall", "Lisbon", "order", 0),
        ("tarx_remember", '{"error": "disk full"}', "order", 1),
    ] == [
        (row["tool"], row["result"], row["match_how"], row["result_is_error"])
        for row in query(settings, "SELECT * FROM v_tool_calls ORDER BY called_at")
    ]
    assert [("tarx_recall>tarx_remember", 3, "answered", 1)] == [
        (row["signature"], row["n_steps"], row["status"], row["n_error_results"])
        for row in query(settings, "SELECT * FROM v_chains")
    ]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_what_is_read_from_the_store_is_what_was_on_the_wire(stream: bool, settings: Settings) -> None:
    script = (Answer("Hm.", calls=(RECALL, REMEMBER), thinking="Two things.", ids=True), Answer("Done."))
    with ollama_server(*script) as server, client_of(settings, server) as client:
        converse(client, stream=stream)
    rows = stored(settings)

    with ToolLog.open(settings=settings) as log:
        exchanges = [log.exchange(row["uid"]) for row in rows]

    requests = [exchange.request for exchange in exchanges]
    assert server.bodies == [protocol_named("ollama_chat").request_body(r) for r in requests if r is not None]
    assert [stream, stream] == [request.stream for request in requests if request is not None]
    (answer,) = exchanges[0].response.choices if exchanges[0].response else ()
    assert ("Hm.", "Two things.", ["call_00000000", "call_00000001"], [0, 1]) == (
        answer.message.text,
        answer.message.reasoning,
        [call.call_id for call in answer.message.tool_calls],
        [call.wire_index for call in answer.message.tool_calls],
    )


def test_results_in_another_order_are_paired_by_the_name_of_the_tool(settings: Settings) -> None:
    with (
        ollama_server(Answer(calls=(RECALL, REMEMBER)), Answer("Done.")) as server,
        client_of(settings, server) as client,
    ):
        messages: list[Any] = [{"role": "user", "content": "Do both"}]
        messages.append(ask(client, messages, stream=True))
        messages += [
            {"role": "tool", "tool_name": name, "content": RESULTS[name]} for name in ("tarx_remember", "tarx_recall")
        ]
        ask(client, messages, stream=True)

    stored(settings)
    assert [("tarx_recall", "Lisbon", "name"), ("tarx_remember", '{"error": "disk full"}', "name")] == [
        (row["tool"], row["result"], row["match_how"])
        for row in query(settings, "SELECT * FROM v_tool_calls ORDER BY tool")
    ]


def test_an_error_line_is_a_stream_error(settings: Settings) -> None:
    answer = Answer("Once upon a time", error="an error was encountered while running the model")
    told = pytest.raises(ollama.ResponseError, match="an error was encountered")
    with ollama_server(answer) as server, client_of(settings, server) as client, told:
        ask(client, [{"role": "user", "content": "Tell"}], stream=True)

    (row,) = stored(settings)
    assert ("stream_error", 200, "an error was encountered while running the model") == (
        row["outcome"],
        row["http_status"],
        row["error_text"],
    )
    assert [("Once upon a time",)] == [(r["answer"],) for r in query(settings, "SELECT answer FROM v_exchanges")]


def test_a_server_that_dies_in_the_middle_leaves_what_had_come(settings: Settings) -> None:
    answer = Answer("Once upon", calls=(RECALL,), dies=True)
    broken = pytest.raises(httpx.RemoteProtocolError)
    with ollama_server(answer) as server, client_of(settings, server) as client, broken:
        ask(client, [{"role": "user", "content": "Tell"}], stream=True)

    (row,) = stored(settings)
    assert ("upstream_error", None) == (row["outcome"], row["finish_reason"])
    assert [("tarx_recall", 0)] == [(r["name"], r["complete"]) for r in query(settings, "SELECT * FROM tool_call")]


def test_a_model_that_is_not_there_is_an_error_of_the_server(settings: Settings) -> None:
    with ollama_server() as server, client_of(settings, server) as client:
        for stream in (False, True):
            with pytest.raises(ollama.ResponseError, match="not found"):
                ask(client, [{"role": "user", "content": "Hi"}], stream=stream, model="nobody")

    assert [("upstream_error", 404, 'model "nobody" not found, try pulling it first')] * 2 == [
        (row["outcome"], row["http_status"], row["error_text"]) for row in stored(settings)
    ]


def test_loading_and_unloading_are_exchanges_without_text(settings: Settings) -> None:
    with ollama_server() as server, client_of(settings, server) as client:
        assert "load" == client.chat(MODEL, []).done_reason
        assert "unload" == client.chat(MODEL, [], keep_alive=0).done_reason

    assert [("load", "completed"), ("unload", "completed")] == [
        (row["finish_reason"], row["outcome"]) for row in stored(settings)
    ]


def test_the_conversation_may_stand_in_the_path(settings: Settings) -> None:
    script = (Answer("Hello."), Answer("Something else."))
    with ollama_server(*script) as server, client_of(settings, server, prefix="/s/mine") as client:
        for text in ("Hi", "Another topic"):
            ask(client, [{"role": "user", "content": text}], stream=True)

    assert ["/api/chat", "/api/chat"] == server.paths
    assert [("path", 1, "/s/mine/api/chat")] * 2 == [
        (row["conversation_how"], row["conversation_id"], row["route"]) for row in stored(settings)
    ]
    assert [("mine", "path")] == [
        (row["external_id"], row["source"]) for row in query(settings, "SELECT * FROM conversation")
    ]


def test_what_is_no_chat_passes_and_leaves_no_row(settings: Settings) -> None:
    with ollama_server(Answer("Hello.")) as server, client_of(settings, server) as client:
        assert ["completion", "tools"] == client.show(MODEL).capabilities
        assert [MODEL] == [model.model for model in client.list().models]
        assert [MODEL] == [model.model for model in client.ps().models]
        ask(client, [{"role": "user", "content": "Hi"}], stream=False)

    assert ["/api/show", "/api/tags", "/api/ps", "/api/chat"] == server.paths
    assert ["ollama_chat"] == [row["protocol"] for row in stored(settings)]


WORDS = st.text(st.characters(exclude_categories=[]), max_size=8)  # lone surrogates and NUL included
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**80), 2**80) | st.floats(allow_nan=False) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=3),
    max_leaves=6,
)
FUNCTION = st.fixed_dictionaries({"name": WORDS}, optional={"arguments": VALUES, "index": st.integers(0, 3)})
CALLS = st.lists(st.fixed_dictionaries({"function": FUNCTION}, optional={"id": WORDS | st.integers()}), max_size=3)
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "assistant", "tool"])},
    optional={
        "content": WORDS | VALUES,
        "thinking": WORDS,
        "images": st.lists(WORDS, max_size=2),
        "tool_name": WORDS,
        "tool_call_id": WORDS,
        "tool_calls": CALLS | VALUES,
    },
)


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    messages=st.lists(MESSAGE, max_size=4),
    message=MESSAGE,
    params=st.fixed_dictionaries(
        {}, optional={"stream": st.none() | st.booleans(), "options": VALUES, "think": VALUES}
    ),
)
def test_what_is_read_is_what_was_written_and_the_body_is_made_again(
    log: ToolLog, messages: Any, message: dict[str, Any], params: dict[str, Any]
) -> None:
    answer = {
        "model": MODEL,
        "created_at": "t",
        "message": message,
        "done": True,
        "done_reason": "stop",
        "eval_count": 3,
    }
    raw = raw_exchange(messages, None, body=answer, path="/api/chat", tools=TOOLS, params=params)
    written = decode(raw)
    log.write([written])

    read = log.exchange(written.uid)

    assert written == read
    assert read.request is not None
    rebuilt = protocol_named("ollama_chat").request_body(read.request)
    assert canonical_json(parse_json(raw.request_body)) == canonical_json(rebuilt)
