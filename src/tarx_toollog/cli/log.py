"""``toollog log``: exchanges, one by one."""

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict
from typing import Any

import click

from tarx_toollog.cli.app import App, pass_app
from tarx_toollog.cli.options import filter_options, output_options
from tarx_toollog.cli.output import Output, emit_object, emit_rows
from tarx_toollog.cli.progress import Progress
from tarx_toollog.cli.readable import exchange_text
from tarx_toollog.errors import StoreError
from tarx_toollog.model import Outcome
from tarx_toollog.store.answers import queries
from tarx_toollog.store.answers.search_where import search_where
from tarx_toollog.store.engine import store_errors
from tarx_toollog.store.filters import Filters
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.search import UNINDEXED, Place, catch_up, count_waiting, terms_of

LIST_LIMIT = 50
SEARCH_LIMIT = 20
TAIL_LIMIT = 20
POLL_S = 0.5  # a person does not notice half a second; the database does not notice two queries a second

COLUMNS = (
    "exchange_uid",
    "started_at",
    "conversation_uid",
    "turn_no",
    "step_no",
    "leg",
    "model",
    "build",
    "outcome",
    "finish_reason",
    "tools",
    "input_tokens",
    "output_tokens",
    "total_ms",
)
SPARE = (
    "output_tokens",
    "input_tokens",
    "finish_reason",
    "step_no",
    "turn_no",
    "conversation_uid",
    "leg",
    "build",
    "model",
)
"""What a narrow terminal does without; the first goes first."""

SEARCH_COLUMNS = (
    "started_at",
    "role",
    "place",
    "snippet",
    "conversation_uid",
    "turn_no",
    "step_no",
    "exchange_uid",
)
SEARCH_SPARE = ("step_no", "turn_no", "conversation_uid", "place", "exchange_uid")


@click.group()
def group() -> None:
    """Look at exchanges: list, show, tail, search."""


@group.command("list")
@filter_options(limit=LIST_LIMIT)
@output_options
@pass_app
def list_(app: App, filters: Filters, output: Output) -> None:
    """List exchanges, newest first.

    \b
    toollog log list --since 24h --tool tarx_remember
    toollog log list --outcome truncated --jsonl
    """
    with app.log() as log:
        if not emit_rows(queries.exchanges(log.engine, filters), COLUMNS, output, spare=SPARE):
            app.say("nothing matched")


@group.command()
@click.argument("exchange_id", metavar="ID")
@output_options
@pass_app
def show(app: App, exchange_id: str, output: Output) -> None:
    """Show one exchange: request, answer, calls and their results.

    ID is an exchange_uid of `toollog log list`, or the beginning of one.
    """
    with app.log() as log:
        detail = queries.exchange_detail(log.engine, exchange_id)
    value: dict[str, Any] = {**detail.facts, "messages": detail.messages, "answer": detail.answer}
    emit_object(value | {"tool_calls": detail.calls}, exchange_text(detail), output)


@group.command()
@click.option("-f", "--follow", is_flag=True, help="Go on until Ctrl-C.")
@filter_options(limit=TAIL_LIMIT)
@output_options
@pass_app
def tail(app: App, follow: bool, filters: Filters, output: Output) -> None:
    """Show the latest exchanges; with -f, each new one as it ends.

    Oldest first.
    """
    with app.log() as log:
        if not follow:
            emit_rows(list(queries.exchanges(log.engine, filters))[::-1], COLUMNS, output, spare=SPARE)
            return
        # Neither a table nor a JSON array can be written before its last row is known: following writes lines.
        lines = Output("jsonl" if output.format == "json" else output.format, output.path, is_stream=True)
        emit_rows(_followed(log.engine, filters), COLUMNS, lines)


@group.command()
@click.argument("query", metavar="WORDS")
@click.option("--place", type=click.Choice(["text", "arguments"]), help="Only what was said, or arguments of calls.")
@click.option("--role", metavar="ROLE", help="Only messages of this role: user, assistant, tool …")
@filter_options(limit=SEARCH_LIMIT)
@output_options
@pass_app
def search(app: App, query: str, place: Place | None, role: str | None, filters: Filters, output: Output) -> None:
    """Find messages by their words, newest first.

    All words have to be there. Words in quotes stand in that order, `rain*` finds all that begins like it; capitals and
    accents do not matter.

    \b
    toollog log search 'lisbon rain*'
    toollog log search '"garden tools"' --role tool --since 7d
    toollog log search porto --place arguments --jsonl
    """
    terms_of(query)  # before anything takes long
    with app.log() as log:
        with log.engine.connect() as connection:
            waiting = count_waiting(connection)
        if waiting > UNINDEXED:
            _index(app, waiting)
        with log.engine.connect() as connection:
            found = search_where(connection, query, filters, place=place, role=role)
    if not emit_rows(map(asdict, found.hits), SEARCH_COLUMNS, output, spare=SEARCH_SPARE, wrap=("snippet",)):
        app.say("nothing matched")
    if found.n_unread:
        app.say(f"{found.n_unread} messages are not in the index yet, and were not read")


def _index(app: App, waiting: int) -> None:
    """Bring into the index what is not in it; where the database cannot be written, the search does without."""
    settings = app.settings()
    with (
        suppress(StoreError),
        store_errors(settings),
        ToolLog.open(settings=settings, read_only=False) as log,
        Progress("messages indexed", waiting, quiet=app.quiet) as progress,
    ):
        catch_up(log.engine, indexed=progress.advance)


def _followed(engine: Any, filters: Filters) -> Iterator[dict[str, Any]]:
    """Yield the latest exchanges, then each one as it ends, for ever. Open ones are looked at again."""
    after = queries.last_key(engine)
    rows = [row for row in queries.exchanges(engine, filters) if row["id"] <= after][::-1]
    while True:
        yield from (row for row in rows if row["outcome"] != Outcome.OPEN)
        unfinished = [row["id"] for row in rows if row["outcome"] == Outcome.OPEN]
        time.sleep(POLL_S)
        rows = queries.newer_exchanges(engine, after, unfinished, filters)
        after = max([after, *(row["id"] for row in rows)])
