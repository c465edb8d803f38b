"""``toollog db``: care for the database."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import click

from tarx_toollog.cli.app import App, pass_app
from tarx_toollog.cli.options import json_option, output_options
from tarx_toollog.cli.output import Output, emit_object, emit_rows
from tarx_toollog.cli.progress import Progress
from tarx_toollog.errors import ConfigError, StoreError
from tarx_toollog.store import maintenance, migrate
from tarx_toollog.store import verify as verify_store
from tarx_toollog.store.engine import create_private_file


@click.group()
def group() -> None:
    """Care for the database: path, upgrade, check, verify, backup, query."""


@group.command()
@pass_app
def path(app: App) -> None:
    """Print where the database is."""
    settings = app.settings()
    click.echo(settings.database_path or settings.database)


@group.command()
@pass_app
def upgrade(app: App) -> None:
    """Make the database, or bring its schema up to date."""
    settings = app.settings()
    before = migrate.upgrade(settings)
    if before.is_current:
        app.say(f"{settings.database} is up to date (schema {before.head})")
    else:
        app.say(f"{settings.database}: schema {before.revision or 'none'} -> {before.head}")


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
    """Prove that every request can be made again, exactly.

    Hashes all messages, histories, tool definitions and raw bodies again and rebuilds each request from them; checks
    the file as `check` does. Exit code 6 when something is wrong.
    """
    with app.log() as log, Progress("rows", verify_store.n_rows(log.engine), quiet=app.quiet) as progress:
        report = verify_store.verify(log.engine, progress.advance)
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
@pass_app
def backup(app: App, file: Path, force: bool) -> None:
    """Write a consistent, compact copy to FILE.

    Also while a server records.
    """
    if file.is_dir():
        raise ConfigError(f"{file} is a folder", hint="name a file")
    if file.exists() and not force:
        raise ConfigError(f"{file} exists", hint="choose another name, or replace it with --force")
    with app.log() as log:
        partial = file.with_name(f"{file.name}.partial-{os.getpid()}")
        try:
            create_private_file(partial)
            maintenance.copy_database(log.engine, partial)
            partial.replace(file)
        finally:
            partial.unlink(missing_ok=True)
    app.say(f"copied to {file}")


@group.command()
@click.argument("sql")
@click.option("-n", "--limit", type=click.IntRange(min=1), help="At most N rows.")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), default=30.0, help="Seconds; default 30.")
@output_options
@pass_app
def query(app: App, sql: str, limit: int | None, timeout: float, output: Output) -> None:
    """Ask the database in SQL. It is opened for reading: nothing can be changed.

    \b
    toollog db query "SELECT tool, calls, error_share FROM v_tool_stats"
    """
    with app.log() as log, _heeding_ctrl_c():
        result = log.query(sql, limit=limit, timeout_s=timeout)
        columns = _unique(result.columns)
        if not emit_rows((dict(zip(columns, row, strict=True)) for row in result.rows), columns, output):
            app.say("no rows")


@contextmanager
def _heeding_ctrl_c() -> Iterator[None]:
    """Let Ctrl-C end the command: SQLite swallows it, ends the query, and that looks like one that took too long."""
    pressed: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        pressed.append(number)
        signal.default_int_handler(number, frame)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield
    except ConfigError:
        if pressed:
            raise KeyboardInterrupt from None
        raise
    finally:
        signal.signal(signal.SIGINT, before)


def _unique(names: list[str]) -> list[str]:
    """Return the column names with repeated ones numbered: a row is a dict, and no value may be lost."""
    seen: dict[str, int] = {}
    unique = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        unique.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return unique
