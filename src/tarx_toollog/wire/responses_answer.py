"""A response object of OpenAI Responses: from the body, or what a stream left of it, to ``Response``.

Theory: there is no finish reason on this protocol, only the status of the response (``completed``,
``incomplete`` with a reason, ``failed``). The normalised finish reason follows from it: a completed answer that
holds calls for the client waits for their results, which is ``tool_calls`` elsewhere, and ``stop`` otherwise.

Only ``completed`` and ``incomplete`` hand an answer over. With any other status that the protocol has, the answer is
not whole although the body may be: ``failed`` is an error, whoever says why; ``cancelled``, and ``queued`` and
``in_progress`` of a response that was asked for in the background, end before the protocol's terminator. Of their calls
those are whole of which the server said so, one by one.

llama.cpp reports an answer that its token limit cut as ``completed``. Where as many tokens came as the request
allowed, the finish reason is ``length`` all the same, and a call whose arguments end in the middle is incomplete.

The object repeats large parts of its request (``tools``, ``instructions``); they are not kept twice.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from tarx_toollog.model import Choice, Message, Response, Usage
from tarx_toollog.wire.fields import DecodeContext, dict_or_empty, note_lone, text_or_none
from tarx_toollog.wire.openai_fields import first_extra, timing_of, usage_of
from tarx_toollog.wire.responses_items import OutputItem, group_of, read_output

ENDED = frozenset({"completed", "incomplete", "failed", "cancelled"})
"""Statuses of a response with which nothing more will come."""
_NOT_WHOLE = frozenset({"failed", "cancelled", "queued", "in_progress"})
_FAILED = {"code": "response_failed"}
"""Stands in for the error of a failed response that tells none."""
_HELD_KEYS = frozenset({"id", "model", "output", "usage", "error", "status", "incomplete_details"})
_ECHOED_KEYS = frozenset({"tools", "instructions", "input"})
_REASONS = {"max_output_tokens": "length", "max_tokens": "length"}


def response_of(
    body: Mapping[str, Any],
    items: Sequence[OutputItem],
    context: DecodeContext,
    *,
    is_over: bool,
    error: Mapping[str, Any] | None,
    in_stream: bool = False,
) -> Response:
    """Return the response.

    Args:
        body: The response object, as far as it came.
        items: What the model made; done are those that the server called whole.
        context: Seed of minted ids, and the request's token limit.
        is_over: The end was seen: a terminal event, or the body came as one.
        error: The error object, wherever it stood.
        in_stream: The response came as events.
    """
    timings = body.get("timings")
    usage = usage_of(body.get("usage"), timings, context)
    status = text_or_none(body.get("status")) or ("completed" if is_over else None)
    is_whole = is_over and status not in _NOT_WHOLE
    items = [item._replace(is_done=is_whole or item.is_done) for item in items]
    error = error or (_FAILED if is_over and status == "failed" else None)
    choices: tuple[Choice, ...] = ()
    if items or (is_whole and status in ("completed", "incomplete")):
        choices = (_choice(body, items, context, status if is_over else None, usage),)
    return Response(
        response_id=text_or_none(body.get("id")),
        model=text_or_none(body.get("model")),
        choices=choices,
        usage=usage,
        terminated=is_whole,
        prompt_ms=timing_of(timings, "prompt_ms", context),
        predicted_ms=timing_of(timings, "predicted_ms", context),
        error=error,
        error_in_stream=in_stream and error is not None,
        extra=first_extra(body.items(), _HELD_KEYS | _ECHOED_KEYS),
    )


def _choice(
    body: Mapping[str, Any],
    items: Sequence[OutputItem],
    context: DecodeContext,
    status: str | None,
    usage: Usage | None,
) -> Choice:
    for item in items:
        for key in ("content", "summary"):
            note_lone(item.raw.get(key), key, context)
    reason = text_or_none(dict_or_empty(body.get("incomplete_details")).get("reason"))
    at_limit = status == "completed" and _reached(context.output_limit, usage)
    message = read_output(
        group_of(item.raw for item in items),
        items,
        seed=context.uid,
        is_limited=at_limit or status == "incomplete",
    )
    finish_reason = "length" if at_limit else _finish_reason(status, reason, message)
    raw = f"{status}:{reason}" if status and reason else status
    return Choice(0, message, finish_reason, raw)


def _reached(limit: int | None, usage: Usage | None) -> bool:
    return bool(limit and usage and usage.output_tokens and usage.output_tokens >= limit)


def _finish_reason(status: str | None, reason: str | None, message: Message) -> str | None:
    if status == "completed":
        waits = any(call.origin != "server_side" for call in message.tool_calls)
        return "tool_calls" if waits else "stop"
    if status == "incomplete":
        return _REASONS.get(reason or "", reason or status)
    return status if status in ENDED else None
