"""What a conversation is kept for: decided when it is first logged, shown everywhere, and obeyed by replay."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog.errors import ConfigError, NothingMatchedError
from tarx_toollog.replay.scenario import Scenario
from tarx_toollog.replay.suites.freeze import build
from tarx_toollog.store.answers import queries
from tarx_toollog.store.answers.tools import tool_stats
from tarx_toollog.store.filters import Filters
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.splits import SPLITS, bucket_of, split_of_bucket
from tarx_toollog.store.suites import Suites
from tests.unit.cli.samples import run
from tests.unit.replay.support import EVERY_SPLIT, Chat, calling, saying

RECALL = ("recall", {"query": "home"})


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ToolLog]:
    with ToolLog.open(tmp_path / "t.db", read_only=False) as opened:
        yield opened


def keep_for(log: ToolLog, client_id: str, split: str) -> None:
    """Decide what chance has decided, so that a test knows it."""
    with log.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE conversation SET split = ? WHERE external_id = ?", (split, client_id))


@pytest.fixture
def three(log: ToolLog) -> ToolLog:
    """A conversation of two turns for each split."""
    for split in SPLITS:
        chat = Chat(log, split)
        chat.turn(f"one of {split}", calling(RECALL), saying("done"))
        chat.turn(f"two of {split}", saying("done"))
        keep_for(log, split, split)
    return log


def rows(log: ToolLog, sql: str) -> list[tuple[Any, ...]]:
    return list(log.query(sql).rows)


def frozen_from(log: ToolLog, tag: str = "t") -> set[str | None]:
    """Return the client ids of the conversations that a set of scenarios was frozen from."""
    sql = (
        "SELECT DISTINCT c.external_id FROM scenario s JOIN conversation c ON c.uid = s.conversation_uid WHERE s.tag = "
    )
    return {row[0] for row in rows(log, f"{sql}'{tag}'")}


# ---- the registry ---------------------------------------------------------------------------------------------------


def test_chance_gives_eighty_of_a_hundred_to_training_and_ten_each_to_the_others() -> None:
    given = [split_of_bucket(bucket) for bucket in range(100)]
    assert [80, 10, 10] == [given.count(split) for split in SPLITS]
    assert {*range(100)} == {bucket_of(f"uid {number}") for number in range(5000)}


def test_a_conversation_gets_its_split_with_its_first_exchange_and_keeps_it(log: ToolLog) -> None:
    for number in range(40):
        Chat(log, f"c{number}").turn("hello", saying("Hi"))
    first = rows(log, "SELECT uid, split_bucket, split FROM conversation ORDER BY id")
    assert [(uid, bucket_of(uid), split_of_bucket(bucket_of(uid))) for uid, _, _ in first] == first

    other = "eval" if first[0][2] != "eval" else "train"
    keep_for(log, "c0", other)
    Chat(log, "c0", history=[{"role": "user", "content": "hello"}, saying("Hi")]).turn("again", saying("Hi"))
    assert [(other, 2)] == rows(log, "SELECT split, turn_no FROM v_exchanges ORDER BY started_at DESC LIMIT 1")


def test_views_lists_and_filters_know_the_split(three: ToolLog) -> None:
    assert dict.fromkeys(SPLITS, 2) == queries.turns_by_split(three.engine, Filters())
    for split in SPLITS:
        only = Filters.parse(splits=[split])
        assert [split] == [row["external_id"] for row in queries.conversations(three.engine, only)]
        assert [split] == [row["split"] for row in queries.conversations(three.engine, only)]
        assert 3 == len(list(queries.exchanges(three.engine, only)))
        assert [1] == [row["calls"] for row in tool_stats(three.engine, only)]
        assert [split, split] == [turn.split for turn in three.trajectories(only)]
        assert {split: 1} == queries.turns_by_split(three.engine, replace(only, tools=frozenset({"recall"})))
    for view in ("v_exchanges", "v_tool_calls", "v_chains"):
        assert [(split,) for split in sorted(SPLITS)] == rows(three, f"SELECT DISTINCT split FROM {view} ORDER BY 1")


def test_an_unknown_split_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="'test'") as caught:
        Filters.parse(splits=["test"])

    assert "eval" in caught.value.hint
    assert {"splits": ["dev", "eval"]} == Filters.parse(splits=["eval", "dev"]).as_json()


# ---- replay ---------------------------------------------------------------------------------------------------------


def test_replay_freezes_what_is_kept_for_evaluation_and_counts_what_it_leaves(three: ToolLog) -> None:
    report = build(three, "t")

    assert (2, 2, ("eval",), {"dev": 2, "train": 2}) == (report.turns, report.taken, report.splits, report.kept_for)
    assert {"eval"} == frozen_from(three)


def test_what_is_left_is_counted_among_what_the_filters_mean(three: ToolLog) -> None:
    report = build(three, "t", Filters(tools=frozenset({"recall"}), limit=1))

    assert (1, {"dev": 1, "train": 1}) == (report.turns, report.kept_for)


def test_other_splits_are_taken_when_somebody_says_so_and_every_scenario_remembers(three: ToolLog) -> None:
    report = build(three, "t", Filters(splits=frozenset({"eval", "train"})))

    assert (4, ("eval", "train"), {"dev": 2}) == (report.taken, report.splits, report.kept_for)
    scenarios = [Scenario.from_json(row.definition) for row in Suites(three).scenarios("t")]
    splits = dict(rows(three, "SELECT uid, split FROM conversation"))
    assert ["eval", "eval", "train", "train"] == sorted(splits[one.conversation_uid] for one in scenarios)
    assert [splits[one.conversation_uid] for one in scenarios] == [one.split for one in scenarios]


def test_a_small_log_says_why_nothing_is_left_and_what_to_type(three: ToolLog) -> None:
    keep_for(three, "eval", "train")
    with pytest.raises(NothingMatchedError, match="kept for eval; there are 2 of dev and 4 of train") as caught:
        build(three, "t")

    assert "--split dev --split eval --split train" in caught.value.hint
    with pytest.raises(NothingMatchedError, match="no turn matches") as nothing:
        build(three, "t", Filters(tools=frozenset({"search"})))
    assert "--split" not in nothing.value.hint


def test_a_definition_of_an_earlier_version_is_read_on(three: ToolLog) -> None:
    build(three, "t", EVERY_SPLIT)
    (row, *_) = Suites(three).scenarios("t")
    definition = json.loads(json.dumps(row.definition))
    del definition["source"]["split"]

    older = Scenario.from_json(definition)
    assert older.split is None
    assert older.content_hash == Scenario.from_json(row.definition).content_hash


def typed(log: ToolLog, *arguments: str) -> str:
    result = run("--database", log.settings.database, *arguments)
    assert 0 == result.exit_code, result.stderr
    return result.stdout


def test_the_command_says_what_it_left_and_what_an_override_means(three: ToolLog) -> None:
    text = typed(three, "replay", "build", "--tag", "t")
    assert "4 more turns match; their conversations are kept for: dev 2, train 2" in text
    assert "trained" not in text

    text = typed(three, "replay", "build", "--tag", "u", "--split", "eval", "--split", "train")
    assert "2 more turns match; their conversations are kept for: dev 2" in text
    assert "with conversations kept for train: a model may have been trained on them" in text
    (row,) = json.loads(typed(three, "conversations", "list", "--split", "dev", "--json"))
    assert "dev" == row["split"]
    assert 3 == len(json.loads(typed(three, "log", "list", "--split", "dev", "--json")))
