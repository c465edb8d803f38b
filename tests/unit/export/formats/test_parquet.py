"""Parquet beside the JSONL files."""

import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog.errors import ConfigError
from tarx_toollog.export.formats import parquet
from tarx_toollog.export.formats.base import FormatOptions
from tarx_toollog.export.formats.trl import TrlFormat
from tests.support.export_rows import GOOD, TRAITS, export, make_row, user

WANTED = FormatOptions(parquet=True)
ROW = TRAITS["one call"]


def read(path: Path) -> Any:
    return importlib.import_module("pyarrow.parquet").ParquetFile(path)


def test_each_split_is_a_partition_with_texts_and_what_the_row_is_about(tmp_path: Path) -> None:
    export(TrlFormat(), tmp_path, [ROW, replace(ROW, split="dev")], WANTED)
    files = sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.parquet"))
    assert ["parquet/split=train/part-00000.parquet", "parquet/split=validation/part-00000.parquet"] == files
    expected = {
        "example_id": ROW.example_id,
        "source": "tool",
        "n_tokens": ROW.n_tokens,
        "n_trained_tokens": ROW.n_trained_tokens,
        "prompt": ROW.prompt_text,
        "completion": f"[{ROW.answer_text}]",
        "tools": ROW.tools_text,
    }
    assert [expected] == read(tmp_path / files[0]).read().to_pylist()


def test_absent_tools_are_null_and_a_verdict_is_a_boolean(tmp_path: Path) -> None:
    rows = [replace(GOOD, tools_text=None, label=label) for label in (True, False)]
    export(TrlFormat(), tmp_path, rows, replace(WANTED, task="kto"))
    table = read(tmp_path / "parquet" / "split=train" / "part-00000.parquet").read()
    assert [(None, True), (None, False)] == [(row["tools"], row["label"]) for row in table.to_pylist()]
    assert ["string", "bool"] == [str(table.schema.field(name).type) for name in ("tools", "label")]


def test_groups_and_files_end_before_they_fill_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "GROUP_CHARS", 2000)
    monkeypatch.setattr(parquet, "GROUPS", 3)
    rows = [make_row([user(f"{number:04} {'x' * 900}"), ROW.answer]) for number in range(22)]
    export(TrlFormat(), tmp_path, rows, WANTED)
    files = [read(path) for path in sorted(tmp_path.rglob("*.parquet"))]
    assert [3, 3, 3, 2] == [file.num_row_groups for file in files]
    assert [6, 6, 6, 4] == [file.metadata.num_rows for file in files]
    texts = [row["prompt"] for file in files for row in file.read().to_pylist()]
    assert [row.prompt_text for row in rows] == texts


def test_a_split_begins_a_file_of_its_own(tmp_path: Path) -> None:
    export(TrlFormat(), tmp_path, [ROW, ROW, replace(ROW, split="eval")], WANTED)
    n_rows = {path.parent.name: read(path).metadata.num_rows for path in tmp_path.rglob("*.parquet")}
    assert {"split=train": 2, "split=test": 1} == n_rows


def test_the_files_are_private_and_the_same_bytes_every_time(tmp_path: Path) -> None:
    for name in "ab":
        export(TrlFormat(), tmp_path / name, TRAITS.values(), WANTED)
    first, second = sorted(tmp_path.rglob("*.parquet"))
    assert 0o600 == first.stat().st_mode & 0o777
    assert first.read_bytes() == second.read_bytes()


def test_without_the_option_there_is_no_parquet(tmp_path: Path) -> None:
    export(TrlFormat(), tmp_path, [ROW])
    assert [] == list(tmp_path.rglob("parquet"))


def test_without_pyarrow_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match="pyarrow") as error:
        TrlFormat().writer(tmp_path, WANTED)
    assert "pip install 'tarx-toollog[parquet]'" in error.value.hint


def test_texts_are_the_json_of_the_lines(tmp_path: Path) -> None:
    made = export(TrlFormat(), tmp_path, [TRAITS["signs from everywhere"]], WANTED)
    [row] = read(next(tmp_path.rglob("*.parquet"))).read().to_pylist()
    assert made.only["prompt"] == json.loads(row["prompt"])
