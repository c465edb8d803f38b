"""Where bytes go that cannot be stored: damaged journal segments, and exchanges that a bug of ours stands in front of.

They are evidence and, for whoever mends the bug, the exchange itself; so nothing here deletes them, and ``toollog
doctor`` says that they are there. What they hold is redacted, or sealed without a key (``putting_aside``); what an
older version put here is as the client sent it.
"""

import os
from pathlib import Path
from typing import NamedTuple

FOLDER = "quarantine"


class Held(NamedTuple):
    """What is in a quarantine."""

    n_files: int
    n_bytes: int


def put(journal: Path, name: str, data: bytes) -> None:
    """Keep bytes under a name in the quarantine of a journal, readable for their owner only.

    Raises:
        OSError: They cannot be written.
    """
    folder = journal / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    fd = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(fd)  # what it was copied from is deleted next


def held_in(journal: Path) -> Held:
    """Return how much is in the quarantine of a journal."""
    try:
        sizes = [path.stat().st_size for path in (journal / FOLDER).iterdir() if path.is_file()]
    except OSError:  # there is none, or somebody is emptying it
        return Held(0, 0)
    return Held(len(sizes), sum(sizes))
