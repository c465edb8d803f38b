"""LLaMA-Factory accepts the configuration, loses no row, and learns just what the model said."""

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from tarx_toollog.export.example import Row
from tarx_toollog.export.formats.base import FormatOptions
from tarx_toollog.export.formats.kto import kto_weights
from tarx_toollog.export.formats.llamafactory import LlamaFactoryFormat
from tarx_toollog.export.template.render import ChatTemplate
from tests.consumers.environments import completion_of, python_of
from tests.consumers.trainers import FRAGILE, HELD_OUT, NEED_TRAINERS, TRAINED, all_answers, learned, read_with, said
from tests.support.export_rows import REASONED, TRAITS, answer, export, make_row

pytestmark = NEED_TRAINERS

NOT_SAID = [TRAITS["two users' messages in a row"], TRAITS["an answer before any question"]]
"""LLaMA-Factory would leave them out without a word; the format refuses them."""
SAID = [row for row in TRAINED if row not in NOT_SAID]
SHORT = [row for row in SAID if row is not TRAITS["a long prompt"]]
EMPTY_THOUGHT = "<think>\n\n</think>\n\n"
OPTIONS = FormatOptions(base_model="Qwen/Qwen3-4B-Instruct-2507")


@pytest.fixture(scope="session")
def llamafactory() -> Path:
    """Python with LLaMA-Factory and the versions that it allows."""
    return python_of(".venv-llamafactory", "trainers")


def test_each_answer_is_learned_and_no_row_is_lost(llamafactory: Path, tiny_model: Path, tmp_path: Path) -> None:
    made = export(LlamaFactoryFormat(), tmp_path, [*TRAINED, *HELD_OUT], OPTIONS)
    assert ["format_cannot_say"] * 2 == made.dropped
    read = read_with(llamafactory, "read_llamafactory.py", tiny_model, tmp_path / "sft.yaml")
    assert said(SAID) == learned(read["train"])
    assert said(HELD_OUT) == learned(read["dev"])
    assert math.isfinite(read["loss"])


def test_reasoning_is_learned_with_the_models_that_have_it(
    llamafactory: Path, tiny_model: Path, tmp_path: Path
) -> None:
    given = [*SHORT, REASONED]
    export(LlamaFactoryFormat(), tmp_path, given, replace(OPTIONS, base_model="Qwen/Qwen3-8B"))
    read = read_with(llamafactory, "read_llamafactory.py", tiny_model, tmp_path / "sft.yaml")
    assert said(given) == Counter(row["learned"].removeprefix(EMPTY_THOUGHT) for row in read["train"])


def test_of_whole_turns_every_answer_is_learned(llamafactory: Path, tiny_model: Path, tmp_path: Path) -> None:
    given = [replace(row, targets=all_answers(row)) for row in SHORT if "reasoning" not in row.prompt_text]
    export(LlamaFactoryFormat(), tmp_path, given, replace(OPTIONS, unit="trajectory"))
    read = read_with(llamafactory, "read_llamafactory.py", tiny_model, tmp_path / "sft.yaml")
    expected = Counter("".join(completion_of(row.messages[place]) + "\n" for place in row.targets) for row in given)
    assert expected == learned(read["train"])


def test_dpo_compares_the_two_answers(llamafactory: Path, tiny_model: Path, tmp_path: Path) -> None:
    given = [make_row(row.messages, row.tools, rejected=answer("No.")) for row in SHORT]
    export(LlamaFactoryFormat(), tmp_path, given, replace(OPTIONS, task="dpo"))
    read = read_with(llamafactory, "read_llamafactory.py", tiny_model, tmp_path / "dpo.yaml")
    assert said(given) == learned(read["train"], "chosen_learned")
    assert {completion_of(answer("No.")) + "\n": len(given)} == learned(read["train"], "rejected_learned")
    assert math.isfinite(read["loss"])


def test_kto_gets_each_answer_with_its_verdict(llamafactory: Path, tiny_model: Path, tmp_path: Path) -> None:
    given = [make_row(row.messages, row.tools, label=n % 2 == 0) for n, row in enumerate(SHORT)]
    export(LlamaFactoryFormat(), tmp_path, given, replace(OPTIONS, task="kto"))
    read = read_with(llamafactory, "read_llamafactory.py", tiny_model, tmp_path / "kto.yaml")
    verdicts = sorted((completion_of(row.answer) + "\n", row.label) for row in given)
    assert verdicts == sorted((row["learned"], row["good"]) for row in read["train"])
    n_good = sum(row.label is True for row in given)
    assert list(kto_weights(n_good, len(given) - n_good)) == read["weights"]
    assert math.isfinite(read["loss"])


@pytest.mark.parametrize(
    ("base_model", "template"),
    [
        ("Qwen/Qwen2.5-7B-Instruct", "qwen2_5"),
        ("Qwen/Qwen3-8B", "qwen3"),
        ("Qwen/Qwen3-4B-Instruct-2507", "qwen3_instruct_2507"),
    ],
)
def test_the_templates_of_the_families_write_what_the_models_own_write(
    base_model: str, template: str, llamafactory: Path, tiny_model: Path, tmp_path: Path
) -> None:
    given = [*SHORT, FRAGILE, REASONED]
    export(LlamaFactoryFormat(), tmp_path, given, replace(OPTIONS, base_model=base_model))
    read = read_with(llamafactory, "read_llamafactory.py", tiny_model, tmp_path / "sft.yaml")
    expected = Counter(_written(ChatTemplate(_shipped(template)), row) for row in given)
    assert expected == Counter(_known_difference(row["context"] + row["learned"]) for row in read["train"])


def _written(template: ChatTemplate, row: Row) -> str:
    made = template.prompt_and_answer(row.messages, row.tools or None)
    return made.prompt + made.answer


def _known_difference(text: str) -> str:
    """Without a system prompt, LLaMA-Factory keeps the empty line that would part it from the tools."""
    return text.replace("<|im_start|>system\n\n\n# Tools", "<|im_start|>system\n# Tools")


def _shipped(name: str) -> str:
    """Return a template that TRL carries, which is a copy of the model's own."""
    [folder] = python_of(".venv-consumers", "ci").parents[1].glob("lib/*/site-packages/trl/chat_templates")
    return (folder / f"{name}.jinja").read_text()
