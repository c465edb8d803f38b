"""What is on disk: the size of a database, and what waits in the journal."""

import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

from tarx_toollog.store.frames import Kind, read_heads
from tarx_toollog.store.journal import is_alive, list_segments

STALE_S = 60.0  # a writer starts within a second; what it has not taken in after a minute is stuck

Finished = Callable[[Collection[str]], Collection[str]]
"""Tells which of some exchanges are in the database, with their end."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """Exchanges that are in the journal and not in the database."""

    left_behind: int
    """Of processes that are gone: the next one that records takes them in."""
    stuck: int
    """Of processes that live, and have not taken them in for a minute."""


def size_on_disk(database: Path) -> int:
    """Return the bytes of the database file with its write-ahead log."""
    files = (database, database.with_name(database.name + "-wal"))
    return sum(path.stat().st_size for path in files if path.exists())


def waiting_in(folder: Path, finished: Finished) -> Waiting:
    """Count what waits in the journal. A segment outlives its commit, so its size says nothing.

    Args:
        folder: The folder of the journal.
        finished: Asks the database.
    """
    counts = {True: 0, False: 0}
    now = time.time()
    for segment in list_segments(folder):
        try:
            alive = is_alive(folder, segment.name.rsplit("-", 1)[0])
            if alive and now - segment.stat().st_mtime < STALE_S:
                continue
            # An exchange that is still running has no end yet: for a live process that is no delay.
            uids = {head.uid for head in read_heads(segment) if head.kind is Kind.END or not alive}
        except FileNotFoundError:
            continue  # taken in and deleted since the folder was listed
        counts[alive] += len(uids - set(finished(uids)))
    return Waiting(left_behind=counts[False], stuck=counts[True])


def size_text(size: int | None) -> str:
    """Return a size for people."""
    if size is None:
        return "unknown size"
    value = float(size)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if value < 1024 or unit == "GiB":
            break
        value /= 1024
    return f"{int(value)} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
