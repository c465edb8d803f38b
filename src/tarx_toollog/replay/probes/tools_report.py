"""What a run of the probe of tools says."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tarx_toollog.replay.probes.cases import Case, Reading, by_original, read
from tarx_toollog.replay.probes.differences import difference_text
from tarx_toollog.replay.probes.levels import MARGIN, Ladder, Level, at, bar, ladder, points, share_of
from tarx_toollog.replay.probes.tools import AS_IT_IS, KINDS, ORDER, PROBE, SHUFFLED
from tarx_toollog.replay.reports.text_report import share_text
from tarx_toollog.replay.scenario import offered_schemas
from tarx_toollog.replay.statistics.proportion import Proportion

if TYPE_CHECKING:
    from tarx_toollog.store.log import ToolLog

FORMAT = 1
"""Version of the JSON form."""
UNIT = "more tools"
_TITLES = {"random_tools": "tools for something else", "similar_tools": "tools that look like the right one"}


@dataclass(frozen=True, slots=True)
class ToolsReport:
    """How a model does with more tools, and with its tools in another order."""

    reading: Reading
    base: Proportion
    """Scenarios as they are."""
    ladders: tuple[Ladder, ...]
    order: Ladder
    lured: dict[tuple[str, str], int]
    """Factor and level → cases in which one of the added tools was called."""

    def to_json(self) -> dict[str, Any]:
        """Return all of it, every figure with its counts and its method."""
        return {
            "format": FORMAT,
            "probe": PROBE,
            **self.reading.to_json(),
            "as_it_is": self.base.to_json(),
            "factors": [
                {
                    **each.to_json(UNIT),
                    "added_tool_called": {level.name: self.lured[each.factor, level.name] for level in each.levels},
                }
                for each in self.ladders
            ],
            "order": self.order.to_json(""),
        }


def tools_report(log: "ToolLog", name: str, margin: float = MARGIN) -> ToolsReport:
    """Return what the run called ``name`` says.

    Raises:
        NothingMatchedError: There is no such run.
        ConfigError: It is a run of something else.
    """
    reading = read(log, name, PROBE)
    return tools_report_of(reading, margin)


def tools_report_of(reading: Reading, margin: float = MARGIN) -> ToolsReport:
    """Count the cases. Pure."""
    base = at(reading.cases, AS_IT_IS, "0")
    levels = {
        kind: sorted({case.variant.level for case in reading.cases if case.variant.factor == kind}, key=int)
        for kind in KINDS
    }
    ladders = [
        ladder(kind, base, {level: at(reading.cases, kind, level) for level in levels[kind]}, margin) for kind in KINDS
    ]
    before = by_original(base)
    lured = {
        (kind, level): sum(_is_lured(case, before.get(case.of)) for case in at(reading.cases, kind, level))
        for kind in KINDS
        for level in levels[kind]
    }
    order = ladder(ORDER, base, {SHUFFLED: at(reading.cases, ORDER, SHUFFLED)}, margin)
    return ToolsReport(reading, share_of(base), tuple(ladders), order, lured)


def tools_text(report: ToolsReport) -> str:
    """Return the report as text."""
    return "\n".join(_lines(report)) + "\n"


def header(reading: Reading, what: str) -> Iterator[str]:
    """Yield the first lines of a probe's report: what was asked, and what is missing."""
    run = reading.run
    n_scenarios = len({case.of for case in reading.cases})
    yield f"{what}, run {run.name}: {run.model} at {run.endpoint}, {run.status}"
    yield f"    {len(reading.cases)} variants of {n_scenarios} cases, under {run.tag}"
    if reading.n_unjudged:
        lost = f" ({reading.infra_errors} answers lost to the infrastructure)" if reading.infra_errors else ""
        yield f"    {reading.n_unjudged} variants have no verdict{lost}: go on with --resume {run.name}"
    for fault, count in reading.faults.items():
        yield f"    {count} variants say nothing about the model: {fault}"


def _lines(report: ToolsReport) -> Iterator[str]:
    yield from header(report.reading, "probe of tools")
    yield "right: every step of a scenario; after the counts: difference to the same scenarios as they are, in points"
    yield "95 % intervals, of shares Wilson's, of differences Bonett and Price's; p: McNemar's test, mid-p"
    yield ""
    yield f"{'as it is':<10}{bar(report.base):<24}  {share_text(report.base)}"
    for each in report.ladders:
        yield ""
        yield f"{_TITLES[each.factor]}: {each.sentence(UNIT)}"
        for level in each.levels:
            yield from _level(f"+ {level.name}", level, report.lured[each.factor, level.name])
    yield ""
    order = report.order
    for level in order.levels:
        said = {"holds": "does not matter", "breaks": "matters", "undecided": "undecided"}[level.state]
        yield f"order of the tools: {said} (margin {points(order.margin)} points)"
        yield from _level(level.name, level, 0)


def _level(name: str, level: Level, lured: int) -> Iterator[str]:
    yield f"{name:<10}{bar(level.share):<24}  {share_text(level.share):<32}{difference_text(level.difference)}"
    if level.codes:
        codes = ", ".join(f"{code} {count}" for code, count in list(level.codes.items())[:3])
        called = f"; an added tool was called in {lured}" if lured else ""
        yield f"{'':<10}went wrong: {codes}{called}"


def _is_lured(case: Case, before: Case | None) -> bool:
    if before is None:
        return False
    offered = [{name for step in each.scenario.steps for name in offered_schemas(step)} for each in (case, before)]
    added = offered[0] - offered[1]
    return any(call.name in added for trial in case.trials if trial.answer for call in trial.answer.calls)
