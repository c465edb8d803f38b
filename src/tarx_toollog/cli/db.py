"""``toollog db``: care for the database."""

import os
from pathlib import Path

import click

from tarx_toollog.cli.app import App, pass_app
from tarx_toollog.cli.db_copy import copy
from tarx_toollog.cli.db_datasette import datasette
from tarx_toollog.cli.db_query import queries, query
from tarx_toollog.cli.db_retention import compact, erase, gc, prune, restore
from tarx_toollog.cli.files import waiting_in
from tarx_toollog.cli.options import json_option
from tarx_toollog.cli.output import Output, emit_object
from tarx_toollog.cli.progress import Progress
from tarx_toollog.errors import ConfigError, StoreError
from tarx_toollog.store import maintenance, migrate
from tarx_toollog.store import verify as verify_store
from tarx_toollog.store.answers import queries as queries_of_log
from tarx_toollog.store.engine import create_private_file, shown
from tarx_toollog.store.retention.restore import put_on_disk


@click.group()
def group() -> None:
    """Care for the database, and ask it: query, verify, backup, restore, prune, erase, copy …"""


for command in (query, queries, datasette, copy, prune, erase, gc, compact, restore):
    group.add_command(command)


@group.command()
@pass_app
def path(app: App) -> None:
    """Print where the database is."""
    settings = app.settings()
    click.echo(settings.database_path or shown(settings))


@group.command()
@pass_app
def upgrade(app: App) -> None:
    """Make the database, or bring its schema up to date."""
    settings = app.settings()
    before = migrate.upgrade(settings)
    if before.is_current:
        app.say(f"{shown(settings)} is up to date (schema {before.head})")
    else:
        app.say(f"{shown(settings)}: schema {before.revision or 'none'} -> {before.head}")


@group.command()
@json_option
@pass_app
def check(app: App, as_json: bool) -> None:
    """Check the file for damage.

    The bytes, every reference between rows, and the schema revision. Exit code 6 when something is damaged.
    """
    with app.log() as log:
        problems = maintenance.damage(log.engine)
    text = "\n".join(problems) or "no damage found"
    emit_object({"ok": not problems, "problems": problems}, text, Output("json" if as_json else "auto"))
    if problems:
        raise StoreError(
            f"{len(problems)} problems found", hint="restore a backup, or `toollog db backup` what is left"
        )


@group.command()
@json_option
@pass_app
def verify(app: App, as_json: bool) -> None:
    """Prove that every request can be made again, exactly, and that suites are what they were.

    Hashes all messages, histories, tool definitions, raw bodies, scenarios and suites again and rebuilds each request;
    checks the file as `check` does. Exit code 6 when something is wrong.
    """
    from tarx_toollog.replay.scenario import Scenario

    with app.log() as log, Progress("rows", verify_store.n_rows(log.engine), quiet=app.quiet) as progress:
        report = verify_store.verify(
            log.engine, lambda definition: Scenario.from_json(definition).content_hash, progress.advance
        )
    counts = ", ".join(f"{count} {name}" for name, count in report.checked.items())
    text = "\n".join([f"checked {counts}", *report.problems])
    if report.not_exact:
        text += f"\n{report.not_exact} requests could not be decoded without loss (note request_not_exact)"
    found = {"ok": not report.n_problems, "n_problems": report.n_problems, "problems": report.problems}
    emit_object(
        {**found, "checked": report.checked, "not_exact": report.not_exact}, text, Output("json" if as_json else "auto")
    )
    if report.n_problems:
        raise StoreError(
            f"{report.n_problems} problems found", hint="restore a backup, or `toollog db backup` what is left"
        )


@group.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--force", is_flag=True, help="Replace FILE when it exists.")
@json_option
@pass_app
def backup(app: App, file: Path, force: bool, as_json: bool) -> None:
    """Write a consistent, compact copy to FILE.

    Also while a server records: it holds what is in the database at that moment. What still waits in the journal is not
    in it; how much that is, is said. `toollog db restore` puts it back.
    """
    if file.is_dir():
        raise ConfigError(f"{file} is a folder", hint="name a file")
    if file.exists() and not force:
        raise ConfigError(f"{file} exists", hint="choose another name, or replace it with --force")
    settings = app.settings()
    with app.log() as log:
        partial = file.with_name(f"{file.name}.partial-{os.getpid()}")
        try:
            create_private_file(partial)
            maintenance.copy_database(log.engine, partial)
            put_on_disk(partial)
            partial.replace(file)
        finally:
            partial.unlink(missing_ok=True)
        waiting = waiting_in(settings.journal_path, lambda uids: queries_of_log.finished(log.engine, uids))
    n_waiting, n_bytes = waiting.left_behind + waiting.stuck, file.stat().st_size
    app.say(f"copied to {file}")
    if n_waiting:
        app.say(f"not in it: {n_waiting} exchanges that wait in {settings.journal_path}")
    if as_json:
        emit_object({"file": str(file), "bytes": n_bytes, "waiting": n_waiting}, "", Output("json"))
