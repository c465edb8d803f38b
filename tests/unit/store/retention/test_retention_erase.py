"""Erasing: no byte of a conversation is left in any file of the store, and everything else is as it was."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from tarx_toollog import ToolLog
from tarx_toollog.config import Settings
from tarx_toollog.errors import CheckFailedError, NothingMatchedError, StoreError
from tarx_toollog.ids import uuid7
from tarx_toollog.replay.suites.freeze import build
from tarx_toollog.store import frames as fr
from tarx_toollog.store import quarantine, schema
from tarx_toollog.store.frames import ExecutionReport
from tarx_toollog.store.ingest import Ingester
from tarx_toollog.store.journal import Journal
from tarx_toollog.store.labels import Labels, NewLabel
from tarx_toollog.store.retention.erase import erase, would_erase
from tarx_toollog.store.search import catch_up
from tests.support.builders import TOOLS, assistant, call, exchange, raw_exchange, result, user
from tests.unit.replay.support import EVERY_SPLIT
from tests.unit.store.retention.logs import Heard, bytes_of, care, columns, problems, said

ASKED, GIVEN, RETURNED = "canary of the user: Ördög", "canary-of-arguments", "canary that a tool returned"
FAILED, COMMENT, LATER = "canary in an exception", "canary of an annotator", "canary that waits in the journal"
CANARIES = (ASKED, GIVEN, RETURNED, FAILED, COMMENT, LATER)
HINT: dict[str, Any] = {"hint_source": "header"}


def dialogue(name: str, asked: str, given: str, returned: str, at_s: float) -> list[Any]:
    """Return the exchanges of a dialogue with one call; its first message is everybody's."""
    made = call("tarx_recall", {"query": given}, f"call-{name}")
    options: dict[str, Any] = {"tools": TOOLS, "conversation_hint": name, **HINT}
    history = [user("Hello there!"), assistant("Hello, what can I do for you?"), user(asked)]
    first = exchange(history, assistant(None, made), at_s=at_s, **options)
    back = [*history, assistant(None, made), result(f"call-{name}", {"found": returned})]
    return [first, exchange(back, assistant(f"I found {returned}."), at_s=at_s + 2, **options)]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a log: the conversation with the canaries, one before it, one after; and a journal."""
    folder = tmp_path_factory.mktemp("log")
    settings = Settings(database=str(folder / "t.db"), keep_raw="always")
    with ToolLog.open(settings=settings, read_only=False) as log:
        log.write(dialogue("before", "Where do I live?", "home", "Porto", 0))
        mine = dialogue("mine", ASKED, GIVEN, RETURNED, 10)
        log.write(mine)
        log.write(dialogue("after", "Who is Rex?", "rex", "a dog", 20))
        report = ExecutionReport(uuid7(), mine[0].started_ns + 10**9, 10**6, "context", "call-mine", "tarx_recall")
        with log.engine.begin() as connection:
            log._writer.write_execution(connection, replace(report, is_error=True, error_type="E", error_text=FAILED))
            log._writer.settle(connection)
        Labels(log).add(NewLabel("exchange", mine[0].uid, "quality", 1.0, comment=COMMENT, annotator="ann"))
        catch_up(log.engine)
    # What a process that died left behind: the conversation goes on, and one exchange was put aside.
    journal = Journal(settings.journal_path, uuid7())
    raw = raw_exchange([user("Hello there!"), assistant("So?"), user(LATER)], assistant("Bye."), at_s=30,
                       conversation_hint="mine", **HINT)  # fmt: skip
    frames = fr.exchange_frames(UUID(raw.begin.uid).bytes, raw)
    journal.append(frames)
    quarantine.put(settings.journal_path, "mine.tlj", fr.MAGIC + fr.pack_frames(frames))
    quarantine.put(settings.journal_path, "other.tlj", b"of somebody else: Hello there!")
    journal.close()
    return folder


@pytest.fixture
def folder(written: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "log"))


def freeze(folder: Path) -> None:
    """Make a suite of all conversations, and a run that has asked what was frozen from the one with the canaries."""
    with ToolLog.open(folder / "t.db", read_only=False) as log:
        build(log, "s", EVERY_SPLIT)
        with log.engine.begin() as connection:
            values = {
                "id": 1, "uid": uuid7(), "name": "r1", "tag": "s", "model": "m", "endpoint": "http://x", "params": {},
                "mode": "teacher_forced", "status": "finished", "started_at": sa.func.now(),
            }  # fmt: skip
            connection.execute(sa.insert(schema.run).values(values))
            run_uid = values["uid"]
        asked = replace(dialogue("mine", ASKED, GIVEN, RETURNED, 100)[0], uid=uuid7(), run_uid=run_uid)
        (key,) = log.write([asked])
        with log.engine.begin() as connection:
            c, s = schema.conversation.c, schema.scenario.c
            mine = sa.select(s.id).join_from(schema.scenario, schema.conversation, s.conversation_uid == c.uid)
            scenario = connection.scalar(mine.where(c.external_id == "mine"))
            trial = {"run_id": 1, "scenario_id": scenario, "step_no": 1, "attempt": 1, "exchange_id": key,
                     "status": "ok", "created_at": sa.func.now()}  # fmt: skip
            connection.execute(sa.insert(schema.trial).values(trial))


def test_no_byte_of_an_erased_conversation_is_left_in_any_file(folder: Path) -> None:
    for canary in CANARIES:
        assert canary.encode() in bytes_of(folder), canary
    query = "SELECT e.uid FROM exchange e JOIN conversation c ON c.id = e.conversation_id WHERE c.external_id <> 'mine'"
    with ToolLog.open(folder / "t.db") as log:
        others = {row[0] for row in log.query(query).rows}
    before = said(folder / "t.db", others)
    assert 4 == len(before["exchange"])

    with care(folder / "t.db") as place:
        report = erase(place, ["mine"], with_replays=False, steps=Heard())
        assert [] == problems(place)
        with place.reader.connect() as connection:  # its words stand there in pieces that no search of bytes finds
            words = "SELECT COUNT(*) FROM message_search WHERE message_search MATCH 'canary'"
            assert 0 == connection.scalar(sa.text(words))

    left = bytes_of(folder)
    assert [] == [canary for canary in CANARIES if canary.encode() in left]
    assert [] == [word for word in (b"canary", b"rd\xc3\xb6g", b"ordog", b"exception") if word in left]
    assert b"Hello there!" in left  # the others say it, too
    assert report.check is not None
    assert (0, ()) == (report.check.left, report.check.places)
    assert report.check.searched >= 5
    assert (1, ["mine.tlj"]) == (report.waiting, report.quarantine)
    assert (folder / "t.db.journal/quarantine/other.tlj").exists()
    assert before == said(folder / "t.db", others)
    assert before["exchange"] == said(folder / "t.db")["exchange"]


def test_a_dry_run_says_what_goes_and_changes_nothing(folder: Path) -> None:
    before = (folder / "t.db").read_bytes(), bytes_of(folder / "t.db.journal")
    with care(folder / "t.db") as place:
        promised = would_erase(place, ["mine"], with_replays=False)
        assert (1, []) == (promised.waiting, promised.quarantine)
    assert before == ((folder / "t.db").read_bytes(), bytes_of(folder / "t.db.journal"))

    next((folder / "t.db.journal").glob("*.tlj")).unlink()  # what it holds is not counted before it is taken in
    with care(folder / "t.db") as place:
        assert promised.removed.rows == erase(place, ["mine"], with_replays=False, steps=Heard()).removed.rows


def test_scenarios_that_hold_its_text_go_with_their_trials_but_only_when_that_is_asked_for(folder: Path) -> None:
    freeze(folder)

    with care(folder / "t.db") as place:
        before = columns(place, schema.message.c.hash)
        named = r"1 scenarios \(1 of s\), and 1 trials of r1"
        with pytest.raises(CheckFailedError, match=named):
            erase(place, ["mine"], with_replays=False, steps=Heard())
        assert set(before) <= set(columns(place, schema.message.c.hash))
        report = erase(place, ["mine"], with_replays=True, steps=Heard())
        assert [] == problems(place)
        assert [("s", 2)] == columns(place, schema.suite.c.name, schema.suite.c.n_scenarios)

    assert {"scenario": 1, "trial": 1, "conversation": 1, "exchange": 4}.items() <= report.removed.rows.items()
    assert b"canary" not in bytes_of(folder)


def test_a_scenario_that_a_probe_padded_with_its_turns_holds_its_text_as_well(folder: Path) -> None:
    with ToolLog.open(folder / "t.db", read_only=False) as log:
        build(log, "s", EVERY_SPLIT)
        with log.engine.begin() as connection:
            s = schema.scenario.c
            mine = connection.scalar(
                sa.select(schema.conversation.c.uid).where(schema.conversation.c.external_id == "mine")
            )
            connection.execute(sa.delete(schema.scenario).where(s.conversation_uid == mine))
            row = connection.execute(sa.select(s.id, s.definition).limit(1)).one()
            definition = row.definition | {"messages": [{"role": "user", "content": f"I found {RETURNED}."}]}
            connection.execute(sa.update(schema.scenario).where(s.id == row.id).values(definition=definition))

    with care(folder / "t.db") as place:
        assert [row.id] == list(would_erase(place, ["mine"], with_replays=False).held.scenarios)


def test_nobody_may_record_meanwhile(folder: Path) -> None:
    journal = Journal(folder / "t.db.journal", uuid7())
    try:
        with care(folder / "t.db") as place, pytest.raises(StoreError, match="recording"):
            erase(place, ["mine"], with_replays=False, steps=Heard())
    finally:
        journal.close()
    assert ASKED.encode() in bytes_of(folder)


def test_a_text_that_somebody_else_says_as_well_is_told_and_stays(folder: Path) -> None:
    with ToolLog.open(folder / "t.db", read_only=False) as log:
        said_again = [user(f"They said: {ASKED}.")]
        (key,) = log.write([exchange(said_again, assistant("Who?"), at_s=50, conversation_hint="echo", **HINT)])
        with log.engine.begin() as connection:  # as if somebody had gone on with it in another window
            e, c = schema.exchange.c, schema.conversation.c
            mine = (
                sa.select(sa.func.max(e.id))
                .join_from(schema.exchange, schema.conversation)
                .where(e.conversation_id == c.id, c.external_id == "mine")
            )
            parent = connection.scalar(mine)
            connection.execute(sa.update(schema.exchange).where(e.id == key).values(parent_exchange_id=parent))
            echo = connection.scalar(sa.select(c.uid).where(c.external_id == "echo"))

    with care(folder / "t.db") as place:
        report = erase(place, ["mine"], with_replays=False, steps=Heard())

    assert [echo] == report.related
    assert report.check is not None
    assert (1, ("message.content",)) == (report.check.left, report.check.places)


@pytest.mark.parametrize("name", ["nobody", "", "\0"])
def test_a_name_that_means_no_conversation_erases_none(folder: Path, name: str) -> None:
    with care(folder / "t.db") as place, pytest.raises(NothingMatchedError):
        would_erase(place, [name], with_replays=False)


def test_segments_that_cannot_be_taken_in_stand_in_the_way(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ingester, "recover", lambda _: 0)
    with care(folder / "t.db") as place, pytest.raises(StoreError, match="cannot be taken in"):
        erase(place, ["mine"], with_replays=False, steps=Heard())
