"""What an export did, in figures: for ``--json``, the manifest, the terminal and ``REPORT.md``."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tarx_toollog.export.markdown import one_line
from tarx_toollog.export.stages import StageCount, reason_lines, stage_lines, stage_table
from tarx_toollog.export.template.codes import CODES
from tarx_toollog.export.write import FormatCounts
from tarx_toollog.store.spool import Spool

_BOUNDS = (512, 1024, 2048, 4096, 8192, 16_384, 32_768)
_SOURCES = "SELECT source, COUNT(*) FROM entry GROUP BY source ORDER BY source"
_SPLITS = (
    "SELECT split, COUNT(*), COUNT(DISTINCT conversation_uid) FROM entry "
    "WHERE reason IS NULL AND copies > 0 GROUP BY split ORDER BY split"
)
_TOKENS = (
    "SELECT MIN(n_tokens), MAX(n_tokens), SUM(n_tokens), SUM(n_trained), COUNT(*) FROM entry "
    "WHERE reason IS NULL AND copies > 0"
)
_NOTES = {
    "reasoning_left_out": "what the model thought was left out of the answer",
    "retry_text_left_out": "the words beside a call that was made again were left out",
    "shortened": "made shorter, to fit the limit of tokens",
}
_FROM = "SELECT tokens_from, COUNT(*) FROM entry WHERE reason IS NULL GROUP BY tokens_from ORDER BY tokens_from"


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What an export did, or, in a dry run, would have done."""

    build: str | None
    """Name of the build in the database; None when it was not recorded."""
    out: Path
    config: Mapping[str, Any]
    stages: tuple[StageCount, ...]
    sources: Mapping[str, int]
    """Examples by source, refused ones included."""
    splits: Mapping[str, Mapping[str, int]]
    """By split: examples and conversations."""
    tokens: Mapping[str, Any]
    accounting: Mapping[str, Any] = field(default_factory=dict)
    """Of the training split: rows and trained tokens by source, tool and place in the chain."""
    tables: str = ""
    """The same as Markdown tables."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Weight of each source in the mix."""
    template_hash: str | None = None
    """Content hash of the chat template that the rows were held against."""
    formats: Mapping[str, FormatCounts] = field(default_factory=dict)
    notes: Mapping[str, int] = field(default_factory=dict)
    imports: tuple[Mapping[str, Any], ...] = ()
    """What the import of each file tells."""
    redaction_policy: str = ""
    """Hash of the rules of redaction."""
    redaction_key: str | None = None
    """Fingerprint of the key that marks are made with; None where none are made. Another key, other marks."""
    redactions: Mapping[str, int] = field(default_factory=dict)
    lint: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    gaps: Mapping[str, int] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    """Relative to ``out``; empty in a dry run."""

    @property
    def n_examples(self) -> int:
        """Examples that are in."""
        return self.written.n_out

    @property
    def written(self) -> StageCount:
        """The stage of writing: what comes before it counts examples, what comes behind it lines."""
        return next(stage for stage in self.stages if stage.stage == "write")

    def facts(self) -> dict[str, Any]:
        """Return what depends on the database and the options alone, in a fixed order: for the manifest."""
        return {
            "config": dict(self.config),
            "stages": [
                {"stage": one.stage, "in": one.n_in, "out": one.n_out, "dropped": dict(one.dropped)}
                for one in self.stages
            ],
            "sources": dict(self.sources),
            "splits": {split: dict(counts) for split, counts in self.splits.items()},
            "tokens": dict(self.tokens),
            "weights": dict(self.weights),
            "trained": dict(self.accounting),
            "template_hash": self.template_hash,
            "formats": {
                name: {
                    "rows": dict(one.rows),
                    "dropped": dict(one.dropped),
                    "max_tokens": one.max_tokens,
                    "trained_tokens": one.trained_tokens,
                }
                for name, one in self.formats.items()
            },
            "notes": dict(self.notes),
            "imports": [dict(one) for one in self.imports],
            "redaction_policy": self.redaction_policy,
            "redaction_key": self.redaction_key,
            "redactions": dict(sorted(self.redactions.items())),
            "lint": dict(self.lint),
            "warnings": list(self.warnings),
            "gaps": dict(self.gaps),
        }

    def as_json(self) -> dict[str, Any]:
        """Return the report for ``--json``."""
        return {"build": self.build, "out": str(self.out), **self.facts(), "files": list(self.files)}


def source_counts(spool: Spool) -> dict[str, int]:
    """Return the examples of each source, refused ones included."""
    return dict(spool.figures(_SOURCES))


def split_counts(spool: Spool) -> dict[str, dict[str, int]]:
    """Return the examples and conversations of each split."""
    return {
        split: {"examples": examples, "conversations": conversations}
        for split, examples, conversations in spool.figures(_SPLITS)
        if split is not None
    }


def token_figures(spool: Spool) -> dict[str, Any]:
    """Return the lengths of the rows: smallest, largest, sums, a histogram, and who counted them."""
    low, high, total, trained, n_rows = spool.figures(_TOKENS)[0]
    cases = " ".join(f"WHEN n_tokens <= {bound} THEN {bound}" for bound in _BOUNDS)
    bins = spool.figures(
        f"SELECT CASE {cases} ELSE 0 END, COUNT(*) FROM entry WHERE reason IS NULL AND copies > 0 GROUP BY 1"  # noqa: S608
    )
    counted = dict(bins)
    return {
        "min": low or 0,
        "max": high or 0,
        "sum": total or 0,
        "trained": trained or 0,
        "mean": round((total or 0) / n_rows) if n_rows else 0,
        "from": dict(spool.figures(_FROM)),
        "histogram": {
            **{f"≤ {bound}": counted[bound] for bound in _BOUNDS if bound in counted},
            **({f"> {_BOUNDS[-1]}": counted[0]} if 0 in counted else {}),
        },
    }


def report_text(report: ExportReport, *, dry_run: bool = False) -> str:
    """Return the report for a terminal."""
    verb = "would write" if dry_run else "wrote"
    total = sum(report.sources.values())
    lines = [f"{verb} {report.n_examples} of {total} examples" + (f" as build {report.build}" if report.build else "")]
    lines += stage_lines(report.stages)
    lines += [
        f"  {split:<14} {counts['examples']:>8} examples of {counts['conversations']} conversations"
        for split, counts in report.splits.items()
    ]
    tokens = report.tokens
    if report.n_examples:
        lines.append(f"  tokens         {tokens['min']}–{tokens['max']} a row, {tokens['trained']} of them learned")
    for name, one in report.formats.items():
        rows = ", ".join(f"{split} {count}" for split, count in one.rows.items())
        lost = f"; left out {sum(one.dropped.values())}" if one.dropped else ""
        lines.append(f"  {report.out / name}: {rows or 'nothing'}{lost}")
        lines += reason_lines(one.dropped)
    lines += [f"warning: {warning}" for warning in report.warnings]
    lines += [f"warning: {code} in {count} rows: {CODES[code].what}" for code, count in report.lint.items()]
    return "\n".join(lines)


def report_page(report: ExportReport) -> str:
    """Return the report as a Markdown page, to lie beside the files."""
    lines = ["# What is in this folder, and why", "", *stage_table(report.stages)]
    lines += ["", "| split | examples | conversations |", "|---|--:|--:|"]
    lines += [
        f"| {split} | {counts['examples']:,} | {counts['conversations']:,} |" for split, counts in report.splits.items()
    ]
    tokens = report.tokens
    lines += ["", f"Rows have {tokens['min']:,} to {tokens['max']:,} tokens, {tokens['mean']:,} on average.", ""]
    lines += ["| tokens of a row | rows |", "|---|--:|"]
    lines += [f"| {bound} | {count:,} |" for bound, count in tokens["histogram"].items()]
    lines += ["", "Counted by: " + ", ".join(f"{how} {count:,}" for how, count in tokens["from"].items()) + ".", ""]
    lines += ["## What is learned", "", report.tables]
    lines += ["## Files", "", "| format | split | rows | left out |", "|---|---|--:|---|"]
    for name, counts in report.formats.items():
        lost = ", ".join(f"{count:,} × `{reason}`" for reason, count in counts.dropped.items())
        lines += [f"| {name} | {split} | {rows:,} | {lost} |" for split, rows in counts.rows.items()]
        lines += [] if counts.rows else [f"| {name} | – | 0 | {lost} |"]
    if report.notes:
        lines += ["", "## What was changed in examples", ""]
        lines += [f"- {count:,} × {_NOTES.get(note, note)} (`{note}`)" for note, count in report.notes.items()]
    if report.warnings or report.lint:
        lines += ["", "## Look at this", ""]
        lines += [f"- {one_line(warning)}" for warning in report.warnings]
        lines += [f"- `{code}` in {count:,} rows (docs/export-lint.md)" for code, count in report.lint.items()]
    return "\n".join(lines) + "\n"
