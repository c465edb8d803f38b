import signal
import subprocess
import sys
from pathlib import Path

from tarx_toollog.export.scratch import scratch_folder

HOLD = """
import sys
from pathlib import Path
from tarx_toollog.export.scratch import scratch_folder
with scratch_folder(Path(sys.argv[1])) as folder:
    (folder / "rows").write_text("many")
    print(folder, flush=True)
    sys.stdin.read()
"""


def holding(out: Path) -> tuple[subprocess.Popen[str], Path]:
    """Start a process that works in a folder beside ``out``."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(out)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    return process, Path(process.stdout.readline().strip())


def ended(process: subprocess.Popen[str]) -> None:
    process.wait()
    for stream in (process.stdin, process.stdout):
        assert stream is not None
        stream.close()


def test_the_folder_is_private_beside_the_output_and_gone_afterwards(tmp_path: Path) -> None:
    with scratch_folder(tmp_path / "new" / "out") as folder:
        assert (tmp_path / "new", 0o700) == (folder.parent, folder.stat().st_mode & 0o777)

    assert [] == list((tmp_path / "new").iterdir())


def test_what_a_killed_export_left_is_removed_by_the_next(tmp_path: Path) -> None:
    process, left = holding(tmp_path / "out")
    process.send_signal(signal.SIGKILL)
    ended(process)
    assert left.is_dir()

    with scratch_folder(tmp_path / "out"):
        assert not left.exists()


def test_the_folder_of_a_running_export_and_of_another_output_stay(tmp_path: Path) -> None:
    process, running = holding(tmp_path / "out")
    (strange := tmp_path / ".out.partial-strange").mkdir()

    with scratch_folder(tmp_path / "out"), scratch_folder(tmp_path / "other"):
        assert running.is_dir()
        assert strange.is_dir()
    process.kill()
    ended(process)
