"""The ``toollog`` command: global options, and subcommands that are imported only when they are used."""

import importlib
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import click

from tarx_toollog._version import __version__
from tarx_toollog.cli import exits
from tarx_toollog.cli.app import App


class Lazy(NamedTuple):
    """Where a subcommand is defined, and its line in the help, so that help needs no import."""

    module: str
    attribute: str
    help: str


COMMANDS = {
    "status": Lazy("status", "command", "Show what has been recorded, and what to do next."),
    "doctor": Lazy("doctor", "command", "Check everything that can stand in the way, and say what to type."),
    "serve": Lazy("serve", "command", "Record: pass requests on to the model server and log them."),
    "report": Lazy("report", "command", "Show on one screen what happened and what went wrong."),
    "log": Lazy("log", "group", "Look at exchanges: list, show, tail, search."),
    "tools": Lazy("tools", "group", "See how each tool is called, and what goes wrong: list, show."),
    "conversations": Lazy("conversations", "group", "Look at conversations: list, show."),
    "builds": Lazy("builds", "group", "See which builds of a model answered: list, show, label."),
    "export": Lazy("export", "group", "Write training data: run, list, show, why, diff, lint, formats."),
    "replay": Lazy("replay", "group", "Replay logged chains against a model: suites, runs, gate, compare, probes."),
    "labels": Lazy("labels", "group", "Say what was right: add, list, queue, apply, withdraw."),
    "ui": Lazy("ui", "command", "Show the log as pages: what happens, conversations, tools, labels, replay."),
    "redact": Lazy("redact", "command", "Show what the rules would take out of the log; with --apply, take it out."),
    "db": Lazy(
        "db",
        "group",
        "Care for the database, and ask it: query, verify, backup, restore, prune, erase, copy …",
    ),
    "config": Lazy("config", "group", "See the settings, and where each comes from."),
}

OWN_SIGNALS = ("serve", "ui")
"""Commands that heed signals themselves."""


class Root(click.Group):
    """The top group: imports a subcommand on its first use, and turns every error into two lines and a code."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, in the order of the table rather than of the alphabet."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the subcommand."""
        if (lazy := COMMANDS.get(cmd_name)) is None:
            return None
        module = importlib.import_module(f"tarx_toollog.cli.{lazy.module}")
        command = getattr(module, lazy.attribute)
        return command if isinstance(command, click.Command) else None

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of subcommands from the table."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, lazy.help) for name, lazy in COMMANDS.items()])

    def invoke(self, ctx: click.Context) -> Any:
        """Run, and rename the error that click would turn into exit code 1."""
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            raise exits.ReaderGoneError from None

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run and exit; with ``standalone_mode=False``, run and return, errors as exceptions."""
        if not standalone_mode:
            return super().main(args, prog_name, complete_var, standalone_mode=False, **extra)
        app = extra.setdefault("obj", App())
        code = exits.run(
            lambda: super(Root, self).main(args, prog_name, complete_var, standalone_mode=False, **extra),
            wants_traceback=lambda: app.debug,
        )
        sys.exit(code)


@click.group(cls=Root, invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--database", metavar="PATH", help="The log to use; default: TOOLLOG_DATABASE, or the user's own.")
@click.option("--debug", is_flag=True, help="Show a traceback when something fails.")
@click.option("-q", "--quiet", is_flag=True, help="No progress, no remarks; only results and errors.")
@click.version_option(__version__, "-V", "--version", prog_name="toollog", message="%(prog)s %(version)s")
@click.pass_context
def cli(ctx: click.Context, database: str | None, debug: bool, quiet: bool) -> None:
    """Log every tool call of a local model, ask questions, export training data, replay.

    \b
    Begin with:
      toollog serve            record, with the client's base URL set to the address it prints
      toollog status           see what has come in
      toollog tools list       see how well each tool is called
    """
    app = ctx.ensure_object(App)
    app.database, app.debug, app.quiet = database, debug, quiet
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
    if ctx.invoked_subcommand not in OWN_SIGNALS:
        ctx.with_resource(exits.ending_like_ctrl_c())
