"""What an export says of options that had no effect, and of files of which nothing is trained on."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog.export.options import ExportOptions
from tarx_toollog.export.pipeline import run_export
from tarx_toollog.store.log import ToolLog
from tests.unit.cli.samples import bad_chat, good_chat, write_log


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ToolLog]:
    """Open a log of two chats."""
    with ToolLog.open(settings=write_log(tmp_path / "log.db", good_chat(), bad_chat())) as opened:
        yield opened


@pytest.fixture
def identity(tmp_path: Path) -> Path:
    """Write five questions, of which some are trained on."""
    path = tmp_path / "identity.jsonl"
    texts = ("Who are you?", "What is your name?", "Which company made you?", "Are you a person?", "Who is this?")
    path.write_text("\n".join(json.dumps({"question": text, "answer": "I am TARX."}) for text in texts))
    return path


def warnings(log: ToolLog, *formats: str, **options: Any) -> list[str]:
    """Return what is said, beside what is said of every young log."""
    report = run_export(log, Path("out"), ExportOptions(formats or ("canonical",), **options), dry_run=True)
    always = ("no example is for validation", "the served chat template")
    return [warning for warning in report.warnings if not warning.startswith(always)]


@pytest.mark.parametrize("mix", ["identity=0", "identity=1:max=0"])
def test_a_mix_that_takes_nothing_of_a_file_is_the_cause_that_is_named(log: ToolLog, identity: Path, mix: str) -> None:
    (said,) = warnings(log, identity=(identity,), mix=mix)

    assert said.startswith("no row of identity.jsonl is for training: ")
    assert " × the mix asks for less of its source" in said
    assert "the mix" not in said.partition(": ")[0]


@pytest.mark.parametrize("mix", ["synthetic=50%", "synthetic=2"])
def test_a_source_of_the_mix_that_is_not_there_is_told(log: ToolLog, mix: str) -> None:
    said = "no row of the source synthetic, which --mix names, is for training: there is none"

    assert [said] == warnings(log, mix=mix)


def test_a_source_that_is_to_be_left_out_may_be_missing(log: ToolLog) -> None:
    assert [] == warnings(log, mix="synthetic=0,chat=1:max=0")


def test_a_file_whose_rows_another_stage_leaves_out_names_that_stage(log: ToolLog, tmp_path: Path) -> None:
    file = tmp_path / "dialogues.jsonl"
    said = [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "word " * 3000}]
    file.write_text(json.dumps({"messages": said}))

    assert ["no row of dialogues.jsonl is for training: 1 × it has more tokens than the limit"] == warnings(
        log, synthetic=(file,), max_tokens=1000
    )


def test_parquet_that_no_chosen_format_writes_is_told(log: ToolLog) -> None:
    said = "--parquet changed nothing: trl and unsloth write Parquet, the formats that were chosen do not"

    assert [said] == warnings(log, "mlx", parquet=True)
    assert [] == warnings(log, "mlx", "trl", parquet=True)
