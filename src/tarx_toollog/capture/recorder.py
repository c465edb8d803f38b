"""The recorder: one per database and process. Captures append to its journal, its thread fills the database.

*Theory.* Two threads, and nothing between them but files. The thread that serves requests appends to the journal
and never waits. The writer thread sleeps until something was appended, then until traffic has paused
(``idle_ms``): decoding holds the interpreter, and work done for the previous exchange must not delay the first
byte of the next one. While traffic never pauses it starts after ``max_delay_ms`` anyway.

A database that is locked, full or away is not the recorder's concern: the journal grows, the thread tries again
with growing pauses, and everything goes in when the trouble is over.
"""

import atexit
import logging
import os
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from tarx_toollog.config import Settings
from tarx_toollog.errors import StoreError, ToolLogError
from tarx_toollog.ids import uuid7
from tarx_toollog.store.engine import create_private_file
from tarx_toollog.store.ingest import Ingester
from tarx_toollog.store.journal import FrameParts, Journal, JournalSealedError

logger = logging.getLogger("tarx_toollog.capture")

ROTATE_WHEN_IDLE_BYTES = 2**20  # so that a segment whose content is in the database does not linger
_RETRY_S = (0.1, 30.0)  # first and longest pause while the database is away
_CLOSE_S = 5.0  # a server that shuts down waits this long for the log, no longer
_FORK_S = 1.0  # a fork waits this long for a transaction to end, no longer
_BUSY_NS = 5_000_000  # traffic that was seen this recently goes on
_GIVE_WAY = 4  # the writer takes a fifth of the time while it does
_GIVE_WAY_MAX_NS = 20_000_000  # a transaction is open meanwhile: other programs must not wait for long
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
        self.lost = 0
        """Exchanges that could not be journalled since the process began."""
        self.failures = 0
        """Errors of ours that were swallowed so that a chat could go on."""
        self.last_error: str | None = None
        """The latest of them; None again once the database takes what the journal holds."""
        self._lock = threading.Lock()  # two first requests must not start two threads
        self._count_lock = threading.Lock()  # captures in several threads and the writer thread count
        self._run: Run | None = None
        self._holders = 0
        self._losses: Counter[str] = Counter()
        self._cut_off: list[str] = []
        self._secret: bytes | None = None

    # ---- for captures -----------------------------------------------------------------------------------------------

    def append(self, frames: list[FrameParts], begun_in: "Run | None" = None) -> "Run":
        """Append frames to the journal and return the run that has them.

        Args:
            frames: What to append.
            begun_in: The run that has the earlier frames of the same exchange.

        Raises:
            OSError: The journal cannot be written.
            StoreError: The journal cannot be opened, or was closed while the exchange ran.
        """
        if begun_in is not None and begun_in.is_inherited:
            return begun_in  # a request of the parent process, which records it itself
        run = self._run or self._start()
        try:
            run.append(frames, begun_in)
        except JournalSealedError:
            run = self._start()
            run.append(frames, begun_in)
        return run

    def new_uid(self) -> tuple[str, bytes]:
        """Return a new exchange uid, as text and as bytes."""
        uid = uuid7()
        return uid, UUID(uid).bytes

    @property
    def secret(self) -> bytes:
        """The key for hashes of clients, kept beside the journal (0600)."""
        if self._secret is None:
            self._secret = _load_secret(self.settings.journal_path / "identity.key")
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
                known = text in self._losses or len(self._losses) < _MAX_CAUSES
                self._losses[text if known else "other causes"] += 1
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
        self.lost = self.failures = 0
        if self._run is not None:
            self._run.is_inherited = True
            self._run.journal.forget_after_fork()
        self._run = None

    # ---- for the writer thread --------------------------------------------------------------------------------------

    def take_losses(self) -> Counter[str]:
        """Return the losses since the last call, by cause."""
        with self._count_lock:
            losses, self._losses = self._losses, Counter()
        return losses

    def take_cut_off(self) -> list[str]:
        """Return the exchanges since the last call whose end will not come."""
        with self._count_lock:
            cut_off, self._cut_off = self._cut_off, []
        return cut_off

    def _start(self) -> "Run":
        with self._lock:
            if self._run is None or self._run.is_over:
                self._run = Run(self)
            return self._run


class Run:
    """A journal, and the thread that moves it into the database: from a first exchange to ``close``."""

    def __init__(self, recorder: Recorder) -> None:
        writer_uid = uuid7()
        self.is_inherited = False
        """Whether it belongs to the process that this one was forked from."""
        self.journal = Journal(recorder.settings.journal_path, writer_uid)
        self._recorder = recorder
        self._ingester = Ingester(recorder.settings, writer_uid, self._give_way)
        self._wake = threading.Event()
        self._idle = threading.Condition()
        self._ingested_bytes = 0
        self._stopping = False
        self._has_recovered = False
        self._at_work = threading.Lock()  # held while the database is in use: a fork waits for it
        self._is_paused = False
        self._way_given_ns = 0
        self._thread = threading.Thread(target=self._main, name="toollog-writer", daemon=True)
        self._wake.set()  # what dead processes left behind does not wait for the next chat
        try:
            self._thread.start()
        except RuntimeError as error:
            self.journal.close()
            raise StoreError(f"cannot start a thread: {error}", hint="raise the limit of threads") from error

    @property
    def is_over(self) -> bool:
        """Whether its journal takes no more frames."""
        return self.journal.is_sealed

    def append(self, frames: list[FrameParts], begun_in: "Run | None") -> None:
        """Append to the journal and wake the thread."""
        if begun_in is not None and begun_in is not self:
            raise StoreError("the log was closed while the exchange ran")
        self.journal.append(frames)
        self._wake.set()

    def flush(self, timeout_s: float) -> bool:
        """Wait until everything appended so far is in the database; say whether it is."""
        target = self.journal.bytes_appended
        self._recorder.last_activity_ns = 0
        self._wake.set()
        with self._idle:
            return self._idle.wait_for(lambda: self._ingested_bytes >= target, timeout_s)

    def stop(self) -> None:
        """Let the thread finish; wait for it, but not long: it closes the journal itself whenever it gets there."""
        self._stopping = True
        self._wake.set()
        self._thread.join(_CLOSE_S)

    def pause(self) -> None:
        """Wait for the end of a transaction and close the connection; keep the thread from opening another."""
        self._is_paused = self._at_work.acquire(timeout=_FORK_S)
        if self._is_paused:
            self._ingester.disconnect()

    def resume(self) -> None:
        """Undo ``pause``."""
        if self._is_paused:
            self._at_work.release()

    # ---- in the thread ----------------------------------------------------------------------------------------------

    def _main(self) -> None:
        pause_s = 0.0
        while not self._stopping:
            if pause_s:
                self._wait_stopping(pause_s)
            else:
                self._wait_for_work()
            if self._stopping:
                break
            is_in_trouble = not self._works(self._ingest)
            pause_s = min(max(pause_s * 2, _RETRY_S[0]), _RETRY_S[1]) if is_in_trouble else 0.0
        self._works(self._finish)
        self.journal.close()

    def _works(self, step: Callable[[], None]) -> bool:
        try:
            with self._at_work:
                step()
        except Exception as error:  # noqa: BLE001 - the thread must outlive any trouble of the database
            self._recorder.failed(error)
            return False
        return True

    def _ingest(self) -> None:
        target = self.journal.bytes_appended
        ingester = self._ingester
        ingester.open()
        for cause, n in self._recorder.take_losses().items():
            ingester.note_gap("journal", n, cause)
        cut_off = self._recorder.take_cut_off()
        if not self._has_recovered:
            ingester.recover()
            self._has_recovered = True
        ingester.poll()
        if cut_off:
            ingester.interrupt(cut_off)
        with self._idle:
            self._ingested_bytes = target
            self._idle.notify_all()
        self._recorder.last_error = None
        if self.journal.segment_bytes > ROTATE_WHEN_IDLE_BYTES and ingester.is_drained:
            self.journal.rotate()

    def _finish(self) -> None:
        try:
            self._ingest()
            self._ingester.finish(self.journal)
        finally:
            self._ingester.close()

    def _wait_for_work(self) -> None:
        """Sleep until something was appended, then until traffic pauses or has waited long enough."""
        self._wake.wait()
        self._wake.clear()
        settings = self._recorder.settings
        deadline = time.monotonic_ns() + settings.max_delay_ms * 1_000_000
        idle_ns = settings.idle_ms * 1_000_000
        while not self._stopping:
            now = time.monotonic_ns()
            start_at = min(self._recorder.last_activity_ns + idle_ns, deadline)
            if now >= start_at:
                return
            time.sleep((start_at - now) / 1e9)

    def _give_way(self) -> None:
        """Let traffic pass between two exchanges: while requests run, they have most of the interpreter."""
        now = time.monotonic_ns()
        worked_ns = now - self._way_given_ns
        if not self._stopping and now - self._recorder.last_activity_ns < _BUSY_NS:
            time.sleep(min(worked_ns * _GIVE_WAY, _GIVE_WAY_MAX_NS) / 1e9)
        self._way_given_ns = time.monotonic_ns()

    def _wait_stopping(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self._stopping and time.monotonic() < end:
            time.sleep(min(0.05, seconds))


def _load_secret(path: Path) -> bytes:
    if not path.exists():
        # Complete before it has its name: of two processes that start together, both take the one that came first.
        new = path.with_name(f"{path.name}.{os.getpid()}")
        create_private_file(new)
        new.write_bytes(secrets.token_bytes(32))
        try:
            os.link(new, path)
        except FileExistsError:
            pass
        finally:
            new.unlink()
    return path.read_bytes()


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
