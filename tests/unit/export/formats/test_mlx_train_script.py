"""``train.sh`` and the log: it asks the real ``toollog``; what trains is a stand-in that says that it was asked."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tarx_toollog.export.formats.base import FormatOptions
from tarx_toollog.export.formats.mlx import MlxFormat
from tarx_toollog.store.log import ToolLog
from tests.support.export_rows import TRAITS, export
from tests.unit.cli.samples import good_chat, write_log

TRAINING = 9
"""Exit status of the first step that trains."""
TOOLS = {
    **dict.fromkeys(("mlx_lm.lora", "llama-quantize", "llama-server", "curl"), "exit 0"),
    "mlx_lm.convert": f"exit {TRAINING}",
    "toollog": f'exec "{sys.executable}" -m tarx_toollog "$@"',
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the tools that the script needs, and an export in ``out``."""
    (tmp_path / "bin").mkdir()
    for name, text in TOOLS.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    (tmp_path / "llama.cpp").mkdir()
    (tmp_path / "llama.cpp/convert_hf_to_gguf.py").touch()
    export(MlxFormat(), tmp_path / "out/mlx", [TRAITS["one call"]], FormatOptions(build_name="may"))
    return tmp_path


def run(folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Start the script from the folder above the one that it lies in."""
    path = os.pathsep.join([str(folder / "bin"), os.environ["PATH"]])
    environment = os.environ | {"PATH": path, "HOME": str(folder), "PYTHON": sys.executable} | more
    environment.pop("LLAMA_CPP", None)
    return subprocess.run(
        [shutil.which("sh") or "/bin/sh", "out/mlx/train.sh"], cwd=folder, env=environment, capture_output=True,
        text=True, check=False,
    )  # fmt: skip


def tags(database: Path) -> set[str]:
    with ToolLog.open(database) as log:
        return {tag for (tag,) in log.query("SELECT tag FROM scenario").rows}


def test_the_path_of_the_database_is_meant_where_the_script_was_started(folder: Path) -> None:
    write_log(folder / "mine.db", good_chat(), split="eval")

    done = run(folder, TOOLLOG_DATABASE="mine.db")

    assert (TRAINING, {"may"}) == (done.returncode, tags(folder / "mine.db")), done.stderr


def test_settings_beside_the_start_hold_for_the_replay(folder: Path) -> None:
    write_log(folder / "mine.db", good_chat(), split="eval")
    (folder / "toollog.toml").write_text('database = "mine.db"\n')

    done = run(folder)

    assert (TRAINING, {"may"}) == (done.returncode, tags(folder / "mine.db")), done.stderr


def test_a_database_that_cannot_be_used_stops_the_script_before_it_trains_and_says_why(folder: Path) -> None:
    done = run(folder, TOOLLOG_DATABASE="nowhere.db")

    assert 1 == done.returncode
    assert "nowhere.db" in done.stderr.splitlines()[0]
    assert "no scenarios: toollog replay build ended with status 6" in done.stderr
    assert "REPLAY=no" in done.stderr


def test_without_a_conversation_for_evaluation_it_trains_all_the_same(folder: Path) -> None:
    write_log(folder / "mine.db", good_chat(), split="train")

    done = run(folder, TOOLLOG_DATABASE="mine.db")

    assert TRAINING == done.returncode, done.stderr
    assert "kept for eval" in done.stderr


def test_where_the_log_is_not_at_hand_it_can_train_without_toollog(folder: Path) -> None:
    (folder / "bin/toollog").unlink()

    assert TRAINING == run(folder, REPLAY="no", PATH=f"{folder / 'bin'}:/usr/bin:/bin").returncode
