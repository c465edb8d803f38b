"""Mixed load with random faults for a given time, and the ledger of it.

make soak SOAK_SECONDS=600
python -m bench.soak --seconds 600 --seed 7

A recording proxy serves twelve clients: JSON, streams, tool loops, long prompts, answers that break off, clients that
leave. Meanwhile, one after the other and at random: its database is locked, its disk fills up, its write-ahead log is
deleted, syncs get slow or fail, the clock jumps, it is stopped for a moment, it is killed and started again. At the end
every answer that a client got whole must be in the database, or counted in ``gap``; else the exit status is 1.
"""

import argparse
import hashlib
import json
import os
import platform
import random
import signal
import sqlite3
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from bench import reliability
from tarx_toollog import Settings
from tarx_toollog.store import quarantine
from tarx_toollog.store.journal import backlog_bytes
from tests.support.fault_lab import Shim, fill, locked, small_disk
from tests.support.fault_model import model
from tests.support.upstream import Answer, PeerGoneError, dialled, read_answer, request_bytes, running
from tests.support.waiting import eventually
from tests.support.workers import Worker

RESULTS = Path(__file__).parent / "results" / "soak.json"
CLIENTS = 12
DISK = "400m"
DRAIN_S = 60.0  # without any progress; a writer that tries again waits up to 30
RSS_LIMIT_MIB = 600
_WEIGHTS = {
    "json": 30,
    "stream": 30,
    "paced": 10,
    "loop": 15,
    "pieces": 5,
    "garbage": 3,
    "cut": 3,
    "fin": 2,
    "500": 2,
    "error-event": 2,
    "leave": 8,
    "long": 2,
}
_PADDING = 300_000


# ---- clients --------------------------------------------------------------------------------------------------------


class Ledger:
    """What was asked and what came back. Counted by twelve threads."""

    def __init__(self, upstream: str) -> None:
        self.counts: Counter[str] = Counter()
        self.whole: Counter[str] = Counter()
        """Questions, and how many answers to each a client has whole."""
        self.different: list[str] = []
        self.fault = "none"
        self.slowest_s: dict[str, float] = {}
        """The slowest answer under each fault."""
        self._upstream = upstream
        self._lock = threading.Lock()
        self._number = 0
        self._expected: dict[tuple[str, bool], tuple[Any, ...]] = {}

    def next_question(self, how: str) -> str:
        with self._lock:
            self._number += 1
            self.counts["asked"] += 1
            return f"{how} {self._number}"

    def took(self, how: str, text: str, step: int, answer: Answer, seconds: float) -> None:
        """Note an answer; compare it with what the model itself says."""
        seen = _seen(answer)
        with self._lock:
            self.counts["answered"] += answer.is_whole
            if seen == self._expected[how, bool(step)]:
                self.counts["identical"] += 1
            elif answer.is_whole:
                self.counts["different"] += 1
                self.different.append(text)
            else:
                self.counts["cut_by_a_kill"] += 1
            if answer.is_whole:
                self.whole[text] += 1
                self.slowest_s[self.fault] = max(self.slowest_s.get(self.fault, 0.0), seconds)

    def count(self, name: str) -> None:
        with self._lock:
            self.counts[name] += 1

    def learn(self) -> None:
        """Ask the model itself for each kind of answer."""
        for how in _WEIGHTS:
            if how != "leave":
                for step in (False, True) if how == "loop" else (False,):
                    with dialled(self._upstream, question(how, f"{how} 0", 0, step)) as client:
                        self._expected[how, step] = _seen(read_answer(client))


def _seen(answer: Answer) -> tuple[Any, ...]:
    return answer.status, answer.end_to_end, hashlib.sha256(answer.body).digest(), answer.is_whole


def question(how: str, text: str, padding: int, is_second_step: bool = False) -> bytes:
    """Return a request; the second step of a tool loop brings the result."""
    sent = f"{text} {'x' * padding}" if padding else text
    if how == "long":
        sent = sent.replace("long", "json", 1)
    messages: list[dict[str, Any]] = [{"role": "user", "content": sent}]
    if is_second_step:
        call = {
            "id": "call_1",
            "type": "function",
            "function": {"name": "tarx_recall", "arguments": '{"query":"city"}'},
        }
        messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
        messages.append({"role": "tool", "tool_call_id": "call_1", "content": f"result of {text}"})
    return request_bytes(body=json.dumps({"model": "m", "messages": messages, "stream": how != "json"}).encode())


class Clients:
    """Clients that ask whatever server there is, until they are told to stop."""

    def __init__(self, ledger: Ledger, seed: int) -> None:
        self.ledger = ledger
        self.url: str | None = None
        self.is_over = False
        self.threads = [threading.Thread(target=self._talk, args=(seed + n,), daemon=True) for n in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def _talk(self, seed: int) -> None:
        chance = random.Random(seed)
        while not self.is_over:
            if self.url is None:
                time.sleep(0.01)
                continue
            how = chance.choices([*_WEIGHTS], [*_WEIGHTS.values()])[0]
            try:
                self._ask(how, self.url, chance)
            except (OSError, PeerGoneError, ValueError, IndexError):
                self.ledger.count("no_answer")  # its server was killed, or is not there yet
            time.sleep(chance.uniform(0.05, 0.4))

    def _ask(self, how: str, url: str, chance: random.Random) -> None:
        text = self.ledger.next_question("endless" if how == "leave" else how)
        if how == "leave":
            with dialled(url, question(how, text, 0)) as client:
                client.read_until(b'"Hello"')
            self.ledger.count("left")
            return
        for step in range(2 if how == "loop" else 1):
            data = question(how, text, _PADDING if how == "long" else 0, bool(step))
            began = time.monotonic()
            with dialled(url, data) as client:
                client.sock.settimeout(60)
                answer = read_answer(client)
            self.ledger.took(how, text, step, answer, time.monotonic() - began)
            if not answer.is_whole:
                return


# ---- faults ---------------------------------------------------------------------------------------------------------


class Faults:
    """One fault after the other, at random."""

    def __init__(self, settings: Settings, clients: Clients, shim: Shim, seed: int) -> None:
        self.counts: Counter[str] = Counter()
        self.rss_mib = 0.0
        self._settings = settings
        self._clients = clients
        self._shim = shim
        self._chance = random.Random(seed)
        self.worker = self._start()
        self._faults: dict[str, Callable[[float], None]] = {
            "locked": self._locked,
            "disk full": self._disk_full,
            "log deleted": self._log_deleted,
            "slow syncs": lambda s: self._shimmed(s, sync_ms=400),
            "failing syncs": lambda s: self._shimmed(s, sync_fails_percent=30),
            "clock jumps": lambda s: self._shimmed(s, clock_s=self._chance.choice([-3600, 86_400])),
            "stopped": self._stopped,
            "killed": self._killed,
        }

    def run(self, seconds: float) -> None:
        """Make trouble for so long; leave a server that has none."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            name = self._chance.choice([*self._faults])
            self._clients.ledger.fault = name
            self._faults[name](self._chance.uniform(0.5, 5.0))
            self._clients.ledger.fault = f"after {name}"
            self.counts[name] += 1
            self._look()
            time.sleep(self._chance.uniform(0.2, 2.0))
            self._look()

    def _look(self) -> None:
        for line in Path(f"/proc/{self.worker.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM"):
                self.rss_mib = max(self.rss_mib, int(line.split()[1]) / 1024)

    def _start(self) -> Worker:
        worker = Worker("proxy", self._settings, self._shim.environment)
        self._clients.url = worker.url
        return worker

    def _locked(self, seconds: float) -> None:
        with locked(Path(self._settings.database)):
            time.sleep(seconds)

    def _disk_full(self, seconds: float) -> None:
        filler = fill(Path(self._settings.database).parent)
        time.sleep(seconds)
        filler.unlink()

    def _log_deleted(self, _seconds: float) -> None:
        log = Path(f"{self._settings.database}-wal")
        log.unlink(missing_ok=True)
        # Killed before it has noticed, it would lose what only that log had: two faults at once, and one is ours.
        if not eventually(log.exists, 60):
            raise RuntimeError("the server did not notice that its write-ahead log is gone")

    def _shimmed(self, seconds: float, **how: int) -> None:
        self._shim.set(**how)
        time.sleep(seconds)
        self._shim.set()

    def _stopped(self, seconds: float) -> None:
        self.worker.process.send_signal(signal.SIGSTOP)
        time.sleep(min(seconds, 1.5))
        self.worker.process.send_signal(signal.SIGCONT)

    def _killed(self, _seconds: float) -> None:
        self._clients.url = None
        self.worker.kill()
        assert self.worker.process.stdout is not None
        self.worker.process.stdout.close()
        self.worker = self._start()


# ---- the ledger -----------------------------------------------------------------------------------------------------


def stored(settings: Settings) -> Counter[str]:
    """Return the questions, with how many exchanges of each have ended."""
    sql = """SELECT substr(m.content, 1, 40), count(*) FROM exchange e JOIN message m ON m.id = e.user_message_id
             WHERE e.outcome <> 'open' AND (e.outcome <> 'interrupted' OR e.output_node_id IS NOT NULL) GROUP BY 1"""
    found: Counter[str] = Counter()
    with closing(sqlite3.connect(f"file:{settings.database}?mode=ro", uri=True)) as connection:
        for text, n in connection.execute(sql):
            found[" ".join(text.split(" ")[:2])] += n
    return found


def missing(settings: Settings, ledger: Ledger) -> list[str]:
    """Return the questions of which less is stored than clients have."""
    try:
        found = stored(settings)
    except sqlite3.OperationalError:
        return ["everything"]
    return [text for text, n in ledger.whole.items() if found[text.replace("long", "json", 1)] < n]


def figures_of(settings: Settings, ledger: Ledger, faults: Faults) -> dict[str, Any]:
    """Wait for the drain, as long as it goes on, and return the ledger."""
    began = time.monotonic()
    lost, end = missing(settings, ledger), began + DRAIN_S
    while lost and time.monotonic() < end:
        time.sleep(0.5)
        before, lost = len(lost), missing(settings, ledger)
        if len(lost) < before:
            end = time.monotonic() + DRAIN_S
    drain_s = time.monotonic() - began
    with closing(sqlite3.connect(settings.database)) as connection:
        gaps = dict(connection.execute("SELECT kind, sum(n) FROM gap GROUP BY kind").fetchall())
        details = connection.execute("SELECT kind, detail, sum(n) FROM gap GROUP BY 1, 2").fetchall()
        rows = dict(connection.execute("SELECT outcome, count(*) FROM exchange GROUP BY outcome").fetchall())
        integrity = connection.execute("PRAGMA integrity_check").fetchone()[0]
    return {
        **{name: ledger.counts[name] for name in ("asked", "answered", "identical", "different", "left")},
        "cut_by_a_kill": ledger.counts["cut_by_a_kill"],
        "no_answer": ledger.counts["no_answer"],
        "stored": rows,
        "gaps": gaps,
        "gap_details": [list(row) for row in details],
        "put_aside": quarantine.held_in(settings.journal_path).n_files,
        "lost": max(0, len(lost) - gaps.get("journal", 0) - gaps.get("overflow", 0)),
        "lost_and_counted": len(lost),
        "drain_s": round(drain_s, 1),
        "examples": [*lost[:5], *ledger.different[:5]],
        "slowest_answer_s": {name: round(seconds, 2) for name, seconds in sorted(ledger.slowest_s.items())},
        "most_memory_mib": round(faults.rss_mib),
        "journal_bytes_left": backlog_bytes(settings.journal_path),
        "integrity": integrity,
        "faults": dict(sorted(faults.counts.items())),
    }


def measure(seconds: float, seed: int) -> dict[str, Any]:
    """Run the load and the faults for so long and return the ledger."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        disk = folder / "disk"
        disk.mkdir()
        if os.geteuid() == 0:
            stack.enter_context(small_disk(disk, DISK))
        up = stack.enter_context(running(model))
        settings = Settings(
            database=str(disk / "t.db"), journal_dir=folder / "journal", upstream=up.url, probe=False, idle_ms=20
        )
        ledger = Ledger(up.url)
        ledger.learn()
        clients = Clients(ledger, seed)
        faults = Faults(settings, clients, Shim(folder), seed)
        try:
            faults.run(seconds)
            clients.is_over = True
            for thread in clients.threads:
                thread.join(70)
            return {"seconds": seconds, "seed": seed, **figures_of(settings, ledger, faults)}
        finally:
            faults.worker.kill()
            assert faults.worker.process.stdout is not None
            faults.worker.process.stdout.close()


def is_clean(found: dict[str, Any]) -> bool:
    """Say whether nothing was lost uncounted, nothing differed, and memory stayed bounded."""
    return (found["lost"], found["different"], found["integrity"]) == (0, 0, "ok") and found[
        "most_memory_mib"
    ] < RSS_LIMIT_MIB


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    found = measure(options.seconds, options.seed) | {"python": platform.python_version()}
    text = json.dumps(found, indent=2)
    RESULTS.write_text(text + "\n", "utf-8")
    reliability.main()
    print(text)
    print("clean" if is_clean(found) else "NOT CLEAN")
    return 0 if is_clean(found) else 1


if __name__ == "__main__":
    sys.exit(main())
