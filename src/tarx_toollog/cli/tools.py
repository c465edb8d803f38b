"""``toollog tools``: how each tool is called, and what goes wrong."""

import click

from tarx_toollog.cli.app import App, pass_app
from tarx_toollog.cli.options import filter_options, output_options
from tarx_toollog.cli.output import Output, emit_rows
from tarx_toollog.store import queries
from tarx_toollog.store.filters import Filters
from tarx_toollog.store.views import V_TOOL_STATS

COLUMNS = tuple(V_TOOL_STATS.columns)
_FOR_PEOPLE = (
    "tool",
    "model",
    "build",
    "calls",
    "bad_calls",
    "error_results",
    "error_share",
    "mean_latency_ms",
    "last_called_at",
)
_SPARE = ("last_called_at", "mean_latency_ms", "model")
"""What a narrow terminal does without; the first goes first."""


@click.group()
def group() -> None:
    """See how each tool is called, and what goes wrong."""


@group.command("list")
@filter_options()
@output_options
@pass_app
def list_(app: App, filters: Filters, output: Output) -> None:
    """List tools, most called first: calls, bad calls, errors, latency.

    \b
    toollog tools list --since 7d
    toollog tools list --csv -o tools.csv
    """
    with app.log() as log:
        columns = _FOR_PEOPLE if output.is_for_people else COLUMNS
        if not emit_rows(queries.tool_stats(log.engine, filters), columns, output, spare=_SPARE):
            app.say("nothing matched")
