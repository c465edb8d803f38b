"""Server-sent events: bytes in, events out.

Theory: the format (WHATWG HTML, 9.2.6) is made of lines that end in LF, CR or CRLF, and of nothing else.
U+2028 and U+0085 are ordinary characters inside a line, so ``str.splitlines`` (which httpx uses) tears
JSON apart; ``bytes.splitlines`` knows the three ends only. All line ends are single bytes except CRLF,
which is read as a CR whose LF is skipped. So no byte has to be looked at twice, wherever the chunks are
cut, and the time is linear.

What differs from a browser, because we record and do not act: an ``event:`` line without data is an event
too, the last event counts although its blank line is missing, and the field ``error:``, which older
llama.cpp servers send, is an event named ``error``.
"""

from dataclasses import dataclass

DEFAULT_MAX_EVENT_SIZE = 16 * 1024 * 1024  # far above any real event; protects the memory of the host
_BLOCK = 64 * 1024  # bytes cut into lines at a time: a list of all lines of a large piece takes many times its size
_FIELD_ROOM = 64  # a line may be longer than its value by the name of its field
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class SseEvent:
    """One event of a stream."""

    event: str
    """The name; empty when the server gave none."""
    data: bytes
    """The data lines, joined by LF."""
    offset_ns: int
    """Time of the chunk that completed the event."""
    cut: bool = False
    """The event was larger than allowed; ``data`` is its beginning."""


class SseSplitter:
    r"""Split a stream into events, fed with pieces of any size.

    Example:
        >>> splitter = SseSplitter()
        >>> splitter.receive_data(b"data: on", 1)
        []
        >>> splitter.receive_data(b"e\n\n", 2)
        [SseEvent(event='', data=b'one', offset_ns=2, cut=False)]

    Args:
        max_event_size: Data bytes kept of one event; the rest is dropped and the event marked ``cut``.
    """

    def __init__(self, max_event_size: int = DEFAULT_MAX_EVENT_SIZE) -> None:
        self._max_event_size = max_event_size
        self._max_line = max_event_size + _FIELD_ROOM
        self._line = bytearray()
        self._line_cut = False
        self._first_line = True
        self._after_cr = False
        self._offset_ns = 0
        self._event = ""
        self._data = bytearray()  # every line of it with an LF; a list of lines would take many times the size
        self._cut = False

    def receive_data(self, data: bytes, offset_ns: int = 0) -> list[SseEvent]:
        """Take the next piece of the stream and return the events that it completes."""
        events: list[SseEvent] = []
        if data:
            self._offset_ns = offset_ns
        for start in range(0, len(data), _BLOCK):
            self._take_block(data[start : start + _BLOCK], events)
        return events

    def close(self) -> list[SseEvent]:
        """Return what is left when the stream is over: an event without its last blank line."""
        events: list[SseEvent] = []
        if self._line:
            self._end_line(events)
        self._dispatch(events)
        return events

    def _take_block(self, data: bytes, events: list[SseEvent]) -> None:
        if self._after_cr and data[0] == 0x0A:
            data = data[1:]  # second half of a CRLF that the chunks tore apart
        self._after_cr = False
        for piece in data.splitlines(keepends=True):
            if piece[-1] in b"\r\n":
                self._after_cr = piece[-1] == 0x0D  # counts for the last piece only; others overwrite it
                self._grow_line(piece.rstrip(b"\r\n"))
                self._end_line(events)
            else:
                self._after_cr = False
                self._grow_line(piece)

    def _grow_line(self, piece: bytes) -> None:
        room = self._max_line - len(self._line)
        if len(piece) > room:
            self._line_cut = True
            piece = piece[:room]
        self._line += piece

    def _end_line(self, events: list[SseEvent]) -> None:
        line, cut = bytes(self._line), self._line_cut
        self._line.clear()
        self._line_cut = False
        if self._first_line:
            self._first_line = False
            line = line.removeprefix(_BOM)
        if not line:
            self._dispatch(events)
        elif not line.startswith(b":"):
            name, _, value = line.partition(b":")
            self._take_field(name, value.removeprefix(b" "), cut)

    def _take_field(self, name: bytes, value: bytes, cut: bool) -> None:
        if name == b"event":
            self._cut = self._cut or cut
            self._event = value.decode("utf-8", errors="replace")
        elif name in (b"data", b"error"):
            if name == b"error":
                self._event = "error"
            self._cut = self._cut or cut
            room = self._max_event_size - len(self._data)
            if room < len(value):
                self._cut = True
                value = value[: max(room, 0)]
            if room >= 0:
                self._data += value
                self._data += b"\n"

    def _dispatch(self, events: list[SseEvent]) -> None:
        if self._data or self._event:
            del self._data[-1:]  # the LF of the last line ends it and joins nothing
            events.append(SseEvent(self._event, bytes(self._data), self._offset_ns, self._cut))
        self._forget_event()

    def _forget_event(self) -> None:
        self._event = ""
        self._data.clear()
        self._cut = False
