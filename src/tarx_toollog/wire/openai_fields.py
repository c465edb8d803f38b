"""Parts of the OpenAI chat protocol that streamed and whole answers have in common.

Theory: token counts come from ``usage``. Where it is absent (a stream without ``include_usage``) or all zero
(LocalAI puts zeros into every chunk), llama.cpp's ``timings`` hold the same numbers: the prompt is
``cache_n + prompt_n``, the answer ``predicted_n``. Finish reasons are mapped to the four words of the
protocol where a server uses a synonym; any other word is kept as the server wrote it.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tarx_toollog.canonical import InvalidJsonError, Json, canonical_json, json_text
from tarx_toollog.model import Message, ToolCall, ToolResult, Usage
from tarx_toollog.wire.calls import CallAssembler, CallDraft, CallEnding, Fragment, settle, whole_calls
from tarx_toollog.wire.fields import (
    DecodeContext,
    as_list,
    count_of,
    dict_or_empty,
    duration_of,
    is_simple,
    text_or_none,
)

REASONING_KEYS = ("reasoning_content", "reasoning", "thinking")
"""llama.cpp and older vLLM; newer vLLM, Ollama and LocalAI; servers that follow Ollama's own API."""
RESULT_ROLES = frozenset({"tool", "function"})
"""A message of these roles is one tool result; the second is the legacy form."""
TOP_LEVEL_KEYS = frozenset({"id", "model", "choices", "usage", "error", "object"})
CHOICE_KEYS = frozenset({"index", "message", "delta", "finish_reason", "error"})

_FINISH_REASONS = {
    "tool_call": "tool_calls",  # mlx_lm.server before its pull request 782
    "function_call": "tool_calls",  # the legacy form
    "tool_use": "tool_calls",
    "eos": "stop",
    "eos_token": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_length": "length",
}
_TEXT_TYPES = ("text", "input_text", "output_text")
"""Of parts; the second and third where clients mix in the Responses form."""
_MAX_ERROR_TEXT = 2000  # a traceback in an error body is welcome, a whole web page is not


def normal_finish_reason(raw: str | None) -> str | None:
    """Return the protocol's own word for a finish reason; None for none and for an empty one."""
    return _FINISH_REASONS.get(raw, raw) if raw else None


def usage_of(usage: Json, timings: Json, context: DecodeContext) -> Usage | None:
    """Return the token counts from ``usage``, else from ``timings``, else None; a count that is none is noted."""
    counts = dict_or_empty(usage)
    # The first names are those of chat completions, the second those of Responses.
    of_input = dict_or_empty(counts.get("prompt_tokens_details", counts.get("input_tokens_details")))
    of_output = dict_or_empty(counts.get("completion_tokens_details", counts.get("output_tokens_details")))
    of_prompt = counts.get("prompt_tokens", counts.get("input_tokens"))
    of_answer = counts.get("completion_tokens", counts.get("output_tokens"))
    read = Usage(
        input_tokens=count_of(of_prompt, "input_tokens", context),
        output_tokens=count_of(of_answer, "output_tokens", context),
        cached_tokens=count_of(of_input.get("cached_tokens"), "cached_tokens", context),
        reasoning_tokens=count_of(of_output.get("reasoning_tokens"), "reasoning_tokens", context),
    )
    if read.input_tokens or read.output_tokens:
        return read
    times = dict_or_empty(timings)
    fresh, cached, output = (count_of(times.get(key), key, context) for key in ("prompt_n", "cache_n", "predicted_n"))
    if fresh is None and output is None:
        return None
    total = None if fresh is None else count_of(fresh + (cached or 0), "input_tokens", context)
    return Usage(input_tokens=total, output_tokens=output, cached_tokens=cached, source="timings")


def timing_of(timings: Json, key: str, context: DecodeContext) -> float | None:
    """Return one of llama.cpp's durations, ``prompt_ms`` or ``predicted_ms``."""
    return duration_of(dict_or_empty(timings).get(key), key, context)


def error_of(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the error object of a body or an event: ``{"error": …}``, or vLLM's ``{"object": "error"}``."""
    error = body.get("error")
    if isinstance(error, dict):
        return error
    if isinstance(error, str) and error:
        return {"message": error}
    if body.get("object") == "error":
        return body
    for choice in as_list(body.get("choices")):
        if isinstance(dict_or_empty(choice).get("error"), dict):
            return dict_or_empty(choice["error"])
    return None


def error_from_text(text: str) -> Mapping[str, Any]:
    """Make an error object of a body that has none."""
    return {"message": text.strip()[:_MAX_ERROR_TEXT]}


def text_of(content: Json) -> str:
    """Return the text of ``content``: a string, or the text parts of a list, joined."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return "".join(map(_part_text, content))
    if isinstance(content, dict):  # against the protocol, but some tools send their result as an object
        if str(content.get("type")) in _TEXT_TYPES and isinstance(content.get("text"), str):
            return _part_text(content)
        return text_or_none(content.get("text")) or _object_text(content)
    return ""


def reasoning_of(raw: Mapping[str, Any]) -> str | None:
    """Return the reasoning text under whichever key the server uses."""
    texts = (text_or_none(raw.get(key)) for key in REASONING_KEYS)
    return next(filter(None, texts), None)


def message_from_raw(raw: Mapping[str, Any], *, seed: str | None = None, choice: int = 0) -> Message:
    """Read a message as it stands in a request, a response or the store.

    Args:
        raw: The message as on the wire.
        seed: Minted call ids are derived from it; from the message itself when left out.
        choice: Index of the choice that the message belongs to.

    Example:
        >>> message_from_raw({"role": "user", "content": "Hello"}).text
        'Hello'
    """
    drafts = call_drafts(raw)
    return build_message(raw, settle(drafts, seed=call_seed(raw, drafts, seed), choice=choice))


def build_message(raw: Mapping[str, Any], calls: tuple[ToolCall, ...]) -> Message:
    """Return the message with calls that have been read already."""
    role = text_or_none(raw.get("role")) or ""
    text = text_of(raw.get("content"))
    # Ollama's own API names the tool instead of the call.
    name = text_or_none(raw.get("name")) or text_or_none(raw.get("tool_name")) or None
    call_id = id_text(raw.get("tool_call_id"))
    return Message(
        role=role,
        raw=raw,
        text=text,
        reasoning=reasoning_of(raw),
        name=name,
        tool_call_id=call_id,
        tool_calls=calls,
        tool_results=(ToolResult(call_id, text, name),) if role in RESULT_ROLES else (),
    )


def id_text(value: Json) -> str | None:
    """Return an id as text: some servers number their calls."""
    return str(value) if is_simple(value) and value != "" else None


def call_drafts(raw: Mapping[str, Any]) -> list[CallDraft]:
    """Return the calls of a message: ``tool_calls``, else the legacy ``function_call``."""
    drafts = whole_calls(raw.get("tool_calls"))
    legacy = Fragment.read_legacy(raw.get("function_call"))
    if legacy is None:
        return drafts
    assembler = CallAssembler()
    assembler.add(legacy)
    return native_or_legacy(drafts, assembler.drafts)


def native_or_legacy(native: list[CallDraft], legacy: list[CallDraft]) -> list[CallDraft]:
    """Choose between the two forms; llama-cpp-python sends the same call in both."""
    if native and legacy:
        native[0].note("legacy_duplicate")
    return native or legacy


def ending_of(finish_reason: str | None, *, cut: bool = False) -> CallEnding:
    """Return what a finish reason says about the calls of its choice."""
    is_limited = finish_reason in ("length", "content_filter")
    return CallEnding(cut, is_limited, finish_reason, unexplained=finish_reason is None)


def first_extra(values: Iterable[tuple[str, Json]], known: frozenset[str]) -> dict[str, Any]:
    """Return the values that no field holds and that say something."""
    return {key: value for key, value in values if key not in known and value is not None}


def call_seed(raw: Mapping[str, Any], drafts: Sequence[CallDraft], seed: str | None = None) -> str:
    """Return the seed of the ids that are minted for the calls of a message: ``seed``, else the message itself."""
    if seed is not None or all(draft.call_id is not None for draft in drafts):
        return seed or ""  # no id will be minted, so the message need not be hashed
    try:
        return canonical_json(raw).decode("ascii")
    except InvalidJsonError:
        return ""


def _object_text(content: Json) -> str:
    try:
        return json_text(content)
    except RecursionError:
        return ""  # nested as deep as the interpreter could just read; it stays in ``raw``


def _part_text(part: Json) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, dict) and str(part.get("type", "text")) in _TEXT_TYPES:
        return text_or_none(part.get("text")) or ""
    return ""
