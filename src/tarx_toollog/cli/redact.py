"""``toollog redact``: what the rules in force would take out of the log, and taking it out."""

import dataclasses
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tarx_toollog.cli.app import App, pass_app
from tarx_toollog.cli.options import json_option
from tarx_toollog.cli.output import Output, cell_text, emit_object
from tarx_toollog.cli.progress import Progress

if TYPE_CHECKING:
    from tarx_toollog.config import Settings
    from tarx_toollog.redaction import Policy
    from tarx_toollog.store.redact import Report

EXAMPLES = 3


@click.command()
@click.option("--apply/--dry-run", "apply", default=False, help="Take it out for good, or only look; default: look.")
@click.option("--level", type=click.Choice(["secrets", "all"]), help="Rules to use instead of those of the settings.")
@click.option(
    "--rules",
    "rules_file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="TOML file with your own rules, instead of that of the settings.",
)
@click.option("-n", "--limit", type=click.IntRange(min=0), default=EXAMPLES, help="Examples a rule; default 3.")
@json_option
@pass_app
def command(app: App, apply: bool, level: str | None, rules_file: Path | None, limit: int, as_json: bool) -> None:
    """Show what the rules would take out of the log; with --apply, take it out.

    Values are shown unreadable: at most their first two characters, and their length.

    --apply cannot be undone. It replaces each value by a mark that is the same wherever the value stood, writes the
    file anew, empties its write-ahead log, and searches the bytes of both for the values that it took out. No process
    may record meanwhile. Copies of the file, exports and the journal are not touched.

    \b
    toollog redact                   look, with the rules of the settings
    toollog redact --level all       look for personal data, too
    toollog redact --apply
    """
    settings = app.settings()
    policy = _policy(settings, level, rules_file)
    report = _apply(app, settings, policy, limit) if apply else _look(app, policy, limit)
    emit_object(_value(report, apply), _text(report, apply), Output("json" if as_json else "auto"))


def _policy(settings: "Settings", level: str | None, rules_file: Path | None) -> "Policy":
    from tarx_toollog.errors import ConfigError
    from tarx_toollog.redaction import Policy

    policy = Policy.load(level or settings.redact, rules_file or settings.redact_rules)
    if policy.is_off:
        raise ConfigError("redaction is off in the settings", hint="choose --level secrets or --level all")
    return policy


def _look(app: App, policy: "Policy", limit: int) -> "Report":
    from tarx_toollog.redaction import Redactor
    from tarx_toollog.store import redact

    redactor = Redactor(policy, secrets.token_bytes(32))  # nobody sees the marks of a dry run
    with app.log() as log, log.engine.connect() as connection:
        progress = Progress("rows", redact.count_rows(connection), quiet=app.quiet)
        with progress:
            return redact.look(connection, redactor, examples=limit, progress=progress.advance)


def _apply(app: App, settings: "Settings", policy: "Policy", limit: int) -> "Report":
    from tarx_toollog.redaction import Policy, Redactor
    from tarx_toollog.replay.scenario import Scenario
    from tarx_toollog.store import redact
    from tarx_toollog.store.engine import writer_engine
    from tarx_toollog.store.secret import load_secret

    with app.log() as log, log.engine.connect() as connection:
        total = redact.count_rows(connection)  # a database that is missing or older is refused here
    engine = writer_engine(settings)
    try:
        work = redact.StoreRedaction(
            engine,
            settings,
            Redactor(policy, load_secret(settings)),
            lambda definition: Scenario.from_json(definition).content_hash,
        )
        with Progress("rows", total, quiet=app.quiet) as progress:
            report = work.apply(examples=limit, progress=progress.advance)
    finally:
        engine.dispose()
    if policy.policy_id != Policy.load(settings.redact, settings.redact_rules).policy_id:
        app.say("these are not the rules of the settings: what is recorded from now on is redacted with those")
    return report


def _value(report: "Report", applied: bool) -> dict[str, Any]:
    return {
        "applied": applied,
        "policy": report.policy,
        "rows": report.rows,
        "rows_with_hits": report.rows_with_hits,
        "check": None if report.check is None else dataclasses.asdict(report.check),
        "rules": [
            {"rule": rule.rule, "hits": rule.hits, "rows": rule.rows, "examples": rule.examples}
            for rule in report.in_order()
        ],
    }


def _text(report: "Report", applied: bool) -> str:
    if not report.rules:
        return f"nothing to take out of {report.rows} rows (rules {report.policy})"
    lines = []
    for rule in report.in_order():
        lines.append(f"{rule.rule:<24} {rule.hits:>7} in {rule.rows} rows")
        lines += [f"    {cell_text(example)}" for example in rule.examples]
    done = _checked(report) if applied else "`toollog redact --apply` takes it out for good"
    return "\n".join([*lines, "", f"{report.rows_with_hits} of {report.rows} rows (rules {report.policy}); {done}"])


def _checked(report: "Report") -> str:
    check = report.check
    if check is None:
        return "taken out; what the server's files still hold was not looked at"
    n = check.too_short
    unsure = f" ({n} {'is' if n == 1 else 'are'} too short or too many to search for)" if n else ""
    if not check.searched:
        return f"taken out; nothing in it is long enough to search the file for{unsure}"
    if not check.left:
        n = check.searched
        values = "1 value, and hold none of it" if n == 1 else f"{n} values, and hold none of them"
        return f"taken out; the file and its log were searched for {values}{unsure}"
    verb = "stands" if check.left == 1 else "stand"
    places = ", ".join(check.places) or "pages without a row"
    return (
        f"taken out where the rules look, but {check.left} of {check.searched} values still {verb} in the file, in "
        f"{places}: there it is a name, an id or a key, or a word that nothing gives away{unsure}"
    )
