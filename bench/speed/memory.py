"""What the proxy needs of memory: when nothing happens, and for each stream that is open."""

import asyncio
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.speed import subjects
from bench.speed.chats import event
from bench.speed.client import Client, Connection
from bench.speed.rounds import machine

OPEN = (100, 500)
_EVENTS = 2
_PAUSE_MS = 120_000  # longer than it takes to open all of them: each has sent one event when memory is read


async def _while_open(client: Client, count: int, subject: subjects.Subject) -> int:
    """Return the memory of a subject in KiB while ``count`` streams are open and silent."""
    request = client.request(events=_EVENTS, pause_ms=_PAUSE_MS)

    async def one() -> tuple[Connection, asyncio.Task[Any]]:
        connection = await client.connect()
        connection.on_first = asyncio.Event()
        asked = asyncio.create_task(connection.ask(request))
        await connection.on_first.wait()
        return connection, asked

    found = [await one() for _ in range(count)]
    await asyncio.sleep(1)  # past the checkpoint, so that nothing of it is a moment's peak
    memory = subject.rss_kib
    for connection, _ in found:
        connection.close()
    await asyncio.gather(*(asked for _, asked in found))
    return memory


def _round(model_url: str) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder, subjects.toollog_serve(model_url, Path(folder)) as subject:
        client = Client(subject.url)
        subject.settle()
        found: dict[str, float] = {"started_mib": subject.rss_kib / 1024}
        asyncio.run(client.one_by_one(client.request(), 50))
        asyncio.run(client.one_by_one(client.request(events=60), 50))
        subject.settle()
        found["idle_mib"] = subject.rss_kib / 1024
        few, many = (asyncio.run(_while_open(client, count, subject)) for count in OPEN)
        subject.settle()
        found["per_stream_kib"] = (many - few) / (OPEN[1] - OPEN[0])
        found["after_mib"] = subject.rss_kib / 1024
    return found


def _middleware(model_url: str) -> float:
    """Return what the middleware adds to an idle application after some chats, in MiB."""
    memory = []
    with tempfile.TemporaryDirectory() as folder:
        for database in ("", str(Path(folder) / "log.db")):
            with subjects.application("bare", model_url, database) as subject:
                client = Client(subject.url)
                asyncio.run(client.one_by_one(client.request(), 50))
                subject.settle()
                memory.append(subject.rss_kib / 1024)
    return memory[1] - memory[0]


def run(rounds: int) -> dict[str, Any]:
    """Return the figures; each round has a process of its own, since memory that was needed once is not given back."""
    facts = machine(("uvicorn", "httptools", "uvloop", "aiohttp", "sqlalchemy", "pydantic"))
    found: list[dict[str, float]] = []
    with ExitStack() as stack:
        model = stack.enter_context(subjects.model())
        for number in range(rounds):
            found.append({**_round(model.url), "middleware_adds_mib": _middleware(model.url)})
            print(f"round {number + 1} of {rounds}", flush=True)
    client = Client("http://127.0.0.1:1")
    captured = len(client.request(events=_EVENTS, pause_ms=_PAUSE_MS)) + len(event())
    return {
        "rounds": rounds,
        **facts,
        "open": list(OPEN),
        "captured_kib": round(captured / 1024, 1),
        **{name: _over([one[name] for one in found]) for name in found[0]},
    }


def _over(values: list[float]) -> dict[str, Any]:
    return {
        "measured": round(statistics.median(values), 1),
        "min_max": [round(min(values), 1), round(max(values), 1)],
    }
