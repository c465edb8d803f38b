"""What mlx-lm gets: rows, numbers that cannot hurt it, and a script. ``tests/consumers`` runs the real one."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarx_toollog.errors import ConfigError
from tarx_toollog.export.example import Split, Task, Unit
from tarx_toollog.export.formats.base import FormatOptions
from tarx_toollog.export.formats.mlx import MlxFormat
from tarx_toollog.export.formats.mlx_config import Plan, lora_yaml, plan_of
from tarx_toollog.export.formats.mlx_script import train_script
from tests.support.export_rows import GOOD, TOOLS, TRAITS, TRAJECTORY, answer, export, make_row, user

SH = shutil.which("sh") or "/bin/sh"
PLAN = Plan(rows={"train": 8, "dev": 4}, max_tokens=900, batch_size=4, accumulation=1, iters=4, max_seq_length=4096)


def test_a_row_is_messages_and_tools_and_nothing_else(tmp_path: Path) -> None:
    messages = [user("Hi"), answer("Hello.")]
    export(MlxFormat(), tmp_path, [make_row(messages, TOOLS[2:])])
    expected = (
        '{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello."}], '
        '"tools": [{"type": "function", "function": {"name": "clock"}}]}\n'
    )
    assert expected == (tmp_path / "train.jsonl").read_text()


def test_the_splits_have_the_names_that_mlx_lm_looks_for(tmp_path: Path) -> None:
    splits: tuple[Split, ...] = ("train", "dev", "eval")
    made = export(MlxFormat(), tmp_path, [make_row([user("a"), answer("b")], split=split) for split in splits])
    assert ["train.jsonl", "valid.jsonl", "test.jsonl"] == [place.file for place in made.places]


def test_a_split_without_rows_has_neither_a_file_nor_a_setting(tmp_path: Path) -> None:
    export(MlxFormat(), tmp_path, [TRAITS["one call"]])
    assert {"train.jsonl", "lora.yaml", "train.sh"} == {path.name for path in tmp_path.iterdir()}
    assert "val_batches" not in (tmp_path / "lora.yaml").read_text()


def test_without_rows_to_train_on_there_is_nothing_to_configure(tmp_path: Path) -> None:
    export(MlxFormat(), tmp_path, [make_row([user("a"), answer("b")], split="dev")])
    assert ["valid.jsonl"] == [path.name for path in tmp_path.iterdir()]


def test_a_row_that_wants_more_learned_than_its_last_message_is_refused(tmp_path: Path) -> None:
    assert ["needs_mask"] == export(MlxFormat(), tmp_path, [TRAJECTORY, TRAITS["one call"]]).dropped


def test_a_row_whose_only_target_is_the_last_message_is_taken(tmp_path: Path) -> None:
    messages = [user("a"), answer("b")]
    assert [] == export(MlxFormat(), tmp_path, [make_row(messages, targets=(1,))]).dropped


@pytest.mark.parametrize(("task", "unit"), [("dpo", "step"), ("kto", "step"), ("sft", "trajectory")])
def test_what_mlx_lm_cannot_learn_is_refused_before_anything_is_written(task: Task, unit: Unit, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"format mlx has no (task|unit)") as caught:
        MlxFormat().writer(tmp_path, FormatOptions(task=task, unit=unit))
    assert caught.value.hint in {"it has: sft", "it has: step"}


@given(st.integers(1, 500), st.none() | st.integers(1, 500), st.none() | st.integers(1, 500), st.integers(1, 30_000))
def test_every_row_is_trained_whatever_the_counts(
    train: int, dev: int | None, held_out: int | None, max_tokens: int
) -> None:
    rows: dict[Split, int] = {"train": train}
    rows |= {} if dev is None else {"dev": dev}
    rows |= {} if held_out is None else {"eval": held_out}
    plan = plan_of(rows, max_tokens, 4 * max_tokens)
    assert 0 == train % plan.batch_size
    assert plan.batch_size <= min(rows.values())
    assert 0 == plan.iters % plan.accumulation
    assert 2 * train <= plan.iters * plan.batch_size < 2 * train + 4
    assert 4 == plan.batch_size * plan.accumulation


@pytest.mark.parametrize(("dev", "expected"), [(1, 1), (3, 2), (4, 4)])
def test_a_batch_is_no_larger_than_the_smallest_split(dev: int, expected: int) -> None:
    assert expected == plan_of({"train": 8, "dev": dev, "eval": 9}, 100, 400).batch_size


def test_long_rows_are_trained_one_by_one() -> None:
    assert (4, 1) == (plan_of({"train": 8}, 2048, 9000).batch_size, plan_of({"train": 8}, 25_000, 90_000).batch_size)


@pytest.mark.parametrize("text", ["word " * 500, "猫" * 500, "🐈" * 500, '"' * 500])
def test_the_limit_is_beyond_what_any_tokenizer_can_make_of_the_longest_row(text: str, tmp_path: Path) -> None:
    export(MlxFormat(), tmp_path, [make_row([user("short"), answer("x")]), make_row([user(text), answer("x")])])
    longest = max(len(line) for line in (tmp_path / "train.jsonl").read_bytes().splitlines())
    [limit] = re.findall(r"^max_seq_length: (\d+)$", (tmp_path / "lora.yaml").read_text(), re.MULTILINE)
    assert longest + 1024 <= int(limit) < longest + 1024 + 64
    assert len(text.encode()) < longest


def test_the_numbers_stand_in_the_configuration() -> None:
    text = lora_yaml(PLAN, FormatOptions(base_model='my "model"', seed=7))
    wanted = [
        r'model: "my \"model\""', "seed: 7", "mask_prompt: true", "max_seq_length: 4096", "batch_size: 4",
        "grad_accumulation_steps: 1", "iters: 4", "grad_checkpoint: true", "val_batches: 1", "steps_per_eval: 1",
    ]  # fmt: skip
    lines = text.splitlines()
    assert wanted == [line for line in wanted if line in lines]
    assert "8 rows to train on, 4 to validate with:" in lines[0]


def test_the_served_template_stands_beside_the_rows(tmp_path: Path) -> None:
    options = FormatOptions(template="{{ tools }}", served_template="{{ messages }}\n")
    export(MlxFormat(), tmp_path, [TRAITS["one call"]], options)
    assert "{{ messages }}\n" == (tmp_path / "served_template.jinja").read_text()


def test_a_template_that_somebody_named_is_not_written_as_the_served_one(tmp_path: Path) -> None:
    export(MlxFormat(), tmp_path, [TRAITS["one call"]], FormatOptions(template="{{ messages }}"))
    assert not (tmp_path / "served_template.jinja").exists()


def test_the_script_is_one_that_sh_reads_with_names_of_any_kind() -> None:
    options = FormatOptions(base_model="it's; rm -rf $HOME", upstream="http://x/$(id)")
    script = train_script(PLAN, options, "`v 1`")
    subprocess.run([SH, "-n"], input=script, text=True, check=True)
    values = subprocess.run(
        [SH, "-c", "\n".join(line for line in script.splitlines() if line.startswith(("model=", "tag=", "upstream=")))
         + '\nprintf "%s|" "$model" "$tag" "$upstream"'],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "it's; rm -rf $HOME|`v 1`|http://x/$(id)|" == values.stdout
    assert [] == re.findall("@[A-Z]+@", script)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (7, "16 batches are 2 epochs, and 2 rows more to fill the last update."),
        (253, "508 batches are 2 epochs, and 2 rows more to fill the last update."),
        (8, "16 batches are 2 epochs."),
    ],
)
def test_the_configuration_says_how_many_epochs_its_batches_are(rows: int, said: str) -> None:
    plan = plan_of({"train": rows}, 25_000, 90_000)
    assert 1 == plan.batch_size
    assert f"# 1 x 4 rows an update; {said}" in lora_yaml(plan, FormatOptions()).splitlines()


def test_scenarios_are_tagged_with_the_name_of_the_build_or_one_that_other_rows_do_not_have(tmp_path: Path) -> None:
    tags = []
    for number, (name, row) in enumerate(
        [("may", "one call"), (None, "one call"), (None, "one call"), (None, "dates, large numbers")]
    ):
        export(MlxFormat(), tmp_path / str(number), [TRAITS[row]], FormatOptions(build_name=name))
        tags += re.findall(r"^tag=(\S+)", (tmp_path / str(number) / "train.sh").read_text(), re.MULTILINE)
    assert "may" == tags[0]
    assert tags[1] == tags[2] != tags[3]
    assert [True] * 3 == [re.fullmatch("rows-[0-9a-f]{8}", tag) is not None for tag in tags[1:]]


def test_the_script_names_each_tool_that_is_missing_before_it_starts(tmp_path: Path) -> None:
    export(MlxFormat(), tmp_path / "mlx", [TRAITS["one call"]])
    (tmp_path / "bin").mkdir()
    for tool in ("dirname", "curl"):
        (tmp_path / "bin" / tool).symlink_to(shutil.which(tool) or "")
    run = subprocess.run(
        [SH, tmp_path / "mlx" / "train.sh"], env={"PATH": str(tmp_path / "bin"), "HOME": str(tmp_path)},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert 1 == run.returncode
    missing = [line.removeprefix("missing: ").split()[0] for line in run.stderr.splitlines()]
    converter = str(tmp_path / "llama.cpp" / "convert_hf_to_gguf.py")
    assert ["mlx_lm.lora", "llama-quantize", "llama-server", "toollog", "python3", converter] == missing
    assert {"train.jsonl", "lora.yaml", "train.sh"} == {path.name for path in (tmp_path / "mlx").iterdir()}


def test_files_are_readable_for_their_owner_only(tmp_path: Path) -> None:
    export(MlxFormat(), tmp_path, [GOOD])
    assert {0o600} == {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
