from collections.abc import Sequence
from typing import Any

import pytest
from rich.console import Console

from tarx_toollog.cli.output import cell_text
from tarx_toollog.cli.table import layout
from tarx_toollog.ids import uuid7

TIME = "2026-05-01 12:30:00"
UIDS = [f"01a204ac-d44b-71c{n}-8b22-0cf98587d520" for n in range(3)]
ROWS: list[dict[str, Any]] = [
    {"uid": uid, "at": TIME, "model": "a-model-with-a-long-name", "n_tool_calls": 12345, "note": None} for uid in UIDS
]
NAMES = ("uid", "at", "model", "n_tool_calls", "note")


def lines(rows: Sequence[dict[str, Any]], names: Sequence[str], width: int, **options: Any) -> list[str]:
    console = Console(width=width, color_system=None)
    with console.capture() as capture:
        console.print(layout(rows, names, width, **options))
    return [line.rstrip() for line in capture.get().splitlines()]


def test_what_fits_is_shown_as_it_is() -> None:
    title, first, *_ = lines(ROWS, NAMES, 120)

    assert title.split() == list(NAMES)
    assert first.split() == [UIDS[0], *TIME.split(), "a-model-with-a-long-name", "12345"]


def test_a_narrow_table_cuts_ids_to_where_they_differ_and_texts_but_never_numbers_and_times() -> None:
    found = lines(ROWS, ("uid", "at", "model", "n_tool_calls"), 64)

    assert [line.split()[0] for line in found[-3:]] == [uid[:18] for uid in UIDS]
    assert all(TIME in line and "12345" in line and "a-model-with-a-…" in line for line in found[-3:])
    assert max(map(len, found)) <= 64


def test_ids_that_differ_only_in_their_tails_stay_whole() -> None:
    uids = [f"01a204ac-d44b-71c4-8b22-0cf98587d52{n}" for n in range(3)]

    found = lines([{"uid": uid, "text": "x" * 80} for uid in uids], ("uid", "text"), 60)

    assert [line.split()[0] for line in found[1:]] == uids


def test_columns_without_a_value_go_first_and_what_went_is_named() -> None:
    found = lines(ROWS, NAMES, 62, spare=("model", "note"))

    assert "a-model-with" in found[-2]
    assert found[-1] == "not shown for want of room: note"


def test_columns_go_in_the_order_of_the_command() -> None:
    found = lines(ROWS, NAMES, 50, spare=("note", "model", "at"))

    assert found[-1] == "not shown for want of room: model, note"


def test_what_cannot_be_a_table_is_a_list_of_fields_with_nothing_cut() -> None:
    found = lines(ROWS[:1], NAMES, 55)

    assert found == [
        "row 1",
        f"uid           {UIDS[0]}",
        f"at            {TIME}",
        "model         a-model-with-a-long-name",
        "n_tool_calls  12345",
        "note",
    ]


def test_a_text_that_wraps_is_whole() -> None:
    found = lines(
        [{"name": "database", "meaning": "Path of the SQLite file."}], ("name", "meaning"), 24, wrap=("meaning",)
    )

    assert found[1:] == ["database  Path of the", "          SQLite file."]


@pytest.mark.parametrize("width", range(20, 200, 7))
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    rows = [{"uid": uuid7(), "text": "ä漢字" * 30, "n": 1, "at": TIME} for _ in range(3)]

    found = lines(rows, ("uid", "text", "n", "at"), width, spare=("at", "uid"))

    assert max(len(line) for line in found) <= width
    assert found


def test_wide_characters_take_two_columns_each() -> None:
    assert cell_text("漢字") == "漢字"

    found = lines([{"a": "漢字" * 10, "b": "x"}], ("a", "b"), 20)

    assert found[1].endswith("x")
