"""The real validator of mistral-common takes every line, and its tokenizers count what is in it."""

from dataclasses import replace
from pathlib import Path

from tarx_toollog.export.formats.base import FormatOptions
from tarx_toollog.export.formats.mistral import MistralFormat
from tests.consumers.environments import read_in
from tests.support.export_rows import TRAITS, TRAJECTORY, export, generated_rows

NEWER = ("v7", "v11", "v13", "v15")


def test_every_version_takes_the_lines_and_the_old_one_all_without_words_beside_calls(
    consumers: Path, tmp_path: Path
) -> None:
    made = export(MistralFormat(), tmp_path, [*TRAITS.values(), TRAJECTORY], FormatOptions(unit="trajectory"))
    assert ["format_cannot_say"] == made.dropped  # the answer before any question
    read = read_in(consumers, "read_mistral.py", tmp_path / "train.jsonl")
    assert len(TRAITS) == len(read)
    assert [None] * len(read) * len(NEWER) == [line["refused"][version] for line in read for version in NEWER]
    both = [_has_words_beside_calls(line) for line in made.lines["train.jsonl"]]
    assert both == [line["refused"]["v3"] is not None for line in read]
    assert 1 == both.count(True)


def test_tokens_are_fewer_than_bytes_and_more_than_messages(consumers: Path, tmp_path: Path) -> None:
    made = export(MistralFormat(), tmp_path, TRAITS.values())
    texts = (tmp_path / "train.jsonl").read_bytes().splitlines()
    read = read_in(consumers, "read_mistral.py", tmp_path / "train.jsonl")
    for line, text, found in zip(made.lines["train.jsonl"], texts, read, strict=True):
        assert len(line["messages"]) < found["tokens"]["v7"] < len(text)


def test_rows_of_any_shape_are_taken(consumers: Path, tmp_path: Path) -> None:
    made = export(MistralFormat(), tmp_path, [replace(row, split="train") for row in generated_rows(150)])
    assert [] == made.dropped
    read = read_in(consumers, "read_mistral.py", tmp_path / "train.jsonl")
    assert [None] * 150 * len(NEWER) == [line["refused"][version] for line in read for version in NEWER]


def _has_words_beside_calls(line: dict[str, list[dict[str, object]]]) -> bool:
    return any(message.get("tool_calls") and message["content"] for message in line["messages"])
