"""Serve GGUF files, and put the held-out prompts to each with the real command line."""

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.requant_stages import RequantError
from examples.local_model import launch
from tests.support.model_server import free_port

ROOT = Path(__file__).parents[1]
HELD_OUT = ROOT / "examples" / "local_model" / "heldout.jsonl"
TAG = "heldout"
MIN_ACCURACY = "0.8"
"""Of sixteen chains, all have to be right for this one; for 85 %, sixteen are too few to pass at all."""
_READY_SECONDS = 120
_GATE_CODES = {0, 4, 7}


@contextlib.contextmanager
def serving(model: Path, alias: str, log: Path) -> Iterator[str]:
    """Serve one file on a free port, with the chat template of the training."""
    port = free_port()
    command = [sys.executable, "-m", "bench.requant_serve", str(model), alias, str(port)]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    base_url = f"http://127.0.0.1:{port}"
    try:
        launch.wait_ready(base_url, _READY_SECONDS, process)
        yield base_url
    except launch.LaunchError as error:
        raise RequantError(f"{error} Its log: {log}") from None
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass(frozen=True, slots=True)
class Replay:
    """``toollog replay`` on a database of its own."""

    database: Path

    def say(self, *arguments: str, codes: frozenset[int] | set[int] = frozenset({0})) -> str:
        """Run a command and return what it prints.

        Raises:
            RequantError: It ended with a code that is not among ``codes``.
        """
        command = [sys.executable, "-m", "tarx_toollog", "--database", str(self.database), *arguments]
        # Settings of yours are for your log, not for this one.
        env = {name: value for name, value in os.environ.items() if not name.startswith("TOOLLOG_")}
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        if done.returncode not in codes:
            raise RequantError(
                f"toollog {' '.join(arguments)} ended with code {done.returncode}:\n{done.stdout}{done.stderr}"
            )
        return done.stdout

    def begin(self) -> None:
        """Begin with an empty log that has the held-out prompts."""
        for suffix in ("", "-wal", "-shm"):
            Path(f"{self.database}{suffix}").unlink(missing_ok=True)
        self.say("db", "upgrade")
        self.say("replay", "import", str(HELD_OUT), "--tag", TAG)

    def run(self, base_url: str, name: str) -> float:
        """Ask a served model all prompts, and return how many seconds that took."""
        began = time.perf_counter()
        self.say("replay", "run", TAG, "--name", name, "--endpoint", base_url, "--model", name)
        return round(time.perf_counter() - began, 1)

    def gate(self, run: str) -> tuple[str, dict[str, Any]]:
        """Return what the gate says of a run: for a person, and as figures."""
        arguments = ("replay", "gate", run, "--min-accuracy", MIN_ACCURACY)
        figures: dict[str, Any] = json.loads(self.say(*arguments, "--json", codes=_GATE_CODES))
        return self.say(*arguments, codes=_GATE_CODES), figures

    def compare(self, base: str, other: str) -> tuple[str, dict[str, Any]]:
        """Return the paired comparison of two runs: for a person, and as figures."""
        figures: dict[str, Any] = json.loads(self.say("replay", "compare", base, other, "--json"))
        return self.say("replay", "compare", base, other), figures
