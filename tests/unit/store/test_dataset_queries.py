"""Why an example is in a build or not, and what has changed between two builds."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarx_toollog.canonical import content_hash
from tarx_toollog.errors import ConfigError, NothingMatchedError
from tarx_toollog.store.dataset_diff import DiffRow, diff
from tarx_toollog.store.dataset_queries import parts, why
from tarx_toollog.store.datasets import BuildRow, DatasetExampleRow, Datasets, NewBuild
from tarx_toollog.store.log import ToolLog
from tests.support.builders import assistant, exchange, user

NEW = NewBuild(None, None, "sft", "step", ("mlx",), {}, 0)


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ToolLog]:
    """A log of four exchanges, whose keys are 1 to 4."""
    with ToolLog.open(tmp_path / "t.db", read_only=False) as opened:
        opened.write([exchange([user(f"{n}")], assistant("Hi"), client_key=f"c{n}") for n in range(4)])
        yield opened


def hashed(number: int) -> bytes:
    return content_hash("example", number)


def example(number: int, exchange_id: int | None = None, **values: Any) -> DatasetExampleRow:
    made = DatasetExampleRow(
        hashed(number), "tool", exchange_id, split="train", copies=1, n_tokens=100, n_trained_tokens=10
    )
    return made._replace(**values)


def left_out(reason: str, exchange_id: int | None = None, number: int | None = None) -> DatasetExampleRow:
    return DatasetExampleRow(None if number is None else hashed(number), "tool", exchange_id, reason=reason)


def build(log: ToolLog, rows: Sequence[DatasetExampleRow], last_exchange_id: int = 4) -> BuildRow:
    """Write a whole build: v1, v2 …"""
    datasets = Datasets(log)
    made = datasets.start(replace(NEW, last_exchange_id=last_exchange_id))
    datasets.add(made.id, rows)
    datasets.finish(made.id, {}, [])
    return datasets.build(made.name)


def uid(log: ToolLog, exchange_id: int) -> str:
    return log.exchange_by_id(exchange_id).uid


def said(rows: Sequence[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(row["build"], row["state"], row["split"], row["copies"], row["reason"]) for row in rows]


def test_an_example_is_told_with_its_place_in_every_build(log: ToolLog) -> None:
    build(log, [example(1, 1, copies=4)])
    build(log, [example(7, 2), example(1, 1, split="dev", tokens_from="usage")])

    rows = why(log.engine, hashed(1).hex()[:12])
    assert [("v1", "in", "train", 4, None), ("v2", "in", "dev", 1, None)] == said(rows)
    (place,) = log.query("SELECT uid, split FROM conversation WHERE id = 1").rows
    assert {
        "seq": 2,
        "example_id": hashed(1).hex(),
        "source": "tool",
        "n_tokens": 100,
        "n_trained_tokens": 10,
        "tokens_from": "usage",
        "exchange_uid": uid(log, 1),
        "conversation_uid": place[0],
        "conversation_split": place[1],
        "turn_no": 1,
        "step_no": 1,
        "origin": None,
        "build_status": "finished",
    }.items() <= rows[1].items()


def test_an_exchange_is_told_with_the_reason_that_each_build_had(log: ToolLog) -> None:
    build(log, [example(1, 1)], last_exchange_id=2)
    build(log, [left_out("error_result", 3), left_out("mixed_out", 2, 5)])
    build(log, [example(3, 3)])
    begun = Datasets(log).start(NEW)

    assert [
        ("v1", "out", None, 0, "logged_later"),
        ("v2", "out", None, 0, "error_result"),
        ("v3", "in", "train", 1, None),
        ("v4", "out", None, 0, "logged_later"),
    ] == said(why(log.engine, uid(log, 3)))
    Datasets(log).fail(begun.id)
    assert [
        ("v1", "out", None, 0, "not_selected"),
        ("v2", "out", None, 0, "mixed_out"),
        ("v3", "out", None, 0, "not_selected"),
        ("v4", "out", None, 0, "logged_later"),
    ] == said(why(log.engine, uid(log, 2)))
    assert [("v3", "out", None, 0, "not_selected")] == said(why(log.engine, uid(log, 2), "v3"))


def test_a_build_that_was_never_finished_says_that_it_was_not(log: ToolLog) -> None:
    Datasets(log).start(replace(NEW, last_exchange_id=4))

    assert [("v1", "out", None, 0, "not_finished")] == said(why(log.engine, uid(log, 1)))


def test_a_build_that_knows_an_example_by_its_exchange_only_says_what_became_of_that(log: ToolLog) -> None:
    build(log, [example(1, 1)])
    build(log, [left_out("labelled_bad", 1)])
    build(log, [example(11, 1, copies=3)])

    rows = why(log.engine, hashed(1).hex())
    assert [
        ("v1", "in", "train", 1, None),
        ("v2", "out", None, 0, "labelled_bad"),
        ("v3", "out", None, 0, "changed"),
    ] == said(rows)
    assert [hashed(1).hex(), None, hashed(11).hex()] == [row["example_id"] for row in rows]


def test_a_line_of_a_file_is_found_by_its_place(log: ToolLog) -> None:
    build(log, [example(1, None, origin="identity.jsonl:12", source="identity"), example(2, 2)])
    build(log, [example(2, 2)])

    (known, silent) = why(log.engine, "identity.jsonl:12")
    assert [("v1", "in", "train", 1, None), ("v2", "out", None, 0, "not_selected")] == said([known, silent])
    assert ("identity.jsonl:12", None) == (silent["origin"], silent["exchange_uid"])
    with pytest.raises(NothingMatchedError, match="no build knows"):
        why(log.engine, "identity.jsonl:1")


def test_what_fits_several_things_is_asked_for_again_and_what_fits_none_is_told(log: ToolLog) -> None:
    build(log, [example(1, 1), example(2, 2)])

    with pytest.raises(ConfigError, match=r"fits example 01\w+, example 01\w+") as caught:
        why(log.engine, "01")
    assert "more of the id" in caught.value.hint
    for unknown in ("ffff", "", "%", "nothing"):
        with pytest.raises(NothingMatchedError, match="no example"):
            why(log.engine, unknown)
    with pytest.raises(NothingMatchedError, match="no build called 'v9'"):
        why(log.engine, hashed(1).hex(), "v9")


def test_before_the_first_build_there_is_nothing_to_ask(log: ToolLog) -> None:
    with pytest.raises(NothingMatchedError, match="no build yet"):
        why(log.engine, uid(log, 1))


def test_what_a_build_is_made_of_adds_up(log: ToolLog) -> None:
    made = build(
        log,
        [
            example(1, 1, copies=4),
            example(2, 2),
            example(3, 3, split="dev"),
            example(4, source="identity", origin="i:1", copies=2),
            left_out("duplicate", 4, 1),
            left_out("not_completed", 4),
            left_out("not_completed", 4),
        ],
    )

    shown = [tuple(row.values()) for row in parts(log.engine, made.id)]
    assert [
        ("identity", "train", None, 1, 2, 20),
        ("tool", "dev", None, 1, 1, 10),
        ("tool", "train", None, 2, 5, 50),
        ("tool", None, "duplicate", 1, 0, 0),
        ("tool", None, "not_completed", 2, 0, 0),
    ] == shown
    assert (4, 3, 70) == (made.n_examples, made.n_left_out, made.n_trained_tokens)


def test_a_dialogue_has_a_row_for_each_exchange_and_is_one_example(log: ToolLog) -> None:
    made = build(log, [*dialogue(1, 1, 2, 3), *dialogue(2, 4, reason="too_long", copies=0, split=None)])

    assert [("tool", "train", None, 1, 2, 60), ("tool", None, "too_long", 1, 0, 0)] == [
        tuple(row.values()) for row in parts(log.engine, made.id)
    ]
    assert (1, 1, 60) == (made.n_examples, made.n_left_out, made.n_trained_tokens)
    assert [("v1", "in", "train", 2, None)] == said(why(log.engine, hashed(1).hex()))
    for exchange_id, n_tokens in ((1, None), (2, None), (3, 100)):
        (row,) = why(log.engine, uid(log, exchange_id))
        assert ("in", 2, 10, n_tokens) == (row["state"], row["copies"], row["n_trained_tokens"], row["n_tokens"])
    assert [("v1", "out", None, 0, "too_long")] == said(why(log.engine, uid(log, 4)))


def dialogue(number: int, *exchange_ids: int, **values: Any) -> list[DatasetExampleRow]:
    """Return the rows of a dialogue: that of its line is the last."""
    line = example(number, exchange_ids[-1], **{"copies": 2, **values})
    return [*(line._replace(exchange_id=key, n_tokens=None) for key in exchange_ids[:-1]), line]


# ---- diff -----------------------------------------------------------------------------------------------------------


def test_equal_builds_do_not_differ(log: ToolLog) -> None:
    rows = [example(1, 1), left_out("duplicate", 2, 1), left_out("not_completed", 3)]

    assert [] == list(diff(log.engine, build(log, rows), build(log, rows[::-1])))


def test_each_kind_of_change_is_told_with_its_reason(log: ToolLog) -> None:
    before = build(
        log,
        [
            example(1, 1),  # stays
            example(2, 2),  # moves
            example(3, None, origin="i:1", copies=4),  # copies
            example(4, 3),  # removed: mixed out
            example(5, 1),  # removed: gone at the gate, where it had no hash
            example(6, None, origin="i:2"),  # removed: the line is not there any more
        ],
        last_exchange_id=3,
    )
    after = build(
        log,
        [
            example(1, 1),
            example(2, 2, split="dev"),
            example(3, None, origin="i:1", copies=2),
            left_out("mixed_out", 3, 4),
            left_out("labelled_bad", 1),
            example(7, 4),  # added: logged later
            example(8, 2),  # added: another example of that exchange was there
        ],
    )

    found = {row.example_id: row for row in diff(log.engine, before, after)}
    assert sorted(found) == list(found)
    shown = {
        number: (row.change, row.split_before, row.split_after, row.copies_before, row.copies_after, row.reason)
        for number in range(9)
        if (row := found.get(hashed(number).hex())) is not None
    }
    assert {
        2: ("moved", "train", "dev", 1, 1, None),
        3: ("copies", "train", "train", 4, 2, None),
        4: ("removed", "train", None, 1, 0, "mixed_out"),
        5: ("removed", "train", None, 1, 0, "labelled_bad"),
        6: ("removed", "train", None, 1, 0, "not_selected"),
        7: ("added", None, "train", 0, 1, "logged_later"),
        8: ("added", None, "train", 0, 1, "changed"),
    } == shown
    assert (uid(log, 2), None) == (found[hashed(2).hex()].exchange_uid, found[hashed(2).hex()].origin)
    assert (None, "i:1") == (found[hashed(3).hex()].exchange_uid, found[hashed(3).hex()].origin)


def test_a_dialogue_that_went_on_is_another_example_of_its_exchanges(log: ToolLog) -> None:
    before, after = build(log, dialogue(1, 1, 2)), build(log, dialogue(2, 1, 2, 3), last_exchange_id=4)

    assert {
        (hashed(1).hex(), "removed", 2, 0, "changed"),
        (hashed(2).hex(), "added", 0, 2, "not_selected"),
    } == {
        (row.example_id, row.change, row.copies_before, row.copies_after, row.reason)
        for row in diff(log.engine, before, after)
    }
    assert [] == list(diff(log.engine, before, build(log, dialogue(1, 1, 2))))


def test_an_example_that_another_exchange_stands_for_now_is_the_same_example(log: ToolLog) -> None:
    before = build(log, [example(1, 1), left_out("duplicate", 2, 1)])
    after = build(log, [left_out("labelled_bad", 1), example(1, 2)])

    assert [] == list(diff(log.engine, before, after))


ROWS = st.lists(
    st.tuples(st.integers(1, 6), st.sampled_from(["train", "dev", "eval", None]), st.integers(1, 3)), max_size=12
)


@given(one=ROWS, other=ROWS)
def test_what_differs_is_what_a_comparison_of_everything_finds(
    tmp_path_factory: pytest.TempPathFactory, one: list[Any], other: list[Any]
) -> None:
    with ToolLog.open(tmp_path_factory.mktemp("diff") / "t.db", read_only=False) as log:
        before, after = (build(log, list(map(row_of, rows))) for rows in (one, other))
        found = list(diff(log.engine, before, after))

    expected = []
    was, now = summed(one), summed(other)
    for number in sorted(was | now, key=hashed):
        sides = was.get(number), now.get(number)
        if sides[0] != sides[1]:
            expected.append((hashed(number).hex(), *sides))
    assert expected == [(row.example_id, *sides_of(row)) for row in found]


def row_of(given: tuple[int, str | None, int]) -> DatasetExampleRow:
    number, split, copies = given
    if split is None:
        return left_out("duplicate", None, number)
    return example(number, None, origin=f"f:{number}", split=split, copies=copies)


def summed(rows: list[tuple[int, str | None, int]]) -> dict[int, tuple[str, int]]:
    """Return splits and copies of each example that is in."""
    found: dict[int, tuple[str, int]] = {}
    for number in {row[0] for row in rows}:
        within = [row for row in rows if row[0] == number and row[1] is not None]
        if within:
            found[number] = ",".join(sorted({str(row[1]) for row in within})), sum(row[2] for row in within)
    return found


def sides_of(row: DiffRow) -> list[tuple[str, int] | None]:
    before = None if row.split_before is None else (row.split_before, row.copies_before)
    return [before, None if row.split_after is None else (row.split_after, row.copies_after)]
