"""The rows that one made-up exchange becomes, as values by column; ``bench.big_store`` inserts them. Pure.

What a bulk build knows about a dialogue while it goes through it stands in ``Talk``; the functions turn that and one
exchange into the columns that the writer would fill.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cache
from typing import Any, NamedTuple

from bench.talks import Asked, Dialogue, Toolset, answer_body, as_json, raw_exchange, request_body
from tarx_toollog.canonical import parse_arguments
from tarx_toollog.model import (
    EPOCH,
    Choice,
    Exchange,
    Message,
    Outcome,
    Request,
    Response,
    Timing,
    ToolCall,
    ToolDefinition,
    Usage,
)
from tarx_toollog.store.budget import Calibration, Size, budget, measure
from tarx_toollog.store.builds import Known
from tarx_toollog.store.frames import ExecutionReport
from tarx_toollog.store.labels import NewLabel
from tarx_toollog.store.results import ResultVerdict, judge_result
from tarx_toollog.store.verdicts import CallVerdict, judge_call
from tarx_toollog.wire.decode import decode
from tarx_toollog.wire.openai_chat import message_from_raw

Values = dict[str, Any]

_REPORT_COLUMNS = ("uid", "call_id", "name", "is_error", "error_type", "error_text", "source")
_CALL_COLUMNS = ("choice", "ordinal", "wire_index", "call_id", "id_state", "name", "arguments", "origin", "complete")


class Node(NamedTuple):
    """A place in a history."""

    id: int | None = None
    hash: bytes | None = None
    sem: bytes | None = None
    depth: int = -1
    is_common: bool = True
    """Whether any other dialogue may come by here."""


class Call(NamedTuple):
    """A call of a turn."""

    id: int
    call: ToolCall
    verdict: CallVerdict
    exchange: Exchange
    """Whose answer holds it."""

    @property
    def is_leaked(self) -> bool:
        return self.call.origin == "leaked_text"

    @property
    def is_bad(self) -> bool:
        verdict = self.verdict
        is_right = verdict.argument_state in ("ok", "empty") and verdict.schema_state != "fail" and verdict.offered
        return not (is_right and self.call.complete)


@dataclass(frozen=True, slots=True)
class Offer:
    """One toolset in the store."""

    template: Exchange
    """Offers it, and has no messages."""
    toolset_id: int
    tools: Mapping[str, ToolDefinition]
    definition_ids: Mapping[str, int]
    n_bytes: int

    @property
    def request(self) -> Request:
        assert self.template.request is not None
        return self.template.request


@dataclass(slots=True)
class Talk:
    """Where a dialogue stands."""

    dialogue: Dialogue
    offer: Offer
    conversation_id: int
    system_id: int | None
    system_bytes: int
    body_size: int
    """Of a request with the history so far."""
    node: Node = field(default_factory=Node)
    n_messages: int = 1
    history_bytes: int = 0
    turn_no: int = 0
    step_no: int = 0
    user_message_id: int | None = None
    steps: list[Exchange] = field(default_factory=list)
    """Those of the turn."""
    calls: list[Call] = field(default_factory=list)
    """Those of the turn."""
    errors: dict[int, bool] = field(default_factory=dict)
    """Row of a call of the turn that has a result → whether that is an error."""
    last_id: int | None = None
    last_tokens: int | None = None
    """Of the prompt before, where the server counted them."""
    last_size: int = 0
    """Bytes of the last message."""
    is_poisoned: bool = False
    known: dict[bytes, int] = field(default_factory=dict)
    """Hash of a message or of a history of this dialogue → its row."""
    before: Mapping[bytes, int] = field(default_factory=dict)
    """The same of the dialogue before, which may be repeated word by word."""


def answered(talk: Talk, asked: Asked) -> Exchange:
    """Return the exchange as the decoder gives it, but for the messages of its request."""
    dialogue = talk.dialogue
    if asked.is_spoiled:
        return decode(raw_exchange(dialogue, asked, request_body(dialogue, [], system=False)))
    first_ms = asked.first_ns / 1e6
    message = message_from_raw(asked.answer)
    calls = tuple(replace(call, wire_index=call.ordinal, emitted_ms=first_ms) for call in message.tool_calls)
    choice = Choice(0, replace(message, tool_calls=calls), asked.ending, asked.ending)
    response = Response(
        response_id=asked.response_id,
        model=talk.offer.request.model,
        choices=(choice,),
        usage=Usage(asked.input_tokens, asked.output_tokens),
        terminated=True,
        prompt_ms=asked.timings["prompt_ms"],
        predicted_ms=asked.timings["predicted_ms"],
        extra={"timings": asked.timings},
    )
    return replace(
        talk.offer.template,
        uid=asked.uid,
        started_ns=asked.started_ns,
        response=response,
        timing=Timing(first_ms, first_ms if calls else None, asked.took_ns / 1e6),
        client_key=dialogue.client_key,
        client_kind="program",
        conversation_hint=dialogue.hint,
        user_agent=dialogue.user_agent,
        response_size=len(answer_body(asked)),
    )


def begin_values(talk: Talk, item: Exchange, build: Known | None) -> Values:
    """Return what the request says, and where it belongs."""
    request = talk.offer.request
    return {
        "uid": item.uid,
        "leg": item.leg,
        "protocol": item.protocol,
        "method": item.method,
        "route": item.route,
        "stream": request.stream,
        "started_at": item.started_at,
        "conversation_id": talk.conversation_id,
        "conversation_how": "header",
        "conversation_confidence": 1.0,
        "turn_no": talk.turn_no,
        "step_no": talk.step_no,
        "parent_exchange_id": talk.last_id,
        "assistant_echo": None if talk.last_id is None else "same",
        "n_inner": 0,
        "system_node_id": talk.system_id,
        "input_node_id": talk.node.id,
        "input_sem": talk.node.sem,
        "user_message_id": talk.user_message_id,
        "toolset_id": talk.offer.toolset_id,
        "n_tools": len(request.tools),
        "n_messages": talk.n_messages,
        "params": {key: value for key, value in request.params.items() if key != "model"},
        "request_model": request.model,
        "poisoned": talk.is_poisoned,
        "model_build_id": None if build is None else build.id,
        "client_key": item.client_key,
        "client_kind": item.client_kind,
        "client_origin": item.client_origin,
        "user_agent": item.user_agent,
        "upstream": item.upstream,
        "request_size": talk.body_size,
        "notes": list(item.notes) or None,
    }


def finish_values(item: Exchange) -> Values:
    """Return what the answer says."""
    response = item.response or Response()
    choice = response.choices[0] if response.choices else None
    usage = response.usage
    return {
        "outcome": item.outcome,
        "http_status": item.http_status,
        "error_type": item.error_type,
        "error_text": item.error_text,
        "first_byte_ms": item.timing.first_byte_ms,
        "first_tool_ms": item.timing.first_tool_ms,
        "total_ms": item.timing.total_ms,
        "response_size": item.response_size,
        "response_id": response.response_id,
        "response_model": response.model,
        "terminated": response.terminated,
        "prompt_ms": response.prompt_ms,
        "predicted_ms": response.predicted_ms,
        "error_body": response.error,
        "error_in_stream": response.error_in_stream,
        "response_extra": dict(response.extra) or None,
        "finish_reason": choice.finish_reason if choice else None,
        "n_tool_calls": len(choice.message.tool_calls) if choice else 0,
        "n_leaked_calls": len(choice.leaked_calls) if choice else 0,
        "input_tokens": usage.input_tokens if usage else None,
        "output_tokens": usage.output_tokens if usage else None,
        "usage_source": usage.source if usage else None,
    }


def budget_values(
    talk: Talk, item: Exchange, build: Known | None, new_bytes: int, calibrations: dict[int | str | None, Calibration]
) -> Values:
    """Return how the context was spent, and learn from it."""
    size = Size(
        tools=talk.offer.n_bytes,
        system=talk.system_bytes,
        history=talk.history_bytes,
        new=new_bytes,
        growth=talk.last_size + new_bytes,
        has_images=False,
        has_hidden_history=False,
    )
    response = item.response or Response()
    key = build.id if build is not None else response.model or talk.offer.request.model
    calibration = calibrations.setdefault(key, Calibration())
    limit = None if build is None else build.n_ctx
    spent = budget(item, size, calibration, limit=limit, parent_input_tokens=talk.last_tokens)
    talk.last_tokens = response.usage.input_tokens if response.usage is not None else None
    if talk.last_tokens and spent.truncation == "none":
        calibration.learn(size, talk.last_tokens)
    values: Values = {
        "ctx_limit": spent.limit,
        "tool_tokens": spent.tool_tokens,
        "system_tokens": spent.system_tokens,
        "history_tokens": spent.history_tokens,
        "new_tokens": spent.new_tokens,
        "budget_source": spent.source,
        "truncation": spent.truncation,
    }
    if response.choices and response.usage is None:
        values |= {"input_tokens": spent.input_tokens, "usage_source": "estimated"}
    return values


def is_unreadable(call: ToolCall, verdict: CallVerdict) -> bool:
    """Say whether a call poisons the history that it stands in."""
    return verdict.argument_state not in ("ok", "empty") and parse_arguments(call.arguments).value is None


def call_values(talk: Talk, call: ToolCall, exchange_id: int, known: Collection[str]) -> tuple[Values, CallVerdict]:
    """Return the columns of a call, and the verdict on it; ``known`` are the tools that any request has offered."""
    verdict = judge_call(call, talk.offer.tools)
    values = {
        "exchange_id": exchange_id,
        "conversation_id": talk.conversation_id,
        "turn_no": talk.turn_no,
        "step_no": talk.step_no,
        "tool_definition_id": talk.offer.definition_ids.get(call.name),
        "known": call.name in known,
        "emitted_ms": call.emitted_ms,
        **{name: getattr(call, name) for name in _CALL_COLUMNS},
        **verdict._asdict(),
    }
    if verdict.argument_state != "repaired":
        values["arguments_json"] = None
    return values, verdict


def execution_values(talk: Talk, report: ExecutionReport) -> Values:
    """Return the columns of what a client reports of the run of a tool."""
    values = {name: getattr(report, name) for name in _REPORT_COLUMNS}
    return values | {
        "tool_call_id": _call(talk, report.call_id).id,
        "started_at": EPOCH + timedelta(microseconds=report.started_ns // 1000),
        "exec_ms": report.took_ns / 1e6,
    }


def _call(talk: Talk, call_id: str | None) -> Call:
    return next(call for call in talk.calls if call.call.call_id == call_id)


def result_values(talk: Talk, item: Exchange, message: Message, failed: Collection[str | None]) -> Values:
    """Return the columns of a result that do not name rows of this exchange; remember whether it is an error.

    ``failed`` are the calls whose tool was reported to have failed.
    """
    (result,) = message.tool_results
    answers = _call(talk, result.call_id)
    verdict = judge_result(result.text, result.is_error)
    if not verdict.is_error and result.call_id in failed:
        verdict = ResultVerdict(True, "exec")
    talk.errors[answers.id] = verdict.is_error
    called = answers.exchange
    waited = item.started_at - called.started_at - timedelta(milliseconds=called.timing.total_ms or 0)
    return {
        "tool_call_id": answers.id,
        "conversation_id": talk.conversation_id,
        "position": talk.n_messages,
        "part": 0,
        "call_id": result.call_id,
        "match_how": "id",
        "confidence": 1.0,
        "is_error": verdict.is_error,
        "error_how": verdict.how,
        "size": len(result.text),
        "latency_ms": waited.total_seconds() * 1000,
    }


def turn_values(talk: Talk) -> Values:
    """Return the columns of the turn that has ended."""
    first, last = talk.steps[0], talk.steps[-1]
    calls = [call for call in talk.calls if not call.is_leaked]
    is_answered = last.outcome == Outcome.COMPLETED
    is_pending = any(call.exchange is last for call in calls)
    duration = last.started_at + timedelta(milliseconds=last.timing.total_ms or 0) - first.started_at
    return {
        "conversation_id": talk.conversation_id,
        "turn_no": talk.turn_no,
        "user_message_id": talk.user_message_id,
        "last_exchange_id": talk.last_id,
        "signature": ">".join(call.call.name for call in calls),
        "n_steps": len(talk.steps),
        "chain_length": len(calls),
        "n_bad_calls": sum(call.is_bad for call in calls),
        "n_leaked": len(talk.calls) - len(calls),
        "n_error_results": sum(talk.errors.values()),
        "n_unanswered": sum(call.id not in talk.errors for call in calls),
        "status": "failed" if not is_answered else "pending" if is_pending else "answered",
        "started_at": first.started_at,
        "duration_ms": duration.total_seconds() * 1000,
    }


def label_values(dialogue: Dialogue) -> Iterator[Values]:
    """Yield the columns of the labels of a dialogue."""
    for number, label in enumerate(dialogue.labels, 1):
        said_at = EPOCH + timedelta(microseconds=dialogue.asked[-1].started_ns // 1000, hours=number)
        yield {name: getattr(label, name) for name in NewLabel.__slots__} | {"created_at": said_at}


@cache
def empty_size(system: str, toolset: Toolset) -> int:
    """Return the bytes of a request that has nothing but a system prompt and tools."""
    return len(request_body(Dialogue("", "", "", system, toolset, ()), []))


def sizes(first: Sequence[Message], then: Sequence[Message]) -> tuple[int, int]:
    """Return what messages take in a prompt, and what others behind them take."""
    size = measure(Request(None, (*first, *then), (), {}), len(first))
    return size.history, size.system + size.new


def json_size(message: Message) -> int:
    """Return the bytes that a message adds to the body of a request."""
    return len(f", {as_json(dict(message.raw))}".encode())
