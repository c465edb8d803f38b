"""``toollog labels``: say what was right, see what was said, and what is worth a look."""

from typing import Any

import click

from tarx_toollog.canonical import MAX_DEPTH, InvalidJsonError, Json, parse_json
from tarx_toollog.cli.app import App, pass_app
from tarx_toollog.cli.login import login_name
from tarx_toollog.cli.options import COUNT, filter_options, json_option, output_options
from tarx_toollog.cli.output import Output, emit_object, emit_rows
from tarx_toollog.cli.progress import Progress
from tarx_toollog.cli.replay_files import writable
from tarx_toollog.errors import ConfigError
from tarx_toollog.store.filters import Filters
from tarx_toollog.store.labels import ANSWER, ASK, EXPECTED, QUALITY, LabelRow, Labels, NewLabel, value_of

_COLUMNS = LabelRow.__slots__
_FOR_PEOPLE = (
    "id",
    "target_uid",
    "name",
    "value_num",
    "value_text",
    "correction",
    "comment",
    "annotator",
    "created_at",
)
_QUEUE = (
    "exchange_uid",
    "conversation_uid",
    "turn_no",
    "step_no",
    "depth",
    "reason",
    "tools",
    "runs_wrong",
    "user_text",
)
_QUEUE_FOR_PEOPLE = ("exchange_uid", "reason", "step_no", "depth", "tools", "runs_wrong", "user_text")
_MOST = 2**63 - 1  # that a database can count
_BY = click.option("--by", metavar="NAME", help="Who says so; default: your login name.")


@click.group()
def group() -> None:
    """Say what was right: add, list, queue, apply, withdraw."""


@group.command("add")
@click.argument("target")
@click.option("--good", "verdict", flag_value="good", help="The logged answer, or call, is right.")
@click.option("--bad", "verdict", flag_value="bad", help="It is wrong, and you do not say what would have been right.")
@click.option("--answer", "verdict", flag_value="answer", help="No call was right: an answer in text was.")
@click.option("--ask", "verdict", flag_value="ask", help="The user should have been asked for what was missing.")
@click.option(
    "--call",
    "calls",
    nargs=2,
    multiple=True,
    metavar="NAME JSON",
    help="This call was right; may be repeated for several at once.",
)
@click.option("--name", metavar="NAME", help="A label of a name of your own, with --value.")
@click.option("--value", metavar="VALUE", help="A number, or words.")
@click.option("--comment", metavar="TEXT", help="Why.")
@_BY
@json_option
@pass_app
def add(
    app: App,
    target: str,
    verdict: str | None,
    calls: tuple[tuple[str, str], ...],
    name: str | None,
    value: str | None,
    comment: str | None,
    by: str | None,
    as_json: bool,
) -> None:
    """Say whether TARGET was right, or what would have been.

    TARGET is an exchange, a call (its exchange, its choice and its number: 0199….0.0) or a conversation; the beginning
    of an id will do. What you said of it under the same name before is superseded, and kept.

    \b
    toollog labels add 0199a3 --good
    toollog labels add 0199a3 --call tarx_recall '{"query": "cat"}'
    toollog labels add 0199a3 --ask --comment "which of the two orders?"
    toollog labels add 0199a3 --name tone --value curt
    """
    said = _said(verdict, calls, name, value)
    with writable(app) as log:
        labels = Labels(log)
        meant = labels.target(target)
        new = NewLabel(meant.type, meant.uid, **said, comment=comment, annotator=by or login_name())
        label_id = labels.add(new)
    found = {"id": label_id, "target_type": meant.type, "target_uid": meant.uid, "name": new.name}
    text = f"label {label_id} on {meant.type.replace('_', ' ')} {meant.uid}"
    emit_object(found, text, Output("json" if as_json else "auto"))


@group.command("list")
@click.argument("target", required=False)
@click.option("--name", metavar="NAME", help="Only labels of this name: quality, expected, also_right, …")
@click.option("--all", "everything", is_flag=True, help="Also what was superseded or taken back.")
@click.option("-n", "--limit", type=COUNT, help="At most the latest N.")
@output_options
@pass_app
def list_(app: App, target: str | None, name: str | None, everything: bool, limit: int | None, output: Output) -> None:
    """List labels, oldest first: all, or those on TARGET."""
    with app.log() as log:
        labels = Labels(log)
        targets = None if target is None else [labels.target(target).uid]
        found = labels.labels(targets, name=name, in_force=not everything, limit=limit)
    rows = ({slot: getattr(row, slot) for slot in _COLUMNS} for row in found)
    columns = _FOR_PEOPLE if output.is_for_people else _COLUMNS
    if not emit_rows(rows, columns, output, spare=("created_at", "comment", "value_text")):
        app.say("no labels; `toollog labels queue` shows what is worth one")


@group.command("queue")
@click.option("--tag", help="A suite: the turns that it was drawn from, and the steps on which its runs left the log.")
@filter_options(limit=50)
@output_options
@pass_app
def queue_(app: App, tag: str | None, filters: Filters, output: Output) -> None:
    """List what is worth a label, most worth first: bad decisions, rare tools, long chains, what runs disagree on.

    Only conversations that are kept for evaluation, or those of the suite; --split says otherwise. Without --tag the
    latest of the log is looked at, as on the page of the queue; with it, every turn that the suite was drawn from.

    \b
    toollog labels queue
    toollog labels queue --tag may
    """
    from tarx_toollog.replay.suites.label_queue import queue

    with app.log() as log:
        rows = [entry.to_json() for entry in queue(log, filters, tag)]
    columns = _QUEUE_FOR_PEOPLE if output.is_for_people else _QUEUE
    if not emit_rows(rows, columns, output, spare=("runs_wrong", "depth", "step_no")):
        app.say("nothing needs a label")


@group.command("apply")
@click.option("--rule", "names", multiple=True, metavar="NAME", help="Only this rule; may be repeated.")
@click.option("--dry-run", is_flag=True, help="Only count what they would say.")
@filter_options()
@output_options
@pass_app
def apply_(app: App, names: tuple[str, ...], dry_run: bool, filters: Filters, output: Output) -> None:
    """Have rules label: what was corrected by the user, what was called again after an error, and rules of your own.

    What a rule has said once it does not say again, so this can run every day. People can take its labels back.

    \b
    toollog labels apply --since 1d
    toollog labels apply --rule user_corrected --dry-run
    """
    from tarx_toollog.store.label_rules import LabelRules, RuleTally

    opened = app.log() if dry_run else writable(app)
    with opened as log, Progress("turns", quiet=app.quiet) as progress:
        found = LabelRules(log).apply(names, filters, keeps=not dry_run, read=progress.advance)
    rows = ({slot: getattr(one, slot) for slot in RuleTally.__slots__} for one in found)
    emit_rows(rows, RuleTally.__slots__, output, spare=("about",))
    app.say("nothing was kept: --dry-run" if dry_run else "`toollog labels list` shows what was kept")


@group.command("withdraw")
@click.argument("label_id", metavar="ID", type=click.IntRange(1, _MOST))
@_BY
@json_option
@pass_app
def withdraw(app: App, label_id: int, by: str | None, as_json: bool) -> None:
    """Take a label back. It is kept, and no longer counts."""
    with writable(app) as log:
        Labels(log).withdraw(label_id, by or login_name())
    text = f"label {label_id} is taken back; `toollog replay score RUN` if it accepted an answer of a run"
    emit_object({"id": label_id}, text, Output("json" if as_json else "auto"))


def _said(
    verdict: str | None, calls: tuple[tuple[str, str], ...], name: str | None, value: str | None
) -> dict[str, Any]:
    if (name is None) != (value is None):
        raise click.UsageError("--name and --value belong together")
    if [verdict is not None, bool(calls), name is not None].count(True) != 1:
        raise click.UsageError("say one of --good, --bad, --call, --answer, --ask and --name")
    if name is not None:
        value_num, value_text = value_of(value or "")
        return {"name": name, "value_num": value_num, "value_text": value_text}
    if verdict in ("good", "bad"):
        return {"name": QUALITY, "value_num": 1.0 if verdict == "good" else -1.0}
    if verdict is not None:
        return {"name": EXPECTED, "correction": ANSWER if verdict == "answer" else ASK}
    made = [{"name": name, "arguments": _arguments(text)} for name, text in calls]
    return {"name": EXPECTED, "correction": made[0] if len(made) == 1 else {"tool_calls": made}}


def _arguments(text: str) -> Json:
    try:
        value = parse_json(text, max_depth=MAX_DEPTH)
    except InvalidJsonError as error:
        raise ConfigError(f"the arguments are not JSON: {error}", hint='for example \'{"query": "cat"}\'') from None
    if not isinstance(value, dict):
        raise ConfigError("the arguments are not a JSON object", hint='for example \'{"query": "cat"}\'')
    return value
