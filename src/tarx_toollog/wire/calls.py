"""Tool calls from their fragments: the assembly rule, ids, and what was odd about them.

Theory: the protocol says that fragments of one call share an ``index``. Local servers send index 0 for all
calls (Ollama, old vLLM), no index, no id, numeric or repeated ids, an id that changes with every fragment
(gateways), a name in every fragment, arguments as an object, one call in place of the list. Merging by index
alone therefore joins two calls into one. So each choice keeps an ordered list of calls, and every fragment is asked:

1. *Which call is current?* The last one opened at its index; without an index the one with its id, else the
   last one. Where nothing stands at its index: the one with its id, or, when it has neither id nor name, the last
   one, as long as that is not complete.
2. *Does it open a new one?* Yes, if there is no current call; or it brings another id and a name (or the
   arguments are complete already); or a name while the arguments are complete; or, without an index, a name
   while they are empty; or another name in the middle of the arguments.
3. Otherwise it continues the current call. An id that changes on the way is kept out and noted. Pieces of a
   name are joined while they lead to the name of an offered tool, unless the second is such a name by itself.

"Complete" means that the brackets of the arguments are balanced. Whether a call was handed over whole is told by the
end of its choice as well: a stream that broke off handed over none, a limit cut the one whose arguments cannot be
read. A server that ends its stream without a reason cut the one whose arguments end inside brackets; what else stands
there, the model wrote so.

What the server did against the protocol is kept as short codes in ``ToolCall.quirks``.
"""

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b

from tarx_toollog.canonical import Json, has_repeated_keys, join_surrogates, parse_arguments
from tarx_toollog.model import IdState, ToolCall
from tarx_toollog.wire.drafts import MAX_NAME, CallDraft, Fragment

__all__ = ["CallAssembler", "CallDraft", "CallEnding", "Fragment", "minted_id", "settle", "whole_calls"]

NO_OFFER: frozenset[str] = frozenset()
MAX_CALLS = 1024  # of one choice: each becomes a row, and a hostile server must not make millions of them
TOO_MANY_CALLS = "too_many_calls"  # quirk of the last call that is kept
KEYS_REPEATED = "argument_keys_repeated"
"""Quirk of a call in whose arguments an object has a key twice: the last value counts, the first one is lost."""


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
        if fragment.index is None:
            return same_id or (self.drafts[-1] if self.drafts else None)
        draft = self._by_index.get(fragment.index)
        if draft is not None or fragment.name:
            return draft
        draft = same_id if fragment.call_id is not None else self._unfinished(fragment.index)
        if draft is not None:
            # It is not put at this index: a server that counts pieces comes to it again with another call.
            draft.note("index_changes_mid_call")
        return draft

    def _unfinished(self, index: int) -> CallDraft | None:
        """Return the call that a piece without id and name continues, though its index is no call's."""
        if not self.drafts or self.drafts[-1].is_complete:
            return None
        if len(self.drafts) == 1 or self.drafts[-2].is_complete:
            return self.drafts[-1]
        # Several calls wait. Those that came without an index are counted; to guess would make a call that nobody made.
        counted = self.drafts[index] if 0 <= index < len(self.drafts) else None
        return counted if counted is not None and counted.index is None and counted.is_blank else None

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
            if self._is_split_name(draft, fragment.name):
                return False
            both_offered = not same_name and {draft.name, fragment.name} <= self._offered
            return both_offered or fragment.index is None
        return not same_name

    def _is_split_name(self, draft: CallDraft, piece: str) -> bool:
        joined = draft.name + piece
        if joined in self._offered:
            return not {draft.name, piece} <= self._offered
        return draft.is_blank and piece not in self._offered and self._begins_a_name(joined)

    def _begins_a_name(self, text: str) -> bool:
        place = bisect_left(self._sorted_names, text)
        return any(name.startswith(text) for name in self._sorted_names[place : place + 1])

    @cached_property
    def _sorted_names(self) -> list[str]:
        """The offered names in order: a search through all of them with every piece would be quadratic."""
        return sorted(self._offered)

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
        elif self._is_split_name(draft, name) or (name != draft.name and draft.is_blank):
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
    unexplained: bool = False
    """The server gave no finish reason: a call whose arguments end inside brackets was cut."""


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
    if ending is not None and draft.origin != "custom" and has_repeated_keys(draft.arguments):
        draft.note(KEYS_REPEATED)
    # A call that the server carries out itself need not stop the answer.
    if ending is not None and ending.finish_reason == "stop" and draft.origin != "server_side":
        draft.note("finish_reason_lies")


def _is_whole(draft: CallDraft, ending: CallEnding, *, is_last: bool) -> bool:
    if draft.origin == "custom":  # any text may be its whole input
        return not ending.cut and not (ending.limited and is_last)
    if ending.cut or (ending.unexplained and draft.is_open):
        return False
    return not ending.limited or parse_arguments(draft.arguments, complete=False).value is not None
