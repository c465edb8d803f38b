"""The guide for analysts: its commands run in order on the log that its first one makes, and print what it shows."""

import os
import pty
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tarx_toollog.store.log import ToolLog
from tests.support.builders import assistant, exchange, user
from tests.support.web_pages import running

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "analysts.md").read_text("utf-8")
BLOCK = re.compile(r"^```sh\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.MULTILINE | re.DOTALL)
PYTHON = re.compile(r"^```python\n(.*?)^```\n", re.MULTILINE | re.DOTALL)
CURL = re.compile(r"^curl .*?[^\\]$", re.MULTILINE | re.DOTALL)
END = "\x1e"


def on_a_terminal(script: str, folder: Path) -> str:
    """Return what a script prints on a terminal of 120 columns; nothing but results may come."""
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "TERM": "dumb",
        "COLUMNS": "120",
        "LINES": "50",
    }
    ours, theirs = pty.openpty()
    command = ["bash", "-e", "-u", "-o", "pipefail", "-c", script]
    errors, printed = folder / "errors.txt", bytearray()
    with (
        errors.open("wb") as stderr,
        subprocess.Popen(
            command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=theirs, stderr=stderr
        ) as process,
    ):
        os.close(theirs)
        while piece := _read(ours):
            printed += piece
    os.close(ours)
    assert 0 == process.returncode, errors.read_text()
    return printed.decode().replace("\r\n", "\n")


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 65_536)
    except OSError:  # how Linux says that nobody writes to it any more
        return b""


def lines(text: str) -> list[str]:
    """Return what can be seen of a text."""
    return [line.rstrip() for line in text.strip("\n").splitlines()]


def test_every_command_of_the_guide_runs_and_prints_what_the_guide_shows(tmp_path: Path) -> None:
    blocks = BLOCK.findall(GUIDE)
    if shutil.which("sqlite3") is None:
        blocks = [(code, shown) for code, shown in blocks if not code.startswith("sqlite3 ")]
    assert len(blocks) >= 10

    printed = on_a_terminal("".join(f"{code}printf '\\036'\n" for code, _ in blocks), tmp_path).split(END)

    assert "" == printed.pop()
    for (code, shown), found in zip(blocks, printed, strict=True):
        assert not shown or lines(shown) == lines(found), code


def test_the_workbench_of_the_guide_shows_the_pages_and_takes_a_thumb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = tmp_path / "t.db"
    with ToolLog.open(database, read_only=False) as log:
        log.write([exchange([user("Hello?")], assistant("Hello."))])  # chatcmpl-1
    monkeypatch.setenv("TOOLLOG_DATABASE", str(database))
    (code,), (post,) = PYTHON.findall(GUIDE), CURL.findall(GUIDE)
    (tmp_path / "workbench.py").write_text(code)
    with running(runpy.run_path(str(tmp_path / "workbench.py"))["app"]) as url:
        post = post.replace("chatcmpl-…", "chatcmpl-1").replace("http://127.0.0.1:11450", url)
        done = subprocess.run(["bash", "-c", post], capture_output=True, text=True, check=True, timeout=30)
        overview = subprocess.run(["curl", "-s", f"{url}/toollog/"], capture_output=True, text=True, check=True).stdout

    assert "<h1>Overview</h1>" in overview
    with ToolLog.open(database) as log:
        ((name, value),) = log.query("SELECT name, value_num FROM label").rows
    assert ("thumbs", 1.0) == (name, value), done.stdout
