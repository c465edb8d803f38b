"""No body costs its row: whatever JSON stands wherever in a request or an answer, the exchange is stored.

Every place that occurs in the recorded and the torture exchanges of the four protocols holds, one after the other, a
value of every JSON type. The places are collected by their path, list positions left out, so each one is met once.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID

import pytest
import sqlalchemy as sa

from fuzz.inputs import seeds
from tarx_toollog import Settings
from tarx_toollog.ids import uuid7
from tarx_toollog.store.engine import writer_engine
from tarx_toollog.store.frames import exchange_frames
from tarx_toollog.store.ingest import Ingester
from tarx_toollog.store.journal import Journal
from tarx_toollog.store.quarantine import held_in
from tarx_toollog.store.schema import exchange, gap
from tarx_toollog.wire.protocols import protocol_for
from tarx_toollog.wire.raw import Chunk, RawExchange

Step = str | int
VALUES: tuple[Any, ...] = (None, True, 1e999, "x", [["text"]], {"type": {"a": [1]}})
N_CONVERSATIONS = 200  # so that mutants meet one another in a conversation, and none has thousands
PROTOCOLS = ("openai_chat", "openai_responses", "anthropic_messages", "ollama_chat")


class Place(NamedTuple):
    """A path in one JSON document of an exchange."""

    seed: str
    raw: RawExchange
    side: str
    document: bytes
    """The document as it stands in the body: all of it, or one event of a stream."""
    path: tuple[Step, ...]

    def holding(self, value: Any) -> RawExchange:
        """Return the exchange with another value in this place."""
        changed = json.dumps(_put(json.loads(self.document), self.path, value)).encode()
        if self.side == "request":
            return replace(self.raw, request_body=self.raw.request_body.replace(self.document, changed, 1))
        body = self.raw.response_body.replace(self.document, changed, 1)
        return replace(self.raw, chunks=(Chunk(1_000_000, body),))


def _put(document: Any, path: Sequence[Step], value: Any) -> Any:
    if not path:
        return value
    parent = document
    for step in path[:-1]:
        parent = parent[step]
    parent[path[-1]] = value
    return document


def _documents(body: bytes) -> list[bytes]:
    """Return the JSON documents of a body: itself, or the events of a stream."""
    found = [body] if _is_json(body) else [line.removeprefix(b"data:").strip() for line in body.split(b"\n")]
    return [document for document in found if _is_json(document)]


def _is_json(text: bytes) -> bool:
    try:
        return isinstance(json.loads(text), dict | list)
    except (ValueError, RecursionError):
        return False


def _paths(value: Any, path: tuple[Step, ...] = ()) -> Iterator[tuple[Step, ...]]:
    yield path
    entries = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, child in entries:
        yield from _paths(child, (*path, step))


def places(protocol: str) -> list[Place]:
    """Return every place that the exchanges of a protocol know, each once."""
    found: dict[tuple[Any, ...], Place] = {}
    for seed, raw in seeds():
        spoken = protocol_for("POST", raw.begin.path)
        if spoken is None or spoken.name != protocol or len(raw.response_body) > 20_000:
            continue
        for side, body in (("request", raw.request_body), ("answer", raw.response_body)):
            for document in _documents(body):
                value = json.loads(document)
                kind = value.get("type") if isinstance(value, dict) else None
                for path in _paths(value):
                    key = (
                        side,
                        str(kind),
                        document == body,
                        *("*" if isinstance(step, int) else step for step in path),
                    )
                    found.setdefault(key, Place(seed, raw, side, document, path))
    return list(found.values())


def ingested(raws: Sequence[RawExchange], folder: Path) -> tuple[int, list[str]]:
    """Put exchanges through a journal into a database; return how many are there, and what was lost."""
    settings = Settings(database=str(folder / "t.db"))
    writer_uid = uuid7()
    journal = Journal(settings.journal_path, writer_uid)
    ingester = Ingester(settings, writer_uid)
    ingester.open()
    try:
        for raw in raws:
            journal.append(exchange_frames(UUID(raw.begin.uid).bytes, raw))
        ingester.finish(journal)
    finally:
        ingester.close()
        journal.close()
    engine = writer_engine(settings)
    with engine.connect() as connection:
        stored = connection.execute(sa.select(sa.func.count()).select_from(exchange)).scalar_one()
        lost = list(connection.execute(sa.select(gap.c.detail)).scalars())
    engine.dispose()
    return stored, [*lost, *(["quarantined"] * held_in(settings.journal_path).n_files)]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_any_value_in_any_place_is_stored(protocol: str, tmp_path: Path) -> None:
    made: dict[str, str] = {}
    raws: list[RawExchange] = []
    for place in places(protocol):
        for value in VALUES:
            number = len(raws)
            raw = place.holding(value)
            begin = replace(raw.begin, uid=uuid7(), client_key="c")
            if number % 2:
                begin = replace(begin, conversation_hint=f"c{number % N_CONVERSATIONS}", hint_source="header")
            raws.append(replace(raw, begin=begin))
            made[begin.uid] = f"{place.seed}, {place.side}, {place.path}: {value!r}"
    stored, lost = ingested(raws, tmp_path)

    assert [] == [(made.get(line[:36]), line) for line in lost]
    assert len(raws) == stored
    assert len(raws) > 500
