"""Streamed answers of OpenAI chat completions: events in, one response out.

Theory: each event holds one chunk, and each chunk a ``delta`` for one or more choices. Text keys are
concatenated, other keys keep their last value, tool calls go through ``calls``. What comes out has the form
of the answer that the same server gives without streaming, so that the two can be compared and stored alike.

A stream is over when ``[DONE]`` came, or when every choice that began has a finish reason (transformers
serve sends no ``[DONE]``). Where the request asked for more choices than began, the body must have ended as
well: a server that knows no ``n`` ends it, a client that leaves between two choices does not.

An error inside a stream comes in three forms: ``data: {"error": …}``, ``event: error``, and the field
``error:``, which the splitter turns into the second.

Concatenation happens once, at the end; pieces are collected in lists, so time is linear.
"""

from dataclasses import dataclass, field
from typing import Any

from tarx_toollog.canonical import Json, join_surrogates
from tarx_toollog.model import Choice, Response
from tarx_toollog.wire.calls import CallAssembler, Fragment, settle
from tarx_toollog.wire.events import read_error, read_objects
from tarx_toollog.wire.fields import (
    DecodeContext,
    dict_or_empty,
    index_or_none,
    is_simple,
    listed,
    note_lone,
    text_or_none,
)
from tarx_toollog.wire.openai_fields import (
    CHOICE_KEYS,
    REASONING_KEYS,
    TOP_LEVEL_KEYS,
    build_message,
    ending_of,
    error_of,
    first_extra,
    native_or_legacy,
    normal_finish_reason,
    text_of,
    timing_of,
    usage_of,
)
from tarx_toollog.wire.sse import SseEvent, SseSplitter

_TEXT_KEYS = ("content", *REASONING_KEYS, "refusal")
_DELTA_KEYS = frozenset({*_TEXT_KEYS, "role", "tool_calls", "function_call"})
MAX_CHOICES = 128  # a garbled index per chunk must not make a choice per chunk


@dataclass(slots=True)
class _ChoiceDraft:
    index: int
    calls: CallAssembler
    legacy: CallAssembler
    role: str | None = None
    texts: dict[str, list[str]] = field(default_factory=dict)
    extra: dict[str, Any] = field(default_factory=dict)
    finish_reason: str | None = None


class ChatStream:
    """Assemble the streamed answer of one exchange.

    Args:
        context: Names of the offered tools, seed of minted ids, and the list for notes.
    """

    def __init__(self, context: DecodeContext) -> None:
        self._context = context
        self._splitter = SseSplitter()
        self._choices: dict[int, _ChoiceDraft] = {}
        self._head: dict[str, Any] = {}
        self._usage: Json = None
        self._error: Any = None
        self._done = False

    def receive_data(self, data: bytes, offset_ns: int) -> None:
        """Take the next piece of the body."""
        for event in self._splitter.receive_data(data, offset_ns):
            self._take_event(event)

    def close(self) -> Response:
        """Return the response as far as it came."""
        for event in self._splitter.close():
            self._take_event(event)
        timings = self._head.get("timings")
        return Response(
            response_id=text_or_none(self._head.get("id")),
            model=text_or_none(self._head.get("model")),
            choices=tuple(self._choice(self._choices[index]) for index in sorted(self._choices)),
            usage=usage_of(self._usage, timings, self._context),
            terminated=self._terminated,
            prompt_ms=timing_of(timings, "prompt_ms", self._context),
            predicted_ms=timing_of(timings, "predicted_ms", self._context),
            error=self._error,
            error_in_stream=self._error is not None,
            extra=first_extra(self._head.items(), TOP_LEVEL_KEYS),
        )

    @property
    def _terminated(self) -> bool:
        drafts = self._choices.values()
        if self._done or not drafts:
            return self._done
        is_last = len(drafts) >= self._context.asked_choices or self._context.is_body_whole
        return is_last and all(draft.finish_reason for draft in drafts)

    def _take_event(self, event: SseEvent) -> None:
        if event.cut:
            self._context.note("event_cut")
        if event.event == "error" and event.data.strip() != b"[DONE]":
            self._set_error(read_error(event.data, self._context))
            return
        for chunk in read_objects(event.data, self._context):
            if chunk is None:
                self._done = True
            else:
                self._take_chunk(chunk, event.offset_ns)

    def _set_error(self, error: Any) -> None:
        if self._error is None:  # the first one is the cause, later ones follow from it
            self._error = error

    def _take_chunk(self, chunk: dict[str, Any], offset_ns: int) -> None:
        error = error_of(chunk)
        if error is not None:
            self._set_error(error)
            if "choices" not in chunk:
                return
        if usage_of(chunk.get("usage"), None, self._context) is not None:
            self._usage = chunk["usage"]
        for key, value in chunk.items():
            if value is None or key in ("choices", "usage", "error"):
                continue
            if key not in ("id", "model") or self._head.get(key) in (None, ""):
                self._head[key] = value
        for position, choice in enumerate(listed(chunk.get("choices"), "choices", self._context)):
            if isinstance(choice, dict):
                self._take_choice(choice, position, offset_ns)

    def _take_choice(self, choice: dict[str, Any], position: int, offset_ns: int) -> None:
        index = index_or_none(choice.get("index"))
        draft = self._draft(position if index is None else index)
        if draft is None:
            return
        # A chunk with a whole ``message`` instead of a ``delta`` is taken unless there were deltas before it.
        delta = choice.get("delta")
        if not isinstance(delta, dict) and not draft.texts and not draft.calls.drafts:
            delta = choice.get("message")
        self._take_delta(draft, dict_or_empty(delta), offset_ns)
        self._take_finish_reason(draft, choice.get("finish_reason"))
        for key, value in first_extra(choice.items(), CHOICE_KEYS).items():
            if is_simple(value):
                fields = self._head.setdefault("choice_fields", {})
                fields.setdefault(str(draft.index), {})[key] = value
            elif value:
                self._context.note("not_kept", key)

    def _draft(self, index: int) -> _ChoiceDraft | None:
        draft = self._choices.get(index)
        if draft is None:
            if len(self._choices) >= MAX_CHOICES:
                self._context.note("too_many_choices")
                return None
            offered = self._context.offered
            draft = _ChoiceDraft(index, CallAssembler(offered), CallAssembler(offered))
            self._choices[index] = draft
        return draft

    def _take_finish_reason(self, draft: _ChoiceDraft, value: Json) -> None:
        if not isinstance(value, str):
            return
        before = draft.finish_reason
        if before and value and value != before:
            self._context.note("finish_reason_repeated", f"{before}>{value}")
        # SGLang sent "tool_calls" and then "stop": the more telling word stays.
        if not before or (normal_finish_reason(before) == "stop" and value):
            draft.finish_reason = value

    def _take_delta(self, draft: _ChoiceDraft, delta: dict[str, Any], offset_ns: int) -> None:
        draft.role = draft.role or text_or_none(delta.get("role")) or None
        for key in _TEXT_KEYS:
            value = delta.get(key)
            if isinstance(value, str) or (key == "content" and isinstance(value, list | dict)):
                note_lone(value, key, self._context)
                draft.texts.setdefault(key, []).append(text_of(value))
        for fragment in Fragment.read_all(delta.get("tool_calls")):
            draft.calls.add(fragment, offset_ns)
        legacy = Fragment.read_legacy(delta.get("function_call"))
        if legacy is not None:
            draft.legacy.add(legacy, offset_ns)
        for key, value in first_extra(delta.items(), _DELTA_KEYS).items():
            if is_simple(value):
                draft.extra[key] = value
            elif value:
                self._context.note("not_kept", key)

    def _choice(self, draft: _ChoiceDraft) -> Choice:
        finish_reason = normal_finish_reason(draft.finish_reason)
        cut = finish_reason is None and (not self._done or self._error is not None)
        drafts = native_or_legacy(draft.calls.drafts, draft.legacy.drafts)
        calls = settle(drafts, seed=self._context.uid, choice=draft.index, ending=ending_of(finish_reason, cut=cut))
        if finish_reason == "tool_calls" and not calls:
            self._context.note("finish_reason_lies", "tool_calls without a call")
        return Choice(draft.index, build_message(_raw_message(draft), calls), finish_reason, draft.finish_reason)


def _raw_message(draft: _ChoiceDraft) -> dict[str, Any]:
    """Return the message in the form that a response without streaming has."""
    raw: dict[str, Any] = {"role": draft.role or "assistant", "content": None}
    for key in _TEXT_KEYS:
        if key in draft.texts:
            raw[key] = join_surrogates("".join(draft.texts[key]))
    calls = [call.raw() for call in draft.calls.drafts if not call.is_ghost]
    if calls:
        raw["tool_calls"] = calls
    for legacy in draft.legacy.drafts[:1]:
        raw["function_call"] = {"name": legacy.name, "arguments": legacy.arguments}
    return raw | draft.extra
