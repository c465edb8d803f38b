r"""Lines of JSON (NDJSON): bytes in, lines out.

Theory: a line ends in LF; a CR before it belongs to the line end. Nothing else ends a line, since JSON writes line
feeds inside strings as ``\n``, and U+2028 is an ordinary character. Every piece is searched for LF once and appended
once, so the time is linear wherever the chunks are cut. Blank lines say nothing, and the last line counts although
its LF is missing, because a server that dies leaves it out.
"""

from dataclasses import dataclass

DEFAULT_MAX_LINE_SIZE = 16 * 1024 * 1024  # far above any real line; protects the memory of the host
_BOM = b"\xef\xbb\xbf"
_WHITE_SPACE = b" \t\r"  # of JSON; LF is the line end


@dataclass(frozen=True, slots=True)
class NdjsonLine:
    """One line of a stream."""

    data: bytes
    """The line without its end and without white space around it."""
    offset_ns: int
    """Time of the chunk that completed the line."""
    cut: bool = False
    """The line was larger than allowed; ``data`` is its beginning."""


class NdjsonSplitter:
    r"""Split a stream into lines, fed with pieces of any size.

    Example:
        >>> splitter = NdjsonSplitter()
        >>> splitter.receive_data(b'{"a"', 1)
        []
        >>> splitter.receive_data(b":1}\r\n\n", 2)
        [NdjsonLine(data=b'{"a":1}', offset_ns=2, cut=False)]

    Args:
        max_line_size: Bytes kept of one line; the rest is dropped and the line marked ``cut``.
    """

    def __init__(self, max_line_size: int = DEFAULT_MAX_LINE_SIZE) -> None:
        self._max_line_size = max_line_size
        self._line = bytearray()
        self._cut = False
        self._first_line = True
        self._offset_ns = 0

    def receive_data(self, data: bytes, offset_ns: int = 0) -> list[NdjsonLine]:
        """Take the next piece of the stream and return the lines that it completes."""
        lines: list[NdjsonLine] = []
        if not data:
            return lines
        self._offset_ns = offset_ns
        *ended, rest = data.split(b"\n")
        for piece in ended:
            self._grow(piece)
            self._end_line(lines)
        self._grow(rest)
        return lines

    def close(self) -> list[NdjsonLine]:
        """Return what is left when the stream is over: a line without its end."""
        lines: list[NdjsonLine] = []
        self._end_line(lines)
        return lines

    def _grow(self, piece: bytes) -> None:
        room = self._max_line_size + 1 - len(self._line)  # one more for the CR of a line end
        if len(piece) > room:
            self._cut = True
            piece = piece[:room]
        self._line += piece

    def _end_line(self, lines: list[NdjsonLine]) -> None:
        line = bytes(self._line).removesuffix(b"\r")
        cut = self._cut or len(line) > self._max_line_size
        self._line.clear()
        self._cut = False
        line = line[: self._max_line_size]
        if self._first_line:
            self._first_line = False
            line = line.removeprefix(_BOM)
        line = line.strip(_WHITE_SPACE)
        if line:
            lines.append(NdjsonLine(line, self._offset_ns, cut))
