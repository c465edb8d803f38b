"""``toollog export``: training data."""

from pathlib import Path

import click

from tarx_toollog.cli.app import App, pass_app
from tarx_toollog.cli.options import filter_options, json_option, output_options
from tarx_toollog.cli.output import Output, emit_object, emit_rows
from tarx_toollog.cli.progress import Progress
from tarx_toollog.export.example import REASONS
from tarx_toollog.export.formats import FORMATS
from tarx_toollog.export.pipeline import ExportReport, run_export
from tarx_toollog.store.filters import Filters


@click.group()
def group() -> None:
    """Write training data: run, formats."""


@group.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--for", "format_name", metavar="FORMAT", default="trl", help="See `toollog export formats`; default: trl."
)
@click.option("--dry-run", is_flag=True, help="Write nothing; say what would be written and what not.")
@click.option("--force", is_flag=True, help="Replace the files of an earlier export in OUT.")
@filter_options()
@json_option
@pass_app
def run(app: App, out: Path, format_name: str, dry_run: bool, force: bool, filters: Filters, as_json: bool) -> None:
    """Write training data into the folder OUT.

    One row for each answer of the model that went well. A filter takes the turns in which something fits it;
    --limit counts turns.

    \b
    toollog export run train --since 7d --tool tarx_remember
    toollog export run train --dry-run
    """
    with app.log() as log, Progress("steps", quiet=app.quiet) as progress:
        report = run_export(log, out, format_name, filters, dry_run=dry_run, force=force, progress=progress.advance)
    emit_object(report.as_json(), _text(report, dry_run=dry_run), Output("json" if as_json else "auto"))


@group.command()
@output_options
def formats(output: Output) -> None:
    """List the formats that `export run --for` knows."""
    rows = ({"format": item.name, "about": item.about} for item in FORMATS)
    emit_rows(rows, ("format", "about"), output, wrap=("about",))


def _text(report: ExportReport, *, dry_run: bool) -> str:
    counts = report.counts
    verb = "would write" if dry_run else "wrote"
    lines = [f"{verb} {counts.examples} examples from {counts.steps} steps of {counts.trajectories} turns"]
    lines += [f"  left out {counts.dropped[name]:>6}  {why}" for name, why in REASONS.items() if counts.dropped[name]]
    lines += [f"  {report.out / name}" for name in report.files]
    return "\n".join(lines)
