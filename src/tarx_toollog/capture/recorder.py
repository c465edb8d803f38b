"""The recorder: one per database and process. Captures append to its journal, its thread fills the database.

*Theory.* Two threads, and nothing between them but files. The thread that serves requests appends to the journal
and never waits. The writer thread sleeps until something was appended, then until traffic has paused
(``idle_ms``): decoding holds the interpreter, and work done for the previous exchange must not delay the first
byte of the next one. While traffic never pauses it starts after ``max_delay_ms`` anyway.

A database that is locked, full or away is not the recorder's concern: the journal grows, the thread tries again
with growing pauses, and everything goes in when the trouble is over. Beyond the journal's bounds an exchange keeps
its facts and loses its texts (a *stub*), and beyond that it is only counted.
"""

import asyncio
import atexit
import errno
import logging
import os
import threading
from collections import Counter
from collections.abc import Callable
from functools import cache
from uuid import UUID

from tarx_toollog.capture.run import Run
from tarx_toollog.config import Settings
from tarx_toollog.errors import ToolLogError
from tarx_toollog.ids import uuid7
from tarx_toollog.store.frames import FrameParts, Kind, packed_size
from tarx_toollog.store.journal import JournalEndedError
from tarx_toollog.store.overflow import stub
from tarx_toollog.store.secret import load_secret

logger = logging.getLogger("tarx_toollog.capture")

_MAX_CAUSES = 50  # causes of losses that are counted apart while no database can be told of them


class Recorder:
    """Journal and writer thread of one database. Starts with the first capture; ``close`` may be followed by more.

    Args:
        settings: Where database and journal are.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.last_activity_ns = 0
        """When a capture last saw traffic (monotonic); written by captures, read by the writer thread."""
        self.running: set[str] = set()
        """Uids of the captures that have begun and not ended."""
        self.lost = 0
        """Exchanges that could not be journalled since the process began."""
        self.shed = 0
        """Exchanges of which only a stub was kept, because the journal was full."""
        self.failures = 0
        """Errors of ours that were swallowed so that a chat could go on."""
        self.last_error: str | None = None
        """The latest of them; None again once the database takes what the journal holds."""
        self.syncs = settings.durability == "power"
        """Whether an answer waits for the disk before its end goes on to the client."""
        self.guards_room = settings.on_full != "shed"
        """Whether a chat waits, or is refused, while the journal is full."""
        self._lock = threading.Lock()  # two first requests must not start two threads
        self._count_lock = threading.Lock()  # captures in several threads and the writer thread count
        self._run: Run | None = None
        self._holders = 0
        self._losses: Counter[tuple[str, str]] = Counter()
        self._stubs: set[bytes] = set()  # uids of what runs and is kept without its texts
        self._cut_off: list[str] = []
        self._secret: bytes | None = None

    # ---- for captures -----------------------------------------------------------------------------------------------

    def append(self, frames: list[FrameParts], begun_in: "Run | None" = None, *, may_wait: bool = False) -> "Run":
        """Append frames to the journal and return the run that has them.

        Args:
            frames: What to append.
            begun_in: The run that has the earlier frames of the same exchange.
            may_wait: They may be written with what comes next, a moment later.

        Raises:
            OSError: The journal cannot be written.
            StoreError: The journal cannot be opened, or was closed while the exchange ran.
        """
        if begun_in is not None and begun_in.is_inherited:
            return begun_in  # a request of the parent process, which records it itself
        run = self._run or self._start()
        frames = self._within_bounds(run, frames)
        if not frames:
            return run
        try:
            run.append(frames, begun_in, may_wait=may_wait)
        except JournalEndedError:
            run = self._start()
            run.append(frames, begun_in, may_wait=may_wait)
        return run

    async def synced(self) -> None:
        """Wait until the disk has what was appended so far, or has refused it. Never raises, but when cancelled."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()

        def answer() -> None:
            try:
                loop.call_soon_threadsafe(_finish, done)
            except RuntimeError:
                pass  # the loop was closed meanwhile: nobody waits any more

        if self._when_synced(answer):
            await done

    def wait_synced(self) -> None:
        """Do the same in a synchronous program."""
        done = threading.Event()
        if self._when_synced(done.set):
            done.wait()

    @property
    def is_full(self) -> bool:
        """Whether the journal has no room for a chat, or cannot be opened at all."""
        try:
            return (self._run or self._start()).room.is_full
        except (ToolLogError, OSError) as error:
            self.failed(error)
            return True

    def new_uid(self) -> tuple[str, bytes]:
        """Return a new exchange uid, as text and as bytes."""
        uid = uuid7()
        return uid, UUID(uid).bytes

    @property
    def secret(self) -> bytes:
        """The key for hashes of clients, kept beside the journal (0600)."""
        if self._secret is None:
            self._secret = load_secret(self.settings)
        return self._secret

    def failed(self, error: BaseException, *, lost: bool = False, begun: str | None = None) -> None:
        """Count an error of ours; the first of each kind goes to the log.

        Args:
            error: What went wrong.
            lost: It cost an exchange.
            begun: Uid of that exchange, where the journal has its beginning.
        """
        text = f"{type(error).__name__}: {error}"
        with self._count_lock:
            self.failures += 1
            if lost:
                self.lost += 1
                self._count_loss("journal", text)
            if begun is not None:
                self._cut_off.append(begun)
        if text != self.last_error:
            logger.warning("capture failed, the chat goes on: %s", text)
        self.last_error = text

    # ---- for whoever runs the server --------------------------------------------------------------------------------

    def hold(self) -> None:
        """Open the journal and start the thread now rather than with the first exchange. Never raises.

        Each ``hold`` is undone by a ``release``: of two applications in one process that share a database, the one
        that ends first must not end the log of the other.
        """
        self._holders += 1
        try:
            self._start()
        except (ToolLogError, OSError) as error:
            self.failed(error)

    def release(self) -> None:
        """Undo one ``hold``; the last one closes. Never raises."""
        self._holders -= 1
        if self._holders <= 0:
            self.close()

    def flush(self, timeout_s: float = 10.0) -> bool:
        """Wait until everything appended so far is in the database; say whether it is."""
        run = self._run
        return True if run is None else run.flush(timeout_s)

    def close(self) -> None:
        """Bring the journal into the database, as far as that goes quickly, and stop. Never raises."""
        with self._lock:
            if self._run is not None:
                self._run.stop()
            self._run = None
            self._holders = 0

    def before_fork(self) -> None:
        """Close the connection to the database: SQLite must not be carried across a fork."""
        if self._run is not None:
            self._run.pause()

    def after_fork_in_parent(self) -> None:
        """Go on."""
        if self._run is not None:
            self._run.resume()

    def after_fork_in_child(self) -> None:
        """Let go of the parent's thread and journal; the child starts its own with its first capture."""
        self._lock = threading.Lock()
        self._count_lock = threading.Lock()
        self._losses.clear()
        self._cut_off.clear()
        self._stubs.clear()
        self.running.clear()
        self.lost = self.shed = self.failures = 0
        if self._run is not None:
            self._run.is_inherited = True
            self._run.journal.forget_after_fork()
        self._run = None

    # ---- for the writer thread --------------------------------------------------------------------------------------

    def take_losses(self) -> Counter[tuple[str, str]]:
        """Return the losses since the last call, by kind and cause."""
        with self._count_lock:
            losses, self._losses = self._losses, Counter()
        return losses

    def take_cut_off(self) -> list[str]:
        """Return the exchanges since the last call whose end will not come."""
        with self._count_lock:
            cut_off, self._cut_off = self._cut_off, []
        return cut_off

    def _count_loss(self, kind: str, cause: str) -> None:
        known = (kind, cause) in self._losses or len(self._losses) < _MAX_CAUSES
        self._losses[kind, cause if known else "other causes"] += 1

    def _within_bounds(self, run: "Run", frames: list[FrameParts]) -> list[FrameParts]:
        """Return what fits of frames: all of them, a stub, or nothing."""
        uid, size = frames[0][1], packed_size(frames)
        is_stub = uid in self._stubs
        if not is_stub and run.room.has(size):
            run.room.took(size)
            return frames
        frames = stub(frames)
        kept = packed_size(frames)
        if kept < size and not is_stub:
            self._stubs.add(uid)  # an answer with a hole in its middle would be read as another answer
            with self._count_lock:
                self.shed += 1
                self._count_loss("overflow", "the journal is full: kept without texts")
        if any(kind is Kind.END for kind, *_ in frames):
            self._stubs.discard(uid)
        if kept and not run.room.has_for_stub(kept):
            raise OSError(errno.ENOSPC, "the journal is full, even for what has no text")
        run.room.took(kept)
        return frames

    def _when_synced(self, answer: Callable[[], None]) -> bool:
        run = self._run
        if run is None or run.is_inherited:
            return False
        try:
            run.journal.when_synced(answer)
        except RuntimeError as error:  # no thread can be started: better an answer that is not safe than none
            self.failed(error)
            return False
        return True

    def _start(self) -> "Run":
        with self._lock:
            if self._run is None or self._run.is_over:
                self._run = Run(self)
            return self._run


def _finish(future: "asyncio.Future[None]") -> None:
    if not future.done():  # whoever waited may have been cancelled
        future.set_result(None)


_recorders: dict[tuple[str, str], Recorder] = {}
_recorders_lock = threading.Lock()  # two taps that are mounted at once share one recorder


def recorder_for(settings: Settings) -> Recorder:
    """Return the recorder of a database; the taps of one process share it."""
    key = (settings.database, str(settings.journal_path))
    with _recorders_lock:
        if key not in _recorders:
            _recorders[key] = Recorder(settings)
        return _recorders[key]


def recorder_or_none(settings: Settings | None) -> Recorder | None:
    """Return the recorder, or None when capture is off or cannot be configured: the Workbench starts anyway."""
    try:
        settings = settings or Settings.load()
        return recorder_for(settings) if settings.enabled else None
    except ToolLogError as error:
        logger.error("nothing will be logged: %s (%s)", error.message, error.hint)
    except (OSError, RuntimeError) as error:  # a current folder or a home that is gone
        logger.error("nothing will be logged: %s", error)
    return None


def recorder_in_use() -> Recorder | None:
    """Return the recorder that the taps of this process use: the only one there is, else that of the settings."""
    recorders = list(_recorders.values())
    return recorders[0] if len(recorders) == 1 else _default_recorder()


@cache
def _default_recorder() -> Recorder | None:
    return recorder_or_none(None)  # reading the settings costs more than most tools take


def _close_all() -> None:
    for recorder in list(_recorders.values()):
        recorder.close()


def _before_fork() -> None:
    for recorder in _recorders.values():
        recorder.before_fork()


def _after_fork_in_parent() -> None:
    for recorder in _recorders.values():
        recorder.after_fork_in_parent()


def _after_fork_in_child() -> None:
    global _recorders_lock
    _recorders_lock = threading.Lock()
    for recorder in _recorders.values():
        recorder.after_fork_in_child()


atexit.register(_close_all)  # a Workbench that never sends lifespan events still leaves an empty journal
os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
