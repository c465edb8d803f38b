"""``toollog doctor``: what stands in the way, and what to type."""

import click

from tarx_toollog.cli.app import App, pass_app
from tarx_toollog.cli.checks import Finding, examine
from tarx_toollog.cli.options import json_option
from tarx_toollog.cli.output import Output, emit_object
from tarx_toollog.errors import CheckFailedError


@click.command()
@json_option
@pass_app
def command(app: App, as_json: bool) -> None:
    """Check everything that can stand in the way, and say what to type.

    Exit code 4 when there is a problem; notes alone give 0.
    """
    findings = list(examine(app.database))
    problems = [finding for finding in findings if finding.state == "problem"]
    value = {"ok": not problems, "findings": [finding.as_json() for finding in findings]}
    emit_object(value, "\n".join(map(_text, findings)), Output("json" if as_json else "auto"))
    if problems:
        raise CheckFailedError(f"{len(problems)} of {len(findings)} checks found a problem")


def _text(finding: Finding) -> str:
    hint = f"\n{'':<9}{'':<16}-> {finding.hint}" if finding.hint else ""
    return f"{finding.state:<9}{finding.check:<16}{finding.text}{hint}"
