"""An export and its place: other disks, other exports, names that collide, and being killed half-way.

Whatever happens, the earlier export is whole or a later one with ``force`` removes all of it, and nothing that is not
ours.
"""

import errno
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog.errors import ConfigError
from tarx_toollog.export.options import ExportOptions
from tarx_toollog.export.pipeline import run_export
from tarx_toollog.export.report import ExportReport
from tarx_toollog.export.scratch import alone, scratch_folder
from tarx_toollog.store.log import ToolLog
from tests.unit.cli.samples import good_chat, write_log

CANONICAL = {"REPORT.md", "manifest.json", "lineage.jsonl", "canonical/train.jsonl"}
KILLED = """
import os, signal, sys
from tarx_toollog.cli.main import cli

real, left = os.replace, [int(sys.argv[1])]

def replace(source, target):
    if not left[0]:
        os.kill(os.getpid(), signal.SIGKILL)
    left[0] -= 1
    real(source, target)

os.replace = replace
cli(sys.argv[2:])
"""


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ToolLog]:
    """Open the log of one chat."""
    with ToolLog.open(settings=write_log(tmp_path / "log.db", good_chat())) as opened:
        yield opened


class Doing:
    """Does something when an export begins with a part of its work."""

    def __init__(self, label: str = "", action: Callable[[], object] = lambda: None) -> None:
        self.begun: list[str] = []
        self._label = label
        self._action = action

    def begin(self, label: str, total: int | None = None) -> None:
        self.begun.append(label)
        if label == self._label:
            self._action()

    def advance(self, count: int = 1) -> None:
        pass


def export(log: ToolLog, out: Path, *formats: str, **how: Any) -> ExportReport:
    name = how.pop("name", None)
    return run_export(log, out, ExportOptions(formats or ("canonical",), name=name), **how)


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def statuses(log: ToolLog) -> list[tuple[Any, ...]]:
    return list(log.query("SELECT status, n_examples FROM dataset_build ORDER BY id").rows)


# ---- disks -----------------------------------------------------------------------------------------------------------


def on_a_disk_of_its_own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing be moved into ``folder`` from outside."""
    real = os.replace

    def replace(source: Path, target: Path) -> None:
        inside = [Path(path).resolve().is_relative_to(folder) for path in (source, target)]
        if inside[0] != inside[1]:
            raise OSError(errno.EXDEV, "Invalid cross-device link", str(source))
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)


def test_an_export_is_replaced_through_a_link_to_another_disk(
    log: ToolLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to(tmp_path / "disk/train")
    on_a_disk_of_its_own(tmp_path / "disk", monkeypatch)

    export(log, tmp_path / "out", "mlx")
    export(log, tmp_path / "out", force=True)

    assert (tmp_path / "out").is_symlink()
    assert CANONICAL == set(files(tmp_path / "disk/train"))
    assert {"train"} == names_in(tmp_path / "disk")


def test_an_export_is_replaced_in_a_mount_point(log: ToolLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out").mkdir()
    on_a_disk_of_its_own(tmp_path / "out", monkeypatch)

    export(log, tmp_path / "out", "mlx")
    export(log, tmp_path / "out", force=True)

    assert CANONICAL == set(files(tmp_path / "out"))


def test_a_folder_of_a_format_on_another_disk_is_refused_before_anything_is_read(
    log: ToolLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    export(log, tmp_path / "out")
    before, other, real = files(tmp_path / "out"), tmp_path / "out/mlx", os.stat
    other.mkdir()

    def stat(path: Any, **how: Any) -> os.stat_result:
        found = real(path, **how)
        return os.stat_result((*found[:2], found.st_dev + 1, *found[3:])) if Path(path) == other else found

    monkeypatch.setattr(os, "stat", stat)
    doing = Doing()

    with pytest.raises(ConfigError, match="out/mlx is on another disk"):
        export(log, tmp_path / "out", "mlx", force=True, progress=doing)

    assert [] == doing.begun
    assert before == files(tmp_path / "out")


def test_the_empty_folder_where_one_stands_is_filled(
    log: ToolLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    export(log, Path())

    assert CANONICAL == set(files(tmp_path / "here"))
    assert {"REPORT.md", "manifest.json", "lineage.jsonl", "canonical"} == names_in(Path())


@pytest.mark.parametrize("formats", [("mlx",), ("canonical",)])
def test_into_an_existing_folder_come_the_same_bytes_as_into_a_new_one(
    log: ToolLog, tmp_path: Path, formats: tuple[str, ...]
) -> None:
    (tmp_path / "there").mkdir()

    for name in ("there", "new"):
        export(log, tmp_path / name, *formats)

    assert files(tmp_path / "new") == files(tmp_path / "there")


# ---- other exports ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("force", [False, True])
@pytest.mark.parametrize("is_there", [False, True])
def test_of_two_exports_into_one_folder_the_second_is_refused_before_it_reads(
    log: ToolLog, tmp_path: Path, force: bool, is_there: bool
) -> None:
    out, second, said = tmp_path / "out", Doing(), []
    if is_there:
        out.mkdir()

    def meanwhile() -> None:
        with pytest.raises(ConfigError, match="another export is writing") as caught:
            export(log, out, "mlx", force=force, progress=second)
        said.append(caught.value.hint)

    export(log, out, progress=Doing("rows written", meanwhile))

    assert (["wait for it, or choose another folder"], []) == (said, second.begun)
    assert CANONICAL == set(files(out))
    assert [("finished", 4)] == statuses(log)
    assert {"out", "log.db"} == {
        name for name in names_in(tmp_path) if not name.startswith("log.db") or name == "log.db"
    }


def test_what_somebody_puts_there_while_it_is_recorded_is_not_touched(log: ToolLog, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def meanwhile() -> None:
        out.mkdir()
        (out / "REPORT.md").write_text("mine")

    with pytest.raises(ConfigError, match="is not empty"):
        export(log, out, progress=Doing("build recorded", meanwhile))

    assert {"REPORT.md": b"mine"} == files(out)
    assert [("failed", None)] == statuses(log)


def test_the_lock_of_a_killed_export_is_free(tmp_path: Path) -> None:
    (tmp_path / ".out.lock").touch()

    with alone(tmp_path / "out"), pytest.raises(ConfigError), alone(tmp_path / "out"):
        pass

    assert set() == names_in(tmp_path)


def test_an_export_that_begins_does_not_take_the_folder_of_one_that_begins_for_dead(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = fcntl.flock, []

    def flock(descriptor: int, operation: int) -> None:
        calls.append(operation)
        if len(calls) == 1:
            with scratch_folder(tmp_path / "out"):
                pass
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock)

    with scratch_folder(tmp_path / "out") as folder:
        assert {"lock"} == names_in(folder)
    assert 2 <= len(calls)


# ---- what cannot be placed -------------------------------------------------------------------------------------------


def a_folder(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.mkdir()


@pytest.mark.parametrize("label", [None, "build recorded"])
@pytest.mark.parametrize(
    ("name", "make", "said"),
    [
        ("REPORT.md", a_folder, "REPORT.md is a folder"),
        ("mlx", Path.touch, "mlx is a file"),
    ],
)
def test_where_names_collide_the_earlier_export_stays(
    log: ToolLog, tmp_path: Path, name: str, make: Callable[[Path], None], said: str, label: str | None
) -> None:
    out, doing = tmp_path / "out", Doing()
    export(log, out)
    if label is None:
        make(out / name)
    else:
        doing = Doing(label, lambda: make(out / name))
    before = files(out)

    with pytest.raises(ConfigError, match=said):
        export(log, out, "mlx", force=True, progress=doing)

    before = {key: content for key, content in before.items() if (out / key).is_file()} | {"mlx": b""}
    assert {key: before[key] for key in files(out)} == files(out)
    assert {"manifest.json", "lineage.jsonl", "canonical/train.jsonl"} <= set(files(out))
    assert b"unfinished" not in files(out)["manifest.json"]
    assert [("finished", 4), *([] if label is None else [("failed", None)])] == statuses(log)


def test_a_build_is_finished_when_its_files_are_in_their_place(
    log: ToolLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, seen = os.replace, []

    def replace(source: Path, target: Path) -> None:
        seen.extend(statuses(log))
        real(source, target)

    monkeypatch.setattr(os, "replace", replace)

    export(log, tmp_path / "out")

    assert {("writing", None)} == set(seen)
    assert [("finished", 4)] == statuses(log)


@pytest.mark.parametrize("n_moved", [0, 1, 2, 6, 9])
def test_after_a_kill_half_way_the_next_export_removes_all_of_ours_and_nothing_else(
    log: ToolLog, tmp_path: Path, n_moved: int
) -> None:
    out = tmp_path / "out"
    export(log, out, "openai", "mlx")
    own = {"mlx/adapters.safetensors": b"hours", "canonical/mine.py": b"mine", "trl/dpo.py": b"mine"}
    for name, content in own.items():
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_bytes(content)

    again = ["export", "run", str(out), "--for", "trl", "--for", "mlx", "--name", "mine", "--force"]
    command = [sys.executable, "-c", KILLED, str(n_moved), "--database", str(tmp_path / "log.db"), *again]
    assert -signal.SIGKILL == subprocess.run(command, capture_output=True, check=False).returncode
    assert ("writing", None) == statuses(log)[-1]
    assert (n_moved == 0) == (b"unfinished" not in files(out)["manifest.json"])

    with pytest.raises(ConfigError, match="being written") as caught:
        export(log, out, name="mine", force=True)
    assert "--replace-build" in caught.value.hint
    options = ExportOptions(("canonical",), name="mine", replace_build=True)
    run_export(log, out, options, force=True)

    assert {*CANONICAL, *own} == set(files(out))
    assert own == {name: content for name, content in files(out).items() if name in own}
    assert ("finished", 4) == statuses(log)[-1]
    assert [] == [name for name in names_in(tmp_path) if name.startswith(".out")]


def test_somebodys_file_under_the_name_of_a_new_one_is_not_listed_before_it_is_replaced(
    log: ToolLog, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    (out / "mlx").mkdir(parents=True)
    (out / "mlx/train.jsonl").write_text("mine")
    again = ["export", "run", str(out), "--for", "mlx", "--force", "--no-record"]
    command = [sys.executable, "-c", KILLED, "1", "--database", str(tmp_path / "log.db"), *again]
    assert -signal.SIGKILL == subprocess.run(command, capture_output=True, check=False).returncode

    export(log, out, force=True)

    assert b"mine" == files(out)["mlx/train.jsonl"]
