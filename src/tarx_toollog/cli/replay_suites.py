"""``toollog replay build``, ``lint`` and ``accept``: what a suite expects, and whether that is right."""

import getpass
from pathlib import Path

import click

from tarx_toollog.canonical import MAX_DEPTH, InvalidJsonError, Json, parse_json
from tarx_toollog.cli.app import App, pass_app
from tarx_toollog.cli.options import COUNT, filter_options, json_option, tag_option
from tarx_toollog.cli.output import Output, emit_object
from tarx_toollog.cli.replay_files import writable
from tarx_toollog.errors import CheckFailedError, ConfigError
from tarx_toollog.replay.matching.rules import NO_RULES, load_rules
from tarx_toollog.replay.overlay import told_rules
from tarx_toollog.replay.scenario import BRONZE, CORRECTED, GOLD, SILVER, Scenario
from tarx_toollog.replay.suites.argument_rules import Said
from tarx_toollog.replay.suites.build_report import BuildReport
from tarx_toollog.replay.suites.freeze import REASONS
from tarx_toollog.replay.suites.freeze import build as build_suite
from tarx_toollog.replay.suites.label_lint import CODES, LintFinding, LintReport
from tarx_toollog.replay.suites.label_lint import lint as lint_scenarios
from tarx_toollog.store.accepted import Accepted
from tarx_toollog.store.filters import Filters
from tarx_toollog.store.labels import Labels
from tarx_toollog.store.suites import Suites

_TIERS = {
    GOLD: "a person said what is right",
    SILVER: "the user, a rule or a model approved, and nothing spoke against it",
    CORRECTED: "the logged answer went wrong, and another took its place",
    BRONZE: "what was logged. Nobody has verified that it was right: agreement, not accuracy",
}
_SHOWN_STRATA = 12  # lines that fit on a screen; --json has all
_EXAMPLES = 2


@click.command("build")
@tag_option
@click.option(
    "--rules",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="TOML: what else is right for single arguments.",
)
@click.option("--sample", type=COUNT, metavar="N", help="At most N scenarios: some of each kind of turn, weighted.")
@filter_options()
@json_option
@pass_app
def build(app: App, tag: str, rules: Path | None, sample: int | None, filters: Filters, as_json: bool) -> None:
    """Freeze logged turns into a suite of scenarios, which never changes afterwards.

    Only conversations that are kept for evaluation, because training takes the others; --split says otherwise.

    \b
    toollog replay build --tag may --since 2026-05-01
    toollog replay build --tag may --since 2026-05-01 --sample 400
    toollog replay build --tag all --split eval --split dev --split train
    """
    with writable(app) as log:
        report = build_suite(log, tag, filters, NO_RULES if rules is None else load_rules(rules), sample=sample)
    emit_object(report.to_json(), _text(report), _as_output(as_json))


@click.command("lint")
@click.argument("tag")
@json_option
@pass_app
def lint(app: App, tag: str, as_json: bool) -> None:
    """Say what is wrong with what the scenarios of TAG expect. Exit code 4 when something cannot be right.

    \b
    toollog replay lint may
    """
    with app.log() as log:
        scenarios = [Scenario.from_json(row.definition) for row in Suites(log).scenarios(tag)]
    found = lint_scenarios(scenarios)
    text = (
        "\n".join(_lint_lines(found, each=len(found.findings))) or f"{len(scenarios)} scenarios: nothing to object to"
    )
    emit_object({"tag": tag, "scenarios": len(scenarios), **found.to_json()}, text, _as_output(as_json))
    if found.errors:
        raise CheckFailedError(
            f"{found.errors} expectations of {tag!r} cannot be right",
            hint="correct the labels (`toollog labels add EXCHANGE …`), or the file if it was imported, and freeze it "
            "under another tag",
        )


@click.command("accept")
@click.argument("exchange", required=False)
@click.option("--run", "run_name", metavar="RUN", help="Instead of EXCHANGE: the run …")
@click.option("--scenario", "scenario_uid", metavar="UID", help="… its scenario …")
@click.option("--step", "step_no", type=COUNT, help="… and the step.")
@click.option(
    "--rule",
    "rules",
    nargs=2,
    multiple=True,
    metavar="ARGUMENT RULE",
    help="Not the whole answer: a rule for an argument that differs. May be repeated.",
)
@click.option("--comment", metavar="TEXT", help="Why.")
@click.option("--by", metavar="NAME", help="Who says so; default: your login name.")
@json_option
@pass_app
def accept(
    app: App,
    exchange: str | None,
    run_name: str | None,
    scenario_uid: str | None,
    step_no: int | None,
    rules: tuple[tuple[str, str], ...],
    comment: str | None,
    by: str | None,
    as_json: bool,
) -> None:
    """Say that an answer of a run is as right as the expected one. It counts for all runs that are scored afterwards.

    EXCHANGE is an exchange_uid of `toollog replay show RUN`, or its beginning. With --rule you say of single arguments
    what is right there from now on: `oneof` is this value too, `text` any wording with the same facts, `set` any
    order, `present` any value, `ignore` any value or none; `number` and `regex` need more, as JSON.

    \b
    toollog replay accept 0199a3
    toollog replay accept --run base --scenario 0199b7 --step 2 --comment "another word for it"
    toollog replay accept 0199a3 --rule query text --rule limit ignore
    toollog replay accept 0199a3 --rule price '{"rule": "number", "rtol": 0.01}'
    """
    from tarx_toollog.replay.suites.accepting import accept as accept_answer

    by_place = (run_name, scenario_uid, step_no)
    if (exchange is None) == (None in by_place) or (exchange is not None and any(by_place)):
        raise click.UsageError("name EXCHANGE, or --run, --scenario and --step")
    with writable(app) as log:
        if run_name is not None and scenario_uid is not None and step_no is not None:
            uid = Accepted(log).answer_of(run_name, scenario_uid, step_no)
        else:
            uid = Labels(log).target(exchange or "").uid
        done = accept_answer(log, uid, by=by or getpass.getuser(), comment=comment, rules=_said(rules))
    lines = [f"accepted (label {done.label_id}); {done.rescored} answers of {done.run} scored again"]
    lines += [f"right for {place} from now on: {told}" for place, told in told_rules(done.rules)]
    if done.other_runs:
        runs = "1 other run" if len(done.other_runs) == 1 else f"{len(done.other_runs)} other runs"
        lines.append(f"it changes {runs}: " + ", ".join(f"toollog replay score {name}" for name in done.other_runs))
    emit_object(done.to_json(), "\n".join(lines), _as_output(as_json))


def _said(rules: tuple[tuple[str, str], ...]) -> list[Said]:
    return [Said(argument, _rule(told)) for argument, told in rules]


def _rule(told: str) -> Json:
    """Return a rule as it was typed: its name, or a JSON object."""
    if not told.lstrip().startswith("{"):
        return told
    try:
        return parse_json(told, max_depth=MAX_DEPTH)
    except InvalidJsonError as error:
        raise ConfigError(
            f"the rule is not JSON: {error}", hint='for example \'{"rule": "number", "atol": 1}\''
        ) from None


def _as_output(as_json: bool) -> Output:
    return Output("json" if as_json else "auto")


def _text(report: BuildReport) -> str:
    equal = f", {report.equal} of which ask the same as another" if report.equal else ""
    lines = [
        f"{report.taken} scenarios with {report.steps} steps frozen as {report.tag!r} from {report.turns} turns{equal}"
    ]
    if not report.taken:
        lines[0] = f"nothing is frozen: none of {report.turns} turns can be asked without a label"
    elif not report.is_new:
        lines[0] = f"the suite {report.tag!r} is there already, with these {report.taken} scenarios"
    lines += [f"    {n:>6}  {tier}: {_TIERS[tier]}" for tier, (n, _) in report.tiers.items() if n]
    if report.kept_for:
        others = ", ".join(f"{split} {count}" for split, count in report.kept_for.items())
        lines.append(f"{sum(report.kept_for.values())} more turns match; their conversations are kept for: {others}")
    if trained_on := [split for split in report.splits if split != "eval"]:
        lines.append(f"with conversations kept for {' and '.join(trained_on)}: a model may have been trained on them")
    lines += _strata_lines(report)
    for title, counts in (("turns skipped", report.skipped), ("single steps left out", report.omitted)):
        if counts:
            lines.append(f"{title}:")
            lines += [f"    {count:>6}  {REASONS[reason]}" for reason, count in counts.items()]
    lines += _lint_lines(report.lint, each=_EXAMPLES)
    if report.next_step is not None:
        lines.append(f"next: {report.next_step}")
    return "\n".join(lines)


def _strata_lines(report: BuildReport) -> list[str]:
    if not report.needs_label and report.sample is None:
        return []  # every turn stands for itself
    lines = ["    turns  frozen  weight  need a label  kind of turn"]
    for stratum in report.strata[:_SHOWN_STRATA]:
        frozen = len(stratum.drawn)
        weight = f"{stratum.turns / frozen:.1f}" if frozen else "-"
        gap = "" if stratum.is_covered else "   NOT COVERED"
        lines.append(
            f"    {stratum.turns:>5}  {frozen:>6}  {weight:>6}  {stratum.needs_label:>12}  {stratum.name}{gap}"
        )
    if more := len(report.strata) - _SHOWN_STRATA:
        lines += [f"    and {more} more kinds: --json has all"] if more > 0 else []
    if report.uncovered:
        lines.append(
            f"of {report.uncovered:.1%} of the turns the suite says nothing: no chain of their kind can be judged"
        )
    return lines


def _lint_lines(found: LintReport, each: int) -> list[str]:
    lines = []
    for code, count in found.counts.items():
        examples = [finding for finding in found.findings if finding.code == code][:each]
        lines.append(f"{examples[0].level}: {CODES[code]} ({count})")
        lines += [f"    {_place(one)}, step {one.step_no}: {one.detail}" for one in examples]
    return lines


def _place(one: LintFinding) -> str:
    """Say where a finding stands: what was imported has no exchange."""
    return f"{one.exchange_uid or one.conversation_uid}  turn {one.turn_no}"
