"""Linking: which conversation an exchange belongs to, and which call a tool result answers. Pure functions.

*Theory.* Most clients send no conversation id. They send the whole history instead, so a request that continues
a dialogue begins with messages that we have seen: the input of an earlier exchange followed by its answer.
Clients reshape that history (``null`` becomes ``""``, arguments are re-serialised, ids rewritten, reasoning
dropped), therefore histories are compared by *meaning*: role, stripped text, and for each call its name and
parsed arguments. The leading system messages stay outside: they carry dates and injected memories and change
from request to request.

``sem_chain`` gives one hash per prefix of a history. An exchange stores the hash of its input and of its input
with the answer appended (``output_sem``); a later request continues it when one of its prefixes has that hash.

Sources in order, first that answers wins: an id that the client gave (header, path, body) → the inbound
exchange during which this one was made (``outer``) → a prefix of the history → a tool-call id of ours in the
history (``wire_id``: sliding windows and summaries cut the prefix off) → the same request just failed
(``retry``) → a new conversation. ``how`` and ``confidence`` say which; nothing is guessed silently.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from tarx_toollog.canonical import chain_hash, content_hash, parse_arguments
from tarx_toollog.model import Exchange, Message, ToolResult

LEADING_ROLES = frozenset({"system", "developer"})
AMBIGUOUS = 0.5  # several conversations fit equally; the latest one is taken


@dataclass(frozen=True, slots=True)
class Parent:
    """An earlier exchange that this one may continue."""

    exchange_id: int
    conversation_id: int
    turn_no: int
    step_no: int
    output_hash: bytes | None = None
    """Content hash of its answer's exact message."""


@dataclass(frozen=True, slots=True)
class Found:
    """What a look-up found: the best candidate, and whether others fitted as well."""

    parent: Parent
    unique: bool


@dataclass(frozen=True, slots=True)
class Outer:
    """The inbound exchange during which this one was made."""

    exchange_id: int
    conversation_id: int | None


class Lookup(Protocol):
    """The questions that linking asks the store."""

    def conversation_by_external_id(self, source: str, external_id: str) -> int | None:
        """Return the conversation that a client named so."""

    def outer(self, uid: str) -> Outer | None:
        """Return the inbound exchange with this uid."""

    def by_output(self, sems: Sequence[bytes], client_key: str | None) -> tuple[bytes, Found] | None:
        """Return the exchange whose answer completes one of these histories; earlier entries are preferred."""

    def by_call_ids(self, call_ids: Sequence[str], client_key: str | None) -> Found | None:
        """Return the exchange that emitted one of these calls; earlier entries are preferred."""

    def failed_with_input(self, sem: bytes, client_key: str | None) -> Parent | None:
        """Return the latest exchange with this input, if it did not complete."""


@dataclass(frozen=True, slots=True)
class Link:
    """Where an exchange belongs."""

    how: str
    confidence: float
    conversation_id: int | None
    """None: a new conversation is to be made."""
    turn_no: int
    step_no: int
    parent: Parent | None
    retry_of_id: int | None
    outer_id: int | None
    first_new: int
    """Index in the history of the first message that no earlier exchange has seen."""
    assistant_echo: str | None


def split_leading(messages: Sequence[Message]) -> tuple[Sequence[Message], Sequence[Message]]:
    """Split off the leading system and developer messages from the history proper."""
    n = 0
    while n < len(messages) and messages[n].role in LEADING_ROLES:
        n += 1
    return messages[:n], messages[n:]


def semantic_form(message: Message) -> list[Any]:
    """Return what a message means, without ids, key order, white space at the ends, parts and reasoning."""
    calls: list[list[Any]] = []
    for call in message.tool_calls:
        parsed = parse_arguments(call.arguments)
        calls.append([call.name, call.arguments if parsed.value is None else parsed.value])
    role = "tool" if message.role == "function" else message.role
    form: list[Any] = [role, message.text.strip(), calls]
    if message.tool_results and role != "tool":  # of a tool message the text is the result
        form.append([result.text.strip() for result in message.tool_results])
    return form


def sem_chain(history: Sequence[Message], start: bytes | None = None) -> list[bytes]:
    """Return one hash for each prefix of ``history``: element i covers messages 0 to i."""
    hashes: list[bytes] = []
    for message in history:
        start = chain_hash(start, content_hash("sem", semantic_form(message)))
        hashes.append(start)
    return hashes


def link(exchange: Exchange, lookup: Lookup) -> Link:
    """Find the conversation, turn and step of an exchange."""
    request = exchange.request
    history = split_leading(request.messages)[1] if request else ()
    sems = sem_chain(history)
    outer = lookup.outer(exchange.outer_uid) if exchange.outer_uid else None
    by_prefix = _prefix_parent(history, sems, exchange, lookup)
    found, first_new = by_prefix or (None, None)
    how = "prefix"
    if found is None:
        found = _call_id_parent(history, exchange, lookup)
        how = "wire_id"
    if first_new is None:
        first_new = _after_last_calls(history)
    parent = found.parent if found else None
    retry = lookup.failed_with_input(sems[-1], exchange.client_key) if sems else None
    conversation_id, how, confidence = _conversation(exchange, lookup, outer, found, how, retry)
    turn_no, step_no = _place(history, parent, first_new)
    return Link(
        how=how,
        confidence=confidence,
        conversation_id=conversation_id,
        turn_no=turn_no,
        step_no=step_no,
        parent=parent,
        retry_of_id=retry.exchange_id if retry else None,
        outer_id=outer.exchange_id if outer else None,
        first_new=first_new,
        assistant_echo=_echo(history, parent, first_new, by_prefix is not None),
    )


def _conversation(
    exchange: Exchange, lookup: Lookup, outer: Outer | None, found: Found | None, how: str, retry: Parent | None
) -> tuple[int | None, str, float]:
    if exchange.conversation_hint is not None:
        source = exchange.hint_source or "header"
        return lookup.conversation_by_external_id(source, exchange.conversation_hint), source, 1.0
    if outer is not None and outer.conversation_id is not None:
        return outer.conversation_id, "outer", 1.0
    if found is not None:
        return found.parent.conversation_id, how, 1.0 if found.unique else AMBIGUOUS
    if retry is not None:
        return retry.conversation_id, "retry", AMBIGUOUS
    return None, "new", 1.0


def _prefix_parent(
    history: Sequence[Message], sems: Sequence[bytes], exchange: Exchange, lookup: Lookup
) -> tuple[Found, int] | None:
    # Longest prefix first: of two exchanges of one dialogue the later one is the parent.
    ends = [i for i in range(len(history) - 1, -1, -1) if history[i].role == "assistant"]
    if not ends:
        return None
    hit = lookup.by_output([sems[i] for i in ends], exchange.client_key)
    if hit is None:
        return None
    return hit[1], list(sems).index(hit[0]) + 1


def _call_id_parent(history: Sequence[Message], exchange: Exchange, lookup: Lookup) -> Found | None:
    ids = [r.call_id for m in reversed(history) for r in m.tool_results if r.call_id]
    ids += [c.call_id for m in reversed(history) for c in m.tool_calls if c.id_state == "ok"]
    return lookup.by_call_ids(list(dict.fromkeys(ids)), exchange.client_key) if ids else None


def _after_last_calls(history: Sequence[Message]) -> int:
    """Return the place after the last assistant message: what follows it is new to us at the latest."""
    for i in range(len(history) - 1, -1, -1):
        if history[i].role == "assistant":
            return i + 1
    return 0


def _place(history: Sequence[Message], parent: Parent | None, first_new: int) -> tuple[int, int]:
    """Return turn and step. A turn begins with each user message; a step is one answer of the model in it."""
    if parent is not None:
        new_users = sum(1 for message in history[first_new:] if message.is_prompt)
        # Two user messages in a row open one turn, not two: the model is asked once.
        return (parent.turn_no + 1, 1) if new_users else (parent.turn_no, parent.step_no + 1)
    turn_no, step_no, in_prompt = 0, 1, False
    for message in history:
        if message.is_prompt:
            turn_no += 0 if in_prompt else 1
            step_no = 1
        elif message.role == "assistant":
            step_no += 1
        in_prompt = message.is_prompt
    return max(turn_no, 1), step_no


def _echo(history: Sequence[Message], parent: Parent | None, first_new: int, by_prefix: bool) -> str | None:
    """Say how the client sent our answer back."""
    if parent is None:
        return None
    if not by_prefix:
        # The chain is broken, the call id matched: the client cut or rewrote what came before the call.
        return "edited" if any(m.role == "assistant" for m in history) else "missing"
    return "same" if message_hash(history[first_new - 1].raw) == parent.output_hash else "reshaped"


def message_hash(raw: Mapping[str, Any]) -> bytes:
    """Return the content hash of a message exactly as sent."""
    return content_hash("message", dict(raw))


# ---- tool results ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OpenCall:
    """A call of the conversation that has no result yet, latest exchange first."""

    id: int
    exchange_id: int
    ordinal: int
    call_id: str
    name: str


@dataclass(frozen=True, slots=True)
class Pairing:
    """A tool result and the call that it answers."""

    position: int
    """Index in the history of the message that holds the result."""
    part: int
    """Index of the result within that message."""
    message: Message
    result: ToolResult
    call: OpenCall | None
    how: str
    confidence: float


def pair_results(history: Sequence[Message], first_new: int, calls: Sequence[OpenCall]) -> list[Pairing]:
    """Pair the results among the new messages with open calls: by id, then by order, then by name.

    Args:
        history: The request's messages without the leading system messages.
        first_new: Index of the first message that no earlier exchange has seen.
        calls: Calls of the conversation without a result, latest exchange first, in order within it.
    """
    open_calls = list(calls)
    pairings = [
        _by_id(position, part, message, open_calls)
        for position, message in enumerate(history)
        if position >= first_new
        for part in range(len(message.tool_results))
    ]
    # A second result under an id that was answered just now belongs to that call, not to its neighbour.
    known = {call.call_id for call in calls}
    unpaired = [i for i, p in enumerate(pairings) if p.call is None and p.result.call_id not in known]
    latest = open_calls[0].exchange_id if open_calls else None
    candidates = [call for call in open_calls if call.exchange_id == latest]
    # Order is evidence only when every result of the step lacks its call and their number fits.
    by_order = len(unpaired) == len(candidates) and all(
        pairings[i].result.name in (None, call.name) for i, call in zip(unpaired, candidates, strict=True)
    )
    for i in unpaired:
        call = candidates.pop(0) if by_order else _by_name(pairings[i].result, candidates)
        if call is not None:
            how = "order" if by_order else "name"
            pairings[i] = replace(pairings[i], call=call, how=how, confidence=0.8 if by_order else 0.6)
    return pairings


def _by_id(position: int, part: int, message: Message, calls: list[OpenCall]) -> Pairing:
    result = message.tool_results[part]
    fitting = [call for call in calls if result.call_id and call.call_id == result.call_id]
    if not fitting:
        return Pairing(position, part, message, result, None, "none", 0.0)
    # Servers that number calls from 0 in every turn repeat ids: the latest exchange is meant.
    calls.remove(fitting[0])
    confidence = 1.0 if len(fitting) == 1 else 0.9
    return Pairing(position, part, message, result, fitting[0], "id", confidence)


def _by_name(result: ToolResult, candidates: list[OpenCall]) -> OpenCall | None:
    for i, call in enumerate(candidates):
        if result.name is not None and result.name == call.name:
            return candidates.pop(i)
    return None
