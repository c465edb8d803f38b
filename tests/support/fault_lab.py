"""A real server process before a real scripted upstream, things that break under it, and what must hold afterwards.

A ``Lab`` asks each question twice, of the upstream itself and through the process, and compares byte by byte. After a
fault has ended, ``drained`` waits until the database has every answer that a client got whole.
"""

import json
import mmap
import os
import shutil
import sqlite3
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import pytest

from tarx_toollog import Settings
from tarx_toollog.store.journal import backlog_bytes
from tests.support.fault_model import ask
from tests.support.upstream import (
    Answer,
    dialled,
    read_answer,
    request_bytes,
)
from tests.support.waiting import eventually
from tests.support.workers import Worker

# ---- the laboratory -------------------------------------------------------------------------------------------------


class Lab:
    """One process that records, and the ledger of what was asked of it."""

    def __init__(self, upstream: str, settings: Settings, tap: str, environment: Mapping[str, str]) -> None:
        self.upstream = upstream
        self.settings = settings
        self.tap = tap
        self.environment = environment
        self.delivered: list[str] = []
        """Questions whose answers a client has whole."""
        self.slowest_s = 0.0
        self._number = 0
        self.worker = Worker(tap, settings, environment)

    @property
    def url(self) -> str:
        return self.worker.url

    @property
    def database(self) -> Path:
        return Path(self.settings.database)

    @property
    def pid(self) -> int:
        return self.worker.process.pid

    def chat(self, *hows: str, times: int = 1, padding: int = 0) -> Answer:
        """Ask; fail when the client would see any difference to asking the model itself."""
        for how in hows * times:
            self._number += 1
            data = ask(how, self._number, padding=padding)
            direct = _talk(self.upstream, data)
            began = time.monotonic()
            through = _talk(self.url, data)
            self.slowest_s = max(self.slowest_s, time.monotonic() - began)
            assert _seen(direct) == _seen(through)
            if through.is_whole:
                self.delivered.append(f"{how} {self._number}")
        return through

    def restart(self) -> None:
        """Kill the process; start the next one."""
        self.close()
        self.worker = Worker(self.tap, self.settings, self.environment)

    def close(self) -> None:
        self.worker.kill()
        if self.worker.process.stdout is not None:
            self.worker.process.stdout.close()

    def health(self) -> dict[str, Any]:
        """Return what the process says of itself."""
        with dialled(self.url, request_bytes("GET", "/toollog/healthz", headers=[])) as client:
            found: dict[str, Any] = json.loads(read_answer(client).body)
        return found

    def query(self, sql: str) -> list[Any]:
        with closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as connection:
            return connection.execute(sql).fetchall()

    def stored(self, condition: str = "e.outcome <> 'open'") -> Counter[str]:
        """Return the questions of the exchanges that have ended, with how often each is there."""
        sql = f"SELECT m.content FROM exchange e JOIN message m ON m.id = e.user_message_id WHERE {condition}"
        return Counter(" ".join(text.split(" ")[:2]) for (text,) in self.query(sql))

    def gaps(self) -> dict[str, int]:
        return dict(self.query("SELECT kind, sum(n) FROM gap GROUP BY kind"))

    def outcome(self) -> str:
        """Return how the latest exchange ended."""
        found: str = self.query("SELECT outcome FROM exchange ORDER BY id DESC LIMIT 1")[0][0]
        return found

    def drained(self, *, without: int = 0, timeout_s: float = 40.0) -> None:
        """Wait until the database has each delivered answer once, but ``without`` of them; fail when it gets not."""

        def is_so() -> bool:
            try:
                stored = self.stored()
            except sqlite3.DatabaseError:
                return False  # not made yet, or not mended yet
            return sum(text in stored for text in self.delivered) >= len(self.delivered) - without

        is_drained = eventually(is_so, timeout_s)
        stored = self.stored()
        missing = [text for text in self.delivered if text not in stored]
        assert is_drained, (missing, self.gaps(), self.health())
        assert without == len(missing), missing
        assert {1} >= set(stored.values()), "an exchange was stored twice"
        assert [("ok",)] == self.query("PRAGMA integrity_check")
        assert [] == self.query("PRAGMA foreign_key_check")

    def rss_mib(self, field: str = "VmRSS") -> float:
        """Return the memory of the process: now, or ``VmHWM``, the most it ever had."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) / 1024
        raise AssertionError(field)

    def backlog(self) -> int:
        return backlog_bytes(self.settings.journal_path)


def _talk(url: str, data: bytes) -> Answer:
    with dialled(url, data) as connection:
        return read_answer(connection)


def _seen(answer: Answer) -> tuple[Any, ...]:
    return answer.status, answer.end_to_end, len(answer.body), hash(answer.body), answer.is_whole


@contextmanager
def lab(
    folder: Path,
    upstream: str,
    *,
    tap: str = "proxy",
    environment: Mapping[str, str] | None = None,
    **options: Any,
) -> Iterator[Lab]:
    """Run a process that records into ``folder``."""
    settings = Settings(
        **{
            "database": str(folder / "t.db"),
            "journal_dir": folder / "journal",
            "upstream": upstream,
            "idle_ms": 5,
            "probe": False,
            "checkpoint_ms": 50,
            **options,
        }
    )
    running = Lab(upstream, settings, tap, environment or {})
    try:
        yield running
    finally:
        running.close()


# ---- faults ---------------------------------------------------------------------------------------------------------


@contextmanager
def locked(database: Path) -> Iterator[None]:
    """Let another process hold the database: ``BEGIN EXCLUSIVE``."""
    program = (
        "import sqlite3, sys\n"
        "c = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)\n"
        "c.execute('BEGIN EXCLUSIVE'); print('locked', flush=True); sys.stdin.read(); c.execute('ROLLBACK')"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(database)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert b"locked\n" == other.stdout.readline()
        try:
            yield
        finally:
            other.communicate()


@contextmanager
def small_disk(folder: Path, size: str = "2m") -> Iterator[Path]:
    """Mount a small tmpfs; skip where that is not allowed."""
    folder.mkdir(exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        _unmount(folder)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Make a folder read-only, for root as well."""
    _mount("--bind", str(folder), str(folder))
    try:
        _mount("-o", "remount,ro,bind", str(folder))
        yield
    finally:
        _unmount(folder)


def _mount(*arguments: str) -> None:
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root may mount")
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"mount is not allowed here: {done.stderr.strip()}")


def _unmount(folder: Path) -> None:
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Fill the disk of a folder to the last byte; return the file that does."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (65536, 4096, 1):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError:
                continue
    return filler


def overwrite(path: Path, place: int, size: int) -> None:
    """Write rubbish over a part of a file, as ``dd conv=notrunc`` does."""
    with path.open("r+b", buffering=0) as file:
        file.seek(place)
        file.write(b"\xa5" * size)


@cache
def _shim_library() -> str | None:
    """Compile the shim; None without a compiler."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        return None
    made = Path(mkdtemp(prefix="toollog-shim-")) / "shim.so"
    source = Path(__file__).with_name("fault_shim.c")
    done = subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", str(made), str(source)], capture_output=True)
    return str(made) if done.returncode == 0 else None


class Shim:
    """Slow or failing syncs, and a wrong clock, in a process that runs."""

    def __init__(self, folder: Path) -> None:
        library = _shim_library()
        if library is None:
            pytest.skip("needs a C compiler on Linux")
        path = folder / "shim"
        path.write_bytes(bytes(32))
        with path.open("r+b") as file:
            self._control = mmap.mmap(file.fileno(), 32)
        self.environment = {"LD_PRELOAD": library, "FAULT_SHIM": str(path)}

    def set(self, *, sync_ms: int = 0, sync_fails_percent: int = 0, clock_s: int = 0) -> None:
        self._control[:24] = struct.pack("=qqq", sync_ms, sync_fails_percent, clock_s)

    @property
    def n_syncs(self) -> int:
        found: int = struct.unpack("=q", self._control[24:])[0]
        return found
