"""Deleting dialogues: exchanges with all that belongs to them, and conversations, inside the caller's transaction.

Other conversations stay as they are, but for what they owe to the ones that go: a result whose call went is a result
without a call, a call whose result went is one without a result, and their turns are made anew.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

import sqlalchemy as sa

from tarx_toollog.store.few import among_keys
from tarx_toollog.store.retention.rows import Counts, chunks, remove
from tarx_toollog.store.schema import (
    call_uid,
    conversation,
    dataset_build,
    exchange,
    label,
    message,
    tool_call,
    tool_result,
    turn,
)
from tarx_toollog.store.turns import TurnKey, refresh_turns


def remove_conversations(connection: sa.Connection, keys: Sequence[int]) -> Counts:
    """Delete whole conversations; return how many rows of each table went."""
    meant = list(keys)
    gone: Counts = Counter()
    turns = sa.delete(turn).where(among_keys(turn.c.conversation_id, meant))  # before what they are made of
    gone["turn"] += connection.execute(turns).rowcount
    of_them = sa.select(exchange.c.id).where(among_keys(exchange.c.conversation_id, meant))
    gone += remove_exchanges(connection, list(connection.scalars(of_them)))
    uids = connection.scalars(sa.select(conversation.c.uid).where(among_keys(conversation.c.id, meant))).all()
    gone["label"] += _remove_labels(connection, "conversation", uids)
    return gone + remove(connection, conversation, meant)


def remove_exchanges(connection: sa.Connection, keys: Sequence[int]) -> Counts:
    """Delete exchanges with all that belongs to them; return how many rows of each table went."""
    meant = list(keys)
    is_meant = among_keys(exchange.c.id, meant)
    turns = set(_turns_that_lose_a_result(connection, meant))
    is_inner = sa.and_(is_meant, exchange.c.outer_exchange_id.is_not(None))
    outer = list(connection.scalars(sa.select(exchange.c.outer_exchange_id).where(is_inner).distinct()))
    gone: Counts = Counter({"label": _remove_labels_of(connection, meant)})
    brought = sa.update(message).where(among_keys(message.c.first_exchange_id, meant))
    connection.execute(brought.values(first_exchange_id=None))  # ``gc`` finds the next one that has it
    gone += remove(connection, exchange, meant)
    turns |= set(_count_inner_again(connection, outer))
    refresh_turns(connection, turns)
    _forget_newest(connection)
    return gone


def _turns_that_lose_a_result(connection: sa.Connection, keys: list[int]) -> Iterable[TurnKey]:
    query = (
        sa.select(tool_call.c.conversation_id, tool_call.c.turn_no)
        .join(tool_result, tool_result.c.tool_call_id == tool_call.c.id)
        .where(among_keys(tool_result.c.exchange_id, keys), ~among_keys(tool_call.c.exchange_id, keys))
        .where(tool_call.c.conversation_id.is_not(None), tool_call.c.turn_no.is_not(None))
    )
    return ((row.conversation_id, row.turn_no) for row in connection.execute(query).all())


def _count_inner_again(connection: sa.Connection, keys: list[int]) -> Iterable[TurnKey]:
    """Bring the count of inner exchanges up to date where the outer one stays."""
    if not keys:
        return ()
    inner = exchange.alias("inner_exchange")
    count = sa.select(sa.func.count()).where(inner.c.outer_exchange_id == exchange.c.id).scalar_subquery()
    is_meant = among_keys(exchange.c.id, keys)
    connection.execute(sa.update(exchange).where(is_meant).values(n_inner=count))
    place = sa.select(exchange.c.conversation_id, exchange.c.turn_no).where(is_meant)
    known = place.where(exchange.c.conversation_id.is_not(None), exchange.c.turn_no.is_not(None))
    return ((row.conversation_id, row.turn_no) for row in connection.execute(known).all())


def _remove_labels_of(connection: sa.Connection, keys: list[int]) -> int:
    is_meant = among_keys(exchange.c.id, keys)
    uids = connection.scalars(sa.select(exchange.c.uid).where(is_meant)).all()
    calls = sa.select(call_uid()).join(exchange, exchange.c.id == tool_call.c.exchange_id).where(is_meant)
    on_calls = connection.scalars(calls).all()
    return _remove_labels(connection, "exchange", uids) + _remove_labels(connection, "tool_call", on_calls)


def _remove_labels(connection: sa.Connection, kind: str, uids: Sequence[str]) -> int:
    n = 0
    for some in chunks(uids):
        is_on_them = sa.and_(label.c.target_type == kind, label.c.target_uid.in_(some))
        keys = list(connection.scalars(sa.select(label.c.id).where(is_on_them)))
        n += remove(connection, label, keys)["label"]
    return n


def _forget_newest(connection: sa.Connection) -> None:
    """Let builds of training data know nothing of keys that SQLite is going to give again."""
    newest = sa.select(sa.func.coalesce(sa.func.max(exchange.c.id), 0)).scalar_subquery()
    knew_more = dataset_build.c.last_exchange_id > newest
    connection.execute(sa.update(dataset_build).where(knew_more).values(last_exchange_id=newest))
