"""The search of the file after redaction: what it finds, and what it cannot tell."""

import json
from pathlib import Path

import pytest

from tarx_toollog.store.redact_check import MAX_VALUES, search, searchable


def test_a_value_is_found_wherever_it_stands_in_a_file(tmp_path: Path) -> None:
    values = ["swordfish", "k\u00fchlschrank", "two\nlines", "not there"]
    first, second = tmp_path / "t.db", tmp_path / "t.db-wal"
    first.write_bytes(b"\x00" * 99 + b"swordfish" + json.dumps("two\nlines").encode())
    second.write_bytes(b"x" + json.dumps("k\u00fchlschrank").encode())

    assert set(values[:3]) == search([first, second, tmp_path / "t.db-journal"], values)
    assert {"swordfish", "two\nlines"} == search([first], values)


@pytest.mark.parametrize("place", range(-9, 2))
def test_a_value_is_found_across_the_pieces_that_are_read(tmp_path: Path, place: int) -> None:
    path = tmp_path / "t.db"
    path.write_bytes(b"-" * (64 + place) + b"swordfish" + b"-" * 100)

    assert {"swordfish"} == search([path], ["swordfish", "two blue herons"], piece=64)


def test_short_values_are_not_searched_for() -> None:
    assert (["4931abc", "20417755"], 3) == searchable({"20417755", "4931", "x9", "204177", "4931abc"})


def test_the_search_is_bounded() -> None:
    values = {f"password-{number:06}" for number in range(MAX_VALUES + 5)}

    chosen, n_left_out = searchable(values)

    assert (MAX_VALUES, 5) == (len(chosen), n_left_out)
