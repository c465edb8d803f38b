"""No question of the linker's walks over a whole table: linking costs the same in a small store and in a large one."""

import re
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog import ToolLog
from tarx_toollog.config import Settings
from tarx_toollog.store.frames import ExecutionReport
from tarx_toollog.store.writer import Writer
from tarx_toollog.wire.decode import decode
from tests.support.builders import START_NS, TOOLS, assistant, call, exchange, result, user
from tests.support.long_chat import REWRITES, rewritten

TABLES = ("exchange", "node", "message", "tool_call", "tool_result", "conversation", "turn", "tool_execution")
MADE = assistant("", call("tarx_recall", {"query": "x"}, "call_0"))


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ToolLog]:
    with ToolLog.open(settings=Settings(database=str(tmp_path / "t.db")), read_only=False) as opened:
        yield opened


def traffic(log: ToolLog) -> None:
    """Write exchanges that ask the linker every question that it has."""
    chats = [rewritten([REWRITES[name]]) for name in ("none", "compaction")]
    chats += [rewritten([REWRITES["ids rewritten each turn"], REWRITES["sliding window"]], name="other")]
    for raws in chats:
        log.write(map(decode, raws))
    hint: dict[str, Any] = {"conversation_hint": "s", "hint_source": "header"}
    for number in range(3):
        log.write([exchange([user("Do")], MADE, tools=TOOLS, at_s=500 + number)])
        log.write([exchange([user("Do"), MADE, result("call_0", "x")], assistant("Ok"), at_s=600 + number)])
        log.write([exchange([user(f"{number}"), MADE, result("call_0", "x")], assistant("Ok"), at_s=700, **hint)])
    log.write([exchange([user("Early")], assistant("Hm"), at_s=-10 + number) for number in range(3)])
    report = ExecutionReport(
        uid="01a20000-0000-7000-8000-000000000009",
        started_ns=START_NS + 502 * 10**9,
        took_ns=1,
        source="context",
        call_id="call_0",
    )
    writer = Writer()
    with log.engine.begin() as connection:
        writer.write_execution(connection, report)
        writer.settle(connection)


def test_no_query_of_linking_scans_a_table(log: ToolLog) -> None:
    asked: dict[str, str] = {}  # by the statement without its values: one of each kind is enough

    def note(statement: str) -> None:  # as SQLite runs it, whoever gave it to the driver
        if statement.lstrip().upper().startswith(("SELECT", "WITH", "UPDATE", "DELETE")):
            asked[re.sub(r"[xX]?'(?:[^']|'')*'|\b\d+(?:\.\d+)?\b|\bNULL\b", "?", statement)] = statement

    with log.engine.connect() as writing:  # the one connection of the writer
        driver: Any = writing.connection.driver_connection
    driver.set_trace_callback(note)
    traffic(log)
    driver.set_trace_callback(None)
    assert log.settings.database_path is not None
    scans = []
    with sqlite3.connect(log.settings.database_path) as connection:
        for statement in asked.values():
            if "ORDER BY tool_execution.id DESC" in statement:
                continue  # goes down the primary key and stops after LIMIT rows, which is called a scan as well
            plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}")]
            # One that goes down the primary key and stops after LIMIT rows is called a scan as well.
            scans += [(step, statement) for step in plan if step in {f"SCAN {table}" for table in TABLES}]
    connection.close()

    assert len(asked) > 40
    assert [] == scans


def test_asking_again_costs_the_same_however_often_it_was_asked(log: ToolLog) -> None:
    history = [user("Do"), assistant("Ok"), user("Again")]
    log.write([exchange(history[:1], assistant("Ok"))])
    blocks = []
    for block in range(10):
        start = time.process_time()
        for number in range(50):
            at_s = 50 * block + number + 1
            log.write([exchange(history, assistant(f"Answer {at_s}"), at_s=at_s)])
        blocks.append(time.process_time() - start)

    assert min(blocks[-3:]) < 2 * min(blocks[:3])
