"""What becomes of bytes that cannot be stored: they go to the quarantine, and what they cost is counted.

A segment is put aside as it stands. If it is sealed its key is not kept: nobody reads what was said in it, while the
heads of its frames still tell which exchanges it was about. An exchange that a bug of ours stands in front of is
redacted first, like everything that stays.
"""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from tarx_toollog.redaction.redactor import Redactor
from tarx_toollog.store import quarantine
from tarx_toollog.store.frames import MAGIC, Kind, exchange_frames, pack_frames, read_heads
from tarx_toollog.store.gaps import Gap
from tarx_toollog.store.journal import SEGMENT_SUFFIX
from tarx_toollog.store.schema import exchange, tool_execution
from tarx_toollog.wire.raw import Chunk, RawExchange

logger = logging.getLogger("tarx_toollog.ingest")

_ASKED = 500  # uids in one question


def put_segment(journal: Path, segment: Path, read_to: int | None, engine: sa.Engine) -> list[Gap]:
    """Put a segment aside that cannot be read to its end, and return what is lost with it.

    Args:
        journal: The folder of the journal.
        segment: The file; the caller deletes it.
        read_to: How far it could be read, in bytes; None when it is sealed and its key is gone.
        engine: Of the database: it has what was stored before a key went, and that is not lost.

    Raises:
        OSError: The file cannot be read or written.
        sqlalchemy.exc.DatabaseError: The database cannot be asked.
    """
    if read_to is not None:
        gap = Gap.now("torn", 1, f"{segment.name} is damaged after byte {read_to}")
    elif n_lost := _lost_in(segment, engine):
        gap = Gap.now("sealed", n_lost, f"{segment.name} is sealed, and its key went with the memory of the machine")
    else:
        return []
    quarantine.put(journal, segment.name, segment.read_bytes())
    return [gap]


def put_exchange(journal: Path, raw: RawExchange, redactor: Redactor) -> None:
    """Put an exchange aside that cannot be stored, redacted; where that fails as well, without its texts.

    Raises:
        OSError: It cannot be written.
    """
    try:
        kept = _redacted(raw, redactor)
    except Exception:
        logger.exception("exchange %s cannot be redacted either: it is put aside without its texts", raw.begin.uid)
        kept = replace(raw, request_body=b"", chunks=(), end=raw.end and replace(raw.end, exception=None))
    frames = exchange_frames(UUID(raw.begin.uid).bytes, kept)
    quarantine.put(journal, f"{raw.begin.uid}{SEGMENT_SUFFIX}", MAGIC + pack_frames(frames))


def _redacted(raw: RawExchange, redactor: Redactor) -> RawExchange:
    request, response = redactor.body(raw.request_body), redactor.body(raw.response_body)
    chunks, end = raw.chunks, raw.end
    if response != raw.response_body:  # a value may come in pieces: the pieces as they came cannot stay
        chunks = (Chunk(raw.chunks[0].offset_ns, response),)
    if end is not None and end.exception is not None:
        end = replace(end, exception=redactor.text(end.exception)[0])
    return replace(raw, request_body=request, chunks=chunks, end=end)


def _lost_in(segment: Path, engine: sa.Engine) -> int:
    """Count the exchanges whose end, and the reports that the database does not have; a tail without a head is one."""
    heads = list(read_heads(segment))
    reports = {head.uid for head in heads if head.kind is Kind.EXECUTION}
    exchanges = {head.uid for head in heads} - reports
    ended = sa.select(exchange.c.uid).where(exchange.c.outcome != "open")
    with engine.connect() as connection:
        known = _known(connection, ended, exchange.c.uid, exchanges)
        known |= _known(connection, sa.select(tool_execution.c.uid), tool_execution.c.uid, reports)
    is_whole = (heads[-1].end_offset if heads else len(MAGIC)) == segment.stat().st_size
    return len((exchanges | reports) - known) + (not is_whole)


def _known(connection: sa.Connection, query: sa.Select[Any], uid: sa.ColumnElement[str], asked: set[str]) -> set[str]:
    uids = sorted(asked)
    some = (uids[at : at + _ASKED] for at in range(0, len(uids), _ASKED))
    return {found for part in some for found in connection.scalars(query.where(uid.in_(part)))}
