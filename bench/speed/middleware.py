"""What the middleware costs: the same app with and without it. One app asks a model, another answers itself."""

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from bench.speed import subjects
from bench.speed.client import Client
from bench.speed.rounds import Figures, Load, Target, difference, machine, measure, ratio

_RATES = ("json_rps", "flood_rps", "json_rate_cpu_ms", "flood_rate_cpu_ms")


def run(rounds: int) -> dict[str, Any]:
    """Return the figures."""
    facts = machine(("uvicorn", "httptools", "uvloop", "starlette", "httpx"))
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        model = stack.enter_context(subjects.model())
        targets = {}
        for app in ("bare", "itself"):
            for name, database in ((f"{app}_without", ""), (f"{app}_with", str(Path(folder) / f"{app}.db"))):
                subject = stack.enter_context(subjects.application(app, model.url, database))
                targets[name] = Target(subject, Client(subject.url))
        found = measure(targets, rounds, Load())
    return {
        "rounds": rounds,
        **facts,
        "asks_a_model": _compared(found["bare_with"], found["bare_without"]),
        "answers_itself": _compared(found["itself_with"], found["itself_without"]),
    }


def _compared(logged: Figures, plain: Figures) -> dict[str, Any]:
    return {
        **{name: ratio(logged[name], plain[name]) for name in ("first_byte_ms", "event_latency_us")},
        "json_ms": difference(logged["json_ms"], plain["json_ms"]),
        **{name: ratio(logged[name], plain[name]) for name in _RATES},
    }
