"""What becomes of an exchange as a span: the whole mapping, in one file.

Names and meanings follow the semantic conventions of OpenTelemetry for generative AI
(https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/, 1.37), which are still in development; what they have
no name for stands under ``tarx_toollog``. Texts, arguments and results do not leave the store.

An exchange that others were made during (a Workbench that loops over tools) is their parent: all are one trace.
"""

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from urllib.parse import urlsplit
from uuid import UUID

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, ArrayValue, InstrumentationScope, KeyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from tarx_toollog._version import __version__
from tarx_toollog.model import Exchange, Outcome

SCHEMA_URL = "https://opentelemetry.io/schemas/1.37.0"
SERVICE = "tarx-toollog"
_PROVIDERS = {"openai_chat": "openai", "openai_responses": "openai", "anthropic": "anthropic", "ollama": "ollama"}
"""Protocol → the provider whose protocol it is: who serves it cannot be told from the wire."""
_PARAMETERS = {
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "top_k": "gen_ai.request.top_k",
    "max_tokens": "gen_ai.request.max_tokens",
    "max_completion_tokens": "gen_ai.request.max_tokens",
    "max_output_tokens": "gen_ai.request.max_tokens",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "seed": "gen_ai.request.seed",
}
"""Key of a request → attribute."""
_WHOLE = {"gen_ai.request.max_tokens", "gen_ai.request.seed", "gen_ai.request.top_k"}
_LARGEST = 2**63 - 1  # of an integer attribute

_Value = str | bool | int | float | Sequence[str] | None


def span_of(exchange: Exchange) -> Span:
    """Return the span of an exchange that has ended; of secrets it holds what the exchange does."""
    outer = exchange.outer_uid
    model = None if exchange.request is None else exchange.request.model
    took_ns = int((exchange.timing.total_ms or 0.0) * 1e6)
    return Span(
        trace_id=UUID(outer or exchange.uid).bytes,
        span_id=_span_id(exchange.uid),
        parent_span_id=b"" if outer is None else _span_id(outer),
        name=f"chat {model}" if model else "chat",
        kind=Span.SPAN_KIND_CLIENT,
        start_time_unix_nano=exchange.started_ns,
        end_time_unix_nano=exchange.started_ns + took_ns,
        attributes=[KeyValue(key=key, value=_any(value)) for key, value in _attributes(exchange) if value is not None],
        status=_status(exchange),
    )


def batch(spans: Sequence[Span], instance: str) -> ExportTraceServiceRequest:
    """Return the message that carries spans.

    Args:
        spans: At least one.
        instance: Id of this process.
    """
    about = {"service.name": SERVICE, "service.version": __version__, "service.instance.id": instance}
    resource = Resource(attributes=[KeyValue(key=key, value=_any(value)) for key, value in about.items()])
    scope = InstrumentationScope(name="tarx_toollog", version=__version__)
    inner = ScopeSpans(scope=scope, spans=spans, schema_url=SCHEMA_URL)
    return ExportTraceServiceRequest(resource_spans=[ResourceSpans(resource=resource, scope_spans=[inner])])


def _span_id(uid: str) -> bytes:
    # Not a part of the uid: its beginning is the time, its end is shared with the trace's id.
    return blake2b(uid.encode(), digest_size=8).digest()


def _status(exchange: Exchange) -> Status:
    is_good = exchange.outcome in (Outcome.COMPLETED, Outcome.CLIENT_DISCONNECTED)
    return Status(code=Status.STATUS_CODE_UNSET if is_good else Status.STATUS_CODE_ERROR)


def _attributes(exchange: Exchange) -> Iterator[tuple[str, _Value]]:
    yield "gen_ai.operation.name", "chat"
    yield "gen_ai.provider.name", _PROVIDERS.get(exchange.protocol, exchange.protocol)
    yield "gen_ai.conversation.id", exchange.conversation_hint
    if exchange.outcome is not Outcome.COMPLETED:
        yield "error.type", exchange.error_type or exchange.outcome.value
    yield from _of_request(exchange)
    yield from _of_response(exchange)
    yield "http.response.status_code", exchange.http_status
    if exchange.upstream is not None:
        place = urlsplit(exchange.upstream)
        yield "server.address", place.hostname
        yield "server.port", place.port
    yield "tarx_toollog.exchange.uid", exchange.uid
    yield "tarx_toollog.leg", exchange.leg
    yield "tarx_toollog.outcome", exchange.outcome.value
    yield "tarx_toollog.first_byte_ms", exchange.timing.first_byte_ms


def _of_request(exchange: Exchange) -> Iterator[tuple[str, _Value]]:
    request = exchange.request
    if request is None:
        return
    yield "gen_ai.request.model", request.model
    for key, name in _PARAMETERS.items():
        value = request.params.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST:
            yield name, int(value) if name in _WHOLE else float(value)
    yield "tarx_toollog.n_tools", len(request.tools)


def _of_response(exchange: Exchange) -> Iterator[tuple[str, _Value]]:
    response = exchange.response
    if response is None:
        return
    yield "gen_ai.response.id", response.response_id
    yield "gen_ai.response.model", response.model
    reasons = [choice.finish_reason for choice in response.choices if choice.finish_reason is not None]
    yield "gen_ai.response.finish_reasons", reasons or None
    if response.usage is not None:
        yield "gen_ai.usage.input_tokens", response.usage.input_tokens
        yield "gen_ai.usage.output_tokens", response.usage.output_tokens
    called = [call.name for choice in response.choices for call in choice.message.tool_calls]
    leaked = [call.name for choice in response.choices for call in choice.leaked_calls]
    yield "tarx_toollog.tool_calls", called or None
    yield "tarx_toollog.leaked_calls", leaked or None


def _any(value: _Value) -> AnyValue:
    if isinstance(value, str):
        return AnyValue(string_value=_utf8(value))
    if isinstance(value, bool):
        return AnyValue(bool_value=value)
    if isinstance(value, int):
        return AnyValue(int_value=min(value, _LARGEST))
    if isinstance(value, float):
        return AnyValue(double_value=value)
    return AnyValue(array_value=ArrayValue(values=[AnyValue(string_value=_utf8(one)) for one in value or ()]))


def _utf8(text: str) -> str:
    """Return a text without halves of surrogate pairs, which are no UTF-8."""
    return text.encode("utf-8", "replace").decode("utf-8")
