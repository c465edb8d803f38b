"""The form that loses nothing, what all files of lines have in common, and calls that survive every format."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given

from tarx_toollog.export.example import Row
from tarx_toollog.export.formats.base import FormatOptions
from tarx_toollog.export.formats.canonical import CanonicalFormat
from tarx_toollog.export.formats.jsonl import one_line
from tarx_toollog.export.formats.mistral import MistralFormat
from tarx_toollog.export.formats.mlx import MlxFormat
from tarx_toollog.export.formats.openai import OpenAIFormat
from tests.support.export_rows import GOOD, PREFERENCE, TRAITS, TRAJECTORY, export, make_row, rows


@pytest.mark.parametrize("row", [*TRAITS.values(), TRAJECTORY, PREFERENCE, GOOD], ids=[*TRAITS, "t", "p", "g"])
def test_everything_known_of_a_row_is_in_its_line(row: Row, tmp_path: Path) -> None:
    options = FormatOptions(task="dpo" if row.rejected else "kto" if row.label else "sft")
    expected: dict[str, Any] = {
        "example_id": row.example_id, "split": row.split, "source": row.source, "messages": row.messages,
        "tools": row.tools or None, "targets": list(row.targets) or None, "rejected": row.rejected, "label": row.label,
        "n_tokens": row.n_tokens, "n_trained_tokens": row.n_trained_tokens, "tokens_from": row.tokens_from,
    }  # fmt: skip
    present = {key: value for key, value in expected.items() if value is not None}
    line = export(CanonicalFormat(), tmp_path, [row], options).only
    assert (list(present), present) == (list(line), line)


def test_the_files_are_named_after_our_splits(tmp_path: Path) -> None:
    given_rows = [make_row(GOOD.messages, GOOD.tools, split=split) for split in ("train", "dev", "eval")]
    made = export(CanonicalFormat(), tmp_path, given_rows)
    assert ["train.jsonl", "dev.jsonl", "eval.jsonl"] == [place.file for place in made.places]


def test_places_count_the_lines_of_each_file_from_one(tmp_path: Path) -> None:
    given_rows = [make_row(GOOD.messages, split=split) for split in ("train", "train", "dev")]
    assert [1, 2, 1] == [place.line for place in export(CanonicalFormat(), tmp_path, given_rows).places]


def test_line_ends_of_unicode_are_escaped_and_mean_the_same() -> None:
    value = {"a\u2028": "\u0085 ü \u2029"}
    text = one_line(json.dumps(value, ensure_ascii=False))
    assert (1, value) == (len(text.splitlines()), json.loads(text))


@given(rows())
def test_calls_survive_every_format(row: Row) -> None:
    with TemporaryDirectory() as folder:
        for export_format in (CanonicalFormat(), MlxFormat(), OpenAIFormat(), MistralFormat()):
            made = export(export_format, Path(folder, export_format.name), [row])
            assert _said(row.messages) == _said(made.only["messages"]), export_format.name


def _said(messages: list[dict[str, Any]]) -> list[Any]:
    """Role, words, and calls with their arguments as objects."""
    return [
        (
            message["role"],
            message.get("content", ""),
            [
                (made["function"]["name"], _object(made["function"]["arguments"]))
                for made in message.get("tool_calls", ())
            ],
        )
        for message in messages
    ]


def _object(arguments: Any) -> Any:
    return json.loads(arguments) if isinstance(arguments, str) else arguments
