"""One export from beginning to end. Each stage has a module; here they are put in a row.

*Theory.* Two passes. The first looks at each example alone (gate, normalise, redact, contamination, budget) and leaves
what passes in a scratch file, the spool. Between them everything is decided that needs to know all the others: equal
and nearly equal rows, splits, the mix. The second pass writes what is in, in the order in which it was read, to every
format. So memory does not grow with the log.

Everything is written into a hidden folder and moved at the end: an export that fails leaves the output as it was. The
build is finished when its files are in their place, not before.
"""

import json
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from tarx_toollog.canonical import bytes_hash
from tarx_toollog.errors import NothingMatchedError, ToolLogError
from tarx_toollog.export.collect import Collector, estimate_rest
from tarx_toollog.export.decide import accounted, decide
from tarx_toollog.export.example import Example, Refused
from tarx_toollog.export.files import write_private
from tarx_toollog.export.formats import ExportFormat, FormatOptions
from tarx_toollog.export.manifest import MANIFEST_FILE, REPORT_FILE, manifest_text, write_lineage
from tarx_toollog.export.options import ExportOptions
from tarx_toollog.export.placing import place, require_free, resolved
from tarx_toollog.export.preparation import Preparation, prepared
from tarx_toollog.export.prior import Prior
from tarx_toollog.export.reading import Reading
from tarx_toollog.export.reasons import REASONS
from tarx_toollog.export.record import BuildRecord, begun, require_writable
from tarx_toollog.export.remarks import about_formats, about_sources, about_splits, about_untrained
from tarx_toollog.export.report import (
    ExportReport,
    report_page,
    source_counts,
    split_counts,
    token_figures,
)
from tarx_toollog.export.scratch import alone, is_of, rare_collections, scratch_folder
from tarx_toollog.export.server_tokens import ServerTokens
from tarx_toollog.export.stages import StageCount, log_stages, stage_counts, verified
from tarx_toollog.export.verify import verify_files
from tarx_toollog.export.write import FormatCounts, check_formats, chosen_formats, write_rows
from tarx_toollog.store.answers import queries
from tarx_toollog.store.datasets import Datasets
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.secret import load_secret
from tarx_toollog.store.spool import Decision, Spool


class Progress(Protocol):
    """Is told what is being done, and how far it is."""

    def begin(self, label: str, total: int | None = None) -> None:
        """Say what is counted from now on."""

    def advance(self, count: int = 1) -> None:
        """Say that more is done."""


class _Silent:
    def begin(self, label: str, total: int | None = None) -> None:
        pass

    def advance(self, count: int = 1) -> None:
        pass


Explain = Callable[[Spool], None]
"""Looks into the spool when everything is decided."""


def run_export(
    log: ToolLog,
    out: Path,
    options: ExportOptions,
    *,
    dry_run: bool = False,
    force: bool = False,
    record: bool = True,
    progress: Progress | None = None,
    explain: Explain | None = None,
) -> ExportReport:
    """Write training data into the folder ``out``, a folder for each format.

    Args:
        log: The store, open for reading.
        out: A folder that does not exist or is empty.
        options: What to write.
        dry_run: Do everything, but leave nothing: the rows are written into a scratch folder, to know what each
            format can say, and neither moved nor recorded.
        force: Replace an earlier export in ``out``.
        record: Keep the build in the database, so that it can be asked why a row is in or out.
        progress: Is told how far it is.
        explain: Called with the spool when everything is decided; then nothing is written.

    Raises:
        NothingMatchedError: No example remains; the hint says why.
        ConfigError: The options do not fit together, or ``out`` is in use.
        ToolLogError: ``out`` cannot be written.
    """
    formats = chosen_formats(options.formats, options.task, options.unit)
    leaves_nothing = dry_run or explain is not None
    if explain is None:
        require_free(out, force=force, formats=options.formats)
        if record:
            _require_recordable(log, options, dry_run=dry_run)
    home = resolved(out)
    try:
        with (
            nullcontext() if leaves_nothing else alone(home),
            rare_collections(),
            scratch_folder(None if leaves_nothing else home) as folder,
            closing(Spool(folder / "spool.db")) as spool,
            prepared(log, options, folder) as ready,
        ):
            run = _Run(log, out, options, ready, spool, progress or _Silent(), formats)
            seen = run.read(folder / "check")
            if explain is not None:
                explain(spool)
                return run.report(seen)
            content = folder / "content"
            report = run.write(seen, content)
            if dry_run:
                return report
            with begun(log, options, ready, enabled=record) as build:
                report = run.verify(content, replace(report, build=build.name))
                run.keep(build)
                require_free(out, force=force)  # somebody else may have put something there
                return run.place(content, home, build, report)
    except OSError as error:
        raise _explained(error, out, is_temporary=leaves_nothing) from error


def _require_recordable(log: ToolLog, options: ExportOptions, *, dry_run: bool) -> None:
    if options.name is not None:
        Datasets(log).require_free(options.name, replace=options.replace_build)
    if not dry_run:
        require_writable(log)


def _explained(error: OSError, out: Path, *, is_temporary: bool) -> ToolLogError:
    """Say which file cannot be used: one of those that are read, or the output, to which everything else belongs."""
    what = error.strerror or str(error)
    named = isinstance(error.filename, str | bytes)
    if named and not is_of(error.filename, None if is_temporary else resolved(out)):
        return ToolLogError(f"cannot use {error.filename}: {what}", hint="see who owns it, and who may read it")
    if is_temporary:
        return ToolLogError(f"cannot write {tempfile.gettempdir()}: {what}", hint="set TMPDIR to another folder")
    return ToolLogError(f"cannot write {out}: {what}", hint="choose another folder")


@dataclass(frozen=True, slots=True)
class _Seen:
    """What came of the first pass and the decisions, beside what is in the spool."""

    reading: Reading
    notes: Mapping[str, int]
    weights: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class _Run:
    """One export: what all its parts share, and the parts in their order."""

    log: ToolLog
    out: Path
    options: ExportOptions
    ready: Preparation
    spool: Spool
    progress: Progress
    formats: list[ExportFormat]

    def read(self, trial: Path) -> _Seen:
        """Run the first pass and all decisions; what cannot work is refused before."""
        options, ready, spool, progress = self.options, self.ready, self.spool, self.progress
        check_formats(self.formats, trial, self._asked)
        prior = Prior() if options.parent is None else Prior(Datasets(self.log).prior(options.parent))
        reading = Reading(self.log, options, ready)
        progress.begin("steps read", ready.captured.n_meant)
        with nullcontext() if options.tokens is None else ServerTokens(options.tokens) as server:
            collector = Collector(spool, options, ready.look, server)
            collector.take(_told(reading.examples(progress.advance), progress))
        if ready.judge is not None:
            progress.begin("evaluation compared")
            spool.decide(Decision(key, reason=reason) for key, reason in ready.judge.verdicts())
        estimate_rest(spool, collector.calibration)
        progress.begin("decisions")
        weights = decide(spool, options, ready.near, prior)
        return _Seen(reading, dict(sorted(collector.notes.items())), weights)

    def write(self, seen: _Seen, content: Path) -> ExportReport:
        """Run the second pass."""
        n_rows = _require_some(stage_counts(self.spool))
        content.mkdir(mode=0o700)
        self.progress.begin("rows written", n_rows)
        counts, findings = write_rows(
            self.spool, content, self.formats, self._asked, self.ready.template_check, self.progress.advance
        )
        if all(one.dropped for one in counts.values()):
            self.spool.drop_unwritten()
        report = self.report(seen, counts)
        written = [path.name for path in content.rglob("*")]
        remarks = about_formats(self.options, self.formats, counts, written)
        return replace(report, lint=findings, warnings=(*report.warnings, *remarks))

    def verify(self, content: Path, report: ExportReport) -> ExportReport:
        """Read what was written, and write what stands beside it; return the report with this stage."""
        n_written = sum(sum(one.rows.values()) for one in report.formats.values())
        self.progress.begin("rows verified", n_written)
        n_lines = verify_files(content, self.spool, self.progress.advance)
        report = replace(report, stages=(*report.stages, verified(n_written, n_lines)))
        self.progress.begin("lineage and hashes")
        write_lineage(content, self.spool)
        write_private(content / REPORT_FILE, report_page(report))
        manifest = manifest_text(content, report.facts(), last_exchange=self.ready.last_exchange)
        write_private(content / MANIFEST_FILE, manifest)
        return report

    def keep(self, build: BuildRecord) -> None:
        """Write the examples of the build down in the database."""
        self.progress.begin("build recorded")
        build.add(self.spool)

    def place(self, content: Path, home: Path, build: BuildRecord, report: ExportReport) -> ExportReport:
        """Move everything to its place, and only then call the build whole; return the report with the files."""
        listed = json.loads((content / MANIFEST_FILE).read_bytes())["files"]
        files = place(content, home)
        build.finish(report.facts(), listed)
        return replace(report, files=files)

    def report(self, seen: _Seen, counts: Mapping[str, FormatCounts] | None = None) -> ExportReport:
        """Return what was done so far."""
        options, ready, spool = self.options, self.ready, self.spool
        accounting, splits = accounted(spool), split_counts(spool)
        trained = accounting.as_json()
        remarks = (
            *about_sources(seen.reading),
            *about_splits(splits),
            *about_untrained(options, spool, trained["sources"]),
        )
        return ExportReport(
            build=None,
            out=self.out,
            config=options.as_json(),
            stages=(*log_stages(ready.captured, seen.reading.n_read, spool), *stage_counts(spool)),
            sources=source_counts(spool),
            splits=splits,
            tokens=token_figures(spool),
            accounting=trained,
            tables=accounting.as_text(),
            weights=seen.weights,
            template_hash=ready.template_hash,
            formats=counts or {},
            notes=seen.notes,
            redaction_policy=ready.cleaner.policy_id,
            redaction_key=None if options.redact == "off" else _fingerprint(load_secret(self.log.settings)),
            redactions=ready.cleaner.counts,
            warnings=(*ready.warnings, *remarks),
            imports=tuple(seen.reading.imports),
            gaps={row["kind"]: row["n"] for row in queries.losses(self.log.engine)},
        )

    @property
    def _asked(self) -> FormatOptions:
        return self.ready.format_options(self.options, self.log.settings.upstream)


def _told(found: Iterable[Example | Refused], progress: Progress) -> Iterator[Example | Refused]:
    """Yield what is read, and tell of the rows of files, which come behind the steps of the log."""
    is_file = False
    for item in found:
        if item.origin.file is not None:
            if not is_file:
                progress.begin("rows of files read")
                is_file = True
            progress.advance()
        yield item


def _fingerprint(key: bytes) -> str:
    return bytes_hash("redaction_key", key).hex()[:16]


def _require_some(stages: tuple[StageCount, ...]) -> int:
    """Return how many examples are in.

    Raises:
        NothingMatchedError: None.
    """
    if stages[-1].n_out:
        return stages[-1].n_out
    total = stages[0].n_in
    if not total:
        raise NothingMatchedError("no step of a conversation matched", hint="widen the filters: see `toollog log list`")
    dropped = {reason: count for stage in stages for reason, count in stage.dropped.items()}
    most = sorted(dropped.items(), key=lambda item: -item[1])[:3]
    reasons = "; ".join(f"{count} × {REASONS[reason]}" for reason, count in most)
    raise NothingMatchedError(f"none of {total} examples can be trained on", hint=reasons)
