"""Folders for TRL and other readers of Hugging Face datasets."""

import ast
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarx_toollog.errors import ConfigError
from tarx_toollog.export.formats.base import FormatOptions
from tarx_toollog.export.formats.hf import length_limit
from tarx_toollog.export.formats.kto import kto_weights
from tarx_toollog.export.formats.trl import TrlFormat
from tests.support.export_rows import (
    CLOCK,
    GOOD,
    PREFERENCE,
    TRAITS,
    TRAJECTORY,
    answer,
    call,
    export,
    make_row,
    result,
    user,
)

STEP = make_row(
    [user("Time?"), answer("", call("c1", "clock", t=0.7)), result("c1", "clock", "12:00"), answer("Noon.")], [CLOCK]
)
CARD = """\
---
configs:
- config_name: default
  description: rows {digest}
  data_files:
  - split: train
    path: data/train.jsonl
  - split: validation
    path: data/validation.jsonl
dataset_info:
- config_name: default
  features:
  - name: prompt
    list: json
  - name: completion
    list: json
  - name: tools
    dtype: string
---
"""


def test_a_step_is_a_prompt_and_a_completion_with_tools_as_text(tmp_path: Path) -> None:
    expected = {"prompt": STEP.prompt, "completion": [STEP.answer], "tools": json.dumps([CLOCK])}
    assert expected == export(TrlFormat(), tmp_path, [STEP]).only


def test_tools_are_absent_when_none_were_offered(tmp_path: Path) -> None:
    assert {"prompt", "completion"} == export(TrlFormat(), tmp_path, [TRAITS["plain answer without tools"]]).only.keys()


def test_a_turn_is_messages_and_every_answer_in_it_has_to_be_wanted(tmp_path: Path) -> None:
    whole = replace(TRAJECTORY, targets=(2, 4, 6))
    made = export(TrlFormat(), tmp_path, [whole, TRAJECTORY], FormatOptions(unit="trajectory"))
    assert {"messages": whole.messages, "tools": whole.tools_text} == made.only
    assert ["needs_mask"] == made.dropped


def test_a_step_that_wants_another_message_learned_is_refused(tmp_path: Path) -> None:
    assert ["needs_mask"] == export(TrlFormat(), tmp_path, [TRAJECTORY, STEP]).dropped


def test_dpo_compares_two_answers_and_refuses_a_row_with_one(tmp_path: Path) -> None:
    made = export(TrlFormat(), tmp_path, [PREFERENCE, STEP], FormatOptions(task="dpo"))
    expected = {
        "prompt": PREFERENCE.prompt,
        "chosen": [PREFERENCE.answer],
        "rejected": [PREFERENCE.rejected],
        "tools": PREFERENCE.tools_text,
    }
    assert (expected, ["format_cannot_say"]) == (made.only, made.dropped)


@pytest.mark.parametrize("label", [True, False])
def test_kto_carries_the_verdict_and_refuses_a_row_without(label: bool, tmp_path: Path) -> None:
    made = export(TrlFormat(), tmp_path, [replace(GOOD, label=label), STEP], FormatOptions(task="kto"))
    assert (label, ["format_cannot_say"]) == (made.only["label"], made.dropped)


def test_the_card_names_the_files_that_are_there_and_types_every_column(tmp_path: Path) -> None:
    export(TrlFormat(), tmp_path, [STEP, replace(STEP, split="dev")])
    lines = b"".join((tmp_path / f"data/{name}.jsonl").read_bytes() for name in ("train", "validation"))
    card = CARD.format(digest=hashlib.sha256(lines).hexdigest()[:32])
    assert card == (tmp_path / "README.md").read_text()[: len(card)]
    assert ["train.jsonl", "validation.jsonl"] == sorted(path.name for path in (tmp_path / "data").iterdir())


@pytest.mark.parametrize(
    ("task", "row"), [("sft", STEP), ("dpo", PREFERENCE), ("kto", GOOD)], ids=["sft", "dpo", "kto"]
)
def test_the_script_is_python_with_our_numbers_in_it(task: Any, row: Any, tmp_path: Path) -> None:
    model = 'a "strange"\nmodel\\'
    export(TrlFormat(), tmp_path, [row], FormatOptions(task=task, base_model=model, seed=7))
    constants = _constants((tmp_path / f"{task}.py").read_text())
    longest = len((tmp_path / "data" / "train.jsonl").read_bytes()) - 1
    weights = {"GOOD_WEIGHT": 1.0, "BAD_WEIGHT": 1.0} if task == "kto" else {}
    assert {"MODEL": model, "MAX_LENGTH": length_limit(longest), "SEED": 7, **weights} == constants
    assert {"data", "README.md", "load.py", f"{task}.py"} == {path.name for path in tmp_path.iterdir()}


def test_the_script_weighs_good_and_bad_rows_by_their_number_in_training(tmp_path: Path) -> None:
    rows = [replace(GOOD, label=n < 12) for n in range(15)] + [replace(GOOD, label=False, split="dev")] * 9
    export(TrlFormat(), tmp_path, rows, FormatOptions(task="kto"))

    script = (tmp_path / "kto.py").read_text()
    assert {"GOOD_WEIGHT": 1.0, "BAD_WEIGHT": 4.0}.items() <= _constants(script).items()
    assert "12 good ones and 3 bad ones" in script
    assert "desirable_weight=GOOD_WEIGHT,\n    undesirable_weight=BAD_WEIGHT,\n" in script


@given(st.integers(1, 10**6), st.integers(1, 10**4))
def test_good_rows_count_as_much_as_bad_ones_or_up_to_a_third_more(good: int, bad: int) -> None:
    for n_good, n_bad in ((good, bad), (bad, good)):
        weights = kto_weights(n_good, n_bad)
        ratio = weights.good * n_good / (weights.bad * n_bad)
        assert 1 - 1e-9 <= ratio <= 4 / 3 + 1e-9
        assert 1.0 == min(weights)


def test_rows_of_one_kind_have_no_weights() -> None:
    assert (1.0, 1.0) == kto_weights(9, 0) == kto_weights(0, 9)


@pytest.mark.parametrize(
    ("n_good", "n_bad", "said"),
    [(9, 0, "the kind\n# that is missing"), (0, 9, "the kind\n# that is missing"), (4, 3, "weigh about the same")],
)
def test_the_script_claims_of_weights_only_what_they_do(n_good: int, n_bad: int, said: str, tmp_path: Path) -> None:
    rows = [replace(GOOD, label=n < n_good) for n in range(n_good + n_bad)]
    export(TrlFormat(), tmp_path, rows, FormatOptions(task="kto"))

    script = (tmp_path / "kto.py").read_text()
    assert f"{n_good} good ones and {n_bad} bad ones" in script
    assert said in script
    assert "rarer" not in script


def test_rows_in_the_recommended_proportion_have_no_weights() -> None:
    assert (1.0, 1.0) == kto_weights(3, 3) == kto_weights(4, 3)
    assert ((1.0, 1.66), (1.34, 1.0)) == (kto_weights(5, 3), kto_weights(3, 4))


def test_without_rows_to_train_on_there_is_no_script(tmp_path: Path) -> None:
    export(TrlFormat(), tmp_path, [replace(STEP, split="eval")])
    assert {"data", "README.md", "load.py"} == {path.name for path in tmp_path.iterdir()}


def test_the_limit_is_a_multiple_of_64_above_the_bytes_of_the_longest_row() -> None:
    assert [1024, 1088, 1088, 1152] == [length_limit(longest) for longest in (0, 1, 64, 65)]


def test_the_limit_counts_bytes_and_not_characters(tmp_path: Path) -> None:
    export(TrlFormat(), tmp_path, [make_row([user("🐈" * 1000), answer("Yes.")])])
    assert _constants((tmp_path / "sft.py").read_text())["MAX_LENGTH"] > 4000 + 1024


def test_preferences_over_whole_turns_are_refused_beforehand(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="single answers"):
        TrlFormat().writer(tmp_path, FormatOptions(task="dpo", unit="trajectory"))


def _constants(script: str) -> dict[str, Any]:
    """Return the constants of a script, without running it."""
    return {
        node.targets[0].id: ast.literal_eval(node.value)
        for node in ast.parse(script).body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id.isupper()
    }
