"""Replay: the suites with their runs, the report of a run, its steps in pages, and two runs side by side.

To count a run of ten thousand steps takes seconds. That is done once, and again when anything changed of what is
counted: each page asks the store for that (``ReplaySteps.state``).
"""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse

from tarx_toollog.errors import NothingMatchedError
from tarx_toollog.replay.overlay import accepted_overlay
from tarx_toollog.replay.reports.comparison import Comparison, compare_runs
from tarx_toollog.replay.reports.comparison_text import how_sure, verdict_text
from tarx_toollog.replay.reports.report import Report, build_report
from tarx_toollog.replay.reports.text_report import p_text, scorer_shares, tier_statement
from tarx_toollog.replay.scenario import Scenario
from tarx_toollog.replay.scorers.findings import CODES
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.replay_steps import STATES, WRONG, Choices, ReplaySteps, RunCounts, StepFilter, TrialLine
from tarx_toollog.store.replays import AGAIN, Replays, RunRow
from tarx_toollog.store.suites import Suites
from tarx_toollog.web.kept import Kept
from tarx_toollog.web.paging import Page, page
from tarx_toollog.web.site import reading, render
from tarx_toollog.web.visible import content_text

router = APIRouter(prefix="/replay")

Log = Annotated[ToolLog, Depends(reading)]

MAX_INTEGER = 2**31 - 1
"""What an integer column of any database holds."""

_MAX_DIGITS = 10  # of a depth: Python refuses to read a number of thousands

_SHOWN_CHANGES = 200  # of a comparison: who has more regressions than that looks at none of them


@dataclass(frozen=True, slots=True)
class Figures:
    """What is counted of one run."""

    report: Report
    choices: Choices


_FIGURES: Kept[Figures] = Kept(32)
_COMPARISONS: Kept[Comparison] = Kept(8)  # each has all regressions: some megabytes, where there are thousands


def find_run(log: ToolLog, name: str) -> RunRow:
    """Return the run that an address names, by its name or its uid.

    Raises:
        NothingMatchedError: There is none.
    """
    replays = Replays(log)
    try:
        return replays.run(name)
    except NothingMatchedError:
        found = next((row for row in replays.runs() if row.uid == name), None)
        if found is None:
            raise
        return found


@router.get("")
def suites(request: Request, log: Log) -> HTMLResponse:
    """Return the suites, each with its runs."""
    known = Suites(log)
    runs = Replays(log).runs()
    tags = [{**row, "suite": known.suite(row["tag"])} for row in known.tags()]
    return render(
        request, "replay/suites.html", tags=tags, runs=runs, counts=ReplaySteps(log).counts(), untried=RunCounts()
    )


@router.get("/compare")
def compare(request: Request, log: Log, first: str, second: str) -> HTMLResponse:
    """Return two runs side by side."""
    runs = find_run(log, first), find_run(log, second)
    found = _comparison(log, *runs)
    return render(
        request,
        "replay/compare.html",
        found=found,
        runs=runs,
        verdict=verdict_text(found),
        notes=list(how_sure(found.chains)),
        p_text=p_text,
        most=_SHOWN_CHANGES,
        codes=CODES,
    )


@router.get("/runs/{name}")
def run(request: Request, log: Log, name: str) -> HTMLResponse:
    """Return the report of a run, with the first of its wrong steps."""
    row = find_run(log, name)
    figures = _figures(log, row)
    others = [other for other in Replays(log).runs() if other.tag == row.tag and other.id != row.id]
    return render(
        request,
        "replay/run.html",
        report=figures.report,
        tiers=tier_statement(figures.report),
        scorers=list(scorer_shares(figures.report)),
        others=others,
        accepted=accepted_overlay(log, row.tag),
        **_listed(log, row, figures.choices, StepFilter(), 0),
    )


@router.get("/runs/{name}/steps")
def steps(
    request: Request,
    log: Log,
    name: str,
    state: str = WRONG,
    code: str = "",
    tool: str = "",
    depth: str = "",
    after: Annotated[int, Query(ge=0, le=MAX_INTEGER)] = 0,
) -> HTMLResponse:
    """Return the steps of a run, filtered, in pages."""
    row = find_run(log, name)
    at = min(int(depth), MAX_INTEGER) if depth.isdecimal() and len(depth) <= _MAX_DIGITS else None
    chosen = StepFilter(state if state in STATES else WRONG, code or None, tool or None, at)
    return render(request, "replay/steps.html", **_listed(log, row, _figures(log, row).choices, chosen, after))


def _figures(log: ToolLog, row: RunRow) -> Figures:
    steps = ReplaySteps(log)

    def make() -> Figures:
        return Figures(build_report(log, row.name), steps.choices(row.name))

    return _FIGURES.get(row.uid, lambda: steps.state(row.id), make)


def _comparison(log: ToolLog, first: RunRow, second: RunRow) -> Comparison:
    steps = ReplaySteps(log)
    names = first.name, second.name

    def state() -> bytes:
        # What the two gave when they were asked again says how much chance there is in the difference.
        again = [row for row in Replays(log).runs() if row.params.get(AGAIN) in names]
        made_of = dict.fromkeys([first.id, second.id, *(row.id for row in again)])
        return b"%d %b" % (steps.accepted_state(), b"".join(map(steps.state, made_of)))

    return _COMPARISONS.get((first.uid, second.uid), state, lambda: compare_runs(log, *names))


def _listed(log: ToolLog, row: RunRow, choices: Choices, chosen: StepFilter, after: int) -> dict[str, Any]:
    known = ReplaySteps(log)

    def read(limit: int) -> list[TrialLine]:
        return known.lines(row.name, chosen, after=after, limit=limit)

    found: Page[TrialLine] = page(read, lambda line: line.trial_id)
    return {
        "run": row,
        "page": found,
        "chosen": chosen,
        "after": after,
        "choices": choices,
        "states": STATES,
        "codes": CODES,
        "asked": _asked(known, found),
    }


def _asked(known: ReplaySteps, found: Page[TrialLine]) -> dict[str, str]:
    """Return what the user said last, by scenario."""
    frozen = known.scenarios({line.scenario_uid for line in found.rows})
    return {uid: _last_words(Scenario.from_json(row.definition)) for uid, row in frozen.items()}


def _last_words(scenario: Scenario) -> str:
    messages = scenario.steps[0].messages if scenario.steps else ()
    said = [message.get("content") for message in messages if message.get("role") == "user"]
    return content_text(said[-1]) if said else ""
