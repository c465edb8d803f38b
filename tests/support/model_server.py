"""The real model of ``examples/local_model``, started for tests."""

import contextlib
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from examples.local_model import launch

CLOSE = {"connection": "close"}
"""llama.cpp closes a connection after a streamed answer without announcing it: a client had better not use it again."""


@dataclass(frozen=True)
class ModelServer:
    """A running model server.

    It is shared by all tests of a session. A test that turns the adapter off (request field ``lora``) has to
    send a request that turns it on again, else the prompt cache carries the base model into other tests.
    """

    base_url: str
    model: str
    pid: int


def free_port() -> int:
    """Return a port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def running_model_server(log: Path, **options: Any) -> Iterator[ModelServer]:
    """Start the model on a free port, wait until it answers, and stop it at the end.

    Args:
        log: File that gets what the server prints.
        options: As for ``launch.command``.
    """
    launch.ensure_installed()
    port = free_port()
    base_url = f"http://127.0.0.1:{port}"
    with log.open("wb") as output:
        process = subprocess.Popen(
            launch.command(port, **options), stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        launch.wait_ready(base_url, 60, process)
        yield ModelServer(base_url, launch.model_names(base_url)[0], process.pid)
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
