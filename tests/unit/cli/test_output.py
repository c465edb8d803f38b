import csv
import io
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog.cli.output import Format, Output, cell_text, emit_object, emit_rows, guard_cell, json_line, safe_text

ROWS: list[dict[str, Any]] = [
    {"name": "a\tb\nc", "n": 1, "at": datetime(2026, 5, 1, 12, 30, tzinfo=UTC), "hidden": 1},
    {"name": "=cmd()", "n": -2, "at": None, "hidden": 2},
]
COLUMNS = ("name", "n", "at")


def written(capsys: pytest.CaptureFixture[str], form: Format) -> str:
    assert len(ROWS) == emit_rows(ROWS, COLUMNS, Output(form))
    return capsys.readouterr().out


def test_piped_rows_are_tab_separated_with_one_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    expected = "name\tn\tat\na\\tb\\nc\t1\t2026-05-01 12:30:00\n=cmd()\t-2\t\n"

    assert expected == written(capsys, "auto")


def test_json_is_one_array_with_the_columns_only(capsys: pytest.CaptureFixture[str]) -> None:
    expected = [
        {"name": "a\tb\nc", "n": 1, "at": "2026-05-01T12:30:00Z"},
        {"name": "=cmd()", "n": -2, "at": None},
    ]

    assert expected == json.loads(written(capsys, "json"))


def test_json_lines_are_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    lines = written(capsys, "jsonl").splitlines()

    assert [1, -2] == [json.loads(line)["n"] for line in lines]


def test_csv_keeps_line_breaks_and_defuses_formulas_but_not_numbers(capsys: pytest.CaptureFixture[str]) -> None:
    rows = list(csv.reader(io.StringIO(written(capsys, "csv"))))

    assert [list(COLUMNS), ["a\tb\nc", "1", "2026-05-01T12:30:00Z"], ["'=cmd()", "-2", ""]] == rows


@pytest.mark.parametrize("text", ["=1+1", "+1+1", "-1+1", "@x", "\tx", "\rx"])
def test_a_cell_that_begins_like_a_formula_gets_an_apostrophe(text: str) -> None:
    assert "'" + text == guard_cell(text)


@pytest.mark.parametrize("text", ["-1", "-1.5", "1=2", "", "plain", "-2e-05"])
def test_other_cells_stay_as_they_are(text: str) -> None:
    assert text == guard_cell(text)


def test_no_row_at_all_is_an_empty_array_and_not_an_empty_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert emit_rows([], COLUMNS, Output("json")) == 0

    assert json.loads(capsys.readouterr().out) == []


def test_control_characters_never_reach_a_terminal() -> None:
    hostile = "a\x1b[2Jb\x9bc\u202ed\ud800e\x07"

    assert "a\ufffd[2Jb\ufffdc\ufffdd\ufffde\ufffd" == safe_text(hostile)
    assert "a\ufffd[2J\\n" == cell_text("a\x1b[2J\r\n")


def test_a_lone_surrogate_leaves_as_an_escape_and_comes_back_the_same() -> None:
    line = json_line({"text": "ä\ud83d"})

    assert line.isascii()
    assert {"text": "ä\ud83d"} == json.loads(line)


@pytest.mark.parametrize(
    ("value", "text"), [(None, ""), (True, "yes"), (0.25, "0.25"), (1234.56, "1234.6"), (3.0, "3")]
)
def test_a_cell_is_short_text(value: object, text: str) -> None:
    assert text == cell_text(value)


def test_a_file_is_private_and_takes_the_place_of_an_old_one(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    emit_rows(ROWS, COLUMNS, Output("csv", path))

    emit_rows(ROWS[:1], ("n",), Output("csv", path))

    assert path.read_bytes() == b"n\n1\n"
    assert path.stat().st_mode & 0o777 == 0o600


def test_one_thing_is_text_for_people_and_whole_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"uid": "x", "calls": [{"name": "f"}]}
    emit_object(value, "exchange x\n\n", Output())
    emit_object(value, "", Output("jsonl"))
    emit_object(value, "", Output("csv"))

    text, line, *table = capsys.readouterr().out.splitlines()
    assert text == "exchange x"
    assert value == json.loads(line)
    assert table == ["uid", "x"]


def test_rows_on_a_terminal_are_a_table_without_markup(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "dumb")  # no bold titles
    emit_rows([{"name": "[red]x", "n_calls": 12}], ("name", "n_calls"), Output())

    assert "name    n_calls\n[red]x       12\n" == capsys.readouterr().out


def test_no_row_on_a_terminal_is_no_table(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    emit_rows([], ("name", "n_calls"), Output())

    assert capsys.readouterr().out == ""
