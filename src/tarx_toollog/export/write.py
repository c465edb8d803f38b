"""The second pass: what is in goes to every chosen format, and the spool remembers where each row stands."""

import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import get_args

from tarx_toollog.errors import ConfigError, NothingMatchedError
from tarx_toollog.export.example import Dropped, Row, Split, Summary, Task, Unit
from tarx_toollog.export.formats import FORMATS, ExportFormat
from tarx_toollog.export.formats.base import FormatOptions, FormatWriter
from tarx_toollog.export.reasons import REASONS
from tarx_toollog.store.spool import Body, Entry, Spool, Written

_KNOWN_TOOLS = 1000  # texts of tools that are kept in memory


@dataclass(slots=True)
class FormatCounts:
    """What one format made of the rows."""

    rows: dict[Split, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    max_tokens: int = 0
    trained_tokens: int = 0
    """Of the training split, repetitions included."""

    @property
    def summary(self) -> Summary:
        """The figures that configurations need."""
        return Summary(dict(self.rows), self.max_tokens, self.trained_tokens)

    def add(self, row: Row) -> None:
        """Count a row that was written."""
        self.rows[row.split] = self.rows.get(row.split, 0) + 1
        self.max_tokens = max(self.max_tokens, row.n_tokens)
        if row.split == "train":
            self.trained_tokens += row.n_trained_tokens


def chosen_formats(names: Sequence[str], task: Task, unit: Unit) -> list[ExportFormat]:
    """Return the formats of these names.

    Raises:
        ConfigError: There is no such format, or it cannot be used for this task or unit.
    """
    formats = [FORMATS.get(name) for name in dict.fromkeys(names)]
    for one in formats:
        if task not in one.tasks:
            fitting = ", ".join(other.name for other in FORMATS if task in other.tasks and unit in other.units)
            raise ConfigError(f"{one.name} has no form for {task}", hint=f"formats that have one: {fitting}")
        if unit not in one.units:
            fitting = ", ".join(other.name for other in FORMATS if task in other.tasks and unit in other.units)
            raise ConfigError(
                f"{one.name} cannot learn a whole {unit}: it would learn too much or too little of it",
                hint=f"--unit step, or one of: {fitting}",
            )
    return formats


def check_formats(formats: Sequence[ExportFormat], folder: Path, options: FormatOptions) -> None:
    """Let every format refuse options that do not fit it: before hours of reading, not after them.

    Args:
        formats: Those that were chosen.
        folder: Does not exist; gone again afterwards.
        options: For the formats.

    Raises:
        ConfigError: A format cannot be written with these options.
    """
    for one in formats:
        (folder / one.name).mkdir(mode=0o700, parents=True)
        one.writer(folder / one.name, options).close()
    shutil.rmtree(folder)


def write_rows(
    spool: Spool,
    folder: Path,
    formats: Sequence[ExportFormat],
    options: FormatOptions,
    check: Callable[[Row], Iterable[str]],
    advance: Callable[[], object],
) -> tuple[Mapping[str, FormatCounts], Mapping[str, int]]:
    """Write every row that is in, each format into a folder of its name; one that can say none of them has no folder.

    Args:
        spool: With all decisions made.
        folder: Exists and is empty.
        formats: Those that were chosen.
        options: For the formats.
        check: Holds a row against the chat template and gives the codes of what it finds.
        advance: Called for each row.

    Returns:
        What each format made of the rows, and how many rows each code was found in.

    Raises:
        NothingMatchedError: No format can say any of them.
    """
    findings: Counter[str] = Counter()
    tools_text = lru_cache(_KNOWN_TOOLS)(spool.tools_text)
    counts = {one.name: FormatCounts() for one in formats}
    with ExitStack() as stack:
        writers = {}
        for one in formats:
            (folder / one.name).mkdir(mode=0o700)
            writers[one.name] = stack.enter_context(closing(one.writer(folder / one.name, options)))
        for split in get_args(Split):
            for entry, body in spool.ordered(split):
                advance()
                row = _row(entry, body, split, tools_text(entry.tools))
                findings.update(check(row))
                for name, writer in writers.items():
                    _write(spool, name, writer, row, entry, counts[name])
        for name, writer in writers.items():
            if counts[name].rows:
                writer.finish(counts[name].summary)
    for name, made in counts.items():
        if not made.rows:
            shutil.rmtree(folder / name)
    _require_rows(counts)
    return counts, dict(sorted(findings.items()))


def _require_rows(counts: Mapping[str, FormatCounts]) -> None:
    if any(one.rows for one in counts.values()):
        return
    lost = (
        f"{name}: {count} × {REASONS.get(reason, reason)}"
        for name, one in counts.items()
        for reason, count in one.dropped.items()
    )
    raise NothingMatchedError("no format can say any of the rows", hint="; ".join(lost))


def _write(spool: Spool, name: str, writer: FormatWriter, row: Row, entry: Entry, counts: FormatCounts) -> None:
    copies = entry.copies if row.split == "train" else 1
    for copy in range(copies):
        try:
            place = writer.add(row)
        except Dropped as dropped:
            counts.dropped[dropped.reason] = counts.dropped.get(dropped.reason, 0) + 1
            spool.note(Written(name, entry.key, copy, None, None, dropped.reason))
            return
        counts.add(row)
        spool.note(Written(name, entry.key, copy, place.file, place.line))


def _row(entry: Entry, body: Body, split: Split, tools_text: str | None) -> Row:
    return Row(
        example_id=(entry.hash or b"").hex(),
        split=split,
        source=entry.source,  # type: ignore[arg-type]  # it came from an Example
        prompt_text=body.prompt,
        answer_text=body.answer,
        tools_text=tools_text,
        n_tokens=entry.n_tokens or 0,
        n_trained_tokens=entry.n_trained or 0,
        tokens_from=entry.tokens_from or "estimate",  # type: ignore[arg-type]
        targets=tuple(json.loads(entry.targets)) if entry.targets else (),
        rejected_text=body.rejected,
        label=None if entry.label is None else bool(entry.label),
    )
