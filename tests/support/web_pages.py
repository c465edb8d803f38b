"""A log with two replay runs in which hostile texts stand, and the pages of a log under a real server."""

import contextlib
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import uvicorn
from starlette.responses import Response

from tarx_toollog.config import Settings
from tarx_toollog.replay.running.asking import Overrides
from tarx_toollog.replay.running.runner import RunRequest, replay
from tarx_toollog.replay.suites.freeze import build
from tarx_toollog.store.log import ToolLog
from tarx_toollog.web.app import create_app
from tarx_toollog.web.guard import Access
from tests.unit.replay.support import (
    EVERY_SPLIT,
    Chat,
    Json,
    calling,
    completion,
    fake_model,
    last_user,
    results_since,
    saying,
)

SCRIPT = "</pre></script><script>alert(1)</script><img src=x onerror=alert(2)>"
TURNED = "\u202egnp.exe\u2066"
HALF = "half \ud800 and NUL \x00 \u061c\u200b"
HOSTILE = f"{SCRIPT} {{{{ 7 * 7 }}}} {TURNED} {HALF} שלום & \"quoted' `"
HUGE = "long " * 20_000
CALLS = (("recall", {"query": "home"}), ("remember", {"text": "Porto", "kind": "fact"}))
USERS = ("one", "two", "three", HOSTILE, HUGE)
HOSTILE_RUN = 'run/<b onclick="x">..?#%2e'


def chain() -> tuple[Json, ...]:
    """Return the answers of a turn, with call ids of their own."""
    return (calling(CALLS[0]), calling(CALLS[1]), saying("done"))


def worse(body: Json) -> Response:
    """Answer as in the log, but for what makes a page difficult."""
    user, step = last_user(body), results_since(body)
    answer = chain()[step]
    if step == 1 and user in ("two", "three"):
        answer = calling(("save", {"title": HOSTILE, HOSTILE: [1, None]}))
    elif step == 0 and user == HOSTILE:
        answer = saying(HOSTILE + HUGE)
    elif step == 0 and user == HUGE:
        answer = calling(("recall", {"query": "another place", "limit": 9}))
    return Response(json.dumps(completion(answer)), media_type="application/json")


def make_log(path: Path) -> Path:
    """Write a log with the suite ``t`` and the runs ``good`` and ``worse``, and one whose name is no part of a URL."""
    with ToolLog.open(path, read_only=False) as log:
        for number, user in enumerate(USERS):
            Chat(log, f"key{number}").turn(user, *chain(), result=HOSTILE if user == HOSTILE else "ok")
        build(log, "t", EVERY_SPLIT)
        models: list[tuple[str, Any]] = [("good", lambda body: chain()[results_since(body)]), ("worse", worse)]
        for name, model in (*models, (HOSTILE_RUN, worse)):
            with fake_model(model) as served:
                replay(log, RunRequest(name, "t", served.url, Overrides("tuned")))
    return path


@contextlib.contextmanager
def served_pages(database: Path, access: Access | None = None) -> Iterator[str]:
    """Serve the pages of a log on a free port; yield the base URL."""
    with running(create_app(Settings(database=str(database)), annotator="ann", access=access)) as url:
        yield url


@contextlib.contextmanager
def running(app: Any) -> Iterator[str]:
    """Serve any application on a free port; yield the base URL."""
    config = uvicorn.Config(app, port=0, log_level="critical", lifespan="off", proxy_headers=False)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.005)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@contextlib.contextmanager
def started_ui(database: Path) -> Iterator[str]:
    """Start ``toollog ui`` as a person does; yield the base URL."""
    command = [sys.executable, "-m", "tarx_toollog", "--database", str(database), "ui", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip().rstrip("/")
        finally:
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=20)
    assert (process.returncode, said) == (0, "")
