"""Tool calls from their fragments: the assembly rule, ids, and what was odd about them.

Theory: the protocol says that fragments of one call share an ``index``. Local servers send index 0 for all
calls (Ollama, old vLLM), no index, no id, numeric or repeated ids, an id that changes with every fragment
(gateways), a name in every fragment, arguments as an object, one call in place of the list. Merging by index
alone therefore joins two calls into one. So each choice keeps an ordered list of calls, and every fragment is asked:

1. *Which call is current?* The last one opened at its index; without an index the one with its id, else the
   last one.
2. *Does it open a new one?* Yes, if there is no current call; or it brings another id and a name (or the
   arguments are complete already); or a name while the arguments are complete; or, without an index, a name
   while they are empty; or another name in the middle of the arguments.
3. Otherwise it continues the current call. An id that changes on the way is kept out and noted. Halves of a
   name are joined, unless both are names of offered tools.

"Complete" means that the brackets of the arguments are balanced. That is decided by a scan which never reads a
character twice, because some servers repeat the name in every fragment and would make it quadratic.

What the server did against the protocol is kept as short codes in ``ToolCall.quirks``.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

from tarx_toollog.canonical import Json, join_surrogates, parse_arguments
from tarx_toollog.model import IdState, Origin, ToolCall
from tarx_toollog.wire.fields import as_list, dumped, index_or_none, text_or_none

_MARKS = re.compile(r'["\\{}\[\]]')
_KNOWN_KEYS = frozenset({"index", "id", "type", "function", "custom"})
NO_OFFER: frozenset[str] = frozenset()
MAX_CALLS = 1024  # of one choice: each becomes a row, and a hostile server must not make millions of them
MAX_NAME = 1024  # characters of a name; OpenAI allows 64
TOO_MANY_CALLS = "too_many_calls"  # quirk of the last call that is kept


@dataclass(slots=True)
class Fragment:
    """One entry of ``tool_calls``: a whole call, or a piece of one."""

    index: int | None = None
    call_id: Json = None
    name: str = ""
    arguments: str | None = None
    type: str = "function"
    origin: Origin = "native"
    quirks: tuple[str, ...] = ()
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def has_arguments(self) -> bool:
        """Whether it brings argument text that is not blank."""
        return bool(self.arguments and not self.arguments.isspace())

    @property
    def opens(self) -> bool:
        """Whether it says enough to be the start of a call."""
        return self.call_id is not None or bool(self.name) or self.has_arguments

    @classmethod
    def read(cls, entry: Json) -> "Fragment | None":
        """Read one entry; None when it is not an object or says nothing."""
        if not isinstance(entry, dict):
            return None
        origin: Origin = "native"
        function = entry.get("function")
        if not isinstance(function, dict) and isinstance(entry.get("custom"), dict):
            origin, function = "custom", entry["custom"]
        quirks: list[str] = []
        if not isinstance(function, dict):
            # Some servers leave the wrapper out and put name and arguments next to the id.
            function = {key: entry[key] for key in ("name", "arguments") if key in entry}
            quirks += ["function_missing"] if function else []
        return cls._from_function(entry, function, origin, quirks)

    @classmethod
    def read_all(cls, value: Json) -> Iterator["Fragment"]:
        """Yield the entries of ``tool_calls`` that say something; a lone object in place of the list is one, too."""
        for entry in as_list(value):
            if (fragment := cls.read(entry)) is not None:
                fragment.quirks += ("tool_calls_object",) if entry is value else ()
                yield fragment

    @classmethod
    def read_legacy(cls, function: Json) -> "Fragment | None":
        """Read a ``function_call``, the form before ``tool_calls``; it has neither id nor index."""
        return cls._from_function({}, function, "legacy_function", []) if isinstance(function, dict) else None

    @classmethod
    def _from_function(
        cls, entry: dict[str, Any], function: dict[str, Any], origin: Origin, quirks: list[str]
    ) -> "Fragment | None":
        arguments = function.get("input" if origin == "custom" else "arguments")
        if arguments is not None and not isinstance(arguments, str):
            arguments = dumped(arguments)
            quirks.append("arguments_object")
        call_id = entry.get("id")
        if call_id is not None and (isinstance(call_id, bool) or not isinstance(call_id, str | int | float)):
            call_id = None
            quirks.append("id_invalid")
        name = text_or_none(function.get("name")) or ""
        quirks += ["name_cut"] if len(name) > MAX_NAME else []
        fragment = cls(
            index=index_or_none(entry.get("index")),
            call_id=None if call_id == "" else call_id,
            name=name[:MAX_NAME],
            arguments=arguments,
            type=text_or_none(entry.get("type")) or ("custom" if origin == "custom" else "function"),
            origin=origin,
            quirks=tuple(quirks),
            extra={key: value for key, value in entry.items() if key not in _KNOWN_KEYS and value is not None},
        )
        if "function_missing" in quirks:
            fragment.extra = {k: v for k, v in fragment.extra.items() if k not in ("name", "arguments")}
        says_something = fragment.opens or fragment.arguments is not None
        return fragment if says_something else None


@dataclass(slots=True)
class CallDraft:
    """A call under assembly."""

    index: int | None
    origin: Origin
    type: str
    emitted_ns: int | None
    call_id: Json = None
    name: str = ""
    pieces: list[str] = field(default_factory=list)
    arguments_seen: bool = False
    is_blank: bool = True
    """No argument text has come yet, white space aside."""
    quirks: dict[str, None] = field(default_factory=dict)
    """An ordered set."""
    extra: dict[str, Any] = field(default_factory=dict)
    opened_by_id: bool = False
    """Opened by a bare id after complete arguments: a call only if a name or arguments follow."""
    _scanned: int = 0
    _depth: int = 0
    _in_string: bool = False
    _escaped: bool = False
    _closed: bool = False

    @property
    def arguments(self) -> str:
        """The argument text so far, surrogate pairs that were split over fragments joined."""
        return join_surrogates("".join(self.pieces))

    @property
    def is_ghost(self) -> bool:
        """Whether it was opened by a bare id and got nothing since."""
        return self.opened_by_id and not self.name and self.is_blank

    @property
    def is_complete(self) -> bool:
        """Whether the argument text has brackets and they are balanced."""
        while self._scanned < len(self.pieces):
            self._scan(self.pieces[self._scanned])
            self._scanned += 1
        return self._closed

    def note(self, quirk: str) -> None:
        """Add a quirk once."""
        self.quirks[quirk] = None

    def raw(self) -> dict[str, Any]:
        """Return the call in the form that a response without streaming has."""
        if self.type == "custom":
            body: dict[str, Any] = {"type": "custom", "custom": {"name": self.name, "input": self.arguments}}
        else:
            body = {"type": self.type, "function": {"name": self.name, "arguments": self.arguments}}
        head = {} if self.call_id is None else {"id": self.call_id}
        return head | body | self.extra

    def _scan(self, piece: str) -> None:
        position = -1
        for match in _MARKS.finditer(piece):
            if self._escaped and match.start() == position + 1:
                self._escaped = False
                continue
            self._escaped = False
            position = match.start()
            self._mark(match.group())
        if self._escaped and position != len(piece) - 1:
            self._escaped = False

    def _mark(self, mark: str) -> None:
        if mark == "\\":
            self._escaped = self._in_string
        elif mark == '"':
            self._in_string = not self._in_string
        elif not self._in_string:
            self._depth += 1 if mark in "{[" else -1
            self._closed = self._depth <= 0


class CallAssembler:
    """Put the fragments of one choice together.

    Args:
        offered: Names of the offered tools; empty when they are not known.
    """

    def __init__(self, offered: frozenset[str] = NO_OFFER) -> None:
        self.drafts: list[CallDraft] = []
        self._offered = offered
        self._by_index: dict[int, CallDraft] = {}
        self._by_id: dict[Json, CallDraft] = {}
        self._is_full = False

    def add(self, fragment: Fragment, offset_ns: int | None = None) -> None:
        """Take the next fragment; none from the one on that would open a call too many."""
        draft = self._current(fragment)
        if self._is_full or (draft is None and not fragment.opens):
            return
        if draft is None or self._opens_new(draft, fragment):
            if len(self.drafts) >= MAX_CALLS:
                self._is_full = True
                self.drafts[-1].note(TOO_MANY_CALLS)
                return
            draft = self._open(fragment, offset_ns, occupied=draft is not None)
        if fragment.index is None and fragment.origin != "legacy_function":
            draft.note("index_missing")
        self._extend(draft, fragment)

    def _current(self, fragment: Fragment) -> CallDraft | None:
        same_id = self._by_id.get(fragment.call_id) if fragment.call_id is not None else None
        if fragment.index is not None:
            draft = self._by_index.get(fragment.index)
            if draft is None and same_id is not None and not fragment.name:
                same_id.note("index_changes_mid_call")
                return same_id
            return draft
        return same_id or (self.drafts[-1] if self.drafts else None)

    def _opens_new(self, draft: CallDraft, fragment: Fragment) -> bool:
        known = draft.call_id is not None and fragment.call_id is not None
        changes_id = known and draft.call_id != fragment.call_id
        if not fragment.name:
            return changes_id and draft.is_complete
        if changes_id:
            return True
        if known:  # the same id again: a repeated name, or a second call under the first one's id
            return draft.is_complete and (fragment.has_arguments or fragment.name != draft.name)
        if fragment.call_id is not None:  # an id that comes late belongs to the call, unless that has begun
            return not draft.is_blank or draft.name not in ("", fragment.name)
        return self._name_opens_new(draft, fragment)

    def _name_opens_new(self, draft: CallDraft, fragment: Fragment) -> bool:
        """Decide for a fragment that brings a name but no id."""
        same_name = fragment.name == draft.name
        if draft.is_complete:
            return fragment.has_arguments or not same_name or "name_repeated" not in draft.quirks
        if not draft.name:
            return False
        if draft.is_blank:
            if self._is_split_name(draft.name, fragment.name):
                return False
            both_offered = not same_name and {draft.name, fragment.name} <= self._offered
            return both_offered or fragment.index is None
        return not same_name

    def _is_split_name(self, first: str, second: str) -> bool:
        return first + second in self._offered and not {first, second} <= self._offered

    def _open(self, fragment: Fragment, offset_ns: int | None, *, occupied: bool) -> CallDraft:
        draft = CallDraft(fragment.index, fragment.origin, fragment.type, offset_ns)
        if fragment.index is not None:
            if occupied:
                draft.note("same_index")
            self._by_index[fragment.index] = draft
        draft.opened_by_id = occupied and not fragment.name and not fragment.has_arguments
        self.drafts.append(draft)
        return draft

    def _extend(self, draft: CallDraft, fragment: Fragment) -> None:
        if fragment.call_id is not None:
            if draft.call_id is None:
                draft.call_id = fragment.call_id
                self._by_id[fragment.call_id] = draft
            elif draft.call_id != fragment.call_id:
                draft.note("id_changes_mid_call")
        if fragment.name:
            self._extend_name(draft, fragment.name)
        if fragment.arguments is not None:
            draft.arguments_seen = True
            draft.is_blank = draft.is_blank and not fragment.has_arguments
            draft.pieces.append(fragment.arguments)
        for quirk in fragment.quirks:
            draft.note(quirk)
        draft.extra.update(fragment.extra)

    def _extend_name(self, draft: CallDraft, name: str) -> None:
        if not draft.name:
            draft.name = join_surrogates(name)
        elif self._is_split_name(draft.name, name) or (name != draft.name and draft.is_blank):
            joined = join_surrogates(draft.name + name)
            draft.name = joined[:MAX_NAME]
            draft.note("name_split" if len(joined) <= MAX_NAME else "name_cut")
        else:
            draft.note("name_repeated" if name == draft.name else "name_changes_mid_call")


@dataclass(frozen=True, slots=True)
class CallEnding:
    """How the choice ended that the calls belong to."""

    cut: bool = False
    """The stream ended before a finish reason: none of the calls was handed over as whole."""
    limited: bool = False
    """The token limit (or a filter) ended the choice: a call with unreadable arguments was cut by it."""
    finish_reason: str | None = None


def settle(
    drafts: Iterable[CallDraft], *, seed: str, choice: int = 0, ending: CallEnding | None = None
) -> tuple[ToolCall, ...]:
    """Turn drafts into calls: positions, ids, and the quirks that only show when all are known.

    Args:
        drafts: The calls of one choice, in order.
        seed: Minted ids are derived from it, the choice and the position, so they can be minted again.
        choice: Index of the choice.
        ending: How the choice ended; left out for calls in the history of a request.
    """
    real = [draft for draft in drafts if not draft.is_ghost]
    if len(real) > MAX_CALLS:
        real[MAX_CALLS - 1].note(TOO_MANY_CALLS)
    times = Counter(str(draft.call_id) for draft in real if draft.call_id is not None)
    calls = []
    for ordinal, draft in enumerate(real[:MAX_CALLS]):
        id_state = _id_state(draft, times)
        _note_oddities(draft, id_state, ending)
        calls.append(
            ToolCall(
                name=draft.name,
                arguments=draft.arguments,
                call_id=str(draft.call_id) if draft.call_id is not None else minted_id(seed, choice, ordinal),
                id_state=id_state,
                choice=choice,
                ordinal=ordinal,
                wire_index=draft.index,
                origin=draft.origin,
                complete=ending is None or _is_whole(draft, ending, is_last=draft is real[-1]),
                quirks=tuple(draft.quirks),
                emitted_ms=None if draft.emitted_ns is None else draft.emitted_ns / 1e6,
            )
        )
    return tuple(calls)


def whole_calls(value: Json) -> list[CallDraft]:
    """Read the ``tool_calls`` of a message that is not streamed: every entry is one call."""
    drafts: list[CallDraft] = []
    for fragment in Fragment.read_all(value):
        if len(drafts) <= MAX_CALLS:  # one too many, so that settle notes it
            assembler = CallAssembler()
            assembler.add(fragment)
            for draft in assembler.drafts:
                draft.quirks.pop("index_missing", None)  # an index is only asked for in a stream
                drafts.append(draft)
    return drafts


def minted_id(seed: str, choice: int, ordinal: int) -> str:
    """Return the id of a call to which the server gave none."""
    text = f"{seed}\0{choice}\0{ordinal}"
    return "tlx_" + blake2b(text.encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()


def _id_state(draft: CallDraft, times: Counter[str]) -> IdState:
    if draft.call_id is None:
        return "missing"
    if times[str(draft.call_id)] > 1:
        return "duplicate"
    return "ok" if isinstance(draft.call_id, str) else "numeric"


def _note_oddities(draft: CallDraft, id_state: IdState, ending: CallEnding | None) -> None:
    if id_state != "ok" and draft.origin != "legacy_function":  # the legacy form has no ids at all
        draft.note(f"id_{id_state}")
    if not draft.name:
        draft.note("name_missing")
    if not draft.arguments_seen:
        draft.note("arguments_missing")
    # A call that the server carries out itself need not stop the answer.
    if ending is not None and ending.finish_reason == "stop" and draft.origin != "server_side":
        draft.note("finish_reason_lies")


def _is_whole(draft: CallDraft, ending: CallEnding, *, is_last: bool) -> bool:
    if draft.origin == "custom":  # any text may be its whole input
        return not ending.cut and not (ending.limited and is_last)
    return not ending.cut and (not ending.limited or parse_arguments(draft.arguments, complete=False).value is not None)
