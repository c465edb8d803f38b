"""The scripts of ``trl`` run as they are, and TRL's trainers learn just what the model said."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from tarx_toollog.export.formats.base import FormatOptions
from tarx_toollog.export.formats.trl import TrlFormat
from tests.consumers.environments import completion_of, python_of
from tests.consumers.trainers import (
    FRAGILE,
    HELD_OUT,
    NEED_TRAINERS,
    TRAINED,
    all_answers,
    learned,
    prompts,
    read_with,
    said,
)
from tests.support.export_rows import REASONED, TRAITS, answer, export, make_row

pytestmark = NEED_TRAINERS
SHORT = [row for name, row in TRAITS.items() if name != "a long prompt"]
WORSE = answer("I would rather not.")


@pytest.fixture(scope="session")
def trainers() -> Path:
    """Python with TRL and Axolotl."""
    return python_of(".venv-trainers", "trainers")


def test_sft_learns_each_answer_behind_the_prompt_that_the_model_saw(
    trainers: Path, tiny_model: Path, tmp_path: Path
) -> None:
    given = [*TRAINED, REASONED]
    export(TrlFormat(), tmp_path, [*given, *HELD_OUT])
    read = read_with(trainers, "read_trl.py", tiny_model, tmp_path / "sft.py")
    assert said(given) == learned(read["train"])
    assert prompts(given) == learned(read["train"], "context")
    assert said(HELD_OUT) == learned(read["dev"])
    assert math.isfinite(read["loss"])


def test_sft_over_whole_turns_learns_every_answer_in_them(trainers: Path, tiny_model: Path, tmp_path: Path) -> None:
    given = [replace(row, targets=all_answers(row)) for row in [*SHORT, FRAGILE]]
    export(TrlFormat(), tmp_path, given, FormatOptions(unit="trajectory"))
    read = read_with(trainers, "read_trl.py", tiny_model, tmp_path / "sft.py")
    every = ["".join(completion_of(row.messages[place]) for place in row.targets) for row in given]
    assert sorted(every) == sorted(row["learned"] for row in read["train"])
    assert math.isfinite(read["loss"])


def test_the_folder_gives_sft_the_same_without_the_script(trainers: Path, tiny_model: Path, tmp_path: Path) -> None:
    export(TrlFormat(), tmp_path, SHORT)
    read = read_with(trainers, "read_trl_folder.py", tiny_model, tmp_path)
    assert said(SHORT) == learned(read["train"])


def test_dpo_compares_the_two_answers_behind_one_prompt(trainers: Path, tiny_model: Path, tmp_path: Path) -> None:
    given = [make_row(row.messages, row.tools, rejected=WORSE) for row in [*SHORT, FRAGILE]]
    held_out = [make_row(row.messages, row.tools, rejected=WORSE, split="dev") for row in HELD_OUT]
    export(TrlFormat(), tmp_path, [*given, *held_out], FormatOptions(task="dpo"))
    read = read_with(trainers, "read_trl.py", tiny_model, tmp_path / "dpo.py")
    assert prompts(given) == learned(read["train"], "prompt_ids")
    assert said(given, end="") == learned(read["train"], "chosen_ids")
    assert {completion_of(WORSE)} == {row["rejected_ids"] for row in read["train"]}
    assert len(held_out) == len(read["dev"])
    assert math.isfinite(read["loss"])


def test_kto_gets_each_answer_with_its_verdict(trainers: Path, tiny_model: Path, tmp_path: Path) -> None:
    given = [make_row(row.messages, row.tools, label=n % 2 == 0) for n, row in enumerate([*SHORT, FRAGILE])]
    export(TrlFormat(), tmp_path, given, FormatOptions(task="kto"))
    read = read_with(trainers, "read_trl.py", tiny_model, tmp_path / "kto.py")
    assert prompts(given) == learned(read["train"], "prompt_ids")
    verdicts = sorted((completion_of(row.answer), row.label) for row in given)
    assert verdicts == sorted((row["completion_ids"], row["label"]) for row in read["train"])
    assert math.isfinite(read["loss"])
