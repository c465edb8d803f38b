"""The order in which exchanges reach the store does not change what they are linked to."""

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tarx_toollog import ToolLog
from tarx_toollog.config import Settings
from tarx_toollog.model import Exchange
from tarx_toollog.wire.decode import decode
from tests.support.builders import TOOLS, assistant, call, raw_exchange, result, system, user


def dialogue() -> list[tuple[Exchange, Exchange]]:
    """Return the exchanges of one dialogue, each as begun and as finished."""
    recall, remember = call("tarx_recall", {"query": "city"}, "id-1-recall"), call("tarx_remember", {}, "id-2-remember")
    answers = [
        assistant("", recall),
        assistant("", remember),
        assistant("You live in Porto."),
        assistant("You are welcome."),
    ]
    new = [
        [user("Where do I live? Keep it.")],
        [result("id-1-recall", {"facts": {"city": "Porto"}})],
        [result("id-2-remember", {"stored": True})],
        [user("Thanks")],
    ]
    history: list[dict[str, Any]] = []
    made = []
    for number, (messages, answer) in enumerate(zip(new, answers, strict=True)):
        history = [*history, *messages]
        sent = [system(f"It is {number} o'clock."), *history]
        options: dict[str, Any] = {"tools": TOOLS, "at_s": number * 2.0, "uid": f"01a20000-0000-7000-8000-{number:012}"}
        begun = decode(raw_exchange(sent, None, end=False, **options), open_ended=True)
        made.append((begun, decode(raw_exchange(sent, answer, **options))))
        history = [*history, answer]
    return made


DIALOGUE = dialogue()
SUMMARY = {
    "exchanges": "SELECT uid, conversation_how, turn_no, step_no, outcome, assistant_echo FROM exchange ORDER BY uid",
    "conversations": "SELECT COUNT(*) FROM conversation",
    "turns": "SELECT turn_no, signature, n_steps, n_unanswered, status, duration_ms FROM turn ORDER BY turn_no",
    "calls": "SELECT tool, turn_no, step_no, result, match_how, latency_ms FROM v_tool_calls ORDER BY tool",
    "loose results": "SELECT COUNT(*) FROM tool_result WHERE tool_call_id IS NULL",
}


def summary(writes: list[Exchange]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        where = Settings(database=str(Path(folder) / "t.db"))
        with ToolLog.open(settings=where, read_only=False) as log:
            for item in writes:
                log.write([item])
        with ToolLog.open(settings=where) as log:
            return {name: list(log.query(sql).rows) for name, sql in SUMMARY.items()}


IN_ORDER = summary([finished for _, finished in DIALOGUE])


def test_the_dialogue_is_linked_as_expected() -> None:
    assert [(1,)] == IN_ORDER["conversations"]
    assert [
        (1, "tarx_recall>tarx_remember", 3, 0, "answered", 4500.0),
        (2, "", 1, 0, "answered", 500.0),
    ] == IN_ORDER["turns"]


@settings(max_examples=20, deadline=None)
@given(st.permutations([(number, part) for number in range(4) for part in (0, 1)]))
def test_any_order_of_arrival_gives_the_same_rows(order: list[tuple[int, int]]) -> None:
    seen: set[int] = set()
    writes = []
    for number, _ in order:
        # Of an exchange the begun part always comes first.
        writes.append(DIALOGUE[number][number in seen])
        seen.add(number)

    assert IN_ORDER == summary(writes)
