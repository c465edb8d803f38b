"""What the log is compared with: a bare proxy, which is also the Workbench in small, and an app that answers itself."""

import asyncio
from collections.abc import AsyncIterator

import httpx
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from bench.speed.chats import ANSWER, LAST, PATH, Wanted, event, wanted

_NOT_FORWARDED = frozenset({b"host", b"connection", b"transfer-encoding", b"content-length"})


def bare(upstream: str, database: str = "") -> Starlette:
    """Return a streaming proxy as one writes it with Starlette and httpx."""
    client = httpx.AsyncClient(base_url=upstream, timeout=None, trust_env=False)

    async def chat(request: Request) -> Response:
        headers = [pair for pair in request.headers.raw if pair[0] not in _NOT_FORWARDED]
        asked = client.build_request("POST", PATH, headers=headers, content=await request.body())
        answer = await client.send(asked, stream=True)
        kept = {name: value for name, value in answer.headers.items() if name != "transfer-encoding"}
        return StreamingResponse(answer.aiter_raw(), answer.status_code, kept, background=BackgroundTask(answer.aclose))

    return _with_middleware(Starlette(routes=[Route(PATH, chat, methods=["POST"])]), database)


def itself(upstream: str, database: str = "") -> Starlette:
    """Return an app that makes its answers itself: the middleware has nothing to hide behind."""

    async def events(asked: Wanted) -> AsyncIterator[bytes]:
        for _ in range(asked.events):
            yield event()
            if asked.pause_s:
                await asyncio.sleep(asked.pause_s)
        yield LAST

    async def chat(request: Request) -> Response:
        asked = wanted(await request.body())
        if asked.events:
            return StreamingResponse(events(asked), media_type="text/event-stream")
        return Response(ANSWER, media_type="application/json")

    return _with_middleware(Starlette(routes=[Route(PATH, chat, methods=["POST"])]), database)


def _with_middleware(app: Starlette, database: str) -> Starlette:
    if database:
        from tarx_toollog import Settings, ToolLogMiddleware

        app.add_middleware(ToolLogMiddleware, settings=Settings(database=database))
    return app
