"""``toollog db copy``: a whole store into another database."""

from typing import TYPE_CHECKING, Any

import click

from tarx_toollog.cli.app import App, pass_app
from tarx_toollog.cli.options import json_option
from tarx_toollog.cli.output import Output, emit_object
from tarx_toollog.cli.progress import Progress

if TYPE_CHECKING:
    from tarx_toollog.config import Settings
    from tarx_toollog.store.copying.copy import CopyReport

Row = dict[str, Any]


@click.command()
@click.argument("source", metavar="SRC")
@click.argument("destination", metavar="DST")
@click.option("--dry-run", is_flag=True, help="Say what would be copied, and whether it can be; write nothing.")
@click.option(
    "--verify/--no-verify",
    default=True,
    help="Read everything again and compare hashes before it counts; else only numbers of rows; default: verify.",
)
@json_option
@pass_app
def copy(app: App, source: str, destination: str, dry_run: bool, verify: bool, as_json: bool) -> None:
    """Copy a whole store into another database: SQLite or PostgreSQL, either way.

    SRC and DST are paths, or URLs such as postgresql+psycopg://user@host/toollog. DST is made, or has to be empty.
    Everything comes along with its keys; the index of words is made anew. SRC is seen as it was at one moment, and
    others may go on recording into it; the copy does not know what came later. DST is whole afterwards, or empty.

    \b
    toollog db copy toollog.db postgresql+psycopg://toollog@db.example/toollog
    toollog db copy postgresql+psycopg://toollog@db.example/toollog week.db
    """
    from tarx_toollog.config import Settings
    from tarx_toollog.store.copying import copy as copying

    settings = Settings.load(database=source), Settings.load(database=destination)
    if dry_run:
        report = copying.look(*settings)
    else:
        with Progress("rows", quiet=app.quiet) as progress:
            report = copying.copy_store(*settings, verify=verify, steps=progress)
    found = _found(report, *settings, dry_run=dry_run)
    emit_object(found, _text(found), Output("json" if as_json else "auto"))


def _found(report: "CopyReport", source: "Settings", destination: "Settings", *, dry_run: bool) -> Row:
    from tarx_toollog.cli.files import waiting_in
    from tarx_toollog.store.answers import queries
    from tarx_toollog.store.copying.copy import has_same_key
    from tarx_toollog.store.engine import shown
    from tarx_toollog.store.log import ToolLog
    from tarx_toollog.store.quarantine import held_in

    with ToolLog.open(settings=source) as log:
        waiting = waiting_in(source.journal_path, lambda uids: queries.finished(log.engine, uids))
    return {
        "source": shown(source),
        "destination": shown(destination),
        "dry_run": dry_run,
        "as_of": report.as_of,
        "rows": sum(report.rows.values()),
        "tables": report.rows,
        "hashes": report.hashes,
        "verified": bool(report.hashes),
        "messages_indexed": report.n_indexed,
        "not_copied": report.not_copied,
        "journal": str(source.journal_path),
        "waiting": waiting.left_behind + waiting.stuck,
        "quarantine_files": held_in(source.journal_path).n_files,
        "same_key": has_same_key(source, destination),
    }


def _text(found: Row) -> str:
    verb = "would copy" if found["dry_run"] else "copied"
    lines = [f"{name:<16} {n:>10}" for name, n in found["tables"].items() if n]
    lines += ["", f"{verb} {found['rows']} rows as of {found['as_of']:%Y-%m-%d %H:%M:%S} UTC to {found['destination']}"]
    if not found["dry_run"]:
        how = "each table has the same hash on both sides" if found["verified"] else "numbers of rows are equal"
        lines.append(f"{how}; {found['messages_indexed']} messages are in the new index of words")
    if found["not_copied"]:
        lines.append(f"not copied, since they are not ours: {', '.join(found['not_copied'])}")
    if found["waiting"]:
        lines.append(f"not copied: {found['waiting']} exchanges that wait in the journal, {found['journal']}")
    if found["quarantine_files"]:
        lines.append(f"not copied: {found['quarantine_files']} files in quarantine there, that could not be stored")
    if not found["same_key"]:
        lines.append(
            f"the key of marks and clients stays in {found['journal']}: to go on at the destination, set "
            "TOOLLOG_JOURNAL_DIR to that folder, which takes what waits there along"
        )
    return "\n".join(lines)
