"""Spans as a real receiver of OTLP reads them: the official messages, over real HTTP."""

import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from pydantic import ValidationError

from tarx_toollog.capture.recorder import recorder_for
from tarx_toollog.config import Settings
from tarx_toollog.otlp import sender as sender_module
from tarx_toollog.otlp.sender import SpanSender
from tarx_toollog.otlp.spans import span_of
from tests.support.asgi import exchange as written_by
from tests.support.asgi import recording, uids
from tests.support.builders import TOOLS, assistant, call, exchange, user
from tests.support.http_server import Handler, served_by


class Collector(Handler):
    """Takes traces as the specification says, and keeps them."""

    taken: list[ExportTraceServiceRequest]
    headers_seen: list[dict[str, str]]
    status = 200
    rejected = 0
    has_come: threading.Event

    def do_POST(self) -> None:  # noqa: N802 - the name that http.server calls
        assert self.path == "/v1/traces"
        body = self.rfile.read(int(self.headers["content-length"]))
        assert self.headers["content-type"] == "application/x-protobuf"
        type(self).headers_seen.append(dict(self.headers.items()))
        type(self).taken.append(ExportTraceServiceRequest.FromString(body))
        answer = ExportTraceServiceResponse(partial_success=ExportTracePartialSuccess(rejected_spans=self.rejected))
        self.answer(self.status, answer.SerializeToString())
        type(self).has_come.set()


@pytest.fixture
def collector() -> Iterator[tuple[type[Collector], str]]:
    made = type("Collector", (Collector,), {"taken": [], "headers_seen": [], "has_come": threading.Event()})
    with served_by(made) as url:
        yield made, url


def attributes(span: Span) -> dict[str, Any]:
    found = {}
    for pair in span.attributes:
        kind = pair.value.WhichOneof("value")
        value = getattr(pair.value, kind or "string_value")
        found[pair.key] = [one.string_value for one in value.values] if kind == "array_value" else value
    return found


ANSWER = assistant("", call("tarx_recall", {"query": "SECRET-ARGUMENT"}, "c1"))


def test_a_collector_gets_the_span_of_each_exchange(collector: tuple[type[Collector], str]) -> None:
    made, url = collector
    sender = SpanSender(url, "me")
    asked = exchange([user("SECRET-QUESTION")], ANSWER, tools=TOOLS, conversation_hint="talk", hint_source="header")
    sender.take(asked)
    sender.close()

    (message,) = made.taken
    (of_resource,) = message.resource_spans
    about = {pair.key: pair.value.string_value for pair in of_resource.resource.attributes}
    assert ("tarx-toollog", "me") == (about["service.name"], about["service.instance.id"])
    (span,) = of_resource.scope_spans[0].spans
    found = attributes(span)
    assert (f"chat {asked.request.model}", Span.SPAN_KIND_CLIENT) == (span.name, span.kind)  # type: ignore[union-attr]
    assert (16, 8) == (len(span.trace_id), len(span.span_id))
    assert asked.started_ns == span.start_time_unix_nano < span.end_time_unix_nano
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.conversation.id": "talk",
        "gen_ai.response.finish_reasons": ["tool_calls"],
        "tarx_toollog.exchange.uid": asked.uid,
        "tarx_toollog.tool_calls": ["tarx_recall"],
        "tarx_toollog.outcome": "completed",
    }
    assert expected == {name: found[name] for name in expected}
    assert "error.type" not in found
    assert b"SECRET" not in message.SerializeToString()
    assert (1, 0) == (sender.sent, sender.dropped)


def test_an_inner_exchange_is_a_child_in_the_trace_of_its_outer_one() -> None:
    outer = exchange([user("Do")], ANSWER)
    inner = exchange([user("Do")], ANSWER, outer_uid=outer.uid)
    parent, child = span_of(outer), span_of(inner)
    assert (parent.trace_id, parent.span_id) == (child.trace_id, child.parent_span_id)
    assert b"" == parent.parent_span_id
    assert child.span_id != parent.span_id


def test_what_failed_says_so_and_what_is_no_text_does_no_harm() -> None:
    failed = span_of(exchange([user("Do")], assistant("half", call("x\ud800y", "{", "c")), status=500))
    assert failed.status.code == Status.STATUS_CODE_ERROR
    assert failed.attributes
    assert "upstream_error" == attributes(failed)["tarx_toollog.outcome"]
    assert ["x?y"] == attributes(failed)["tarx_toollog.tool_calls"]
    huge = span_of(exchange([user("Do")], ANSWER, params={"seed": 2**70, "temperature": 1, "max_tokens": True}))
    found = attributes(huge)
    assert 1.0 == found["gen_ai.request.temperature"]
    assert not {"gen_ai.request.seed", "gen_ai.request.max_tokens"} & set(found)


@pytest.mark.parametrize(("status", "rejected", "counts"), [(503, 0, (0, 3)), (200, 2, (1, 2))])
def test_what_a_collector_does_not_take_is_counted_and_said(
    collector: tuple[type[Collector], str],
    caplog: pytest.LogCaptureFixture,
    status: int,
    rejected: int,
    counts: tuple[int, int],
) -> None:
    made, url = collector
    made.status, made.rejected = status, rejected
    sender = SpanSender(url, "me")
    with caplog.at_level(logging.WARNING, "tarx_toollog.otlp"):
        for _ in range(3):
            sender.take(exchange([user("Do")], ANSWER))
        sender.close()
    assert counts == (sender.sent, sender.dropped)
    said = [record.getMessage().split(": ")[0] for record in caplog.records]
    away = [f"{url}/v1/traces takes no spans"] if status == 503 else []
    assert [*away, f"{counts[1]} of 3 spans were dropped; the store has all exchanges"] == said


def test_a_collector_that_is_away_costs_nothing_but_its_spans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sender_module, "WAITING", 2)
    monkeypatch.setattr(sender_module, "_PAUSE_S", 30.0)
    monkeypatch.setattr(sender_module, "_BATCH", 1)
    sender = SpanSender("http://127.0.0.1:9", "me")
    for _ in range(50):
        sender.take(exchange([user("Do")], ANSWER))  # none of these may wait
    sender.close()
    assert (0, 50) == (sender.sent, sender.dropped)


def test_keys_come_from_the_standard_variable(
    collector: tuple[type[Collector], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    made, url = collector
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-key=a%20b,x-team = t")
    sender = SpanSender(url, "me")
    sender.take(exchange([user("Do")], ANSWER))
    sender.close()
    seen = made.headers_seen[0]
    assert ("a b", "t") == (seen["x-key"], seen["x-team"])


@pytest.mark.parametrize("address", ["127.0.0.1:4318", "ftp://x", ""])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ValidationError, match="http://"):
        Settings(otlp=address)


def test_who_has_not_installed_the_package_is_told_how(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tarx_toollog.config.find_spec", lambda name: None)
    with pytest.raises(ValidationError, match=r"pip install 'tarx-toollog\[otlp\]'"):
        Settings(otlp="http://127.0.0.1:4318")


def test_a_log_sends_what_it_has_stored(collector: tuple[type[Collector], str], tmp_path: Path) -> None:
    made, url = collector
    with recording(tmp_path, otlp=url) as settings:
        written = {written_by(recorder_for(settings)) for _ in range(2)}
    sent = [attributes(span) for message in made.taken for span in message.resource_spans[0].scope_spans[0].spans]
    assert written == set(uids(settings)) == {found["tarx_toollog.exchange.uid"] for found in sent}
