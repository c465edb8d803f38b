"""Builds of training data in the store: how one is written, and what the next one learns of it."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tarx_toollog.canonical import content_hash
from tarx_toollog.errors import ConfigError, NothingMatchedError, StoreError
from tarx_toollog.store.datasets import BATCH, DatasetExampleRow, Datasets, NewBuild, PriorRow
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.schema import dataset_example
from tarx_toollog.store.suites import NewScenario, Suites
from tests.support.builders import assistant, exchange, user

NEW = NewBuild(None, None, "sft", "step", ("mlx", "trl"), {"seed": 7, "near": 0.8}, 3)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ToolLog]:
    with ToolLog.open(tmp_path / "t.db", read_only=False) as opened:
        yield opened


@pytest.fixture
def datasets(log: ToolLog) -> Datasets:
    return Datasets(log)


def example(number: int, split: str | None = "train", **values: Any) -> DatasetExampleRow:
    made = DatasetExampleRow(
        content_hash("example", number), "tool", split=split, copies=1, n_tokens=100, n_trained_tokens=10
    )
    return made._replace(**values)


def left_out(reason: str, **values: Any) -> DatasetExampleRow:
    return DatasetExampleRow(None, "tool", reason=reason)._replace(**values)


def build(datasets: Datasets, rows: Sequence[DatasetExampleRow], **changes: Any) -> str:
    """Write a whole build and return its name."""
    made = datasets.start(replace(NEW, **changes))
    datasets.add(made.id, rows)
    datasets.finish(made.id, {}, [])
    return made.name


def stored(log: ToolLog, build_id: int) -> list[tuple[int, DatasetExampleRow]]:
    """Return the examples of a build with their numbers."""
    columns = [dataset_example.c[name] for name in ("seq", *DatasetExampleRow._fields)]
    query = sa.select(*columns).where(dataset_example.c.dataset_build_id == build_id)
    with log.engine.connect() as connection:
        rows = connection.execute(query.order_by(dataset_example.c.seq))
        return [(row.seq, DatasetExampleRow(*row[1:])) for row in rows]


def test_a_build_is_written_from_beginning_to_end(log: ToolLog, datasets: Datasets) -> None:
    (key,) = log.write([exchange([user("Hello")], assistant("Hi"))])
    rows = [
        example(1, exchange_id=key, copies=4, tokens_from="usage"),
        example(2, "dev", source="identity", origin="identity\0\ud800.jsonl:12"),
        left_out("not_completed", exchange_id=key),
    ]
    begun = datasets.start(NEW)
    assert ("v1", "writing", None, None) == (begun.name, begun.status, begun.n_examples, begun.finished_at)

    assert 2 == datasets.add(begun.id, rows[:2])
    assert 1 == datasets.add(begun.id, rows[2:])
    datasets.finish(begun.id, {"gate": {"in": 3, "out": 2}}, [{"path": "mlx/train.jsonl", "rows": 4}])

    done = datasets.build("v1")
    assert ("finished", 2, 1, 40) == (done.status, done.n_examples, done.n_left_out, done.n_trained_tokens)
    assert ({"gate": {"in": 3, "out": 2}}, [{"path": "mlx/train.jsonl", "rows": 4}]) == (done.counts, done.files)
    assert (["mlx", "trl"], {"seed": 7, "near": 0.8}, 3) == (done.formats, done.config, done.last_exchange_id)
    assert done.finished_at is not None
    assert list(enumerate(rows, 1)) == stored(log, done.id)


def test_the_hash_of_the_configuration_does_not_depend_on_the_order_of_its_keys(datasets: Datasets) -> None:
    one = datasets.start(NEW)
    other = datasets.start(replace(NEW, config={"near": 0.8, "seed": 7}))
    third = datasets.start(replace(NEW, config={"near": 0.9, "seed": 7}))

    assert one.config_hash == other.config_hash != third.config_hash


def test_a_build_without_a_name_gets_the_next_number(datasets: Datasets) -> None:
    names = [datasets.start(replace(NEW, name=name)).name for name in (None, "first", None, "v7", "v08", None)]

    assert ["v1", "first", "v2", "v7", "v08", "v8"] == names
    assert names[::-1] == [row.name for row in datasets.builds()]


def test_the_name_of_a_finished_build_is_taken_for_good(datasets: Datasets) -> None:
    build(datasets, [example(1)], name="mine")

    for is_replaced in (False, True):
        with pytest.raises(ConfigError, match="called 'mine' already"):
            datasets.start(replace(NEW, name="mine"), replace=is_replaced)
    assert 1 == datasets.build("mine").n_examples


def test_what_a_killed_process_left_is_shown_and_gives_its_name_only_when_told_to(
    log: ToolLog, datasets: Datasets
) -> None:
    killed = datasets.start(replace(NEW, name="mine"))
    datasets.add(killed.id, map(example, range(BATCH + 1)))

    assert ["writing"] == [row.status for row in datasets.builds()]
    with pytest.raises(ConfigError, match="is being written") as caught:
        datasets.start(replace(NEW, name="mine"))
    assert "--replace-build" in caught.value.hint

    again = datasets.start(replace(NEW, name="mine"), replace=True)
    datasets.add(again.id, [example(1)])
    assert [again.uid] == [row.uid for row in datasets.builds()]
    assert [(1,)] == list(log.query("SELECT COUNT(*) FROM dataset_example").rows)


def test_a_build_that_failed_gives_its_name(datasets: Datasets) -> None:
    failed = datasets.start(replace(NEW, name="mine"))
    datasets.fail(failed.id)
    assert ("failed", None) == (datasets.build("mine").status, datasets.build("mine").n_examples)

    assert "writing" == datasets.start(replace(NEW, name="mine")).status
    assert 1 == len(datasets.builds())


def test_a_build_goes_on_from_a_finished_one_only(datasets: Datasets) -> None:
    with pytest.raises(NothingMatchedError, match="'v1'"):
        datasets.start(replace(NEW, parent="v1"))
    begun = datasets.start(NEW)
    with pytest.raises(ConfigError, match="is writing"):
        datasets.start(replace(NEW, parent="v1"))
    datasets.finish(begun.id, {}, [])

    assert "v1" == datasets.start(replace(NEW, parent="v1")).parent


def test_others_write_while_a_build_reads_its_rows(log: ToolLog, datasets: Datasets) -> None:
    written = []

    def rows() -> Iterator[DatasetExampleRow]:
        with ToolLog.open(settings=log.settings, read_only=False) as live:
            for number in range(2 * BATCH + 1):
                if number % BATCH == BATCH - 1:
                    # A lock that is held would make it wait until it gives up.
                    written.extend(live.write([exchange([user(f"{number}")], assistant("Hi"))]))
                yield example(number)

    assert 2 * BATCH + 1 == datasets.add(datasets.start(NEW).id, rows())
    assert [1, 2] == written


def test_rows_that_cannot_be_read_leave_what_is_there_and_the_build_unfinished(
    log: ToolLog, datasets: Datasets
) -> None:
    def rows() -> Iterator[DatasetExampleRow]:
        yield from map(example, range(BATCH + 5))
        raise OSError("the disk is gone")

    begun = datasets.start(NEW)
    with pytest.raises(OSError, match="gone"):
        datasets.add(begun.id, rows())
    assert "writing" == datasets.build("v1").status
    assert BATCH == len(stored(log, begun.id))


def test_the_next_build_learns_where_everything_was(log: ToolLog, datasets: Datasets) -> None:
    keys = log.write([exchange([user(f"{n}")], assistant("Hi"), client_key=f"c{n}") for n in range(2)])
    uids = [row[0] for row in log.query("SELECT uid FROM conversation ORDER BY id").rows]
    many = [example(100 + number, "train") for number in range(BATCH)]
    name = build(
        datasets,
        [
            example(1, "train", exchange_id=keys[0]),
            left_out("duplicate", exchange_id=keys[0], example_hash=example(1).example_hash),
            *many,
            example(2, "dev", exchange_id=keys[1]),
            example(3, "eval", origin="identity.jsonl:1"),
        ],
    )
    build(datasets, [example(9)])

    assert [
        PriorRow(content_hash("example", 1), uids[0], "train"),
        *(PriorRow(content_hash("example", 100 + number), None, "train") for number in range(BATCH)),
        PriorRow(content_hash("example", 2), uids[1], "dev"),
        PriorRow(content_hash("example", 3), None, "eval"),
    ] == list(datasets.prior(name))


def test_a_build_that_is_not_whole_says_nothing_about_splits(datasets: Datasets) -> None:
    datasets.start(NEW)

    with pytest.raises(ConfigError, match="is writing"):
        list(datasets.prior("v1"))


def test_every_scenario_of_every_tag_is_told(log: ToolLog, datasets: Datasets) -> None:
    for tag, numbers in (("t", range(250)), ("u", range(249, 252))):
        made = [NewScenario(n.to_bytes(17, "big"), f"c{n}", n, "a", 1, "bronze", {"n": n}) for n in numbers]
        Suites(log).freeze(tag, made, {})

    found = [
        (frozen.tag, frozen.conversation_uid, frozen.turn_no, frozen.definition) for frozen in datasets.scenarios()
    ]
    assert [("t", f"c{n}", n, {"n": n}) for n in range(250)] == found[:250]
    assert [("u", f"c{n}", n, {"n": n}) for n in (249, 250, 251)] == found[250:]


def test_a_log_that_is_open_for_reading_refuses_in_words(log: ToolLog) -> None:
    with ToolLog.open(settings=log.settings) as reader, pytest.raises(StoreError):
        Datasets(reader).start(NEW)


def test_an_exchange_that_is_not_there_is_refused(datasets: Datasets) -> None:
    with pytest.raises(StoreError, match="FOREIGN KEY"):
        datasets.add(datasets.start(NEW).id, [example(1, exchange_id=99)])
