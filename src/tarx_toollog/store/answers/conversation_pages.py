"""The list of conversations, a page at a time: what was asked first, how it went, and what people said of it."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tarx_toollog.store.answers.newest import TIMEOUT_S, newest
from tarx_toollog.store.answers.shown_labels import labels_on
from tarx_toollog.store.few import rare_conversations
from tarx_toollog.store.filters import Filters, exchange_conditions
from tarx_toollog.store.labels import LabelRow
from tarx_toollog.store.schema import call_uid, conversation, exchange, message, tool_call, turn
from tarx_toollog.store.types import SafeText, among
from tarx_toollog.store.where import heeding

Rows = dict[int, Any]

TITLE = 120
"""Characters of what the user said first: by them a person knows the conversation again."""
_IDS: sa.BindParameter[str] = sa.bindparam("ids", type_=sa.Text)
_NAMES = ("id", "uid", "external_id", "split", "first_at", "last_at")
_FACTS = sa.select(*(conversation.c[name] for name in _NAMES)).where(among(conversation.c.id, _IDS))
_COUNTS = (
    sa.select(
        turn.c.conversation_id,
        sa.func.count().label("n_turns"),
        sa.func.sum(turn.c.n_steps).label("n_steps"),
        sa.func.sum(turn.c.chain_length + turn.c.n_leaked).label("n_calls"),
        sa.func.sum(turn.c.n_bad_calls + turn.c.n_leaked).label("n_bad_calls"),
        sa.func.sum(turn.c.n_error_results).label("n_error_results"),
        sa.func.min(turn.c.turn_no).label("first_turn"),
    )
    .where(among(turn.c.conversation_id, _IDS))
    .group_by(turn.c.conversation_id)
)
_FIRST = _COUNTS.subquery()
_TEXTS = (
    sa.select(
        turn.c.conversation_id,
        # The type again: without it, what no database accepts would stay escaped.
        sa.type_coerce(sa.func.substr(sa.func.coalesce(message.c.text, message.c.content), 1, TITLE), SafeText).label(
            "text"
        ),
    )
    .join(message, message.c.id == turn.c.user_message_id)
    .join(_FIRST, sa.and_(_FIRST.c.conversation_id == turn.c.conversation_id, _FIRST.c.first_turn == turn.c.turn_no))
)
_EXCHANGES = sa.select(exchange.c.uid, exchange.c.conversation_id).where(among(exchange.c.conversation_id, _IDS))
_CALLS = (
    sa.select(call_uid().label("uid"), tool_call.c.conversation_id)
    .join(exchange, exchange.c.id == tool_call.c.exchange_id)
    .where(among(tool_call.c.conversation_id, _IDS))
)


@dataclass(frozen=True, slots=True)
class ConversationLine:
    """One conversation in a list. Its counts are those of the main line of each turn."""

    id: int
    uid: str
    external_id: str | None
    split: str
    first_at: datetime
    last_at: datetime
    n_turns: int
    n_steps: int
    n_calls: int
    """Leaked ones as well."""
    n_bad_calls: int
    n_error_results: int
    user_text: str
    """The beginning of what the user said first."""
    labels: tuple[LabelRow, ...]
    """Those in force on it, its exchanges and its calls."""


@dataclass(frozen=True, slots=True)
class ConversationList:
    """A page of the list."""

    rows: list[ConversationLine]
    before: int | None
    """Key that the next page goes on below; None: this is the last."""
    is_full: bool
    """Whether it ends because it is full, and not because the time was up."""


def conversation_list(connection: sa.Connection, filters: Filters, before: int | None, size: int) -> ConversationList:
    """Return conversations with an exchange that is meant, newest first.

    Args:
        connection: May only read.
        filters: On an exchange of the conversation.
        before: Only conversations with a lower key.
        size: Rows of a page.
    """
    within = sa.select(sa.literal(1)).where(exchange.c.conversation_id == conversation.c.id)
    conditions: list[sa.ColumnElement[bool]] = [within.where(*exchange_conditions(filters)).exists()]
    # What the exchange says as well, and can be seen without it.
    conditions += [] if filters.until is None else [conversation.c.first_at < filters.until]
    conditions += [] if filters.since is None else [conversation.c.last_at >= filters.since]
    with heeding(connection, filters.where, TIMEOUT_S):
        found = newest(
            connection,
            conversation.c.id,
            conditions,
            rare=rare_conversations(connection, filters),
            before=before,
            size=size,
        )
    return ConversationList(_lines(connection, found.keys), found.before, found.is_full)


def _lines(connection: sa.Connection, keys: Sequence[int]) -> list[ConversationLine]:
    ids = {"ids": json.dumps(keys)}
    facts: Rows = {row.id: row for row in connection.execute(_FACTS, ids)}
    counts: Rows = {row.conversation_id: row for row in connection.execute(_COUNTS, ids)}
    texts: dict[int, str] = {row.conversation_id: row.text for row in connection.execute(_TEXTS, ids)}
    labels = _labels(connection, facts, ids)
    return [_line(facts[key], counts.get(key), texts.get(key) or "", labels.get(key, ())) for key in keys]


def _line(facts: Any, counts: Any, text: str, labels: tuple[LabelRow, ...]) -> ConversationLine:
    names = ("n_turns", "n_steps", "n_calls", "n_bad_calls", "n_error_results")
    figures: dict[str, Any] = {name: 0 if counts is None else int(getattr(counts, name)) for name in names}
    known = {name: getattr(facts, name) for name in _NAMES}
    return ConversationLine(**known, **figures, user_text=text, labels=labels)


def _labels(connection: sa.Connection, facts: Rows, ids: dict[str, str]) -> dict[int, tuple[LabelRow, ...]]:
    owners: dict[str, int] = {row.uid: row.id for row in facts.values()}
    exchanges = {row.uid: row.conversation_id for row in connection.execute(_EXCHANGES, ids)}
    calls = {row.uid: row.conversation_id for row in connection.execute(_CALLS, ids)}
    found = labels_on(connection, {"conversation": list(owners), "exchange": exchanges, "tool_call": calls})
    labels: dict[int, tuple[LabelRow, ...]] = {}
    for uid, rows in found.items():
        key = (owners | exchanges | calls)[uid]
        labels[key] = (*labels.get(key, ()), *(row for row in rows if row.superseded_by_id is None))
    return labels
