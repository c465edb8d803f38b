r"""The frames of the journal: the file format, without the files' life.

A segment is ``TLJ2\n`` followed by sealed frames::

    u32 length of what follows the head · u64 nonce · u8 kind · 16 bytes exchange uid · sealed payload

The payload is sealed (``sealing``) together with writer, segment number, offset and head: a frame opens only where it
was written, as it was written. The heads can be read without the key, so that what is lost with it can be counted.

Older segments, what was put aside, and segments where nothing can be sealed begin with ``TLJ1\n``; their frames are::

    u32 length of the payload · u32 crc32 of kind, uid and payload · u8 kind · 16 bytes exchange uid · payload

All numbers are little-endian. Kinds: ``BEGIN`` (u32 length of JSON, JSON of ``wire.raw.Begin``, request body),
``RESPONSE`` (JSON of ``ResponseStart``), ``CHUNKS`` (u32 count, count × (i64 offset_ns, u32 length), data) and
``END`` (JSON of ``End``); and, with an id of its own instead of an exchange's, ``EXECUTION`` (JSON of
``ExecutionReport``). A frame that is cut short, does not match its crc or does not open ends the segment.
"""

import json
import os
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from enum import IntEnum
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple
from uuid import UUID

from tarx_toollog.canonical import parse_json
from tarx_toollog.errors import JournalError
from tarx_toollog.store.sealing import TAG_BYTES, Cipher, KeyGoneError, find_key, why_not
from tarx_toollog.wire.raw import Begin, Chunk, End, RawExchange, ResponseStart

MAGIC = b"TLJ1\n"
SEALED_MAGIC = b"TLJ2\n"

_HEADER = struct.Struct("<IIB16s")
_SEALED = struct.Struct("<IQB16s")
_KIND_AND_UID = struct.Struct("<B16s")  # how both end
_PLACE = struct.Struct("<IQ")
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


def seal_frames(frames: Sequence[FrameParts], cipher: Cipher, number: int, offset: int) -> bytes:
    """Return frames as they stand sealed in the segment of that number, from an offset on."""
    pieces: list[bytes] = []
    for kind, uid, payload in frames:
        data = payload[0] if len(payload) == 1 else b"".join(payload)
        nonce = cipher.next_nonce()
        head = _SEALED.pack(len(data) + TAG_BYTES, nonce, kind, uid)
        pieces += (head, cipher.seal(nonce, data, _PLACE.pack(number, offset) + head))
        offset += len(head) + len(data) + TAG_BYTES
    return b"".join(pieces)


def pack_frames(frames: Sequence[FrameParts]) -> bytes:
    """Return frames as they stand in a segment that is not sealed."""
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
    """Return how many bytes ``seal_frames`` makes of them."""
    return sum(_SEALED.size + TAG_BYTES + sum(map(len, payload)) for _, _, payload in frames)


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
    meta = _json(values).encode("ascii")
    return [_U32.pack(len(meta)), meta, *body]


def without_body(frame: FrameParts) -> FrameParts:
    """Return a BEGIN frame without its request body, whose size the frame still knows; others as they are."""
    kind, uid, payload = frame
    return (kind, uid, payload[:2]) if kind is Kind.BEGIN else frame


_json = json.JSONEncoder(separators=(",", ":")).encode  # `json.dumps` would make an encoder for each call
_FIELDS = {kind: tuple(field.name for field in fields(kind)) for kind in (Begin, ResponseStart, End, ExecutionReport)}


def _flat(value: Begin | ResponseStart | End | ExecutionReport) -> dict[str, Any]:
    # dataclasses.asdict copies every value deeply: 20 µs on the hot path, for values that are flat.
    return {name: getattr(value, name) for name in _FIELDS[type(value)]}


def json_payload(value: ResponseStart | End | ExecutionReport) -> list[bytes]:
    """Return the payload of a RESPONSE, END or EXECUTION frame."""
    return [_json(_flat(value)).encode("ascii")]


def chunks_payload(chunks: Sequence[tuple[int, bytes]]) -> list[bytes]:
    """Return the payload of a CHUNKS frame from (offset_ns, data) pairs."""
    pack = _CHUNK.pack
    heads = [pack(offset, len(data)) for offset, data in chunks]
    return [_U32.pack(len(chunks)) + b"".join(heads), *[data for _, data in chunks]]


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


class Head(NamedTuple):
    """What a frame says of itself, sealed or not."""

    kind: Kind
    uid: str
    end_offset: int


class _Found(NamedTuple):
    offset: int
    head: bytes
    body: bytes
    end_offset: int


def read_frames(path: Path, offset: int = 0) -> Iterator[Frame]:
    """Yield the whole frames of a segment from ``offset`` on; stop at the first that is cut or damaged.

    Raises:
        KeyGoneError: It is sealed, and its key is gone.
        JournalError: It is sealed, and nothing can be opened in this process.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        magic = file.read(len(MAGIC))
        offset = max(offset, len(MAGIC))
        if magic == MAGIC:
            for found in _found(file, _HEADER, offset):
                _, crc, kind, uid = _HEADER.unpack(found.head)
                if kind not in _KINDS or zlib.crc32(found.body, zlib.crc32(uid, kind)) != crc:
                    return  # damaged, or written by a newer version
                yield Frame(Kind(kind), str(UUID(bytes=uid)), found.body, found.end_offset)
        elif magic == SEALED_MAGIC and os.fstat(file.fileno()).st_size > offset:
            yield from _opened(path, _found(file, _SEALED, offset))


def _opened(path: Path, founds: Iterator[_Found]) -> Iterator[Frame]:
    writer_uid, _, number = path.stem.rpartition("-")
    key = find_key(path.parent, writer_uid)
    if key is None or not number.isdecimal():
        raise KeyGoneError(f"{path.name} is sealed, and its key is gone")
    cipher = Cipher(key, writer_uid)
    for found in founds:
        _, nonce, kind, uid = _SEALED.unpack(found.head)
        payload = cipher.open(nonce, found.body, _PLACE.pack(int(number), found.offset) + found.head)
        if payload is None or kind not in _KINDS:
            return
        yield Frame(Kind(kind), str(UUID(bytes=uid)), payload, found.end_offset)


def read_heads(path: Path) -> Iterator[Head]:
    """Yield what the frames of a segment say of themselves. No key is needed, and nothing proves that it is true.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        header = {MAGIC: _HEADER, SEALED_MAGIC: _SEALED}.get(file.read(len(MAGIC)))
        for found in () if header is None else _found(file, header, len(MAGIC)):
            kind, uid = _KIND_AND_UID.unpack(found.head[-_KIND_AND_UID.size :])
            if kind not in _KINDS:
                return
            yield Head(Kind(kind), str(UUID(bytes=uid)), found.end_offset)


def can_open(segments: Iterable[Path]) -> bool:
    """Say whether this process can open segments if it has their keys: what is sealed takes ``cryptography``.

    Raises:
        OSError: They cannot be read.
    """
    return why_not() is None or not any(_is_sealed(path) for path in segments)


def _is_sealed(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(SEALED_MAGIC)) == SEALED_MAGIC


def _found(file: BinaryIO, header: struct.Struct, offset: int) -> Iterator[_Found]:
    """Yield what lies whole behind each head from ``offset`` on."""
    size = os.fstat(file.fileno()).st_size
    file.seek(offset)
    while len(head := file.read(header.size)) == header.size:
        (length,) = _U32.unpack_from(head)
        end_offset = offset + header.size + length
        if end_offset > size:
            return  # cut short, or a damaged length: reading 4 GiB to find that out would hurt the host
        body = file.read(length)
        if len(body) < length:
            return
        yield _Found(offset, head, body, end_offset)
        offset = end_offset
