"""Three taps in a row before a real model: one conversation passes them all, and each keeps it in its own database.

The model answers once where it would answer three times. No tap changes a byte, so each sees what the client sees.
"""

import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from tarx_toollog import Settings, ToolLogMiddleware, ToolLogProxy
from tests.support.asgi import recording
from tests.support.model_server import ModelServer
from tests.support.workers import serving

Taps = dict[str, Settings]
LEGS = ("transport", "proxy", "middleware")
"""In the order in which a request passes them."""


@contextlib.contextmanager
def three_taps(folder: Path, route: str, model: ModelServer) -> Iterator[tuple[str, Taps]]:
    """Serve proxy and middleware before the model; yield their URL and the settings of each leg.

    The first tap is the client's: a ``ToolLogTransport`` with the settings of ``transport``.
    """
    with contextlib.ExitStack() as stack:
        app = _workbench(model.base_url, route)
        inner = stack.enter_context(_settings(folder, "middleware", model.base_url))
        app.add_middleware(ToolLogMiddleware, settings=inner)
        mounted = stack.enter_context(serving(app))
        outer = stack.enter_context(_settings(folder, "proxy", mounted))
        url = stack.enter_context(serving(ToolLogProxy(settings=outer)))
        client = stack.enter_context(_settings(folder, "transport", url))
        yield url, dict(zip(LEGS, (client, outer, inner), strict=True))


def _settings(folder: Path, leg: str, upstream: str) -> contextlib.AbstractContextManager[Settings]:
    place = folder / leg
    place.mkdir()
    return recording(place, upstream=upstream)


def _workbench(upstream: str, route: str) -> Starlette:
    """Return the smallest Workbench: it hands requests to the model and streams what comes back."""

    async def forward(request: Request) -> StreamingResponse:
        # llama.cpp closes a connection after a streamed answer without announcing it.
        limits = httpx.Limits(max_keepalive_connections=0)
        client = httpx.AsyncClient(base_url=upstream, timeout=60, limits=limits)
        answer = await client.send(client.build_request("POST", route, content=await request.body()), stream=True)

        async def pieces() -> AsyncIterator[bytes]:
            async for piece in answer.aiter_raw():
                yield piece
            await client.aclose()

        return StreamingResponse(pieces(), answer.status_code, media_type=answer.headers["content-type"])

    return Starlette(routes=[Route(route, forward, methods=["POST"])])
