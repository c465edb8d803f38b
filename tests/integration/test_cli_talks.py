"""``toollog log search`` and ``toollog conversations show --tree``."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tarx_toollog import ToolLog
from tarx_toollog.store.search import UNINDEXED, count_waiting
from tests.support.talk_pages import write_talks
from tests.unit.cli.samples import rows, run


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_talks(tmp_path_factory.mktemp("written") / "log.db")


@pytest.fixture
def database(written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "log.db"
    path.write_bytes(written.read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TOOLLOG_DATABASE", str(path))
    return path


def test_words_are_found_newest_first_with_their_place(database: Path) -> None:
    found = rows("log", "search", "TRAMS", "--role", "user")
    assert [("talk-3", 1, 1), ("talk-2", 1, 1), ("talk-1", 1, 1)] == [
        (row["conversation_uid"], row["turn_no"], row["step_no"]) for row in found
    ]
    assert "remember the trams" in found[0]["snippet"]
    assert ["arguments"] * 6 == [row["place"] for row in rows("log", "search", "trams", "--place", "arguments")]
    assert 2 == len(rows("log", "search", "trams", "-n", "2"))
    assert ["talk-4"] == [
        row["conversation_uid"] for row in rows("log", "search", "tiles", "--label", "expected", "-n", "1")
    ]
    assert [] == rows("log", "search", "trams", "--where", "tool = 'tarx_fly'")


def test_nothing_found_is_said_and_a_search_for_no_word_is_refused(database: Path) -> None:
    assert "nothing matched\n" == run("log", "search", "xylophone").stderr
    refused = run("log", "search", "...")
    assert (2, True) == (refused.exit_code, "no word to look for" in refused.stderr)


def waiting(path: Path) -> int:
    with ToolLog.open(path) as log, log.engine.connect() as connection:
        return count_waiting(connection)


def test_a_long_log_is_indexed_before_it_is_searched(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = waiting(database)
    rows("log", "search", "trams")
    assert 0 < before == waiting(database) < UNINDEXED  # so few are read through
    monkeypatch.setattr("tarx_toollog.cli.log.UNINDEXED", 10)
    assert 3 == len(rows("log", "search", "trams", "--role", "user"))
    assert 0 == waiting(database)


def test_a_log_that_cannot_be_written_is_searched_all_the_same(database: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tarx_toollog.cli.log.UNINDEXED", 10)
    monkeypatch.setattr("tarx_toollog.store.engine.BUSY_TIMEOUT_S", 0.1)
    with closing(sqlite3.connect(database)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert 3 == len(rows("log", "search", "trams", "--role", "user"))
    assert waiting(database) > 0


def branched() -> str:
    (uid,) = {row["conversation_uid"] for row in rows("log", "search", "Faro")}
    return str(uid)


def test_a_tree_has_the_branches_beside_the_main_line(database: Path) -> None:
    lines = [
        line.partition("  [")[0] for line in run("conversations", "show", branched(), "--tree").stdout.splitlines()
    ]
    assert [
        "",
        "turn 1, answered: Where do I live?",
        "├─ step 1  tarx_recall (ok)",
        "├─ step 2  In Porto.",
        "└─ answered another time",
        "   └─ step 2  You live in Porto.",
        "",
        "turn 2, answered: And she?",
        "├─ step 1  In Faro.",
        "└─ asked otherwise: Since when?",
        "   └─ step 1  Since May.",
    ] == lines[1:]


def test_a_tree_names_faults_and_what_came_back(database: Path) -> None:
    text = run("conversations", "show", "talk-4", "--tree").stdout
    assert "├─ step 1  tarx_remember (against its schema, error)  [" in text
    assert "├─ step 1  upstream_error" not in text
    assert "└─ step 1  upstream_error" in run("conversations", "show", "talk-9", "--tree").stdout
    assert "tarx_fly (not offered, no result)" in run("conversations", "show", "talk-7", "--tree").stdout


def test_a_tree_as_json_has_the_ids(database: Path) -> None:
    value = json.loads(run("conversations", "show", branched(), "--tree", "--json").stdout)
    first, second = value["turns"]
    assert ["", "In Porto."] == [step["answer"] for step in first["steps"]]
    assert [None, "Since when?"] == [branch["user_text"] for branch in (*first["branches"], *second["branches"])]
    assert 36 == len(second["branches"][0]["steps"][0]["exchange_uid"])


def test_a_tree_of_nothing_is_refused(database: Path) -> None:
    assert 3 == run("conversations", "show", "none", "--tree").exit_code
