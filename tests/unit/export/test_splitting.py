"""Each rule of the split, by itself; that they hold together is shown in ``tests/property/test_export_near.py``."""

from typing import Any

from tarx_toollog.export.example import Split
from tarx_toollog.export.reasons import REASONS
from tarx_toollog.export.splitting import CONFLICT, Item, assign, split_of_name
from tarx_toollog.store.splits import bucket_of, split_of_bucket


def splits(*items: Item, **options: Any) -> list[Split | None]:
    assignment = assign(items, **options)
    assert [item.key for item in items] == [key for key, _ in assignment]
    return [split for _, split in assignment]


def test_nothing_is_assigned_to_nothing() -> None:
    assert 0 == len(assign([]))


def test_a_conversation_goes_where_the_registry_says() -> None:
    assert ["train", "dev", "eval", "train"] == splits(
        Item(5, "train", conversation=0),
        Item(6, "dev", conversation=1),
        Item(7, "eval", conversation=2),
        Item(9, "train", conversation=0),
    )


def test_a_conversation_of_the_parent_build_stays_with_all_its_new_examples() -> None:
    assert ["dev", "dev"] == splits(Item(1, "train", conversation=0), Item(2, "train", conversation=0, prior="dev"))


def test_by_time_a_conversation_goes_by_its_beginning() -> None:
    assert ["train", "train", "dev", "eval", "train", "dev"] == splits(
        Item(1, "dev", conversation=0, started_at=99.0),
        Item(2, "dev", conversation=0, started_at=101.0),
        Item(3, "train", conversation=1, started_at=100.0),
        Item(4, "eval", conversation=2, started_at=1.0),
        Item(5, "train", conversation=3, started_at=200.0, prior="train"),
        Item(6, "dev", conversation=4),
        time=100.0,
    )


def test_a_cluster_goes_with_its_oldest_and_the_others_are_left_out() -> None:
    assert ["dev", "train", None, "dev"] == splits(
        Item(1, "dev", conversation=0, cluster=7),
        Item(2, "train", conversation=1),
        Item(3, "train", conversation=1, cluster=7),
        Item(4, "dev", conversation=2, cluster=7),
    )


def test_a_cluster_with_a_test_in_it_is_for_tests() -> None:
    assert [None, None, "eval"] == splits(
        Item(1, "train", conversation=0, cluster=0),
        Item(2, "dev", conversation=1, cluster=0),
        Item(3, "eval", conversation=2, cluster=0),
    )


def test_the_parent_build_counts_more_than_the_oldest_and_than_a_test() -> None:
    assert [None, "train", None] == splits(
        Item(1, "dev", conversation=0, cluster=0),
        Item(2, "train", conversation=1, cluster=0, prior="train"),
        Item(3, "eval", conversation=2, cluster=0),
    )


def test_what_the_parent_build_has_torn_apart_stays_and_what_connects_it_is_left_out() -> None:
    assert ["train", "dev", None, None] == splits(
        Item(1, "train", conversation=0, cluster=0, prior="train"),
        Item(2, "dev", conversation=1, cluster=0, prior="dev"),
        Item(3, "train", conversation=2, cluster=0),
        Item(4, "train", cluster=0),
    )


def test_without_a_conversation_an_example_goes_with_its_cluster() -> None:
    assert ["train", "train"] == splits(Item(1, "dev", cluster=0), Item(2, "train", conversation=0, cluster=0))
    assert ["dev", "dev"] == splits(Item(1, "dev", cluster=0), Item(2, "train", cluster=0))
    assert ["dev"] == splits(Item(1, "dev"))


def test_a_name_goes_where_the_registry_would_put_it() -> None:
    for name in ("who-are-you", "what-can-you-do", "0193"):
        assert split_of_bucket(bucket_of(name)) == split_of_name(name)


def test_the_reason_is_one_that_reports_know() -> None:
    assert CONFLICT in REASONS
