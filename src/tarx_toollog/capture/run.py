"""The writer thread, with the journal that it moves into the database.

See ``recorder`` for why there are two threads and what each may do.
"""

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from tarx_toollog.capture.probe import Prober
from tarx_toollog.config import Settings
from tarx_toollog.errors import StoreError
from tarx_toollog.ids import uuid7
from tarx_toollog.model import Exchange, Outcome
from tarx_toollog.store.builds import Probed
from tarx_toollog.store.context_budget import model_of
from tarx_toollog.store.frames import FrameParts
from tarx_toollog.store.ingest import Ingester
from tarx_toollog.store.journal import Journal
from tarx_toollog.store.overflow import Room
from tarx_toollog.store.tidying import QUIET_S

if TYPE_CHECKING:
    from tarx_toollog.capture.recorder import Recorder
    from tarx_toollog.otlp.sender import SpanSender

ROTATE_WHEN_IDLE_BYTES = 2**20  # so that a segment whose content is in the database does not linger
_RETRY_S = (0.1, 30.0)  # first and longest pause while the database is away
_CLOSE_S = 5.0  # a server that shuts down waits this long for the log, no longer
_FORK_S = 1.0  # a fork waits this long for a transaction to end, no longer
_LOOK_S = 0.05  # while it waits, the thread looks this often whether somebody wants it
_MOST_BEHIND = 8  # of what the journal may hold: with more to store, the writer does not wait for a pause
_BUSY_NS = 5_000_000  # traffic that was seen this recently goes on
_LEAST_NS = 500_000  # a pause after less than that costs more than it gives
_GIVE_WAY = 4  # the writer takes a fifth of the time while it does
_GIVE_WAY_MAX_NS = 20_000_000  # a transaction is open meanwhile: other programs must not wait for long


class Run:
    """A journal, and the thread that moves it into the database: from a first exchange to ``close``."""

    def __init__(self, recorder: "Recorder") -> None:
        writer_uid = uuid7()
        self.is_inherited = False
        """Whether it belongs to the process that this one was forked from."""
        settings = recorder.settings
        self.journal = Journal(settings.journal_path, writer_uid, settings.durability, recorder.failed)
        self.room = Room(settings.journal_path, settings.journal_max_bytes, settings.min_free_bytes)
        self._recorder = recorder
        self._ingester = Ingester(settings, writer_uid, self._give_way, self._ended)
        self._prober = Prober(settings.upstream, self._found, enabled=settings.probe)
        self._spans = _span_sender(settings, writer_uid)
        self._wake = threading.Event()
        self._most_behind = settings.journal_max_bytes // _MOST_BEHIND
        self._idle = threading.Condition()
        self._ingested_bytes = 0
        self._stopping = False
        self._has_recovered = False
        self._at_work = threading.Lock()  # held while the database is in use: a fork waits for it
        self._is_paused = False
        self._way_given_ns = 0
        self._tidy_in_s: float | None = None
        self._wake.set()  # what dead processes left behind does not wait for the next chat
        try:
            self._thread = self._started()
        except RuntimeError as error:
            self.journal.close()
            raise StoreError(f"cannot start a thread: {error}", hint="raise the limit of threads") from error

    @property
    def is_over(self) -> bool:
        """Whether its journal takes no more frames."""
        return self.journal.is_ended

    def append(self, frames: list[FrameParts], begun_in: "Run | None", *, may_wait: bool) -> None:
        """Append to the journal and wake the thread."""
        if begun_in is not None and begun_in is not self:
            raise StoreError("the log was closed while the exchange ran")
        self.journal.append(frames, may_wait=may_wait)
        if not self._wake.is_set():
            self._wake.set()
        if self._is_dead and not self._stopping:
            self._thread = self._started()  # it died of something that nothing can be prepared for
            self._recorder.failed(StoreError("the writer thread died and was started again"))

    def write_held(self) -> None:
        """Write what the journal holds in memory, unless that was done.

        Raises:
            OSError: The journal cannot be written; what it holds is kept.
        """
        if not self.is_inherited:
            self.journal.write_held()

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

    def _started(self) -> threading.Thread:
        thread = threading.Thread(target=self._main, name="toollog-writer", daemon=True)
        self._is_dead = False
        try:
            thread.start()
        except RuntimeError:
            self._is_dead = True  # the next exchange tries again
            raise
        return thread

    def _main(self) -> None:
        try:
            self._work()
        finally:
            self._is_dead = True

    def _work(self) -> None:
        pause_s = 0.0
        while not self._stopping:
            if pause_s:
                self._wait_stopping(pause_s)
            else:
                self._wait_for_work()
            if self._stopping:
                break
            is_in_trouble = not self._works(self._ingest)
            if is_in_trouble:
                self._works(self.journal.put_key_beside)  # it may take days, and a reboot must not cost what is said
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
        refused = self._refused()
        target = self.journal.bytes_written
        ingester = self._ingester
        ingester.open()
        for (kind, cause), n in self._recorder.take_losses().items():
            ingester.note_gap(kind, n, cause)
        cut_off = self._recorder.take_cut_off() if refused is None else []  # their beginnings may be held
        if not self._has_recovered:
            ingester.recover()
            self._has_recovered = True
        ingester.poll()
        if cut_off:
            ingester.interrupt(cut_off)
        self._recorder.last_error = None  # before a `flush` that waits for this returns
        with self._idle:
            self._ingested_bytes = target
            self._idle.notify_all()
        self.journal.take_key_back()
        self._tidy_in_s = QUIET_S
        if ingester.is_drained:
            self._make_room()
        if refused is not None:  # what was read and is gone may have made room
            raise refused

    def _refused(self) -> OSError | None:
        """Write what the journal holds in memory; return the error of a disk that does not take it."""
        try:
            self.journal.write_held()
        except OSError as error:
            return error
        return None

    def _make_room(self) -> None:
        """Let go of a segment whose content is in the database."""
        if self.room.is_full or self.journal.segment_bytes > ROTATE_WHEN_IDLE_BYTES:
            self.journal.rotate()
            self._ingester.poll()  # deletes it now: chats may be waiting for the room

    def _tidy(self) -> None:
        self._tidy_in_s = None  # nothing is lost when it fails: the next exchange begins it anew
        self._tidy_in_s = self._ingester.tidy()

    def _ended(self, item: Exchange) -> None:
        if self._spans is not None:
            self._spans.take(item)
        self._ask_about(item)

    def _ask_about(self, item: Exchange) -> None:
        if item.http_status is None or item.outcome is Outcome.PROXY_ERROR:
            self._prober.gone(item.upstream)
        elif item.request is not None:
            self._prober.saw(item.upstream, model_of(item))

    def _found(self, probed: Probed) -> None:
        self._ingester.note_probe(probed)
        self._wake.set()

    def _finish(self) -> None:
        try:
            self._ingest()
            self._prober.close()  # what it was asked last comes in, so that a short program learns its build as well
            self._ingester.finish(self.journal)
        finally:
            if self._spans is not None:
                self._spans.close()
            self._ingester.close()

    def _wait_for_work(self) -> None:
        """Sleep until something was appended, then until traffic pauses or has waited long enough."""
        while not self._wake.wait(self._tidy_in_s):
            self._works(self._tidy)
        self._wake.clear()
        settings = self._recorder.settings
        deadline = time.monotonic_ns() + settings.max_delay_ms * 1_000_000
        idle_ns = settings.idle_ms * 1_000_000
        while not self._stopping:
            now = time.monotonic_ns()
            start_at = min(self._recorder.last_activity_ns + idle_ns, deadline)
            if now >= start_at or self.journal.bytes_appended - self._ingested_bytes > self._most_behind:
                return
            time.sleep(min((start_at - now) / 1e9, _LOOK_S))

    def _give_way(self) -> None:
        """Let traffic pass between two exchanges: while requests run, they have most of the interpreter."""
        now = time.monotonic_ns()
        worked_ns = now - self._way_given_ns
        if worked_ns < _LEAST_NS:
            return
        if not self._stopping and now - self._recorder.last_activity_ns < _BUSY_NS:
            time.sleep(min(worked_ns * _GIVE_WAY, _GIVE_WAY_MAX_NS) / 1e9)
        self._way_given_ns = time.monotonic_ns()

    def _wait_stopping(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self._stopping and time.monotonic() < end:
            time.sleep(min(_LOOK_S, seconds))
            self._refused()  # the process may be killed while the database is away


def _span_sender(settings: Settings, writer_uid: str) -> "SpanSender | None":
    if settings.otlp is None:
        return None
    from tarx_toollog.otlp.sender import SpanSender  # an extra: it need not be installed

    return SpanSender(settings.otlp, writer_uid)
