"""One export from beginning to end. Each stage has a module; here they are put in a row.

*Theory.* Two passes. The first looks at each example alone (gate, normalise, redact, contamination, budget) and leaves
what passes in a scratch file, the spool. Between them everything is decided that needs to know all the others: equal
and nearly equal rows, splits, the mix. The second pass writes what is in, from short to long, to every format. So
memory does not grow with the log, and a format knows the longest row before it writes its configuration.

Everything is written beside the output folder and moved at the end: an export that fails leaves it as it was.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from tarx_toollog.errors import ConfigError, NothingMatchedError, ToolLogError
from tarx_toollog.export.collect import Collector, estimate_rest
from tarx_toollog.export.decide import Decided, decide
from tarx_toollog.export.files import write_private
from tarx_toollog.export.formats import FORMATS, ExportFormat
from tarx_toollog.export.manifest import LINEAGE_FILE, MANIFEST_FILE, REPORT_FILE, manifest_text, write_lineage
from tarx_toollog.export.options import ExportOptions
from tarx_toollog.export.preparation import Preparation, prepared
from tarx_toollog.export.prior import Prior
from tarx_toollog.export.reading import Reading
from tarx_toollog.export.reasons import REASONS
from tarx_toollog.export.record import BuildRecord, begun
from tarx_toollog.export.report import (
    ExportReport,
    report_page,
    source_counts,
    split_counts,
    stage_counts,
    token_figures,
)
from tarx_toollog.export.scratch import rare_collections, scratch_folder
from tarx_toollog.export.server_tokens import ServerTokens
from tarx_toollog.export.verify import verify_files
from tarx_toollog.export.write import chosen_formats, write_rows
from tarx_toollog.store import queries
from tarx_toollog.store.datasets import Datasets
from tarx_toollog.store.log import ToolLog
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
        dry_run: Do everything but write.
        force: Replace an earlier export in ``out``.
        record: Keep the build in the database, so that it can be asked why a row is in or out.
        progress: Is told how far it is.
        explain: Called with the spool when everything is decided.

    Raises:
        NothingMatchedError: No example remains; the hint says why.
        ConfigError: The options do not fit together, or ``out`` is in use.
        ToolLogError: ``out`` cannot be written.
    """
    progress = progress or _Silent()
    formats = chosen_formats(options.formats, options.task, options.unit)
    if not dry_run:
        _require_free(out, force=force)
    try:
        with (
            rare_collections(),
            scratch_folder(None if dry_run else out) as folder,
            closing(Spool(folder / "spool.db")) as spool,
            prepared(log, options, folder) as ready,
        ):
            report = _decided(log, out, options, ready, spool, progress)
            if explain is not None:
                explain(spool)
            _require_some(report)
            if dry_run:
                return report
            with begun(log, options, ready, enabled=record) as build:
                report = _written(log, options, ready, spool, folder / "content", formats, build, report, progress)
                _require_free(out, force=force)  # another export may have been quicker
                build.keep(spool, report.facts(), json.loads((folder / "content" / MANIFEST_FILE).read_text())["files"])
                return replace(report, files=_move(folder / "content", out))
    except OSError as error:
        raise ToolLogError(f"cannot write {out}: {error.strerror}", hint="choose another folder") from error


def _decided(
    log: ToolLog, out: Path, options: ExportOptions, ready: Preparation, spool: Spool, progress: Progress
) -> ExportReport:
    """Run the first pass and all decisions; return what came of them."""
    prior = Prior() if options.parent is None else Prior(Datasets(log).prior(options.parent))
    reading = Reading(log, options, ready)
    progress.begin("steps read", ready.n_steps)
    with nullcontext() if options.tokens is None else ServerTokens(options.tokens) as server:
        collector = Collector(spool, options, ready.look, server)
        collector.take(reading.examples(progress.advance))
    if ready.judge is not None:
        progress.begin("evaluation compared")
        spool.decide(Decision(key, reason=reason) for key, reason in ready.judge.verdicts())
    estimate_rest(spool, collector.calibration)
    progress.begin("decisions")
    decided = decide(spool, options, ready.near, prior)
    splits = split_counts(spool)
    return ExportReport(
        build=None,
        out=out,
        config=options.as_json(),
        stages=stage_counts(spool),
        sources=source_counts(spool),
        splits=splits,
        tokens=token_figures(spool),
        accounting=decided.accounting,
        tables=decided.tables,
        weights=decided.weights,
        template_hash=ready.template_hash,
        notes=dict(sorted(collector.notes.items())),
        redactions=ready.cleaner.counts,
        warnings=(*ready.warnings, *_about(splits, reading), *_untrained(options, decided)),
        imports=tuple(reading.imports),
        gaps={row["kind"]: row["n"] for row in queries.losses(log.engine)},
    )


def _about(splits: Mapping[str, object], reading: Reading) -> Iterator[str]:
    for name, count in sorted(reading.claims.items()):
        yield f"in {count} answers the model calls itself {name}"
    for imported in reading.imports:
        for code, count in imported["warnings"].items():
            yield f"{imported['file']}: {count} × {code}"
    if splits and "train" not in splits:
        yield "no example is for training: the conversations that match are kept for development or evaluation"
    if "train" in splits and "dev" not in splits:
        yield "no example is for validation: a young log may have no conversation that is kept for development"


def _untrained(options: ExportOptions, decided: Decided) -> Iterator[str]:
    files = {"identity": options.identity, "summary": options.summaries, "synthetic": options.synthetic}
    for source, paths in files.items():
        if paths and source not in decided.accounting["sources"]:
            names = ", ".join(path.name for path in paths)
            yield f"no row of {names} is for training: paraphrases stay together, and chance chose their split"


def _written(
    log: ToolLog,
    options: ExportOptions,
    ready: Preparation,
    spool: Spool,
    content: Path,
    formats: Sequence[ExportFormat],
    build: BuildRecord,
    report: ExportReport,
    progress: Progress,
) -> ExportReport:
    """Run the second pass, and read what it wrote."""
    content.mkdir(mode=0o700)
    progress.begin("rows written", report.n_examples)
    asked = ready.format_options(options, options.name or "dataset", log.settings.upstream)
    counts, findings = write_rows(spool, content, formats, asked, ready.template_check, progress.advance)
    progress.begin("rows verified", sum(sum(one.rows.values()) for one in counts.values()))
    verify_files(content, spool, progress.advance)
    write_lineage(content, spool)
    report = replace(report, build=build.name, formats=counts, lint=findings)
    write_private(content / REPORT_FILE, report_page(report))
    manifest = manifest_text(content, report.facts(), last_exchange=ready.last_exchange)
    write_private(content / MANIFEST_FILE, manifest)
    return report


def _move(folder: Path, out: Path) -> tuple[str, ...]:
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    names.sort(key=lambda name: name == MANIFEST_FILE)  # who sees a manifest sees a whole export
    (out / MANIFEST_FILE).unlink(missing_ok=True)
    if out.is_dir():
        _remove_earlier(out)
    for name in names:
        target = out / name
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        (folder / name).replace(target)
    return tuple(names)


def _remove_earlier(out: Path) -> None:
    """Take away what an earlier export wrote: a ``valid.jsonl`` of last week would be trained on today."""
    for known in FORMATS:
        shutil.rmtree(out / known.name, ignore_errors=True)
    for name in (LINEAGE_FILE, REPORT_FILE):
        (out / name).unlink(missing_ok=True)


def _require_free(out: Path, *, force: bool) -> None:
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file", hint="name a folder")
    if not force and out.is_dir() and any(out.iterdir()):
        raise ConfigError(f"{out} is not empty", hint="choose a new folder, or replace its export with --force")


def _require_some(report: ExportReport) -> None:
    if report.n_examples:
        return
    total = report.stages[0].n_in
    if not total:
        raise NothingMatchedError("no step of a conversation matched", hint="widen the filters: see `toollog log list`")
    dropped = {reason: count for stage in report.stages for reason, count in stage.dropped.items()}
    most = sorted(dropped.items(), key=lambda item: -item[1])[:3]
    reasons = "; ".join(f"{count} × {REASONS[reason]}" for reason, count in most)
    raise NothingMatchedError(f"none of {total} examples can be trained on", hint=reasons)
