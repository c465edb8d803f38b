"""The httpx tap: on the leg from the Workbench to the model. For httpx and for its successor httpx2 alike.

A Workbench that runs the tool loop itself makes several model calls for one inbound request; only this tap sees
them. Streams pass unbuffered, and bytes are taken as they came, before any content decoding.

Both libraries insist that a body is an instance of *their* stream class, so the tees are made once for each, from
the library that the request comes from.
"""

import sys
from collections.abc import AsyncIterator, Iterator
from functools import cache
from typing import Any, NamedTuple

import httpx

from tarx_toollog.capture import admission
from tarx_toollog.capture.capture import Capture
from tarx_toollog.capture.context import inbound
from tarx_toollog.capture.headers import conversation_hint
from tarx_toollog.capture.recorder import Recorder, recorder_or_none
from tarx_toollog.config import Settings
from tarx_toollog.wire.protocols import is_model_route, may_be_chat


class ToolLogTransport(httpx.AsyncBaseTransport, httpx.BaseTransport):
    """A transport of httpx or httpx2 that logs each exchange with a model, for async and sync clients.

    Example::

        client = httpx.AsyncClient(transport=ToolLogTransport(), base_url="http://127.0.0.1:11435")
        openai.OpenAI(http_client=httpx2.Client(transport=ToolLogTransport()), base_url=…, api_key="none")

    Args:
        inner: The transport that does the work; the library's own when left out.
        settings: Settings to use; those in force when left out.
    """

    def __init__(self, inner: Any = None, *, settings: Settings | None = None) -> None:
        self._async_inner = inner if hasattr(inner, "handle_async_request") else None
        self._sync_inner = inner if hasattr(inner, "handle_request") else None
        self._recorder = recorder_or_none(settings)

    async def handle_async_request(self, request: Any) -> Any:
        """Send one request."""
        if self._async_inner is None:
            self._async_inner = _library_of(request).AsyncHTTPTransport()
        if not await admission.admitted(self._recorder, request.method, request.url.path):
            return _refusal(request)
        capture = _begin(self._recorder, request)
        if capture is None:
            return await self._async_inner.handle_async_request(request)
        tees = _tees(_library_of(request).__name__)
        stream = request.stream
        request.stream = tees.async_request(stream, capture)
        try:
            response = await self._async_inner.handle_async_request(request)
        except BaseException as error:
            _end(capture, error)
            raise
        finally:
            request.stream = stream  # a redirect or a new attempt sends the same request again
        return _tapped(response, tees.async_response, capture)

    def handle_request(self, request: Any) -> Any:
        """Send one request."""
        if self._sync_inner is None:
            self._sync_inner = _library_of(request).HTTPTransport()
        if not admission.admitted_now(self._recorder, request.method, request.url.path):
            return _refusal(request)
        capture = _begin(self._recorder, request)
        if capture is None:
            return self._sync_inner.handle_request(request)
        tees = _tees(_library_of(request).__name__)
        stream = request.stream
        request.stream = tees.request(stream, capture)
        try:
            response = self._sync_inner.handle_request(request)
        except BaseException as error:
            _end(capture, error)
            raise
        finally:
            request.stream = stream
        return _tapped(response, tees.response, capture)

    async def aclose(self) -> None:
        """Close the inner transport."""
        if self._async_inner is not None:
            await self._async_inner.aclose()

    def close(self) -> None:
        """Close the inner transport."""
        if self._sync_inner is not None:
            self._sync_inner.close()


class _Tee:
    """A body on its way: what all four tees share."""

    def __init__(self, stream: Any, capture: Capture) -> None:
        self._stream = stream
        self._capture = capture


class _AsyncRequestTee(_Tee):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for data in self._stream:
            self._capture.request_data(data)
            yield data
        self._capture.request_done()

    async def aclose(self) -> None:
        await self._stream.aclose()


class _RequestTee(_Tee):
    def __iter__(self) -> Iterator[bytes]:
        for data in self._stream:
            self._capture.request_data(data)
            yield data
        self._capture.request_done()

    def close(self) -> None:
        self._stream.close()


class _AsyncResponseTee(_Tee):
    async def __aiter__(self) -> AsyncIterator[bytes]:
        try:
            async for data in self._stream:
                self._capture.response_data(data)
                if self._capture.is_unsynced:
                    await self._capture.synced()
                yield data
        except BaseException as error:
            _end(self._capture, error)
            raise
        self._capture.end(final_seen=True)

    async def aclose(self) -> None:
        # Closed before the end: the application hung up. After the end this call does nothing.
        self._capture.end(disconnected=True)
        await self._stream.aclose()


class _ResponseTee(_Tee):
    def __iter__(self) -> Iterator[bytes]:
        try:
            for data in self._stream:
                self._capture.response_data(data)
                if self._capture.is_unsynced:
                    self._capture.wait_synced()
                yield data
        except BaseException as error:
            _end(self._capture, error)
            raise
        self._capture.end(final_seen=True)

    def close(self) -> None:
        self._capture.end(disconnected=True)
        self._stream.close()


class _Tees(NamedTuple):
    """The tee classes for one library."""

    async_request: type[_Tee]
    request: type[_Tee]
    async_response: type[_Tee]
    response: type[_Tee]


def _library_of(request: Any) -> Any:
    """Return the module, httpx or httpx2, that a request comes from."""
    return sys.modules[type(request).__module__.partition(".")[0]]


@cache
def _tees(library_name: str) -> _Tees:
    library = sys.modules[library_name]
    asynchronous, synchronous = library.AsyncByteStream, library.SyncByteStream
    return _Tees(
        type("AsyncRequestTee", (_AsyncRequestTee, asynchronous), {}),
        type("RequestTee", (_RequestTee, synchronous), {}),
        type("AsyncResponseTee", (_AsyncResponseTee, asynchronous), {}),
        type("ResponseTee", (_ResponseTee, synchronous), {}),
    )


def _refusal(request: Any) -> Any:
    headers = dict(admission.HEADERS)
    return _library_of(request).Response(admission.STATUS, headers=headers, content=admission.BODY, request=request)


def _tapped(response: Any, tee: type[_Tee], capture: Capture) -> Any:
    capture.response_start(response.status_code, response.headers.raw)
    if response.is_closed and type(response.stream).__name__ == "ByteStream":
        # From a cache or a mock: the body is there already, and nobody will ask its stream for it.
        for data in response.stream:
            capture.response_data(data)
        capture.end(final_seen=True)
    else:
        response.stream = tee(response.stream, capture)
    return response


def _begin(recorder: Recorder | None, request: Any) -> Capture | None:
    if recorder is None or isinstance(request.stream, _Tee):
        return None  # two taps on one another: the outer one sees it
    try:
        path = request.url.path
        is_known = is_model_route(request.method, path)
        if not is_known and not may_be_chat(request.method, path):
            return None
        inside = inbound.get()
        outer = inside.capture if inside is not None else None
        if outer is not None and outer.is_dropped:
            outer = None
        body = _body(request)
        if outer is not None and body and body == outer.request_body:
            return None  # passed on unchanged: the middleware has this exchange already
        hint, source = conversation_hint(path, request.headers.raw, recorder.settings.conversation_headers)
        if hint is None and inside is not None:
            hint, source = inside.conversation_hint, inside.hint_source
        return Capture.begin(
            recorder,
            leg="transport",
            method=request.method,
            path=path,
            headers=request.headers.raw,
            client_key=inside.client_key if inside else None,
            upstream=f"{request.url.scheme}://{request.url.netloc.decode('ascii')}",  # without user and password
            conversation_hint=hint,
            hint_source=source,
            outer_uid=outer.uid if outer else None,
            tentative=not is_known,
        )
    except Exception as error:  # noqa: BLE001 - any error of ours must stay here
        recorder.failed(error)
        return None


def _body(request: Any) -> bytes | None:
    try:
        body: bytes = request.content
    except _library_of(request).RequestNotRead:  # a streamed upload: not the shape of a chat
        return None
    return body


def _end(capture: Capture, error: BaseException) -> None:
    if not isinstance(error, Exception):
        # GeneratorExit or cancellation: whoever reads the answer has stopped.
        capture.end(disconnected=True)
        return
    # By name: httpx and httpx2 each have a class of their own for it.
    is_timeout = any(kind.__name__ == "TimeoutException" for kind in type(error).__mro__)
    capture.end(exception=error, exception_side="timeout" if is_timeout else "upstream")
