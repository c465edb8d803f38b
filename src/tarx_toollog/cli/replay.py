"""``toollog replay``: freeze logged turns, put them to another model, read the result."""

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tarx_toollog.cli import exits
from tarx_toollog.cli.app import App, pass_app
from tarx_toollog.cli.options import filter_options, json_option, output_options
from tarx_toollog.cli.output import Output, emit_object, emit_rows
from tarx_toollog.cli.progress import Progress
from tarx_toollog.cli.replay_report import compare, gate, report
from tarx_toollog.errors import ConfigError
from tarx_toollog.replay.freeze import REASONS, BuildReport
from tarx_toollog.replay.freeze import build as build_scenarios
from tarx_toollog.replay.matching.rules import NO_RULES, load_rules
from tarx_toollog.replay.report import build_report, trial_rows
from tarx_toollog.replay.scoring import score_run
from tarx_toollog.replay.suite_file import exported, import_file
from tarx_toollog.replay.text_report import report_text, share_text
from tarx_toollog.store.filters import Filters
from tarx_toollog.store.replays import Replays

if TYPE_CHECKING:
    from tarx_toollog.replay.runner import Progress as RunProgress
    from tarx_toollog.replay.runner import RunRequest
    from tarx_toollog.store.log import ToolLog

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
    """Replay logged chains against another model, and compare."""


for _command in (report, gate, compare):
    group.add_command(_command)


@group.command("build")
@click.option("--tag", required=True, help="Name of the set of scenarios.")
@click.option(
    "--rules",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="TOML: what else is right for single arguments.",
)
@filter_options()
@json_option
@pass_app
def build(app: App, tag: str, rules: Path | None, filters: Filters, as_json: bool) -> None:
    """Freeze logged turns into scenarios. Again with the same tag adds what is new.

    Only conversations that are kept for evaluation, because training takes the others; --split says otherwise.

    \b
    toollog replay build --tag may --since 2026-05-01
    toollog replay build --tag memory --tool tarx_recall --tool tarx_remember
    toollog replay build --tag all --split eval --split dev --split train
    """
    with _writable(app) as log:
        report = build_scenarios(log, tag, filters, NO_RULES if rules is None else load_rules(rules))
    emit_object(report.to_json(), _build_text(report), _as_output(as_json))


@group.command("import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--tag", required=True, help="Name of the set of scenarios.")
@json_option
@pass_app
def import_(app: App, file: Path, tag: str, as_json: bool) -> None:
    """Take scenarios from a file of JSON lines, in which a person says what is right.

    \b
    toollog replay import heldout.jsonl --tag heldout
    """
    with _writable(app) as log:
        found = import_file(log, file, tag)
    text = (
        f"{found.scenarios} scenarios with {found.steps} steps under {tag!r}; {found.already_there} were there already"
    )
    emit_object(found.to_json(), text, _as_output(as_json))


@group.command("export")
@click.argument("tag")
@pass_app
def export(app: App, tag: str) -> None:
    """Write the scenarios of TAG as JSON lines, which `replay import` reads.

    \b
    toollog replay export may > may.jsonl
    """
    with app.log() as log:
        for scenario in exported(log, tag):
            emit_object(scenario, "", Output("jsonl"))


@group.command("run")
@click.argument("tag", required=False)
@click.option("--endpoint", metavar="URL", help="Base URL of the server; `recorded:` for the answers in the log.")
@click.option("--model", metavar="NAME", help="Model name to ask for.")
@click.option("--name", metavar="RUN", help="Name of the run; default: tag, model and time.")
@click.option("--temperature", type=float, default=0.0, show_default=True, help="Sampling temperature.")
@click.option("--seed", type=int, help="Sampling seed.")
@click.option("--stream", is_flag=True, help="Ask for streamed answers.")
@click.option("-n", "--limit", type=click.IntRange(min=1), help="At most N scenarios, a random sample.")
@click.option(
    "--attempts", type=click.IntRange(min=1, max=100), default=1, show_default=True, help="Ask each step so often."
)
@click.option(
    "--until",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="SHARE",
    help="End as soon as it is clear whether so many chains are right.",
)
@click.option("--extra-body", metavar="JSON", help="Keys for every request body; null removes one.")
@click.option("--concurrency", type=click.IntRange(min=1), default=1, show_default=True, help="Requests at a time.")
@click.option(
    "--retries", type=click.IntRange(min=0), default=4, show_default=True, help="Tries more when the network fails."
)
@click.option("--resume", metavar="RUN", help="Go on with a run that stopped; nothing else is needed.")
@json_option
@pass_app
def run(app: App, /, as_json: bool, **options: Any) -> int:
    """Ask a model every step of the scenarios of TAG, then report.

    \b
    toollog replay run may --endpoint http://127.0.0.1:11435 --model qwen2.5-7b
    toollog replay run may --endpoint recorded: --model log
    toollog replay run --resume may-qwen2.5-7b-20260601-101500
    """
    from tarx_toollog.replay.runner import replay

    request = _request(**options)
    if request.attempts > 1 and request.overrides.temperature == 0:
        app.say("at temperature 0 all attempts are alike; --temperature 0.8 --seed 1 asks as people do")
    with _writable(app) as log:
        try:
            with _progress(app) as listener:
                replay(log, request, listener)
        except KeyboardInterrupt:
            app.say(f"interrupted; what is answered is kept. Go on with: toollog replay run --resume {request.name}")
            raise
        report = build_report(log, request.name)
    emit_object(report.to_json(), report_text(report), _as_output(as_json))
    return exits.OK if report.is_valid else exits.ENDPOINT


@group.command("noise")
@click.argument("name", metavar="RUN")
@click.option(
    "--share", type=click.FloatRange(0, 1), default=0.1, show_default=True, help="Of the scenarios: ask so many again."
)
@json_option
@pass_app
def noise_(app: App, name: str, share: float, as_json: bool) -> None:
    """Ask a part of a run again, of the same server, and say how often the verdict changes by itself.

    \b
    toollog replay noise base
    """
    from tarx_toollog.replay.noise import asked_again, noise, noise_text
    from tarx_toollog.replay.runner import replay

    with _writable(app) as log:
        request = asked_again(log, name, share)
        with _progress(app) as listener:
            replay(log, request, listener)
        found = noise(log, request.name)
    emit_object(found.to_json(), noise_text(found), _as_output(as_json))


@group.command("score")
@click.argument("name", metavar="RUN")
@pass_app
def score(app: App, name: str) -> None:
    """Score the answers of a run again, after a change of the scorers. Asks no model."""
    with _writable(app) as log:
        app.say(f"{score_run(log, name)} answers scored")


@group.command("list")
@output_options
@pass_app
def list_(app: App, output: Output) -> None:
    """List the sets of scenarios and the runs, newest first."""
    with app.log() as log:
        replays = Replays(log)
        tags = [{"kind": "scenarios", "name": row["tag"], "at": row["newest_at"], **row} for row in replays.tags()]
        runs = [
            {"kind": "run", "name": row.name, "tag": row.tag, "model": row.model, "status": row.status,
             "at": row.started_at}
            for row in replays.runs()
        ]  # fmt: skip
    if not emit_rows(tags + runs, _LIST, output, spare=("steps", "tag", "scenarios")):
        app.say("no scenarios yet; `toollog replay build --tag NAME` freezes some")


@group.command("show")
@click.argument("name", metavar="RUN")
@click.option("--failed", is_flag=True, help="Only steps that do not agree.")
@output_options
@pass_app
def show(app: App, name: str, failed: bool, output: Output) -> None:
    """Show every step of a run with its verdict."""
    with app.log() as log:
        rows = [row for row in trial_rows(log, name) if not failed or not row["agrees"]]
    columns = _TRIALS_FOR_PEOPLE if output.is_for_people else _TRIALS
    if not emit_rows(rows, columns, output, spare=("status", "turn_no", "step_no")):
        app.say("nothing matched")


@contextmanager
def _writable(app: App) -> Iterator["ToolLog"]:
    from tarx_toollog.store.log import ToolLog

    with app.log():
        pass  # opening for writing would make a database that is missing
    with ToolLog.open(settings=app.settings(), read_only=False) as log:
        yield log


def _as_output(as_json: bool) -> Output:
    return Output("json" if as_json else "auto")


def _request(
    tag: str | None,
    endpoint: str | None,
    model: str | None,
    name: str | None,
    temperature: float,
    seed: int | None,
    stream: bool,
    limit: int | None,
    attempts: int,
    until: float | None,
    extra_body: str | None,
    concurrency: int,
    retries: int,
    resume: str | None,
) -> "RunRequest":
    from tarx_toollog.replay.asking import Overrides
    from tarx_toollog.replay.endpoint import Patience
    from tarx_toollog.replay.runner import RunRequest

    patience = Patience(retries=retries)
    if resume is not None:
        if tag or endpoint or model or name:
            raise click.UsageError("--resume takes tag, endpoint, model and name from the run")
        return RunRequest(name=resume, resume=True, concurrency=concurrency, patience=patience)
    if not tag or not endpoint or not model:
        raise click.UsageError("TAG, --endpoint and --model are needed")
    return RunRequest(
        name=name or f"{tag}-{model}-{datetime.now(UTC):%Y%m%d-%H%M%S}",
        tag=tag,
        endpoint=endpoint,
        overrides=Overrides(model, temperature, seed, stream, _json_object(extra_body)),
        limit=limit,
        attempts=attempts,
        until=until,
        concurrency=concurrency,
        patience=patience,
    )


def _json_object(text: str | None) -> dict[str, Any]:
    try:
        value = {} if text is None else json.loads(text)
    except ValueError as error:
        raise ConfigError(
            f"--extra-body is not JSON: {error}", hint="for example '{\"cache_prompt\": false}'"
        ) from None
    if not isinstance(value, dict):
        raise ConfigError("--extra-body is not a JSON object", hint="for example '{\"cache_prompt\": false}'")
    return value


@contextmanager
def _progress(app: App) -> Iterator[Any]:
    with ExitStack() as stack:
        bars: list[Progress] = []

        def listen(now: "RunProgress") -> None:
            if not bars:
                bars.append(stack.enter_context(Progress("steps", now.total, quiet=app.quiet)))
            bar = bars[0]
            left = "" if now.eta_s is None else f", about {now.eta_s / 60:.0f} min left"
            bar.label = f"steps, agreement so far {share_text(now.agreement).strip()}{left}"
            bar.advance(now.done - bar.count)

        yield listen


def _build_text(report: BuildReport) -> str:
    lines = [
        f"{report.taken} scenarios with {report.steps} steps frozen under {report.tag!r} from {report.turns} turns",
        f"{report.already_there} were there already",
        "bronze: they expect what was logged. Nobody has verified that it was right.",
    ]
    if report.kept_for:
        others = ", ".join(f"{split} {count}" for split, count in report.kept_for.items())
        lines.append(f"{sum(report.kept_for.values())} more turns match; their conversations are kept for: {others}")
    if trained_on := [split for split in report.splits if split != "eval"]:
        lines.append(f"with conversations kept for {' and '.join(trained_on)}: a model may have been trained on them")
    for title, counts in (("turns skipped", report.skipped), ("single steps left out", report.omitted)):
        if counts:
            lines.append(f"{title}:")
            lines += [f"    {count:>6}  {REASONS[reason]}" for reason, count in counts.items()]
    return "\n".join(lines)
