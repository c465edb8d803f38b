"""Real uvicorn: in a thread of the test, or in a process that can be killed."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

from tarx_toollog import Settings, ToolLogMiddleware, ToolLogProxy

ROOT = Path(__file__).parents[2]
GRACE_S = 3


def config_for(app: Any, **options: Any) -> uvicorn.Config:
    # As `toollog serve` does it: the answer is the model server's, and so are its Date and Server.
    quiet = {"log_level": "critical", "server_header": False, "date_header": False, "ws": "none"}
    return uvicorn.Config(app, host="127.0.0.1", port=0, timeout_graceful_shutdown=GRACE_S, **{**quiet, **options})


def port_of(server: uvicorn.Server) -> int:
    port: int = server.servers[0].sockets[0].getsockname()[1]
    return port


@contextmanager
def serving(app: Any, **options: Any) -> Iterator[str]:
    """Serve an application from a thread; yield its base URL; stop it, lifespan included, at the end."""
    server = uvicorn.Server(config_for(app, **options))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 10
    while not server.started:
        assert thread.is_alive()
        assert time.monotonic() < deadline, "uvicorn did not start"
        time.sleep(0.002)
    try:
        yield f"http://127.0.0.1:{port_of(server)}"
    finally:
        server.should_exit = True
        thread.join(15)
        assert not thread.is_alive()


class Worker:
    """A process with a tap in front of an upstream."""

    def __init__(self, kind: str, settings: Settings, environment: Mapping[str, str] | None = None) -> None:
        command = [sys.executable, "-m", "tests.support.workers", kind, settings.model_dump_json()]
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, env={**os.environ, **(environment or {})}
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().decode().strip()
        assert self.url, "the worker did not start"

    def kill(self) -> None:
        """SIGKILL: nothing of the process's own runs any more."""
        self.process.kill()
        self.process.wait(10)

    def terminate(self) -> float:
        """SIGTERM; return the seconds it took to end."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)
        return time.monotonic() - began


@contextmanager
def worker(kind: str, settings: Settings) -> Iterator[Worker]:
    """Run a worker (``proxy`` or ``middleware``) and make sure that it is gone at the end."""
    running = Worker(kind, settings)
    try:
        yield running
    finally:
        running.kill()
        assert running.process.stdout is not None
        running.process.stdout.close()


def workbench(upstream: str) -> Starlette:
    """Return an application that passes chats on to a model, as a Workbench does."""

    async def chat(request: Request) -> StreamingResponse:
        client = httpx.AsyncClient(timeout=30)
        sent = client.build_request("POST", f"{upstream}/v1/chat/completions", content=await request.body())
        answer = await client.send(sent, stream=True)

        async def pieces() -> Any:
            try:
                async for data in answer.aiter_raw():
                    yield data
            finally:
                await answer.aclose()
                await client.aclose()

        kept = {k: v for k, v in answer.headers.items() if k in ("content-type", "content-length")}
        return StreamingResponse(pieces(), answer.status_code, headers=kept)

    return Starlette(routes=[Route("/v1/chat/completions", chat, methods=["POST"])])


def _main(kind: str, settings: Settings) -> None:
    app: Any = ToolLogProxy(settings=settings)
    if kind == "middleware":
        app = workbench(settings.upstream)
        app.add_middleware(ToolLogMiddleware, settings=settings)
    server = uvicorn.Server(config_for(app))

    def tell() -> None:
        while not server.started:
            time.sleep(0.002)
        print(f"http://127.0.0.1:{port_of(server)}", flush=True)

    threading.Thread(target=tell, daemon=True).start()
    server.run()


if __name__ == "__main__":
    _main(sys.argv[1], Settings.model_validate_json(sys.argv[2]))
