"""The proxy's way to the model server: aiohttp, true to the byte, with the names of errors that httpx has.

aiohttp, because httpx's own pool looks at every connection for each request, which makes 1,000 concurrent streams
four times slower. Not the ``httpx-aiohttp`` package: it joins repeated headers, rewrites percent-encoded paths, and
reports a refused or reset connection as a timeout.

The target comes as bytes; scheme, host and port are those of the base URL, whatever the target looks like.
"""

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager

import aiohttp
import httpx
from multidict import CIMultiDict
from yarl import URL

Headers = Sequence[tuple[bytes, bytes]]
MAX_HEADER_BYTES = 64 * 1024  # what uvicorn takes from a client; aiohttp would give up at 8 KiB


class Upstream:
    """Sends requests to one model server and streams its answers. Belongs to one event loop.

    Args:
        base_url: The server; it may have a path, and user and password for servers behind a gate.
        connect_timeout_s: Seconds to wait for a connection.
        read_timeout_s: Seconds of silence to bear.
    """

    def __init__(self, base_url: str, *, connect_timeout_s: float, read_timeout_s: float) -> None:
        self._base = URL(base_url, encoded=True)
        self._session = aiohttp.ClientSession(
            # No limit of our own: 1,000 streams must not queue for 100 connections. A new connection for each
            # request: llama-server closes them without a word, and a chat must not fail because of that.
            connector=aiohttp.TCPConnector(limit=0, force_close=True),
            # An answer may run for as long as it likes, as long as it runs.
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=connect_timeout_s, sock_read=read_timeout_s),
            auto_decompress=False,
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),  # the cookies of one client are nothing to the next
            # An Accept-Encoding that the client did not send would bring it an answer that it cannot read.
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
        )

    async def ask(
        self, method: str, target: bytes, headers: Headers, body: bytes | AsyncIterator[bytes] | None
    ) -> "Answer":
        """Send one request.

        Args:
            method: Its method.
            target: Its path and query, as the client wrote them.
            headers: All that it has; none is added.
            body: The whole of it, or its pieces; None: it has none.

        Raises:
            httpx.TimeoutException: No connection, or no answer, in time.
            httpx.TransportError: No connection, or no answer that could be read.
        """
        with _as_httpx_errors():
            answer = await self._session.request(
                method, self._url(target), headers=self._headers(headers), data=body, allow_redirects=False
            )
        _end_with_connection(answer)
        return Answer(answer)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._session.close()

    def __del__(self) -> None:
        # A server without lifespan events never says when it ends. No connection outlives its request, so there is
        # nothing to close, and the complaint about a session that was not closed would only alarm people.
        self._session.detach()

    def _url(self, target: bytes) -> URL:
        path, _, query = target.decode("latin-1").partition("?")
        return URL.build(
            scheme=self._base.scheme,
            host=self._base.raw_host or "",
            port=self._base.port,
            path=self._base.raw_path.rstrip("/") + path,
            query_string=query,
            encoded=True,  # as the client wrote it
        )

    def _headers(self, pairs: Headers) -> CIMultiDict[str]:
        headers = CIMultiDict((_text(name), _text(value)) for name, value in pairs)
        if self._base.user is not None and "authorization" not in headers:
            login = f"{self._base.user}:{self._base.password or ''}"
            headers["authorization"] = f"Basic {b64encode(login.encode()).decode()}"
        return headers


def _end_with_connection(answer: aiohttp.ClientResponse) -> None:
    """See that the body ends when the connection does.

    aiohttp 3.14 closes a connection on which a broken chunk comes, tells the reader nothing and stops the clock of
    ``sock_read``: without this the client would wait for ever.
    """
    content = answer.content
    protocol = None if answer.connection is None else answer.connection.protocol
    if protocol is None:
        return  # the answer is here already

    def check(closed: asyncio.Future[None] | None) -> None:
        if closed is not None and not closed.cancelled():
            closed.exception()  # looked at, or asyncio complains
        if not content.is_eof() and content.exception() is None:
            content.set_exception(aiohttp.ClientPayloadError("the answer breaks the rules of HTTP"))

    if protocol.closed is None:
        check(None)
    else:
        protocol.closed.add_done_callback(check)


class Answer:
    """An answer whose head has come."""

    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer
        self.status = answer.status
        self.headers: Sequence[tuple[bytes, bytes]] = answer.raw_headers

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the body as it comes.

        Raises:
            httpx.TransportError: It ends before its end, or is none that HTTP knows.
        """
        pieces = self._answer.content.iter_any()
        while True:
            with _as_httpx_errors():
                piece = await anext(pieces, None)
            if piece is None:
                return
            yield piece

    def close(self) -> None:
        """Want no more of it."""
        # Not release(): that would read on to the end, and the model would go on talking to nobody.
        self._answer.close()


@contextmanager
def _as_httpx_errors() -> Iterator[None]:
    try:
        yield
    except TimeoutError as error:
        kind = httpx.ConnectTimeout if isinstance(error, aiohttp.ConnectionTimeoutError) else httpx.ReadTimeout
        raise kind(str(error)) from error
    except aiohttp.ClientConnectorError as error:
        raise httpx.ConnectError(str(error)) from error
    except aiohttp.ClientResponseError as error:
        raise httpx.RemoteProtocolError(error.message) from error
    except (aiohttp.ClientError, OSError) as error:
        raise httpx.ReadError(str(error)) from error


def _text(value: bytes) -> str:
    # aiohttp writes headers as UTF-8, so this gives the same bytes again unless they are none.
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")
