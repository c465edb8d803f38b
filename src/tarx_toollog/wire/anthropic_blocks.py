"""Content blocks of Anthropic Messages: what a message, its calls, results and reasoning are, read from them.

Theory: the content of a message is a string or a list of blocks. Text, thinking, calls (``tool_use``) and results
(``tool_result``) are all blocks, so one user message may carry several results, and ``tool_results`` has one entry
for each. The arguments of a call are an object, ``input``; the argument string is that object as JSON, in the order
of its keys. A streamed call is the same: its pieces of text are only the object's way over the wire, so a streamed
answer and a whole one read alike. Text that is no object, because the answer was cut or the model wrote nonsense,
stays as it came, under ``partial_json`` in place of ``input``.

llama.cpp has no place for such text in a whole answer and writes an empty ``input``. So where the token limit ended an
answer whose last block is a call without arguments, they count as lost and the call as incomplete.

Calls that the server carries out itself (``server_tool_use``, ``mcp_tool_use``) have the origin ``server_side``. Their
results stand in the answer, under other types, and stay in ``raw`` only.

``input_tokens`` of this protocol leaves the cached part of the prompt out; it is added here.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tarx_toollog.canonical import Json, json_text
from tarx_toollog.model import Choice, Message, ToolCall, ToolResult, Usage
from tarx_toollog.wire.calls import CallDraft, settle, whole_calls
from tarx_toollog.wire.fields import DecodeContext, as_list, count_of, dict_or_empty, text_or_none
from tarx_toollog.wire.openai_fields import (
    call_seed,
    ending_of,
    id_text,
    normal_finish_reason,
    text_of,
)
from tarx_toollog.wire.openai_fields import usage_of as usage_of_timings

HELD_KEYS = frozenset({"id", "type", "role", "model", "content", "stop_reason", "usage", "error"})
"""Top-level keys of an answer that have a field of their own, or always say the same."""
PARTIAL = "partial_json"
_CALL_SUFFIX = "tool_use"
_COUNT_KEYS = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens", "output_tokens")
_STOP_REASONS = {"refusal": "content_filter", "model_context_window_exceeded": "length"}


def is_call(block: Mapping[str, Any]) -> bool:
    """Say whether a block is a call, whoever carries it out."""
    return (text_or_none(block.get("type")) or "").endswith(_CALL_SUFFIX)


def call_draft(block: Mapping[str, Any]) -> CallDraft | None:
    """Read a call; None when the block says nothing about it."""
    function = {"name": block.get("name"), "arguments": _arguments(block)}
    drafts = whole_calls([{"id": block.get("id"), "function": function}])
    if not drafts:
        return None
    if block.get("type") != _CALL_SUFFIX:
        drafts[0].origin = "server_side"
    return drafts[0]


def message_from_raw(raw: Mapping[str, Any], *, seed: str | None = None) -> Message:
    """Read a message as it stands in a request, an answer or the store.

    Args:
        raw: The message as on the wire.
        seed: Minted call ids are derived from it; from the message itself when left out.

    Example:
        >>> message_from_raw({"role": "user", "content": [{"type": "text", "text": "Hello"}]}).text
        'Hello'
    """
    drafts = call_drafts(raw)
    return build_message(raw, settle(drafts, seed=call_seed(raw, drafts, seed)))


def call_drafts(raw: Mapping[str, Any]) -> list[CallDraft]:
    """Return the calls of a message."""
    found = (call_draft(block) for block in _blocks(raw) if is_call(block))
    drafts = [draft for draft in found if draft is not None]
    for draft in drafts if isinstance(raw.get("content"), dict) else ():
        draft.note("content_object")
    return drafts


def build_message(raw: Mapping[str, Any], calls: tuple[ToolCall, ...]) -> Message:
    """Return the message with calls that have been read already."""
    blocks = _blocks(raw)
    thoughts = [text_or_none(block.get("thinking")) for block in blocks if block.get("type") == "thinking"]
    return Message(
        role=text_or_none(raw.get("role")) or "",
        raw=raw,
        text=text_of(as_list(raw.get("content")) or raw.get("content")),
        reasoning="".join(filter(None, thoughts)) or None,
        tool_calls=calls,
        tool_results=tuple(_result(block) for block in blocks if block.get("type") == "tool_result"),
    )


def build_choice(
    raw: Mapping[str, Any],
    drafts: list[CallDraft],
    stop_reason: str | None,
    context: DecodeContext,
    *,
    cut: bool = False,
) -> Choice:
    """Return the one choice that an answer of this protocol has.

    Args:
        raw: The message of the answer.
        drafts: Its calls.
        stop_reason: As the server said it.
        context: Seed of minted ids, and the list for notes.
        cut: The stream ended before the server said why.
    """
    finish_reason = normal_finish_reason(_STOP_REASONS.get(stop_reason or "", stop_reason))
    ending = ending_of(finish_reason, cut=cut)
    calls = settle(drafts, seed=context.uid, ending=ending)
    if ending.limited and calls and _ends_in_empty_call(raw):
        calls = (*calls[:-1], replace(calls[-1], complete=False, quirks=(*calls[-1].quirks, "arguments_lost")))
    if finish_reason == "tool_calls" and not calls:
        context.note("finish_reason_lies", "tool_calls without a call")
    return Choice(0, build_message(raw, calls), finish_reason, stop_reason)


def usage_of(usage: Json, timings: Json, context: DecodeContext) -> Usage | None:
    """Return the token counts from ``usage``, else from llama.cpp's ``timings``, else None; a bad one is noted."""
    counts = dict_or_empty(usage)
    fresh, cached, written, output = (count_of(counts.get(key), key, context) for key in _COUNT_KEYS)
    known = [part for part in (fresh, cached, written) if part is not None]
    read = Usage(
        input_tokens=count_of(sum(known), "input_tokens", context) if known else None,
        output_tokens=output,
        cached_tokens=cached,
    )
    return read if read.input_tokens or read.output_tokens else usage_of_timings(None, timings, context)


def _blocks(raw: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [block for block in as_list(raw.get("content")) if isinstance(block, dict)]


def _ends_in_empty_call(raw: Mapping[str, Any]) -> bool:
    last = _blocks(raw)[-1:]
    return bool(last) and is_call(last[0]) and last[0].get("input") == {}


def _result(block: Mapping[str, Any]) -> ToolResult:
    call_id = id_text(block.get("tool_use_id"))
    return ToolResult(call_id, text_of(block.get("content")), is_error=block.get("is_error") is True)


def _arguments(block: Mapping[str, Any]) -> str | None:
    if block.get("input") is None:
        return text_or_none(block.get(PARTIAL))
    try:
        return json_text(block["input"])
    except RecursionError:
        return ""  # nested as deep as the interpreter could just read; it stays in ``raw``
