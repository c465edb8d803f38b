"""``toollog replay``: freeze logged turns, put them to another model, read the result."""

from collections.abc import Mapping
from typing import Any

import click

from tarx_toollog.cli.app import App, pass_app
from tarx_toollog.cli.options import json_option, output_options
from tarx_toollog.cli.output import Output, emit_object, emit_rows
from tarx_toollog.cli.replay_files import export, import_, writable
from tarx_toollog.cli.replay_probe import probe
from tarx_toollog.cli.replay_report import compare, gate, report
from tarx_toollog.cli.replay_run import noise, run
from tarx_toollog.cli.replay_suites import accept, build, lint
from tarx_toollog.replay.overlay import accepted_overlay
from tarx_toollog.replay.reports.report import trial_rows
from tarx_toollog.replay.scoring import score_run
from tarx_toollog.store.replays import Replays
from tarx_toollog.store.suites import Suites

_LIST = ("kind", "name", "tag", "model", "status", "scenarios", "steps", "at")
_TRIALS = (
    "scenario_uid",
    "conversation_uid",
    "turn_no",
    "step_no",
    "attempt",
    "status",
    "agrees",
    "failure",
    "expected",
    "actual",
    "exchange_uid",
    "error",
)
_TRIALS_FOR_PEOPLE = ("turn_no", "step_no", "status", "agrees", "failure", "expected", "actual", "exchange_uid")


@click.group()
def group() -> None:
    """Replay logged chains against a model: suites, runs, gate, compare, probes."""


for _command in (build, lint, accept, import_, export, run, noise, report, gate, compare, probe):
    group.add_command(_command)


@group.command("score")
@click.argument("name", metavar="RUN")
@json_option
@pass_app
def score(app: App, name: str, as_json: bool) -> None:
    """Score the answers of a run again, after a change of the scorers. Asks no model."""
    with writable(app) as log:
        scored = score_run(log, name)
    found = {"run": name, "answers": scored}
    emit_object(found, f"{scored} answers scored", Output("json" if as_json else "auto"))


@group.command("list")
@output_options
@pass_app
def list_(app: App, output: Output) -> None:
    """List the suites and the runs, newest first."""
    with app.log() as log:
        replays = Replays(log)
        tags = [{"kind": "suite", "name": row["tag"], "at": row["newest_at"], **row} for row in Suites(log).tags()]
        runs = [
            {"kind": "run", "name": row.name, "tag": row.tag, "model": row.model, "status": row.status,
             "at": row.started_at}
            for row in replays.runs()
        ]  # fmt: skip
    if not emit_rows(tags + runs, _LIST, output, spare=("steps", "tag", "scenarios")):
        app.say("no scenarios yet; `toollog replay build --tag NAME` freezes some")


@group.command("show")
@click.argument("name", metavar="RUN")
@click.option("--failed", is_flag=True, help="Only what went wrong, or has no verdict.")
@output_options
@pass_app
def show(app: App, name: str, failed: bool, output: Output) -> None:
    """Show every step of a run with its verdict."""
    with app.log() as log:
        rows = [row for row in trial_rows(log, name) if not failed or _has_failed(row)]
        accepted = str(accepted_overlay(log, Replays(log).run(name).tag))
    columns = _TRIALS_FOR_PEOPLE if output.is_for_people else _TRIALS
    if not emit_rows(rows, columns, output, spare=("status", "turn_no", "step_no")):
        app.say("nothing matched")
    if accepted:
        app.say(accepted)


def _has_failed(row: Mapping[str, Any]) -> bool:
    """Tell whether to look at a step. In a closed loop only the last one of a turn has a verdict."""
    return row["agrees"] is False or (row["agrees"] is None and (row["status"] != "ok" or row["failure"] is not None))
