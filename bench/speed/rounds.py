"""Rounds of figures over several subjects, interleaved, and what they come to.

In each round every figure is taken of all subjects, one right after the other, and the order rotates. What is judged is
the median over rounds of the ratio between two subjects *of the same round*: what else the machine does changes over
minutes, and hits both.
"""

import asyncio
import importlib.metadata
import os
import platform
import statistics
from collections.abc import Callable, Coroutine, Iterable, Mapping
from typing import Any, NamedTuple

from bench.speed.client import Client, Seen, p50
from bench.speed.subjects import Subject

Figures = dict[str, list[float]]
"""Per figure, the value of each round."""


class Target(NamedTuple):
    """A subject, and how to ask it."""

    subject: Subject
    client: Client


class Load(NamedTuple):
    """How much is asked for a figure."""

    streams: int = 15
    answers: int = 200
    seconds: float = 1.5


async def latency(client: Client, load: Load) -> dict[str, float]:
    """Streams of 60 events, 1 ms apart, one after another."""
    seen = await client.one_by_one(client.request(events=60, pause_ms=1), load.streams)
    return {
        "first_byte_ms": p50([one.first_byte_ms for one in seen]),
        "event_latency_us": p50([value for one in seen for value in one.latencies_us]),
    }


async def json_alone(client: Client, load: Load) -> dict[str, float]:
    """JSON answers, one after another."""
    seen: list[Seen] = await client.one_by_one(client.request(), load.answers)
    return {"json_ms": p50([one.total_ms for one in seen])}


async def json_rate(client: Client, load: Load) -> dict[str, float]:
    """JSON answers, eight at a time."""
    rate = await client.rate(client.request(), 8, load.seconds)
    return {"json_rps": rate.per_s, "answers": rate.answers}


async def flood_rate(client: Client, load: Load) -> dict[str, float]:
    """Streams of 200 events without a pause, eight at a time."""
    rate = await client.rate(client.request(events=200), 8, load.seconds)
    return {"flood_rps": rate.per_s, "answers": rate.answers}


KINDS: tuple[Callable[[Client, Load], Coroutine[Any, Any, dict[str, float]]], ...] = (
    latency,
    json_alone,
    json_rate,
    flood_rate,
)


def measure(targets: Mapping[str, Target], rounds: int, load: Load) -> dict[str, Figures]:
    """Return the figures of all subjects.

    Args:
        targets: The subjects, by name.
        rounds: How many rounds; one more, before them, warms everything up and does not count.
        load: How much is asked for each figure.
    """
    found: dict[str, Figures] = {name: {} for name in targets}
    names = list(targets)
    for number in range(-1, rounds):
        for kind in KINDS:
            turn = number % len(names)
            for name in names[turn:] + names[:turn]:
                target = targets[name]
                used = target.subject.cpu_s
                figures = asyncio.run(kind(target.client, load if number >= 0 else Load(3, 20, 0.3)))
                target.subject.settle()
                if answers := figures.pop("answers", 0):
                    # All that it cost, with what is done after the answer: reading, linking, writing.
                    figures[f"{kind.__name__}_cpu_ms"] = (target.subject.cpu_s - used) * 1000 / answers
                if number >= 0:
                    for figure, value in figures.items():
                        found[name].setdefault(figure, []).append(value)
        print(f"round {max(number + 1, 0)} of {rounds}", flush=True)
    return found


def ratio(of: list[float], to: list[float]) -> dict[str, Any]:
    """Return the medians of two subjects, and the median, least and greatest ratio of a round."""
    ratios = [a / b for a, b in zip(of, to, strict=True)]
    return {**_medians(of, to), "ratio": round(statistics.median(ratios), 3), "ratio_min_max": _ends(ratios)}


def difference(of: list[float], to: list[float]) -> dict[str, Any]:
    """Return the medians of two subjects, and the median, least and greatest difference of a round."""
    added = [a - b for a, b in zip(of, to, strict=True)]
    return {**_medians(of, to), "added": round(statistics.median(added), 3), "added_min_max": _ends(added)}


def machine(packages: Iterable[str]) -> dict[str, Any]:
    """Return what the figures were taken on."""
    return {
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
        "versions": {name: version for name in packages if (version := _version(name))},
    }


def _medians(of: list[float], to: list[float]) -> dict[str, float]:
    return {"measured": round(statistics.median(of), 3), "subject": round(statistics.median(to), 3)}


def _ends(values: list[float]) -> list[float]:
    return [round(min(values), 3), round(max(values), 3)]


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
