"""The scratch file of one export: every example once, with its texts, its figures and what was decided about it.

An export decides with everything before it (which rows are nearly the same, how many of a source there are, how long
the longest is), so it cannot write while it reads; and a million rows do not fit into memory. They wait here, in a
SQLite file beside the output that is removed at the end. It is nobody's data: no journal, no syncs. Texts lie in a
file of their own, and their places in a table of their own: decisions neither read nor rewrite them, and to fetch one
is one read.

What the values mean is the business of ``export``; here they are columns.
"""

import errno
import json
import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

_BATCH = 2000  # rows an insert: well below a megabyte of figures, a few of texts
_BUFFER = 2**20  # bytes
_PRAGMAS = ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE", "cache_size=-65536", "temp_store=FILE")

_SCHEMA = """
CREATE TABLE entry (
    key INTEGER PRIMARY KEY, hash BLOB, source TEXT NOT NULL,
    exchange_uid TEXT, exchange_id INTEGER, conversation_uid TEXT, turn_no INTEGER, step_no INTEGER, started_at REAL,
    file TEXT, line INTEGER, grp TEXT, registry TEXT, calls TEXT, n_offered INTEGER, tools INTEGER, label INTEGER,
    targets TEXT, answers TEXT, n_tokens INTEGER, n_trained INTEGER, tokens_from TEXT, parts TEXT, quality REAL,
    split TEXT, copies INTEGER NOT NULL DEFAULT 1, reason TEXT
);
CREATE TABLE body (
    key INTEGER PRIMARY KEY, start INTEGER NOT NULL, prompt INTEGER NOT NULL, answer INTEGER NOT NULL, rejected INTEGER
);
CREATE TABLE tools (id INTEGER PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE written (format TEXT, key INTEGER, copy INTEGER, file TEXT, line INTEGER, reason TEXT);
"""


class Answer(NamedTuple):
    """One of the answers that an example is learned from, where these are several."""

    calls: str
    """Names of its calls, joined by ``>``."""
    n_trained: int
    """Its tokens. In ``Entry.answers`` they only say which share of the example's tokens is its own."""
    exchange_uid: str | None = None
    exchange_id: int | None = None
    turn_no: int | None = None
    step_no: int | None = None


class Entry(NamedTuple):
    """One example's figures; a refused step has few of them."""

    key: int
    hash: bytes | None
    source: str
    exchange_uid: str | None = None
    exchange_id: int | None = None
    conversation_uid: str | None = None
    turn_no: int | None = None
    step_no: int | None = None
    started_at: float | None = None
    file: str | None = None
    line: int | None = None
    group: str | None = None
    """Name of a group that no split may tear apart, other than the conversation."""
    registry: str | None = None
    """What the conversation is kept for: train, dev or eval."""
    calls: str | None = None
    """Names of the calls in the answer, joined by ``>``."""
    n_offered: int = 0
    """Tools offered."""
    tools: int | None = None
    """Key of the text of the offered tools."""
    label: bool | None = None
    targets: str | None = None
    """Places of the messages to learn, as JSON; None for the last alone."""
    answers: str | None = None
    """JSON of an ``Answer`` for each of these places; ``learned`` reads it."""
    n_tokens: int | None = None
    n_trained: int | None = None
    tokens_from: str | None = None
    parts: str | None = None
    """What an estimate of its tokens needs, as JSON; None where they were counted."""
    quality: float = 0.0
    """Of several that are nearly the same, the one with the highest is kept."""
    split: str | None = None
    copies: int = 1
    reason: str | None = None
    """Why it is left out; None while it is in."""

    @property
    def learned(self) -> tuple[Answer, ...]:
        """The answers that are learned, with tokens that add up to ``n_trained``; empty for the last message alone."""
        if self.answers is None:
            return ()
        answers = [Answer(*values) for values in json.loads(self.answers)]
        total, before, found = sum(answer.n_trained for answer in answers) or 1, 0, []
        for answer in answers:
            until = before + answer.n_trained
            bounds = [(self.n_trained or 0) * end // total for end in (before, until)]
            found.append(answer._replace(n_trained=bounds[1] - bounds[0]))
            before = until
        return tuple(found)


class Body(NamedTuple):
    """One example's texts, each JSON."""

    prompt: str
    answer: str
    rejected: str | None = None


class Decision(NamedTuple):
    """What was decided about one example; None leaves a field as it is."""

    key: int
    split: str | None = None
    copies: int | None = None
    reason: str | None = None


class Written(NamedTuple):
    """Where a copy of an example stands in the files of a format, or why it does not."""

    format: str
    key: int
    copy: int
    file: str | None
    line: int | None
    reason: str | None = None


_N = len(Entry._fields)
_PLACE = "start, prompt, answer, rejected"  # of a body
_COLUMNS = ", ".join("grp" if name == "group" else name for name in Entry._fields)
_INSERT = f"INSERT INTO entry ({_COLUMNS}) VALUES ({', '.join('?' * _N)})"  # noqa: S608 - our own column names
_DECIDE = (
    "UPDATE entry SET split = COALESCE(?2, split), copies = COALESCE(?3, copies), reason = COALESCE(?4, reason) "
    "WHERE key = ?1"
)


class _Connection(sqlite3.Connection):
    """Says of a full disk what every other file says of it."""

    def execute(self, *args: Any) -> sqlite3.Cursor:
        with _full_disk():
            return super().execute(*args)

    def executemany(self, *args: Any) -> sqlite3.Cursor:
        with _full_disk():
            return super().executemany(*args)


@contextmanager
def _full_disk() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        if "full" in str(error) or "disk I/O" in str(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from error
        raise


class _Texts:
    """The file of the texts: each body is one run of bytes, known by its start and the lengths of its parts."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("xb+", buffering=_BUFFER)
        self._end = 0

    def add(self, body: Body) -> tuple[int, int, int, int | None]:
        """Append a body; return its start, and the bytes of prompt, answer and rejected answer."""
        prompt, answer = body.prompt.encode(), body.answer.encode()
        rejected = None if body.rejected is None else body.rejected.encode()
        start, text = self._end, b"".join((prompt, answer, rejected or b""))
        self._file.write(text)
        self._end += len(text)
        return start, len(prompt), len(answer), None if rejected is None else len(rejected)

    def flush(self) -> None:
        """Make what was added readable."""
        self._file.flush()

    def read(self, start: int, n_prompt: int, n_answer: int, n_rejected: int | None) -> Body:
        """Return a body; everything was flushed."""
        text = os.pread(self._file.fileno(), n_prompt + n_answer + (n_rejected or 0), start)
        end = n_prompt + n_answer
        rejected = None if n_rejected is None else text[end:].decode()
        return Body(text[:n_prompt].decode(), text[n_prompt:end].decode(), rejected)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Spool:
    """The scratch file. Used by one thread; ``close`` leaves its files to whoever removes their folder.

    Args:
        path: A file that does not exist; the texts lie beside it.

    Raises:
        OSError: From every method: the disk is full.
    """

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None, factory=_Connection)
        for pragma in _PRAGMAS:
            self._connection.execute(f"PRAGMA {pragma}")
        self._connection.executescript(_SCHEMA)
        self._connection.execute("BEGIN")
        self._entries: list[Entry] = []
        self._texts = _Texts(path.with_suffix(".texts"))
        self._bodies: list[tuple[int, int, int, int, int | None]] = []
        self._tools: dict[str, int] = {}
        self._written: list[Written] = []
        self.n_entries = 0

    def close(self) -> None:
        """Close the files."""
        self._connection.close()
        self._texts.close()

    # ---- in ---------------------------------------------------------------------------------------------------------

    def tools_key(self, text: str) -> int:
        """Return the key of a list of tools, which many examples share."""
        key = self._tools.get(text)
        if key is None:
            key = self._tools[text] = len(self._tools) + 1
            self._connection.execute("INSERT INTO tools VALUES (?, ?)", (key, text))
        return key

    def add(self, entry: Entry, body: Body | None) -> None:
        """Take in one example, or a step that was refused (without texts)."""
        self._entries.append(entry)
        self.n_entries += 1
        if body is not None:
            self._bodies.append((entry.key, *self._texts.add(body)))
        if len(self._entries) >= _BATCH:
            self._flush()

    def decide(self, decisions: Iterable[Decision]) -> None:
        """Write down decisions."""
        self._flush()
        self._connection.executemany(_DECIDE, decisions)

    def set_tokens(self, rows: Iterable[tuple[int, int, str, int]]) -> None:
        """Write down (tokens, tokens learned, where they come from, key)."""
        self._flush()
        self._connection.executemany(
            "UPDATE entry SET n_tokens = ?, n_trained = ?, tokens_from = ?, parts = NULL WHERE key = ?", rows
        )

    def note(self, written: Written) -> None:
        """Remember where a row was written."""
        self._written.append(written)
        if len(self._written) >= _BATCH:
            self._flush()

    def drop_longer(self, limit: int) -> None:
        """Give every example that has more tokens the reason ``too_long``."""
        self._flush()
        self._connection.execute("UPDATE entry SET reason = 'too_long' WHERE reason IS NULL AND n_tokens > ?", (limit,))

    def drop_duplicates(self) -> None:
        """Give all but the first of equal examples the reason ``duplicate``."""
        self._flush()
        self._connection.execute("CREATE INDEX IF NOT EXISTS by_hash ON entry (hash) WHERE reason IS NULL")
        self._connection.execute(
            "UPDATE entry SET reason = 'duplicate' WHERE reason IS NULL AND EXISTS (SELECT 1 FROM entry AS earlier "
            "WHERE earlier.hash = entry.hash AND earlier.reason IS NULL AND earlier.key < entry.key)"
        )

    def drop_unwritten(self) -> None:
        """Give every example that no format has written the reason that the first of them gave."""
        self._flush()
        if not self.figures("SELECT 1 FROM written WHERE reason IS NOT NULL LIMIT 1"):
            return
        self._connection.execute("CREATE INDEX IF NOT EXISTS by_key ON written (key)")
        self._connection.execute(
            "UPDATE entry SET reason = (SELECT written.reason FROM written WHERE written.key = entry.key "
            "ORDER BY written.rowid LIMIT 1) "
            "WHERE reason IS NULL AND EXISTS (SELECT 1 FROM written WHERE written.key = entry.key) "
            "AND NOT EXISTS (SELECT 1 FROM written WHERE written.key = entry.key AND written.file IS NOT NULL)"
        )

    # ---- out --------------------------------------------------------------------------------------------------------

    def entries(
        self,
        *,
        only_in: bool = True,
        only_grouped: bool = False,
        only_uncounted: bool = False,
        only_dialogues: bool = False,
    ) -> Iterator[Entry]:
        """Yield the figures of examples in order. Decisions may be made meanwhile.

        Args:
            only_in: Leave out what was left out.
            only_grouped: Only those of a named group.
            only_uncounted: Only those whose tokens nobody counted.
            only_dialogues: Only those that are learned from several answers.
        """
        self._flush()
        asked = {
            "reason IS NULL": only_in,
            "grp IS NOT NULL": only_grouped,
            "parts IS NOT NULL": only_uncounted,
            "answers IS NOT NULL": only_dialogues,
        }
        where = " AND ".join([condition for condition, is_asked in asked.items() if is_asked] or ["1"])
        last = 0
        while True:
            query = f"SELECT {_COLUMNS} FROM entry WHERE key > ? AND {where} ORDER BY key LIMIT {_BATCH}"  # noqa: S608
            rows = self._connection.execute(query, (last,)).fetchall()
            if not rows:
                return
            last = rows[-1][0]
            yield from map(Entry._make, rows)

    def body(self, key: int) -> Body | None:
        """Return the texts of one example; None for one that was refused before it had any."""
        self._flush()
        row = self._connection.execute(f"SELECT {_PLACE} FROM body WHERE key = ?", (key,)).fetchone()  # noqa: S608
        return None if row is None else self._texts.read(*row)

    def tools_text(self, key: int | None) -> str | None:
        """Return the text of a list of tools."""
        if key is None:
            return None
        text: str = self._connection.execute("SELECT text FROM tools WHERE id = ?", (key,)).fetchone()[0]
        return text

    def ordered(self, split: str) -> Iterator[tuple[Entry, Body]]:
        """Yield the examples of a split that are in, in order."""
        self._flush()
        columns = ", ".join(f"entry.{'grp' if name == 'group' else name}" for name in Entry._fields)
        query = (
            f"SELECT {columns}, {_PLACE} FROM entry JOIN body USING (key) "  # noqa: S608
            "WHERE reason IS NULL AND split = ? AND copies > 0 ORDER BY entry.key"
        )
        for row in self._connection.cursor().execute(query, (split,)):
            yield Entry._make(row[:_N]), self._texts.read(*row[_N:])

    def written(self, format_name: str | None = None) -> Iterator[tuple[Written, Entry]]:
        """Yield where rows were written, by format and in the order of the files."""
        self._flush()
        columns = ", ".join(f"entry.{'grp' if name == 'group' else name}" for name in Entry._fields)
        query = (
            f"SELECT format, written.key, copy, written.file, written.line, written.reason, {columns} "  # noqa: S608
            "FROM written JOIN entry USING (key) WHERE format = ?1 OR ?1 IS NULL ORDER BY written.rowid"
        )
        n_written = len(Written._fields)
        for row in self._connection.cursor().execute(query, (format_name,)):
            yield Written._make(row[:n_written]), Entry._make(row[n_written:])

    def figures(self, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of an aggregate over ``entry`` or ``written``: for reports."""
        self._flush()
        return self._connection.execute(query).fetchall()

    def _flush(self) -> None:
        if self._entries:
            self._connection.executemany(_INSERT, self._entries)
            self._entries.clear()
        if self._bodies:
            self._connection.executemany("INSERT INTO body VALUES (?, ?, ?, ?, ?)", self._bodies)
            self._texts.flush()
            self._bodies.clear()
        if self._written:
            self._connection.executemany("INSERT INTO written VALUES (?, ?, ?, ?, ?, ?)", self._written)
            self._written.clear()
