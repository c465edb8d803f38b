"""The store that benches build in bulk holds what the writer would have written."""

import itertools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import sqlalchemy as sa

from bench import dialogues, weeks
from bench.big_store import fill, write_surroundings
from bench.talks import MadeUp, Message, in_time_order, raw_exchange, request_body
from tarx_toollog import Settings, ToolLog
from tarx_toollog.store import schema
from tarx_toollog.store.frames import ExecutionReport
from tarx_toollog.store.labels import Labels
from tarx_toollog.store.splits import bucket_of, split_of_bucket
from tarx_toollog.store.writer import Writer
from tarx_toollog.wire.decode import decode

EXCHANGES, CALLS = 600, 900
"""Small logs: one has every script, every bad ending, and dialogues that are repeated; one every fault of a call."""
MINTED = {"conversation": {"uid", "split_bucket", "split"}, "label": {"created_at"}}
"""Columns that come from chance, and may differ."""
Row = tuple[Any, ...]


MADE: dict[str, Callable[[], MadeUp]] = {
    "dialogues": lambda: dialogues.made_up(EXCHANGES, seed=33),
    "weeks": lambda: weeks.made_up(CALLS, seed=6),
}


class Stores(NamedTuple):
    """A store that the writer filled, and one built in bulk."""

    made: Callable[[], MadeUp]
    written: ToolLog
    built: ToolLog


@pytest.fixture(scope="module", params=MADE)
def stores(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stores]:
    """Yield the two stores of each kind of log."""
    folder, made = tmp_path_factory.mktemp("stores"), MADE[request.param]
    _write(folder / "written.db", made())
    fill(folder / "built.db", made())
    with ToolLog.open(folder / "written.db") as written, ToolLog.open(folder / "built.db") as built:
        yield Stores(made, written, built)


def _write(path: Path, made: MadeUp) -> None:
    with ToolLog.open(settings=Settings(database=str(path)), read_only=False) as log:
        with log.engine.begin() as connection:
            write_surroundings(connection, made)
        histories: dict[str, list[Message]] = {}
        for dialogue, asked in in_time_order(made.dialogues):
            for report in asked.ran:
                _write_execution(log, report)
            history = histories.setdefault(dialogue.uid, [])
            history += asked.new
            log.write([decode(raw_exchange(dialogue, asked, request_body(dialogue, history)))])
            history.append(asked.answer)
            if asked is dialogue.asked[-1]:
                for label in dialogue.labels:
                    Labels(log).add(label)


def _write_execution(log: ToolLog, report: ExecutionReport) -> None:
    writer = Writer()
    with log.engine.begin() as connection:
        writer.write_execution(connection, report)
        writer.settle(connection)


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


def test_every_column_is_what_the_writer_writes(stores: Stores) -> None:
    written, built = _rows(stores.written), _rows(stores.built)
    assert {name: len(rows) for name, rows in written.items()} == {name: len(rows) for name, rows in built.items()}
    for name, rows in written.items():
        for expected, actual in zip(rows, built[name], strict=True):
            assert expected == actual, name


def test_the_trajectories_are_those_that_the_writer_s_store_gives(stores: Stores) -> None:
    written, built = (
        [(turn.turn_no, turn.steps, turn.signature, turn.status, turn.labels) for turn in log.trajectories()]
        for log in (stores.written, stores.built)
    )
    assert len(written) > 100
    assert written == built


def test_a_conversation_has_the_split_of_its_uid(stores: Stores) -> None:
    rows = list(stores.built.query("SELECT uid, split_bucket, split FROM conversation").rows)
    assert [(uid, bucket_of(uid), split_of_bucket(bucket_of(uid))) for uid, _, _ in rows] == rows


def test_the_same_number_makes_the_same_store(tmp_path: Path, stores: Stores) -> None:
    fill(tmp_path / "again.db", stores.made())
    with ToolLog.open(tmp_path / "again.db") as again:
        assert _rows(stores.built) == _rows(again)
        for query in ("SELECT uid, split FROM conversation ORDER BY id", "SELECT created_at FROM label ORDER BY id"):
            assert list(stores.built.query(query).rows) == list(again.query(query).rows)


def test_a_log_of_dialogues_has_so_many_exchanges() -> None:
    made = MADE["dialogues"]().dialogues
    assert EXCHANGES == sum(len(dialogue.asked) for dialogue in made)


def test_some_dialogues_are_repeated_word_by_word_and_some_nearly() -> None:
    openings = [str(dialogue.asked[0].new[0]["content"]) for dialogue in MADE["dialogues"]().dialogues]
    repeated = sum(a == b for a, b in itertools.pairwise(openings))
    beginnings = {text: text.partition(").")[0] for text in openings if ")." in text}
    nearly = len(beginnings) - len(set(beginnings.values()))
    assert (True, True) == (repeated > 0, nearly > 0)


@pytest.mark.parametrize("stores", ["dialogues"], indirect=True)
def test_the_log_holds_every_kind_of_step(stores: Stores) -> None:
    counts = {
        "outcomes": "SELECT count(DISTINCT outcome) FROM exchange",
        "cut": "SELECT sum(finish_reason = 'length') > 0 FROM exchange",
        "leaked": "SELECT count(*) > 0 FROM tool_call WHERE origin = 'leaked_text'",
        "invalid": "SELECT count(*) > 0 FROM tool_call WHERE argument_state = 'invalid'",
        "schema": "SELECT count(*) > 0 FROM tool_call WHERE schema_state = 'fail'",
        "errors": "SELECT count(*) > 0 FROM tool_result WHERE is_error",
        "unicode": "SELECT count(*) > 0 FROM message WHERE text GLOB '*会议*' OR content GLOB '*会议*'",
    }
    found = {name: next(stores.built.query(query).rows)[0] for name, query in counts.items()}
    assert dict.fromkeys(counts, 1) | {"outcomes": 4} == found


@pytest.mark.parametrize("stores", ["weeks"], indirect=True)
@pytest.mark.parametrize(
    "finding",
    [
        "SELECT count(*) >= 900 FROM tool_call",
        "SELECT count(DISTINCT argument_state) = 4 FROM tool_call",
        "SELECT sum(schema_state = 'fail') > 0 FROM tool_call",
        "SELECT sum(offered = 0 AND known = 0) > 0 FROM tool_call",
        "SELECT sum(origin = 'leaked_text') > 0 FROM tool_call",
        "SELECT sum(complete = 0) > 0 FROM tool_call",
        "SELECT sum(is_error) > 0 FROM tool_result",
        "SELECT sum(n_unanswered) > 0 FROM turn",
        "SELECT max(chain_length) >= 8 FROM turn",
        "SELECT max(context_fill) > 1 FROM v_exchanges",
        "SELECT count(DISTINCT truncation) = 3 FROM exchange",
        "SELECT sum(poisoned) > 0 FROM exchange",
        "SELECT count(DISTINCT model_build_id) = 2 FROM exchange",
        "SELECT count(DISTINCT client_key) = 5 FROM exchange",
        "SELECT count(DISTINCT outcome) >= 3 FROM exchange",
        "SELECT count(*) > 1 FROM tool_definition WHERE name = 'web_search'",
        "SELECT sum(is_error) > 0 AND sum(tool_call_id IS NULL) = 0 FROM tool_execution",
        "SELECT count(DISTINCT target_type) > 0 FROM label",
        "SELECT count(*) = 3 FROM gap",
        # Dialogues overlap: somebody else is served between two steps of one.
        "SELECT count(*) > 0 FROM exchange e JOIN exchange p ON p.id = e.parent_exchange_id WHERE p.id < e.id - 1",
    ],
)
def test_weeks_hold_what_analysts_ask_for(stores: Stores, finding: str) -> None:
    assert 1 == next(stores.built.query(finding).rows)[0]
