"""Redaction of what is derived: the index of all words holds words, too."""

import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tarx_toollog.config import Settings
from tarx_toollog.redaction import Policy, Redactor
from tarx_toollog.store.filters import Filters
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.search import catch_up, search
from tarx_toollog.store.secret import load_secret
from tarx_toollog.store.tallies import changed_days, fold_changed
from tests.support.builders import assistant, exchange, user
from tests.support.redaction import API_KEY, apply, dialogue, fill, stored_bytes

SECRET = max(re.findall("[a-z0-9]+", API_KEY.lower()), key=len).encode()
"""What of the key is one word; an index holds it in small letters."""


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)  # a toollog.toml of the person who runs the tests must not be read
    made = Settings(database=str(tmp_path / "t.db"))
    asked = user(f"lighthouse {API_KEY}")
    fill(made, [*dialogue(), exchange([asked], assistant("ok"), at_s=300, client_key="c4")])
    with ToolLog.open(settings=made, read_only=False) as log:
        assert catch_up(log.engine)
        assert fold_changed(log.engine)
    with closing(sqlite3.connect(made.database)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return made


def test_no_word_of_a_value_is_left_in_the_index(settings: Settings) -> None:
    assert SECRET in stored_bytes(settings)  # in small letters it stands in the index alone

    apply(settings, Redactor(Policy.load("all"), load_secret(settings)))

    assert SECRET not in stored_bytes(settings)


def test_search_and_counts_go_on_after_it(settings: Settings) -> None:
    apply(settings, Redactor(Policy.load("all"), load_secret(settings)))

    with ToolLog.open(settings=settings, read_only=False) as log:
        for _ in range(2):  # read through, then indexed again
            with log.engine.connect() as connection:
                assert 1 == len(search(connection, "lighthouse", Filters()).hits)
                assert [] == changed_days(connection)
            catch_up(log.engine)
