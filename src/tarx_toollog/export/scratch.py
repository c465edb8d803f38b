"""What an export works in: a folder beside its output, and memory that is rarely searched for cycles.

What a killed export left in its folder is taken away by the next one.
"""

import fcntl
import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOCK = "lock"
"""Locked as long as the export runs; the lock of a dead process is free."""
_OBJECTS = (100_000, 50, 100)  # between two looks: tens of megabytes, if all were cycles


@contextmanager
def scratch_folder(out: Path | None) -> Iterator[Path]:
    """Yield a private folder beside ``out``, on the same disk, so that what is done can be moved; None: anywhere."""
    if out is None:
        folder = Path(tempfile.mkdtemp(prefix="toollog-"))
    else:
        out.parent.mkdir(parents=True, exist_ok=True)
        prefix = f".{out.name}.partial-"
        _remove_dead(out.parent, prefix)
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=out.parent))  # mkdtemp makes it 0700
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield folder
    finally:
        os.close(descriptor)
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def rare_collections() -> Iterator[None]:
    """Let Python look for unreachable cycles more rarely.

    An export makes and drops millions of small objects with hardly any cycles among them: the trees of dialogues are
    taken apart by ``Normaliser``. To look for cycles after every 700 objects took an eighth of its time and more.
    """
    before = gc.get_threshold()
    gc.set_threshold(*_OBJECTS)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _remove_dead(parent: Path, prefix: str) -> None:
    """Remove the folders whose export is dead. One without a lock file has just begun, or is not ours."""
    for path in parent.iterdir():
        if not path.name.startswith(prefix) or not (path / LOCK).is_file():
            continue
        with (path / LOCK).open("rb") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue
            shutil.rmtree(path, ignore_errors=True)
