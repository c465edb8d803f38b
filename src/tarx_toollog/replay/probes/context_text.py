"""The report of the probe of the context as plain text."""

from collections.abc import Iterator

from tarx_toollog.replay.probes.context_report import MIN_KEPT, Cell, ContextReport
from tarx_toollog.replay.probes.differences import difference_text
from tarx_toollog.replay.probes.tools_report import header
from tarx_toollog.replay.reports.text_report import share_text


def context_text(report: ContextReport) -> str:
    """Return the report as text."""
    return "\n".join(_lines(report)) + "\n"


def _lines(report: ContextReport) -> Iterator[str]:
    yield from header(report.reading, "probe of the context")
    yield report.sentence
    yield "    kept: of the cases that are right without padding, those that are right with it. Gains would only add,"
    yield "    so it bounds the ratio of the two shares from below. A fill holds when all of the interval lies at or"
    yield f"    above {MIN_KEPT * 100:.0f} %. 95 % intervals, Wilson's; turns of one conversation hang together"
    if report.n_fixed:
        yield f"    in {report.n_fixed} cases the fact stands in the turn that asks: they are at the end only"
    yield ""
    seconds = "" if report.base_seconds is None else f"  {report.base_seconds:.1f} s"
    yield f"{'no padding':<12}{share_text(report.base)}{seconds}"
    for position in report.positions:
        yield f"fact at the {position}"
        for cell in report.cells:
            if cell.position == position:
                yield from _cell(cell)
    yield from _shapes(report)


def _cell(cell: Cell) -> Iterator[str]:
    time = "" if cell.seconds is None else f"  {cell.seconds:.1f} s"
    prompt = "" if cell.prompt_seconds is None else f" (prompt {cell.prompt_seconds:.1f})"
    kept = f"kept {share_text(cell.kept).strip()}: {cell.state}"
    yield f"    {cell.fill:>3} %   {share_text(cell.share):<32}{kept}{time}{prompt}"
    if cell.n_reached < cell.n_cases:
        why = "; ".join(f"{fault} {count}" for fault, count in cell.faults.items())
        lost = f"NOT REACHED in {cell.n_cases - cell.n_reached} of {cell.n_cases}, not counted"
        yield f"{'':<12}{lost}: {why}" if why else f"{'':<12}{lost}"
    if cell.codes:
        yield f"{'':<12}went wrong: {', '.join(f'{code} {count}' for code, count in list(cell.codes.items())[:4])}"


def _shapes(report: ContextReport) -> Iterator[str]:
    if not report.shapes:
        return
    yield ""
    yield "lost in the middle? the middle minus the end, and minus the start, on the same cases, in points"
    for shape in report.shapes:
        end, start = difference_text(shape.end_and_middle), difference_text(shape.start_and_middle)
        yield f"    {shape.fill:>3} %   {end:<44}{start}"
    last = report.shapes[-1].end_and_middle
    said = "the middle is worse" if last.high < 0 else "the end is worse" if last.low > 0 else "INCONCLUSIVE"
    yield f"    end and middle at the largest fill: {said}; the other rows are for looking, not for deciding"
