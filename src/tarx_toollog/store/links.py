"""Put what the linker says into rows: the conversation of an exchange, and the results that its request carries."""

from datetime import datetime, timedelta
from typing import Any, NamedTuple

import sqlalchemy as sa

from tarx_toollog.ids import uuid7
from tarx_toollog.model import Exchange
from tarx_toollog.store import linker
from tarx_toollog.store.content import Content
from tarx_toollog.store.executions import failed_executions
from tarx_toollog.store.linker import Link
from tarx_toollog.store.lookup import Moment, SqlLookup
from tarx_toollog.store.pairing import OpenCall, Pairing, pair_results
from tarx_toollog.store.prepared import Connected
from tarx_toollog.store.results import ResultVerdict, judge_result
from tarx_toollog.store.schema import conversation, tool_result
from tarx_toollog.store.splits import bucket_of, split_of_bucket
from tarx_toollog.store.turns import TurnKey
from tarx_toollog.store.types import UtcDateTime

_MOMENT = sa.bindparam("moment", type_=UtcDateTime())
_TOUCH_CONVERSATION = (
    sa.update(conversation)
    .where(
        conversation.c.id == sa.bindparam("touched"),
        sa.or_(conversation.c.last_at < _MOMENT, conversation.c.first_at > _MOMENT),
    )
    .values(
        first_at=sa.case((conversation.c.first_at > _MOMENT, _MOMENT), else_=conversation.c.first_at),
        last_at=sa.case((conversation.c.last_at < _MOMENT, _MOMENT), else_=conversation.c.last_at),
    )
)
_NEW_CONVERSATION = sa.insert(conversation).returning(conversation.c.id)
_NEW_RESULT = sa.insert(tool_result)
_GIVE_BACK = sa.delete(tool_result).where(tool_result.c.tool_call_id == sa.bindparam("call"))
_KNOWN_RESULT = (
    sa.select(tool_result.c.id)
    .where(
        tool_result.c.conversation_id == sa.bindparam("conversation_id"),
        tool_result.c.message_id == sa.bindparam("message_id"),
        tool_result.c.part == sa.bindparam("part"),
    )
    .limit(1)
)


class Written(NamedTuple):
    """What writing the results of a request has changed."""

    turns: frozenset[TurnKey] = frozenset()
    """Turns whose calls have got a result."""
    displaced: frozenset[int] = frozenset()
    """Later exchanges whose results have lost their calls: theirs are to be paired again."""


def link_values(connection: Connected, item: Exchange, link: Link, *, stay_in: int | None = None) -> dict[str, Any]:
    """Return the columns of ``exchange`` that say where it belongs; make a conversation where none fits.

    Args:
        connection: The writer's connection.
        item: The exchange.
        link: What the linker says.
        stay_in: Conversation that it has opened already, if it has.
    """
    conversation_id = link.conversation_id if link.conversation_id is not None else stay_in
    if link.how is None:
        conversation_id = None
    elif conversation_id is None:
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
        "input_sem": link.input_sem,
    }


def write_results(
    connection: Connected, content: Content, exchange_id: int, conversation_id: int, item: Exchange, link: Link
) -> Written:
    """Write the tool results that a request carries for the first time, paired with their calls."""
    if item.request is None:
        return Written()
    leading, history = linker.split_leading(item.request.messages)
    if not any(message.tool_results for message in history[link.first_new :]):
        return Written()
    calls = SqlLookup(connection, Moment(item.started_at, item.uid)).open_calls(conversation_id, link.parent)
    last = linker.last_answer(history)
    turns: set[TurnKey] = set()
    displaced: set[int] = set()
    for pairing in pair_results(history, link.first_new, calls, link.parent.exchange_id if link.parent else None):
        message_id = content.message(connection, pairing.message)
        if pairing.call is None:
            # A part of the history of which we lost the thread, or which is sent again, is no new result.
            is_old = last is not None and pairing.position < last
            if is_old or _is_known(connection, conversation_id, message_id, pairing.part):
                continue
        place = {
            "conversation_id": conversation_id,
            "exchange_id": exchange_id,
            "message_id": message_id,
            "position": len(leading) + pairing.position,
        }
        values = _result_values(connection, pairing) | place | _latency(pairing.call, item, turns)
        if pairing.call is not None and pairing.call.taken_by is not None:
            connection.execute(_GIVE_BACK, {"call": pairing.call.id})
            displaced.add(pairing.call.taken_by)
        connection.execute(_NEW_RESULT, values)
    return Written(frozenset(turns), frozenset(displaced))


def _latency(call: OpenCall | None, item: Exchange, turns: set[TurnKey]) -> dict[str, float | None]:
    made = None if call is None else call.made
    if made is None:
        return {"latency_ms": None}
    if made.turn_no is not None:  # its request cannot be read: it has its place in the conversation, but no turn
        turns.add((made.conversation_id, made.turn_no))
    return {"latency_ms": _latency_ms(made.started_at, made.total_ms, item.started_at)}


def _result_values(connection: Connected, pairing: Pairing) -> dict[str, Any]:
    result = pairing.result
    verdict = judge_result(result.text, result.is_error)
    if not verdict.is_error and pairing.call is not None and failed_executions(connection, [pairing.call.id]):
        verdict = ResultVerdict(True, "exec")
    return {
        "tool_call_id": pairing.call.id if pairing.call else None,
        "part": pairing.part,
        "call_id": result.call_id,
        "name": result.name,
        # NULL: the message's own text says it. An empty result of a message that says nothing is still a text.
        "text": None if result.text and result.text == pairing.message.text else result.text,
        "match_how": pairing.how,
        "confidence": pairing.confidence,
        "is_error": verdict.is_error,
        "error_how": verdict.how,
        "size": len(result.text),
    }


def _is_known(connection: Connected, conversation_id: int, message_id: int, part: int) -> bool:
    parameters = {"conversation_id": conversation_id, "message_id": message_id, "part": part}
    return connection.execute(_KNOWN_RESULT, parameters).first() is not None


def _new_conversation(connection: Connected, item: Exchange, how: str) -> int:
    uid = uuid7(now_ns=item.started_ns)
    values = {
        "uid": uid,
        "source": how,
        "external_id": item.conversation_hint,
        "client_key": item.client_key,
        "first_at": item.started_at,
        "last_at": item.started_at,
        "split_bucket": (bucket := bucket_of(uid)),
        "split": split_of_bucket(bucket),
    }
    return int(connection.execute(_NEW_CONVERSATION, values).scalar_one())


def _latency_ms(called_at: datetime, total_ms: float | None, carried_at: datetime) -> float | None:
    if total_ms is None:
        return None
    # Two readings of the wall clock: a step of the clock between them must not give a negative time.
    return max(0.0, (carried_at - called_at - timedelta(milliseconds=total_ms)).total_seconds() * 1000)
