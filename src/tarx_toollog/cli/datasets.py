"""``toollog export list, show, why, diff``: the builds of training data that the database remembers."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import click

from tarx_toollog.cli.app import App, pass_app
from tarx_toollog.cli.options import output_options
from tarx_toollog.cli.output import Output, Row, cell_text, emit_object, emit_rows
from tarx_toollog.export.reasons import REASONS
from tarx_toollog.store.dataset_diff import CHANGES
from tarx_toollog.store.dataset_diff import diff as differences
from tarx_toollog.store.dataset_queries import ABSENT, parts
from tarx_toollog.store.dataset_queries import why as answers
from tarx_toollog.store.datasets import BuildRow, Datasets

_LIST = (
    "build",
    "status",
    "parent",
    "task",
    "unit",
    "formats",
    "n_examples",
    "n_left_out",
    "n_trained_tokens",
    "created_at",
    "finished_at",
    "last_exchange_id",
    "config_hash",
    "version",
    "build_uid",
)
_LIST_SPARE = (
    "build_uid",
    "version",
    "config_hash",
    "last_exchange_id",
    "finished_at",
    "unit",
    "task",
    "parent",
    "n_left_out",
)
_WHY = (
    "build",
    "state",
    "split",
    "copies",
    "reason",
    "why",
    "source",
    "n_tokens",
    "n_trained_tokens",
    "tokens_from",
    "example_id",
    "exchange_uid",
    "conversation_uid",
    "conversation_split",
    "turn_no",
    "step_no",
    "origin",
    "seq",
    "build_status",
)
_WHY_SPARE = (
    "build_status",
    "seq",
    "tokens_from",
    "conversation_split",
    "n_tokens",
    "origin",
    "source",
    "conversation_uid",
    "turn_no",
    "step_no",
    "n_trained_tokens",
    "example_id",
    "reason",
    "exchange_uid",
)
_DIFF = (
    "change",
    "example_id",
    "split_before",
    "split_after",
    "copies_before",
    "copies_after",
    "reason",
    "why",
    "exchange_uid",
    "conversation_uid",
    "origin",
)
_DIFF_SPARE = ("conversation_uid", "origin", "reason", "copies_before", "copies_after", "exchange_uid")
_FIELDS = {"build": "name", "build_uid": "uid"}
"""Columns of a list that are called otherwise in ``BuildRow``."""
_WORDS = REASONS | ABSENT


@click.command("list")
@output_options
@pass_app
def list_builds(app: App, output: Output) -> None:
    """List the builds, newest first.

    One that is `writing` runs, or its process was killed: `run --replace-build` takes its name again.
    """
    with app.log() as log:
        rows = [_facts(build) for build in Datasets(log).builds()]
    if not emit_rows(rows, _LIST, output, spare=_LIST_SPARE):
        app.say("no build yet; `toollog export run OUT` makes one")


@click.command()
@click.argument("build")
@output_options
@pass_app
def show(app: App, build: str, output: Output) -> None:
    """Show one build: its options, what it is made of, and what was left out of it."""
    with app.log() as log:
        found = Datasets(log).build(build)
        made_of = parts(log.engine, found.id)
    value = _facts(found) | {"config": found.config, "counts": found.counts, "files": found.files, "parts": made_of}
    emit_object(value, _text(found, made_of), output)


@click.command()
@click.argument("example")
@click.option("--build", metavar="BUILD", help="Ask this build alone.")
@output_options
@pass_app
def why(app: App, example: str, build: str | None, output: Output) -> None:
    """Say in which builds an example is, and why it is not in the others.

    EXAMPLE is an example_id of lineage.jsonl or an exchange_uid, the beginning of one, or a line of an imported file.

    \b
    toollog export why 01c0ffee
    toollog export why identity.jsonl:12 --build v3
    """
    with app.log() as log:
        rows = answers(log.engine, example, build)
    emit_rows([_explained(row) for row in rows], _WHY, output, spare=_WHY_SPARE, wrap=("why",))


@click.command()
@click.argument("before", metavar="BUILD_A")
@click.argument("after", metavar="BUILD_B")
@click.option("--change", type=click.Choice(CHANGES), help="Only changes of this kind.")
@output_options
@pass_app
def diff(app: App, before: str, after: str, change: str | None, output: Output) -> None:
    """Say what is in one build and not in the other, in another split, or there more often or less.

    The reason of what was added or removed is that of the build without it.
    """
    with app.log() as log:
        datasets = Datasets(log)
        changes = differences(log.engine, datasets.build(before), datasets.build(after))
        rows = (_explained(asdict(row)) for row in changes if change in (None, row.change))
        if not emit_rows(rows, _DIFF, output, spare=_DIFF_SPARE, wrap=("why",)):
            app.say("the same examples")


def _facts(build: BuildRow) -> dict[str, Any]:
    """Return what a list shows of a build."""
    values = asdict(build)
    return {name: values[_FIELDS.get(name, name)] for name in _LIST}


def _explained(row: Row) -> dict[str, Any]:
    return {**row, "why": _WORDS.get(row["reason"])}


def _text(build: BuildRow, made_of: Sequence[Row]) -> str:
    """Return a build as lines of name and value, and what it is made of."""
    values = _facts(build) | dict(build.config)
    lines = [f"{name:<20}{cell_text(value)}" for name, value in values.items() if value not in (None, [], {})]
    within = [row for row in made_of if row["reason"] is None]
    left_out = [row for row in made_of if row["reason"] is not None]
    if within:
        lines += ["", f"{'source':<12}{'split':<8}{'examples':>10}{'copies':>10}{'trained tokens':>16}"]
    for row in within:
        figures = f"{row['n_examples']:>10}{row['n_copies']:>10}{row['n_trained_tokens']:>16}"
        lines.append(f"{row['source']:<12}{row['split']:<8}{figures}")
    if left_out:
        lines += ["", "left out:"]
    for row in left_out:
        why = _WORDS.get(row["reason"], row["reason"])
        lines.append(f"    {row['n_examples']:>6}  {row['source']}: {why}")
    return "\n".join(lines)
