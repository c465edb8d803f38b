"""``toollog status``: what has been recorded, and what to do next."""

from typing import Any

import click

from tarx_toollog.cli.app import App, pass_app
from tarx_toollog.cli.files import size_on_disk, size_text, waiting_in
from tarx_toollog.cli.options import output_options
from tarx_toollog.cli.output import Output, cell_text, emit_object
from tarx_toollog.store.answers import queries
from tarx_toollog.store.answers.status import status
from tarx_toollog.store.journal import backlog_bytes
from tarx_toollog.store.quarantine import held_in
from tarx_toollog.store.schema import SCHEMA_REVISION


@click.command()
@output_options
@pass_app
def command(app: App, output: Output) -> None:
    """Show what has been recorded, and what to do next."""
    figures = _figures(app)
    emit_object(figures, _text(figures), output)


def _figures(app: App) -> dict[str, Any]:
    settings = app.settings()
    path = settings.database_path
    figures: dict[str, Any] = {"database": str(path or "(a server)"), "exists": path is None or path.exists()}
    if figures["exists"]:
        with app.log() as log:
            figures |= status(log.engine)
            waiting = waiting_in(settings.journal_path, lambda uids: queries.finished(log.engine, uids))
        figures["schema_revision"] = SCHEMA_REVISION  # another revision would have refused to open
        figures["size"] = size_on_disk(path) if path else None
    else:
        waiting = waiting_in(settings.journal_path, lambda _: ())
    figures["journal_bytes"] = backlog_bytes(settings.journal_path)
    figures["quarantine_files"], figures["quarantine_bytes"] = held_in(settings.journal_path)
    figures["waiting"] = waiting.left_behind + waiting.stuck
    figures["next"] = _next_command(figures)
    return figures


def _next_command(figures: dict[str, Any]) -> str:
    if figures["waiting"] or figures["quarantine_files"]:
        return "toollog doctor"
    if not figures["exists"] or not figures["exchanges"]:
        return "toollog serve"
    if figures["gaps"] or figures["interrupted"]:
        return "toollog doctor"
    return "toollog tools list" if figures["tool_calls"] else "toollog log list"


def _text(figures: dict[str, Any]) -> str:
    if not figures["exists"]:
        lines = [("database", f"{figures['database']} (not made yet)")]
    else:
        lines = [
            ("database", f"{figures['database']} ({size_text(figures['size'])}, schema {figures['schema_revision']})"),
            ("exchanges", f"{figures['exchanges']} ({figures['not_completed']} not completed, {figures['open']} open)"),
            ("tool calls", f"{figures['tool_calls']} ({figures['unanswered_calls']} unanswered)"),
            ("conversations", str(figures["conversations"])),
            ("first capture", cell_text(figures["first_at"]) or "none"),
            ("last capture", cell_text(figures["last_at"]) or "none"),
            ("gaps", str(figures["gaps"])),
        ]
    lines.append(("journal", f"{size_text(figures['journal_bytes'])} ({figures['waiting']} exchanges wait)"))
    if figures["quarantine_files"]:
        size = size_text(figures["quarantine_bytes"])
        lines.append(("quarantine", f"{figures['quarantine_files']} files ({size}) that could not be stored"))
    lines.append(("next", figures["next"]))
    return "\n".join(f"{name:<14} {value}" for name, value in lines)
