"""What the proxy costs: ``toollog serve`` against a bare proxy of Starlette and httpx, under the same uvicorn."""

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.speed import subjects
from bench.speed.client import Client
from bench.speed.rounds import Load, Target, machine, measure, ratio

_NAMES = ("first_byte_ms", "event_latency_us", "json_ms", "json_rps", "flood_rps")
_CPU = ("json_rate_cpu_ms", "flood_rate_cpu_ms")


def run(rounds: int) -> dict[str, Any]:
    """Return the figures."""
    facts = machine(("uvicorn", "httptools", "uvloop", "starlette", "httpx", "aiohttp"))
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        model = stack.enter_context(subjects.model())
        running = {
            "direct": model,
            "bare": stack.enter_context(subjects.application("bare", model.url)),
            "toollog": stack.enter_context(subjects.toollog_serve(model.url, Path(folder))),
        }
        targets = {name: Target(subject, Client(subject.url)) for name, subject in running.items()}
        found = measure(targets, rounds, Load())
    return {
        "rounds": rounds,
        **facts,
        "to_bare": {name: ratio(found["toollog"][name], found["bare"][name]) for name in _NAMES + _CPU},
        "to_direct": {name: ratio(found["toollog"][name], found["direct"][name]) for name in _NAMES},
    }
