"""What the middleware costs a chat: the same app with and without it, in turn, on real uvicorn.

Three figures, each the median over rounds of the ratio *with / without*: time to the first byte of a streamed answer
(60 events, 1 ms apart), time of a whole JSON answer, and streams per second of answers without pauses (200 events,
8 clients).
"""

import asyncio
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import aiohttp

from tests.support.model_server import free_port

ROUNDS = 7
EVENT = json.dumps({"id": "c", "model": "m", "choices": [{"index": 0, "delta": {"content": "word " * 30}}]})
LAST = json.dumps({"id": "c", "model": "m", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
ANSWER = {"id": "c", "model": "m", "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant"}}]}
TOOLS = [
    {
        "type": "function",
        "function": {"name": f"tool_{i}", "description": "x" * 900, "parameters": {"type": "object", "properties": {}}},
    }
    for i in range(8)
]
BODY = json.dumps({"model": "m", "messages": [{"role": "user", "content": "Hello"}], "tools": TOOLS}).encode()
PATH = "/v1/chat/completions"


def application(database: str) -> Any:
    """Return the app: with the middleware when a database is given."""
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import JSONResponse, Response, StreamingResponse
    from starlette.routing import Route

    from tarx_toollog import Settings, ToolLogMiddleware

    async def events(count: int, pause_s: float) -> AsyncIterator[str]:
        for _ in range(count):
            yield f"data: {EVENT}\n\n"
            if pause_s:
                await asyncio.sleep(pause_s)
        yield f"data: {LAST}\n\ndata: [DONE]\n\n"

    async def chat(request: Request) -> Response:
        await request.body()
        kind = request.query_params.get("kind")
        if kind == "paced":
            return StreamingResponse(events(60, 0.001), media_type="text/event-stream")
        if kind == "flood":
            return StreamingResponse(events(200, 0), media_type="text/event-stream")
        return JSONResponse(ANSWER)

    app = Starlette(routes=[Route(PATH, chat, methods=["POST"])])
    if database:
        app.add_middleware(ToolLogMiddleware, settings=Settings(database=database))
    return app


@contextmanager
def server(database: str) -> Any:
    """Run the app in a process of its own; yield its URL."""
    port = free_port()
    code = (
        "import sys, uvicorn; from bench.capture import application;"
        f"uvicorn.run(application({database!r}), port={port}, log_level='error')"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        yield f"http://127.0.0.1:{port}{PATH}"
    finally:
        process.terminate()
        process.wait(20)


async def first_byte_ms(session: aiohttp.ClientSession, url: str) -> float:
    """Return the median time to the first byte of 15 streams, one after another."""
    times = []
    for _ in range(15):
        start = time.perf_counter()
        async with session.post(f"{url}?kind=paced", data=BODY) as answer:
            await answer.content.readany()
            times.append((time.perf_counter() - start) * 1000)
            await answer.read()
    return statistics.median(times)


async def json_ms(session: aiohttp.ClientSession, url: str) -> float:
    """Return the median time of 200 whole answers, one after another."""
    times = []
    for _ in range(200):
        start = time.perf_counter()
        async with session.post(url, data=BODY) as answer:
            await answer.read()
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times)


async def flood_ms(session: aiohttp.ClientSession, url: str) -> float:
    """Return the time per stream of 80 streams without pauses, 8 at a time."""

    async def one() -> None:
        async with session.post(f"{url}?kind=flood", data=BODY) as answer:
            await answer.read()

    start = time.perf_counter()
    for _ in range(10):
        await asyncio.gather(*(one() for _ in range(8)))
    return (time.perf_counter() - start) * 1000 / 80


FIGURES: dict[str, Callable[[aiohttp.ClientSession, str], Awaitable[float]]] = {
    "first_byte_ms": first_byte_ms,
    "json_ms": json_ms,
    "flood_ms_per_stream": flood_ms,
}


async def compare(plain: str, logged: str) -> dict[str, Any]:
    """Measure both in turn and return medians and ratios."""
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in FIGURES}
    async with aiohttp.ClientSession() as session:
        for url in (plain, logged):
            await json_ms(session, url)  # warm up
        for number in range(ROUNDS):
            order = (plain, logged) if number % 2 == 0 else (logged, plain)
            for name, figure in FIGURES.items():
                one = {url: await figure(session, url) for url in order}
                found[name].append((one[plain], one[logged]))
    return {
        name: {
            "without": round(statistics.median(a for a, _ in pairs), 3),
            "with": round(statistics.median(b for _, b in pairs), 3),
            "ratio": round(statistics.median(b / a for a, b in pairs), 3),
            "ratio_min_max": [round(min(b / a for a, b in pairs), 3), round(max(b / a for a, b in pairs), 3)],
        }
        for name, pairs in found.items()
    }


def measure() -> dict[str, Any]:
    """Return the figures; ``ratio`` is with / without the middleware, lower is better."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        plain = stack.enter_context(server(""))
        logged = stack.enter_context(server(str(Path(folder) / "bench.db")))
        time.sleep(2)
        return {"baseline": "the same Starlette app without ToolLogMiddleware", "rounds": ROUNDS} | asyncio.run(
            compare(plain, logged)
        )
