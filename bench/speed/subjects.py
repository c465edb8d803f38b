"""The processes that are compared, each a real server of its own, and what they cost."""

import os
import resource
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import NamedTuple

from tests.support.model_server import free_port

_START_S = 90.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_FILES = 16_384


class Subject(NamedTuple):
    """A running server."""

    url: str
    pid: int

    @property
    def cpu_s(self) -> float:
        """Processor time that it has used, all threads together."""
        fields = Path(f"/proc/{self.pid}/stat").read_text("ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S

    @property
    def rss_kib(self) -> int:
        """Resident memory."""
        text = Path(f"/proc/{self.pid}/status").read_text("ascii")
        return int(text.partition("VmRSS:")[2].split()[0])

    def settle(self, most_s: float = 20.0) -> None:
        """Wait until it does nothing any more: what one figure leaves behind must not stand in the next one."""
        until, quiet, used = time.monotonic() + most_s, 0, self.cpu_s
        while quiet < 3 and time.monotonic() < until:
            time.sleep(0.1)
            now = self.cpu_s
            quiet, used = (quiet + 1 if now - used <= 0.01 else 0), now


def allow_many_files() -> None:
    """Let this process, and those that it starts, have thousands of connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


@contextmanager
def running(
    command: list[str], port: int, *, ready: str = "/", env: Mapping[str, str] | None = None, log: Path | None = None
) -> Iterator[Subject]:
    """Run a server until the end of the block; begin when it answers at ``ready``, whatever it says there.

    Raises:
        RuntimeError: It ended, or did not answer in time.
    """
    output = subprocess.DEVNULL if log is None else log.open("wb")
    process = subprocess.Popen(command, env={**os.environ, **(env or {})}, stdout=output, stderr=output)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(process, url + ready)
        yield Subject(url, process.pid)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: subprocess.Popen[bytes], url: str) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    until = time.monotonic() + _START_S
    while time.monotonic() < until:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} ended with status {process.returncode}")
        try:
            opener.open(url, timeout=1).close()
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"{process.args!r} did not answer within {_START_S:.0f} s")


def model() -> AbstractContextManager[Subject]:
    """Run the model."""
    port = free_port()
    return running([sys.executable, "-m", "bench.speed.model", str(port)], port, ready="/")


def application(name: str, upstream: str, database: str = "") -> AbstractContextManager[Subject]:
    """Run an application of ``applications.py``: with the middleware when a database is given."""
    port = free_port()
    code = (
        "import uvicorn; from bench.speed import applications;"
        f"uvicorn.run(applications.{name}({upstream!r}, {database!r}), port={port}, log_level='error')"
    )
    return running([sys.executable, "-c", code], port)


def toollog_serve(upstream: str, folder: Path) -> AbstractContextManager[Subject]:
    """Run ``toollog serve``, with its pages, as anybody does."""
    port = free_port()
    command = [sys.executable, "-m", "tarx_toollog", "--database", str(folder / "log.db"), "serve"]
    return running([*command, "--upstream", upstream, "--port", str(port)], port, ready="/toollog/healthz")
