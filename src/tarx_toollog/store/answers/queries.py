"""The questions that the command line asks: figures, lists and one thing in full.

Every function takes an engine that may only read. Lists go newest first, in pages by key, so that a million
rows cost no more memory than a thousand. Rows are dicts with the column names of the views.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from tarx_toollog.errors import ConfigError, NothingMatchedError
from tarx_toollog.store.few import among_keys, few_exchanges, turns_meant, within_keys
from tarx_toollog.store.filters import Filters, exchange_conditions
from tarx_toollog.store.named import begins_with, is_called
from tarx_toollog.store.schema import (
    BUILD_NAME,
    call_uid,
    conversation,
    exchange,
    gap,
    message,
    model_build,
    node,
    tool_call,
    tool_result,
    turn,
)
from tarx_toollog.store.where import heeding

Row = dict[str, Any]

PAGE = 500  # rows a query: few round trips, and well below SQLite's limit of bound parameters
_TITLE_LENGTH = 200  # a list is no place for a whole file that somebody pasted

_MODEL = sa.func.coalesce(exchange.c.response_model, exchange.c.request_model)
_ANSWER = message.alias("answer")
_TEXT = sa.func.coalesce(message.c.text, message.c.content)
"""What a message says: its content, or the text in it where the content is a list of parts."""

LIST_COMMAND = {"exchange": "log list", "conversation": "conversations list"}
"""The command that lists the ids of a thing."""


@dataclass(frozen=True, slots=True)
class ExchangeDetail:
    """One exchange in full: its facts, the messages that the model got, its answer and its calls."""

    facts: Row
    messages: list[Row]
    answer: Row | None
    calls: list[Row]


@dataclass(frozen=True, slots=True)
class TurnDetail:
    """One turn of a conversation: what the user said, and the steps, each an answer with its calls."""

    facts: Row
    steps: list[Row]


def exchanges(engine: sa.Engine, filters: Filters) -> Iterator[Row]:
    """Return exchanges, newest first, each with the names of its calls.

    Raises:
        ConfigError: The condition of the filters is wrong.
    """
    with _asking(engine, filters) as connection:
        few = few_exchanges(connection, filters)
        within = within_keys(connection, filters) if few is None else [among_keys(exchange.c.id, few)]
    query = _exchange_list().where(*within, *exchange_conditions(filters))
    return _pages(engine, filters, query, exchange.c.id, _with_tools)


def newer_exchanges(engine: sa.Engine, after: int, unfinished: Sequence[int], filters: Filters) -> list[Row]:
    """Return exchanges that came after the key ``after``, and those of ``unfinished``, oldest first.

    Open ones are returned whatever the filters say, because nobody knows yet what they will have called.
    """
    meant = sa.and_(*exchange_conditions(filters)) | (exchange.c.outcome == "open")
    # Two questions: with both conditions in one, SQLite reads the whole log each time.
    again = _exchange_list().where(among_keys(exchange.c.id, list(unfinished)), meant).order_by(exchange.c.id)
    new = _exchange_list().where(exchange.c.id > after, meant).order_by(exchange.c.id).limit(PAGE)
    with _asking(engine, filters) as connection:
        return _with_tools(connection, again) + _with_tools(connection, new)


def exchange_detail(engine: sa.Engine, name: str) -> ExchangeDetail:
    """Return the exchange whose uid is, or begins with, ``name``.

    Raises:
        NothingMatchedError: There is none.
        ConfigError: There are several.
    """
    with engine.connect() as connection:
        key = _one_key(connection, "exchange", exchange, name, begins_with(exchange.c.uid, name))
        source = exchange.outerjoin(conversation, conversation.c.id == exchange.c.conversation_id).outerjoin(
            model_build, model_build.c.id == exchange.c.model_build_id
        )
        facts = connection.execute(
            sa.select(conversation.c.uid.label("conversation_uid"), BUILD_NAME.label("build"), exchange)
            .select_from(source)
            .where(exchange.c.id == key)
        ).one()
        messages = _path(connection, facts.system_node_id) + _path(connection, facts.input_node_id)
        answers = _path(connection, facts.output_node_id, only_last=True)
        calls = _calls(connection, tool_call.c.exchange_id == key)
    shown = {k: v for k, v in facts._asdict().items() if not k.endswith(("_id", "_sem")) or k == "response_id"}
    return ExchangeDetail(shown, messages, answers[0] if answers else None, calls)


def conversations(engine: sa.Engine, filters: Filters) -> Iterator[Row]:
    """Return conversations with an exchange that is meant, newest first, with their counts.

    Raises:
        ConfigError: The condition of the filters is wrong.
    """
    with _asking(engine, filters) as connection:
        few = few_exchanges(connection, filters)
    query = _conversation_list().where(*_with_exchanges(filters, few))
    return _pages(engine, filters, query, conversation.c.id, _plain)


def _pages(
    engine: sa.Engine,
    filters: Filters,
    query: sa.Select[Any],
    key: sa.Column[int],
    read: Callable[[sa.Connection, sa.Select[Any]], list[Row]],
) -> Iterator[Row]:
    """Yield the rows of a query, the highest key first, a page at a time."""
    left, page = filters.limit, query.order_by(key.desc())
    while left is None or left > 0:
        with _asking(engine, filters) as connection:
            rows = read(connection, page.limit(min(left or PAGE, PAGE)))
        if not rows:
            return
        page = query.where(key < rows[-1]["id"]).order_by(key.desc())
        left = None if left is None else left - len(rows)
        yield from rows


def _with_exchanges(filters: Filters, few: list[int] | None) -> list[sa.ColumnElement[bool]]:
    """Return the conditions on ``conversation``: it has an exchange that is meant."""
    own = exchange.c.conversation_id == conversation.c.id
    if few is not None:
        return [conversation.c.id.in_(sa.select(exchange.c.conversation_id).where(among_keys(exchange.c.id, few)))]
    found: list[sa.ColumnElement[bool]] = [sa.select(exchange.c.id).where(own, *exchange_conditions(filters)).exists()]
    # What follows from that, and is known without reading the exchanges.
    if filters.since is not None:
        found.append(conversation.c.last_at >= filters.since)
    if filters.until is not None:
        found.append(conversation.c.first_at < filters.until)
    if filters.splits:
        found.append(conversation.c.split.in_(sorted(filters.splits)))
    return found


def conversation_detail(engine: sa.Engine, name: str) -> tuple[Row, list[TurnDetail]]:
    """Return the conversation called ``name`` and its turns, in order.

    Raises:
        NothingMatchedError: There is none.
        ConfigError: There are several.
    """
    with engine.connect() as connection:
        ways = is_called(name), begins_with(conversation.c.uid, name)
        key = _one_key(connection, "conversation", conversation, name, *ways)
        facts = connection.execute(_conversation_list().where(conversation.c.id == key)).one()._asdict()
        turns = connection.execute(
            sa.select(turn, _TEXT.label("user_text"))
            .outerjoin(message, message.c.id == turn.c.user_message_id)
            .where(turn.c.conversation_id == key)
            .order_by(turn.c.turn_no)
        ).all()
        steps = [row._asdict() for row in connection.execute(_step_list(key))]
        calls = _calls(connection, tool_call.c.conversation_id == key)
    for step in steps:
        step["calls"] = [call for call in calls if call["exchange_id"] == step["id"]]
    details = [TurnDetail(row._asdict(), [step for step in steps if step["turn_no"] == row.turn_no]) for row in turns]
    return facts, details


def turns_by_split(engine: sa.Engine, filters: Filters) -> dict[str, int]:
    """Return how many turns are meant (limit apart), by what their conversations are kept for."""
    query = (
        sa.select(conversation.c.split, sa.func.count().label("n"))
        .join(turn, turn.c.conversation_id == conversation.c.id)
        .group_by(conversation.c.split)
        .order_by(conversation.c.split)
    )
    with _asking(engine, filters) as connection:
        query = query.where(*turns_meant(connection, filters))
        return {row.split: row.n for row in connection.execute(query)}


def losses(engine: sa.Engine) -> list[Row]:
    """Return the loss ledger, one row a kind."""
    count = sa.func.coalesce(sa.func.sum(gap.c.n), 0)
    query = sa.select(gap.c.kind, count.label("n")).group_by(gap.c.kind).order_by(gap.c.kind)
    with engine.connect() as connection:
        return [row._asdict() for row in connection.execute(query)]


def finished(engine: sa.Engine, uids: Collection[str]) -> set[str]:
    """Return those of ``uids`` that are stored with their end."""
    wanted, found = list(uids), set[str]()
    with engine.connect() as connection:
        for start in range(0, len(wanted), PAGE):
            part = exchange.c.uid.in_(wanted[start : start + PAGE])
            found.update(connection.scalars(sa.select(exchange.c.uid).where(part, exchange.c.outcome != "open")))
    return found


def last_key(engine: sa.Engine) -> int:
    """Return the highest key of an exchange, 0 when there is none."""
    with engine.connect() as connection:
        return connection.scalar(sa.select(sa.func.max(exchange.c.id))) or 0


def count_captured(engine: sa.Engine) -> int:
    """Return the exchanges that were not made by a replay."""
    made = sa.select(sa.func.count()).select_from(exchange).where(exchange.c.run_id.is_not(None)).scalar_subquery()
    with engine.connect() as connection:  # a difference, because both of its parts are counted in an index
        return connection.scalar(sa.select(sa.func.count() - made).select_from(exchange)) or 0


def count_steps(engine: sa.Engine, filters: Filters) -> int:
    """Return the steps of the turns that are meant."""
    query = sa.select(turn.c.n_steps)
    if filters.limit is not None:
        query = query.order_by(turn.c.conversation_id, turn.c.turn_no).limit(filters.limit)
    with _asking(engine, filters) as connection:
        meant = query.where(*turns_meant(connection, filters)).subquery()
        return connection.scalar(sa.select(sa.func.coalesce(sa.func.sum(meant.c.n_steps), 0))) or 0


def _exchange_list() -> sa.Select[Any]:
    source = exchange.outerjoin(conversation, conversation.c.id == exchange.c.conversation_id).outerjoin(
        model_build, model_build.c.id == exchange.c.model_build_id
    )
    return sa.select(
        exchange.c.id,
        exchange.c.uid.label("exchange_uid"),
        exchange.c.started_at,
        conversation.c.uid.label("conversation_uid"),
        exchange.c.turn_no,
        exchange.c.step_no,
        exchange.c.leg,
        _MODEL.label("model"),
        BUILD_NAME.label("build"),
        exchange.c.outcome,
        exchange.c.finish_reason,
        exchange.c.n_messages,
        exchange.c.n_tools,
        exchange.c.n_tool_calls,
        exchange.c.input_tokens,
        exchange.c.output_tokens,
        exchange.c.total_ms,
    ).select_from(source)


@contextmanager
def _asking(engine: sa.Engine, filters: Filters) -> Iterator[sa.Connection]:
    """Yield a connection on which the filters may be asked."""
    with engine.connect() as connection, heeding(connection, filters.where):
        yield connection


def _plain(connection: sa.Connection, query: sa.Select[Any]) -> list[Row]:
    return [row._asdict() for row in connection.execute(query)]


def _with_tools(connection: sa.Connection, query: sa.Select[Any]) -> list[Row]:
    names: dict[int, list[str]] = {}
    rows = _plain(connection, query)
    calls = sa.select(tool_call.c.exchange_id, tool_call.c.name).order_by(
        tool_call.c.exchange_id, tool_call.c.choice, tool_call.c.ordinal
    )
    for key, name in connection.execute(calls.where(tool_call.c.exchange_id.in_([row["id"] for row in rows]))):
        names.setdefault(key, []).append(name)
    for row in rows:
        row["tools"] = " ".join(names.get(row["id"], ()))
    return rows


def _conversation_list() -> sa.Select[Any]:
    def count(what: sa.ColumnElement[Any], table: sa.Table) -> sa.ScalarSelect[Any]:
        return sa.select(what).where(table.c.conversation_id == conversation.c.id).scalar_subquery()

    return sa.select(
        conversation.c.id,
        conversation.c.uid.label("conversation_uid"),
        conversation.c.split,
        conversation.c.source,
        conversation.c.external_id,
        conversation.c.first_at,
        conversation.c.last_at,
        count(sa.func.count(), turn).label("n_turns"),
        count(sa.func.count(), exchange).label("n_exchanges"),
        count(sa.func.count(), tool_call).label("n_tool_calls"),
        count(sa.func.coalesce(sa.func.sum(turn.c.n_bad_calls), 0), turn).label("n_bad_calls"),
        count(sa.func.coalesce(sa.func.sum(turn.c.n_error_results), 0), turn).label("n_error_results"),
        _first_text().label("user_text"),
    )


def _first_text() -> sa.ScalarSelect[Any]:
    """Return the beginning of what the user said first: by it a person knows the conversation again."""
    return (
        sa.select(sa.func.substr(_TEXT, 1, _TITLE_LENGTH))
        .select_from(turn.join(message, message.c.id == turn.c.user_message_id))
        .where(turn.c.conversation_id == conversation.c.id)
        .order_by(turn.c.turn_no)
        .limit(1)
        .scalar_subquery()
    )


def _step_list(key: int) -> sa.Select[Any]:
    return (
        sa.select(
            exchange.c.id,
            exchange.c.uid.label("exchange_uid"),
            exchange.c.turn_no,
            exchange.c.step_no,
            exchange.c.started_at,
            exchange.c.outcome,
            exchange.c.error_text,
            exchange.c.total_ms,
            sa.func.coalesce(_ANSWER.c.text, _ANSWER.c.content).label("answer"),
        )
        .select_from(
            exchange.outerjoin(node, node.c.id == exchange.c.output_node_id).outerjoin(
                _ANSWER, _ANSWER.c.id == node.c.message_id
            )
        )
        .where(exchange.c.conversation_id == key, exchange.c.n_inner == 0)
        .order_by(exchange.c.turn_no, exchange.c.step_no, exchange.c.id)
    )


def _calls(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> list[Row]:
    query = (
        sa.select(
            call_uid().label("uid"),
            *(column for column in tool_call.c if column.name not in ("id", "conversation_id", "tool_definition_id")),
            sa.func.coalesce(tool_result.c.text, _TEXT).label("result"),
            tool_result.c.is_error.label("result_is_error"),
            tool_result.c.match_how,
            tool_result.c.latency_ms,
        )
        .select_from(
            tool_call.join(exchange, exchange.c.id == tool_call.c.exchange_id)
            .outerjoin(tool_result, tool_result.c.tool_call_id == tool_call.c.id)
            .outerjoin(message, message.c.id == tool_result.c.message_id)
        )
        .where(condition)
        .order_by(tool_call.c.exchange_id, tool_call.c.choice, tool_call.c.ordinal)
    )
    return [row._asdict() for row in connection.execute(query)]


def _path(connection: sa.Connection, node_id: int | None, *, only_last: bool = False) -> list[Row]:
    """Return the messages on the path that ends at ``node_id``, first message first."""
    if node_id is None:
        return []
    path = sa.select(node.c.id, node.c.parent_id, node.c.message_id, node.c.depth).where(node.c.id == node_id)
    if only_last:
        steps: sa.CTE = path.cte("path")
    else:
        steps = path.cte("path", recursive=True)
        above = sa.select(node.c.id, node.c.parent_id, node.c.message_id, node.c.depth)
        steps = steps.union_all(above.join(steps, steps.c.parent_id == node.c.id))
    columns = (message.c.role, message.c.content, message.c.name, message.c.tool_call_id, message.c.extra)
    query = sa.select(*columns).join(steps, steps.c.message_id == message.c.id).order_by(steps.c.depth)
    return [row._asdict() for row in connection.execute(query)]


def _one_key(connection: sa.Connection, what: str, table: sa.Table, name: str, *ways: sa.ColumnElement[bool]) -> int:
    """Return the key of the only row that a name means: by all of its id, else by the first way that finds any."""
    query = sa.select(table.c.id, table.c.uid).order_by(table.c.uid.desc()).limit(PAGE)
    asked = (connection.execute(query.where(way)).all() for way in (table.c.uid == name, *ways))
    found = next(filter(None, asked), [])
    if len(found) == 1:
        return int(found[0].id)
    if not found:
        raise NothingMatchedError(f"no {what} {name!r}", hint=f"`toollog {LIST_COMMAND[what]}` shows their ids")
    shown = ", ".join(row.uid for row in found[:3])
    raise ConfigError(f"{name!r} fits {len(found)} {what}s", hint=f"give more of the id, for example {shown}")
