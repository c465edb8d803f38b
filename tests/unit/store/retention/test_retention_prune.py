"""Pruning: what is old goes, what people and replay made of it keeps it, and what stays is untouched."""

import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from tarx_toollog import ToolLog
from tarx_toollog.config import Settings
from tarx_toollog.replay.suites.freeze import build
from tarx_toollog.store import frames as fr
from tarx_toollog.store import schema
from tarx_toollog.store.filters import Filters
from tarx_toollog.store.ingest import Ingester
from tarx_toollog.store.journal import Journal
from tarx_toollog.store.labels import Labels, NewLabel
from tarx_toollog.store.retention import prune as pruning
from tarx_toollog.store.retention.gc import collect, would_collect
from tarx_toollog.store.retention.prune import Old, prune, would_prune
from tarx_toollog.store.retention.rows import SHARED, quick_references, unreferenced
from tarx_toollog.store.search import catch_up, search
from tests.support.analyst_log import write_analyst_log
from tests.support.builders import TOOLS, assistant, call, exchange, raw_exchange, result, user
from tests.unit.store.retention.logs import START, Heard, care, columns, problems, said

SECOND_WEEK = START + timedelta(days=3)
"""Before it: conversations 1 (labelled), 4 (labelled) and 5."""
EVERYTHING = frozenset[str]()
UID = schema.conversation.c.uid


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("log") / "t.db"
    write_analyst_log(path)
    with ToolLog.open(path, read_only=False) as log:
        catch_up(log.engine)
    return path


@pytest.fixture
def database(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(written, tmp_path / "t.db"))


def names(database: Path) -> list[str]:
    with care(database) as place:
        return [uid for (uid,) in columns(place, UID)]


def test_what_a_person_labelled_stays_and_the_other_old_one_goes_which_builds_remember(database: Path) -> None:
    with ToolLog.open(database, read_only=False) as log:
        labels = Labels(log)  # what a rule says keeps nothing, nor what was taken back
        labels.add(NewLabel("conversation", "talk-5", "quality", 1.0, annotator_kind="rule", annotator="r"))
        labels.withdraw(labels.add(NewLabel("conversation", "talk-5", "nice", 1.0, annotator="ann")), "ann")
        uid, newest = remember(log)
    with care(database) as place:
        promised = would_prune(place, Old(SECOND_WEEK))
        gone = prune(place, Old(SECOND_WEEK), Heard()).rows
        assert promised.rows == gone
        assert gone == {
            "conversation": 1, "exchange": 1, "turn": 1, "tool_call": 1, "label": 3, "node": 2, "message": 2
        }  # fmt: skip
        assert (promised.n_bytes or 0) > 200
        assert [] == problems(place)
        x = schema.dataset_example.c
        assert [(None, f"removed exchange {uid}")] == columns(place, x.exchange_id, x.origin)
        # A key that is given again must not look as if the build had known it.
        assert [(newest,)] == columns(place, schema.dataset_build.c.last_exchange_id)
    assert ["talk-1", "talk-2", "talk-3", "talk-4", "talk-6", "talk-7", "talk-8", "talk-9"] == names(database)


def remember(log: ToolLog) -> tuple[str, int]:
    """Make a build with the one exchange of conversation 5; return its uid, and the newest key of all."""
    with log.engine.begin() as connection:
        values = {
            "id": 1, "uid": "b", "name": "v1", "status": "finished", "task": "sft", "unit": "step", "formats": [],
            "config": {}, "config_hash": "0", "last_exchange_id": 10_000, "created_at": START, "version": "1",
        }  # fmt: skip
        connection.execute(sa.insert(schema.dataset_build).values(values))
        e = schema.exchange.c
        key, uid = connection.execute(sa.select(e.id, e.uid).where(e.uid.like("%000005000000"))).one()
        example = {"dataset_build_id": 1, "seq": 1, "exchange_id": key, "source": "tool", "copies": 1}
        connection.execute(sa.insert(schema.dataset_example).values(example))
        return uid, connection.scalar(sa.select(sa.func.max(e.id))) or 0


def test_what_is_counted_before_is_what_goes_and_what_stays_says_the_same(database: Path) -> None:
    with ToolLog.open(database) as log:
        kept = {row[0] for row in log.query("SELECT uid FROM exchange WHERE started_at >= '2026-09-24'").rows}
    before = said(database, kept)
    with care(database) as place:
        promised = would_prune(place, Old(SECOND_WEEK, EVERYTHING))
        gone = prune(place, Old(SECOND_WEEK, EVERYTHING), Heard())
        assert promised.rows == gone.rows
        assert {"conversation": 3, "label": 2, "tool_execution": 1}.items() <= gone.rows.items()
        assert [] == problems(place)
        assert [] == columns(place, schema.tally_change.c.day)
        assert {} == collect(place, Heard()).rows
        with place.reader.connect() as connection:
            assert [] == search(connection, "tiles", Filters()).hits
            assert 2 == len(search(connection, "trams", Filters(), role="user").hits)
            # The index itself holds nothing of them either.
            words = sa.text("SELECT COUNT(*) FROM message_search WHERE message_search MATCH 'tiles'")
            assert 0 == connection.scalar(words)
    assert before == said(database, kept)


def test_a_conversation_that_a_scenario_was_frozen_from_stays_unless_only_labels_keep(database: Path) -> None:
    with ToolLog.open(database, read_only=False) as log:
        build(log, "s", Filters.parse(conversation="talk-2", splits=("train",)))
    with care(database) as place:
        prune(place, Old(START + timedelta(days=99)), Heard())
        assert [("talk-1",), ("talk-2",), ("talk-4",)] == columns(place, UID)
        prune(place, Old(START + timedelta(days=99), frozenset({"labelled"})), Heard())
        assert [("talk-1",), ("talk-4",)] == columns(place, UID)
        assert [("s",)] == columns(place, schema.suite.c.name)
        assert [] == problems(place)  # the suite has all that it needs


def test_an_exchange_without_a_conversation_goes_by_its_own_age(database: Path) -> None:
    uids = [f"00000000-0000-7000-8000-00000000090{n}" for n in range(3)]
    with ToolLog.open(database, read_only=False) as log:
        for at_s, uid in zip((50, 60, 86_400 * 20), uids, strict=True):
            log.write([exchange([user("Alone.")], None, status=500, body={"error": {}}, at_s=at_s, uid=uid)])
        with log.engine.begin() as connection:
            e = schema.exchange.c
            connection.execute(
                sa.delete(schema.turn).where(schema.turn.c.last_exchange_id.in_(sa.select(e.id).where(e.uid.in_(uids))))
            )
            connection.execute(
                sa.update(schema.exchange).where(e.uid.in_(uids)).values(conversation_id=None, turn_no=None)
            )
        Labels(log).add(NewLabel("exchange", uids[1], "quality", 1.0, annotator="ann"))
    with care(database) as place:
        assert 2 == would_prune(place, Old(SECOND_WEEK)).rows["exchange"]
        prune(place, Old(SECOND_WEEK), Heard())
        left = {uid for (uid,) in columns(place, schema.exchange.c.uid)}
    assert {uids[1], uids[2]} == left & set(uids)


def test_what_was_interrupted_leaves_the_log_whole_and_is_run_again(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "BATCH", 1)
    old = Old(SECOND_WEEK, EVERYTHING)
    with care(database) as place:
        with pytest.raises(KeyboardInterrupt):
            prune(place, old, Heard("conversations", after=2))
        assert 7 == len(columns(place, UID))
        assert [] == problems(place)
        assert 1 == prune(place, old, Heard()).rows["conversation"]
        assert {} == would_collect(place).rows


def test_a_result_in_another_conversation_is_one_without_a_call_when_its_call_goes(tmp_path: Path) -> None:
    """A fork: the second dialogue begins with the history of the first one, and brings the result of its call."""
    database = tmp_path / "t.db"
    made = call("tarx_recall", {"query": "city"}, "c1")
    history = [user("Where do I live?"), assistant("", made)]
    with ToolLog.open(database, read_only=False) as log:
        log.write([exchange(history[:1], history[1], tools=TOOLS, conversation_hint="a", hint_source="header")])
        back = [*history, result("c1", {"city": "Porto"})]
        log.write(
            [exchange(back, assistant("Porto."), tools=TOOLS, at_s=10, conversation_hint="b", hint_source="header")]
        )
        with log.engine.begin() as connection:
            key = connection.scalar(sa.select(schema.tool_call.c.id))
            connection.execute(sa.update(schema.tool_result).values(tool_call_id=key))
    with care(database) as place:
        gone = prune(place, Old(START + timedelta(seconds=5)), Heard()).rows
        r = schema.tool_result.c
        assert [(None, "none")] == columns(place, r.tool_call_id, r.match_how)
        assert "node" not in gone  # the other one has them, too
        first = {key for (key,) in columns(place, schema.message.c.first_exchange_id)}
        assert {key for (key,) in columns(place, schema.exchange.c.id)} == first
        assert [] == problems(place)


def test_a_process_that_records_goes_on_although_rows_went_that_it_remembers(tmp_path: Path) -> None:
    settings = Settings(database=str(tmp_path / "t.db"))
    journal = Journal(settings.journal_path, "00000000-0000-7000-8000-000000000001")
    ingester = Ingester(settings, journal.writer_uid)
    ingester.open()
    asked, other = user("Do you remember me?"), [user("Something else."), assistant("Well.")]

    def record(messages: list[dict[str, Any]], at_s: float) -> None:
        raw = raw_exchange(messages, assistant("Yes, I do."), at_s=at_s)
        journal.append(fr.exchange_frames(UUID(raw.begin.uid).bytes, raw))
        assert 1 == ingester.poll()

    try:
        record([asked], 0)
        record([user("Who?")], 100)
        with care(settings.database) as place:
            assert place.is_shared
            assert 2 == prune(place, Old(START + timedelta(days=1)), Heard()).rows["exchange"]
            # The newest history stays although nothing refers to it: its keys must not be given to other messages.
            assert [("Who?",), ("Yes, I do.",)] == columns(place, schema.message.c.content)
        record([*other, asked], 1_000_000)
        with care(settings.database) as place:
            assert 1 == len(columns(place, schema.exchange.c.id))
            assert [] == columns(place, schema.gap.c.id)
            assert [] == problems(place)
    finally:
        ingester.close()
        journal.close()


def test_an_exchange_that_runs_while_its_conversation_goes_is_stored_when_it_ends(tmp_path: Path) -> None:
    settings = Settings(database=str(tmp_path / "t.db"))
    journal = Journal(settings.journal_path, "00000000-0000-7000-8000-000000000002")
    ingester = Ingester(settings, journal.writer_uid)
    ingester.open()
    try:
        raw = raw_exchange([user("Slowly, please.")], assistant("Here."), tools=TOOLS)
        frames = fr.exchange_frames(UUID(raw.begin.uid).bytes, raw)
        journal.append(frames[:1])
        ingester.poll()
        with care(settings.database) as place:
            assert 1 == prune(place, Old(START + timedelta(days=1)), Heard()).rows["exchange"]
        journal.append(frames[1:])
        ingester.poll()
        with care(settings.database) as place:
            assert [("completed",)] == columns(place, schema.exchange.c.outcome)
            assert [] == problems(place)
    finally:
        ingester.close()
        journal.close()


def test_no_look_for_references_reads_a_whole_table(database: Path) -> None:
    with care(database) as place, quick_references(place.writer), place.reader.connect() as connection:
        for table in SHARED:
            query = sa.select(table.c.id).where(unreferenced(table), table.c.id == 1)
            sql = str(query.compile(connection, compile_kwargs={"literal_binds": True}))
            plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}")]
            assert [] == [step for step in plan if step.startswith("SCAN")], table.name
