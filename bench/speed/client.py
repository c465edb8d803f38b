"""A client that costs little beside what it measures: HTTP/1.1 by hand, one request at a time on each connection."""

import asyncio
import statistics
import time
from typing import NamedTuple, cast
from urllib.parse import urlsplit

from bench.speed.chats import PATH, STAMP, request_body

_END_OF_CHUNKS = b"0\r\n\r\n"


class Seen(NamedTuple):
    """One answer."""

    first_byte_ms: float
    total_ms: float
    latencies_us: tuple[float, ...]
    """From the moment an event was made until it was here. One cut in two by the network is left out."""
    is_whole: bool
    """Status 200, and complete."""


class Rate(NamedTuple):
    """How fast answers came."""

    per_s: float
    answers: int


class Connection(asyncio.Protocol):
    """One connection to a subject."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self.on_first: asyncio.Event | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    @property
    def is_open(self) -> bool:
        """Whether another request can be sent."""
        return self._transport is not None and not self._transport.is_closing()

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.close()

    async def ask(self, request: bytes) -> Seen:
        """Send a request and return its answer."""
        assert self._transport is not None
        self._done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._head = b""
        self._left: int | None = None
        """Bytes of the body that are to come; None where it comes in chunks."""
        self._tail = b""
        self._first_ns = 0
        self._latencies: list[float] = []
        self._is_whole = False
        start = time.monotonic_ns()
        self._transport.write(request)
        await self._done
        end = time.monotonic_ns()
        first = (self._first_ns - start) / 1e6
        is_whole = self._is_whole and self._head.startswith(b"HTTP/1.1 200 ")
        return Seen(first, (end - start) / 1e6, tuple(self._latencies), is_whole)

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        if b"\r\n\r\n" not in self._head:
            self._head += data
            if b"\r\n\r\n" not in self._head:
                return
            self._head, _, data = self._head.partition(b"\r\n\r\n")
            self._head += b"\r\n\r\n"
            length = self._head.lower().partition(b"content-length:")[2]
            self._left = int(length.split(b"\r\n", 1)[0]) if length else None
        if not data and self._left != 0:
            return  # a head alone is no byte of an answer yet
        self._body(data, now)

    def connection_lost(self, exc: Exception | None) -> None:
        if hasattr(self, "_done") and not self._done.done():
            self._done.set_result(None)

    def _body(self, data: bytes, now: int) -> None:
        if not self._first_ns:
            self._first_ns = now
            if self.on_first is not None:
                self.on_first.set()
        self._latencies += [(now - int(stamp)) / 1000 for stamp in STAMP.findall(data)]
        if self._left is None:
            self._tail = (self._tail + data)[-len(_END_OF_CHUNKS) :]
            self._is_whole = self._tail == _END_OF_CHUNKS
        else:
            self._left -= len(data)
            self._is_whole = self._left <= 0
        if self._is_whole and not self._done.done():
            self._done.set_result(None)


class Client:
    """Asks one subject.

    Args:
        base_url: Where it listens.
        headers: Lines that it needs besides.
    """

    def __init__(self, base_url: str, headers: str = "") -> None:
        parts = urlsplit(base_url)
        self._host, self._port = parts.hostname or "", parts.port or 80
        self._headers = headers

    def request(self, *, events: int = 0, pause_ms: int = 0) -> bytes:
        """Return the bytes of a request."""
        body = request_body(events=events, pause_ms=pause_ms)
        head = (
            f"POST {PATH} HTTP/1.1\r\nhost: {self._host}:{self._port}\r\ncontent-type: application/json\r\n"
            f"{self._headers}content-length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    async def connect(self) -> Connection:
        """Return a new connection."""
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(Connection, self._host, self._port)
        return connection

    async def one_by_one(self, request: bytes, count: int) -> list[Seen]:
        """Ask ``count`` times over one connection and return the answers; every one of them has to be whole."""
        connection, seen = await self.connect(), []
        for _ in range(count):
            if not connection.is_open:
                connection = await self.connect()
            seen.append(_whole(await connection.ask(request)))
        connection.close()
        return seen

    async def rate(self, request: bytes, clients: int, seconds: float) -> Rate:
        """Return the answers per second that ``clients`` at a time get."""
        start = time.monotonic()

        async def work() -> tuple[int, float]:
            count, connection = 0, await self.connect()
            while time.monotonic() < start + seconds or not count:
                if not connection.is_open:
                    connection = await self.connect()
                _whole(await connection.ask(request))
                count += 1
            connection.close()
            return count, time.monotonic() - start

        # Each client's own rate: what ends after the others would else lower the sum.
        found = await asyncio.gather(*(work() for _ in range(clients)))
        return Rate(sum(count / taken for count, taken in found), sum(count for count, _ in found))


def p50(values: list[float]) -> float:
    """Return the median."""
    return statistics.median(values)


def _whole(seen: Seen) -> Seen:
    if not seen.is_whole:
        raise RuntimeError("an answer was not 200 and complete: no figure of this run counts")
    return seen
