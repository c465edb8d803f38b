"""Searching all words of the log: what people and models said, what tools were given, and what they gave.

*Theory.* Each message is indexed once, however often it was sent again, by its key. The index is filled behind the
writer, in moments when nothing else is to be done, so that a chat never waits for it; ``store_meta`` knows up to which
message. What came since is read through when somebody searches. So a search finds everything, and the index only makes
it quick.

Hits go newest first and not by rank: a rank would have to look at every hit, and there may be a million.
"""

import re
import sys
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, Literal, NamedTuple

import sqlalchemy as sa

from tarx_toollog.errors import ConfigError
from tarx_toollog.store.content import raw_message
from tarx_toollog.store.filters import Filters, exchange_conditions
from tarx_toollog.store.schema import SEARCH_TABLE, conversation, exchange, message, store_meta
from tarx_toollog.wire.protocols import protocol_named

Place = Literal["text", "arguments"]

UNINDEXED = 2_000
"""Messages that are read through for one search when the index has not got to them yet."""
_MARK = "search_mark"
_BATCH = 2_000
_LONGEST = 500_000  # characters of one text: PostgreSQL's index of a text ends at a megabyte
_AROUND = 60  # characters shown before and after what was found
_LATE = 50_000  # keys: on PostgreSQL a message may be committed after others with a higher key
_TERM = re.compile(r'"([^"]*)"?|(\S+)')
_WORD = re.compile(r"[^\W_]+")

_indexed = sa.table(SEARCH_TABLE, sa.column("rowid"), sa.column("message_id"), sa.column("document"))


class Term(NamedTuple):
    """One thing that has to be there: words one after the other."""

    words: tuple[str, ...]
    is_prefix: bool = False
    """Whether the last word may go on."""


@dataclass(frozen=True, slots=True)
class Hit:
    """A message with what was looked for."""

    message_id: int
    exchange_uid: str
    """The exchange that brought it first."""
    conversation_uid: str | None
    turn_no: int | None
    step_no: int | None
    started_at: datetime
    role: str
    place: Place
    snippet: str
    """What stands around the first word that was found."""


@dataclass(frozen=True, slots=True)
class Hits:
    """What a search found."""

    hits: list[Hit]
    n_unread: int
    """Messages that are neither indexed yet nor were read through."""


def terms_of(query: str) -> list[Term]:
    """Return what a person looks for: words, ``"words in this order"``, ``begin*``. All of it has to be there.

    Example:
        >>> terms_of('Lisbon "twelve percent" rain*')
        [Term(words=('lisbon',), is_prefix=False), Term(words=('twelve', 'percent'), is_prefix=False), \
Term(words=('rain',), is_prefix=True)]

    Raises:
        ConfigError: There is no word in it.
    """
    found = []
    for quoted, plain in _TERM.findall(query):
        words = tuple(_WORD.findall(plain_form(quoted or plain)))
        if words:
            found.append(Term(words, is_prefix=plain.endswith("*")))
    if not found:
        raise ConfigError(
            "there is no word to look for", hint="for example: toollog log search '\"garden tools\" rain*'"
        )
    return found


def plain_form(text: str) -> str:
    """Return a text as it is compared: small letters without accents.

    Example:
        >>> plain_form("Über São")
        'uber sao'
    """
    if text.isascii():
        return text.lower()
    return unicodedata.normalize("NFKD", text).translate(_accents()).casefold()


@cache
def _accents() -> dict[int, None]:
    return {code: None for code in range(sys.maxunicode + 1) if unicodedata.combining(chr(code))}


def search(
    connection: sa.Connection,
    query: str,
    filters: Filters,
    *,
    place: Place | None = None,
    role: str | None = None,
    before: int | None = None,
) -> Hits:
    """Return messages of live traffic in which everything stands that a person looks for, newest first.

    Args:
        connection: May only read.
        query: See ``terms_of``.
        filters: On the exchange that brought the message; its limit is that of the hits.
        place: Only there.
        role: Only messages of this role.
        before: Only messages with a lower key, for the next page.
    """
    terms = terms_of(query)
    mark = indexed_up_to(connection)
    conditions = [*exchange_conditions(filters)]
    conditions += [] if role is None else [message.c.role == role]
    conditions += [] if before is None else [message.c.id < before]
    limit = filters.limit or UNINDEXED
    rows = connection.execute(_list().where(message.c.id > mark, *conditions).limit(UNINDEXED))
    hits = [hit for row in rows if (hit := _hit(row, terms, place)) is not None]
    if len(hits) < limit:
        indexed = _matching(connection.dialect.name, terms, place).where(message.c.id <= mark, *conditions)
        for row in connection.execute(indexed.limit(limit - len(hits))):
            hit = _hit(row, terms, place)
            hits.append(hit if hit is not None else _unseen(row, place))
    waiting = connection.scalar(sa.select(sa.func.count()).where(message.c.id > mark)) or 0
    return Hits(hits[:limit], max(0, waiting - UNINDEXED))


def indexed_up_to(connection: sa.Connection) -> int:
    """Return the key of the last message that is in the index; 0 when it is empty."""
    value = connection.scalar(sa.select(store_meta.c.value).where(store_meta.c.key == _MARK))
    return int(value or 0)


def count_waiting(connection: sa.Connection) -> int:
    """Return how many messages are not in the index yet."""
    mark = indexed_up_to(connection)
    return connection.scalar(sa.select(sa.func.count()).select_from(message).where(message.c.id > mark)) or 0


def catch_up(engine: sa.Engine, *, at_most: int | None = None, indexed: Callable[[int], None] = lambda _: None) -> int:
    """Bring messages into the index that are not in it; return how many.

    Args:
        engine: May write.
        at_most: Messages; all when left out.
        indexed: Called after each transaction with how many it brought in.
    """
    done = 0
    while at_most is None or done < at_most:
        size = _BATCH if at_most is None else min(_BATCH, at_most - done)
        with engine.begin() as connection:
            count = _index_more(connection, size)
        done += count
        indexed(count)
        if not count:
            break
    return done


def forget_index(connection: sa.Connection) -> None:
    """Empty the index: it holds the words of what was taken out of the log. It fills again by itself."""
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql(f"INSERT INTO {SEARCH_TABLE} ({SEARCH_TABLE}) VALUES ('delete-all')")  # noqa: S608
    else:
        connection.exec_driver_sql(f"DELETE FROM {SEARCH_TABLE}")  # noqa: S608 - a name of ours
    connection.execute(sa.delete(store_meta).where(store_meta.c.key == _MARK))


# ---- filling --------------------------------------------------------------------------------------------------------


def _index_more(connection: sa.Connection, size: int) -> int:
    mark = indexed_up_to(connection)
    is_new = message.c.id > mark
    if connection.dialect.name == "postgresql":
        known = sa.select(sa.literal(1)).where(_indexed.c.message_id == message.c.id).exists()
        is_new = sa.and_(message.c.id > mark - _LATE, ~known)
    rows = connection.execute(_all().where(is_new).order_by(message.c.id).limit(size)).all()
    if not rows:
        return 0
    stored = _for_fts5 if connection.dialect.name == "sqlite" else _for_tsvector
    texts = [{"id": row.id, "text": stored(_text(row)), "arguments": stored(_arguments(row))} for row in rows]
    connection.execute(_INSERT[connection.dialect.name], texts)
    last = max(mark, rows[-1].id)
    updated = sa.update(store_meta).where(store_meta.c.key == _MARK).values(value=str(last))
    if connection.execute(updated).rowcount == 0:
        connection.execute(sa.insert(store_meta).values(key=_MARK, value=str(last)))
    return len(rows)


_INSERT = {
    "sqlite": sa.text(f"INSERT INTO {SEARCH_TABLE} (rowid, text, arguments) VALUES (:id, :text, :arguments)"),  # noqa: S608
    "postgresql": sa.text(
        f"INSERT INTO {SEARCH_TABLE} (message_id, document) VALUES (:id, "  # noqa: S608
        "setweight(to_tsvector('simple', :text), 'A') || setweight(to_tsvector('simple', :arguments), 'B')) "
        "ON CONFLICT DO NOTHING"
    ),
}


def _for_fts5(text: str) -> str:
    if text.isascii():
        return text.replace("\0", " ")  # its tokenizer makes letters small itself, and faster
    return plain_form(text[:_LONGEST]).replace("\0", " ").encode("utf-8", "replace").decode()


def _for_tsvector(text: str) -> str:
    # Words alone: PostgreSQL would take addresses, paths and numbers with a point for one word each.
    return " ".join(_WORD.findall(plain_form(text[:_LONGEST])))


def _text(row: Any) -> str:
    if row.content_kind == "json":
        return row.text or ""
    return row.text or row.content or ""


def _arguments(row: Any) -> str:
    if not row.n_tool_calls:
        return ""
    read = protocol_named(row.protocol or "openai_chat").read_message(raw_message(row))
    return "\n".join(call.arguments for call in read.tool_calls)


# ---- asking ---------------------------------------------------------------------------------------------------------


def _all() -> sa.Select[Any]:
    return sa.select(message, exchange.c.protocol).select_from(
        message.outerjoin(exchange, exchange.c.id == message.c.first_exchange_id)
    )


def _list() -> sa.Select[Any]:
    return (
        sa.select(
            message,
            exchange.c.protocol,
            exchange.c.uid.label("exchange_uid"),
            exchange.c.turn_no,
            exchange.c.step_no,
            exchange.c.started_at,
            conversation.c.uid.label("conversation_uid"),
        )
        .select_from(
            message.join(exchange, exchange.c.id == message.c.first_exchange_id).outerjoin(
                conversation, conversation.c.id == exchange.c.conversation_id
            )
        )
        .order_by(message.c.id.desc())
    )


def _matching(dialect: str, terms: Sequence[Term], place: Place | None) -> sa.Select[Any]:
    if dialect == "postgresql":
        wanted = sa.func.to_tsquery("simple", " & ".join(map(_for_postgresql, terms)))
        document = _indexed.c.document
        query = _list().join(_indexed, _indexed.c.message_id == message.c.id).where(document.bool_op("@@")(wanted))
        if place is not None:
            weights: sa.ColumnElement[Any] = sa.literal_column("'{a}'" if place == "text" else "'{b}'")
            query = query.where(sa.func.ts_filter(document, weights).bool_op("@@")(wanted))
        return query
    words = " ".join(f'"{" ".join(term.words)}"{"*" if term.is_prefix else ""}' for term in terms)
    text = words if place is None else f"{place} : ({words})"
    matches = sa.text(f"{SEARCH_TABLE} MATCH :words").bindparams(words=text)
    # By the key of the index, in which it gives its hits: the newest come first, and the rest is never looked at.
    return (
        _list()
        .order_by(None)
        .join(_indexed, _indexed.c.rowid == message.c.id)
        .where(matches)
        .order_by(_indexed.c.rowid.desc())
    )


def _for_postgresql(term: Term) -> str:
    return " <-> ".join(term.words) + (":*" if term.is_prefix else "")


def _hit(row: Any, terms: Sequence[Term], place: Place | None) -> Hit | None:
    """Return a message in which all terms stand, in its text or its arguments or some in each; else None."""
    texts: dict[Place, str] = {"text": _text(row), "arguments": _arguments(row)}
    searched = {name: text for name, text in texts.items() if place in (None, name)}
    found: list[tuple[Place, str]] = []
    for term in terms:
        spots = ((name, spot) for name, text in searched.items() if (spot := _snippet(text, term)) is not None)
        first = next(spots, None)
        if first is None:
            return None
        found.append(first)
    return _made(row, *found[0])


def _unseen(row: Any, place: Place | None) -> Hit:
    """Return a hit that the index sees and a plain comparison does not, as words of several scripts may be."""
    text = _text(row) if place != "arguments" else _arguments(row)
    return _made(row, place or "text", text[: 2 * _AROUND])


def _made(row: Any, place: Place, snippet: str) -> Hit:
    return Hit(
        message_id=row.id,
        exchange_uid=row.exchange_uid,
        conversation_uid=row.conversation_uid,
        turn_no=row.turn_no,
        step_no=row.step_no,
        started_at=row.started_at,
        role=row.role,
        place=place,
        snippet=snippet,
    )


def _snippet(text: str, term: Term) -> str | None:
    """Return what stands around a term, on one line; None when it is not there."""
    for start, end in _spots(text, term):
        before, after = max(0, start - _AROUND), end + _AROUND
        shown = " ".join(text[before:after].split())
        return f"{'…' if before else ''}{shown}{'…' if after < len(text) else ''}"
    return None


def _spots(text: str, term: Term) -> Iterator[tuple[int, int]]:
    """Yield where a term stands in a text."""
    if term.words[0] not in plain_form(text):
        return
    words = [(match.start(), match.end(), plain_form(match[0])) for match in _WORD.finditer(text)]
    n, last = len(term.words), term.words[-1]
    for i in range(len(words) - n + 1):
        if tuple(word for *_, word in words[i : i + n - 1]) == term.words[:-1]:
            final = words[i + n - 1][2]
            if final == last or (term.is_prefix and final.startswith(last)):
                yield words[i][0], words[i + n - 1][1]
