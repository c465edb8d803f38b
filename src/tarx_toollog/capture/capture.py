"""One exchange as a tap sees it: what every tap calls, in order, and what keeps its errors away from the chat.

::

    capture = Capture.begin(recorder, leg=…, …)      # or None: nothing to capture
    capture.request_data(b"…")*  capture.request_done()
    capture.response_start(200, headers)
    capture.response_data(b"…")*                     # before the piece goes on to the client
    capture.end(final_seen=True)                     # exactly once

*Theory.* Pieces are kept by reference and reach the journal together: the request a moment after it is complete, an
answer at the latest ``checkpoint_ms`` after it came, and both always **before** the piece that carries the end of the
content goes on to the client. So a client never holds an answer that a killed process would lose, a stream costs one
write instead of one per token, and no client waits for the write of its request.
"""

import asyncio
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Concatenate, ParamSpec

from tarx_toollog.capture.headers import KEPT_REQUEST_HEADERS, KEPT_RESPONSE_HEADERS, RawHeaders, first, kept
from tarx_toollog.capture.recorder import Recorder
from tarx_toollog.model import Leg
from tarx_toollog.store.frames import FrameParts, Kind, begin_payload, chunks_payload, json_payload
from tarx_toollog.wire.protocols import looks_like_chat
from tarx_toollog.wire.raw import Begin, End, ResponseStart
from tarx_toollog.wire.terminator import TerminatorScanner

if TYPE_CHECKING:
    from tarx_toollog.capture.run import Run

FLUSH_BYTES = 64 * 1024  # a fast stream is written in pieces of this size rather than held in memory
_BEGUN_S = 0.02  # a model takes longer; with an answer that comes sooner, the request is written together

P = ParamSpec("P")


def _guarded(method: Callable[Concatenate["Capture", P], None]) -> Callable[Concatenate["Capture", P], None]:
    """Swallow and count whatever goes wrong in ``method``: capture never hurts the host."""

    def call(self: "Capture", /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            method(self, *args, **kwargs)
        except Exception as error:  # noqa: BLE001 - any error of ours must stay here
            self.recorder.failed(error)

    call.__doc__ = method.__doc__
    return call


class Capture:
    """One exchange while it happens. Made by ``begin``; no method raises."""

    __slots__ = (
        "_begun_size",
        "_buffered",
        "_chunks",
        "_ended",
        "_flush_at_ns",
        "_frames",
        "_max_response",
        "_meta",
        "_request",
        "_request_size",
        "_response_size",
        "_run",
        "_scanner",
        "_start_ns",
        "_tentative",
        "_timer",
        "_uid_bytes",
        "is_unsynced",
        "recorder",
        "uid",
    )

    def __init__(self, recorder: Recorder, meta: Begin, uid_bytes: bytes, start_ns: int) -> None:
        self.recorder = recorder
        self.uid = meta.uid
        self._meta = meta
        self._uid_bytes = uid_bytes
        self._start_ns = start_ns
        self._request: list[bytes] = []
        self._request_size = 0
        self._begun_size: int | None = None
        self._run: Run | None = None
        self._ended = False
        self._frames: list[FrameParts] = []
        self._chunks: list[tuple[int, bytes]] = []
        self._buffered = 0
        self._response_size = 0
        self._max_response = recorder.settings.max_response_bytes
        self._flush_at_ns = start_ns
        self._scanner: TerminatorScanner | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._tentative = False
        self.is_unsynced = False
        """Whether the piece that was just taken must not go on before ``synced`` (durability ``power``)."""

    @classmethod
    def begin(
        cls,
        recorder: Recorder,
        *,
        leg: Leg,
        method: str,
        path: str,
        headers: RawHeaders,
        client_key: str | None,
        upstream: str | None = None,
        conversation_hint: str | None = None,
        hint_source: str | None = None,
        outer_uid: str | None = None,
        tentative: bool = False,
    ) -> "Capture | None":
        """Begin an exchange; None when even that fails.

        A ``tentative`` one is on a route that is no protocol's alone: it is dropped unless its body looks like a chat.
        """
        try:
            uid, uid_bytes = recorder.new_uid()
            meta = Begin(
                uid=uid,
                leg=leg,
                method=method,
                path=path,
                started_ns=time.time_ns() // 1000 * 1000,  # the database keeps microseconds
                headers=kept(headers, KEPT_REQUEST_HEADERS),
                client_key=client_key,
                upstream=upstream,
                conversation_hint=conversation_hint,
                hint_source=hint_source,
                outer_uid=outer_uid,
            )
            recorder.running.add(uid)
            capture = cls(recorder, meta, uid_bytes, time.monotonic_ns())
            capture._tentative = tentative
            return capture
        except Exception as error:  # noqa: BLE001 - see _guarded
            recorder.failed(error, lost=True)
            return None

    @property
    def request_body(self) -> bytes:
        """The request body as far as it was kept."""
        return b"".join(self._request)

    @_guarded
    def request_data(self, data: bytes) -> None:
        """Take a piece of the request body."""
        data = bytes(data)  # the same object, unless somebody lends us a buffer that is going to change
        room = self.recorder.settings.max_request_bytes - self._request_size
        self._request_size += len(data)
        if room > 0:
            self._request.append(data[:room])

    @property
    def is_dropped(self) -> bool:
        """Whether it turned out to be no chat; nothing of it is kept."""
        return self._tentative and self._ended

    @_guarded
    def request_done(self) -> None:
        """The request body is complete: in a moment the exchange survives the death of the process."""
        if not self._is_wanted():
            return
        self._add_begin()
        if self._timer is None:
            self._timer = _call_later(_BEGUN_S, self._checkpoint)
        self._flush(may_wait=self._timer is not None)

    @_guarded
    def response_start(self, status: int, headers: Iterable[tuple[bytes, bytes]]) -> None:
        """Take status and headers of the response."""
        if not self._is_wanted():
            return
        self._add_begin()  # an answer that did not wait for the request, a refusal as a rule
        pairs = list(headers)
        start = ResponseStart(status, kept(pairs, KEPT_RESPONSE_HEADERS), time.monotonic_ns() - self._start_ns)
        self._frames.append((Kind.RESPONSE, self._uid_bytes, json_payload(start)))
        length = first(pairs, b"content-length") or ""
        content_type = first(pairs, b"content-type") or ""
        encoding = first(pairs, b"content-encoding") or ""
        size = int(length) if length.isascii() and length.isdecimal() else None
        self._scanner = TerminatorScanner(content_type, size, encoding)

    def response_data(self, data: bytes) -> None:
        """Take a piece of the response body; call it before the piece goes on to the client.

        This runs for each token of every stream, so it is written out: no wrapper, no look-ups that can be saved.
        """
        if self._ended:
            return  # no chat, or a tap that goes on after the end
        try:
            if type(data) is not bytes:
                data = bytes(data)  # somebody lends us a buffer that is going to change
            now = time.monotonic_ns()
            self.recorder.last_activity_ns = now
            room = self._max_response - self._response_size
            size = len(data)
            self._response_size += size
            if room > 0:
                self._buffered += size
                self._chunks.append((now - self._start_ns, data if size <= room else data[:room]))
            ends_content = self._scanner is None or self._scanner.feed(data)
            if ends_content or self._buffered >= FLUSH_BYTES or now >= self._flush_at_ns:
                self._flush()
                self.is_unsynced = ends_content and self.recorder.syncs
            elif self._timer is None:
                delay_s = self.recorder.settings.checkpoint_ms / 1000
                self._timer = _call_later(delay_s, self._checkpoint)  # the model may fall silent
        except Exception as error:  # noqa: BLE001 - see _guarded
            self.recorder.failed(error)

    @_guarded
    def response_done(self) -> None:
        """The body ends with the piece that goes on next: nothing of it may be left in memory then."""
        if self._chunks:  # an answer without any mark of its end; else they were written with that
            self._flush()
            self.is_unsynced = self.recorder.syncs

    async def synced(self) -> None:
        """Wait until the disk has what was taken so far."""
        self.is_unsynced = False
        await self.recorder.synced()

    def wait_synced(self) -> None:
        """Do the same in a synchronous program."""
        self.is_unsynced = False
        self.recorder.wait_synced()

    def end(
        self,
        *,
        final_seen: bool = False,
        disconnected: bool = False,
        exception: BaseException | None = None,
        exception_side: str | None = None,
    ) -> None:
        """The exchange is over; later calls do nothing."""
        if self._ended:
            return
        if not self._is_wanted():
            return
        self._ended = True
        try:
            end = End(
                offset_ns=time.monotonic_ns() - self._start_ns,
                final_seen=final_seen,
                disconnected=disconnected,
                exception=None if exception is None else _error_text(exception),
                exception_side=exception_side,
                body_size=self._response_size,
            )
            self._add_begin()  # a client that left before the body was complete
            self._take_chunks()
            is_rest = not self._frames
            self._frames.append((Kind.END, self._uid_bytes, json_payload(end)))
            self._flush(may_wait=is_rest)
        except Exception as error:  # noqa: BLE001 - see _guarded
            self.recorder.failed(error, lost=True, begun=None if self._run is None else self.uid)
        if self._timer is not None:
            self._timer.cancel()
        self.recorder.running.discard(self.uid)
        self._request, self._frames = [], []  # a task that outlives the request may hold this object

    @_guarded
    def _checkpoint(self) -> None:
        self._timer = None
        if self._chunks:
            self._flush()
        elif self._run is not None:
            self._run.write_held()

    def _is_wanted(self) -> bool:
        """Decide, once, whether a tentative exchange is a chat; let it go when it is none."""
        if self._tentative and not self._ended:
            encoding = dict(self._meta.headers).get("content-encoding", "")
            if looks_like_chat(self._meta.path, self.request_body, encoding):
                self._tentative = False
            else:
                self._ended = True
                self._request = []
                self.recorder.running.discard(self.uid)
        return not self.is_dropped

    def _add_begin(self) -> None:
        # Once as a rule. Again when the answer began before the request was complete: the last one counts.
        if self._begun_size != self._request_size:
            payload = begin_payload(self._meta, self._request, self._request_size)
            self._frames.append((Kind.BEGIN, self._uid_bytes, payload))
            self._begun_size = self._request_size

    def _take_chunks(self) -> None:
        if self._chunks:
            self._frames.append((Kind.CHUNKS, self._uid_bytes, chunks_payload(self._chunks)))
            self._chunks = []
            self._buffered = 0

    def _flush(self, *, may_wait: bool = False) -> None:
        # Frames stay in the list until they are written: after a full disk the next flush brings them all.
        self._take_chunks()
        # Before the writer thread is woken, which would take the traffic for over.
        self.recorder.last_activity_ns = time.monotonic_ns()
        try:
            if self._frames:
                self._run = self.recorder.append(self._frames, self._run, may_wait=may_wait)
                self._frames = []
        finally:
            # Also after a failure: the next try comes with the next checkpoint, not with the next token.
            self.recorder.last_activity_ns = now = time.monotonic_ns()
            self._flush_at_ns = now + self.recorder.settings.checkpoint_ms * 1_000_000


def _call_later(delay_s: float, callback: Callable[[], None]) -> asyncio.TimerHandle | None:
    try:
        return asyncio.get_running_loop().call_later(delay_s, callback)
    except RuntimeError:
        return None  # a synchronous client: its checkpoints come with the next piece


def _error_text(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001 - an error that cannot even say what it is must not cost the exchange
        return type(error).__name__
