"""One conversation goes without a trace: its rows, what is derived of them, the journal, and the bytes in the file.

*Theory.* First what waits in the journal is taken in, so that nothing of the conversation stands anywhere but in rows.
These go, then every shared row that nothing else refers to, the index of words, and what was counted of them. Then the
file is written anew and its write-ahead log emptied, and the bytes of all files of the store are searched for what the
conversation said. A text that another conversation says as well is theirs, and stays.

A process that records keeps keys of rows in memory, and its journal holds what it heard last; so none may run.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa

from tarx_toollog.errors import CheckFailedError, NothingMatchedError, StoreError
from tarx_toollog.ids import uuid7
from tarx_toollog.store import journal as jr
from tarx_toollog.store import quarantine
from tarx_toollog.store.few import among_keys
from tarx_toollog.store.filters import conversation_ids
from tarx_toollog.store.ingest import Ingester
from tarx_toollog.store.redact_check import Check, check_file, search
from tarx_toollog.store.retention.compact import require_quiet, require_room, rewrite
from tarx_toollog.store.retention.counting import Doomed, Removed, count, nothing_else_says
from tarx_toollog.store.retention.dialogues import remove_conversations
from tarx_toollog.store.retention.gc import collect_quickly
from tarx_toollog.store.retention.holders import Held, builds_with, held, remove_held
from tarx_toollog.store.retention.place import Place, Steps
from tarx_toollog.store.retention.rows import Counts, chunks, quick_references
from tarx_toollog.store.schema import conversation, exchange, label, message, tool_call, tool_execution, tool_result
from tarx_toollog.store.tallies import fold_changed

_PIECE = 48  # characters: a longer text may lie on several pages of the file, where no search finds it whole
_MOST = 200  # pieces that are searched for; each takes a third of a second in a gigabyte
_TELLING = 24  # characters by which a text is known in a scenario, or in the quarantine: a shorter one is anybody's


class Meant(NamedTuple):
    """A conversation that is to go."""

    key: int
    uid: str


@dataclass(slots=True)
class Erasure:
    """What went, or would go, and what still holds some of it."""

    conversations: list[str]
    removed: Removed
    held: Held
    """What replay holds of it; it goes only when that was asked for."""
    exports: list[str]
    """Builds of training data whose files hold its answers; the files are not touched."""
    related: list[str] = field(default_factory=list)
    """Conversations that went on from it, or that it went on from: they hold the history up to there, and stay."""
    waiting: int = 0
    """Segments of the journal that were taken in before."""
    quarantine: list[str] = field(default_factory=list)
    """Files of the quarantine that held its texts, and went."""
    beside: list[str] = field(default_factory=list)
    """Other files beside the database, as older copies of it; they are not touched."""
    check: Check | None = None
    """What the search of the files has shown; None on a server, and where nothing was deleted."""


def find(place: Place, names: Iterable[str]) -> list[Meant]:
    """Return the conversations that are meant.

    Raises:
        NothingMatchedError: A name means none, or several.
    """
    found: dict[int, Meant] = {}
    for name in names:
        query = sa.select(conversation.c.id, conversation.c.uid).where(conversation.c.id.in_(conversation_ids(name)))
        with place.reader.connect() as connection:
            rows = [] if not name or "\0" in name else connection.execute(query.limit(2)).all()
        if len(rows) != 1:
            what = "several conversations" if rows else "no conversation"
            raise NothingMatchedError(f"{what} {name!r}", hint="`toollog conversations list` shows their ids")
        found[rows[0].id] = Meant(*rows[0])
    return list(found.values())


def would_erase(place: Place, names: Iterable[str], *, with_replays: bool) -> Erasure:
    """Return what ``erase`` would delete; the journal is not looked into."""
    report, _, _ = _look(place, find(place, names), with_replays=with_replays)
    report.waiting = len(jr.list_segments(place.settings.journal_path))
    return report


def erase(place: Place, names: Sequence[str], *, with_replays: bool, steps: Steps) -> Erasure:
    """Delete conversations so that nothing of them is left in the files of the store; return what went.

    Raises:
        CheckFailedError: Scenarios hold their texts, and were not to go with them; nothing was deleted.
        StoreError: A process records or writes.
    """
    require_quiet(place)
    require_room(place)
    waiting = take_in_journal(place)
    meant = find(place, names)
    report, texts, telling = _look(place, meant, with_replays=with_replays)
    report.waiting = waiting
    if report.held.scenarios and not with_replays:
        raise CheckFailedError(
            f"replay holds texts of it: {report.held.in_words()}",
            hint="--with-replays removes these, too; what was measured with them cannot be measured again then",
        )
    if place.is_sqlite:
        place.direct("PRAGMA secure_delete=ON")
    gone: Counts = Counts()
    with quick_references(place.writer):
        steps.begin("conversations", len(meant))
        with place.storing() as connection:
            gone += remove_held(connection, report.held)
            gone += remove_conversations(connection, [one.key for one in meant])
        steps.advance(len(meant))
        shared = collect_quickly(place, steps)
    report.removed = Removed({name: n for name, n in gone.items() if n} | shared.rows)
    _leave_no_trace(place, steps)
    report.quarantine = _empty_quarantine(place, telling)
    report.check = _search(place, texts)
    return report


def take_in_journal(place: Place) -> int:
    """Take in what processes that died left in the journal; return how many segments there were.

    Raises:
        StoreError: Some cannot be taken in.
    """
    folder = place.settings.journal_path
    before = len(jr.list_segments(folder))
    if not before:
        return 0
    ingester = Ingester(place.settings, uuid7())
    try:
        ingester.open()
        ingester.recover()
    finally:
        ingester.close()
    if left := jr.list_segments(folder):
        raise StoreError(
            f"{len(left)} segments of the journal in {folder} cannot be taken in, and may hold some of it",
            hint="`toollog doctor` says what stands in the way",
        )
    return before


def _look(place: Place, meant: Sequence[Meant], *, with_replays: bool) -> tuple[Erasure, set[str], set[str]]:
    """Return what would go, what is searched for afterwards, and what is enough to know its texts by."""
    keys, uids = [one.key for one in meant], [one.uid for one in meant]
    with place.reader.connect() as connection:
        of_them = sa.select(exchange.c.id).where(among_keys(exchange.c.conversation_id, keys))
        exchanges = list(connection.scalars(of_them))
        only = nothing_else_says(Doomed(keys, exchanges))
        said = _texts_of_messages(connection, only)
        telling = {piece for text in said for piece in _pieces(text) if len(piece) >= _TELLING}
        found = held(connection, uids, sorted(telling, key=len)[-_MOST:])
        more = found if with_replays else Held()
        doomed = Doomed(keys, [*exchanges, *more.exchanges], more.scenarios)
        texts = _said_by_nobody_else(connection, said | _other_texts(connection, keys, exchanges), only, exchanges)
        exports = builds_with(connection, exchanges)
        report = Erasure(uids, count(connection, doomed), found, exports, beside=_beside(place.path))
        report.related = _related(connection, keys)
    return report, texts, telling


def _related(connection: sa.Connection, keys: list[int]) -> list[str]:
    """Return the other conversations that share a history with these."""
    after, before = exchange.alias("after"), exchange.alias("before")
    links = sa.select(after.c.conversation_id, before.c.conversation_id.label("from_id")).join_from(
        after, before, after.c.parent_exchange_id == before.c.id
    )
    pair = links.where(
        sa.or_(among_keys(after.c.conversation_id, keys), among_keys(before.c.conversation_id, keys))
    ).subquery()
    of_them = sa.union(sa.select(pair.c.conversation_id), sa.select(pair.c.from_id))
    query = sa.select(conversation.c.uid).where(conversation.c.id.in_(of_them), ~among_keys(conversation.c.id, keys))
    return list(connection.scalars(query.order_by(conversation.c.id)))


def _texts_of_messages(connection: sa.Connection, condition: sa.ColumnElement[bool]) -> set[str]:
    rows = connection.execute(sa.select(message.c.content, message.c.text).where(condition))
    return {text for row in rows for text in row if text}


def _other_texts(connection: sa.Connection, conversations: list[int], exchanges: list[int]) -> set[str]:
    calls = sa.select(tool_call.c.id).where(among_keys(tool_call.c.exchange_id, exchanges))
    uids = sa.select(conversation.c.uid).where(among_keys(conversation.c.id, conversations))
    queries = (
        sa.select(tool_call.c.arguments).where(among_keys(tool_call.c.exchange_id, exchanges)),
        sa.select(tool_result.c.text).where(among_keys(tool_result.c.exchange_id, exchanges)),
        sa.select(exchange.c.error_text).where(among_keys(exchange.c.id, exchanges)),
        sa.select(tool_execution.c.error_text).where(tool_execution.c.tool_call_id.in_(calls)),
        sa.select(label.c.comment).where(label.c.target_uid.in_(uids)),
    )
    return {text for query in queries for text in connection.scalars(query) if text}


def _said_by_nobody_else(
    connection: sa.Connection, texts: set[str], only: sa.ColumnElement[bool], exchanges: list[int]
) -> set[str]:
    """Return the texts that no message, call or result that stays consists of: those are not gone afterwards."""
    said = sa.bindparam("texts", expanding=True, type_=message.c.content.type)
    queries = (
        sa.select(message.c.content).where(message.c.content.in_(said), ~only),
        sa.select(message.c.text).where(message.c.text.in_(said), ~only),
        sa.select(tool_call.c.arguments).where(
            tool_call.c.arguments.in_(said), ~among_keys(tool_call.c.exchange_id, exchanges)
        ),
        sa.select(tool_result.c.text).where(
            tool_result.c.text.in_(said), ~among_keys(tool_result.c.exchange_id, exchanges)
        ),
    )
    theirs = {
        text
        for query in queries
        for some in chunks(sorted(texts))
        for text in connection.scalars(query, {"texts": some})
    }
    return texts - theirs


def _pieces(text: str) -> set[str]:
    """Return what is searched for of a text: all of it, or its middle and its end."""
    if len(text) <= _PIECE:
        return {text}
    middle = (len(text) - _PIECE) // 2
    return {text[middle : middle + _PIECE], text[-_PIECE:]}


def _leave_no_trace(place: Place, steps: Steps) -> None:
    fold_changed(place.writer)
    steps.begin("writing the store anew")
    rewrite(place)


def _empty_quarantine(place: Place, texts: Collection[str]) -> list[str]:
    """Delete the files of the quarantine in which one of these texts stands; return their names."""
    folder = place.settings.journal_path / quarantine.FOLDER
    found = [path for path in sorted(folder.glob("*")) if path.is_file() and search([path], sorted(texts))]
    for path in found:
        path.unlink(missing_ok=True)
    return [path.name for path in found]


def _search(place: Place, texts: Collection[str]) -> Check | None:
    if place.path is None:
        return None
    pieces = sorted({piece for text in texts for piece in _pieces(text)}, key=len)
    database = check_file(place.writer, place.path, pieces[-_MOST:])
    folder = place.settings.journal_path
    waiting = [path for path in folder.rglob("*") if path.is_file()]
    left = search(waiting, [piece for piece in pieces[-_MOST:] if len(piece) >= _TELLING])
    return Check(
        database.searched,
        database.too_short + max(0, len(pieces) - _MOST),
        database.left + len(left),
        (*database.places, *((str(folder),) if left else ())),
    )


def _beside(database: Path | None) -> list[str]:
    """Return the files beside the database that carry its name: copies of it, as a restored backup leaves."""
    if database is None:
        return []
    return sorted(path.name for path in database.parent.glob(f"{database.name}.*") if path.is_file())
