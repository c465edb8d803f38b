"""How fast the writer turns the journal into rows: decode, redact, link, insert, commit.

Each exchange brings three new messages (a tool result, a question, an answer with a call) and two tool rows, together
about 4 KiB of new text, after a history of up to nine messages. Two measures:

* end to end: from the journal's frames to committed rows, by the ingester that runs in the writer's thread;
* store only: the very statements that this has run, run again on an empty database by the driver alone, with the same
  transactions. What is over that is spent on knowing what to write.

``python -m bench.ingest --store PATH`` also measures the rate into a copy of that store, so that a store of a million
calls can be held against an empty one.
"""

import argparse
import json
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

from tarx_toollog import Settings, ToolLog
from tarx_toollog.ids import uuid7
from tarx_toollog.store import prepared
from tarx_toollog.store.frames import exchange_frames
from tarx_toollog.store.ingest import BATCH, Ingester
from tarx_toollog.store.journal import Journal
from tarx_toollog.wire.familiar import forget
from tarx_toollog.wire.raw import RawExchange
from tests.support.builders import TOOLS, assistant, call, raw_exchange, result, system, user

CONVERSATIONS = 400
STEPS = 4
ROUNDS = 5
DEMAND_PER_S = 2_000
DEMAND_OF_STORE_ONLY = 1 / 3
Statement = tuple[str, Any, bool]


def conversation(number: int) -> list[RawExchange]:
    """Return the exchanges of one dialogue."""
    words = f"{number} " + "some words of a real answer " * 40  # 1.1 KB, three times in an exchange
    history: list[dict[str, Any]] = [system("You are a helpful assistant.")]
    made = []
    for step in range(STEPS):
        if step:
            history.append(result(f"call-{number:06}-{step - 1}", {"facts": {"text": words}}))
        history.append(user(f"Question {step} {words}"))
        answer = assistant("", call("tarx_recall", {"query": f"{step} {words}"}, f"call-{number:06}-{step}"))
        made.append(raw_exchange(history, answer, tools=TOOLS, at_s=number * 60 + step * 3))
        history.append(answer)
    return made


def ingest(settings: Settings) -> float:
    """Return how many exchanges a second go from the journal into a store, by the clock."""
    forget()
    raws = [raw for number in range(CONVERSATIONS) for raw in conversation(number)]
    journal = Journal(settings.journal_path, uuid7())
    ingester = Ingester(settings, journal.writer_uid)
    ingester.open()
    for raw in raws:
        uid = uuid7()
        frames = exchange_frames(UUID(uid).bytes, replace(raw, begin=replace(raw.begin, uid=uid)))
        journal.append(frames)
    start = time.perf_counter()
    n_done = ingester.poll()
    took_s = time.perf_counter() - start
    ingester.finish(journal)
    ingester.close()
    journal.close()
    assert n_done == len(raws), (n_done, len(raws))
    return n_done / took_s


def store_only(path: Path, statements: list[Statement]) -> float:
    """Return how many exchanges a second the driver alone writes, of those that these statements write."""
    settings = Settings(database=str(path))
    ingester = Ingester(settings, uuid7())
    ingester.open()  # signs in: the rows refer to who wrote them
    ingester.close()
    with (
        ToolLog.open(settings=settings, read_only=False) as log,
        log.engine.connect() as connection,
    ):
        driver: Any = connection.connection.driver_connection
        start = time.perf_counter()
        n_written = 0
        driver.execute("BEGIN IMMEDIATE")
        for text, values, is_many in statements:
            if is_many:
                driver.executemany(text, values)
                continue
            driver.execute(text, values).fetchall()
            if text.startswith("INSERT INTO exchange "):
                n_written += 1
                if n_written % BATCH == 0:
                    driver.execute("COMMIT")
                    driver.execute("BEGIN IMMEDIATE")
        driver.execute("COMMIT")
        return n_written / (time.perf_counter() - start)


@contextmanager
def noted() -> Iterator[list[Statement]]:
    """Note the statements that the writer runs, but for those that only read."""
    statements: list[Statement] = []
    original = prepared.PreparedConnection.__init__

    class Driver:
        def __init__(self, driver: Any) -> None:
            self._driver = driver

        def execute(self, text: str, values: Any) -> Any:
            if not text.startswith(("SELECT", "WITH")):
                statements.append((text, values, False))
            return self._driver.execute(text, values)

        def executemany(self, text: str, values: Any) -> Any:
            statements.append((text, values, True))
            return self._driver.executemany(text, values)

    def begin(self: prepared.PreparedConnection, plain: Any) -> None:
        original(self, plain)
        self._driver = Driver(self._driver)

    prepared.PreparedConnection.__init__ = begin  # type: ignore[method-assign]
    try:
        yield statements
    finally:
        prepared.PreparedConnection.__init__ = original  # type: ignore[method-assign]


def measure(store: Path | None = None) -> dict[str, Any]:
    """Return exchanges per second, end to end and of the same statements alone."""
    rates: dict[str, list[float]] = {"end to end": [], "store only": [], "end to end into the store": []}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with noted() as statements:
            ingest(Settings(database=str(folder / "noted.db")))
        grown = None
        if store is not None:
            grown = folder / "grown.db"
            shutil.copy(store, grown)
        for number in range(ROUNDS):
            rates["end to end"].append(ingest(Settings(database=str(folder / f"{number}.db"))))
            rates["store only"].append(store_only(folder / f"alone-{number}.db", statements))
            if grown is not None:
                rates["end to end into the store"].append(ingest(Settings(database=str(grown))))
    pairs = zip(rates["end to end"], rates["store only"], strict=True)
    figures: dict[str, Any] = {
        "baseline": "the same statements, run by the driver alone",
        "exchanges": CONVERSATIONS * STEPS,
        "rounds": ROUNDS,
        "demand_per_s": DEMAND_PER_S,
        "demand_of_store_only": round(DEMAND_OF_STORE_ONLY, 3),
        "per_s": round(statistics.median(rates["end to end"])),
        "per_s_min_max": [round(min(rates["end to end"])), round(max(rates["end to end"]))],
        "store_only_per_s": round(statistics.median(rates["store only"])),
        "ratio": round(statistics.median(mine / alone for mine, alone in pairs), 3),
    }
    if store is not None:
        into = rates["end to end into the store"]
        figures["into_store_per_s"] = round(statistics.median(into))
        pairs = zip(into, rates["end to end"], strict=True)
        figures["into_store_ratio"] = round(statistics.median(grown / empty for grown, empty in pairs), 3)
        figures["store_megabytes"] = round(store.stat().st_size / 2**20)
    return figures


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", type=Path, help="a large store; a copy of it is written to")
    figures = measure(parser.parse_args().store)
    (Path(__file__).parent / "results" / "ingest.json").write_text(json.dumps(figures, indent=2) + "\n", "utf-8")
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
