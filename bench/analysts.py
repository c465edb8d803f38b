"""How long the questions of analysts take on a large store: every ready query, every page, the commands that list.

``python -m bench.analysts PATH`` measures on that store and writes ``bench/results/analysts.json``; without PATH one of
a million tool calls in four weeks is made first (``bench.weeks``), which takes minutes and gigabytes. The wall clock
counts, as for a reader; the processor's time stands beside it for queries, because other work on the machine hardly
lengthens it. Pages come from ``toollog ui``, some seconds after its start; commands are processes of their own, with
their start-up. The file is read once before: which question is the first, and pays for the disk alone, says nothing
about it.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from bench import weeks
from bench.big_store import MILLION, fill, tidy
from tarx_toollog import ToolLog
from tarx_toollog.store.answers.ready import ReadyQuery, ready_queries
from tarx_toollog.web import addresses
from tests.support.web_pages import started_ui

RESULTS = Path(__file__).parent / "results" / "analysts.json"
BASELINE = "SELECT COUNT(*) FROM tool_call"
_REPEATS = 3
_LOOKS = 5  # at each page, after the first
_WARMING_S = 3.0  # for as long the server is left alone after its start
_ONCE_S = 5.0  # what takes longer is not run again
_PATIENCE_S = 600.0
_COUNTED = ("tool_call", "exchange", "conversation", "turn", "message")
_IN_THE_MIDDLE = "SELECT uid FROM exchange WHERE id = (SELECT MAX(id) / 2 FROM exchange)"
_LONGEST = (
    "SELECT c.uid FROM turn t JOIN conversation c ON c.id = t.conversation_id "
    "GROUP BY c.id ORDER BY SUM(t.n_steps) DESC LIMIT 1"
)
_OLDEST_BUILD = "SELECT name FROM model_build ORDER BY id LIMIT 1"
_TOOL = "tarx_recall"
_COMMANDS: dict[str, tuple[str, ...]] = {
    "(start-up alone)": ("--version",),
    "report": ("report",),
    "status": ("status",),
    "tools list": ("tools", "list"),
    "tools show": ("tools", "show", _TOOL),
    "log list": ("log", "list"),
    "log search": ("log", "search", "city", "--limit", "20"),
    "conversations list": ("conversations", "list"),
    "conversations list --tool": ("conversations", "list", "--tool", _TOOL),
}

Figures = dict[str, Any]


def measure(path: Path | None = None) -> Figures:
    """Measure everything, on a store that is made first unless there is one."""
    if path is not None:
        return _measure(path)
    with tempfile.TemporaryDirectory() as folder:
        fill(made := Path(folder) / "million.db", weeks.made_up(MILLION))
        tidy(made)
        return _measure(made)


def _measure(path: Path) -> Figures:
    _read_once(path)
    with ToolLog.open(path) as log:
        rows = {table: _first(log, f"SELECT COUNT(*) FROM {table}") for table in _COUNTED}
        middle, longest, build = (_first(log, sql) for sql in (_IN_THE_MIDDLE, _LONGEST, _OLDEST_BUILD))
        queries = {query.name: _timed(log, _filled(query, middle)) for query in ready_queries()}
        baseline = {"query": BASELINE, **_timed(log, BASELINE)}
    return {
        "baseline": baseline,
        "rows": rows,
        "megabytes": path.stat().st_size // 10**6,
        "queries": queries,
        "pages": _pages(path, _addresses(middle, longest, build)),
        "commands": {name: _command(path, arguments) for name, arguments in _COMMANDS.items()},
    }


def _read_once(path: Path) -> None:
    with path.open("rb") as file:
        while file.read(2**24):
            pass


def _addresses(exchange: str, conversation: str, build: str) -> dict[str, str]:
    return {
        "overview": addresses.overview(),
        "overview of a week": addresses.overview(since="7d"),
        "overview of a tool": addresses.overview(tool=_TOOL),
        "overview of a build": addresses.overview(build=build),
        "overview of an outcome": addresses.overview(outcome="upstream_error"),
        "overview of a label": addresses.overview(label="expected"),
        "overview of the commonest label": addresses.overview(label="quality"),
        "conversations": addresses.conversations(),
        "conversations with a tool": addresses.conversations(tool=_TOOL),
        "conversations of a build": addresses.conversations(build=build),
        "conversations with a label": addresses.conversations(label="quality"),
        "longest conversation": addresses.conversation(conversation),
        "exchanges": addresses.exchanges(),
        "exchanges of an outcome": addresses.exchanges(outcome="upstream_error"),
        "exchanges with a label": addresses.exchanges(label="quality"),
        "exchange": addresses.exchange(exchange),
        "tools": addresses.tools(),
        "tools with a label": addresses.tools(label="quality"),
        "tool": addresses.tool(_TOOL),
        "another tool": addresses.tool("calendar_create"),
        "calls": addresses.calls(),
        "failed calls of a tool": addresses.calls(tool=_TOOL, kind="failed"),
        "calls with a label": addresses.calls(label="quality"),
        "leaked calls at depth 7": addresses.calls(depth=7, kind="leaked"),
        "live": addresses.live(),
        "search": addresses.search(),
        "search for a word": addresses.search(q="city"),
        "labelling queue": addresses.queue(),
        "labelling queue of a run": addresses.queue(tag="x"),
        "suites and runs": addresses.replay(),
    }


def _pages(path: Path, pages: dict[str, str]) -> dict[str, Figures]:
    """Return milliseconds of the first look and of later ones, and how much a page weighs."""
    with started_ui(path) as base, httpx.Client(base_url=base, timeout=_PATIENCE_S) as client:
        time.sleep(_WARMING_S)
        found = {}
        for name, address in pages.items():
            answer = client.get(address)
            answer.raise_for_status()
            first, *others = [round(answer.elapsed.total_seconds() * 1000, 1), *_looks(client, address)]
            kilobytes = round(len(answer.content) / 1000, 1)
            found[name] = {"address": address, "first_ms": first, "ms": statistics.median(others), "kb": kilobytes}
    return found


def _looks(client: httpx.Client, address: str) -> list[float]:
    return [round(client.get(address).elapsed.total_seconds() * 1000, 1) for _ in range(_LOOKS)]


def _command(path: Path, arguments: tuple[str, ...]) -> float:
    """Return the seconds that a command takes from its start to its end."""
    command = [sys.executable, "-m", "tarx_toollog", "--database", str(path), *arguments]

    def run() -> None:
        subprocess.run(command, check=True, capture_output=True)

    return round(statistics.median(_seconds(run) for _ in range(_REPEATS)), 2)


def _seconds(run: Callable[[], None]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _filled(query: ReadyQuery, exchange: str) -> str:
    """Return the SQL as somebody runs it who says no more than must be said."""
    needed = {one.name for one in query.parameters if one.default is None}
    return query.filled({"exchange": exchange} if needed else {})


def _first(log: ToolLog, sql: str) -> Any:
    return next(iter(log.query(sql, timeout_s=_PATIENCE_S).rows))[0]


def _timed(log: ToolLog, sql: str) -> dict[str, float]:
    """Return milliseconds by the wall clock and of the processor, and how many rows there were."""
    walls: list[float] = []
    processors: list[float] = []
    while len(walls) < _REPEATS and sum(walls) < _ONCE_S:
        wall, processor = time.perf_counter(), time.process_time()
        n_rows = len(list(log.query(sql, timeout_s=_PATIENCE_S).rows))
        walls.append(time.perf_counter() - wall)
        processors.append(time.process_time() - processor)
    found = {"ms": statistics.median(walls), "processor_ms": statistics.median(processors)}
    return {name: round(seconds * 1000, 1) for name, seconds in found.items()} | {"rows": n_rows}


def main(arguments: list[str]) -> None:
    """Measure, and write the figures."""
    figures = measure(Path(arguments[0]) if arguments else None)
    text = json.dumps(figures, indent=2)
    RESULTS.write_text(text + "\n", "utf-8")
    print(text)


if __name__ == "__main__":
    main(sys.argv[1:])
