"""Axolotl accepts the configuration, and marks just what the model said as what to learn."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tarx_toollog.export.formats.axolotl import AxolotlFormat
from tarx_toollog.export.formats.base import FormatOptions
from tests.consumers.environments import HERE, completion_of, python_of
from tests.consumers.trainers import HELD_OUT, NEED_TRAINERS, TRAINED, learned, prompts, read_with, said
from tests.support.export_rows import REASONED, TRAJECTORY, answer, export, make_row

pytestmark = NEED_TRAINERS


@pytest.fixture(scope="session")
def trainers() -> Path:
    """Python with TRL and Axolotl."""
    return python_of(".venv-trainers", "trainers")


def test_each_answer_is_learned_behind_the_prompt_that_the_model_saw(
    trainers: Path, tiny_model: Path, tmp_path: Path
) -> None:
    given = [*TRAINED, REASONED]
    export(AxolotlFormat(), tmp_path, [*given, *HELD_OUT])
    read = read_with(trainers, "read_axolotl.py", tiny_model, tmp_path)
    assert said(given, end="") == learned(read["train"])
    # The line end behind the last token of an answer is not learned.
    assert prompts(given) == Counter(row["context"].removesuffix("\n") for row in read["train"])
    assert said(HELD_OUT, end="") == learned(read["dev"])


def test_of_a_whole_turn_just_the_chosen_answers_are_learned(trainers: Path, tiny_model: Path, tmp_path: Path) -> None:
    given = [TRAJECTORY, *(replace(TRAJECTORY, targets=(place,)) for place in (2, 4, 6))]
    export(AxolotlFormat(), tmp_path, given, FormatOptions(unit="trajectory"))
    read = read_with(trainers, "read_axolotl.py", tiny_model, tmp_path)
    expected = Counter("".join(completion_of(row.messages[place]) for place in row.targets) for row in given)
    assert expected == learned(read["train"])


def test_dpo_gets_the_texts_of_the_chat_template(trainers: Path, tiny_model: Path, tmp_path: Path) -> None:
    given = [make_row(row.messages, row.tools, rejected=answer("No.")) for row in TRAINED]
    options = FormatOptions(task="dpo", template=(HERE / "chat_template.jinja").read_text())
    export(AxolotlFormat(), tmp_path, given, options)
    read = read_with(trainers, "read_axolotl.py", tiny_model, tmp_path)
    assert prompts(given) == learned(read["train"], "prompt")
    assert said(given, end="") == learned(read["train"], "chosen")
    assert {completion_of(answer("No."))} == {row["rejected"] for row in read["train"]}
