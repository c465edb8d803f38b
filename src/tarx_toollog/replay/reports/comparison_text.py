"""A comparison as plain text for a terminal or a log file: the verdict, the figures, the regressions first."""

import json
from collections.abc import Iterator

from tarx_toollog.replay.reports.comparison import Change, Comparison
from tarx_toollog.replay.reports.text_report import p_text, share_text, tier_statement
from tarx_toollog.replay.statistics.paired import PairedDifference

_SHOWN = 10
_WIDTH = 140


def comparison_text(found: Comparison) -> str:
    """Return the comparison as text."""
    return "\n".join(_lines(found)) + "\n"


def verdict_text(found: Comparison) -> str:
    """Return the verdict as one sentence."""
    first, second = found.first.run.name, found.second.run.name
    points = f"{_points(found.chains.low)} to {_points(found.chains.high)} points"
    margin = f"{found.margin * 100:g} points"
    return {
        "better": f"{second} is better than {first}: {points}",
        "worse": f"{second} is WORSE than {first}: {points}",
        "no_worse": f"{second} is no worse than {first} by more than {margin}: {points}",
        "undecided": f"{first} and {second} are not told apart: {points}",
    }[found.verdict]


def _lines(found: Comparison) -> Iterator[str]:
    yield f"{verdict_text(found)} (95 %, {found.chains.n_pairs} chains that both were judged on)"
    if (needed := found.pairs_to_decide) is not None:
        yield f"    a difference of the size that was found would take about {needed} chains to show"
    yield tier_statement(found.second)
    for report in (found.first, found.second):
        if not report.is_valid:
            lost = f"{report.asked.infra_errors} {report.asked.unit} of {report.run.name}"
            yield f"NOT VALID: {lost} have no answer; resume the run."
    for doubt in found.doubts:
        yield f"doubt: {doubt}"
    yield ""
    for report in (found.first, found.second):
        yield f"{report.run.name:<40.40}  {share_text(report.chains)}  chains"
    yield ""
    yield f"{'':<10}{'both':>7}{'only 1st':>10}{'only 2nd':>10}{'neither':>9}   difference            p (mid-p McNemar)"
    yield _row("chains", found.chains)
    unit = found.second.asked.unit
    if unit == "steps":  # in a closed loop only turns have verdicts, and they are the chains
        yield _row("steps", found.steps)
    yield from how_sure(found.chains)
    if found.chains_unlabelled:
        yield f"    {found.chains_unlabelled} chains more are not counted: nobody said what is right there"
    if found.chains_unpaired or found.steps_unpaired:
        steps = f" and {found.steps_unpaired} steps" if unit == "steps" else ""
        unpaired = f"{found.chains_unpaired} chains{steps}"
        yield f"    not compared, since only one was judged on them: {unpaired}"
    yield from _changes("regressions: right before, wrong now", found.regressions, unit)
    yield from _changes("gains: wrong before, right now", found.gains, unit)


def how_sure(chains: PairedDifference) -> Iterator[str]:
    """Yield what must stand beside the difference of chains: what it counts, and where interval and p disagree."""
    if chains.weighted is not None:
        yield "    the difference of chains counts each for as many turns of the log as it stands for, and so does p"
    if chains.n_effective is not None:
        yield f"    the chains tell as much as {chains.n_effective:.0f} that have nothing to do with each other"
    if chains.n_parted is not None:
        yield f"    p of chains: each group changes sides as a whole; groups in which one gains: {chains.n_parted}"
    alpha = 1 - chains.confidence
    if chains.leaves_out_0 and not chains.is_significant:
        yield f"    the interval leaves out 0, but p is more than {alpha:.2f}: too little to say better or worse"
    if chains.is_significant and not chains.leaves_out_0:
        yield f"    p is at most {alpha:.2f}, but the interval holds 0: too little to say better or worse"


def _row(name: str, found: PairedDifference) -> str:
    counts = f"{found.both:>7}{found.only_first:>10}{found.only_second:>10}{found.neither:>9}"
    if found.estimate is None:
        return f"{name:<10}{counts}   –"
    interval = f"{_points(found.estimate)} [{_points(found.low)}, {_points(found.high)}]"
    return f"{name:<10}{counts}   {interval:<22}{p_text(found.mid_p)}"


def _points(share: float) -> str:
    return f"{share * 100:+.1f}"


def _changes(title: str, changes: tuple[Change, ...], unit: str) -> Iterator[str]:
    if not changes:
        return
    yield ""
    yield f"{title} ({len(changes)} {unit})"
    for change in changes[:_SHOWN]:
        finding = json.dumps({key: value for key, value in change.finding.items() if key != "code"}, ensure_ascii=False)
        place = f"turn {change.turn_no}" + (f", step {change.step_no}" if change.step_no else "")
        line = f"    {place}: {change.code}, exchange {change.exchange_uid}: {finding}"
        yield line if len(line) <= _WIDTH else line[: _WIDTH - 1] + "…"
    if len(changes) > _SHOWN:
        yield f"    … {len(changes) - _SHOWN} more (--json shows all)"
