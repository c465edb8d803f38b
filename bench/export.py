"""How fast a training export is, and what it needs, beside two floors over the same store in the same run.

*Floor A* (``floor_json``) reads the very lines that the export wrote out of a SQLite table, reads and writes each as
JSON, and puts it into a file: nothing that writes these rows with Python's ``json`` can be faster. *Floor B*
(``floor_tables``) is the script that a person would write: it reads the log's own tables with plain ``sqlite3``, builds
the same rows, and writes them. It has the gate's rules in its query, and checks nothing else.

Ours is ``run_export`` with every stage but duplicates and redaction, which a floor has not; ``everything`` has these
too. Each is measured in a process of its own; ours starts a second one that searches the evaluation, whose memory and
processor time are added. ``times_floor_…`` is how many times as long ours takes for a row, by the clock;
``cpu_times_floor_…`` the same by processor time.

``python -m bench.export [--exchanges N] [--store PATH] [--only-trl]`` measures, and writes
``bench/results/export.json``. Without PATH the store is made first (``bench.big_store``). ``--only-trl`` leaves out the
other formats and choices: one export and both floors, which for a million exchanges take a quarter of an hour.
"""

import argparse
import json
import multiprocessing
import platform
import resource
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from hashlib import blake2b
from pathlib import Path
from typing import Any

from bench.big_store import MILLION, build
from tarx_toollog import ToolLog
from tarx_toollog.export.options import ExportOptions
from tarx_toollog.export.pipeline import run_export

OUT = Path(__file__).parent / "out" / "export"
RESULTS = Path(__file__).parent / "results" / "export.json"
EVERYTHING = 50_000
"""Exchanges for the export with duplicates and redaction."""
WITHOUT_EXTRAS: dict[str, Any] = {"redact": "off", "exact": False, "near": None}
_MB = 2**20
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024
_PROCESSES = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)  # children: those that have ended
_CACHED = 50_000  # messages

Figures = dict[str, Any]


def measure(exchanges: int = MILLION, store: Path | None = None, *, only_trl: bool = False) -> Figures:
    """Return the figures for a store of so many exchanges, which is made unless one is given."""
    shutil.rmtree(OUT, ignore_errors=True)
    OUT.mkdir(parents=True)
    try:
        figures: Figures = {
            "baseline": "floor_json: sqlite3, json.loads, json.dumps of the same rows; "
            "floor_tables: a plain script over the log's own tables; same run, a process each",
            "exchanges": exchanges,
        }
        if store is None:
            store = OUT / "store.db"
            figures["store_made_s"] = _alone(build, store, exchanges)["seconds"]
        figures["store_mb"] = _size(store)
        figures |= _exports(store, only_trl=only_trl)
        return figures if only_trl else figures | {"everything": _everything(exchanges)}
    finally:
        shutil.rmtree(OUT, ignore_errors=True)


def _exports(store: Path, *, only_trl: bool) -> Figures:
    """Measure the exports and both floors; what is not needed any more is removed, since it is gigabytes."""
    trl = _export(store, ("trl",), WITHOUT_EXTRAS)
    lines, copied, made = OUT / "lines.db", OUT / "copied.jsonl", OUT / "made.jsonl"
    trl["row_bytes"] = round(_alone(load_lines, OUT / "trl", lines)["value"] / trl["rows"])
    floors = {"floor_json": _rated(_alone(floor_json, lines, copied))}
    copied.unlink()
    floors["floor_tables"] = _rated(_alone(floor_tables, store, made))
    trl["rows_that_floor_tables_makes_too"] = _alone(n_common, lines, made)["value"]
    lines.unlink()
    made.unlink()
    ours = {"trl": trl}
    if not only_trl:
        ours |= {
            "mlx": _export(store, ("mlx",), WITHOUT_EXTRAS),
            "mlx and trl": _export(store, ("mlx", "trl"), WITHOUT_EXTRAS),
            "trl without decontamination": _export(store, ("trl",), WITHOUT_EXTRAS | {"decontaminate": False}),
        }
    for figures in ours.values():
        for name, floor in floors.items():
            figures[f"times_{name}"] = round(floor["rows_per_s"] / figures["rows_per_s"], 2)
            figures[f"cpu_times_{name}"] = round(floor["rows_per_cpu_s"] / figures["rows_per_cpu_s"], 2)
    return floors | ours


def _everything(exchanges: int) -> Figures:
    """Measure an export as it is by default, to two formats."""
    store, number = OUT / "smaller.db", min(EVERYTHING, exchanges)
    _alone(build, store, number)
    return {"exchanges": number, **_export(store, ("mlx", "trl"), {})}


def _export(store: Path, formats: tuple[str, ...], options: Figures) -> Figures:
    out = OUT / "+".join(formats)
    shutil.rmtree(out, ignore_errors=True)
    run = _alone(export, store, out, formats, options)
    scratch_mb = run["value"]["scratch_mb"]
    run["value"] = run["value"]["rows"]
    return {**_rated(run), "scratch_mb": scratch_mb, "out_mb": _size(out)}


def _rated(run: Figures) -> Figures:
    rows = run["value"]
    return {
        "rows": rows,
        **{name: figure for name, figure in run.items() if name != "value"},
        "rows_per_s": round(rows / run["seconds"]),
        "rows_per_cpu_s": round(rows / run["cpu_seconds"]),
    }


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else path.parent.glob(f"{path.name}*")
    return sum(file.stat().st_size for file in files if file.is_file()) // _MB


# ---- a process each -------------------------------------------------------------------------------------------------


def _alone(function: Callable[..., Any], *arguments: Any) -> Figures:
    """Run a function in a process of its own; return its ``value`` and what it took."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return dict(pool.submit(_timed, function, arguments).result())


def _timed(function: Callable[..., Any], arguments: tuple[Any, ...]) -> Figures:
    start, start_cpu = time.perf_counter(), _cpu_seconds()
    value = function(*arguments)
    seconds, cpu_seconds = time.perf_counter() - start, _cpu_seconds() - start_cpu
    peak = sum(resource.getrusage(who).ru_maxrss for who in _PROCESSES) * _RSS_UNIT
    return {
        "value": value,
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu_seconds, 2),
        "peak_mb": round(peak / _MB),
    }


def _cpu_seconds() -> float:
    return sum(usage.ru_utime + usage.ru_stime for usage in map(resource.getrusage, _PROCESSES))


# ---- ours -----------------------------------------------------------------------------------------------------------


def export(store: Path, out: Path, formats: tuple[str, ...], options: Figures) -> Figures:
    """Run one export; return its rows, and the size of the scratch file when everything is in it."""
    watch = _Watch(out)
    with ToolLog.open(store) as log:
        report = run_export(log, out, ExportOptions(formats=formats, **options), progress=watch)
    return {"rows": report.n_examples, "scratch_mb": watch.scratch_mb}


class _Watch:
    """Measures the scratch folder of an export when everything is in it and nothing is written."""

    def __init__(self, out: Path) -> None:
        self._out = out
        self.scratch_mb = 0

    def begin(self, label: str, total: int | None = None) -> None:
        if label == "rows written":
            self.scratch_mb = sum(map(_size, self._out.parent.glob(f".{self._out.name}.partial-*")))

    def advance(self, count: int = 1) -> None:
        pass


# ---- floor A --------------------------------------------------------------------------------------------------------


def load_lines(folder: Path, database: Path) -> int:
    """Put the lines of an export into a table, for floor A; return their bytes."""

    def lines() -> Iterator[tuple[str]]:
        for path in sorted(folder.rglob("*.jsonl")):
            if path.name != "lineage.jsonl":
                with path.open(encoding="utf-8", newline="\n") as stream:
                    yield from ((line,) for line in stream)

    with closing(sqlite3.connect(database, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous=OFF")
        connection.execute("CREATE TABLE line (text TEXT)")
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO line VALUES (?)", lines())
        connection.execute("COMMIT")
        total: int = connection.execute("SELECT SUM(LENGTH(CAST(text AS BLOB))) FROM line").fetchone()[0]
        return total


def floor_json(database: Path, out: Path) -> int:
    """Read every line, parse it, serialise it, write it; return how many."""
    n_rows = 0
    with closing(sqlite3.connect(database)) as connection, out.open("w", encoding="utf-8") as stream:
        for (text,) in connection.execute("SELECT text FROM line"):
            stream.write(json.dumps(json.loads(text), ensure_ascii=False) + "\n")
            n_rows += 1
    return n_rows


# ---- floor B --------------------------------------------------------------------------------------------------------

_STEPS = """
SELECT e.system_node_id, e.output_node_id, e.toolset_id
FROM exchange e JOIN conversation c ON c.id = e.conversation_id
WHERE c.split <> 'eval' AND e.outcome = 'completed' AND e.finish_reason <> 'length' AND e.truncation = 'none'
AND NOT EXISTS (
    SELECT 1 FROM tool_call t LEFT JOIN tool_result r ON r.tool_call_id = t.id
    WHERE t.exchange_id = e.id AND (
        t.origin <> 'native' OR t.argument_state NOT IN ('ok', 'empty') OR t.schema_state = 'fail'
        OR NOT t.offered OR NOT t.complete OR r.is_error
    )
)
ORDER BY e.id
"""
_NODE = """
SELECT n.parent_id, m.role, m.content, m.tool_call_id, m.extra
FROM node n JOIN message m ON m.id = n.message_id WHERE n.id = ?
"""
_TOOLS = """
SELECT d.raw FROM toolset_item i JOIN tool_definition d ON d.id = i.tool_definition_id
WHERE i.toolset_id = ? ORDER BY i.position
"""


class _Tables:
    """Reads messages and tools, and remembers them."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._nodes: dict[int, tuple[int | None, dict[str, Any]]] = {}
        self._tools: dict[int, str] = {}

    def history(self, node_id: int | None) -> list[dict[str, Any]]:
        """Return the messages up to a node."""
        found = []
        while node_id is not None:
            if node_id not in self._nodes:
                if len(self._nodes) > _CACHED:
                    self._nodes.clear()
                self._nodes[node_id] = self._read(node_id)
            node_id, message = self._nodes[node_id]
            found.append(message)
        messages = found[::-1]
        names = {call["id"]: call["function"]["name"] for m in messages for call in m.get("tool_calls", ())}
        for message in messages:
            if message["role"] == "tool":
                message["name"] = names[message["tool_call_id"]]
        return messages

    def _read(self, node_id: int) -> tuple[int | None, dict[str, Any]]:
        parent, role, content, call_id, extra = self._connection.execute(_NODE, (node_id,)).fetchone()
        message: dict[str, Any] = {"role": role, "content": content or ""}
        if role == "tool":
            message |= {"name": None, "tool_call_id": call_id}
        for call in json.loads(extra)["tool_calls"] if extra else ():
            function = {"name": call["function"]["name"], "arguments": json.loads(call["function"]["arguments"])}
            message.setdefault("tool_calls", []).append({"id": call["id"], "type": "function", "function": function})
        return parent, message

    def tools(self, toolset_id: int) -> str:
        """Return the definitions of a toolset as JSON."""
        if toolset_id not in self._tools:
            found = [json.loads(raw) for (raw,) in self._connection.execute(_TOOLS, (toolset_id,))]
            self._tools[toolset_id] = json.dumps(found, ensure_ascii=False)
        return self._tools[toolset_id]


def floor_tables(store: Path, out: Path) -> int:
    """Write the rows of the ``trl`` format from the log's own tables; return how many."""
    n_rows = 0
    with closing(sqlite3.connect(store)) as connection, out.open("w", encoding="utf-8") as stream:
        tables = _Tables(connection)
        for system, answered, toolset in connection.cursor().execute(_STEPS):
            *prompt, answer = tables.history(system) + tables.history(answered)
            row = {"prompt": prompt, "completion": [answer], "tools": tables.tools(toolset)}
            stream.write(json.dumps(row, ensure_ascii=False) + "\n")
            n_rows += 1
    return n_rows


def n_common(lines: Path, made: Path) -> int:
    """Return how many lines of an export floor B has made as well."""
    with made.open(encoding="utf-8", newline="\n") as stream:
        digests = {_digest(line) for line in stream}
    with closing(sqlite3.connect(lines)) as connection:
        return sum(_digest(text) in digests for (text,) in connection.execute("SELECT text FROM line"))


def _digest(text: str) -> bytes:
    return blake2b(text.encode(), digest_size=12).digest()


def main() -> None:
    """Measure, and write the figures."""
    parser = argparse.ArgumentParser(prog="python -m bench.export")
    parser.add_argument("--exchanges", type=int, default=MILLION)
    parser.add_argument("--store", type=Path)
    parser.add_argument("--only-trl", action="store_true")
    given = parser.parse_args()
    figures = measure(given.exchanges, given.store, only_trl=given.only_trl)
    text = json.dumps(figures | {"python": platform.python_version()}, indent=2)
    RESULTS.write_text(text + "\n", "utf-8")
    print(text)


if __name__ == "__main__":
    main()
