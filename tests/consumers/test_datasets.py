"""The real ``datasets``, the newest and 4.0, read our folders: every row, every value, of the type that it was."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog.export.example import Row
from tarx_toollog.export.formats.axolotl import AxolotlFormat
from tarx_toollog.export.formats.base import ExportFormat, FormatOptions
from tarx_toollog.export.formats.llamafactory import LlamaFactoryFormat
from tarx_toollog.export.formats.trl import TrlFormat
from tarx_toollog.export.formats.unsloth import UnslothFormat
from tests.consumers.environments import read_in
from tests.support.export_rows import CLOCK, TRAITS, answer, call, export, generated_rows, make_row, user


def called(**arguments: Any) -> Row:
    return make_row([user("Now"), answer("", call("c", "clock", **arguments))], [CLOCK])


CLASHES = [
    called(at="2026-11-23", n=1, deep={"a": [1, "x", None, {"b": False}]}),
    called(at=7, n="one", deep="text", nothing=None),
    called(at=[1.5, 2], n=2**63 - 1, deep=None, quoted='{"not": "parsed"}', number="12", word="true"),
    called(at="2026-11-23T10:00:00Z", n=True, empty={}, none=[]),
]
"""One argument name, many types; text that looks like a date, like a number, like JSON."""
FRAGILE = called(temperature=0.7, pi=math.pi, small=1e-12)
"""Numbers that the JSON type of ``datasets`` changes."""
OF_ALL_SPLITS = [make_row([user(split), answer("Yes.")], split=split) for split in ("train", "dev", "eval")]
NAMES = {"data/train.jsonl": "train", "data/validation.jsonl": "validation", "data/test.jsonl": "test"}

versions = pytest.mark.parametrize("version", ["consumers", "datasets4"])
hf_formats = pytest.mark.parametrize("export_format", [TrlFormat(), UnslothFormat()], ids=["trl", "unsloth"])


@versions
@hf_formats
def test_load_py_gives_every_value_back_with_any_version(
    version: str, export_format: ExportFormat, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    given = [*TRAITS.values(), *CLASHES, FRAGILE, *OF_ALL_SPLITS, *generated_rows(150)]
    written = _written(export_format, tmp_path, given)
    read = read_in(request.getfixturevalue(version), "read_datasets.py", "module", tmp_path)
    assert {"train", "validation", "test"} == written.keys()
    assert _typed(written) == _typed(read)


@hf_formats
def test_the_folder_loads_by_its_card_with_every_value_of_its_type(
    export_format: ExportFormat, consumers: Path, tmp_path: Path
) -> None:
    given = [*TRAITS.values(), *CLASHES, *OF_ALL_SPLITS]
    written = _written(export_format, tmp_path, given)
    read = read_in(consumers, "read_datasets.py", "folder", tmp_path)
    assert _typed(written) == _typed({split: [_told(row) for row in rows] for split, rows in read.items()})


def test_a_folder_with_training_rows_only_loads(consumers: Path, tmp_path: Path) -> None:
    export(TrlFormat(), tmp_path, [TRAITS["plain answer without tools"]])
    read = read_in(consumers, "read_datasets.py", "folder", tmp_path)
    assert {"train": 1} == {split: len(rows) for split, rows in read.items()}


def test_rows_of_any_shape_load_by_the_card(consumers: Path, tmp_path: Path) -> None:
    given = generated_rows(150)
    written = _written(TrlFormat(), tmp_path, given)
    read = read_in(consumers, "read_datasets.py", "folder", tmp_path)
    assert _calls(written) == _calls(read)


def test_whole_turns_load_by_the_card(consumers: Path, tmp_path: Path) -> None:
    written = _written(TrlFormat(), tmp_path, [*CLASHES, *OF_ALL_SPLITS], FormatOptions(unit="trajectory"))
    read = read_in(consumers, "read_datasets.py", "folder", tmp_path)
    assert _typed(written) == _typed({split: [_told(row) for row in rows] for split, rows in read.items()})


def test_datasets_still_changes_numbers_which_is_why_there_is_load_py(consumers: Path, tmp_path: Path) -> None:
    export(TrlFormat(), tmp_path, [FRAGILE])
    [row] = read_in(consumers, "read_datasets.py", "folder", tmp_path)["train"]
    arguments = row["completion"][0]["tool_calls"][0]["function"]["arguments"]
    assert {"temperature": 0.7000000000000001, "pi": 3.1415926536, "small": 0.0} == arguments


@versions
def test_the_rows_for_axolotl_load_by_their_card(version: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    written = _written(AxolotlFormat(), tmp_path, [*TRAITS.values(), *CLASHES, FRAGILE, *OF_ALL_SPLITS])
    read = read_in(request.getfixturevalue(version), "read_datasets.py", "folder", tmp_path / "data")
    assert _typed(written) == _typed({split: [_without_nulls(row) for row in rows] for split, rows in read.items()})


def test_the_rows_for_llamafactory_load_with_its_own_datasets_and_without_a_card(
    datasets4: Path, tmp_path: Path
) -> None:
    made = export(LlamaFactoryFormat(), tmp_path, [*TRAITS.values(), *CLASHES, FRAGILE])
    read = read_in(datasets4, "read_datasets.py", "json", tmp_path / "train.jsonl")
    assert _typed(made.lines["train.jsonl"]) == _typed(read["train"])


@pytest.mark.parametrize("task", ["dpo", "kto"])
def test_preferences_load_by_the_card(task: Any, consumers: Path, tmp_path: Path) -> None:
    given = [
        make_row(row.messages, row.tools, split=row.split, rejected=answer("No."), label=place % 2 == 0)
        for place, row in enumerate([*CLASHES, *OF_ALL_SPLITS])
    ]
    written = _written(TrlFormat(), tmp_path, given, FormatOptions(task=task))
    read = read_in(consumers, "read_datasets.py", "folder", tmp_path)
    assert _typed(written) == _typed({split: [_told(row) for row in rows] for split, rows in read.items()})


@versions
def test_parquet_holds_the_same_columns_as_text(version: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    given = [*TRAITS.values(), *CLASHES, FRAGILE, *OF_ALL_SPLITS]
    written = _written(UnslothFormat(), tmp_path, given, FormatOptions(parquet=True))
    read = read_in(request.getfixturevalue(version), "read_datasets.py", "parquet", tmp_path / "parquet")
    columns = ("prompt", "completion", "tools")
    parsed = {
        split: [{name: json.loads(row[name]) for name in columns if row[name] is not None} for row in rows]
        for split, rows in read.items()
    }
    assert _typed(written) == _typed(parsed)


def test_duckdb_and_pyarrow_query_the_partitions(consumers: Path, tmp_path: Path) -> None:
    given = [*CLASHES, *OF_ALL_SPLITS]
    export(TrlFormat(), tmp_path, given, FormatOptions(parquet=True))
    read = read_in(consumers, "read_parquet.py", tmp_path / "parquet")
    tokens = [row.n_tokens for row in given]
    expected = [
        ["test", None, 1, tokens[6]],
        ["train", "clock", 4, sum(tokens[:4])],
        ["train", None, 1, tokens[4]],
        ["validation", None, 1, tokens[5]],
    ]
    assert expected == read["duckdb"]
    assert {row.example_id for row in given if row.split == "train"} == {row["example_id"] for row in read["pyarrow"]}


def _written(
    export_format: ExportFormat, folder: Path, given: Sequence[Row], options: FormatOptions | None = None
) -> dict[str, list[Any]]:
    """Export rows; return what was written by split, with tools as a list where they are a string."""
    made = export(export_format, folder, given, options)
    assert [] == made.dropped
    keep_text = export_format.name == "axolotl"
    return {
        NAMES[file]: [row if keep_text else _told(row) for row in rows] for file, rows in sorted(made.lines.items())
    }


def _told(row: dict[str, Any]) -> dict[str, Any]:
    """Return a row without absent columns, its tools read."""
    row = {name: value for name, value in row.items() if value is not None}
    return row | ({"tools": json.loads(row["tools"])} if isinstance(row.get("tools"), str) else {})


def _without_nulls(value: Any) -> Any:
    """Return a value without the nulls that stand for absent keys, as Axolotl takes them out. Arguments are text."""
    if isinstance(value, dict):
        return {name: _without_nulls(inner) for name, inner in value.items() if inner is not None}
    return [_without_nulls(inner) for inner in value] if isinstance(value, list) else value


def _typed(value: Any) -> str:
    """Return JSON: 1, 1.0 and true are equal in Python, and not what a model should learn for one another."""
    return json.dumps(value, sort_keys=True)


def _calls(rows: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Return name and argument names of the calls of each completion, by split."""
    return {
        split: [
            [
                (made["function"]["name"], list(made["function"]["arguments"]))
                for made in _last(row).get("tool_calls", ())
            ]
            for row in rows[split]
        ]
        for split in rows
    }


def _last(row: dict[str, Any]) -> Any:
    return row["completion"][-1]
