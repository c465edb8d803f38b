"""Look again at exchanges that were linked too early, so that the order of arrival changes nothing.

*Theory.* A client may send its next request before the end of the previous exchange is in the store: the last event
has reached it, the connection is still being closed. Two processes may also be a moment apart, and the journal of a
killed one is read when its heir starts. Linking an exchange asks only for exchanges that began earlier. So when one
of those changes, what began later may have to be linked again, and nothing else.

``late`` exchanges are those that got their answer when later ones were there already. From each one follow the later
exchanges whose links it may change: those that found no parent or only one from before it, those that chose among
several candidates, those that answer its calls; and in its own conversation, where less has to fit, all whose parent
is not the one that gave the last answer of their whole history. They are linked in the order of time. Where that
changes something, what depends on it is queued behind them, so one pass is enough.

The queue is as long as what changes, not as the store: the scan goes over the exchanges that began after the first
late one, once for a transaction.

One rule looks ahead: an exchange that asked the same as one before it, and had another answer, belongs to it
(``again``) as long as nobody follows the answer of that one. Who does (``followed``) sends the other back.
"""

import heapq
from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

import sqlalchemy as sa

from tarx_toollog.canonical import chain_hash
from tarx_toollog.store import linker
from tarx_toollog.store.content import Content
from tarx_toollog.store.links import link_values, write_results
from tarx_toollog.store.lookup import LIMIT, Moment, SqlLookup, bound, is_after
from tarx_toollog.store.prepared import Connected, plain
from tarx_toollog.store.reader import Reader
from tarx_toollog.store.schema import conversation, exchange, message, node, tool_call, tool_result, turn
from tarx_toollog.store.turns import TurnKey

_CHUNK = 200  # ids in one statement

_PLACE = (
    exchange.c.conversation_id,
    exchange.c.turn_no,
    exchange.c.step_no,
    exchange.c.parent_exchange_id,
    exchange.c.input_sem,
    exchange.c.conversation_confidence,
)
_WHO = (
    exchange.c.id,
    exchange.c.uid,
    exchange.c.started_at,
    exchange.c.client_key,
    exchange.c.upstream,
    exchange.c.response_id,
    exchange.c.output_sem,
    exchange.c.conversation_how,
    *_PLACE,
)
_BY_IDS = sa.select(*_WHO).where(exchange.c.id.in_(sa.bindparam("ids", expanding=True)))
_HAS_LATER = sa.select(sa.literal(1)).where(is_after(), exchange.c.conversation_id.is_not(None)).limit(1)
_parent = exchange.alias("parent")
_LATER = (
    sa.select(
        exchange.c.id,
        exchange.c.uid,
        exchange.c.started_at,
        exchange.c.client_key,
        exchange.c.conversation_how,
        exchange.c.conversation_confidence,
        exchange.c.assistant_echo,
        # Only requests of this protocol name a response; reading the JSON of the others would cost more than the scan.
        sa.case((exchange.c.protocol == "openai_responses", exchange.c.params)).label("params"),
        _parent.c.started_at.label("parent_at"),
    )
    .outerjoin(_parent, _parent.c.id == exchange.c.parent_exchange_id)
    .where(is_after(), exchange.c.conversation_id.is_not(None), exchange.c.turn_no.is_not(None))
)
_path = (
    sa.select(exchange.c.id.label("exchange_id"), node.c.parent_id, node.c.sem, node.c.message_id)
    .join(node, node.c.id == exchange.c.input_node_id)
    .where(exchange.c.id.in_(sa.bindparam("ids", expanding=True)))
    .cte("path", recursive=True)
)
_path = _path.union_all(
    sa.select(_path.c.exchange_id, node.c.parent_id, node.c.sem, node.c.message_id).join(
        _path, node.c.id == _path.c.parent_id
    )
)
_PASSES = sa.select(_path.c.exchange_id).where(_path.c.sem.in_(sa.bindparam("sems", expanding=True))).distinct()
_HAS_ANSWER = (
    sa.select(_path.c.exchange_id)
    .join(message, message.c.id == _path.c.message_id)
    .where(sa.or_(message.c.role == "assistant", message.c.tool_call_id.is_not(None)))
    .distinct()
)
_LATER_HERE = (
    sa.select(exchange.c.id, exchange.c.uid, exchange.c.started_at, exchange.c.parent_exchange_id)
    .where(is_after(), exchange.c.conversation_id == sa.bindparam("conversation_id"), exchange.c.turn_no.is_not(None))
    .order_by(exchange.c.id)
)
_end = (
    sa.select(exchange.c.id.label("exchange_id"), node.c.parent_id, node.c.sem, message.c.role)
    .join(node, node.c.id == exchange.c.input_node_id)
    .join(message, message.c.id == node.c.message_id)
    .where(exchange.c.id.in_(sa.bindparam("ids", expanding=True)))
    .cte("history_end", recursive=True)
)
_end = _end.union_all(
    sa.select(_end.c.exchange_id, node.c.parent_id, node.c.sem, message.c.role)
    .join(_end, node.c.id == _end.c.parent_id)
    .join(message, message.c.id == node.c.message_id)
    .where(_end.c.role != "assistant")
)
_IS_ANCHORED = (
    sa.select(_end.c.exchange_id)
    .join(exchange, exchange.c.id == _end.c.exchange_id)
    .join(_parent, _parent.c.id == exchange.c.parent_exchange_id)
    .where(
        _end.c.role == "assistant",
        _end.c.sem == _parent.c.output_sem,
        _parent.c.conversation_id == exchange.c.conversation_id,
    )
)
_same_answer = (
    sa.select(exchange.c.id)
    .where(exchange.c.output_sem == sa.bindparam("sem"))
    .order_by(exchange.c.id.desc())
    .limit(LIMIT)
)
_MOMENTS = sa.select(exchange.c.started_at, exchange.c.uid, exchange.c.id)
_CHILDREN_OF_SAME_ANSWER = _MOMENTS.where(is_after(), exchange.c.parent_exchange_id.in_(_same_answer))
_CHILDREN = _MOMENTS.where(is_after(), exchange.c.parent_exchange_id == sa.bindparam("exchange_id"))
_INNER = _MOMENTS.where(is_after(), exchange.c.outer_exchange_id == sa.bindparam("exchange_id"))
_DOUBTFUL_CHILDREN = _CHILDREN.where(exchange.c.conversation_confidence < 1)
_ASKED_NEXT = (
    _MOMENTS.where(is_after(), exchange.c.input_sem == sa.bindparam("sem"))
    .order_by(exchange.c.started_at, exchange.c.uid)
    .limit(1)
)
_RESULTS_AFTER = (
    sa.select(exchange.c.started_at, exchange.c.uid, exchange.c.id)
    .join(tool_result, tool_result.c.exchange_id == exchange.c.id)
    .where(is_after(), tool_result.c.conversation_id == sa.bindparam("conversation_id"))
    .distinct()
)
_DOUBTFUL_RESULTS_AFTER = _RESULTS_AFTER.where(
    sa.or_(
        tool_result.c.tool_call_id.is_(None),
        tool_result.c.confidence < 1,
        tool_result.c.call_id.in_(
            sa.select(tool_call.c.call_id).where(tool_call.c.exchange_id == sa.bindparam("exchange_id"))
        ),
    )
)
_OWN_CALLS = sa.select(tool_result.c.tool_call_id).where(tool_result.c.exchange_id == sa.bindparam("exchange_id"))
_TAKE_BACK = sa.delete(tool_result).where(tool_result.c.exchange_id == sa.bindparam("exchange_id"))
_PUT = sa.update(exchange).where(exchange.c.id == sa.bindparam("exchange_id"))
_PUT_CALLS = sa.update(tool_call).where(tool_call.c.exchange_id == sa.bindparam("of_exchange"))

_CONVERSATION: sa.BindParameter[int] = sa.bindparam("conversation")
_TIMES = sa.select(
    sa.func.min(exchange.c.started_at).label("first_at"), sa.func.max(exchange.c.started_at).label("last_at")
).where(exchange.c.conversation_id == _CONVERSATION)
_NO_TURNS = sa.delete(turn).where(turn.c.conversation_id == _CONVERSATION)
_NO_CONVERSATION = sa.delete(conversation).where(conversation.c.id == _CONVERSATION)
_PUT_TIMES = sa.update(conversation).where(conversation.c.id == _CONVERSATION)


class _Item(NamedTuple):
    """An exchange to be linked again; sorts in the order of time."""

    moment: Moment
    id: int


def has_later(connection: Connected, moment: Moment) -> bool:
    """Say whether exchanges that began later are in the store already."""
    return connection.execute(_HAS_LATER, bound(moment)).first() is not None


def relink(
    connection: Connected,
    content: Content,
    late: Collection[int],
    displaced: Collection[int],
    followed: Collection[int] = (),
    again: Collection[int] = (),
) -> set[TurnKey]:
    """Link again what late exchanges may have changed.

    Args:
        connection: The writer's connection.
        content: To store messages with.
        late: Exchanges that got their answer, or whose end became known, when later ones were there.
        displaced: Exchanges whose results have lost their calls to earlier ones.
        followed: Exchanges whose answer somebody follows now, so that nobody has asked for another one in its place.
        again: Exchanges that have ended, and asked what was asked before.

    Returns:
        The turns that have changed.
    """
    if not (late or displaced or followed or again):
        return set()
    return _Relinker(connection, content).run(late, {*displaced, *again}, followed)


class _Relinker:
    def __init__(self, connection: Connected, content: Content) -> None:
        self._connection = connection
        self._content = content
        self._reader = Reader(plain(connection))
        self._heap: list[_Item] = []
        self._queued: set[int] = set()
        self._touched: set[TurnKey] = set()
        self._conversations: set[int] = set()

    def run(self, late: Collection[int], themselves: Collection[int], followed: Collection[int]) -> set[TurnKey]:
        rows = self._by_ids(late)
        self._queue(self._affected(rows))
        self._queue(self._loose(rows))
        for row in rows:
            self._queue_around(row)
            self._queue(self._moments(_DOUBTFUL_CHILDREN, row, exchange_id=row.parent_exchange_id))
            here = {"conversation_id": row.conversation_id, "exchange_id": row.id}
            self._queue(self._moments(_DOUBTFUL_RESULTS_AFTER, row, **here))
        self._queue((row.started_at, row.uid, row.id) for row in self._by_ids(themselves))
        self._queue_asked_again(followed)
        while self._heap:
            item = heapq.heappop(self._heap)
            self._queued.discard(item.id)
            self._relink(item)
        return self._tidied()

    # ---- what may have changed --------------------------------------------------------------------------------------

    def _affected(self, late: list[sa.Row[Any]]) -> list[Any]:
        """Return the later exchanges that may continue one of these."""
        if not late:
            return []
        first = min(Moment(row.started_at, row.uid) for row in late)
        last_at = max(row.started_at for row in late)
        clients = {row.client_key for row in late}
        responses = {row.response_id for row in late} - {None}
        found: list[sa.Row[Any]] = []
        orphans: list[sa.Row[Any]] = []
        others: list[sa.Row[Any]] = []
        later: list[sa.Row[Any]] = list(self._connection.execute(_LATER, bound(first)))
        for row in later:
            if responses and (row.params or {}).get("previous_response_id") in responses:
                found.append(row)
            elif row.client_key not in clients:
                continue
            elif row.conversation_how in ("overlap", "wire_id"):
                # A rewritten history: any answer may be closer to it than the one that was known.
                found.append(row)
            elif row.parent_at is not None and row.assistant_echo in ("edited", "missing"):
                found.append(row)  # its parent is only the nearest one that was there
            elif row.parent_at is None:
                orphans.append(row)
            elif row.parent_at <= last_at or row.conversation_confidence < 1:
                others.append(row)
        sems = [row.output_sem for row in late if row.output_sem is not None]
        answered = self._on_path(_HAS_ANSWER, orphans)
        passing = self._on_path(_PASSES, others, sems=sems) if sems else set()
        found += [row for row in orphans if row.id in answered]
        found += [row for row in others if row.id in passing]
        return [(row.started_at, row.uid, row.id) for row in found]

    def _loose(self, late: list[sa.Row[Any]]) -> list[Any]:
        """Return the later exchanges of the same conversations whose histories do not say for sure what they continue.

        A prefix says so: up to the last answer, and that answer is the parent's.
        """
        first: dict[int, Moment] = {}
        for row in late:
            if row.conversation_id is not None:
                moment = Moment(row.started_at, row.uid)
                first[row.conversation_id] = min(moment, first.get(row.conversation_id, moment))
        later: list[sa.Row[Any]] = []
        for conversation_id, moment in first.items():
            later += self._connection.execute(_LATER_HERE, {"conversation_id": conversation_id, **bound(moment)})
        orphans = [row for row in later if row.parent_exchange_id is None]
        anchored = self._on_path(_IS_ANCHORED, [row for row in later if row.parent_exchange_id is not None])
        answered = self._on_path(_HAS_ANSWER, orphans)
        return [
            (row.started_at, row.uid, row.id)
            for row in later
            if (row.id in answered if row.parent_exchange_id is None else row.id not in anchored)
        ]

    def _on_path(self, statement: sa.Select[Any], rows: list[sa.Row[Any]], **parameters: Any) -> set[int]:
        found: set[int] = set()
        for start in range(0, len(rows), _CHUNK):
            ids = [row.id for row in rows[start : start + _CHUNK]]
            found.update(self._connection.execute(statement, {"ids": ids, **parameters}).scalars())
        return found

    def _queue_around(self, row: sa.Row[Any]) -> None:
        """Queue those that had to choose between an exchange and another one."""
        if row.output_sem is not None:
            self._queue(self._moments(_CHILDREN_OF_SAME_ANSWER, row, sem=row.output_sem))
        if row.input_sem is not None:
            self._queue(self._moments(_ASKED_NEXT, row, sem=row.input_sem))

    def _queue_asked_again(self, ids: Collection[Any]) -> None:
        """Queue those that asked the same as these exchanges, which have been followed or left."""
        for row in self._by_ids(ids):
            if row.input_sem is not None:
                self._queue(self._moments(_ASKED_NEXT, row, sem=row.input_sem))

    def _queue_followers(self, before: sa.Row[Any], after: sa.Row[Any], gave_up: set[int | None]) -> None:
        """Queue what depends on an exchange that has changed."""
        if before.input_sem != after.input_sem:
            self._queue(self._affected([after]))
        if before.parent_exchange_id != after.parent_exchange_id:
            for parent_id in (before.parent_exchange_id, after.parent_exchange_id):
                self._queue(self._moments(_DOUBTFUL_CHILDREN, after, exchange_id=parent_id))
            self._queue_asked_again({before.parent_exchange_id, after.parent_exchange_id} - {None})
        if tuple(before[-len(_PLACE) :]) != tuple(after[-len(_PLACE) :]):
            self._queue(self._moments(_CHILDREN, after, exchange_id=after.id))
            self._queue(self._moments(_INNER, after, exchange_id=after.id))
        if before.conversation_id != after.conversation_id:
            self._queue(self._loose([after]))
            self._queue_around(after)
            for conversation_id in (before.conversation_id, after.conversation_id):
                self._queue(self._moments(_RESULTS_AFTER, after, conversation_id=conversation_id))
        elif gave_up:
            here = {"conversation_id": after.conversation_id, "exchange_id": after.id}
            self._queue(self._moments(_DOUBTFUL_RESULTS_AFTER, after, **here))

    def _queue(self, moments: Iterable[Any]) -> None:
        for started_at, uid, exchange_id in moments:
            if exchange_id not in self._queued:
                self._queued.add(exchange_id)
                heapq.heappush(self._heap, _Item(Moment(started_at, uid), exchange_id))

    def _moments(self, statement: sa.Select[Any], row: sa.Row[Any], **parameters: Any) -> list[sa.Row[Any]]:
        moment = bound(Moment(row.started_at, row.uid))
        return list(self._connection.execute(statement, {**parameters, **moment}))

    def _by_ids(self, ids: Collection[int]) -> list[sa.Row[Any]]:
        return list(self._connection.execute(_BY_IDS, {"ids": sorted(ids)})) if ids else []

    # ---- linking again ----------------------------------------------------------------------------------------------

    def _relink(self, item: _Item) -> None:
        connection = self._connection
        (before,) = self._by_ids([item.id])
        own_calls = set(connection.execute(_OWN_CALLS, {"exchange_id": item.id}).scalars())
        connection.execute(_TAKE_BACK, {"exchange_id": item.id})
        read = self._reader.exchange_by_id(item.id)
        link = linker.link(read, SqlLookup(connection, item.moment))
        opened_it = link.how == before.conversation_how == "new"
        values = link_values(connection, read, link, stay_in=before.conversation_id if opened_it else None)
        if values["input_sem"] != before.input_sem and before.output_sem is not None and read.response is not None:
            answer = linker.message_sem(read.response.choices[0].message)
            values["output_sem"] = chain_hash(values["input_sem"], answer)
        connection.execute(_PUT, {"exchange_id": item.id, **values})
        place = {key: values[key] for key in ("conversation_id", "turn_no", "step_no")}
        connection.execute(_PUT_CALLS, {"of_exchange": item.id, **place})
        if place["conversation_id"] is not None and link.turn_no is not None:
            written = write_results(connection, self._content, item.id, place["conversation_id"], read, link)
            self._touched |= written.turns
            self._queue((row.started_at, row.uid, row.id) for row in self._by_ids(written.displaced))
        (after,) = self._by_ids([item.id])
        for row in (before, after):
            if row.conversation_id is not None and row.turn_no is not None:
                self._touched.add((row.conversation_id, row.turn_no))
                self._conversations.add(row.conversation_id)
        gave_up = own_calls - set(connection.execute(_OWN_CALLS, {"exchange_id": item.id}).scalars())
        self._queue_followers(before, after, gave_up)

    def _tidied(self) -> set[TurnKey]:
        """Delete conversations that nobody is in any more, and bring the times of the others up to date."""
        for conversation_id in self._conversations:
            this = {"conversation": conversation_id}
            times = self._connection.execute(_TIMES, this).one()
            if times[0] is None:
                self._connection.execute(_NO_TURNS, this)
                self._connection.execute(_NO_CONVERSATION, this)
                self._touched = {key for key in self._touched if key[0] != conversation_id}
            else:
                self._connection.execute(_PUT_TIMES, {"first_at": times[0], "last_at": times[1], **this})
        return self._touched
