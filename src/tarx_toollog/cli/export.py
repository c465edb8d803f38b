"""``toollog export``: training data."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from tarx_toollog.cli.app import App, pass_app
from tarx_toollog.cli.datasets import diff, list_builds, show, why
from tarx_toollog.cli.export_lint import lint
from tarx_toollog.cli.options import COUNT, filter_options, json_option, output_options
from tarx_toollog.cli.output import Output, emit_object, emit_rows
from tarx_toollog.cli.progress import Progress
from tarx_toollog.errors import ConfigError, ToolLogError
from tarx_toollog.export.explain import Explanation
from tarx_toollog.export.formats import FORMATS
from tarx_toollog.export.gate import GateOptions
from tarx_toollog.export.options import BASE_MODEL, MAX_TOKENS, NEAR, ExportOptions
from tarx_toollog.export.pipeline import run_export
from tarx_toollog.export.report import report_text
from tarx_toollog.store.filters import Filters, parse_time

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def group() -> None:
    """Write training data: run, list, show, why, diff, lint, formats."""


for _command in (list_builds, show, why, diff, lint):
    group.add_command(_command)


def _options(*options: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Apply decorators so that ``--help`` shows them in the order in which they stand."""

    def decorate(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


_WHAT = _options(
    click.option(
        "--for", "formats", multiple=True, metavar="FORMAT", help="A consumer: mlx, trl …; may be repeated; mlx."
    ),
    click.option("--task", type=click.Choice(["sft", "dpo", "kto"]), default="sft", help="What to train; sft."),
    click.option("--unit", type=click.Choice(["step", "trajectory"]), default="step", help="What a row is; step."),
    click.option("--name", metavar="NAME", help="Name of the build; the next of v1, v2 …"),
    click.option("--replace-build", is_flag=True, help="Take NAME from a build whose process was killed."),
    click.option("--parent", metavar="BUILD", help="An earlier build whose assignments are kept."),
    click.option("--base-model", metavar="NAME", default=BASE_MODEL, help=f"The model to tune; {BASE_MODEL}."),
    click.option("--parquet", is_flag=True, help="Parquet beside JSONL, where the format's readers take it."),
)
_SOURCES = _options(
    click.option("--identity", multiple=True, type=_FILE, help="JSONL of questions and answers about itself."),
    click.option("--summaries", multiple=True, type=_FILE, help="JSONL of conversations with their summaries."),
    click.option("--synthetic", multiple=True, type=_FILE, help="JSONL of made dialogues."),
    click.option("--variants", multiple=True, metavar="RUN", help="A replay run to mine for pairs (dpo)."),
    click.option("--own-name", metavar="NAME", default="TARX", help="What the model is to call itself; TARX."),
    click.option("--own-author", metavar="NAME", help="Who makes it, as its answers may say."),
    click.option("--mix", metavar="SPEC", help="Weights: tool=1,chat=0.5,identity=x4,synthetic=1:max=2000."),
    click.option("--balance", metavar="SPEC", help="Limits by tool: tool:cap=300."),
    click.option("--negatives", type=float, metavar="SHARE", help="Share of answers without a call, tools offered."),
    click.option("--max-steps", type=COUNT, metavar="N", help="At most N rows a conversation."),
)
_STAGES = _options(
    click.option("--require-result", is_flag=True, help="Leave out calls whose result was never seen."),
    click.option("--min-feedback", type=float, default=0.0, metavar="N", help="Leave out what was labelled lower; 0."),
    click.option("--reasoning", type=click.Choice(["drop", "keep"]), default="drop", help="What it thought; drop."),
    click.option(
        "--redact", type=click.Choice(["all", "secrets", "off"]), default="all", help="What is taken out; all."
    ),
    click.option("--redact-rules", type=_FILE, metavar="FILE", help="Redaction rules of your own."),
    click.option("--near", metavar="0-1|off", default=str(NEAR), help=f"Similarity of near duplicates; {NEAR}."),
    click.option("--keep-duplicates", is_flag=True, help="Keep equal rows, too."),
    click.option("--no-decontaminate", is_flag=True, help="Keep what is in, or near to, a replay scenario."),
    click.option("--max-tokens", type=COUNT, default=MAX_TOKENS, help=f"Limit of a row; {MAX_TOKENS}."),
    click.option(
        "--overlong", type=click.Choice(["drop", "trim-turns", "trim-results"]), default="drop", help="Beyond it; drop."
    ),
    click.option("--tokens", metavar="server|URL", help="llama-server to count what was never counted."),
    click.option("--split-at", metavar="TIME", help="Split by time: before it train, from it on dev."),
    click.option("--template", metavar="server|FILE|trl:NAME", help="Chat template to hold rows against; server."),
    click.option("--seed", type=int, default=0, help="Of everything that is drawn; 0."),
)


@group.command()
@click.argument("out", type=click.Path(path_type=Path))
@_WHAT
@_SOURCES
@_STAGES
@click.option("--dry-run", is_flag=True, help="Write nothing; say what would be written and what not.")
@click.option(
    "--explain", "explained", metavar="EXAMPLE", help="Write nothing; tell all about one example or exchange."
)
@click.option("--no-record", is_flag=True, help="Do not keep the build in the database.")
@click.option("--force", is_flag=True, help="Replace the files of an earlier export in OUT.")
@filter_options()
@json_option
@pass_app
def run(
    app: App,
    /,
    out: Path,
    filters: Filters,
    dry_run: bool,
    explained: str | None,
    no_record: bool,
    force: bool,
    as_json: bool,
    **chosen: Any,
) -> None:
    """Write training data into the folder OUT: a folder for each --for.

    One row for each answer of the model that went well. A filter takes the turns in which something fits it;
    --limit counts turns.

    \b
    toollog export run train --for mlx --for trl
    toollog export run train --for mlx --since 7d --tool tarx_remember --dry-run
    toollog export run train --for mlx --identity identity.jsonl --mix tool=1,identity=x4
    """
    if chosen["tokens"] == "server":
        chosen["tokens"] = app.settings().upstream
    options = _export_options(filters, **chosen)
    with app.log() as log, Progress("steps", quiet=app.quiet) as progress:
        explanation = None if explained is None else Explanation(explained, log)
        report = run_export(
            log,
            out,
            options,
            dry_run=dry_run,
            force=force,
            record=not no_record,
            progress=progress,
            explain=explanation,
        )
    if explanation is not None:
        emit_object(explanation.as_json(), explanation.text(), Output("json" if as_json else "auto"))
        return
    try:
        emit_object(report.as_json(), report_text(report, dry_run=dry_run), Output("json" if as_json else "auto"))
    except ToolLogError as error:
        if dry_run:
            raise
        raise ToolLogError(error.message, hint=f"the export itself is complete: it is in {out}") from error


@group.command()
@output_options
def formats(output: Output) -> None:
    """List the formats that `export run --for` knows."""
    rows = (
        {
            "format": item.name,
            "tasks": ", ".join(sorted(item.tasks)),
            "units": ", ".join(sorted(item.units)),
            "about": item.about,
        }
        for item in FORMATS
    )
    emit_rows(rows, ("format", "tasks", "units", "about"), output, wrap=("about",))


def _export_options(filters: Filters, **chosen: Any) -> ExportOptions:
    return ExportOptions(
        formats=tuple(chosen["formats"]) or ("mlx",),
        filters=filters,
        gate=GateOptions(chosen["require_result"], chosen["min_feedback"]),
        keep_reasoning=chosen["reasoning"] == "keep",
        near=_near(chosen["near"]),
        exact=not chosen["keep_duplicates"],
        decontaminate=not chosen["no_decontaminate"],
        split_at=_time(chosen["split_at"]),
        **{name: chosen[name] for name in _AS_GIVEN},
    )


_AS_GIVEN = (
    *(
        "task",
        "unit",
        "name",
        "replace_build",
        "parent",
        "base_model",
        "parquet",
        "redact",
        "redact_rules",
        "max_tokens",
        "overlong",
    ),
    *(
        "identity",
        "summaries",
        "synthetic",
        "variants",
        "own_name",
        "own_author",
        "mix",
        "balance",
        "negatives",
        "max_steps",
    ),
    *("template", "seed", "tokens"),
)


def _near(text: str) -> float | None:
    if text == "off":
        return None
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"--near must be a number between 0 and 1, or off, not {text!r}") from None


def _time(text: str | None) -> datetime | None:
    return None if text is None else parse_time(text)
