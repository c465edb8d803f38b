"""Streamed answers of OpenAI Responses: events in, one response out.

Theory: the stream builds a list of items. An item is announced (``output_item.added``), grows by deltas of its
texts, and is handed over whole (``output_item.done``); the last event (``response.completed`` and its like) carries
the whole response once more. Servers leave out most of it: llama.cpp sends no ``output_index``, no
``sequence_number`` and no ``…arguments.done``; transformers serve no ``event:`` lines; gateways change ids on the way.

So every event is asked to which item it belongs: the one with its id; else the one at its ``output_index``; else
the last open one of the kind that such an event is about; else it opens a new one. What comes later wins where it
says something, so that a final object with empty arguments does not wipe out what was streamed, and an answer that
breaks off is what its deltas were.

The order of the final response is the order of the answer; what only the stream held follows after it.

Concatenation happens once, at the end; items are found by dictionaries, so time is linear.
"""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tarx_toollog.canonical import Json, join_surrogates
from tarx_toollog.model import Response
from tarx_toollog.wire.events import read_error, read_objects
from tarx_toollog.wire.fields import DecodeContext, dict_or_empty, index_or_none, listed, text_or_none
from tarx_toollog.wire.openai_fields import error_of
from tarx_toollog.wire.responses_answer import ENDED, response_of
from tarx_toollog.wire.responses_items import CUSTOM_CALL, FUNCTION_CALL, MESSAGE, REASONING, OutputItem, is_completed
from tarx_toollog.wire.sse import SseEvent, SseSplitter

_PREFIX = "response."
_NOT_OF_RESPONSE = frozenset({"type", "response", "sequence_number", "error"})


@dataclass(frozen=True, slots=True)
class _Slot:
    """Where the text of a delta goes."""

    kind: str
    """Type of the item that has such a text."""
    key: str
    """Key of the item."""
    part_type: str = ""
    """Type of the part in the list under the key; empty where the key holds the text itself."""
    text_key: str = "text"
    """Key of the part, and of the event that repeats the whole text."""
    number_key: str = "content_index"
    """Key of the event that numbers the part."""


_SLOTS = {
    "output_text": _Slot(MESSAGE, "content", "output_text"),
    "refusal": _Slot(MESSAGE, "content", "refusal", "refusal"),
    "reasoning_text": _Slot(REASONING, "content", "reasoning_text"),
    "reasoning_summary_text": _Slot(REASONING, "summary", "summary_text", number_key="summary_index"),
    "function_call_arguments": _Slot(FUNCTION_CALL, "arguments", text_key="arguments"),
    "custom_tool_call_input": _Slot(CUSTOM_CALL, "input", text_key="input"),
    "mcp_call_arguments": _Slot("mcp_call", "arguments", text_key="arguments"),
    "code_interpreter_call_code": _Slot("code_interpreter_call", "code", text_key="code"),
}
_PARTS = {slot.part_type: slot for slot in _SLOTS.values() if slot.part_type}


@dataclass(slots=True)
class _Part:
    """One text of an item under assembly."""

    slot: _Slot
    base: dict[str, Any] = field(default_factory=dict)
    announced: bool = False
    pieces: list[str] = field(default_factory=list)
    whole: str = ""
    """The text as the server gave it at the end of the part."""

    def value(self) -> Json:
        """Return the part as it stands in the item."""
        text = self.whole or join_surrogates("".join(self.pieces))
        if not self.slot.part_type:
            return text
        key = self.slot.text_key
        return {"type": self.slot.part_type, **self.base, key: text or text_or_none(self.base.get(key)) or ""}


@dataclass(slots=True, eq=False)
class _ItemDraft:
    """One item under assembly."""

    item: dict[str, Any]
    index: int | None
    emitted_ns: int
    announced: bool = False
    """False while only deltas have come."""
    done: bool = False
    parts: dict[str, dict[int, _Part]] = field(default_factory=dict)
    """By key of the item, then by number."""
    highest: dict[str, int] = field(default_factory=dict)
    """Highest number by key, kept because a search for it would be made with every piece."""

    @property
    def kind(self) -> str:
        return _kind(self.item)

    def may_be(self, item: Mapping[str, Any]) -> bool:
        """Whether the item may be this one, ids of items aside: they are what servers are careless with."""
        mine, other = self.item.get("call_id"), item.get("call_id")
        return self.kind == _kind(item) and (not mine or not other or mine == other)

    def part(self, slot: _Slot, number: int | None, *, announced: bool = False) -> _Part:
        """Return the part with this number; without one the last part, or a new one where another begins."""
        parts = self.parts.setdefault(slot.key, {})
        highest = self.highest.get(slot.key, 0)
        if number is None:
            number, last = highest, parts.get(highest)
            if last is not None and (last.slot is not slot or (announced and last.announced)):
                number += 1
        self.highest[slot.key] = max(highest, number)
        part = parts.setdefault(number, _Part(slot))
        part.announced = part.announced or announced
        return part

    def value(self) -> dict[str, Any]:
        """Return the item as it was announced or handed over, with the texts that were streamed."""
        texts: dict[str, Any] = {}
        for key, parts in self.parts.items():
            values = [parts[number].value() for number in sorted(parts)]
            texts[key] = values if parts[min(parts)].slot.part_type else values[0]
        return _fuller(texts, self.item) if self.done else _fuller(self.item, texts, keep_status=True)

    def made(self, raw: Mapping[str, Any]) -> OutputItem:
        """Return the item with what only the stream knows about it."""
        return OutputItem(raw, self.done or is_completed(raw), self.index, self.emitted_ns)


class ResponsesStream:
    """Assemble the streamed answer of one exchange.

    Args:
        context: Seed of minted ids, the request's token limit, and the list for notes.
    """

    def __init__(self, context: DecodeContext) -> None:
        self._context = context
        self._splitter = SseSplitter()
        self._head: dict[str, Any] = {}
        self._error: Mapping[str, Any] | None = None
        self._ended = False
        self._drafts: list[_ItemDraft] = []
        self._by_name: dict[tuple[str, str], _ItemDraft] = {}
        self._by_index: dict[int, _ItemDraft] = {}
        self._last: dict[str, _ItemDraft] = {}

    def receive_data(self, data: bytes, offset_ns: int) -> None:
        """Take the next piece of the body."""
        for event in self._splitter.receive_data(data, offset_ns):
            self._take_event(event)

    def close(self) -> Response:
        """Return the response as far as it came."""
        for event in self._splitter.close():
            self._take_event(event)
        output = self._head.get("output") if self._ended else None
        final = [item for item in listed(output, "output", self._context) if isinstance(item, dict)]
        return response_of(
            self._head,
            self._items(final),
            self._context,
            is_over=self._ended,
            error=self._error,
            in_stream=True,
        )

    # ---- events -----------------------------------------------------------------------------------------------------

    def _take_event(self, event: SseEvent) -> None:
        if event.cut:
            self._context.note("event_cut")
        if event.event == "error":
            self._set_error(read_error(event.data, self._context))
            return
        for value in read_objects(event.data, self._context):
            if value is None:
                continue  # [DONE], which this protocol does not have
            kind = text_or_none(value.get("type")) or event.event
            name = kind.removeprefix(_PREFIX)
            if kind == "error":
                self._set_error(error_of(value) or value)
            elif name == kind:
                self._set_error(error_of(value))  # llama.cpp fails without a type; else a ping, say
            elif isinstance(value.get("response"), dict) or name in ENDED:
                self._take_response(value, name)
            elif name in ("output_item.added", "output_item.done"):
                self._take_item(value, event.offset_ns, done=name.endswith("done"))
            else:
                self._take_text(value, name, event.offset_ns)

    def _set_error(self, error: Mapping[str, Any] | None) -> None:
        if self._error is None and error is not None:  # the first one is the cause, later ones follow from it
            kept = {key: value for key, value in error.items() if key != "sequence_number" and value is not None}
            self._error = {key: value for key, value in kept.items() if (key, value) != ("type", "error")}

    def _take_response(self, value: dict[str, Any], name: str) -> None:
        response = dict_or_empty(value.get("response"))
        # llama.cpp puts its timings beside the response.
        beside = {key: found for key, found in value.items() if key not in _NOT_OF_RESPONSE}
        self._head |= {key: found for key, found in (beside | response).items() if found is not None}
        if name in ENDED:
            self._ended = True
            status = text_or_none(response.get("status"))
            self._head["status"] = status if status in ENDED else name
        if name == "failed":
            self._set_error(error_of(response))

    def _take_item(self, value: dict[str, Any], offset_ns: int, *, done: bool) -> None:
        item, index = value.get("item"), index_or_none(value.get("output_index"))
        if not isinstance(item, dict):
            return
        draft = self._announced(item, index, done=done)
        if draft is None:
            draft = self._open(item, index, offset_ns)
        elif draft.announced and not done:
            self._context.note("item_repeated")
        _fill(draft.item, item)
        draft.announced, draft.done = True, draft.done or done
        self._name(draft)

    def _take_text(self, value: dict[str, Any], name: str, offset_ns: int) -> None:
        what, _, stage = name.rpartition(".")
        if what in ("content_part", "reasoning_summary_part"):
            self._take_part(value, stage, offset_ns)
            return
        slot = _SLOTS.get(what.replace(".", "_"))
        if slot is None:
            if stage == "delta":
                self._context.note("event_unknown", f"{_PREFIX}{name}")
            return  # the rest tells how far a tool of the server's is; its item says it at the end
        text = value.get("delta" if stage == "delta" else slot.text_key)
        if isinstance(text, str):
            part = self._belonging(value, slot, offset_ns).part(slot, _number(value, slot))
            if stage == "delta":
                part.pieces.append(text)
            else:
                part.whole = text

    def _take_part(self, value: dict[str, Any], stage: str, offset_ns: int) -> None:
        raw = dict_or_empty(value.get("part"))
        slot = _PARTS.get(_kind(raw))
        if slot is None:
            return
        draft = self._belonging(value, slot, offset_ns)
        part = draft.part(slot, _number(value, slot), announced=stage == "added")
        part.base |= raw
        if stage == "done":
            part.whole = text_or_none(raw.get(slot.text_key)) or part.whole

    # ---- which item -------------------------------------------------------------------------------------------------

    def _announced(self, item: dict[str, Any], index: int | None, *, done: bool) -> _ItemDraft | None:
        """Return the draft of an item that comes as a whole; None when it is a new one."""
        known = next((draft for name in _names(item) if (draft := self._by_name.get(name)) is not None), None)
        if known is not None and known.may_be(item):
            return known
        there = self._by_index.get(index) if index is not None else self._last.get(_kind(item))
        if there is None or there.done or not there.may_be(item):
            return None
        if index is None and _names(item) and _names(there.item):
            return None  # both have names, and none in common
        return there if done or not there.announced else None

    def _belonging(self, value: dict[str, Any], slot: _Slot, offset_ns: int) -> _ItemDraft:
        """Return the draft that an event about a part of an item means."""
        item_id, index = text_or_none(value.get("item_id")) or "", index_or_none(value.get("output_index"))
        for key in ("id", "call_id"):
            if (key, item_id) in self._by_name:
                return self._by_name[key, item_id]
        there = self._by_index.get(index) if index is not None else self._last.get(slot.kind)
        # Without a place, only an item that is still open and that the event does not call by another name.
        is_meant = index is not None or (not item_id and there is not None and not there.done)
        if there is not None and there.kind == slot.kind and is_meant:
            return there
        return self._open({"type": slot.kind, **({"id": item_id} if item_id else {})}, index, offset_ns)

    def _open(self, item: dict[str, Any], index: int | None, offset_ns: int) -> _ItemDraft:
        draft = _ItemDraft(dict(item), index, offset_ns)
        self._drafts.append(draft)
        self._last[draft.kind] = draft
        if index is not None:
            self._by_index[index] = draft
        self._name(draft)
        return draft

    def _name(self, draft: _ItemDraft) -> None:
        for name in _names(draft.item):
            self._by_name[name] = draft

    # ---- the end ----------------------------------------------------------------------------------------------------

    def _items(self, final: Sequence[dict[str, Any]]) -> list[OutputItem]:
        """Return the items of the final response, each filled up from the stream, and what only the stream held."""
        partners = self._partners(final)
        items = []
        for item, draft in zip(final, partners, strict=True):
            if draft is None:
                items.append(OutputItem(item, is_completed(item)))
            else:
                items.append(draft.made(_fuller(draft.value(), item)))
        taken = {id(draft) for draft in partners}
        left = [draft for draft in self._drafts if id(draft) not in taken]
        return items + [draft.made(draft.value()) for draft in left]

    def _partners(self, final: Sequence[dict[str, Any]]) -> list[_ItemDraft | None]:
        """Return for each item of the final response the draft that it was: by name, else the next of its kind."""
        partners: list[_ItemDraft | None] = []
        for item in final:
            named = (self._by_name.get(name) for name in _names(item))
            partners.append(next((draft for draft in named if draft is not None and draft.may_be(item)), None))
        taken = {id(draft) for draft in partners}
        waiting: dict[str, deque[_ItemDraft]] = {}
        for draft in self._drafts:
            if id(draft) not in taken:
                waiting.setdefault(draft.kind, deque()).append(draft)
        for number, item in enumerate(final):
            of_kind = waiting.get(_kind(item))
            if partners[number] is None and of_kind and of_kind[0].may_be(item):
                partners[number] = of_kind.popleft()
        return partners


def _number(value: Mapping[str, Any], slot: _Slot) -> int | None:
    return index_or_none(value.get(slot.number_key)) if slot.part_type else 0


def _kind(item: Mapping[str, Any]) -> str:
    return text_or_none(item.get("type")) or ""


def _names(item: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what an item is called, the more reliable name first."""
    return [(key, value) for key in ("call_id", "id") if isinstance(value := item.get(key), str) and value]


def _fuller(before: Mapping[str, Any], after: Mapping[str, Any], *, keep_status: bool = False) -> dict[str, Any]:
    """Return what is known of an item: the later word, unless it is empty. A status lasts until the next word."""
    kept = {key: value for key, value in before.items() if keep_status or key != "status"}
    return {**kept, **{key: value for key, value in after.items() if key not in kept or _says_something(value)}}


def _fill(known: dict[str, Any], news: Mapping[str, Any]) -> None:
    """Do what ``_fuller`` does in place: an item may be sent with every event, and a copy each time is quadratic."""
    known.pop("status", None)
    known |= {key: value for key, value in news.items() if key not in known or _says_something(value)}


def _says_something(value: Json) -> bool:
    if isinstance(value, list):
        return any(_says_something(entry) for entry in value)
    if isinstance(value, dict):
        slot = _PARTS.get(_kind(value))
        return bool(value if slot is None else value.get(slot.text_key))
    return value is not None and value != ""
