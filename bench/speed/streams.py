"""1,000 streams of 5 s at once, through the proxy and directly: how long they take, and whether any breaks."""

import asyncio
import statistics
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.speed import subjects
from bench.speed.client import Client, Seen
from bench.speed.rounds import machine, ratio

STREAMS = 1000
EVENTS = 10
PAUSE_MS = 500


async def _all(client: Client) -> list[Seen]:
    request = client.request(events=EVENTS, pause_ms=PAUSE_MS)

    async def one() -> Seen:
        try:
            connection = await client.connect()
        except OSError:
            return Seen(0.0, 0.0, (), is_whole=False)
        seen = await connection.ask(request)
        connection.close()
        return seen

    return await asyncio.gather(*(one() for _ in range(STREAMS)))


def run(rounds: int) -> dict[str, Any]:
    """Return the figures."""
    facts = machine(("uvicorn", "httptools", "uvloop", "aiohttp"))
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        model = stack.enter_context(subjects.model())
        running = {"direct": model, "toollog": stack.enter_context(subjects.toollog_serve(model.url, Path(folder)))}
        totals: dict[str, list[float]] = {name: [] for name in running}
        first: dict[str, list[float]] = {name: [] for name in running}
        errors = dict.fromkeys(running, 0)
        cpu_ms = []
        for number in range(rounds):
            for name in sorted(running, reverse=number % 2 == 1):
                used = running[name].cpu_s
                seen = asyncio.run(_all(Client(running[name].url)))
                whole = [one for one in seen if one.is_whole]
                errors[name] += len(seen) - len(whole)
                totals[name].append(statistics.median(one.total_ms for one in whole) if whole else float("inf"))
                first[name].append(statistics.quantiles([one.first_byte_ms for one in whole], n=20)[-1])
                running[name].settle()
                if name == "toollog":
                    cpu_ms.append((running[name].cpu_s - used) * 1000 / STREAMS)
            print(f"round {number + 1} of {rounds}", flush=True)
    return {
        "rounds": rounds,
        **facts,
        "streams": STREAMS,
        "events": EVENTS,
        "pause_ms": PAUSE_MS,
        "errors": errors,
        "total_ms": ratio(totals["toollog"], totals["direct"]),
        "first_byte_p95_ms": ratio(first["toollog"], first["direct"]),
        "cpu_ms_per_stream": round(statistics.median(cpu_ms), 2),
    }
