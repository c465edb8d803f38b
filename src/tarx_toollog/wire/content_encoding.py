"""Decode a compressed body copy; the traffic itself is forwarded as it came.

Theory: the copy is decoded piece by piece, so that each event of a compressed stream keeps the time of the
chunk that brought it. Output is bounded twice, by a size and by a ratio to the input: a few kilobytes
of gzip can hold gigabytes. Both bounds are computed from the whole body before the first piece, else the
result would depend on how the body was cut. Whatever is wrong becomes a note; nothing is raised.
"""

import importlib
import zlib
from typing import Any, NamedTuple, Protocol

MAX_OUTPUT = 32 * 1024 * 1024  # as much as the largest body that we would decode uncompressed
MAX_RATIO = 200  # JSON compresses 5 to 30 times; deflate itself ends at about 1030
MIN_LIMIT = 64 * 1024  # small repetitive bodies may exceed the ratio without doing harm
UNSUPPORTED = "content_encoding_unsupported"
"""Begin of the note of a body in an encoding for which there is no decoder."""
_BLOCK = 16 * 1024  # bytes given to zlib at a time: it copies what it leaves, once for every member of a gzip body


class DecodedBody(NamedTuple):
    """A decoded body and what was wrong with it, if anything."""

    data: bytes
    note: str | None


class _Decompressor(Protocol):
    def feed(self, data: bytes, room: int) -> bytes: ...

    @property
    def finished(self) -> bool: ...


class _EncodingError(Exception):
    """The bytes are not what the header says."""


class _Zlib:
    """gzip (any number of members) and deflate (with the zlib header or, as many servers do, without)."""

    def __init__(self, encoding: str) -> None:
        self._deflate = encoding == "deflate"
        self._head = b""
        self._inner = None if self._deflate else zlib.decompressobj(wbits=31)
        self._padded = False
        self.finished = False

    def feed(self, data: bytes, room: int) -> bytes:
        if self._inner is None:
            self._head += data
            if len(self._head) < 2:
                return b""
            data = self._head
            # RFC 1950: method 8 in the low bits, and the two bytes are a multiple of 31.
            wrapped = data[0] & 0x0F == 8 and int.from_bytes(data[:2], "big") % 31 == 0
            self._inner = zlib.decompressobj(wbits=15 if wrapped else -15)
        output = bytearray()
        for start in range(0, len(data), _BLOCK):
            self._inner = self._feed_block(self._inner, data[start : start + _BLOCK], output, room)
        self.finished = self._inner.eof
        return bytes(output)

    def _feed_block(self, inner: "zlib._Decompress", data: bytes, output: bytearray, room: int) -> "zlib._Decompress":
        """Decode a block to the end of ``output``; return the decompressor that goes on."""
        while data and len(output) < room and not self._padded:
            if inner.eof:
                if self._deflate or data[0] != 0x1F:
                    self._padded = True  # what follows the last member is common and harmless
                    break
                inner = zlib.decompressobj(wbits=31)
            before = inner.copy()
            try:
                output += inner.decompress(data, room - len(output))
            except zlib.error as error:
                output += _until_fault(before, data, room - len(output))
                raise _EncodingError(bytes(output)) from error
            data = inner.unused_data if inner.eof else inner.unconsumed_tail
        return inner


class _Brotli:
    """br, if a brotli module that can bound its output is installed; it is not one of our dependencies."""

    def __init__(self, module: Any) -> None:
        self._inner = module.Decompressor()
        self._error: type[Exception] = module.error

    def feed(self, data: bytes, room: int) -> bytes:
        try:
            output = bytearray(self._inner.process(data, output_buffer_limit=room))
            while len(output) < room:
                more = self._inner.process(b"", output_buffer_limit=room - len(output))
                if not more:
                    break
                output += more
        except (self._error, TypeError) as error:  # TypeError: versions before 1.2 cannot bound the output
            raise _EncodingError(b"") from error
        return bytes(output)

    @property
    def finished(self) -> bool:
        return bool(self._inner.is_finished())


class ContentDecoder:
    """Decode one body, fed in pieces.

    Args:
        encodings: The value of the ``Content-Encoding`` header.
        input_size: Size of the whole encoded body, for the ratio.
    """

    def __init__(self, encodings: str, input_size: int) -> None:
        self.note: str | None = None
        self._room = min(MAX_OUTPUT, max(MIN_LIMIT, MAX_RATIO * input_size))
        self._chain: list[_Decompressor] = []
        self._encodings = encodings
        # The header lists the encodings in the order in which they were applied.
        for name in reversed([part.strip().lower() for part in encodings.split(",")]):
            if name in ("", "identity"):
                continue
            decompressor = _decompressor(name)
            if decompressor is None:
                self.note = f"{UNSUPPORTED}:{name[:40]}"
            else:
                self._chain.append(decompressor)

    def feed(self, data: bytes) -> bytes:
        """Return what ``data`` decodes to; empty from the first fault on."""
        if self.note is not None or not self._chain:
            return b"" if self.note is not None else data
        for step in self._chain:
            if not data:
                return b""
            try:
                # One byte more than allowed, to tell "exactly full" from "too much".
                data = step.feed(data, self._room + 1)
            except _EncodingError as error:
                self.note = f"content_encoding_invalid:{self._encodings[:40]}"
                data = error.args[0]
            if len(data) > self._room:
                break
        if len(data) > self._room:
            self.note = "content_encoding_limit"
            data = data[: self._room]
        self._room -= len(data)
        return data

    def close(self) -> None:
        """Note a body that ended before its compressed end."""
        if self.note is None and not all(step.finished for step in self._chain):
            self.note = "content_encoding_truncated"


def decode_content(data: bytes, encodings: str) -> DecodedBody:
    """Decode a whole body; never raises.

    Example:
        >>> import gzip
        >>> decode_content(gzip.compress(b"text"), "gzip")
        DecodedBody(data=b'text', note=None)
    """
    decoder = ContentDecoder(encodings, len(data))
    decoded = decoder.feed(data)
    decoder.close()
    return DecodedBody(decoded, decoder.note)


def _until_fault(decompressor: "zlib._Decompress", data: bytes, room: int) -> bytes:
    """Decode byte by byte up to the fault: zlib discards what it decoded before it in the same piece."""
    output = bytearray()
    try:
        for byte in data:
            output += decompressor.decompress(bytes((byte,)), max(room - len(output), 1))
    except zlib.error:
        pass  # the caller reports it
    return bytes(output)


def _decompressor(name: str) -> _Decompressor | None:
    if name in ("gzip", "x-gzip", "deflate"):
        return _Zlib(name.removeprefix("x-"))
    if name == "br":
        for module in ("brotli", "brotlicffi"):
            try:
                return _Brotli(importlib.import_module(module))
            except ImportError:
                continue
    return None
