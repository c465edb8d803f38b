"""A conversation from a place on: its main line, its branches, and of long texts the beginning."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tarx_toollog import ToolLog
from tarx_toollog.errors import ConfigError, NothingMatchedError
from tarx_toollog.store.answers.conversation_trace import (
    TEXT,
    ConversationTrace,
    Place,
    conversation_trace,
    traced_steps,
    whole_conversation,
)
from tests.support.builders import TOOLS, assistant, call, exchange, result
from tests.support.dialogues import ASKED, CALLED, CITY, hint
from tests.support.talk_pages import write_long, write_talks
from tests.support.web_pages import HOSTILE


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sa.Connection]:
    path = write_talks(tmp_path_factory.mktemp("trace") / "t.db")
    with ToolLog.open(path, read_only=False) as log:
        write_long(log, 70)
    with ToolLog.open(path) as log, log.engine.connect() as connection:
        yield connection


def branched(connection: sa.Connection) -> ConversationTrace:
    uid = connection.scalar(
        sa.text(
            "SELECT c.uid FROM conversation c JOIN exchange e ON e.conversation_id = c.id "
            "GROUP BY c.uid HAVING COUNT(*) = 5 AND c.uid NOT LIKE 'talk%'"
        )
    )
    return conversation_trace(connection, uid)


def test_the_main_line_comes_first_and_branches_stand_beside_it(connection: sa.Connection) -> None:
    first, second = branched(connection).turns
    assert [(1, None), (2, "In Porto.")] == [(s.step_no, (s.answer and s.answer.text) or None) for s in first.steps]
    (again,) = first.branches
    assert (None, ["You live in Porto."]) == (again.asked, [s.answer.text for s in again.steps if s.answer])
    assert ["In Faro."] == [s.answer.text for s in second.steps if s.answer]
    (otherwise,) = second.branches
    assert otherwise.asked is not None
    assert ("Since when?", ["Since May."]) == (
        otherwise.asked.text,
        [s.answer.text for s in otherwise.steps if s.answer],
    )


def test_branches_that_leave_at_different_places_are_different_branches(tmp_path: Path) -> None:
    other = assistant("", call("tarx_recall", {"query": "home"}, "id-home-abc"))
    options = {"tools": TOOLS, **hint("branches")}
    with ToolLog.open(tmp_path / "t.db", read_only=False) as log:
        log.write([exchange(ASKED, other, **options, at_s=0)])
        log.write([exchange([*ASKED, other, result("id-home-abc", "?")], assistant("?"), **options, at_s=1)])
        log.write([exchange(ASKED, assistant("", CITY), **options, at_s=2)])
        log.write([exchange(CALLED, assistant("Porto?"), **options, at_s=3)])
        log.write([exchange(CALLED, assistant("Lisbon?"), **options, at_s=4)])
        log.write([exchange(CALLED, assistant("In Porto."), **options, at_s=5)])
        with log.engine.connect() as connection:
            (turn,) = conversation_trace(connection, "branches").turns
    assert [3, 6] == [step.id for step in turn.steps]
    assert [[1, 2], [4], [5]] == [[step.id for step in branch.steps] for branch in turn.branches]


def test_calls_stand_beside_their_results_with_their_labels(connection: sa.Connection) -> None:
    (turn,) = conversation_trace(connection, "talk-4").turns
    wrong, right = (call for step in turn.steps for call in step.calls)
    assert ("fail", True, "id") == (wrong.schema_state, wrong.result_is_error, wrong.match_how)
    assert ["expected"] == [label.name for label in wrong.labels]
    assert ("ok", False, ()) == (right.schema_state, right.result_is_error, right.labels)
    assert right.result is not None
    assert ('{"ok": true}', 12) == right.result


def test_what_no_database_accepts_is_read_as_it_was_said(connection: sa.Connection) -> None:
    turn = conversation_trace(connection, "hostile").turns[0]
    assert turn.user is not None
    assert HOSTILE == turn.user.text
    made = turn.steps[0].calls
    assert [HOSTILE, "tarx_recall"] == [call.name for call in made]
    result = made[1].result
    assert result is not None
    assert result.size > 100_000
    assert TEXT - 100 < len(result.text) <= TEXT


def test_a_long_turn_is_read_in_parts_each_step_once(connection: sa.Connection) -> None:
    seen: list[int | None] = []
    place: Place | None = Place(1, 1)
    pages = 0
    while place is not None:
        part = conversation_trace(connection, "long", place, 30)
        assert len(part.turns) == 1
        seen += [step.step_no for step in part.turns[0].steps]
        assert len(part.turns[0].steps) <= 15
        place, pages = part.next, pages + 1
    assert (list(range(1, 71)), 5) == (seen, pages)
    assert 70 == sum(len(turn.steps) for part in whole_conversation(connection, "long") for turn in part.turns)


def test_many_turns_are_read_in_parts_too(connection: sa.Connection) -> None:
    first = conversation_trace(connection, "talk-1", weight=6)
    assert ([1], Place(1, 4)) == ([turn.turn_no for turn in first.turns], first.next)
    rest = conversation_trace(connection, "talk-1", Place(1, 4))
    assert [(1, [4]), (2, [1])] == [(turn.turn_no, [s.step_no for s in turn.steps]) for turn in rest.turns]
    assert rest.next is None


def test_a_conversation_goes_by_its_uid_its_beginning_or_the_clients_name(connection: sa.Connection) -> None:
    uid = conversation_trace(connection, "hostile").uid
    assert uid == conversation_trace(connection, uid).uid
    assert uid == conversation_trace(connection, uid[:-1]).uid
    with pytest.raises(ConfigError, match="several"):
        conversation_trace(connection, "talk")
    for name in ("none", "%", "tal_"):
        with pytest.raises(NothingMatchedError):
            conversation_trace(connection, name)


def test_an_exchange_is_a_step_by_itself(connection: sa.Connection) -> None:
    (step,) = traced_steps(connection, [1]).values()
    assert ("talk-1", 1, 1, ["tarx_recall"]) == (
        step.conversation_uid,
        step.turn_no,
        step.step_no,
        [call.name for call in step.calls],
    )
