"""The store that benches build in bulk holds what the writer would have written."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from bench.big_store import build
from bench.dialogues import Message, dialogues, raw_exchange, request_body
from tarx_toollog import Settings, ToolLog
from tarx_toollog.store import schema
from tarx_toollog.store.splits import bucket_of, split_of_bucket
from tarx_toollog.wire.decode import decode

EXCHANGES, SEED = 600, 33
"""A small log that has every script, every bad ending, and dialogues that are repeated."""
MINTED = {"conversation": {"uid", "split_bucket", "split"}}
"""Columns that come from chance, and may differ."""
Row = tuple[Any, ...]


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ToolLog, ToolLog]]:
    """Yield a store that the writer filled, and one built in bulk."""
    folder = tmp_path_factory.mktemp("stores")
    _write(folder / "written.db")
    build(folder / "built.db", EXCHANGES, SEED)
    with ToolLog.open(folder / "written.db") as written, ToolLog.open(folder / "built.db") as built:
        yield written, built


def _write(path: Path) -> None:
    with ToolLog.open(settings=Settings(database=str(path)), read_only=False) as log:
        for dialogue in dialogues(EXCHANGES, SEED):
            history: list[Message] = []
            for asked in dialogue.asked:
                history += asked.new
                log.write([decode(raw_exchange(dialogue, asked, request_body(dialogue, history)))])
                history.append(asked.answer)


def _rows(log: ToolLog) -> dict[str, list[Row]]:
    """Return all rows of all tables, with what tells rows apart in the place of keys."""
    names: dict[str, dict[int, Any]] = {}
    found: dict[str, list[Row]] = {}
    with log.engine.connect() as connection:
        # Parents of a row come before it, also where a table refers to itself: they are named first.
        for table in schema.metadata.sorted_tables:
            rows = connection.execute(sa.select(table).order_by(*table.primary_key.columns))
            name_of = names.setdefault(table.name, {})
            found[table.name] = []
            for row in rows.mappings():
                values = tuple(
                    _value(names, column, row[column.name])
                    for column in table.columns
                    if column.name != "id" and column.name not in MINTED.get(table.name, ())
                )
                found[table.name].append(values)
                if "id" in row:
                    name_of[row["id"]] = row.get("external_id") or row.get("hash") or row.get("uid") or values
    return {name: sorted(rows, key=repr) for name, rows in found.items()}


def _value(names: dict[str, dict[int, Any]], column: sa.Column[Any], value: Any) -> Any:
    if value is not None and column.foreign_keys:
        (target,) = column.foreign_keys
        return names[target.column.table.name][value]
    return json.dumps(value, sort_keys=True) if isinstance(value, dict) else value


def test_every_column_is_what_the_writer_writes(stores: tuple[ToolLog, ToolLog]) -> None:
    written, built = map(_rows, stores)
    assert {name: len(rows) for name, rows in written.items()} == {name: len(rows) for name, rows in built.items()}
    assert EXCHANGES == len(built["exchange"])
    for name, rows in written.items():
        for expected, actual in zip(rows, built[name], strict=True):
            assert expected == actual, name


def test_the_trajectories_are_those_that_the_writer_s_store_gives(stores: tuple[ToolLog, ToolLog]) -> None:
    written, built = (
        [(turn.turn_no, turn.steps, turn.signature, turn.status, turn.labels) for turn in log.trajectories()]
        for log in stores
    )
    assert written == built


def test_a_conversation_has_the_split_of_its_uid(stores: tuple[ToolLog, ToolLog]) -> None:
    query = "SELECT uid, split_bucket, split FROM conversation"
    rows = list(stores[1].query(query).rows)
    assert [(uid, bucket_of(uid), split_of_bucket(bucket_of(uid))) for uid, _, _ in rows] == rows


def test_the_same_number_makes_the_same_store(tmp_path: Path, stores: tuple[ToolLog, ToolLog]) -> None:
    build(tmp_path / "again.db", EXCHANGES, SEED)
    with ToolLog.open(tmp_path / "again.db") as again:
        assert _rows(stores[1]) == _rows(again)
        uids = "SELECT uid, split FROM conversation ORDER BY id"
        assert list(stores[1].query(uids).rows) == list(again.query(uids).rows)


def test_some_dialogues_are_repeated_word_by_word_and_some_nearly() -> None:
    openings = [str(dialogue.asked[0].new[0]["content"]) for dialogue in dialogues(EXCHANGES, SEED)]
    repeated = sum(a == b for a, b in itertools.pairwise(openings))
    beginnings = {text: text.partition(").")[0] for text in openings if ")." in text}
    nearly = len(beginnings) - len(set(beginnings.values()))
    assert (True, True) == (repeated > 0, nearly > 0)


def test_the_log_holds_every_kind_of_step(stores: tuple[ToolLog, ToolLog]) -> None:
    counts = {
        "outcomes": "SELECT count(DISTINCT outcome) FROM exchange",
        "cut": "SELECT sum(finish_reason = 'length') > 0 FROM exchange",
        "leaked": "SELECT count(*) > 0 FROM tool_call WHERE origin = 'leaked_text'",
        "invalid": "SELECT count(*) > 0 FROM tool_call WHERE argument_state = 'invalid'",
        "schema": "SELECT count(*) > 0 FROM tool_call WHERE schema_state = 'fail'",
        "errors": "SELECT count(*) > 0 FROM tool_result WHERE is_error",
        "unicode": "SELECT count(*) > 0 FROM message WHERE text GLOB '*会议*' OR content GLOB '*会议*'",
    }
    found = {name: next(stores[1].query(query).rows)[0] for name, query in counts.items()}
    assert dict.fromkeys(counts, 1) | {"outcomes": 4} == found
