"""``toollog tools``: how each tool is called, what goes wrong, and all that is known of one."""

import click

from tarx_toollog.cli.app import App, pass_app
from tarx_toollog.cli.options import filter_options, output_options
from tarx_toollog.cli.output import Output, emit_object, emit_rows
from tarx_toollog.cli.readable_tool import tool_object, tool_text
from tarx_toollog.store.answers.tool_details import tool_detail
from tarx_toollog.store.answers.tools import tool_stats
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
    """See how each tool is called, and what goes wrong: list, show."""


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
        if not emit_rows(tool_stats(log.engine, filters), columns, output, spare=_SPARE):
            app.say("nothing matched")


@group.command()
@click.argument("name")
@filter_options()
@output_options
@pass_app
def show(app: App, name: str, filters: Filters, output: Output) -> None:
    """Show one tool: its definition and the versions of it, its arguments, why calls fail, how long results take.

    NAME is a tool of `toollog tools list`, or one that was only ever offered. Arguments and reasons are read from the
    latest calls.

    \b
    toollog tools show tarx_remember
    toollog tools show tarx_remember --since 7d --json
    """
    with app.log() as log:
        found = tool_detail(log.engine, name, filters)
    emit_object(tool_object(found), tool_text(found), output)
