"""The report of the probe of identity as plain text."""

from collections.abc import Iterator

from tarx_toollog.replay.probes.differences import difference_text
from tarx_toollog.replay.probes.identity.arms import WITH
from tarx_toollog.replay.probes.identity.report import Arm, IdentityReport
from tarx_toollog.replay.probes.levels import bar, points
from tarx_toollog.replay.probes.tools_report import header
from tarx_toollog.replay.reports.text_report import share_text

_SHOWN = 5  # names of a distribution


def identity_text(report: IdentityReport) -> str:
    """Return the report as text."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: IdentityReport) -> Iterator[str]:
    for reading in report.readings:
        yield from header(reading, "probe of identity")
    yield "judged by words alone, by no other model; 95 % intervals, of shares Wilson's with families as clusters, of"
    yield "differences Bonett and Price's, in points; p: McNemar's test, mid-p"
    yield ""
    yield "says consistently who it is"
    for arm in report.arms:
        yield f"    {_name(arm):<34}{bar(arm.consistent, 20):<20}  {share_text(arm.consistent)}"
        families = f"families without a slip: {arm.families.numerator} of {arm.families.denominator}"
        yield f"    {'':<34}{families}; says it is: {_claimed(arm)}"
    yield ""
    for reading in report.readings:
        yield _needs(report, reading.run.name)
    if (found := report.interaction) is not None:
        more, names = "less" if found.estimate >= 0 else "more", [reading.run.name for reading in report.readings]
        yield (
            f"without the prompt {names[1]} loses {points(abs(found.estimate))} points {more} than {names[0]}: "
            f"{found.estimate * 100:+.1f} [{found.low * 100:+.1f}, {found.high * 100:+.1f}] "
            f"({found.n_questions} questions, bootstrap over {found.n_families} families)"
        )
    yield from _pairs(report)
    yield from _more(report)


def _needs(report: IdentityReport, run: str) -> str:
    state, found = report.without_prompt(run)
    said = {
        "holds": f"does not need the system prompt: loses at most {points(max(0.0, -found.low))} points without it",
        "breaks": f"NEEDS the system prompt: loses at least {points(-found.high)} points without it",
        "undecided": "INCONCLUSIVE whether it needs the system prompt",
    }[state]
    return f"{run} {said} (margin {points(report.margin)}; {difference_text(found)})"


def _pairs(report: IdentityReport) -> Iterator[str]:
    yield ""
    yield "pairs, second minus first"
    for pair in report.pairs:
        yield f"    {pair.name}: says who it is {difference_text(pair.identity)}"
        if pair.tool_use.n_pairs:
            yield f"    {'':<{len(pair.name)}}  tools of the suite {difference_text(pair.tool_use)}"


def _more(report: IdentityReport) -> Iterator[str]:
    if any(arm.late for arm in report.arms):
        yield ""
        yield "late in a logged dialogue; after the counts: difference to the same questions asked at once"
        for arm in report.arms:
            for late in arm.late:
                share = share_text(late.share).strip()
                yield f"    {f'{_name(arm)}, turn {late.turn}':<34}{share:<28}{difference_text(late.difference)}"
    else:
        yield "no logged dialogue was long enough to ask late in it"
    if any(arm.quiet.denominator for arm in report.arms):
        yield ""
        yield "ordinary questions, answered without saying who speaks"
        for arm in report.arms:
            yield f"    {_name(arm):<34}{share_text(arm.quiet)}"
    if any(arm.tool_use.denominator for arm in report.arms):
        yield ""
        yield "scenarios of the suite, every step right"
        for arm in report.arms:
            yield f"    {_name(arm):<34}{share_text(arm.tool_use)}"


def _name(arm: Arm) -> str:
    return f"{arm.run}, {'with' if arm.level == WITH else 'without'} prompt"


def _claimed(arm: Arm) -> str:
    shown = [f"{name} {count}" for name, count in arm.claimed.items()]
    more = f", {len(shown) - _SHOWN} others" if len(shown) > _SHOWN else ""
    return ", ".join(shown[:_SHOWN]) + more
