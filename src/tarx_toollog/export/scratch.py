"""What an export works in: a folder near its output, a lock on that, and memory that is rarely searched for cycles.

What a killed export left is taken away by the next one, also in the folder for temporary files.

*Theory.* Whoever runs holds a lock (``flock``), and the system frees the locks of the dead. A file with a name is
locked before anybody can find it under that name, so that a free lock always means a dead owner.
"""

import errno
import fcntl
import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tarx_toollog.errors import ConfigError

LOCK = "lock"
"""Locked as long as the export runs; the lock of a dead process is free."""
_INSIDE = ".toollog-partial-"
_INSIDE_LOCK = ".toollog-lock"
_TEMPORARY = "toollog-export-"
_NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS)
_OBJECTS = (100_000, 50, 100)  # between two looks: tens of megabytes, if all were cycles


def is_scratch(path: Path) -> bool:
    """Say whether an entry of an output folder is what exports work in, which is no content."""
    return path.name.startswith(_INSIDE) or path.name == _INSIDE_LOCK


def is_of(name: str | bytes, out: Path | None) -> bool:
    """Say whether a file is ``out``, lies in it or on the way to it, or in what exports into it work in."""
    path = Path(os.fsdecode(name)).absolute()
    parent, prefix = (Path(tempfile.gettempdir()), _TEMPORARY) if out is None else (out.parent, f".{out.name}.")
    if parent.is_relative_to(path) or (out is not None and path.is_relative_to(out)):
        return True
    return path.is_relative_to(parent) and path.relative_to(parent).parts[0].startswith(prefix)


@contextmanager
def scratch_folder(out: Path | None) -> Iterator[Path]:
    """Yield a private folder from which everything can be moved to ``out``; None: one for what stays nowhere.

    Where ``out`` is there already it lies inside: it may be a mount point, and its parent on another disk or not ours.
    """
    with suppress(FileNotFoundError):  # no folder for temporary files, which only some exports need
        _remove_dead(Path(tempfile.gettempdir()), _TEMPORARY)
    if out is None:
        folder = Path(tempfile.mkdtemp(prefix=_TEMPORARY))  # mkdtemp makes it 0700
    else:
        beside = f".{out.name}.partial-"
        out.parent.mkdir(parents=True, exist_ok=True)
        _remove_dead(out.parent, beside)
        _remove_dead(out, _INSIDE)
        parent, prefix = (out, _INSIDE) if out.is_dir() else (out.parent, beside)
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    try:
        with _locked(folder / f"{LOCK}.new") as is_locked:
            assert is_locked  # nobody else knows the name
            (folder / f"{LOCK}.new").rename(folder / LOCK)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Keep other exports away from ``out`` for a while.

    Raises:
        ConfigError: Another export is at it.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    try:
        path = out.parent / f".{out.name}.lock"
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        if error.errno not in _NOT_ALLOWED or not out.is_dir():
            raise
        path = out / _INSIDE_LOCK  # a volume, mounted where nobody may write
    with _locked(path) as is_locked:
        if not is_locked:
            raise ConfigError(f"another export is writing {out}", hint="wait for it, or choose another folder")
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


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


@contextmanager
def _locked(path: Path) -> Iterator[bool]:
    """Lock a file as long as the block runs, and make it where it is missing; yield whether that could be done."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            is_locked = _try_lock(descriptor)
            if is_locked and not _is_at(descriptor, path):
                continue  # it was removed by the one who held it; whoever comes next makes another
            yield is_locked
            return
        finally:
            os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _remove_dead(parent: Path, prefix: str) -> None:
    """Remove the folders whose export is dead. One without a lock has just begun, or is not ours."""
    try:
        found = [path for path in parent.iterdir() if path.name.startswith(prefix) and _is_own_folder(path)]
    except OSError:
        return  # not there yet, or not to be listed: then it is not to be tidied up, either
    for path in found:
        try:
            descriptor = os.open(path / LOCK, os.O_RDWR)
        except OSError:
            continue
        try:
            if _try_lock(descriptor):
                shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(descriptor)


def _is_own_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and path.stat().st_uid == os.getuid()
