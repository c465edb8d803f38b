"""One export from beginning to end: select, normalise, drop doubles, write, account for every step."""

import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tarx_toollog.errors import ConfigError, NothingMatchedError, ToolLogError
from tarx_toollog.export.example import REASONS, Counts, Dropped, Example
from tarx_toollog.export.files import create_private, write_private
from tarx_toollog.export.formats import FORMATS, ExportFormat
from tarx_toollog.export.manifest import LINEAGE_FILE, MANIFEST_FILE, lineage_line, manifest_text
from tarx_toollog.export.normalise import normalise
from tarx_toollog.export.select import candidates, require_target
from tarx_toollog.store import queries
from tarx_toollog.store.filters import Filters
from tarx_toollog.store.log import ToolLog

Progress = Callable[[], object]
"""Called once for each step that was looked at."""


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What an export did, or, in a dry run, would have done."""

    format: str
    out: Path
    counts: Counts
    files: tuple[str, ...]
    """Relative to ``out``; empty in a dry run."""

    def as_json(self) -> dict[str, Any]:
        """Return the report for ``--json``."""
        return {"format": self.format, "out": str(self.out), **self.counts.as_json(), "files": list(self.files)}


def run_export(
    log: ToolLog,
    out: Path,
    format_name: str = "trl",
    filters: Filters | None = None,
    *,
    dry_run: bool = False,
    force: bool = False,
    progress: Progress | None = None,
) -> ExportReport:
    """Write the training data that the filters leave into the folder ``out``.

    Everything is written beside ``out`` and moved at the end: an export that fails leaves ``out`` as it was.

    Args:
        log: The store.
        out: A folder that does not exist or is empty.
        format_name: A name of ``FORMATS``.
        filters: What to take; all by default.
        dry_run: Do everything but write.
        force: Replace an earlier export in ``out``.
        progress: Called once for each step.

    Raises:
        NothingMatchedError: No example remains; the hint says why.
        ConfigError: The format is unknown, or ``out`` is in use.
        ToolLogError: ``out`` cannot be written.
    """
    export_format, chosen, counts = FORMATS.get(format_name), filters or Filters(), Counts()
    found = examples(log, chosen, counts, progress or (lambda: None))
    if dry_run:
        deque(found, maxlen=0)  # runs through, keeps nothing
        _require_some(counts)
        return ExportReport(format_name, out, counts, ())
    _require_free(out, force=force)
    try:
        files = _write(log, out, export_format, chosen, counts, found)
    except OSError as error:
        raise ToolLogError(f"cannot write {out}: {error.strerror}", hint="choose another folder") from error
    return ExportReport(format_name, out, counts, files)


def examples(log: ToolLog, filters: Filters, counts: Counts, progress: Progress) -> Iterator[Example]:
    """Yield the examples that the filters leave, each once, and count everything that is not yielded."""
    seen: set[str] = set()
    for trajectory in log.trajectories(filters):
        counts.trajectories += 1
        for candidate in candidates(trajectory):
            counts.steps += 1
            progress()
            try:
                require_target(candidate.step)
                example = normalise(candidate)
                if example.example_id in seen:
                    raise Dropped("duplicate")
            except Dropped as dropped:
                counts.dropped[dropped.reason] += 1
                continue
            seen.add(example.example_id)
            counts.examples += 1
            counts.notes.update(example.notes)
            yield example


def _write(
    log: ToolLog,
    out: Path,
    export_format: ExportFormat,
    filters: Filters,
    counts: Counts,
    found: Iterator[Example],
) -> tuple[str, ...]:
    last_exchange = queries.last_key(log.engine)  # before reading: all that came up to here had its chance
    out.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out.name}.partial-", dir=out.parent))  # mkdtemp makes it 0700
    try:
        with closing(export_format.writer(folder)) as writer, create_private(folder / LINEAGE_FILE) as lineage:
            for example in found:
                lineage.write(lineage_line(writer.add(example), example))
        _require_some(counts)
        text = manifest_text(
            folder,
            format_name=export_format.name,
            filters=filters,
            counts=counts,
            gaps=queries.losses(log.engine),
            last_exchange=last_exchange,
        )
        write_private(folder / MANIFEST_FILE, text)
        return _move(folder, out)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _move(folder: Path, out: Path) -> tuple[str, ...]:
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    names.sort(key=lambda name: name == MANIFEST_FILE)  # who sees a manifest sees a whole export
    (out / MANIFEST_FILE).unlink(missing_ok=True)
    for name in names:
        target = out / name
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / name).replace(target)
    return tuple(names)


def _require_free(out: Path, *, force: bool) -> None:
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file", hint="name a folder")
    if not force and out.is_dir() and any(out.iterdir()):
        raise ConfigError(f"{out} is not empty", hint="choose a new folder, or replace its export with --force")


def _require_some(counts: Counts) -> None:
    if counts.examples:
        return
    if not counts.steps:
        raise NothingMatchedError("no step of a conversation matched", hint="widen the filters: see `toollog log list`")
    reasons = "; ".join(f"{count} × {REASONS[reason]}" for reason, count in counts.dropped.most_common(3))
    raise NothingMatchedError(f"none of {counts.steps} steps can be trained on", hint=reasons)
