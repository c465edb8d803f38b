r"""The frames of the journal: the file format, without the files' life.

A segment is ``TLJ1\n`` followed by frames::

    u32 length of the payload · u32 crc32 of kind, uid and payload · u8 kind · 16 bytes exchange uid · payload

All numbers are little-endian. Kinds: ``BEGIN`` (u32 length of JSON, JSON of ``wire.raw.Begin``, request body),
``RESPONSE`` (JSON of ``ResponseStart``), ``CHUNKS`` (u32 count, count × (i64 offset_ns, u32 length), data) and
``END`` (JSON of ``End``); and, with an id of its own instead of an exchange's, ``EXECUTION`` (JSON of
``ExecutionReport``). A frame that is cut short or does not match its crc ends the segment.
"""

import json
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from pathlib import Path
from typing import Any
from uuid import UUID

from tarx_toollog.canonical import parse_json
from tarx_toollog.errors import JournalError
from tarx_toollog.wire.raw import Begin, Chunk, End, RawExchange, ResponseStart

MAGIC = b"TLJ1\n"

_HEADER = struct.Struct("<IIB16s")
_U32 = struct.Struct("<I")
_CHUNK = struct.Struct("<qI")


class Kind(IntEnum):
    """What a frame holds."""

    BEGIN = 1
    RESPONSE = 2
    CHUNKS = 3
    END = 4
    EXECUTION = 5


_KINDS = frozenset(Kind)


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame, with the place where it stands."""

    kind: Kind
    uid: str
    payload: bytes
    end_offset: int
    """Offset in the segment of the byte after it."""


@dataclass(frozen=True, slots=True)
class ExecutionReport:
    """One run of a tool, as the program that ran it tells."""

    uid: str
    started_ns: int
    """Unix time in nanoseconds."""
    took_ns: int
    """From the monotonic clock."""
    source: str
    """What reported it: ``context``, ``decorator`` or ``mcp``."""
    call_id: str | None = None
    name: str | None = None
    is_error: bool = False
    error_type: str | None = None
    error_text: str | None = None
    inbound_uid: str | None = None
    """The inbound exchange during which it ran."""
    client_key: str | None = None


FrameParts = tuple[Kind, bytes, Sequence[bytes]]
"""A frame to be written: kind, the 16 bytes of the exchange's uid, the pieces of its payload."""


def pack_frames(frames: Sequence[FrameParts]) -> bytes:
    """Return frames as they stand in a segment."""
    pieces: list[bytes] = []
    for kind, uid, payload in frames:
        crc = zlib.crc32(uid, kind)
        length = 0
        for piece in payload:
            crc = zlib.crc32(piece, crc)
            length += len(piece)
        pieces.append(_HEADER.pack(length, crc, kind, uid))
        pieces.extend(payload)
    return b"".join(pieces)


def packed_size(frames: Sequence[FrameParts]) -> int:
    """Return how many bytes ``pack_frames`` makes of them."""
    return sum(_HEADER.size + sum(map(len, payload)) for _, _, payload in frames)


def exchange_frames(uid: bytes, raw: RawExchange) -> list[FrameParts]:
    """Return the frames of a whole exchange; ``Assembly`` is the inverse."""
    frames: list[FrameParts] = [(Kind.BEGIN, uid, begin_payload(raw.begin, [raw.request_body]))]
    if raw.response is not None:
        frames.append((Kind.RESPONSE, uid, json_payload(raw.response)))
    if raw.chunks:
        frames.append((Kind.CHUNKS, uid, chunks_payload([(c.offset_ns, c.data) for c in raw.chunks])))
    if raw.end is not None:
        frames.append((Kind.END, uid, json_payload(raw.end)))
    return frames


def begin_payload(begin: Begin, body: Sequence[bytes], body_size: int | None = None) -> list[bytes]:
    """Return the payload of a BEGIN frame, in pieces; ``body_size`` replaces that of ``begin``."""
    values = _flat(begin)
    if body_size is not None:
        values["body_size"] = body_size
    meta = json.dumps(values, separators=(",", ":")).encode("ascii")
    return [_U32.pack(len(meta)), meta, *body]


def without_body(frame: FrameParts) -> FrameParts:
    """Return a BEGIN frame without its request body, whose size the frame still knows; others as they are."""
    kind, uid, payload = frame
    return (kind, uid, payload[:2]) if kind is Kind.BEGIN else frame


_FIELDS = {kind: tuple(field.name for field in fields(kind)) for kind in (Begin, ResponseStart, End, ExecutionReport)}


def _flat(value: Begin | ResponseStart | End | ExecutionReport) -> dict[str, Any]:
    # dataclasses.asdict copies every value deeply: 20 µs on the hot path, for values that are flat.
    return {name: getattr(value, name) for name in _FIELDS[type(value)]}


def json_payload(value: ResponseStart | End | ExecutionReport) -> list[bytes]:
    """Return the payload of a RESPONSE, END or EXECUTION frame."""
    return [json.dumps(_flat(value), separators=(",", ":")).encode("ascii")]


def chunks_payload(chunks: Sequence[tuple[int, bytes]]) -> list[bytes]:
    """Return the payload of a CHUNKS frame from (offset_ns, data) pairs."""
    heads = [_U32.pack(len(chunks))]
    heads.extend(_CHUNK.pack(offset, len(data)) for offset, data in chunks)
    return [b"".join(heads), *(data for _, data in chunks)]


def read_execution(frame: Frame) -> ExecutionReport:
    """Read an EXECUTION frame.

    Raises:
        JournalError: The frame matches its crc and still makes no sense: it was written by other code.
    """
    try:
        return ExecutionReport(**parse_json(frame.payload))
    except (ValueError, TypeError) as error:
        raise JournalError(f"journal frame {frame.kind.name} of {frame.uid} cannot be read: {error}") from error


class Assembly:
    """Puts the frames of one exchange together again."""

    def __init__(self) -> None:
        self.begin: Begin | None = None
        self.body = b""
        self.response: ResponseStart | None = None
        self.chunks: list[Chunk] = []
        self.end: End | None = None

    def add(self, frame: Frame) -> None:
        """Add the next frame.

        Raises:
            JournalError: The frame matches its crc and still makes no sense: it was written by other code.
        """
        try:
            self._add(frame)
        except (ValueError, TypeError, KeyError, struct.error, RecursionError) as error:
            raise JournalError(f"journal frame {frame.kind.name} of {frame.uid} cannot be read: {error}") from error

    def raw(self) -> RawExchange | None:
        """Return the exchange as far as it is known; None while its BEGIN is missing."""
        if self.begin is None:
            return None
        return RawExchange(self.begin, self.body, self.response, tuple(self.chunks), self.end)

    def _add(self, frame: Frame) -> None:
        payload = frame.payload
        if frame.kind is Kind.BEGIN:
            (length,) = _U32.unpack_from(payload)
            meta = parse_json(payload[4 : 4 + length])
            begin = Begin(**(meta | {"headers": _headers(meta["headers"])}))
            self.begin, self.body = begin, payload[4 + length :]
        elif frame.kind is Kind.RESPONSE:
            meta = parse_json(payload)
            self.response = ResponseStart(**(meta | {"headers": _headers(meta["headers"])}))
        elif frame.kind is Kind.CHUNKS:
            (count,) = _U32.unpack_from(payload)
            place = 4 + count * _CHUNK.size
            chunks = []
            for offset, length in _CHUNK.iter_unpack(payload[4:place]):
                chunks.append(Chunk(offset, payload[place : place + length]))
                place += length
            if place != len(payload):
                raise ValueError("its sizes do not add up")
            self.chunks += chunks
        else:
            self.end = End(**parse_json(payload))


def _headers(pairs: Sequence[Sequence[str]]) -> tuple[tuple[str, str], ...]:
    return tuple((name, value) for name, value in pairs)


def read_frames(path: Path, offset: int = 0) -> Iterator[Frame]:
    """Yield the whole frames of a segment from ``offset`` on; stop at the first that is cut or damaged."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if offset < len(MAGIC):
            if file.read(len(MAGIC)) != MAGIC:
                return
            offset = len(MAGIC)
        file.seek(offset)
        while True:
            header = file.read(_HEADER.size)
            if len(header) < _HEADER.size:
                return
            length, crc, kind, uid = _HEADER.unpack(header)
            if length > size - offset - _HEADER.size:
                return  # cut short, or a damaged length: reading 4 GiB to find that out would hurt the host
            payload = file.read(length)
            if len(payload) < length or zlib.crc32(payload, zlib.crc32(uid, kind)) != crc:
                return
            if kind not in _KINDS:  # written by a newer version
                return
            offset += _HEADER.size + length
            yield Frame(Kind(kind), str(UUID(bytes=uid)), payload, offset)
