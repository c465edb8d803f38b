"""What is old goes: whole conversations, with all that belongs to them, and exchanges that have none.

*Theory.* Many short transactions, each over whole conversations: at every moment the store is whole, a process that
records waits for none of them longer than for one of its own, and what was interrupted is run again. A conversation is
asked again, inside the transaction, whether it is old: somebody may have gone on with it.

What people or replay have made of a conversation keeps it: a label of a person, or a scenario. Replay runs and builds
of training data stay; an example whose exchange went says so.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from tarx_toollog.store.few import among_keys
from tarx_toollog.store.retention.counting import Doomed, Removed, count
from tarx_toollog.store.retention.dialogues import remove_conversations, remove_exchanges
from tarx_toollog.store.retention.gc import collect_quickly
from tarx_toollog.store.retention.place import Place, Steps
from tarx_toollog.store.retention.rows import Counts, chunks, quick_references, remove
from tarx_toollog.store.schema import conversation, exchange, label, scenario, tool_execution
from tarx_toollog.store.tallies import fold_changed

KEEPS = ("labelled", "suites")
"""What may keep a conversation: a label of a person; a scenario of a suite."""
BATCH = 500  # exchanges of a transaction
_UID = 36  # characters of an exchange's uid; that of a call begins with it


@dataclass(frozen=True, slots=True)
class Old:
    """What is old."""

    before: datetime
    """Conversations whose last exchange began earlier."""
    keep: frozenset[str] = frozenset(KEEPS)


def would_prune(place: Place, old: Old) -> Removed:
    """Return what ``prune`` would delete."""
    with place.reader.connect() as connection:
        conversations = list(connection.scalars(sa.select(conversation.c.id).where(*_is_old(old))))
        of_them = list(connection.scalars(_exchanges_of(conversations)))
        alone = list(connection.scalars(sa.select(exchange.c.id).where(*_is_old_and_alone(old))))
        found = count(connection, Doomed(conversations, of_them + alone))
        lonely = connection.scalar(sa.select(sa.func.count()).select_from(tool_execution).where(_ran_long_ago(old)))
        if lonely:
            found.rows["tool_execution"] = found.rows.get("tool_execution", 0) + lonely
        return found


def prune(place: Place, old: Old, steps: Steps) -> Removed:
    """Delete what is old, and what nothing refers to then; return what went. May be interrupted, and run again."""
    gone: Counts = Counts()
    with place.reader.connect() as connection:
        query = sa.select(conversation.c.id).where(*_is_old(old)).order_by(conversation.c.last_at, conversation.c.id)
        conversations = list(connection.scalars(query))
        alone = list(connection.scalars(sa.select(exchange.c.id).where(*_is_old_and_alone(old))))
    with quick_references(place.writer):
        steps.begin("conversations", len(conversations))
        for keys in _batches(place, conversations):
            gone += _prune_conversations(place, old, keys)
            steps.advance(len(keys))
        steps.begin("exchanges without one", len(alone))
        for keys in chunks(alone, BATCH):
            begun = time.monotonic()
            with place.storing() as connection:
                still = sa.select(exchange.c.id).where(among_keys(exchange.c.id, keys), *_is_old_and_alone(old))
                gone += remove_exchanges(connection, list(connection.scalars(still)))
            steps.advance(len(keys))
            place.give_way(begun)
        with place.storing() as connection:
            lonely = list(connection.scalars(sa.select(tool_execution.c.id).where(_ran_long_ago(old))))
            gone += remove(connection, tool_execution, lonely)
        shared = collect_quickly(place, steps)
    fold_changed(place.writer)
    return Removed({name: n for name, n in gone.items() if n} | shared.rows)


def _prune_conversations(place: Place, old: Old, keys: list[int]) -> Counts:
    begun = time.monotonic()
    with place.storing() as connection:
        # The rows are locked, so that on a server nobody adds an exchange to one of them meanwhile.
        still = sa.select(conversation.c.id).where(among_keys(conversation.c.id, keys)).with_for_update()
        connection.execute(still)
        gone = remove_conversations(connection, list(connection.scalars(still.where(*_is_old(old)))))
    place.give_way(begun)
    return gone


def _batches(place: Place, conversations: list[int]) -> Iterator[list[int]]:
    """Yield conversations, as many as have ``BATCH`` exchanges together, or one that has more."""
    batch: list[int] = []
    total = 0
    for some in chunks(conversations):
        query = (
            sa.select(exchange.c.conversation_id, sa.func.count().label("n"))
            .where(among_keys(exchange.c.conversation_id, some))
            .group_by(exchange.c.conversation_id)
        )
        with place.reader.connect() as connection:
            sizes = {row.conversation_id: row.n for row in connection.execute(query)}
        for key in some:
            if batch and total + sizes.get(key, 0) > BATCH:
                yield batch
                batch, total = [], 0
            batch.append(key)
            total += sizes.get(key, 0)
    if batch:
        yield batch


def _exchanges_of(conversations: list[int]) -> sa.Select[tuple[int]]:
    return sa.select(exchange.c.id).where(among_keys(exchange.c.conversation_id, conversations))


def _is_old(old: Old) -> list[sa.ColumnElement[bool]]:
    later = sa.select(sa.literal(1)).where(
        exchange.c.conversation_id == conversation.c.id, exchange.c.started_at >= old.before
    )
    found = [conversation.c.last_at < old.before, ~later.exists()]
    if "labelled" in old.keep:
        by_label = sa.select(exchange.c.conversation_id).join(
            label, sa.func.substr(label.c.target_uid, 1, _UID) == exchange.c.uid
        )
        is_labelled = by_label.where(_is_of_a_person(), exchange.c.conversation_id.is_not(None))
        named = sa.select(label.c.target_uid).where(_is_of_a_person(), label.c.target_type == "conversation")
        found += [conversation.c.id.not_in(is_labelled), conversation.c.uid.not_in(named)]
    if "suites" in old.keep:
        found.append(conversation.c.uid.not_in(sa.select(scenario.c.conversation_uid)))
    return found


def _is_old_and_alone(old: Old) -> list[sa.ColumnElement[bool]]:
    """Return the condition on live exchanges that have no conversation; those of replay runs belong to their runs."""
    is_alone = sa.and_(exchange.c.conversation_id.is_(None), exchange.c.run_id.is_(None))
    found = [is_alone, exchange.c.started_at < old.before]
    if "labelled" in old.keep:
        named = sa.select(sa.func.substr(label.c.target_uid, 1, _UID)).where(_is_of_a_person())
        found.append(exchange.c.uid.not_in(named))
    return found


def _is_of_a_person() -> sa.ColumnElement[bool]:
    return sa.and_(label.c.annotator_kind == "human", label.c.superseded_by_id.is_(None))


def _ran_long_ago(old: Old) -> sa.ColumnElement[bool]:
    return sa.and_(tool_execution.c.tool_call_id.is_(None), tool_execution.c.started_at < old.before)
