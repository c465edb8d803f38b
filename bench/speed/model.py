"""A model server that costs next to nothing: HTTP/1.1 by hand, one process. ``python -m bench.speed.model PORT``."""

import asyncio
import sys
from typing import cast

from bench.speed.chats import ANSWER, LAST, Wanted, event, wanted

_JSON = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(ANSWER), ANSWER)
_STREAM = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


class Connection(asyncio.Protocol):
    """One connection: requests one after another, as bench clients and proxies send them."""

    def __init__(self) -> None:
        self._read = b""
        self._need = 0
        """Bytes to the end of the request that is being read; 0 while its head is not complete."""
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        self._read += data
        if not self._need and (end := self._read.find(b"\r\n\r\n")) >= 0:
            head = self._read[:end].lower()
            _, _, rest = head.partition(b"content-length:")
            self._need = end + 4 + int(rest.split(b"\r\n", 1)[0] or 0)
            if b"transfer-encoding: chunked" in head:
                self._need = 0 if not self._read.endswith(b"\r\n0\r\n\r\n") else len(self._read)
        if self._need and len(self._read) >= self._need:
            request, self._read, self._need = self._read[: self._need], self._read[self._need :], 0
            self._answer(wanted(request))

    def _answer(self, asked: Wanted) -> None:
        if not asked.events:
            self._transport.write(_JSON)
            return
        self._transport.write(_STREAM)
        if asked.pause_s:
            self._task = asyncio.get_running_loop().create_task(self._paced(asked))
            return
        for _ in range(asked.events):
            self._chunk(event())
        self._end()

    async def _paced(self, asked: Wanted) -> None:
        for _ in range(asked.events):
            self._chunk(event())
            await asyncio.sleep(asked.pause_s)
        self._end()

    def _chunk(self, data: bytes) -> None:
        self._transport.write(b"%x\r\n%s\r\n" % (len(data), data))

    def _end(self) -> None:
        self._chunk(LAST)
        self._transport.write(b"0\r\n\r\n")


async def serve(port: int) -> None:
    """Serve until the process is ended."""
    server = await asyncio.get_running_loop().create_server(Connection, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
