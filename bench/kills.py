"""SIGKILL for a recording server: what a client has is in the log afterwards, whatever the moment.

python -m bench.kills            all of it, into bench/results/kills.json (some minutes)
python -m bench.kills --kills 20 --instants 10

*Instants*: the server is killed the moment its client has the last byte of an answer. *Random*: it is killed at any
moment under 16 streams. Each server that follows takes in what the killed one left, while it serves.
"""

import argparse
import json
import multiprocessing
import multiprocessing.connection
import platform
import random
import sqlite3
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import reliability
from tarx_toollog import Settings, ToolLog
from tarx_toollog.ids import uuid7
from tarx_toollog.store.ingest import Ingester
from tarx_toollog.store.journal import list_segments
from tests.support.fault_model import ask
from tests.support.upstream import (
    CHUNKED,
    DONE,
    JSON,
    SSE,
    Connection,
    PeerGoneError,
    Request,
    chat_body,
    dialled,
    event,
    read_answer,
    running,
    text_events,
)

RESULTS = Path(__file__).parent / "results" / "kills.json"
STREAMS = 16
EVENTS = 30
CHECKPOINT_MS = 50
_SERVING_S = (0.02, 0.9)  # a server lives so long, at random

_context = multiprocessing.get_context("forkserver")  # a fork of what is imported already starts in milliseconds
_context.set_forkserver_preload(["tests.support.fault_model", "tarx_toollog.capture.upstream"])


# ---- servers --------------------------------------------------------------------------------------------------------


def serve(settings_json: str, told: multiprocessing.connection.Connection) -> None:
    """Run a proxy in this process until it is killed."""
    import uvicorn

    from tarx_toollog import ToolLogProxy
    from tests.support.workers import config_for, port_of

    server = uvicorn.Server(config_for(ToolLogProxy(settings=Settings.model_validate_json(settings_json))))

    def tell() -> None:
        while not server.started:
            time.sleep(0.001)
        told.send(f"http://127.0.0.1:{port_of(server)}")

    threading.Thread(target=tell, daemon=True).start()
    server.run()


@contextmanager
def server(settings: Settings) -> Iterator[tuple[str, Any]]:
    """Start a server; yield its URL and its process; kill it."""
    mine, its = _context.Pipe()
    process = _context.Process(target=serve, args=(settings.model_dump_json(), its))
    process.start()
    try:
        assert mine.poll(30), "the server did not start"
        yield mine.recv(), process
    finally:
        process.kill()
        process.join()
        mine.close()
        its.close()


def model(request: Request, connection: Connection) -> None:
    """Answer at once, or in events that are some milliseconds apart."""
    if b'"json ' in request.body:
        body = chat_body()
        connection.head(200, JSON, ("content-length", str(len(body))))
        connection.send(body)
        return
    connection.head(200, SSE, CHUNKED)
    if b'"slow ' in request.body:
        connection.chunk(event({"role": "assistant"}))
        for number in range(EVENTS):
            connection.chunk(event({"content": f"word{number} "}))
            time.sleep(random.uniform(0.002, 0.02))
        connection.chunk(event(finish_reason="stop"))
    else:
        for data in text_events():
            connection.chunk(data)
    connection.chunk(DONE)
    connection.chunk(b"")


# ---- what is stored -------------------------------------------------------------------------------------------------


def recover(settings: Settings) -> None:
    """Take in what the last server left."""
    ingester = Ingester(settings, uuid7())
    ingester.open()
    ingester.recover()
    ingester.close()


def checked(settings: Settings) -> dict[str, Any]:
    """Return what holds of the database as a whole."""
    with closing(sqlite3.connect(settings.database)) as connection:
        return {
            "integrity": connection.execute("PRAGMA integrity_check").fetchone()[0],
            "foreign_keys_broken": len(connection.execute("PRAGMA foreign_key_check").fetchall()),
            "gaps": dict(connection.execute("SELECT kind, sum(n) FROM gap GROUP BY kind").fetchall()),
            "segments_left": len(list_segments(settings.journal_path)),
        }


def stored(settings: Settings) -> dict[str, tuple[str, str]]:
    """Return uid and outcome for each question; fail when one is there twice."""
    sql = "SELECT m.content, e.uid, e.outcome FROM exchange e JOIN message m ON m.id = e.user_message_id"
    with closing(sqlite3.connect(settings.database)) as connection:
        rows = connection.execute(sql).fetchall()
    assert not [text for text, n in Counter(row[0] for row in rows).items() if n > 1], "stored twice"
    return {text: (uid, outcome) for text, uid, outcome in rows}


# ---- the instant of the last byte -----------------------------------------------------------------------------------


def instants(settings: Settings, how: str, kills: int) -> dict[str, Any]:
    """Kill so many servers the moment a client has the last byte of an answer."""
    delivered = []
    for number in range(kills):
        with server(settings) as (url, process), dialled(url, ask(how, number)) as client:
            if how == "json":
                assert read_answer(client).is_whole
            else:
                client.read_until(b"[DONE]")
            process.kill()
        delivered.append(f"{how} {number}")
    recover(settings)
    found = stored(settings)
    lost = [text for text in delivered if found.get(text, ("", ""))[1] != "completed"]
    return {"delivered": len(delivered), "lost": len(lost), **checked(settings)}


# ---- any moment -----------------------------------------------------------------------------------------------------


@dataclass
class Asked:
    """One question, and how far its answer came."""

    text: str
    server: int
    """Which server it was asked of, counted from 0."""
    is_whole: bool = False
    words_at: list[float] = field(default_factory=list)
    """When the client had each word."""


class Clients:
    """Sixteen clients that ask whatever server there is."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.url: str | None = None
        self.server = 0
        self.is_over = False
        self._number = 0
        self._lock = threading.Lock()  # numbers are given once
        self.threads = [threading.Thread(target=self._talk, daemon=True) for _ in range(STREAMS)]
        for thread in self.threads:
            thread.start()

    def _talk(self) -> None:
        while not self.is_over:
            url, number = self.url, self.server
            if url is None:
                time.sleep(0.002)
                continue
            with self._lock:
                self._number += 1
                question = self._number
                asked = Asked(f"slow {self._number}", number)
                self.asked.append(asked)
            try:
                with dialled(url, ask("slow", question)) as client:
                    self._read(client, asked)
            except (OSError, PeerGoneError):
                pass  # its server was killed

    def _read(self, client: Connection, asked: Asked) -> None:
        tail = b""
        while data := client.read():
            now = time.monotonic()
            text = tail + data
            asked.words_at += [now] * (text.count(b'"word') - tail.count(b'"word'))
            if b"[DONE]" in text:
                asked.is_whole = True
                return
            tail = text[-5:]


def random_moments(settings: Settings, kills: int) -> dict[str, Any]:
    """Kill so many servers at any moment under streams."""
    clients = Clients()
    killed_at = []
    for number in range(kills):
        with server(settings) as (url, process):
            clients.server, clients.url = number, url
            time.sleep(random.uniform(*_SERVING_S))
            process.kill()
            killed_at.append(time.monotonic())
            clients.url = None
    clients.is_over = True
    for thread in clients.threads:
        thread.join(10)
    recover(settings)
    found = stored(settings)
    whole = [asked for asked in clients.asked if asked.is_whole]
    lost = [asked.text for asked in whole if found.get(asked.text, ("", ""))[1] != "completed"]
    cut = [asked for asked in clients.asked if not asked.is_whole and asked.words_at]
    lags = lags_ms(settings, cut, killed_at, found)
    return {
        "delivered": len(whole),
        "lost": len(lost),
        "cut_in_the_middle": len(cut),
        "not_kept_of_these_ms": {"p50": lags[len(lags) // 2], "p99": lags[len(lags) * 99 // 100], "max": lags[-1]},
        **checked(settings),
    }


def lags_ms(
    settings: Settings, cut: list[Asked], killed_at: list[float], found: dict[str, tuple[str, str]]
) -> list[int]:
    """Return for each partial answer the age, at the kill, of the oldest word that a client had and the log has not."""
    lags = []
    with ToolLog.open(settings=settings) as log:
        for asked in cut:
            kept = words_of(log, found[asked.text][0]) if asked.text in found else 0
            missing = asked.words_at[kept:]
            lags.append(max(0, round((killed_at[asked.server] - missing[0]) * 1000)) if missing else 0)
    return sorted(lags)


def words_of(log: ToolLog, uid: str) -> int:
    """Return how many words of an answer are kept."""
    response = log.exchange(uid).response
    text = response.choices[0].message.text if response is not None and response.choices else None
    return len((text or "").split())


# ---- all of it ------------------------------------------------------------------------------------------------------


def measure(n_instants: int = 100, n_kills: int = 200) -> dict[str, Any]:
    """Return what was lost by how many kills."""
    figures: dict[str, Any] = {"durability": "process", "streams": STREAMS, "checkpoint_ms": CHECKPOINT_MS}
    rounds = (("instant_sse", "stream"), ("instant_json", "json"), ("random", ""))
    with running(model) as up, tempfile.TemporaryDirectory() as folder:
        for name, how in rounds:
            database = str(Path(folder) / f"{name}.db")
            settings = Settings(database=database, upstream=up.url, probe=False, checkpoint_ms=CHECKPOINT_MS)
            began = time.monotonic()
            n = n_instants if how else n_kills
            figures[name] = {"kills": n, **(instants(settings, how, n) if how else random_moments(settings, n))}
            figures[name]["seconds"] = round(time.monotonic() - began)
            print(name, json.dumps(figures[name]), flush=True)
    return figures


def is_clean(figures: dict[str, Any]) -> bool:
    """Say whether nothing was lost and nothing was harmed."""
    return all(
        (one["lost"], one["integrity"], one["foreign_keys_broken"], one["segments_left"]) == (0, "ok", 0, 0)
        and one.get("not_kept_of_these_ms", {"p50": 0})["p50"] <= CHECKPOINT_MS
        for one in figures.values()
        if isinstance(one, dict)
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instants", type=int, default=100, help="kills at the last byte, for SSE and for JSON")
    parser.add_argument("--kills", type=int, default=200, help="kills at random moments")
    options = parser.parse_args()
    figures = measure(options.instants, options.kills) | {"python": platform.python_version()}
    RESULTS.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")
    reliability.main()
    print("clean" if is_clean(figures) else "NOT CLEAN")
    return 0 if is_clean(figures) else 1


if __name__ == "__main__":
    sys.exit(main())
