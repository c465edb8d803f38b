"""``toollog db query`` and ``toollog db queries``: questions in SQL, one's own and the ready ones."""

import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType

import click

from tarx_toollog.cli.app import App, pass_app
from tarx_toollog.cli.db_parquet import ParquetTable
from tarx_toollog.cli.options import output_options
from tarx_toollog.cli.output import Output, emit_object, emit_rows
from tarx_toollog.errors import ConfigError
from tarx_toollog.store.answers.ready import GROUPS, ReadyQuery, find_ready, ready_queries


@click.command()
@click.argument("sql", required=False)
@click.option("--ready", metavar="NAME", help="A ready query in place of SQL; `toollog db queries` lists them.")
@click.option("--param", "params", multiple=True, metavar="KEY=VALUE", help="A parameter of it; may be repeated.")
@click.option("-n", "--limit", type=click.IntRange(min=1), help="At most N rows.")
@click.option("--timeout", type=click.FloatRange(min=0, min_open=True), default=30.0, help="Seconds; default 30.")
@click.option("--parquet", is_flag=True, help="As a Parquet file; wants -o.")
@output_options
@pass_app
def query(
    app: App,
    sql: str | None,
    ready: str | None,
    params: tuple[str, ...],
    limit: int | None,
    timeout: float,
    parquet: bool,
    output: Output,
) -> None:
    """Ask the database in SQL. It is opened for reading: nothing can be changed.

    \b
    toollog db query "SELECT tool, calls, error_share FROM v_tool_stats"
    toollog db query --ready failing_tools --param since=7d
    """
    table = _parquet_table(output) if parquet else None
    with app.log() as log, _heeding_ctrl_c():
        result = log.query(_text(sql, ready, params, limit, log.engine.dialect.name), limit=limit, timeout_s=timeout)
        columns = _unique(result.columns)
        if table is not None:
            n_rows = table.write(columns, result.rows)
        else:
            n_rows = emit_rows((dict(zip(columns, row, strict=True)) for row in result.rows), columns, output)
        if not n_rows:
            app.say("no rows")


@click.command()
@click.argument("name", required=False)
@output_options
@pass_app
def queries(app: App, name: str | None, output: Output) -> None:
    """List the ready queries; with a NAME, show one: its parameters, how to read the answer, and its SQL.

    `toollog db query --ready NAME` asks it. docs/queries.md shows them all.
    """
    if name is None:
        rows = ({"name": one.name, "group": one.group, "question": one.title} for one in ready_queries())
        emit_rows(rows, ("name", "group", "question"), output, spare=("group",), wrap=("question",))
        return
    found = find_ready(name)
    emit_object(_shown(found), _described(found), output)


def _parquet_table(output: Output) -> ParquetTable:
    if output.path is None:
        raise click.UsageError("--parquet wants a file: add -o FILE")
    if not output.is_for_people:
        raise click.UsageError(f"--parquet and --{output.format} exclude each other")
    return ParquetTable(output.path)


def _text(sql: str | None, ready: str | None, params: tuple[str, ...], limit: int | None, dialect: str) -> str:
    """Return the SQL that is meant."""
    if (sql is None) == (ready is None):
        raise click.UsageError("give SQL, or the name of a ready query with --ready")
    if ready is None:
        if params:
            raise click.UsageError("--param goes with --ready")
        return sql or ""
    found = find_ready(ready)
    given = _pairs(params)
    if limit is not None and any(parameter.name == "limit" for parameter in found.parameters):
        given = {"limit": str(limit), **given}
    return found.filled(given, dialect)


def _pairs(params: tuple[str, ...]) -> dict[str, str]:
    pairs = {}
    for text in params:
        key, sign, value = text.partition("=")
        if not sign:
            raise ConfigError(f"--param {text!r} is no pair", hint="write --param since=7d")
        pairs[key.strip()] = value
    return pairs


def _shown(found: ReadyQuery) -> Mapping[str, object]:
    parameters = [
        {"name": one.name, "kind": one.kind, "default": one.default, "meaning": one.meaning} for one in found.parameters
    ]
    return {
        "name": found.name,
        "group": found.group,
        "question": found.title,
        "reading": found.reading,
        "parameters": parameters,
        "sql": found.sql,
    }


def _described(found: ReadyQuery) -> str:
    parameters = [f"  --param {one.name}={one.default or '…'}".ljust(34) + one.meaning for one in found.parameters]
    return "\n".join([found.title, f"({GROUPS[found.group]})", "", found.reading, "", *parameters, "", found.sql])


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
