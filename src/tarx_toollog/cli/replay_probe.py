"""``toollog replay probe``: change one thing about scenarios, and see what that does."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tarx_toollog.cli import exits
from tarx_toollog.cli.app import App, pass_app
from tarx_toollog.cli.options import json_option, only_with_resume
from tarx_toollog.cli.output import Output, emit_object
from tarx_toollog.cli.replay_files import writable
from tarx_toollog.cli.replay_run import json_object, run_progress
from tarx_toollog.errors import ConfigError
from tarx_toollog.replay.probes.context import FILLS
from tarx_toollog.replay.probes.levels import MARGIN
from tarx_toollog.replay.probes.tools import LEVELS

if TYPE_CHECKING:
    from tarx_toollog.replay.probes.cases import Planned
    from tarx_toollog.replay.probes.identity.questions import Question
    from tarx_toollog.replay.running.asking import Overrides
    from tarx_toollog.replay.running.endpoint import Patience
    from tarx_toollog.store.log import ToolLog

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)

_TARGET = (
    "endpoint",
    "model",
    "name",
    "temperature",
    "seed",
    "extra_body",
    "api_key_env",
    "retries",
    "resume",
    "dry_run",
)


@dataclass(frozen=True, slots=True)
class _Target:
    """Whom to ask, and how."""

    endpoint: str | None
    model: str | None
    name: str | None
    temperature: float
    seed: int | None
    extra_body: str | None
    api_key_env: str | None
    retries: int
    resume: str | None
    dry_run: bool

    @property
    def patience(self) -> "Patience":
        """How long to wait for the server."""
        from tarx_toollog.replay.running.endpoint import Patience

        return Patience(retries=self.retries)

    @property
    def overrides(self) -> "Overrides":
        """What is sent along."""
        from tarx_toollog.replay.running.asking import Overrides

        return Overrides(self.model or "", self.temperature, self.seed, extra_body=json_object(self.extra_body))


def _target_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of a run; the command gets ``target``."""

    @wraps(function)
    def with_target(*args: Any, **options: Any) -> Any:
        return function(*args, target=_Target(**{key: options.pop(key) for key in _TARGET}), **options)

    for option in (
        click.option(
            "--dry-run",
            is_flag=True,
            help="Say how much there is to ask, and whether it can be told; at most count tokens with the server.",
        ),
        click.option("--resume", metavar="RUN", help="Go on with a run that stopped, or show one that is finished."),
        click.option("--retries", type=click.IntRange(min=0), default=4, show_default=True, help="For no answer."),
        click.option("--api-key-env", metavar="VARIABLE", help="Environment variable that holds the API key."),
        click.option("--extra-body", metavar="JSON", help="Keys for every request body; null removes one."),
        click.option("--seed", type=int, help="Sampling seed."),
        click.option(
            "--temperature", type=click.FloatRange(min=0), default=0.0, show_default=True, help="Sampling temperature."
        ),
        click.option("--name", metavar="RUN", help="Name of the run; default: suite, model and time."),
        click.option("--model", metavar="NAME", help="Model name to ask for."),
        click.option("--endpoint", metavar="URL", help="Base URL of the server."),
    ):
        with_target = option(with_target)
    return with_target


@click.group("probe")
def probe() -> None:
    """Change one thing about scenarios, ask both ways, and read the pairs."""


_LIMIT = click.option("-n", "--limit", type=click.IntRange(min=1), help="At most N scenarios, a random sample.")
_RUN = click.option("--run", "of_run", metavar="RUN", help="Only scenarios that this run got right in full.")
_MARGIN = click.option(
    "--margin",
    type=click.FloatRange(0, 100),
    default=MARGIN * 100,
    show_default=True,
    metavar="POINTS",
    help="What may be lost before a level breaks.",
)


@probe.command("tools")
@click.argument("tag", required=False)
@_RUN
@click.option(
    "--levels",
    default=",".join(map(str, LEVELS)),
    show_default=True,
    metavar="N,N,…",
    help="How many tools more.",
)
@_LIMIT
@_MARGIN
@_target_options
@json_option
@pass_app
def tools(
    app: App,
    /,
    tag: str | None,
    of_run: str | None,
    levels: str,
    limit: int | None,
    margin: float,
    target: _Target,
    as_json: bool,
) -> int:
    """How many more tools may be offered before the model takes a wrong one? Does their order matter?

    \b
    toollog replay probe tools --run base --endpoint http://127.0.0.1:11435 --model qwen2.5-7b
    toollog replay probe tools may --levels 10,30 -n 40 --endpoint http://127.0.0.1:11435 --model tuned
    toollog replay probe tools --resume may+tools-tuned-20260601-101500 --json
    """  # fmt: skip
    from tarx_toollog.replay.probes.tools import plan_tools
    from tarx_toollog.replay.probes.tools_report import tools_report, tools_text

    with writable(app) as log:

        def plan() -> "Planned":
            return plan_tools(log, tag, of_run, limit, _numbers(levels, "--levels"))

        name = _asked(app, log, target, plan, as_json=as_json)
        if name is None:
            return exits.OK
        report = tools_report(log, name, margin / 100)
    emit_object(report.to_json(), tools_text(report), Output("json" if as_json else "auto"))
    return exits.OK if report.reading.is_valid else exits.ENDPOINT


@probe.command("context")
@click.argument("tag", required=False)
@_RUN
@click.option(
    "--fills", default=",".join(map(str, FILLS)), show_default=True, metavar="N,N,…", help="Filled, in hundredths."
)
@click.option("--n-ctx", type=click.IntRange(min=1), metavar="TOKENS", help="Context; default: what the server says.")
@click.option("--neutral", is_flag=True, help="Fill with text about nothing, not with other turns of the log.")
@click.option("--distractors", is_flag=True, help="Put another value of the same kind into the padding.")
@_LIMIT
@_target_options
@json_option
@pass_app
def context(
    app: App,
    /,
    tag: str | None,
    of_run: str | None,
    fills: str,
    n_ctx: int | None,
    neutral: bool,
    distractors: bool,
    limit: int | None,
    target: _Target,
    as_json: bool,
) -> int:
    """How full may the context be, and does it matter where the needed fact stands?

    \b
    toollog replay probe context --run base -n 40 --endpoint http://127.0.0.1:11435 --model qwen2.5-7b
    toollog replay probe context --run base --fills 50,90 --neutral --endpoint http://127.0.0.1:11435 --model tuned
    """  # fmt: skip
    from tarx_toollog.replay.probes.calibration import Server
    from tarx_toollog.replay.probes.context_report import context_report
    from tarx_toollog.replay.probes.context_suite import Filling, plan_context
    from tarx_toollog.replay.probes.context_text import context_text

    filling = Filling(_numbers(fills, "--fills"), n_ctx, neutral, distractors)
    with writable(app) as log:

        def plan() -> "Planned":
            server = Server(target.endpoint or "", target.patience, target.api_key_env)
            return plan_context(log, tag, of_run, limit, filling, target.overrides, server)

        name = _asked(app, log, target, plan, as_json=as_json)
        if name is None:
            return exits.OK
        report = context_report(log, name)
    emit_object(report.to_json(), context_text(report), Output("json" if as_json else "auto"))
    return exits.OK if report.reading.is_valid else exits.ENDPOINT


@probe.command("identity")
@click.argument("tag", required=False)
@click.option("--questions", type=_FILE, metavar="FILE", help="JSON lines: what is asked, and what is right.")
@click.option("--identity", "rows", type=_FILE, metavar="FILE", help="Identity rows, of which those for evaluation.")
@click.option("--own-name", metavar="NAME", help="Who the model is.")
@click.option("--own-author", metavar="NAME", help="Who makes it.")
@click.option("--system-prompt", metavar="TEXT", help="Default: the one that the log used most.")
@click.option("--no-tools", is_flag=True, help="Offer no tools with the questions.")
@click.option("--against", metavar="RUN", help="The run of the base model: four arms.")
@_LIMIT
@_MARGIN
@_target_options
@json_option
@pass_app
def identity(
    app: App,
    /,
    tag: str | None,
    system_prompt: str | None,
    no_tools: bool,
    against: str | None,
    limit: int | None,
    margin: float,
    target: _Target,
    as_json: bool,
    **asked: Any,
) -> int:
    """Does the model say who it is: with the system prompt, without it, and late in a dialogue?

    With TAG, the steps of that suite are asked with and without the system prompt, too.

    \b
    toollog replay probe identity may --questions who.jsonl --name who --endpoint http://127.0.0.1:11435 --model base
    toollog replay probe identity may --questions who.jsonl --against who --endpoint … --model tuned
    toollog replay probe identity --resume who-tuned --against who --json
    """  # fmt: skip
    from tarx_toollog.replay.probes.identity.report import identity_report
    from tarx_toollog.replay.probes.identity.suite import plan_identity
    from tarx_toollog.replay.probes.identity.text import identity_text

    with writable(app) as log:

        def plan() -> "Planned":
            return plan_identity(log, _questions(**asked), tag, limit, system_prompt, with_tools=not no_tools)

        name = _asked(app, log, target, plan, as_json=as_json)
        if name is None:
            return exits.OK
        report = identity_report(log, name, against, margin / 100)
    emit_object(report.to_json(), identity_text(report), Output("json" if as_json else "auto"))
    return exits.OK if report.is_valid else exits.ENDPOINT


def _questions(
    questions: Path | None, rows: Path | None, own_name: str | None, own_author: str | None
) -> "tuple[Question, ...]":
    from tarx_toollog.replay.probes.identity.questions import read_questions

    if (questions is None) == (rows is None):
        raise click.UsageError("one of --questions and --identity is needed")
    if questions is not None:
        given = (("name", own_name), ("maker", own_author))
        return read_questions(questions, {key: value for key, value in given if value is not None})
    if rows is None or own_name is None:
        raise click.UsageError("--identity needs --own-name")
    return _held_out(rows, own_name, own_author)


def _held_out(path: Path, name: str, author: str | None) -> "tuple[Question, ...]":
    """Return the questions of a file of identity rows that no training has seen: whole groups of paraphrases.

    It stands here because exports and replays know nothing of each other.
    """
    from tarx_toollog.export.sources.identity_file import IdentityNames, read_identity
    from tarx_toollog.export.sources.jsonl_input import Intake
    from tarx_toollog.export.splitting import split_of_name
    from tarx_toollog.replay.probes.identity.questions import Question, answerable
    from tarx_toollog.replay.scorers.identity.judging import TextCheck

    rows = read_identity(path, IdentityNames(name, author), Intake(path.name))
    kept = [row for row in rows if row.system is None and split_of_name(row.cluster) == "eval"]
    return answerable(
        (Question(f"line-{row.line}", row.chat, TextCheck(name, author, is_negative=row.is_negative,
                                                          family=row.cluster)), row.answer)
        for row in kept
    )  # fmt: skip


def _asked(app: App, log: "ToolLog", target: _Target, plan: Callable[[], "Planned"], *, as_json: bool) -> str | None:
    """Ask what is to be asked, and return the name of the run; None when it is only to be said how much that is."""
    from tarx_toollog.replay.probes.cases import place
    from tarx_toollog.replay.running.runner import RunRequest, replay
    from tarx_toollog.store.replays import Replays

    if target.resume is not None:
        only_with_resume("api_key_env", "retries", "margin", "against", "as_json")
        if Replays(log).run(target.resume).status == "finished":
            return target.resume
        request = RunRequest(target.resume, resume=True, api_key_env=target.api_key_env, patience=target.patience)
    elif not target.endpoint or not target.model:
        raise click.UsageError("--endpoint and --model are needed")
    else:
        planned = plan()
        for warning in planned.warnings:
            app.say(warning)
        if target.dry_run:
            emit_object(planned.to_json(), _plan_text(planned), Output("json" if as_json else "auto"))
            return None
        suite = place(log, planned)
        request = RunRequest(
            name=target.name or f"{suite}-{target.model}-{datetime.now(UTC):%Y%m%d-%H%M%S}",
            tag=suite,
            endpoint=target.endpoint,
            overrides=target.overrides,
            api_key_env=target.api_key_env,
            patience=target.patience,
        )
    try:
        with run_progress(app, "steps of variants") as listener:
            replay(log, request, listener, app.say)
    except KeyboardInterrupt:
        app.say(f"interrupted; what is answered is kept. Go on with: --resume {request.name}")
        raise
    return request.name


def _plan_text(planned: "Planned") -> str:
    found = planned.to_json()
    return f"{found['cases']} cases, {found['variants']} variants of them, {found['requests']} requests\n"


def _numbers(text: str, option: str) -> tuple[int, ...]:
    try:
        found = sorted({int(part) for part in text.split(",")})
    except ValueError:
        found = []
    if not found or found[0] < 1 or found[-1] > 100:
        raise ConfigError(f"{option} {text} is no list of numbers from 1 to 100", hint="for example 5,10,20")
    return tuple(found)
