"""The columns of an exchange and of its calls that follow from the exchange alone, without a look into the store."""

from typing import Any

from tarx_toollog.model import Exchange, Outcome, Request, ToolCall
from tarx_toollog.store.verdicts import CallVerdict


def call_values(call: ToolCall, verdict: CallVerdict, definition_id: int | None) -> dict[str, Any]:
    """Return the columns of a call that need no other row but that of its definition."""
    values = {
        "choice": call.choice,
        "ordinal": call.ordinal,
        "wire_index": call.wire_index,
        "call_id": call.call_id,
        "id_state": call.id_state,
        "name": call.name,
        "tool_definition_id": definition_id,
        "arguments": call.arguments,
        "origin": call.origin,
        "complete": call.complete,
        "emitted_ms": call.emitted_ms,
        **verdict._asdict(),
    }
    if verdict.argument_state != "repaired":
        values["arguments_json"] = None  # the string says it already, and a long text would be kept twice
    return values


def begin_values(item: Exchange) -> dict[str, Any]:
    """Return what a request says in columns of its exchange, which is open."""
    request = item.request
    return {
        "uid": item.uid,
        "leg": item.leg,
        "protocol": item.protocol,
        "method": item.method,
        "route": item.route,
        "stream": request.stream if request else False,
        "started_at": item.started_at,
        "outcome": Outcome.OPEN,
        "n_inner": 0,
        "n_tools": len(request.tools) if request else 0,
        "n_messages": len(request.messages) if request else 0,
        "n_tool_calls": 0,
        "n_leaked_calls": 0,
        "params": _params(request) if request else None,
        "layout": list(request.layout) or None if request else None,
        "request_model": request.model if request else None,
        "client_key": item.client_key,
        "client_kind": item.client_kind,
        "client_origin": item.client_origin,
        "user_agent": item.user_agent,
        "upstream": item.upstream,
        "request_size": item.request_size,
        "response_size": 0,
        "notes": list(item.notes) or None,
    }


def _params(request: Request) -> dict[str, Any]:
    params = dict(request.params)
    if request.model is not None and params.get("model") == request.model:
        del params["model"]  # it has a column of its own; ``reader.params_of`` puts it back
    return params


def if_other(raw: str | None, normal: str | None) -> str | None:
    """Return what the server wrote, where the normal form says something else."""
    return None if raw == normal else raw


def finish_values(item: Exchange) -> dict[str, Any]:
    """Return what an answer says in columns of its exchange."""
    response = item.response
    values: dict[str, Any] = {
        "outcome": item.outcome,
        "http_status": item.http_status,
        "error_type": item.error_type,
        "error_text": item.error_text,
        "first_byte_ms": item.timing.first_byte_ms,
        "first_tool_ms": item.timing.first_tool_ms,
        "total_ms": item.timing.total_ms,
        "response_size": item.response_size,
        "notes": list(item.notes) or None,
    }
    if response is None:
        return values
    first = response.choices[0] if response.choices else None
    values |= {
        "response_id": response.response_id,
        "response_model": response.model,
        "terminated": response.terminated,
        "prompt_ms": response.prompt_ms,
        "predicted_ms": response.predicted_ms,
        "error_body": None if response.error is None else dict(response.error),
        "error_in_stream": response.error_in_stream,
        "response_extra": dict(response.extra) or None,
        "finish_reason": first.finish_reason if first else None,
        "finish_reason_raw": if_other(first.finish_reason_raw, first.finish_reason) if first else None,
        "n_tool_calls": sum(len(answer.message.tool_calls) for answer in response.choices),
        "n_leaked_calls": sum(len(answer.leaked_calls) for answer in response.choices),
    }
    if response.usage is not None:
        values |= {
            "input_tokens": response.usage.input_tokens,
            "output_tokens": response.usage.output_tokens,
            "cached_tokens": response.usage.cached_tokens,
            "reasoning_tokens": response.usage.reasoning_tokens,
            "usage_source": response.usage.source,
        }
    return values
