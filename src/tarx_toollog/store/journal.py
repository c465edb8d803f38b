r"""The journal: append-only segment files that hold exchanges until they are in the database.

It is the queue between capture and the writer, the protection against the death of the process, and the
spool while the database is locked, full or away: one mechanism for all three. Nothing waits in memory.

A *segment* belongs to one process (``<writer uid>-<number>.tlj``); the process holds a lock on
``<writer uid>.lock`` while it lives, so that another one can tell a dead process's segments from a live one's.

A segment is ``TLJ1\n`` followed by frames::

    u32 length of the payload · u32 crc32 of kind, uid and payload · u8 kind · 16 bytes exchange uid · payload

All numbers are little-endian. Kinds: ``BEGIN`` (u32 length of JSON, JSON of ``wire.raw.Begin``, request body),
``RESPONSE`` (JSON of ``ResponseStart``), ``CHUNKS`` (u32 count, count × (i64 offset_ns, u32 length), data) and
``END`` (JSON of ``End``). A frame that is cut short or does not match its crc ends the segment.

One ``write`` per append and no fsync: what was appended survives the death of the process, not of the machine.
"""

import errno
import fcntl
import json
import os
import struct
import threading
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
SEGMENT_SUFFIX = ".tlj"
LOCK_SUFFIX = ".lock"
MAX_SEGMENT_BYTES = 64 * 2**20  # small enough to be deleted often, large enough to hold a busy hour

_HEADER = struct.Struct("<IIB16s")
_U32 = struct.Struct("<I")
_CHUNK = struct.Struct("<qI")


class Kind(IntEnum):
    """What a frame holds."""

    BEGIN = 1
    RESPONSE = 2
    CHUNKS = 3
    END = 4


_KINDS = frozenset(Kind)


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame, with the place where it stands."""

    kind: Kind
    uid: str
    payload: bytes
    end_offset: int
    """Offset in the segment of the byte after it."""


FrameParts = tuple[Kind, bytes, Sequence[bytes]]
"""A frame to be written: kind, the 16 bytes of the exchange's uid, the pieces of its payload."""


class JournalSealedError(JournalError):
    """The journal takes no more frames; the next one of this process does."""


class Journal:
    """The segments of this process: append only.

    Safe to use from several threads; the lock keeps the frames of one append together across a rotation.

    Args:
        folder: Where segments live; made (0700) when missing.
        writer_uid: Id of this process in the store.
    """

    def __init__(self, folder: Path, writer_uid: str) -> None:
        self.folder = folder
        self.writer_uid = writer_uid
        self.bytes_appended = 0
        self._lock = threading.Lock()
        self._number = 0
        self.is_sealed = False  # whether it takes no more frames
        self._is_torn = False  # whether the segment ends in a half frame
        self._lock_path, lock_fd = folder / f"{writer_uid}{LOCK_SUFFIX}", -1
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock_fd = os.open(self._lock_path, os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._fd = _open_segment(self.current)
        except OSError as error:
            if lock_fd >= 0:  # a full disk is met again with every chat: each attempt must leave nothing behind
                self._lock_path.unlink(missing_ok=True)
                os.close(lock_fd)
            raise JournalError(
                f"cannot write the journal in {folder}: {error.strerror}",
                hint="make the folder writable, or set TOOLLOG_JOURNAL_DIR",
            ) from error
        self._lock_fd = lock_fd
        self._size = len(MAGIC)

    @property
    def current(self) -> Path:
        """Path of the segment that is being written."""
        return self.folder / f"{self.writer_uid}-{self._number:06d}{SEGMENT_SUFFIX}"

    @property
    def segment_bytes(self) -> int:
        """Size of the segment that is being written."""
        return self._size

    def append(self, frames: Sequence[FrameParts]) -> None:
        """Append frames with one write.

        Raises:
            OSError: The disk is full or the file is gone; nothing was appended.
            JournalSealedError: It was sealed.
        """
        data = pack_frames(frames)
        with self._lock:
            if self.is_sealed:
                raise JournalSealedError("the journal was closed")
            if self._is_torn:
                self._rotate()
            written = os.write(self._fd, data)
            if written != len(data):  # the disk filled up in the middle: leave no half frame behind
                self._take_back()
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            self._size += written
            self.bytes_appended += written
            if self._size > MAX_SEGMENT_BYTES:
                self._rotate_if_possible()

    def rotate(self) -> None:
        """Begin a new segment, so that the current one can be deleted once it is in the database."""
        with self._lock:
            if self._size > len(MAGIC) and not self.is_sealed:
                self._rotate_if_possible()

    def seal(self) -> None:
        """Take no more frames: what is in the segments now is all that they will ever hold."""
        with self._lock:
            self.is_sealed = True

    def close(self) -> None:
        """Release the segment and the lock; an empty segment and, with the last segment, the lock file go."""
        with self._lock:
            self.is_sealed = True
            if self._fd < 0:
                return
            if self._size == len(MAGIC):
                self.current.unlink(missing_ok=True)
            if not list_segments(self.folder, self.writer_uid):
                self._lock_path.unlink(missing_ok=True)
            self._close_files()

    def forget_after_fork(self) -> None:
        """Let go of the files in a child process, so that its life does not keep up the parent's lock."""
        self._lock = threading.Lock()  # another thread of the parent may have held it
        self.is_sealed = True
        self._close_files()

    def _close_files(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            os.close(self._lock_fd)
        self._fd = self._lock_fd = -1

    def _take_back(self) -> None:
        try:
            os.ftruncate(self._fd, self._size)
        except OSError:
            self._is_torn = True  # readers stop at the half frame, so the next append begins a new segment

    def _rotate_if_possible(self) -> None:
        try:
            self._rotate()
        except OSError:
            pass  # no room for a new segment: the old one, which is longer than we like, has to go on

    def _rotate(self) -> None:
        # First the new segment, then the change: a failure must not leave a closed file to write to.
        number = self._number + 1
        fd = _open_segment(self.folder / f"{self.writer_uid}-{number:06d}{SEGMENT_SUFFIX}")
        os.close(self._fd)
        self._fd, self._number, self._size, self._is_torn = fd, number, len(MAGIC), False


def _open_segment(path: Path) -> int:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_EXCL, 0o600)
    try:
        if os.write(fd, MAGIC) != len(MAGIC):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    except OSError:
        os.close(fd)
        path.unlink(missing_ok=True)
        raise
    return fd


# ---- payloads -------------------------------------------------------------------------------------------------------


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


_FIELDS = {kind: tuple(field.name for field in fields(kind)) for kind in (Begin, ResponseStart, End)}


def _flat(value: Begin | ResponseStart | End) -> dict[str, Any]:
    # dataclasses.asdict copies every value deeply: 20 µs on the hot path, for values that are flat.
    return {name: getattr(value, name) for name in _FIELDS[type(value)]}


def json_payload(value: ResponseStart | End) -> list[bytes]:
    """Return the payload of a RESPONSE or END frame."""
    return [json.dumps(_flat(value), separators=(",", ":")).encode("ascii")]


def chunks_payload(chunks: Sequence[tuple[int, bytes]]) -> list[bytes]:
    """Return the payload of a CHUNKS frame from (offset_ns, data) pairs."""
    heads = [_U32.pack(len(chunks))]
    heads.extend(_CHUNK.pack(offset, len(data)) for offset, data in chunks)
    return [b"".join(heads), *(data for _, data in chunks)]


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


# ---- reading --------------------------------------------------------------------------------------------------------


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


def list_segments(folder: Path, writer_uid: str = "") -> list[Path]:
    """Return the segments in ``folder`` (of one writer, or of all), oldest first."""
    return sorted(folder.glob(f"{writer_uid}*{SEGMENT_SUFFIX}"))


def claim_dead(folder: Path) -> Iterator[str]:
    """Yield the uids of processes that left segments behind and are gone, oldest first.

    Each is claimed (its lock is held) until the next one is asked for, so that of two processes that start
    together only one reads a dead one's segments. A claim whose segments are gone takes the lock file along.
    """
    for writer_uid in sorted({path.name.rsplit("-", 1)[0] for path in list_segments(folder)}):
        fd = _try_lock(folder / f"{writer_uid}{LOCK_SUFFIX}")
        if fd is None:
            continue
        try:
            yield writer_uid
        finally:
            if not list_segments(folder, writer_uid):
                (folder / f"{writer_uid}{LOCK_SUFFIX}").unlink(missing_ok=True)
            os.close(fd)


def is_alive(folder: Path, writer_uid: str) -> bool:
    """Say whether the process behind ``writer_uid`` still holds its lock."""
    path = folder / f"{writer_uid}{LOCK_SUFFIX}"
    if not path.exists():
        return False
    fd = _try_lock(path)
    if fd is not None:
        os.close(fd)
    return fd is None


def _try_lock(path: Path) -> int | None:
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:
        return None  # not ours to judge: another user's, or a read-only folder
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        return None
    return fd


def backlog_bytes(folder: Path) -> int:
    """Return the bytes in all segments: what is not yet known to be in the database."""
    total = 0
    for path in list_segments(folder):
        try:
            total += max(0, path.stat().st_size - len(MAGIC))
        except FileNotFoundError:
            pass  # deleted by its writer between the listing and now
    return total
