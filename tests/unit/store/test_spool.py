import errno
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tarx_toollog.store.spool import Answer, Body, Decision, Entry, Spool, Written


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    opened = Spool(tmp_path / "spool.db")
    yield opened
    opened.close()


def fill(spool: Spool, *entries: Entry) -> None:
    for entry in entries:
        spool.add(entry, Body(f"[{entry.key}]", "{}") if entry.reason is None else None)


def test_what_comes_out_is_what_went_in(spool: Spool) -> None:
    entry = Entry(
        1, b"h", "tool", "e", 7, "c", 1, 2, 3.5, group="g", registry="dev", calls="a>b", n_tokens=9, label=None
    )
    fill(spool, entry, Entry(2, None, "chat", reason="no_answer"))

    assert [entry] == list(spool.entries())
    assert [1, 2] == [each.key for each in spool.entries(only_in=False)]
    assert (Body("[1]", "{}"), None) == (spool.body(1), spool.body(2))


def test_the_answers_of_an_example_share_its_tokens_and_none_is_lost() -> None:
    answers = json.dumps([Answer("a>b", 3, "x", 1, 1, 1), Answer("", 3, "y", 2, 1, 2), Answer("", 1, "z", 3, 2, 1)])
    entry = Entry(1, b"h", "tool", answers=answers, n_trained=10)

    assert (Answer("a>b", 4, "x", 1, 1, 1), Answer("", 4, "y", 2, 1, 2), Answer("", 2, "z", 3, 2, 1)) == entry.learned
    assert [3, 3, 1] == [answer.n_trained for answer in entry._replace(n_trained=7).learned]
    assert [0, 0, 0] == [answer.n_trained for answer in entry._replace(n_trained=None).learned]
    assert () == Entry(1, b"h", "tool", n_trained=10).learned


def test_of_equal_examples_the_first_stays(spool: Spool) -> None:
    fill(spool, *(Entry(key, b"ab"[key % 2 :][:1], "tool") for key in range(1, 6)))

    spool.drop_duplicates()

    assert [1, 2] == [entry.key for entry in spool.entries()]
    assert ["duplicate"] * 3 == [entry.reason for entry in spool.entries(only_in=False) if entry.reason]


def test_a_refused_example_makes_no_other_a_duplicate(spool: Spool) -> None:
    fill(spool, Entry(1, b"h", "tool", reason="too_long"), Entry(2, b"h", "tool"))

    spool.drop_duplicates()

    assert [2] == [entry.key for entry in spool.entries()]


def test_decisions_may_be_made_while_entries_are_read(spool: Spool) -> None:
    fill(spool, *(Entry(key, bytes([key % 251]), "tool") for key in range(1, 5001)))

    spool.decide(Decision(entry.key, "train", 2, "mixed_out" if entry.key % 2 else None) for entry in spool.entries())

    assert 2500 == sum(1 for _ in spool.entries())
    assert {("train", 2)} == {(entry.split, entry.copies) for entry in spool.entries()}


def test_rows_of_a_split_come_in_order_and_without_those_that_are_left_out(spool: Spool) -> None:
    fill(
        spool,
        *(Entry(key, b"", "tool", n_tokens=n, split=split) for key, n, split in ((1, 30, "train"), (2, 10, "train"))),
        Entry(3, b"", "tool", n_tokens=20, split="dev"),
        Entry(4, b"", "tool", n_tokens=5, split="train", copies=0),
    )

    assert [1, 2] == [entry.key for entry, _ in spool.ordered("train")]
    assert [(3, "[3]")] == [(entry.key, body.prompt) for entry, body in spool.ordered("dev")]


def test_equal_lists_of_tools_are_kept_once(spool: Spool) -> None:
    keys = [spool.tools_key(text) for text in ("[1]", "[2]", "[1]")]

    assert keys[0] == keys[2] != keys[1]
    assert ["[1]", "[2]", None] == [spool.tools_text(keys[0]), spool.tools_text(keys[1]), spool.tools_text(None)]


def test_where_rows_were_written_is_remembered_in_order(spool: Spool) -> None:
    fill(spool, Entry(1, b"", "tool"), Entry(2, b"", "tool"))
    notes = [
        Written("mlx", 2, 0, "train.jsonl", 1),
        Written("mlx", 1, 0, None, None, "needs_mask"),
        Written("trl", 1, 0, "data/train.jsonl", 1),
    ]
    for note in notes:
        spool.note(note)

    assert notes == [written for written, _ in spool.written()]
    assert [2, 1] == [entry.key for _, entry in spool.written("mlx")]


def test_a_full_disk_is_an_error_of_the_system(tmp_path: Path) -> None:
    """SQLite's own limit of pages stands in for the disk."""
    small = Spool(tmp_path / "small.db")
    small._connection.execute("PRAGMA max_page_count = 20")

    with pytest.raises(OSError, match="No space left") as caught:
        fill(small, *(Entry(key, bytes(17), "tool", exchange_uid="x" * 500) for key in range(1, 9000)))

    assert errno.ENOSPC == caught.value.errno
    small.close()
