"""``toollog replay run`` and ``noise``: put scenarios to a model."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast, get_args

import click

from tarx_toollog.cli import exits
from tarx_toollog.cli.app import App, pass_app
from tarx_toollog.cli.options import json_option, only_with_resume
from tarx_toollog.cli.output import Output, emit_object
from tarx_toollog.cli.progress import Progress
from tarx_toollog.cli.replay_files import writable
from tarx_toollog.errors import ConfigError
from tarx_toollog.replay.reports.report import build_report
from tarx_toollog.replay.reports.text_report import report_text, share_text
from tarx_toollog.replay.results import SIMULATORS, Effect
from tarx_toollog.replay.running.asking import Overrides
from tarx_toollog.replay.running.history import History
from tarx_toollog.replay.running.server import Pace
from tarx_toollog.store.replays import CLOSED_LOOP, TEACHER_FORCED, Replays

if TYPE_CHECKING:
    from tarx_toollog.replay.running.headway import Progress as RunProgress
    from tarx_toollog.replay.running.runner import RunRequest
    from tarx_toollog.replay.running.work import Estimate
    from tarx_toollog.replay.turns.course import LoopOptions

_MODES = {"teacher-forced": TEACHER_FORCED, "closed-loop": CLOSED_LOOP}
_UNITS = {TEACHER_FORCED: "steps", CLOSED_LOOP: "turns"}
"""What a run of a mode asks one by one."""
_NO_SIMULATORS = "none"


@click.command("run")
@click.argument("tag", required=False)
@click.option(
    "--endpoint",
    "endpoints",
    metavar="URL",
    multiple=True,
    help="Base URL of the server; several share the work, if they serve the very same model. `recorded:` gives the "
    "answers in the log.",
)
@click.option("--model", metavar="NAME", help="Model name to ask for.")
@click.option("--name", metavar="RUN", help="Name of the run; default: tag, model and time.")
@click.option(
    "--mode",
    type=click.Choice(list(_MODES)),
    default="teacher-forced",
    show_default=True,
    help="Ask each step with the logged history, or let the model go its own way with recorded results.",
)
@click.option("--max-steps", type=click.IntRange(min=1), help="In a closed loop: of a turn; default: the log's + 4.")
@click.option(
    "--on-divergence",
    type=click.Choice(["stop", "error-result"]),
    default="stop",
    show_default=True,
    help="In a closed loop: what a call does whose result nobody knows; error-result is for looking, not for judging.",
)
@click.option(
    "--effect",
    "effects",
    metavar="TOOL=EFFECT",
    multiple=True,
    help="In a closed loop: what a tool does, read, write or idempotent; else its name decides.",
)
@click.option(
    "--simulator",
    "simulators",
    metavar="NAME",
    multiple=True,
    help="In a closed loop: these simulators only; `none` for none; default: all that there are.",
)
@click.option(
    "--fast/--strict",
    "fast",
    default=True,
    help="Fast (default) leaves the server its cache of prompts: chains of four steps took a quarter of the time. "
    "Strict reads every prompt from its beginning, one at a time: nothing that was asked before can change an answer.",
)
@click.option(
    "--temperature", type=click.FloatRange(min=0), default=0.0, show_default=True, help="Sampling temperature."
)
@click.option("--seed", type=int, help="Sampling seed; default: 1.")
@click.option("--stream", is_flag=True, help="Ask for streamed answers.")
@click.option(
    "--history",
    type=click.Choice([policy.value for policy in History]),
    default=History.REPAIR.value,
    show_default=True,
    help="Logged calls in the history that are no JSON: send them as they are, mended, or not at all.",
)
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
@click.option(
    "--concurrency",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Requests at a time and endpoint, at most as many as it has slots.",
)
@click.option(
    "--retries", type=click.IntRange(min=0), default=4, show_default=True, help="Tries more when the network fails."
)
@click.option("--api-key-env", metavar="NAME", help="Environment variable that holds the API key of the endpoints.")
@click.option(
    "--resume", metavar="RUN", help="Go on with a run that stopped, or join one that goes on; nothing else is needed."
)
@click.option("--dry-run", is_flag=True, help="Say how much there is to ask and how long it takes; ask nothing.")
@json_option
@pass_app
def run(app: App, /, as_json: bool, dry_run: bool, **options: Any) -> int:
    """Ask a model every step of the scenarios of TAG, then report.

    \b
    toollog replay run may --endpoint http://127.0.0.1:11435 --model qwen2.5-7b
    toollog replay run may --endpoint recorded: --model log
    toollog replay run --resume may-qwen2.5-7b-20260601-101500
    """
    from tarx_toollog.replay.running.runner import planned, replay

    if dry_run and options["resume"]:
        raise click.UsageError("--dry-run is for a run that has not begun")
    request = _request(**options)
    if dry_run:
        with app.log() as log:
            plan = planned(log, request)
        emit_object(plan.to_json(), _plan_text(plan, request.mode), _as_output(as_json))
        return exits.OK
    if request.attempts > 1 and request.overrides.temperature == 0:
        app.say("at temperature 0 all attempts are alike; --temperature 0.8 --seed 1 asks as people do")
    with writable(app) as log:
        mode = Replays(log).run(request.name).mode if request.resume else request.mode
        try:
            with run_progress(app, _UNITS[mode]) as listener:
                replay(log, request, listener, app.say)
        except KeyboardInterrupt:
            app.say(f"interrupted; what is answered is kept. Go on with: toollog replay run --resume {request.name}")
            raise
        report = build_report(log, request.name)
    emit_object(report.to_json(), report_text(report), _as_output(as_json))
    return exits.OK if report.is_valid else exits.ENDPOINT


@click.command("noise")
@click.argument("name", metavar="RUN")
@click.option(
    "--share", type=click.FloatRange(0, 1), default=0.1, show_default=True, help="Of the scenarios: ask so many again."
)
@json_option
@pass_app
def noise(app: App, name: str, share: float, as_json: bool) -> None:
    """Ask a part of a run again, of the same server, and say how often the verdict changes by itself.

    \b
    toollog replay noise base
    """
    from tarx_toollog.replay.running.noise import asked_again, noise_text
    from tarx_toollog.replay.running.noise import noise as noise_of
    from tarx_toollog.replay.running.runner import replay

    with writable(app) as log:
        request = asked_again(log, name, share)
        with run_progress(app, _UNITS[request.mode]) as listener:
            replay(log, request, listener, app.say)
        found = noise_of(log, request.name)
    emit_object(found.to_json(), noise_text(found), _as_output(as_json))


def _request(tag: str | None, resume: str | None, retries: int, **options: Any) -> "RunRequest":
    from tarx_toollog.replay.running.endpoint import Patience
    from tarx_toollog.replay.running.runner import RunRequest

    patience, endpoints = Patience(retries=retries), options["endpoints"]
    shared = {name: options[name] for name in ("concurrency", "api_key_env")}
    if endpoints:
        shared |= {"endpoint": endpoints[0], "more_endpoints": endpoints[1:]}
    if resume is not None:
        only_with_resume("endpoints", "concurrency", "retries", "api_key_env", "as_json")
        return RunRequest(resume, resume=True, patience=patience, **shared)
    if not tag or not endpoints or not options["model"]:
        raise click.UsageError("TAG, --endpoint and --model are needed")
    return RunRequest(
        name=options["name"] or f"{tag}-{options['model']}-{datetime.now(UTC):%Y%m%d-%H%M%S}",
        tag=tag,
        overrides=_overrides(options),
        mode=_MODES[options["mode"]],
        loop=_loop(options),
        pace=Pace.FAST if options["fast"] else Pace.STRICT,
        limit=options["limit"],
        attempts=options["attempts"],
        until=options["until"],
        patience=patience,
        **shared,
    )


def _loop(options: Mapping[str, Any]) -> "LoopOptions":
    from tarx_toollog.replay.turns.course import LoopOptions

    plain = LoopOptions()
    wanted = tuple(options["simulators"]) or plain.simulators
    if wanted == (_NO_SIMULATORS,):
        wanted = ()
    for name in wanted:
        SIMULATORS.get(name)  # a wrong name must not wait for the server
    return LoopOptions(wanted, _effects(options["effects"]), options["max_steps"], options["on_divergence"])


def _effects(declared: Sequence[str]) -> dict[str, Effect]:
    found: dict[str, Effect] = {}
    for one in declared:
        tool, _, effect = one.rpartition("=")
        if not tool or effect not in get_args(Effect):
            raise ConfigError(f"--effect {one} is not TOOL=EFFECT", hint="for example send_mail=write")
        found[tool] = cast("Effect", effect)
    return found


def _overrides(options: Mapping[str, Any]) -> Overrides:
    return Overrides(
        model=options["model"],
        temperature=options["temperature"],
        seed=options["seed"],
        stream=options["stream"],
        extra_body=json_object(options["extra_body"]),
        history=History(options["history"]),
    )


def _plan_text(plan: "Estimate", mode: str) -> str:
    asked = f"{plan.scenarios} scenarios, {plan.units} {'turns' if mode == CLOSED_LOOP else 'requests'}"
    if plan.minutes is None:
        return f"{asked}; the log does not tell how long the answers are\n"
    whose = "the log's own speed" if plan.speed_of is None else f"as fast as {plan.speed_of}"
    return (
        f"{asked}, about {plan.output_tokens:,} tokens of answers\n"
        f"about {plan.minutes:.0f} min at {plan.tokens_per_s:.1f} tokens/s ({whose}), one request at a time\n"
    )


def json_object(text: str | None) -> dict[str, Any]:
    """Return the value of ``--extra-body``."""
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
def run_progress(app: App, unit: str) -> Iterator[Callable[["RunProgress"], None]]:
    """Show how far a run is."""
    with ExitStack() as stack:
        bars: list[Progress] = []

        def listen(now: "RunProgress") -> None:
            if not bars:
                bars.append(stack.enter_context(Progress(unit, now.total, done=now.done, quiet=app.quiet)))
            bar = bars[0]
            speed = "" if now.tokens_per_s is None else f", {now.tokens_per_s:.1f} tokens/s"
            bar.label = f"{unit}, right so far {share_text(now.agreement).strip()}{speed}"
            bar.advance(now.done - bar.count)

        yield listen


def _as_output(as_json: bool) -> Output:
    return Output("json" if as_json else "auto")
