"""Streamed answers of Anthropic Messages: events in, one response out.

Theory: the answer is built block by block. ``content_block_start`` announces a block under an index, deltas under the
same index make it grow, ``content_block_stop`` ends it; ``message_delta`` brings the stop reason and the last counts.
Blocks may overlap (llama.cpp ends them all together, at the end), so each delta goes to the latest block of its index.
Gateways that translate other protocols forget the index, the start or the stop, or give an index twice; then a delta
goes to the latest block, or opens one. What was odd becomes a quirk of the call, or a note where the block is none.

What comes out has the form of the answer without streaming: the blocks in the order in which they began, each as a
client sends it back. A stream is over with ``message_stop``, or when the stop reason came.

Concatenation happens once, at the end; pieces are collected in lists, so time is linear.
"""

from dataclasses import dataclass, field
from typing import Any

from tarx_toollog.canonical import MAX_DEPTH, InvalidJsonError, Json, has_repeated_keys, join_surrogates, parse_json
from tarx_toollog.model import Choice, Response
from tarx_toollog.wire.anthropic_blocks import (
    HELD_KEYS,
    PARTIAL,
    build_choice,
    call_draft,
    is_call,
    usage_of,
)
from tarx_toollog.wire.calls import KEYS_REPEATED, CallDraft
from tarx_toollog.wire.events import read_error, read_objects
from tarx_toollog.wire.fields import DecodeContext, as_list, dict_or_empty, index_or_none, listed, text_or_none
from tarx_toollog.wire.openai_fields import error_of, first_extra, timing_of
from tarx_toollog.wire.sse import SseEvent, SseSplitter

_TEXT_KEYS = ("text", "thinking", PARTIAL)
_BLOCK_TYPES = {
    "text": "text",
    "citation": "text",
    "thinking": "thinking",
    "signature": "thinking",
    PARTIAL: "tool_use",
}
"""Keys of deltas, and the type of the block that each belongs to."""


@dataclass(slots=True)
class _Block:
    """A content block under assembly."""

    index: int | None
    start: dict[str, Any]
    opened_ns: int
    pieces: dict[str, list[str]] = field(default_factory=dict)
    citations: list[Any] = field(default_factory=list)
    stopped: bool = False
    quirks: dict[str, None] = field(default_factory=dict)
    """An ordered set."""

    def grow(self, delta: dict[str, Any]) -> None:
        for key in _TEXT_KEYS:
            if isinstance(delta.get(key), str):
                self.pieces.setdefault(key, []).append(delta[key])
        if isinstance(delta.get("signature"), str):
            self.start["signature"] = delta["signature"]  # it comes in one piece
        if delta.get("citation") is not None:
            self.citations.append(delta["citation"])

    def raw(self) -> dict[str, Any]:
        """Return the block as a client sends it back."""
        raw = dict(self.start)
        for key, pieces in self.pieces.items():
            if key != PARTIAL:
                raw[key] = join_surrogates("".join([text_or_none(raw.get(key)) or "", *pieces]))
        if self.citations:
            raw["citations"] = [*as_list(raw.get("citations")), *self.citations]
        text = join_surrogates("".join(self.pieces.get(PARTIAL, ())))
        if text and not text.isspace():  # else what the start held is the input
            value = _object(text)
            if has_repeated_keys(text):  # looked for here, because the object has lost them
                self.quirks[KEYS_REPEATED] = None
            raw.pop("input", None)
            raw["input" if value is not None else PARTIAL] = text if value is None else value
        return raw


class MessagesStream:
    """Assemble the streamed answer of one exchange.

    Args:
        context: Seed of minted ids, and the list for notes.
    """

    def __init__(self, context: DecodeContext) -> None:
        self._context = context
        self._splitter = SseSplitter()
        self._head: dict[str, Any] = {}
        self._usage: dict[str, Any] = {}
        self._blocks: list[_Block] = []
        self._by_index: dict[int, _Block] = {}
        self._stop_reason: str | None = None
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
        is_over = self._done or self._stop_reason is not None
        return Response(
            response_id=text_or_none(self._head.get("id")),
            model=text_or_none(self._head.get("model")),
            choices=(self._choice(is_over=is_over),) if self._blocks or is_over else (),
            usage=usage_of(self._usage, timings, self._context),
            terminated=is_over,
            prompt_ms=timing_of(timings, "prompt_ms", self._context),
            predicted_ms=timing_of(timings, "predicted_ms", self._context),
            error=self._error,
            error_in_stream=self._error is not None,
            extra=first_extra(self._head.items(), HELD_KEYS),
        )

    def _choice(self, *, is_over: bool) -> Choice:
        raws = [block.raw() for block in self._blocks]
        drafts = []
        for number, (block, raw) in enumerate(zip(self._blocks, raws, strict=True)):
            if is_over and not block.stopped:
                block.quirks["block_not_stopped"] = None
            draft = _draft(block, raw) if is_call(raw) else None
            if draft is not None:
                drafts.append(draft)
                continue
            for quirk in block.quirks:
                self._context.note(quirk, f"block {number}")
        message = {"role": text_or_none(self._head.get("role")) or "assistant", "content": raws}
        cut = self._stop_reason is None and (not self._done or self._error is not None)
        return build_choice(message, drafts, self._stop_reason, self._context, cut=cut)

    # ---- events -----------------------------------------------------------------------------------------------------

    def _take_event(self, event: SseEvent) -> None:
        if event.cut:
            self._context.note("event_cut")
        if event.event == "error":
            self._set_error(read_error(event.data, self._context))
            return
        for value in read_objects(event.data, self._context):
            if value is None:
                self._done = True  # [DONE]: a gateway that closes every stream so
            else:
                self._take(text_or_none(value.get("type")) or event.event, value, event.offset_ns)

    def _take(self, kind: str, value: dict[str, Any], offset_ns: int) -> None:
        if kind == "content_block_delta":
            self._take_delta(value, offset_ns)
        elif kind == "content_block_start":
            self._start_block(index_or_none(value.get("index")), dict_or_empty(value.get("content_block")), offset_ns)
        elif kind == "content_block_stop":
            self._stop_block(value)
        elif kind == "message_start":
            self._start_message(dict_or_empty(value.get("message")), offset_ns)
        elif kind == "message_delta":
            self._take_message_delta(value)
        elif kind == "message_stop":
            self._done = True
            self._keep(value)
        elif kind == "error" or error_of(value) is not None:
            self._set_error(error_of(value) or value)
        elif kind != "ping":
            self._context.note("event_unknown", kind)

    def _set_error(self, error: Any) -> None:
        if self._error is None:  # the first one is the cause, later ones follow from it
            self._error = error

    def _start_message(self, message: dict[str, Any], offset_ns: int) -> None:
        self._keep(message)
        self._count(message.get("usage"))
        self._take_stop_reason(message.get("stop_reason"))
        for position, block in enumerate(listed(message.get("content"), "content", self._context)):
            if isinstance(block, dict):  # as a rule the list is empty
                self._start_block(position, block, offset_ns).stopped = True

    def _take_message_delta(self, value: dict[str, Any]) -> None:
        delta = dict_or_empty(value.get("delta"))
        self._take_stop_reason(delta.get("stop_reason"))
        self._count(value.get("usage"))
        self._keep(delta)
        self._keep({key: kept for key, kept in value.items() if key != "delta"})

    def _keep(self, values: dict[str, Any]) -> None:
        self._head.update(first_extra(values.items(), HELD_KEYS - {"id", "role", "model"}))

    def _count(self, usage: Json) -> None:
        """Take counts: those of the start are completed, not replaced, by those of the end."""
        self._usage.update(first_extra(dict_or_empty(usage).items(), frozenset()))

    def _take_stop_reason(self, value: Json) -> None:
        if not isinstance(value, str) or not value:
            return
        if self._stop_reason not in (None, value):
            self._context.note("finish_reason_repeated", f"{self._stop_reason}>{value}")
        self._stop_reason = value

    # ---- blocks -----------------------------------------------------------------------------------------------------

    def _start_block(self, index: int | None, start: dict[str, Any], offset_ns: int) -> _Block:
        block = _Block(index, dict(start), offset_ns)
        if index is None:
            block.quirks["index_missing"] = None
        else:
            if index in self._by_index:
                block.quirks["same_index"] = None
            self._by_index[index] = block
        self._blocks.append(block)
        return block

    def _take_delta(self, value: dict[str, Any], offset_ns: int) -> None:
        delta = dict_or_empty(value.get("delta"))
        for key in first_extra(delta.items(), frozenset({"type", *_BLOCK_TYPES})):
            self._context.note("not_kept", key)
        kind = next((kind for key, kind in _BLOCK_TYPES.items() if key in delta), None)
        if kind is None:
            return
        block = self._block_of(value)
        if block is None:
            block = self._start_block(index_or_none(value.get("index")), {"type": kind}, offset_ns)
            block.quirks["block_not_started"] = None
        if block.stopped:
            block.quirks["delta_after_stop"] = None
        block.grow(delta)

    def _stop_block(self, value: dict[str, Any]) -> None:
        block = self._block_of(value)
        if block is None:
            self._context.note("block_not_started", "stop")
        else:
            block.stopped = True

    def _block_of(self, value: dict[str, Any]) -> _Block | None:
        index = index_or_none(value.get("index"))
        if index is not None:
            return self._by_index.get(index)
        if not self._blocks:
            return None
        self._blocks[-1].quirks["index_missing"] = None
        return self._blocks[-1]


def _draft(block: _Block, raw: dict[str, Any]) -> CallDraft | None:
    draft = call_draft(raw)
    if draft is not None:
        draft.index, draft.emitted_ns = block.index, block.opened_ns
        for quirk in block.quirks:
            draft.note(quirk)
    return draft


def _object(text: str) -> dict[str, Any] | None:
    try:
        value = parse_json(text, max_depth=MAX_DEPTH)
    except InvalidJsonError:
        return None
    return value if isinstance(value, dict) else None
