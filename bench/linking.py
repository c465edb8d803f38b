"""Conversations found without an id, verdicts on tool results, and what linking costs in a large store.

``python -m bench.linking`` measures, and writes ``bench/results/linking.json`` and the generated parts of
``docs/linking.md`` and ``docs/tool-execution.md``.
"""

import json
import sqlite3
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tarx_toollog import Settings, ToolLog, logged_tool, tool_execution
from tarx_toollog.canonical import canonical_json, parse_json
from tarx_toollog.capture.recorder import recorder_for
from tarx_toollog.model import Exchange
from tarx_toollog.store.results import judge_result
from tarx_toollog.wire.decode import decode
from tarx_toollog.wire.raw import RawExchange
from tests.support.builders import TOOLS, assistant, call, exchange, result, user
from tests.support.long_chat import REWRITES, rewritten

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "tests" / "captures" / "tool_results"
PAGE = ROOT / "docs" / "linking.md"
PAGES = (PAGE, ROOT / "docs" / "tool-execution.md")
SMALL, LARGE = 100, 10_000  # dialogues with one opening
_REPEATS = 60
_RECOVERED = 64  # exchanges of a dead process, read in one transaction


@contextmanager
def opened() -> Iterator[ToolLog]:
    """Yield an empty store."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(database=str(Path(folder) / "t.db"))
        with ToolLog.open(settings=settings, read_only=False) as log:
            yield log


# ---- what clients do to a history -----------------------------------------------------------------------------------


def rewrites() -> dict[str, dict[str, Any]]:
    """Return, for each thing that clients do, what thirty calls of one chat become."""
    return {name: _chat(rewritten([rewrite])) for name, rewrite in REWRITES.items()}


def _chat(raws: list[RawExchange]) -> dict[str, Any]:
    with opened() as log:
        for raw in raws:
            log.write([decode(raw)])
        with ToolLog.open(settings=log.settings) as reader:
            (conversations,) = next(reader.query("SELECT COUNT(*) FROM conversation").rows)
            paired = Counter(how for (how,) in reader.query("SELECT match_how FROM tool_result").rows)
            ways = Counter(how for (how,) in reader.query("SELECT conversation_how FROM exchange").rows)
            rebuilt = sum(_is_rebuilt(reader, raw) for raw in raws)
        path = log.settings.database_path
        assert path is not None
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.close()
        return {
            "conversations": conversations,
            "found_by": dict(sorted(ways.items())),
            "results_paired": dict(sorted(paired.items())),
            "rebuilt": f"{rebuilt} of {len(raws)}",
            "disk_kb": path.stat().st_size // 1024,
            "sent_kb": sum(len(raw.request_body) + len(raw.response_body) for raw in raws) // 1024,
        }


def _is_rebuilt(log: ToolLog, raw: RawExchange) -> bool:
    request = log.exchange(raw.begin.uid).request
    assert request is not None
    whole = dict(request.params) | {"model": request.model, "messages": [dict(m.raw) for m in request.messages]}
    whole["tools"] = [dict(tool.raw) for tool in request.tools]
    return canonical_json(whole) == canonical_json(parse_json(raw.request_body))


# ---- verdicts on results --------------------------------------------------------------------------------------------


def verdicts() -> dict[str, Any]:
    """Return how well failures are told from ordinary results, over the collected examples."""
    found = {kind: [_verdict(row) for row in examples(kind)] for kind in ("failed", "ordinary")}
    true_positives = sum(how is not None for how in found["failed"])
    false_positives = sum(how is not None for how in found["ordinary"])
    return {
        "failed": len(found["failed"]),
        "ordinary": len(found["ordinary"]),
        "precision": round(true_positives / (true_positives + false_positives), 3),
        "recall": round(true_positives / len(found["failed"]), 3),
        "told_by": dict(sorted(Counter(how for how in found["failed"] if how is not None).items())),
    }


def examples(kind: str) -> list[dict[str, Any]]:
    """Return the examples of one kind: text, flag where there is one, and how its failure is told."""
    return [json.loads(line) for line in (RESULTS / f"{kind}.jsonl").read_text("utf-8").splitlines()]


def _verdict(row: dict[str, Any]) -> str | None:
    return judge_result(row["text"], row.get("flag")).how


# ---- the cost -------------------------------------------------------------------------------------------------------

OPENING = [user("Hello"), assistant("", call("tarx_recall", {"query": "x"}, "call_0"))]


def _continued(number: int) -> Exchange:
    history = [*OPENING, result("call_0", "y"), user(f"Question {number}")]
    return exchange(history, assistant(f"Answer {number}"), tools=TOOLS, at_s=1e5 + number)


def _opened_again(number: int) -> Exchange:
    return exchange(OPENING[:1], OPENING[1], tools=TOOLS, at_s=2e5 + number)


def _cut(number: int) -> Exchange:
    """Return a request that a window has cut: no prefix is known, and its call id is in every dialogue."""
    history = [user(f"Cut {number}"), OPENING[1], result("call_0", "y"), user("And?")]
    return exchange(history, assistant(f"Cut answer {number}"), tools=TOOLS, at_s=3e5 + number)


def _long(number: int) -> Exchange:
    """Return the next request of one long dialogue."""
    history = [user("A long talk")]
    for i in range(40 + number):
        history += [assistant(f"Word {i}"), user(f"Go on {i}")]
    return exchange(history, assistant(f"Word {40 + number}"), at_s=4e5 + number)


CASES = {
    "a request that continues the common opening": _continued,
    "the opening once more": _opened_again,
    "a history that was cut, with a common call id": _cut,
    "the next request of a long dialogue": _long,
}


def cost() -> dict[str, Any]:
    """Return the median time to write one exchange beside few and beside many dialogues with the same opening.

    It is processor time: the programs that run beside the bench should not decide the ratio.
    """
    measured = {size: _times(size) for size in (SMALL, LARGE)}
    return {
        name: {
            "small_us": round(measured[SMALL][name]),
            "large_us": round(measured[LARGE][name]),
            "ratio": round(measured[LARGE][name] / measured[SMALL][name], 2),
        }
        for name in measured[SMALL]
    }


def _times(size: int) -> dict[str, float]:
    with opened() as log:
        for first in range(0, size, 500):
            log.write(
                exchange(OPENING[:1], OPENING[1], tools=TOOLS, at_s=number * 2.0)
                for number in range(first, min(first + 500, size))
            )
        times = {name: _median_us(log, map(made, range(_REPEATS))) for name, made in CASES.items()}
        late = [
            exchange([user(f"Late {number}")], assistant("Ok"), at_s=-1000.0 + number) for number in range(_RECOVERED)
        ]
        start = time.thread_time()
        log.write(late)
        times[f"one of {_RECOVERED} that a dead process left behind"] = (time.thread_time() - start) / _RECOVERED * 1e6
        return times


def _median_us(log: ToolLog, items: Iterable[Exchange]) -> float:
    times = []
    for item in list(items):
        start = time.thread_time()
        log.write([item])
        times.append(time.thread_time() - start)
    return statistics.median(times) * 1e6


def execution_cost() -> dict[str, float]:
    """Return the median time that a report on an empty tool takes, in microseconds of the calling thread."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(database=str(Path(folder) / "t.db"), idle_ms=60_000, max_delay_ms=60_000)

        @logged_tool(settings=settings)
        def empty() -> None: ...

        recorder = recorder_for(settings)
        with tool_execution("warm-up", settings=settings):
            pass
        block, decorated = [], []
        for _ in range(2000):
            start = time.thread_time()
            with tool_execution("call_1", "empty", settings=settings):
                pass
            block.append(time.thread_time() - start)
            start = time.thread_time()
            empty()
            decorated.append(time.thread_time() - start)
        recorder.close()
    return {
        "block_us": round(statistics.median(block) * 1e6, 1),
        "decorator_us": round(statistics.median(decorated) * 1e6, 1),
    }


# ---- the page -------------------------------------------------------------------------------------------------------


def tables(figures: dict[str, Any]) -> dict[str, str]:
    """Return the generated parts of the pages by the names of their markers."""
    rows = ["| client behaviour | conversations | found by | results paired | rebuilt exactly | sent | on disk |"]
    rows += ["|---|---:|---|---|---|---:|---:|"]
    for name, row in figures["rewrites"].items():
        ways = ", ".join(f"{n} {how}" for how, n in row["found_by"].items())
        paired = ", ".join(f"{n} by {how}" for how, n in row["results_paired"].items())
        rows.append(
            f"| {name} | {row['conversations']} | {ways} | {paired} | {row['rebuilt']} | {row['sent_kb']} KB "
            f"| {row['disk_kb']} KB |"
        )
    v = figures["verdicts"]
    told = ", ".join(f"{n} by {how}" for how, n in v["told_by"].items())
    said = (
        f"Over {v['failed']} failed and {v['ordinary']} ordinary results: precision {v['precision']:.3f}, "
        f"recall {v['recall']:.3f}; {told}."
    )
    times = ["| one exchange written | beside 100 | beside 10,000 | ratio |", "|---|---:|---:|---:|"]
    for name, row in figures["cost"].items():
        times.append(f"| {name} | {row['small_us']} µs | {row['large_us']} µs | {row['ratio']} |")
    e = figures["executions"]
    report = f"One report takes {e['block_us']} µs from a block and {e['decorator_us']} µs from a decorator."
    return {"rewrites": "\n".join(rows), "verdicts": said, "cost": "\n".join(times), "executions": report}


def with_tables(page: str, figures: dict[str, Any]) -> str:
    """Return the page with its generated parts made anew."""
    for name, text in tables(figures).items():
        if f"<!-- {name}:begin -->" not in page:
            continue
        begin, end = f"<!-- {name}:begin -->\n", f"<!-- {name}:end -->"
        before, rest = page.split(begin, 1)
        page = f"{before}{begin}\n{text}\n\n{end}{rest.split(end, 1)[1]}"
    return page


def measure() -> dict[str, Any]:
    """Return all figures."""
    return {
        "baseline": f"the same write beside {SMALL} dialogues with the same opening, in the same run",
        "rewrites": rewrites(),
        "verdicts": verdicts(),
        "cost": cost(),
        "executions": execution_cost(),
    }


def main() -> None:
    """Measure, and write the figures and the page."""
    from bench.__main__ import main as run

    run(["linking"])
    figures = json.loads((ROOT / "bench" / "results" / "linking.json").read_text("utf-8"))
    for page in PAGES:
        page.write_text(with_tables(page.read_text("utf-8"), figures), "utf-8")


if __name__ == "__main__":
    main()
