"""Queue, rules and targets of labels on a real PostgreSQL: what they say of the same log on SQLite."""

from pathlib import Path
from typing import Any

from tarx_toollog.replay.suites.label_queue import disputed_answers
from tarx_toollog.store.answers.label_queue import LabelQueue
from tarx_toollog.store.label_rules import LabelRules
from tarx_toollog.store.label_target import LabelTargets
from tarx_toollog.store.labels import Labels
from tarx_toollog.store.log import ToolLog
from tests.support.postgres import database, postgres
from tests.unit.replay.support import Chat, calling, saying

RECALL = ("recall", {"query": "home"})


def told(log: ToolLog) -> dict[str, Any]:
    """Log some turns; return what is said of them, without ids."""
    Chat(log, "c").turn("Where?", calling(("nobody", {})), saying("Lisbon"))
    failing = [calling(RECALL) for _ in range(5)]
    Chat(log, "d").turn("long", *failing, saying("the end"), result='{"error": "no such place"}')
    chat = Chat(log, "their-id")
    chat.turn("Where?", saying("Lisbon"))
    chat.turn("No, I meant the office", saying("Porto"))
    first = LabelQueue(log).proposals(9, disputed=disputed_answers(log))
    rules = [(one.rule, one.found, one.new) for one in LabelRules(log).apply()]
    (row,) = Labels(log).labels()
    target = LabelTargets(log).target(row.target_uid)
    return {
        "queue": sorted((one.reason, one.tool, one.user_text, one.answer, one.result or "") for one in first),
        "rules": rules,
        "target": ([message["content"] for message in target.before], target.place.turn_no, len(target.labels)),
        "conversation": LabelTargets(log).conversation("their-id").uid == target.place.conversation_uid,
        "answer": LabelTargets(log).by_response_id("c").type,
    }


def test_both_databases_say_the_same(tmp_path: Path) -> None:
    with ToolLog.open(tmp_path / "t.db", read_only=False) as log:
        expected = told(log)
    assert {"error", "not_offered", "deep"} == {row[0] for row in expected["queue"]}
    assert ([("user_corrected", 1, 1), ("retried_after_error", 0, 0)], True) == (
        expected["rules"], expected["conversation"]
    )  # fmt: skip
    with postgres() as server, database(server, "labels") as url, ToolLog.open(url, read_only=False) as log:
        assert expected == told(log)
