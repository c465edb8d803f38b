"""A run as Markdown: for a pull request, or the summary of a CI job."""

from collections.abc import Iterable, Iterator

from tarx_toollog.replay.reports.details import StepDetail
from tarx_toollog.replay.reports.report import Report, Slice
from tarx_toollog.replay.reports.text_report import (
    scorer_shares,
    tier_statement,
    undetermined_lines,
    warnings,
    weight_note,
)
from tarx_toollog.replay.scorers.findings import CODES
from tarx_toollog.replay.statistics.proportion import Proportion

_SHOWN = 20
_WIDTH = 100


def report_markdown(report: Report, steps: Iterable[StepDetail]) -> str:
    """Return the run as Markdown."""
    return "\n".join(_lines(report, steps)) + "\n"


def _lines(report: Report, steps: Iterable[StepDetail]) -> Iterator[str]:
    run = report.run
    yield f"# Replay {_cell(run.name)}"
    yield ""
    asked = f"{report.asked.asked} of {report.asked.total} {report.asked.unit} asked"
    yield f"Model {_cell(run.model)} on the scenarios {_cell(run.tag)}: {asked}."
    yield ""
    yield f"> {tier_statement(report)}"
    yield ""
    for warning in warnings(report):
        yield f"- {_cell(warning.strip())}"
    yield ""
    if report.survival:
        yield f"Chains that are right up to each step: **{report.frontier.sentence}**."
        yield ""
    yield "| | right | 95 % | of |"
    yield "|---|--:|---|--:|"
    yield _share(f"chains ({report.word})", report.chains)
    if report.bronze_chains is not None:
        yield _share("bronze chains (agreement)", report.bronze_chains)
    for name, share, base in scorer_shares(report):
        yield _share(f"{name} ({base})" if base else name, share)
    yield from _slices("by depth", report.depths)
    yield from _slices("by signature", report.signatures)
    notes = filter(
        None, (weight_note(report) and f"Chains count {weight_note(report)}.", " ".join(undetermined_lines(report)))
    )
    for note in notes:
        yield f"\n{note}"
    yield from _failed([step for step in steps if step.state == "wrong"], report.asked.unit)


def _slices(title: str, slices: tuple[Slice, ...]) -> Iterator[str]:
    for part in slices[:_SHOWN] if len(slices) > 1 else ():
        yield _share(f"{title}: {part.key}", part.agreement)


def _share(name: str, share: Proportion) -> str:
    if share.estimate is None:
        return f"| {_cell(name)} | – | | 0 |"
    interval = f"{share.low * 100:.1f}–{share.high * 100:.1f}"
    return f"| {_cell(name)} | {share.estimate * 100:.1f} % | {interval} | {share.numerator}/{share.denominator} |"


def _failed(wrong: list[StepDetail], unit: str) -> Iterator[str]:
    if not wrong:
        return
    yield ""
    yield f"## What went wrong ({len(wrong)} {unit})"
    yield ""
    yield "| code | asked | expected | made |"
    yield "|---|---|---|---|"
    for step in wrong[:_SHOWN]:
        expected = " ".join(call["name"] for call in step.expected) or "(answer)"
        made = " ".join(call["name"] for call in step.made) or "(answer)"
        yield f"| {_code(step.code or 'wrong')} | {_cell(step.asked)} | {_cell(expected)} | {_cell(made)} |"
    if len(wrong) > _SHOWN:
        yield f"\n… and {len(wrong) - _SHOWN} more."


def _code(code: str) -> str:
    """Return a failure code with its meaning; one of another scorer than ours may be any text."""
    return f"`{code}` {CODES[code]}" if code in CODES else _cell(code)


def _cell(text: str) -> str:
    """Return text as it can stand in a cell: one line, short, nothing that Markdown or HTML would read."""
    line = "".join(character if character.isprintable() else " " for character in text)
    short = line if len(line) <= _WIDTH else line[: _WIDTH - 1] + "…"
    for character in "\\`*_[]|<>&~":
        short = short.replace(character, f"\\{character}")
    return short
