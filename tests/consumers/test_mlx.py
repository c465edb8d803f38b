"""The real mlx-lm reads our folder, learns just what the model said, and trains on a row that used to break it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tarx_toollog.export.example import Row
from tarx_toollog.export.formats.base import FormatOptions
from tarx_toollog.export.formats.mlx import MlxFormat
from tests.consumers.environments import completion_of, read_in, run_in
from tests.support.export_rows import REASONED, TRAITS, answer, export, generated_rows, make_row, user

SPLITS = [
    *TRAITS.values(),
    REASONED,
    *(make_row([user(f"Question {n}"), answer(f"Answer {n}.")], split="dev") for n in range(4)),
    *(make_row(TRAITS["one call"].messages, TRAITS["one call"].tools, split="eval") for _ in range(2)),
]


def test_the_loss_sees_what_the_model_said_and_nothing_else(consumers: Path, tiny_model: Path, tmp_path: Path) -> None:
    export(MlxFormat(), tmp_path, SPLITS, FormatOptions(base_model=str(tiny_model)))
    read = read_in(consumers, "read_mlx.py", tiny_model, tmp_path)
    assert _said(SPLITS) == Counter((row["split"], row["learned"]) for row in read)
    # Its mask reaches one token too far, and counts the first token of the padding; the answer has ended by then.
    assert {(True, 1)} == {(row["whole"], len(row["beyond"])) for row in read}


def test_the_prompt_of_each_row_stands_before_its_own_answer(consumers: Path, tiny_model: Path, tmp_path: Path) -> None:
    given = [make_row([user(f"Say {n}."), answer(f"It is {n}.")]) for n in range(8)]
    export(MlxFormat(), tmp_path, given)
    read = read_in(consumers, "read_mlx.py", tiny_model, tmp_path)
    expected = {(f"Say {n}.<|im_end|>\n<|im_start|>assistant\n", f"It is {n}.<|im_end|>\n") for n in range(8)}
    assert expected == {(row["context"].removeprefix("<|im_start|>user\n"), row["learned"]) for row in read}


def test_rows_of_any_shape_come_out_as_they_went_in(consumers: Path, tiny_model: Path, tmp_path: Path) -> None:
    given = [replace(row, split="train") for row in generated_rows(150)]
    made = export(MlxFormat(), tmp_path, given)
    assert [] == made.dropped
    read = read_in(consumers, "read_mlx.py", tiny_model, tmp_path)
    assert _said(given) == Counter((row["split"], row["learned"]) for row in read)


def test_two_epochs_leave_finite_weights_and_a_finite_loss(consumers: Path, tiny_model: Path, tmp_path: Path) -> None:
    short = [row for row in SPLITS if row.n_tokens < 260]
    export(MlxFormat(), tmp_path, short, FormatOptions(base_model=str(tiny_model)))
    printed = run_in(consumers, "mlx_lm.lora", "--config", "lora.yaml", "--test", cwd=tmp_path)
    assert "Test loss" in printed
    assert "nan" not in printed.lower()
    found = read_in(consumers, "read_adapters.py", tmp_path / "adapters" / "adapters.safetensors")
    assert {"tensors": 28, "not_finite": 0, "changed": 14} == found


def test_the_row_that_breaks_the_default_command_trains_with_our_configuration(
    consumers: Path, tiny_model: Path, tmp_path: Path
) -> None:
    export(MlxFormat(), tmp_path, [TRAITS["a long prompt"]], FormatOptions(base_model=str(tiny_model)))
    broken = _adapters(consumers, tmp_path, "broken", "--max-seq-length", "2048")
    assert broken["tensors"] == broken["not_finite"]
    ours = _adapters(consumers, tmp_path, "ours")
    assert (0, 14) == (ours["not_finite"], ours["changed"])


def _adapters(python: Path, folder: Path, name: str, *more: str) -> Any:
    once = ("--iters", "1", "--grad-accumulation-steps", "1")
    run_in(python, "mlx_lm.lora", "--config", "lora.yaml", *once, "--adapter-path", name, *more, cwd=folder)
    return read_in(python, "read_adapters.py", folder / name / "adapters.safetensors")


def _said(given: Sequence[Row]) -> Counter[tuple[str, str]]:
    return Counter((row.split, completion_of(row.answer) + "\n") for row in given)
