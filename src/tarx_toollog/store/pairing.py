"""Pairing: which call a tool result answers. Pure functions.

*Theory.* Inside a conversation, and in this order: by the id of the call; by order, when every result without its call
finds one of the latest step and their numbers fit; by name. Servers that number calls from 0 in every answer repeat
ids, and a regenerated answer may repeat those of the first: the call of the exchange that is continued is meant, else
the latest. A call has one result, the first one seen. ``match_how`` and ``confidence`` say what was used.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from tarx_toollog.model import Message, ToolResult

SURE = 1.0
REPEATED_ID = 0.9
BY_ORDER = 0.8
BY_NAME = 0.6


class Made(NamedTuple):
    """The exchange that made a call."""

    conversation_id: int
    turn_no: int | None
    started_at: datetime
    total_ms: float | None


@dataclass(frozen=True, slots=True)
class OpenCall:
    """A call that has no result of an earlier request, or a call of the exchange that is continued."""

    id: int
    exchange_id: int
    call_id: str
    name: str
    is_open: bool = True
    """False for one of the latter that has a result: a repeated id means it, and not an older call."""
    taken_by: int | None = None
    """A later exchange whose result sits on it, because that came first: the result is to be paired again."""
    made: Made | None = None
    """Where and when it was made; pairing does not need it."""


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


def pair_results(
    history: Sequence[Message], first_new: int, calls: Sequence[OpenCall], parent_id: int | None = None
) -> list[Pairing]:
    """Pair the results among the new messages with open calls.

    Args:
        history: The request's messages without the leading system messages.
        first_new: Index of the first message that no earlier exchange has seen.
        calls: Calls without a result, latest exchange first, in order within it; those of the parent may be anywhere.
        parent_id: The exchange that this one continues.
    """
    # Stable: the parent's calls come first, the others stay in their order.
    open_calls = sorted(calls, key=lambda call: call.exchange_id != parent_id)
    by_id: dict[str, list[OpenCall]] = {}
    for made in open_calls:
        by_id.setdefault(made.call_id, []).append(made)
    pairings = [
        _by_id(position, part, message, by_id)
        for position, message in enumerate(history)
        if position >= first_new
        for part in range(len(message.tool_results))
    ]
    # A second result under an id that was answered just now belongs to that call, not to its neighbour.
    unpaired = [i for i, p in enumerate(pairings) if p.call is None and p.result.call_id not in by_id]
    taken = {pairing.call.id for pairing in pairings if pairing.call is not None}
    left = (call.exchange_id for call in open_calls if call.id not in taken)
    latest = parent_id if parent_id is not None else next(left, None)
    candidates = [c for c in open_calls if c.exchange_id == latest and c.is_open and c.id not in taken]
    # Order is evidence only when every result of the step lacks its call and their number fits.
    by_order = len(unpaired) == len(candidates) and all(
        pairings[i].result.name in (None, call.name) for i, call in zip(unpaired, candidates, strict=True)
    )
    for i in unpaired:
        call = candidates.pop(0) if by_order else _by_name(pairings[i].result, candidates)
        if call is not None:
            how, confidence = ("order", BY_ORDER) if by_order else ("name", BY_NAME)
            pairings[i] = replace(pairings[i], call=call, how=how, confidence=confidence)
    return pairings


def _by_id(position: int, part: int, message: Message, calls: dict[str, list[OpenCall]]) -> Pairing:
    result = message.tool_results[part]
    fitting = calls.get(result.call_id, []) if result.call_id else []
    if not fitting or not fitting[0].is_open:
        return Pairing(position, part, message, result, None, "none", 0.0)
    confidence = SURE if len(fitting) == 1 else REPEATED_ID
    return Pairing(position, part, message, result, fitting.pop(0), "id", confidence)


def _by_name(result: ToolResult, candidates: list[OpenCall]) -> OpenCall | None:
    for i, call in enumerate(candidates):
        if result.name is not None and result.name == call.name:
            return candidates.pop(i)
    return None
