"""A person's own condition on the log, in SQL over the columns of a view: which view it means, and how it is asked.

*Theory.* The condition is written into a query, so it must be nothing but a condition: it may not close the bracket
that it stands in, hold a second statement, or hide what comes after it (``_tokens``). It is asked only within
``heeding``: there the connection can read and nothing else, and no statement lasts for ever. Which view is meant is
told by the columns that it names. What holds of a call or a turn holds of the exchanges that belong to it, and the
other way round.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import NamedTuple

import sqlalchemy as sa

from tarx_toollog.errors import ConfigError
from tarx_toollog.store.guard import limit_to_reading, message_of, took_too_long, would_write
from tarx_toollog.store.schema import call_uid, conversation, exchange, tool_call, turn
from tarx_toollog.store.view import View
from tarx_toollog.store.views.calls import V_TOOL_CALLS
from tarx_toollog.store.views.exchanges import V_EXCHANGES
from tarx_toollog.store.views.turns import V_TURNS

TIMEOUT_S = 30.0
"""Seconds that one statement with such a condition may take: as ``toollog db query`` does."""
_VIEWS = (V_EXCHANGES, V_TOOL_CALLS, V_TURNS)
"""Those that a condition may be about; the first that has all its columns is meant."""
_COLUMNS = frozenset(column for view in _VIEWS for column in view.columns)
_HINT = ". ".join(f"Columns of {view.name}: {', '.join(view.columns)}" for view in _VIEWS)
_HOW = "write one condition, as after WHERE: \"tool = 'tarx_recall' AND latency_ms > 1000\""
_TOKEN = re.compile(
    r"""(?P<text>'(?:[^'\0]|'')*')|"(?P<quoted>(?:[^"\0]|"")*)"|(?P<name>[^\W\d]\w*)|(?P<number>\d[\w.]*)"""
    r"""|(?P<wrong>--|/\*|[;'"`$\\\[\]\0])|(?P<mark>\S)"""
)


class Where(NamedTuple):
    """A condition, and the view that it is about."""

    text: str
    view: View

    @property
    def is_on_turns(self) -> bool:
        """Whether it is about turns."""
        return self.view is V_TURNS


@cache
def read_where(text: str) -> Where:
    """Return what a condition is about.

    Example:
        >>> read_where("latency_ms > 1000 AND tool = 'tarx_recall'").view.name
        'v_tool_calls'

    Raises:
        ConfigError: It is no single condition, or no view has the columns that it names.
    """
    named = set(_outer_names(text))
    for view in _VIEWS:
        if named and named <= set(view.columns):
            return Where(text, view)
    shown = ", ".join(sorted(named))
    said = f"no view has all of {shown}" if named else "it names no column"
    raise ConfigError(f"--where {text!r}: {said}", hint=_HINT)


def where_on_exchange(where: Where) -> sa.ColumnElement[bool]:
    """Return the condition on ``exchange``: it holds of the exchange, of one of its calls, or of its turn."""
    view = _table(where)
    if where.is_on_turns:
        here = sa.and_(
            view.c.conversation_uid == _uid_of(exchange.c.conversation_id), view.c.turn_no == exchange.c.turn_no
        )
    else:
        here = view.c.exchange_uid == exchange.c.uid
    return _holds(where, view, here)


def where_on_call(where: Where) -> sa.ColumnElement[bool]:
    """Return the condition on ``tool_call`` joined with ``exchange``: it holds of the call, or of its exchange."""
    if where.view is not V_TOOL_CALLS:
        return where_on_exchange(where)
    view = _table(where)
    # The first condition finds the row, the second one tells it from its neighbours.
    here = sa.and_(view.c.exchange_uid == exchange.c.uid, view.c.call_uid == call_uid())
    return _holds(where, view, here).correlate(exchange, tool_call)


def where_on_turn(where: Where) -> sa.ColumnElement[bool]:
    """Return the condition on ``turn``: it holds of the turn, or of one of its exchanges or calls."""
    if not where.is_on_turns:
        within = sa.select(exchange.c.id).where(
            exchange.c.conversation_id == turn.c.conversation_id, exchange.c.turn_no == turn.c.turn_no
        )
        return within.where(where_on_exchange(where)).exists()
    view = _table(where)
    here = sa.and_(view.c.conversation_uid == _uid_of(turn.c.conversation_id), view.c.turn_no == turn.c.turn_no)
    return _holds(where, view, here)


def where_rows(where: Where) -> sa.Select[tuple[int]]:
    """Return the query for the keys of the exchanges that a condition means: quick where they are few."""
    view = _table(where)
    # Joined, so that whoever asks for the first ones gets these and no more is looked at; and in a SELECT of its own,
    # where its names can mean nothing but columns of the view.
    if not where.is_on_turns:
        meant = sa.select(view.c.exchange_uid).where(_condition(where)).subquery()
        return sa.select(exchange.c.id).join(meant, meant.c.exchange_uid == exchange.c.uid)
    turns = sa.select(view.c.conversation_uid, view.c.turn_no).where(_condition(where)).subquery()
    here = sa.and_(turns.c.conversation_uid == _NAMED.c.uid, turns.c.turn_no == exchange.c.turn_no)
    return sa.select(exchange.c.id).join(_NAMED, _NAMED.c.id == exchange.c.conversation_id).join(turns, here)


@contextmanager
def heeding(connection: sa.Connection, text: str | None, timeout_s: float = TIMEOUT_S) -> Iterator[None]:
    """Keep a connection from anything but reading while it asks with a person's condition; without one, do nothing.

    Args:
        connection: Any connection of the store.
        text: The condition; None where there is none.
        timeout_s: Seconds that a statement may take.

    Raises:
        ConfigError: The condition is wrong, or took too long.
    """
    if text is None:
        yield
        return
    where = read_where(text)
    lift = limit_to_reading(connection, timeout_s)
    try:
        # By itself, where its names can mean nothing but columns of the view.
        connection.execute(sa.select(sa.literal(1)).select_from(_table(where)).where(_condition(where)).limit(0))
        yield
    except sa.exc.DBAPIError as error:
        raise _said(error, text, timeout_s) from error
    finally:
        lift()


def _said(error: sa.exc.DBAPIError, text: str, timeout_s: float) -> ConfigError:
    if took_too_long(error):
        return ConfigError(
            f"--where {text!r} took longer than {timeout_s:g} s", hint="ask about less, for example with --since"
        )
    said = "it may only read" if would_write(error) else message_of(error).strip()
    return ConfigError(f"--where {text!r}: {said}", hint=_HINT)


_NAMED = conversation.alias("named")  # an alias: the query around it may read conversations, too


def _uid_of(key: sa.Column[int]) -> sa.ScalarSelect[str]:
    return sa.select(_NAMED.c.uid).where(_NAMED.c.id == key).correlate(key.table).scalar_subquery()


def _table(where: Where) -> sa.TableClause:
    return sa.table(where.view.name, *map(sa.column, where.view.columns))


def _condition(where: Where) -> sa.ColumnElement[bool]:
    return sa.literal_column(f"({where.text})")


def _holds(where: Where, view: sa.TableClause, here: sa.ColumnElement[bool]) -> sa.Exists:
    return sa.select(sa.literal(1)).select_from(view).where(here, _condition(where)).exists()


def _outer_names(text: str) -> Iterator[str]:
    """Yield the columns that a condition names; a SELECT within it has columns of its own."""
    depth, inner, after_open = 0, 0, False
    for kind, token in _tokens(text):
        if kind == "mark":
            depth += {"(": 1, ")": -1}.get(token, 0)
        if depth < 0:
            break
        inner = 0 if depth < inner else inner
        name = token.lower() if kind == "name" else token
        if after_open and kind == "name" and name in ("select", "with", "values"):
            inner = inner or depth
        elif not inner and kind in ("name", "quoted") and name in _COLUMNS:
            yield name
        elif kind == "quoted" and not inner:
            # SQLite takes it for a text, and says nothing.
            raise ConfigError(f"--where: no column {token!r}", hint="texts stand in single quotes. " + _HINT)
        after_open = (kind, token) == ("mark", "(")
    if depth:
        raise ConfigError(f"--where {text!r}: the brackets do not match", hint=_HOW)


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    before = ""
    for match in _TOKEN.finditer(text):
        kind, token = str(match.lastgroup), match[str(match.lastgroup)]
        if kind == "wrong" or (kind == "text" and before.lower() in ("e", "u")):
            raise ConfigError(f"--where {text!r}: {token!r} cannot stand here", hint=_HOW)
        before = token
        yield kind, token
