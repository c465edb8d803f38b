"""Stages that make files, each once: what is made already, from the same inputs, is taken as it is.

``manifest.json`` in the work folder has, for each stage, the checksum of all that it was made from and of what came
out. A stage runs again when one of the two is another one now.
"""

import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_LAST_LINES = 15


class RequantError(Exception):
    """A stage cannot be done; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Stage:
    """One command that makes one file, or one folder."""

    name: str
    does: str
    """What a person reads while it runs."""
    command: tuple[str, ...]
    reads: tuple[Path, ...]
    """Files and folders that decide what comes out, programs included."""
    writes: Path


@dataclass(frozen=True, slots=True)
class Made:
    """What a stage made."""

    seconds: float
    """How long it took when it ran, which may have been in an earlier call."""
    size: int
    again: bool
    """It ran in this call."""


class Workshop:
    """Runs stages in a work folder, and remembers in its manifest what they made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._manifest = folder / "manifest.json"
        self._digests: dict[Path, str] = {}

    def make(self, stage: Stage) -> Made:
        """Run a stage, unless what it makes is there.

        Raises:
            RequantError: The command failed, or did not write what it should.
        """
        key = self._key(stage)
        known = self._known().get(stage.name, {})
        if known.get("key") == key and known.get("made") == self._digest(stage.writes):
            return Made(known["seconds"], size_of(stage.writes), again=False)
        _remove(stage.writes)
        began = time.perf_counter()
        self._run(stage)
        seconds = round(time.perf_counter() - began, 1)
        self._digests.pop(stage.writes, None)
        self._remember(stage.name, {"key": key, "made": self._digest(stage.writes), "seconds": seconds})
        return Made(seconds, size_of(stage.writes), again=True)

    def _key(self, stage: Stage) -> str:
        for path in stage.reads:
            if not path.exists():
                raise RequantError(f"stage {stage.name} needs {path}, which is missing")
        parts = [*stage.command, *(self._digest(path) for path in stage.reads)]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def _run(self, stage: Stage) -> None:
        log = self.folder / "logs" / f"{stage.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        # All models are here: nothing may be looked for on the network.
        env = os.environ | {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
        with log.open("wb") as output:
            done = subprocess.run(stage.command, stdout=output, stderr=output, env=env, check=False)
        if done.returncode or not stage.writes.exists():
            last = "\n".join(log.read_text("utf-8", "replace").splitlines()[-_LAST_LINES:])
            raise RequantError(
                f"stage {stage.name} ended with code {done.returncode}:\n{last}\n"
                f"All it said is in {log}. What was made before is kept: the same command goes on from here."
            )

    def _known(self) -> dict[str, Any]:
        if not self._manifest.exists():
            return {}
        known: dict[str, Any] = json.loads(self._manifest.read_text("utf-8"))
        return known

    def _remember(self, name: str, entry: dict[str, Any]) -> None:
        text = json.dumps(self._known() | {name: entry}, indent=2) + "\n"
        beside = self._manifest.with_suffix(".new")
        beside.write_text(text, "utf-8")
        beside.replace(self._manifest)

    def _digest(self, path: Path) -> str:
        if path not in self._digests:
            self._digests[path] = digest(path)
        return self._digests[path]


def digest(path: Path) -> str:
    """Return the SHA-256 of a file, or of a folder: names and contents. Empty when there is neither."""
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    if not path.is_dir():
        return ""
    lines = [f"{file.relative_to(path).as_posix()} {digest(file)}\n" for file in _files(path)]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def size_of(path: Path) -> int:
    """Return how many bytes a file, or all files of a folder, have."""
    return sum(file.stat().st_size for file in ([path] if path.is_file() else _files(path)))


def _files(folder: Path) -> Iterable[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
