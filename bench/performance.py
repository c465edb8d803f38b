"""Write the figures of the last kept speed runs into ``docs/performance.md``, each beside its demand.

python -m bench.performance      ``python -m bench speed`` does it by itself when a part ends
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "performance.md"
RESULTS = ROOT / "bench" / "results"
_BLOCK = re.compile(r"(<!-- figures: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


class Row(NamedTuple):
    """One demand."""

    what: str
    path: tuple[str, ...]
    """Where its figure stands in the result; the last name is the figure of the demand."""
    sign: str
    limit: float
    unit: str = "×"


def _against(group: str, rows: tuple[tuple[str, str, str, float], ...]) -> tuple[Row, ...]:
    return tuple(Row(what, (group, name, "ratio"), sign, limit) for what, name, sign, limit in rows)


def _middleware(group: str) -> tuple[Row, ...]:
    return (
        Row("first byte, p50", (group, "first_byte_ms", "ratio"), "≤", 1.05),
        Row("latency of an event, p50", (group, "event_latency_us", "ratio"), "≤", 1.05),
        Row("JSON, one client, p50: added", (group, "json_ms", "added"), "≤", 0.1, " ms"),
        Row("JSON, 8 clients, answers per second", (group, "json_rps", "ratio"), "≥", 0.88),
        Row("flood of events, 8 clients, streams per second", (group, "flood_rps", "ratio"), "≥", 0.88),
    )


_PROXY = (
    ("first byte, p50", "first_byte_ms", "≤", 0.9),
    ("JSON, 8 clients, answers per second", "json_rps", "≥", 2.5),
    ("flood of events, 8 clients, streams per second", "flood_rps", "≥", 2.5),
)
_PEERS = (
    ("first byte, p50", "first_byte_ms", "≤", 0.125),
    ("JSON, 8 clients, answers per second", "json_rps", "≥", 20.0),
    ("flood of events, 8 clients, streams per second", "flood_rps", "≥", 80.0),
)


def rows_of(block: str, found: dict[str, Any]) -> tuple[str, tuple[Row, ...]]:
    """Return the name of the result that a block shows, and its demands."""
    captured = 75 + 1.2 * found.get("captured_kib", 0.0)
    return {
        "middleware": ("speed_middleware", _middleware("asks_a_model")),
        "middleware_itself": ("speed_middleware", _middleware("answers_itself")),
        "proxy": ("speed_proxy", _against("to_bare", _PROXY)),
        "peers": ("speed_peers", _against("to_litellm", _PEERS)),
        "streams": (
            "speed_streams",
            (
                Row("streams that broke", ("errors", "toollog"), "≤", 0, ""),
                Row("time of a stream, p50", ("total_ms", "ratio"), "≤", 1.08),
            ),
        ),
        "memory": (
            "speed_memory",
            (
                Row("idle, after 100 chats", ("idle_mib", "measured"), "≤", 57.2, " MiB"),
                Row("for each open stream", ("per_stream_kib", "measured"), "≤", round(captured, 1), " KiB"),
            ),
        ),
    }[block]


def block(name: str, results: Path = RESULTS) -> str:
    """Return the table of one block; where nothing was measured, the demands alone."""
    path = results / f"{rows_of(name, {})[0]}.json"
    found: dict[str, Any] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    lines = ["| what | demand | measured | least and greatest | reached |", "|---|---|---|---|---|"]
    lines += [f"| {' | '.join(_cells(row, found))} |" for row in rows_of(name, found)[1]]
    return "\n".join([*lines, "", _told(found)])


def _cells(row: Row, found: dict[str, Any]) -> tuple[str, ...]:
    demand = f"{row.sign} {row.limit:g}{row.unit}"
    if not found:
        return row.what, demand, "", "", "not measured"
    *way, name = row.path
    place = found
    for step in way:
        place = place[step]
    value: float = place[name]
    ends = place.get(f"{name}_min_max") or place.get("min_max")
    is_met = value <= row.limit if row.sign == "≤" else value >= row.limit
    between = f"{ends[0]:g}–{ends[1]:g}" if ends else ""
    return row.what, demand, f"{value:g}{row.unit}", between, "yes" if is_met else "**not reached**"


def _told(found: dict[str, Any]) -> str:
    if not found:
        return "No run of this is kept."
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    return f"{found['rounds']} rounds on {found['cores']} cores, Python {found['python']}; {versions}."


def page(text: str, results: Path = RESULTS) -> str:
    """Return the page with the figures of the kept results."""
    filled: Callable[[re.Match[str]], str] = lambda match: f"{match[1]}{block(match[2], results)}\n{match[3]}"  # noqa: E731
    return _BLOCK.sub(filled, text)


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(PAGE.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    main()
