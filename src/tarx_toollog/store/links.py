"""Put what the linker says into rows, and put it right when exchanges arrive out of order.

*Theory.* A client may send its next request before the end of the previous exchange is in the store: the last
event has reached it, the connection is still being closed. Two processes may also be a moment apart. The next
request then finds no parent and opens a conversation of its own. So whenever an exchange gets its answer, the
requests that began after it and found no parent are looked at again: if one continues this answer, its whole
conversation is linked anew. The result does not depend on the order of arrival.
"""

from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any

import sqlalchemy as sa

from tarx_toollog.ids import uuid7
from tarx_toollog.model import Exchange
from tarx_toollog.store import linker
from tarx_toollog.store.content import Content
from tarx_toollog.store.linker import Link, Pairing
from tarx_toollog.store.lookup import SqlLookup
from tarx_toollog.store.reader import Reader
from tarx_toollog.store.schema import conversation, exchange, node, tool_call, tool_result, turn
from tarx_toollog.store.turns import TurnKey
from tarx_toollog.store.types import UtcDateTime
from tarx_toollog.store.verdicts import judge_result

_TOUCH_CONVERSATION = (
    sa.update(conversation)
    .where(conversation.c.id == sa.bindparam("touched"), conversation.c.last_at < sa.bindparam("moment"))
    .values(last_at=sa.bindparam("moment"))
)
_NEW_CONVERSATION = sa.insert(conversation).returning(conversation.c.id)
_NEW_RESULT = sa.insert(tool_result)
_KNOWN_RESULT = (
    sa.select(tool_result.c.id)
    .where(
        tool_result.c.conversation_id == sa.bindparam("conversation_id"),
        tool_result.c.message_id == sa.bindparam("message_id"),
        tool_result.c.part == sa.bindparam("part"),
    )
    .limit(1)
)
_CALLED = sa.select(exchange.c.conversation_id, exchange.c.turn_no, exchange.c.started_at, exchange.c.total_ms).where(
    exchange.c.id == sa.bindparam("exchange_id")
)
_parent = exchange.alias("parent")
_EARLY = (
    sa.select(exchange.c.id, exchange.c.conversation_id, exchange.c.input_node_id)
    .outerjoin(_parent, _parent.c.id == exchange.c.parent_exchange_id)
    .where(
        exchange.c.started_at >= sa.bindparam("moment", type_=UtcDateTime()),
        exchange.c.id != sa.bindparam("exchange_id"),
        # No parent was found, or only one further back than this exchange.
        sa.or_(_parent.c.id.is_(None), _parent.c.started_at < sa.bindparam("moment", type_=UtcDateTime())),
        exchange.c.conversation_id.is_not(None),
        exchange.c.n_messages > sa.bindparam("n_messages"),
        exchange.c.client_key.is_not_distinct_from(sa.bindparam("client_key")),
    )
)
_path = sa.select(node.c.parent_id, node.c.sem).where(node.c.id == sa.bindparam("node_id")).cte("path", recursive=True)
_path = _path.union_all(sa.select(node.c.parent_id, node.c.sem).join(_path, node.c.id == _path.c.parent_id))
_ON_PATH = sa.select(sa.literal(1)).where(_path.c.sem == sa.bindparam("sem")).limit(1)


def link_values(
    connection: sa.Connection, item: Exchange, link: Link, *, conversation_id: int | None = None
) -> dict[str, Any]:
    """Return the columns of ``exchange`` that say where it belongs; make a conversation where none fits.

    Args:
        connection: The writer's connection.
        item: The exchange.
        link: What the linker says.
        conversation_id: Conversation to stay in when the linker finds none.
    """
    conversation_id = link.conversation_id if link.conversation_id is not None else conversation_id
    if conversation_id is None:
        conversation_id = _new_conversation(connection, item, link.how)
    else:
        connection.execute(_TOUCH_CONVERSATION, {"touched": conversation_id, "moment": item.started_at})
    return {
        "conversation_id": conversation_id,
        "conversation_how": link.how,
        "conversation_confidence": link.confidence,
        "turn_no": link.turn_no,
        "step_no": link.step_no,
        "parent_exchange_id": link.parent.exchange_id if link.parent else None,
        "outer_exchange_id": link.outer_id,
        "retry_of_id": link.retry_of_id,
        "assistant_echo": link.assistant_echo,
    }


def write_results(
    connection: sa.Connection,
    content: Content,
    exchange_id: int,
    conversation_id: int,
    item: Exchange,
    first_new: int,
) -> set[TurnKey]:
    """Write the tool results that a request carries for the first time, paired with their calls.

    Returns:
        The turns whose calls have got a result.
    """
    if item.request is None:
        return set()
    leading, history = linker.split_leading(item.request.messages)
    if not any(message.tool_results for message in history[first_new:]):
        return set()
    touched: set[TurnKey] = set()
    calls = SqlLookup(connection).open_calls(conversation_id)
    for pairing in linker.pair_results(history, first_new, calls):
        message_id = content.message(connection, pairing.message)
        if pairing.call is None and _is_known(connection, conversation_id, message_id, pairing.part):
            continue  # history of which we lost the thread is sent again; this result has its row
        latency_ms = None
        if pairing.call is not None:
            called = connection.execute(_CALLED, {"exchange_id": pairing.call.exchange_id}).one()
            touched.add((called.conversation_id, called.turn_no))
            latency_ms = _latency_ms(called.started_at, called.total_ms, item.started_at)
        place = {
            "conversation_id": conversation_id,
            "exchange_id": exchange_id,
            "message_id": message_id,
            "position": len(leading) + pairing.position,
            "part": pairing.part,
            "latency_ms": latency_ms,
        }
        connection.execute(_NEW_RESULT, _result_values(pairing) | place)
    return touched


def _result_values(pairing: Pairing) -> dict[str, Any]:
    result = pairing.result
    verdict = judge_result(result.text, result.is_error)
    return {
        "tool_call_id": pairing.call.id if pairing.call else None,
        "call_id": result.call_id,
        "name": result.name,
        "text": None if result.text == pairing.message.text else result.text,
        "match_how": pairing.how,
        "confidence": pairing.confidence,
        "is_error": verdict.is_error,
        "error_how": verdict.how,
        "size": len(result.text),
    }


def _is_known(connection: sa.Connection, conversation_id: int, message_id: int, part: int) -> bool:
    parameters = {"conversation_id": conversation_id, "message_id": message_id, "part": part}
    return connection.execute(_KNOWN_RESULT, parameters).first() is not None


def relink_early(
    connection: sa.Connection, content: Content, exchange_id: int, item: Exchange, output_sem: bytes
) -> set[TurnKey]:
    """Link again the conversations of requests that continue this answer and came before it was known.

    Returns:
        The turns that have changed.
    """
    parameters = {
        "moment": item.started_at,
        "exchange_id": exchange_id,
        "n_messages": len(item.request.messages) if item.request else 0,
        "client_key": item.client_key,
    }
    rows = connection.execute(_EARLY, parameters).all()
    touched: set[TurnKey] = set()
    for conversation_id in {row.conversation_id for row in rows if _passes(connection, row.input_node_id, output_sem)}:
        moved = _relink_conversation(connection, content, conversation_id)
        touched |= moved
        for joined in {joined for joined, _ in moved} - {conversation_id}:
            # Results that were paired while calls were missing may sit on the wrong ones.
            touched |= _relink_conversation(connection, content, joined)
    return touched


def _passes(connection: sa.Connection, node_id: int | None, sem: bytes) -> bool:
    """Say whether the path to a node has a prefix with this meaning."""
    return connection.execute(_ON_PATH, {"node_id": node_id, "sem": sem}).first() is not None


def _relink_conversation(connection: sa.Connection, content: Content, conversation_id: int) -> set[TurnKey]:
    """Link the exchanges of a conversation again; return the turns that they have left and joined."""
    reader = Reader(connection)
    query = (
        sa.select(exchange.c.id)
        .where(exchange.c.conversation_id == conversation_id)
        .order_by(exchange.c.started_at, exchange.c.id)  # a parent before what continues it
    )
    exchange_ids = connection.execute(query).scalars().all()
    connection.execute(sa.delete(tool_result).where(tool_result.c.exchange_id.in_(exchange_ids)))
    touched: set[TurnKey] = set()
    for exchange_id in exchange_ids:
        touched |= _relink(connection, content, exchange_id, reader.exchange_by_id(exchange_id), conversation_id)
    left = sa.select(exchange.c.id).where(exchange.c.conversation_id == conversation_id).limit(1)
    if connection.execute(left).first() is None:
        connection.execute(sa.delete(turn).where(turn.c.conversation_id == conversation_id))
        connection.execute(sa.delete(conversation).where(conversation.c.id == conversation_id))
        touched = {key for key in touched if key[0] != conversation_id}
    return touched


def _relink(
    connection: sa.Connection, content: Content, exchange_id: int, item: Exchange, stay_in: int
) -> set[TurnKey]:
    """Link one exchange again; return the turns that have changed."""
    before = connection.execute(_CALLED, {"exchange_id": exchange_id}).one()
    link = linker.link(item, SqlLookup(connection, besides=exchange_id))
    values = link_values(connection, item, link, conversation_id=stay_in)
    connection.execute(sa.update(exchange).where(exchange.c.id == exchange_id).values(**values))
    place = {key: values[key] for key in ("conversation_id", "turn_no", "step_no")}
    connection.execute(sa.update(tool_call).where(tool_call.c.exchange_id == exchange_id).values(**place))
    answered = write_results(connection, content, exchange_id, values["conversation_id"], item, link.first_new)
    return answered | {(before.conversation_id, before.turn_no), (values["conversation_id"], link.turn_no)}


def _new_conversation(connection: sa.Connection, item: Exchange, how: str) -> int:
    uid = uuid7(now_ns=item.started_ns)
    values = {
        "uid": uid,
        "source": how,
        "external_id": item.conversation_hint,
        "client_key": item.client_key,
        "first_at": item.started_at,
        "last_at": item.started_at,
        "split_bucket": int.from_bytes(blake2b(uid.encode(), digest_size=4).digest(), "big") % 100,
    }
    return int(connection.execute(_NEW_CONVERSATION, values).scalar_one())


def _latency_ms(called_at: datetime, total_ms: float | None, carried_at: datetime) -> float | None:
    if total_ms is None:
        return None
    # Two readings of the wall clock: a step of the clock between them must not give a negative time.
    return max(0.0, (carried_at - called_at - timedelta(milliseconds=total_ms)).total_seconds() * 1000)
