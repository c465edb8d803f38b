"""Decorators that several commands share: filters, output formats."""

from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click
from click.core import ParameterSource

from tarx_toollog.cli.output import Output
from tarx_toollog.model import Outcome
from tarx_toollog.store.splits import SPLITS

Command = TypeVar("Command", bound=Callable[..., Any])

COUNT = click.IntRange(min=1, max=2**31 - 1)
"""A limit that a person gives: SQLite takes a little more, and no log has as many rows."""

_FILTERS = (
    "since",
    "until",
    "tools",
    "models",
    "builds",
    "outcomes",
    "splits",
    "conversation",
    "labels",
    "where",
    "limit",
)


def filter_options(*, limit: int | None = None) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Add the options that say which part of the log is meant, ``--since`` to ``--limit``: they become ``filters``.

    Args:
        limit: How many there are at most when the person does not say; None is all.
    """

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(function)
        def with_filters(*args: Any, **options: Any) -> Any:
            from tarx_toollog.store.filters import Filters  # SQLAlchemy: only when a command runs

            given = {name: options.pop(name) for name in _FILTERS}
            return function(*args, filters=Filters.parse(**given), **options)

        shown = "all" if limit is None else str(limit)
        for option in (
            click.option("-n", "--limit", type=COUNT, default=limit, help=f"At most N; {shown}."),
            click.option(
                "--where",
                metavar="SQL",
                help='A condition over the columns of v_exchanges, v_tool_calls or v_turns: "latency_ms > 1000".',
            ),
            click.option(
                "--label",
                "labels",
                multiple=True,
                metavar="NAME[=VALUE]",
                help="A label on it, its calls or its conversation: quality=bad; may be repeated.",
            ),
            click.option("--conversation", metavar="ID", help="A conversation: its id, the beginning of it, or yours."),
            click.option(
                "--split",
                "splits",
                multiple=True,
                type=click.Choice(SPLITS),
                help="What the conversation is kept for; may be repeated.",
            ),
            click.option(
                "--outcome",
                "outcomes",
                multiple=True,
                type=click.Choice([str(outcome) for outcome in Outcome]),
                help="How the exchange ended; may be repeated.",
            ),
            click.option("--build", "builds", multiple=True, metavar="NAME", help="A build or label; may be repeated."),
            click.option("--model", "models", multiple=True, metavar="NAME", help="A model; may be repeated."),
            click.option("--tool", "tools", multiple=True, metavar="NAME", help="A called tool; may be repeated."),
            click.option("--until", metavar="TIME", help="Before this time."),
            click.option("--since", metavar="TIME", help="From this time: 30m, 24h, 7d, 4w, 2026-05-31 (UTC)."),
        ):
            with_filters = option(with_filters)
        return with_filters

    return decorate


def only_with_resume(*kept: str) -> None:
    """Refuse what was typed beside ``--resume`` and would not be heeded: the run has it already.

    Args:
        kept: Parameters of the command that may differ from those of the run.
    """
    context = click.get_current_context()
    typed = [
        "/".join((option.opts[-1], *option.secondary_opts))
        if isinstance(option, click.Option)
        else str(option.name).upper()
        for option in context.command.params
        if option.name not in ("resume", *kept)
        and context.get_parameter_source(option.name or "") is ParameterSource.COMMANDLINE
    ]
    if typed:
        raise click.UsageError(f"--resume takes {', '.join(typed)} from the run")


def tag_option(function: Command) -> Command:
    """Add ``--tag``, the name that a suite gets."""
    return click.option("--tag", required=True, callback=_named, help="Name of the suite.")(function)


def output_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--json --jsonl --csv -o``; the command gets ``output``."""

    @wraps(function)
    def with_output(*args: Any, output_format: str | None, output_path: Path | None, **options: Any) -> Any:
        path = None if output_path == Path("-") else output_path
        return function(*args, output=Output(_format(output_format), path), **options)

    for name, text in (("csv", "CSV"), ("jsonl", "one JSON object a line"), ("json", "one JSON value")):
        with_output = click.option(f"--{name}", "output_format", flag_value=name, default=None, help=f"As {text}.")(
            with_output
        )
    return click.option(
        "-o",
        "--output",
        "output_path",
        metavar="FILE",
        type=click.Path(dir_okay=False, path_type=Path),
        help="Write to FILE instead of stdout.",
    )(with_output)


def json_option(function: Command) -> Command:
    """Add ``--json`` alone, for commands whose result is one report."""
    return click.option("--json", "as_json", is_flag=True, help="As one JSON value.")(function)


def _named(context: click.Context, option: click.Parameter, value: str) -> str:
    if not value.strip():
        raise click.BadParameter("it is empty", context, option)
    return value


def _format(name: str | None) -> Any:
    return name or "auto"
