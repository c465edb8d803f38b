"""``toollog db copy`` and the writer, on PostgreSQL and on SQLite in one run, one after the other, several rounds.

``python -m bench copy``; ``python -m bench.copy --exchanges N --rounds R``. PostgreSQL is one that the bench starts on
this machine (or that ``TOOLLOG_TEST_POSTGRES`` names): a network adds a round trip to each of a writer's statements.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from bench.big_store import build
from bench.ingest import conversation
from tarx_toollog import Settings, ToolLog
from tarx_toollog.store.copying.copy import NoSteps, copy_store
from tarx_toollog.store.ingest import BATCH
from tarx_toollog.wire.decode import decode
from tests.support.postgres import database, postgres

EXCHANGES = 10_000
CONVERSATIONS = 50
ROUNDS = 5
MB = 1e6


class Stopwatch(NoSteps):
    """Measures the kinds of work of one copy."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._label = "opening"
        self._since = time.perf_counter()

    def begin(self, label: str, total: int | None = None) -> None:
        now = time.perf_counter()
        self.seconds[self._label] = now - self._since
        self._label, self._since = label, now


def measure(exchanges: int = EXCHANGES, rounds: int = ROUNDS) -> dict[str, Any]:
    """Return rows and megabytes per second of a copy each way, and exchanges per second of the writer."""
    with tempfile.TemporaryDirectory() as name, postgres() as server:
        folder = Path(name)
        build(folder / "log.db", exchanges)
        copied: dict[str, list[dict[str, float]]] = defaultdict(list)
        stored: dict[str, list[float]] = defaultdict(list)
        for number in range(rounds):
            with database(server, f"round_{number}") as url, database(server, f"ingest_{number}") as fresh:
                back, twin = folder / f"back_{number}.db", folder / f"twin_{number}.db"
                copied["sqlite_to_postgresql"].append(_copy(folder / "log.db", url))
                copied["postgresql_to_sqlite"].append(_copy(url, back))
                copied["sqlite_to_sqlite"].append(_copy(folder / "log.db", twin))
                stored["sqlite"].append(_store(str(folder / f"ingest_{number}.db")))
                stored["postgresql"].append(_store(fresh))
                size = _server_size(url)
            back.unlink()
            twin.unlink()
        return {
            "baseline": "the same rows from SQLite to SQLite; the same exchanges stored in SQLite",
            "rounds": rounds,
            "exchanges": exchanges,
            "rows": int(copied["sqlite_to_sqlite"][0]["rows"]),
            "sqlite_mb": round((folder / "log.db").stat().st_size / MB, 1),
            "postgresql_mb": round(size / MB, 1),
            "copy": {way: _figures(found, (folder / "log.db").stat().st_size) for way, found in copied.items()},
            "stored_per_s": {kind: round(statistics.median(rates)) for kind, rates in stored.items()},
            "stored_ratio": round(
                statistics.median(p / s for p, s in zip(stored["postgresql"], stored["sqlite"], strict=True)), 3
            ),
        }


def _copy(source: str | Path, destination: str | Path) -> dict[str, float]:
    watch = Stopwatch()
    report = copy_store(Settings(database=str(source)), Settings(database=str(destination)), steps=watch)
    watch.begin("end")
    return {
        "rows": sum(report.rows.values()),
        "rows_s": watch.seconds["rows"] + watch.seconds["checking references"],
        "compare_s": watch.seconds["rows compared"],
        "index_s": watch.seconds["messages indexed"],
    }


def _figures(found: list[dict[str, float]], size: int) -> dict[str, float]:
    median = {name: statistics.median(each[name] for each in found) for name in found[0]}
    verified_s = median["rows_s"] + median["compare_s"]
    return {
        "rows_per_s": round(median["rows"] / median["rows_s"]),
        "verified_rows_per_s": round(median["rows"] / verified_s),
        "verified_mb_per_s": round(size / MB / verified_s, 2),
        "index_s": round(median["index_s"], 2),
    }


def _store(name: str) -> float:
    """Return exchanges per second from bytes to rows, as ``bench.ingest`` counts them."""
    raws = [raw for number in range(CONVERSATIONS) for raw in conversation(number)]
    with ToolLog.open(settings=Settings(database=name), read_only=False) as log:
        start = time.perf_counter()
        for first in range(0, len(raws), BATCH):
            log.write([decode(raw) for raw in raws[first : first + BATCH]])
        return len(raws) / (time.perf_counter() - start)


def _server_size(url: str) -> int:
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        size = int(connection.exec_driver_sql("SELECT pg_database_size(current_database())").scalar_one())
    engine.dispose()
    return size


def main() -> None:
    """Run with options."""
    parser = argparse.ArgumentParser(description=measure.__doc__)
    parser.add_argument("--exchanges", type=int, default=EXCHANGES)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    options = parser.parse_args()
    print(json.dumps(measure(options.exchanges, options.rounds), indent=2))


if __name__ == "__main__":
    main()
