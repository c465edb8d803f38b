"""``toollog export lint``: what is wrong with training files, ours or anybody's."""

from pathlib import Path
from typing import Any

import click

from tarx_toollog.cli.app import App, pass_app
from tarx_toollog.cli.options import json_option
from tarx_toollog.cli.output import Output, emit_object
from tarx_toollog.errors import CheckFailedError, ConfigError
from tarx_toollog.export.manifest import LINEAGE_FILE
from tarx_toollog.export.template.codes import CODES
from tarx_toollog.export.template.findings import LintOptions, LintReport
from tarx_toollog.export.template.lint import lint_files
from tarx_toollog.export.template.load import load_template


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path), metavar="FILE…")
@click.option("--template", metavar="server|FILE|trl:NAME", help="Hold the rows against this chat template, too.")
@click.option(
    "--max-tokens", type=click.IntRange(min=1), default=LintOptions().max_tokens, help="Limit of a row; 2048."
)
@click.option("--batch-size", type=click.IntRange(min=1), default=LintOptions().batch_size, help="Rows a batch; 4.")
@click.option(
    "--wire-form", is_flag=True, help="The reader turns argument strings into objects (openai, mistral, axolotl)."
)
@click.option("--trajectories", is_flag=True, help="Every answer of a row is learned, not only the last.")
@json_option
@pass_app
def lint(app: App, /, files: tuple[Path, ...], template: str | None, as_json: bool, **chosen: Any) -> None:
    """Say what is wrong with training files: JSONL of any shape that trainers read, or folders of it.

    Files that are used together (training, validation) are given together. Exit code 4 when there is an error.

    \b
    toollog export lint train/mlx/train.jsonl train/mlx/valid.jsonl --template server
    """
    loaded = load_template(app.settings(), template)
    options = LintOptions(served_sha=loaded.served_sha, **chosen)
    reports = [
        report for group in _groups(files) for report in lint_files(group, template=loaded.template, options=options)
    ]
    text = "\n".join(line for report in reports for line in _lines(report))
    emit_object({"files": [report.as_json() for report in reports]}, text, Output("json" if as_json else "auto"))
    if errors := sum(report.errors for report in reports):
        raise CheckFailedError(
            f"{errors} errors in {len(reports)} files", hint="docs/export-lint.md says what they mean"
        )


def _groups(files: tuple[Path, ...]) -> list[list[Path]]:
    """Return the files that are used together: those of one folder, without what only tells where lines come from."""
    found = [path for file in files for path in (sorted(file.rglob("*.jsonl")) if file.is_dir() else [file])]
    groups: dict[Path, list[Path]] = {}
    for path in found:
        if path.name != LINEAGE_FILE:
            groups.setdefault(path.parent, []).append(path)
    if not groups:
        raise ConfigError("no .jsonl file in these folders", hint="name a training file")
    return list(groups.values())


def _lines(report: LintReport) -> list[str]:
    verdict = f"{report.errors} errors, {report.warnings} warnings" if report.counts else "nothing to say"
    lines = [f"{report.path}: {report.rows} rows, {report.shape or 'unknown shape'}: {verdict}"]
    for code, count in report.counts.items():
        found = next((finding for finding in report.findings if finding.code == code), None)
        lines.append(f"  {CODES[code].severity:<7} {code:<24} {count:>6} × {CODES[code].what}")
        if found is not None:
            place = ", ".join(filter(None, [f"line {found.line}" if found.line else "", found.where, found.detail]))
            lines.append(f"          {place}" if place else "")
        lines.append(f"          → {CODES[code].mend}")
    return [line for line in lines if line]
