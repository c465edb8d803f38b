"""The journal: append-only segment files that hold exchanges until they are in the database.

It is the queue between capture and the writer, the protection against the death of the process, and the
spool while the database is locked, full or away: one mechanism for all three. Nothing waits in memory.

A *segment* belongs to one process (``<writer uid>-<number>.tlj``); the process holds a lock on
``<writer uid>.lock`` while it lives, so that another one can tell a dead process's segments from a live one's.

One ``write`` per append and no fsync: what was appended survives the death of the process, not of the machine.
"""

import errno
import fcntl
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from tarx_toollog.errors import JournalError
from tarx_toollog.store.frames import MAGIC, FrameParts, pack_frames

SEGMENT_SUFFIX = ".tlj"
LOCK_SUFFIX = ".lock"
MAX_SEGMENT_BYTES = 64 * 2**20  # small enough to be deleted often, large enough to hold a busy hour


class JournalSealedError(JournalError):
    """The journal takes no more frames; the next one of this process does."""


class Journal:
    """The segments of this process: append only.

    Safe to use from several threads; the lock keeps the frames of one append together across a rotation.

    Args:
        folder: Where segments live; made (0700) when missing.
        writer_uid: Id of this process in the store.
    """

    def __init__(self, folder: Path, writer_uid: str) -> None:
        self.folder = folder
        self.writer_uid = writer_uid
        self.bytes_appended = 0
        self._lock = threading.Lock()
        self._number = 0
        self.is_sealed = False  # whether it takes no more frames
        self._is_torn = False  # whether the segment ends in a half frame
        self._lock_path, lock_fd = folder / f"{writer_uid}{LOCK_SUFFIX}", -1
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock_fd = os.open(self._lock_path, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._fd = _open_segment(self.current)
        except OSError as error:
            if lock_fd >= 0:  # a full disk is met again with every chat: each attempt must leave nothing behind
                self._lock_path.unlink(missing_ok=True)
                os.close(lock_fd)
            raise JournalError(
                f"cannot write the journal in {folder}: {error.strerror}",
                hint="make the folder writable, or set TOOLLOG_JOURNAL_DIR",
            ) from error
        self._lock_fd = lock_fd
        self._size = len(MAGIC)

    @property
    def current(self) -> Path:
        """Path of the segment that is being written."""
        return self.folder / f"{self.writer_uid}-{self._number:06d}{SEGMENT_SUFFIX}"

    @property
    def segment_bytes(self) -> int:
        """Size of the segment that is being written."""
        return self._size

    def append(self, frames: Sequence[FrameParts]) -> None:
        """Append frames with one write.

        Raises:
            OSError: The disk is full or the file is gone; nothing was appended.
            JournalSealedError: It was sealed.
        """
        data = pack_frames(frames)
        with self._lock:
            if self.is_sealed:
                raise JournalSealedError("the journal was closed")
            if self._is_torn:
                self._rotate()
            written = os.write(self._fd, data)
            if written != len(data):  # the disk filled up in the middle: leave no half frame behind
                self._take_back()
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._size += written
            self.bytes_appended += written
            if self._size > MAX_SEGMENT_BYTES:
                self._rotate_if_possible()

    def rotate(self) -> None:
        """Begin a new segment, so that the current one can be deleted once it is in the database."""
        with self._lock:
            if self._size > len(MAGIC) and not self.is_sealed:
                self._rotate_if_possible()

    def seal(self) -> None:
        """Take no more frames: what is in the segments now is all that they will ever hold."""
        with self._lock:
            self.is_sealed = True

    def close(self) -> None:
        """Release the segment and the lock; an empty segment and, with the last segment, the lock file go."""
        with self._lock:
            self.is_sealed = True
            if self._fd < 0:
                return
            if self._size == len(MAGIC):
                self.current.unlink(missing_ok=True)
            if not list_segments(self.folder, self.writer_uid):
                self._lock_path.unlink(missing_ok=True)
            self._close_files()

    def forget_after_fork(self) -> None:
        """Let go of the files in a child process, so that its life does not keep up the parent's lock."""
        self._lock = threading.Lock()  # another thread of the parent may have held it
        self.is_sealed = True
        self._close_files()

    def _close_files(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            os.close(self._lock_fd)
        self._fd = self._lock_fd = -1

    def _take_back(self) -> None:
        try:
            os.ftruncate(self._fd, self._size)
        except OSError:
            self._is_torn = True  # readers stop at the half frame, so the next append begins a new segment

    def _rotate_if_possible(self) -> None:
        try:
            self._rotate()
        except OSError:
            pass  # no room for a new segment: the old one, which is longer than we like, has to go on

    def _rotate(self) -> None:
        # First the new segment, then the change: a failure must not leave a closed file to write to.
        number = self._number + 1
        fd = _open_segment(self.folder / f"{self.writer_uid}-{number:06d}{SEGMENT_SUFFIX}")
        os.close(self._fd)
        self._fd, self._number, self._size, self._is_torn = fd, number, len(MAGIC), False


def _open_segment(path: Path) -> int:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_EXCL, 0o600)
    try:
        if os.write(fd, MAGIC) != len(MAGIC):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError:
        os.close(fd)
        path.unlink(missing_ok=True)
        raise
    return fd


def list_segments(folder: Path, writer_uid: str = "") -> list[Path]:
    """Return the segments in ``folder`` (of one writer, or of all), oldest first."""
    return sorted(folder.glob(f"{writer_uid}*{SEGMENT_SUFFIX}"))


def claim_dead(folder: Path) -> Iterator[str]:
    """Yield the uids of processes that left segments behind and are gone, oldest first.

    Each is claimed (its lock is held) until the next one is asked for, so that of two processes that start
    together only one reads a dead one's segments. A claim whose segments are gone takes the lock file along.
    """
    for writer_uid in sorted({path.name.rsplit("-", 1)[0] for path in list_segments(folder)}):
        fd = _try_lock(folder / f"{writer_uid}{LOCK_SUFFIX}")
        if fd is None:
            continue
        try:
            yield writer_uid
        finally:
            if not list_segments(folder, writer_uid):
                (folder / f"{writer_uid}{LOCK_SUFFIX}").unlink(missing_ok=True)
            os.close(fd)


def is_alive(folder: Path, writer_uid: str) -> bool:
    """Say whether the process behind ``writer_uid`` still holds its lock."""
    path = folder / f"{writer_uid}{LOCK_SUFFIX}"
    if not path.exists():
        return False
    fd = _try_lock(path)
    if fd is not None:
        os.close(fd)
    return fd is None


def _try_lock(path: Path) -> int | None:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:
        return None  # not ours to judge: another user's, or a read-only folder
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        return None
    return fd


def backlog_bytes(folder: Path) -> int:
    """Return the bytes in all segments: what is not yet known to be in the database."""
    total = 0
    for path in list_segments(folder):
        try:
            total += max(0, path.stat().st_size - len(MAGIC))
        except FileNotFoundError:
            pass  # deleted by its writer between the listing and now
    return total
