"""The journal: append-only segment files that hold exchanges until they are in the database.

It is the queue between capture and the writer, the protection against the death of the process, and the
spool while the database is locked, full or away: one mechanism for all three. Nothing waits in memory. What it
writes is sealed (``sealing``): its files alone tell nobody what was said.

A *segment* belongs to one process (``<writer uid>-<number>.tlj``); the process holds a lock on
``<writer uid>.lock`` while it lives, so that another one can tell a dead process's segments from a live one's.

What was appended survives, by the level of *durability*:

* ``async``: nothing; it is held in memory until the writer thread comes by.
* ``process``: the death of the process, by one ``write`` per append and no fsync.
* ``power``: the same at first, and the death of the machine once ``when_synced`` has answered.
"""

import errno
import fcntl
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tarx_toollog.errors import JournalError
from tarx_toollog.store import sealing
from tarx_toollog.store.frames import MAGIC, SEALED_MAGIC, FrameParts, pack_frames, packed_size, seal_frames
from tarx_toollog.store.private import make_private_folder
from tarx_toollog.store.syncing import Syncer, sync_file, sync_folder

SEGMENT_SUFFIX = ".tlj"
LOCK_SUFFIX = ".lock"
MAX_SEGMENT_BYTES = 8 * 2**20  # after a fault a segment is read again from its beginning: seconds, not minutes
MAX_HELD_BYTES = 64 * 2**20  # of ``async``, in memory
_MAX_WAITING_BYTES = 2**20  # of what may wait for a moment
_HELD_FRAMES = 64  # written at once, so that nobody waits long for the lock


class JournalEndedError(JournalError):
    """The journal takes no more frames; the next one of this process does."""


class Journal:
    """The segments of this process: append only.

    Safe to use from several threads; the lock keeps the frames of one append together across a rotation.

    Args:
        folder: Where segments live; made (0700) when missing.
        writer_uid: Id of this process in the store.
        durability: What an append survives; see above.
        failed: Called with the error, in any thread, when the disk refuses a sync, and when nothing can be sealed.

    Raises:
        JournalError: It cannot be written.
    """

    def __init__(
        self,
        folder: Path,
        writer_uid: str,
        durability: str = "process",
        failed: Callable[[Exception], None] = lambda _: None,
    ) -> None:
        self.folder = folder
        self.writer_uid = writer_uid
        self.bytes_appended = 0
        """Of all frames, those that are held in memory among them."""
        self._lock = threading.Lock()
        self._number = 0
        self.is_ended = False  # whether it takes no more frames
        self._is_torn = False  # whether the segment ends in a half frame
        self._held: list[FrameParts] = []
        self._held_bytes = 0
        self._is_async = durability == "async"
        self._failed = failed
        self._syncer = Syncer(self._sync, failed) if durability == "power" else None
        self._full_fds: list[int] = []  # full segments that were not synced yet
        self._is_name_synced = self._is_key_synced = False
        self._size = len(MAGIC)
        self._lock_path, self._lock_fd, self._fd = folder / f"{writer_uid}{LOCK_SUFFIX}", -1, -1
        self._keeper: sealing.KeyKeeper | None = None
        self._cipher: sealing.Cipher | None = None
        if (reason := sealing.why_not()) is not None:  # a chat that is not kept at all would be worse
            failed(JournalError(f"the journal is not sealed: {reason}", hint="install the package cryptography"))
        try:
            self._open(is_sealing=reason is None)
        except OSError as error:
            self._leave_nothing_behind()
            raise JournalError(
                f"cannot write the journal in {folder}: {error.strerror}",
                hint="make the folder writable, or set TOOLLOG_JOURNAL_DIR",
            ) from error

    def _open(self, *, is_sealing: bool) -> None:
        make_private_folder(self.folder)
        self._lock_fd = os.open(self._lock_path, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._magic = SEALED_MAGIC if is_sealing else MAGIC
        self._fd = _open_segment(self.current, self._magic)
        # The key comes after the segment: killed in between, a segment without a key is empty, while nobody would ever
        # look for a key without a segment.
        if is_sealing:
            self._keeper = sealing.KeyKeeper(self.folder, self.writer_uid, outlives_machine=self._syncer is not None)
            self._cipher = sealing.Cipher(self._keeper.key, self.writer_uid)

    def _leave_nothing_behind(self) -> None:
        """Undo a part of ``_open``: a full disk is met again with every chat."""
        if self._fd >= 0:
            self.current.unlink(missing_ok=True)
        if self._lock_fd >= 0:
            self._lock_path.unlink(missing_ok=True)
        for fd in (self._fd, self._lock_fd):
            if fd >= 0:
                os.close(fd)

    @property
    def current(self) -> Path:
        """Path of the segment that is being written."""
        return self.folder / f"{self.writer_uid}-{self._number:06d}{SEGMENT_SUFFIX}"

    @property
    def segment_bytes(self) -> int:
        """Size of the segment that is being written."""
        return self._size

    @property
    def bytes_written(self) -> int:
        """Of the frames that are in the segments."""
        return self.bytes_appended - self._held_bytes

    def append(self, frames: Sequence[FrameParts], *, may_wait: bool = False) -> None:
        """Append frames with one write, and with them what is held.

        Args:
            frames: What to append.
            may_wait: Hold them in memory until the next append, or until the writer thread comes by.

        Raises:
            OSError: The disk is full or the file is gone; nothing was appended.
            JournalEndedError: It has ended.
        """
        if self._is_async or (may_wait and self._syncer is None and self._held_bytes < _MAX_WAITING_BYTES):
            self._hold(frames)
            return
        with self._lock:
            self._refuse_if_ended()
            self.bytes_appended += self._write([*self._held, *frames] if self._held else frames) - self._held_bytes
            self._held, self._held_bytes = [], 0

    def write_held(self) -> None:
        """Write what ``async`` holds in memory; called by the writer thread.

        Raises:
            OSError: As for ``append``; what was not written is still held.
        """
        while self._held:
            with self._lock:
                some = self._held[:_HELD_FRAMES]
                self._write(some)
                del self._held[: len(some)]
                self._held_bytes -= packed_size(some)

    def when_synced(self, answer: Callable[[], None]) -> None:
        """Call ``answer``, in another thread, once the disk has what was appended so far, or has refused it.

        Without ``power`` there is nothing to wait for.

        Raises:
            RuntimeError: No thread can be started.
        """
        if self._syncer is None or self._fd < 0:
            answer()
        else:
            self._syncer.ask(answer)

    def rotate(self) -> None:
        """Begin a new segment, so that the current one can be deleted once it is in the database."""
        with self._lock:
            if self._size > len(MAGIC) and not self.is_ended:
                self._rotate_if_possible()

    def put_key_beside(self) -> None:
        """See that what is sealed outlives the machine, too: the database does not take it.

        Raises:
            OSError: The key cannot be written beside the segments.
        """
        if self._keeper is not None:
            self._keeper.put_beside()

    def take_key_back(self) -> None:
        """Undo that, where memory is enough: the database has taken everything.

        Raises:
            OSError: The key cannot be held in memory, nor beside the segments; or its file cannot be deleted.
        """
        if self._keeper is not None:
            self._keeper.take_back()

    def end(self) -> None:
        """Take no more frames: what is in the segments now is all that they will ever hold."""
        with self._lock:
            self.is_ended = True
        self.write_held()

    def close(self) -> None:
        """Release the segment and the lock; an empty segment and, with the last segment, the lock file and the key go.

        Of segments that are left, the key stands beside them from now on: the next process may come after a reboot.
        """
        try:
            self.end()
        except OSError as error:
            self._failed(error)
        if self._syncer is not None:
            self._syncer.ask(lambda: None)
            self._syncer.close()
        with self._lock:
            self.is_ended = True
            if self._fd < 0:
                return
            if self._size == len(MAGIC):
                self.current.unlink(missing_ok=True)
            try:
                if list_segments(self.folder, self.writer_uid):
                    self.put_key_beside()
                else:
                    sealing.forget_key(self.folder, self.writer_uid)
                    self._lock_path.unlink(missing_ok=True)
            except OSError as error:
                self._failed(error)
            self._close_files()

    def forget_after_fork(self) -> None:
        """Let go of the files in a child process, so that its life does not keep up the parent's lock."""
        self._lock = threading.Lock()  # another thread of the parent may have held it
        self._syncer = None  # its thread is the parent's
        self.is_ended = True
        self._close_files()

    def _close_files(self) -> None:
        if self._fd >= 0:
            for fd in (self._fd, self._lock_fd, *self._full_fds):
                os.close(fd)
        self._fd = self._lock_fd = -1
        self._full_fds, self._held = [], []
        if self._keeper is not None:
            self._keeper.let_go()
        self._keeper = self._cipher = None

    def _refuse_if_ended(self) -> None:
        if self.is_ended:
            raise JournalEndedError("the journal was closed")

    def _hold(self, frames: Sequence[FrameParts]) -> None:
        size = packed_size(frames)
        with self._lock:
            self._refuse_if_ended()
            if self._held_bytes + size > MAX_HELD_BYTES:
                raise OSError(errno.ENOBUFS, "the memory of the journal is full")
            self._held.extend(frames)
            self._held_bytes += size
            self.bytes_appended += size

    def _write(self, frames: Sequence[FrameParts]) -> int:
        if self._is_torn:
            self._rotate()
        if self._cipher is None:
            data = pack_frames(frames)
        else:
            data = seal_frames(frames, self._cipher, self._number, self._size)
        written = os.write(self._fd, data)
        if written != len(data):  # the disk filled up in the middle: leave no half frame behind
            self._take_back()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._size += written
        if self._size > MAX_SEGMENT_BYTES:
            self._rotate_if_possible()
        return written

    def _sync(self) -> None:
        """Bring all segments to the disk; after a failure go on in a new one: nobody knows what the old one has."""
        with self._lock:
            if self._fd < 0:
                return
            fds, self._full_fds = [*self._full_fds, os.dup(self._fd)], []
            is_name_synced, self._is_name_synced = self._is_name_synced, True
            keeper = self._keeper
        try:
            if keeper is not None and not self._is_key_synced:
                keeper.put_beside(synced=True)
                self._is_key_synced = True
            for fd in fds:
                sync_file(fd)
            if not is_name_synced:
                sync_folder(self.folder)
        except OSError:
            with self._lock:
                self._is_name_synced = False
                if self._size > len(MAGIC) and self._fd >= 0:
                    self._rotate_if_possible()
            raise
        finally:
            for fd in fds:
                os.close(fd)

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
        fd = _open_segment(self.folder / f"{self.writer_uid}-{number:06d}{SEGMENT_SUFFIX}", self._magic)
        if self._syncer is None:
            os.close(self._fd)
        else:
            self._full_fds.append(self._fd)  # a sync may take seconds, and a chat waits for this lock
            self._is_name_synced = False
        self._fd, self._number, self._size, self._is_torn = fd, number, len(MAGIC), False


def _open_segment(path: Path, magic: bytes) -> int:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_EXCL, 0o600)
    try:
        if os.write(fd, magic) != len(magic):
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
    together only one reads a dead one's segments. A claim whose segments are gone takes lock file and key along.
    """
    for writer_uid in sorted({path.name.rsplit("-", 1)[0] for path in list_segments(folder)}):
        fd = _try_lock(folder / f"{writer_uid}{LOCK_SUFFIX}")
        if fd is None:
            continue
        try:
            yield writer_uid
        finally:
            try:
                if not list_segments(folder, writer_uid):
                    sealing.forget_key(folder, writer_uid)
                    (folder / f"{writer_uid}{LOCK_SUFFIX}").unlink(missing_ok=True)
            finally:
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
