"""``toollog replay report``, ``gate`` and ``compare``: what runs say."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from tarx_toollog.cli import exits
from tarx_toollog.cli.app import App, pass_app
from tarx_toollog.cli.options import json_option
from tarx_toollog.cli.output import Output, emit_object
from tarx_toollog.replay.probes.cases import require_no_probe
from tarx_toollog.replay.reports.comparison import MARGIN, compare_runs
from tarx_toollog.replay.reports.comparison_text import comparison_text
from tarx_toollog.replay.reports.details import details
from tarx_toollog.replay.reports.gate import MIN_ACCURACY, gate_run
from tarx_toollog.replay.reports.gate_text import gate_text
from tarx_toollog.replay.reports.pages import write_pages
from tarx_toollog.replay.reports.report import build_report
from tarx_toollog.replay.reports.text_report import report_text
from tarx_toollog.replay.statistics.proportion import DEFAULT_CONFIDENCE

_FORMS = {
    "html": ("html", "Also write a page: one file, for any browser."),
    "junit": ("xml", "Also write JUnit XML, for a CI server."),
    "md": ("md", "Also write Markdown, for a pull request."),
}
_BESIDE = "\0"  # what no file is called: an option of _FORMS without a value


def _file_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add an option for each form of a report that is a file."""
    for form, (suffix, text) in reversed(_FORMS.items()):
        function = click.option(
            f"--{form}",
            is_flag=False,
            flag_value=_BESIDE,
            metavar="[FILE]",
            help=f"{text} Default: RUN.{suffix}.",
        )(function)
    return function


@click.command("report")
@click.argument("name", metavar="RUN")
@_file_options
@click.option("--against", metavar="RUN", help="In the page: what that run got right and this one did not, first.")
@json_option
@pass_app
def report(app: App, /, name: str, against: str | None, as_json: bool, **named: str | None) -> None:
    """Show how often a run was right, and what went wrong.

    With intervals, by depth and signature.

    \b
    toollog replay report tuned
    toollog replay report tuned --html tuned.html --against base
    toollog replay report tuned --md "$GITHUB_STEP_SUMMARY" --junit tuned.xml
    toollog replay report tuned --html --junit --md
    """
    if against is not None and named["html"] is None:
        raise click.UsageError("--against is for the page: --html is needed, too")
    with app.log() as log:
        found = build_report(log, name)
        files = {form: _place(app, file, name, form) for form, file in named.items() if file is not None}
        if files:
            compared = None if against is None else compare_runs(log, against, name)
            write_pages(found, list(details(log, name)), files, compared)
    emit_object(found.to_json(), report_text(found), Output("json" if as_json else "auto"))


def _place(app: App, file: str, run: str, form: str) -> Path:
    if file != _BESIDE:
        return Path(file)
    path = Path(f"{run.replace('/', '-')}.{_FORMS[form][0]}")
    app.say(f"--{form}: {path}")
    return path


@click.command("compare")
@click.argument("first", metavar="BASE")
@click.argument("second", metavar="OTHER")
@click.option(
    "--margin",
    type=float,
    default=MARGIN * 100,
    show_default=True,
    metavar="POINTS",
    help="Worse by less than this is called no worse.",
)
@json_option
@pass_app
def compare(app: App, first: str, second: str, margin: float, as_json: bool) -> int:
    """Hold two runs of the same scenarios against each other, case by case: does OTHER beat BASE?

    The exit code tells whether the comparison is valid, not who is better.
    """
    with app.log() as log:
        found = compare_runs(log, first, second, margin=margin / 100)
    emit_object(found.to_json(), comparison_text(found), Output("json" if as_json else "auto"))
    return exits.OK if found.is_valid else exits.ENDPOINT


@click.command("gate")
@click.argument("name", metavar="RUN")
@click.option(
    "--min-accuracy",
    type=float,
    default=MIN_ACCURACY,
    show_default=True,
    metavar="SHARE",
    help="Share of chains that have to be right.",
)
@click.option(
    "--confidence", type=float, default=DEFAULT_CONFIDENCE, show_default=True, help="Of the interval of the share."
)
@click.option(
    "--sequential",
    is_flag=True,
    help="An interval that may be looked at after every answer, also of a run that goes on.",
)
@click.option(
    "--on-inconclusive",
    type=click.Choice(["error", "pass", "fail"]),
    default="error",
    show_default=True,
    help="Exit code when the data do not say: 7, 0 or 4.",
)
@json_option
@pass_app
def gate(
    app: App,
    name: str,
    min_accuracy: float,
    confidence: float,
    sequential: bool,
    on_inconclusive: str,
    as_json: bool,
) -> int:
    """Say whether a run is good enough: PASS, FAIL (fine-tune) or INCONCLUSIVE (replay more).

    Exit codes: 0 PASS, 4 FAIL, 7 INCONCLUSIVE, 5 when too many steps have no answer.

    \b
    toollog replay gate base --min-accuracy 0.85
    toollog replay gate base --sequential
    """
    with app.log() as log:
        require_no_probe(log, name)
        found = gate_run(log, name, min_accuracy=min_accuracy, confidence=confidence, sequential=sequential)
    emit_object(found.to_json(), gate_text(found), Output("json" if as_json else "auto"))
    undecided = {"error": exits.INCONCLUSIVE, "pass": exits.OK, "fail": exits.CHECK_FAILED}[on_inconclusive]
    codes = {"pass": exits.OK, "fail": exits.CHECK_FAILED, "inconclusive": undecided, "invalid": exits.ENDPOINT}
    return codes[found.verdict]
