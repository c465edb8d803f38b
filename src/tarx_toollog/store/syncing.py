"""Group fdatasync for the durability level ``power``: whoever asks while one runs shares the next.

One thread, started with the first question. A disk that takes 5 ms for a sync then costs each answer 5 to 10 ms, not
5 ms times the number of answers that end at that moment.
"""

import fcntl
import os
import threading
from collections.abc import Callable
from pathlib import Path

_FULL = getattr(fcntl, "F_FULLFSYNC", None)  # macOS, where fsync leaves the data in the cache of the drive
_data_only = getattr(os, "fdatasync", os.fsync)  # macOS has no fdatasync


def sync_file(fd: int) -> None:
    """Bring the data of an open file to the disk, past every cache.

    Raises:
        OSError: The disk refused; what was written since the last success may be gone although a retry succeeds.
    """
    if _FULL is None:
        _data_only(fd)
        return
    try:
        fcntl.fcntl(fd, _FULL)
    except OSError:
        os.fsync(fd)  # a network folder does not know the command


def sync_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk: a file that was just made is lost without its name.

    Raises:
        OSError: The disk refused.
    """
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class Syncer:
    """Answers questions by a sync that began after them.

    Args:
        sync: Syncs, or raises; called in the thread of this object.
        failed: Called with what it raised.
    """

    def __init__(self, sync: Callable[[], None], failed: Callable[[Exception], None]) -> None:
        self._sync = sync
        self._failed = failed
        self._asked = threading.Condition()
        self._waiting: list[Callable[[], None]] = []
        self._thread: threading.Thread | None = None
        self._is_over = False

    def ask(self, answer: Callable[[], None]) -> None:
        """Call ``answer``, in another thread, once a sync that begins from now on has ended, well or not.

        Raises:
            RuntimeError: No thread can be started.
        """
        with self._asked:
            if self._is_over:
                answer()
                return
            if self._thread is None:
                thread = threading.Thread(target=self._main, name="toollog-sync", daemon=True)
                thread.start()
                self._thread = thread
            self._waiting.append(answer)
            self._asked.notify()

    def close(self) -> None:
        """Answer who still waits, and end the thread."""
        with self._asked:
            self._is_over = True
            self._asked.notify()
            thread = self._thread
        if thread is not None:
            thread.join()

    def _main(self) -> None:
        while True:
            with self._asked:
                while not self._waiting and not self._is_over:
                    self._asked.wait()
                waiting, self._waiting = self._waiting, []
                if not waiting:
                    return
            try:
                self._sync()
            except Exception as error:  # noqa: BLE001 - a thread that dies here would hold every chat for ever
                self._failed(error)
            for answer in waiting:
                answer()
