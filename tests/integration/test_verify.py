"""``toollog db verify``: every byte that the store keeps is held against its hash, every request made again."""

import json
import sqlite3
from pathlib import Path

import pytest

from tarx_toollog import ToolLog
from tarx_toollog.replay.suites.freeze import build
from tarx_toollog.wire.decode import decode
from tests.support.builders import assistant, raw_exchange, user
from tests.support.replays import CHAIN
from tests.unit.cli.samples import bad_chat, good_chat, run, write_log
from tests.unit.replay.support import EVERY_SPLIT, Chat


@pytest.fixture
def database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the path of a log of two chats; it is the one that the command line finds."""
    path = tmp_path / "log.db"
    write_log(path, good_chat(), bad_chat())
    with ToolLog.open(path, read_only=False) as log:
        Chat(log, "z").turn("Where do I live?", *CHAIN)
        Chat(log, "z").turn("Where does she live?", *CHAIN)
        build(log, "t", EVERY_SPLIT)
    monkeypatch.setenv("TOOLLOG_DATABASE", str(path))
    return path


def change(database: Path, sql: str) -> None:
    with sqlite3.connect(database) as connection:
        assert connection.execute(sql).rowcount > 0
    connection.close()


def test_a_store_that_nobody_touched_is_sound(database: Path) -> None:
    result = run("db", "verify", "--json")
    found = json.loads(result.stdout)

    assert (0, True, [], 0) == (result.exit_code, found["ok"], found["problems"], found["not_exact"])
    with sqlite3.connect(database) as connection:
        for table in found["checked"]:
            (n,) = connection.execute(f"SELECT COUNT(*) FROM {table}").fetchone()
            assert n > 0 or table == "raw_body", table
            assert n == found["checked"][table], table
    connection.close()
    assert {"message", "node", "tool_definition", "toolset", "raw_body", "exchange", "suite", "scenario"} == set(
        found["checked"]
    )


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        (
            "UPDATE scenario SET definition = replace(definition, 'user', 'tool') WHERE id = 2",
            "scenario 2: its conte",
        ),
        ("UPDATE scenario SET definition = substr(definition, 1, 99) WHERE id = 1", "scenario 1: cannot be read"),
        ("UPDATE scenario SET hash = zeroblob(17) WHERE id = 2", "suite 1: its scenarios are not those"),
        ("UPDATE scenario SET weight = 7 WHERE id = 1", "suite 1: its scenarios are not those that its hash says"),
        ("UPDATE scenario SET cluster = 'mine' WHERE id = 1", "suite 1: its scenarios are not those that its hash"),
        ("UPDATE scenario SET tag = 'u' WHERE id = 1", "suite 1: it has 3 scenarios of "),
        ("UPDATE suite SET hash = zeroblob(17)", "suite 1: its scenarios are not those that its hash says"),
        ("UPDATE message SET content = content || '!' WHERE role = 'user'", "its content is not what its hash says"),
        ("UPDATE message SET extra = '{\"x\":1}' WHERE id = 1", "message 1: its content is not what its hash says"),
        ("UPDATE node SET message_id = 1 WHERE id = 3", "node 3: its content is not what its hash says"),
        ("UPDATE node SET depth = 9 WHERE id = 2", "its depth does not follow on its parent's"),
        ("UPDATE tool_definition SET raw = '{}' WHERE id = 1", "tool_definition 1: its content"),
        ("UPDATE toolset SET tools_key = 'functions'", "toolset 1: its content is not what its hash says"),
        ("UPDATE exchange SET input_node_id = NULL WHERE id = 2", "exchange 2: its request has"),
        ("UPDATE tool_call SET exchange_id = 2 WHERE id = 1", "rows in tool_call, not"),
        ("UPDATE exchange SET params = '{' WHERE id = 1", "exchange 1: cannot be read"),
    ],
)
def test_what_was_changed_behind_our_back_is_found(sql: str, problem: str, database: Path) -> None:
    change(database, sql)

    result = run("db", "verify")

    assert 6 == result.exit_code
    assert problem in result.stdout


def test_a_request_that_could_not_be_taken_apart_is_counted_with_its_bytes_kept(database: Path) -> None:
    raw = raw_exchange([user("Hi")], assistant("Hello"))
    odd = json.loads(raw.request_body)
    odd["messages"].append("not an object")
    item = decode(type(raw)(raw.begin, json.dumps(odd).encode(), raw.response, raw.chunks, raw.end))
    with ToolLog.open(database, read_only=False) as log:
        log.write([item])
    assert "request_not_exact" in item.notes

    result = run("db", "verify", "--json")

    assert (0, 1) == (result.exit_code, json.loads(result.stdout)["not_exact"])
