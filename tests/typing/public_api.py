"""Must type-check: what a user writes against the public names. Checked by mypy, never run."""

from collections.abc import Iterator

import httpx
from fastapi import FastAPI

from tarx_toollog import Settings, ToolLog, ToolLogMiddleware, ToolLogProxy, ToolLogTransport
from tarx_toollog.model import Trajectory


def mount() -> FastAPI:
    app = FastAPI()
    app.add_middleware(ToolLogMiddleware)
    app.add_middleware(ToolLogMiddleware, settings=Settings(database="toollog.db"))
    return app


def clients() -> tuple[httpx.AsyncClient, httpx.Client]:
    inner = httpx.AsyncHTTPTransport(retries=1)
    return httpx.AsyncClient(transport=ToolLogTransport(inner)), httpx.Client(transport=ToolLogTransport())


def proxy() -> ToolLogProxy:
    return ToolLogProxy(settings=Settings(upstream="http://127.0.0.1:11435"))


def read() -> Iterator[Trajectory]:
    with ToolLog.open("toollog.db") as log:
        yield from log.trajectories(tools={"tarx_remember"}, since="7d")
