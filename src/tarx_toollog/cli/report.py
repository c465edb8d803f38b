"""``toollog report``: one screen that says what happened and what went wrong."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import click

from tarx_toollog.cli.app import App, pass_app
from tarx_toollog.cli.options import filter_options, output_options
from tarx_toollog.cli.output import Output, emit_object
from tarx_toollog.store.answers.overview import FULL, Durations, Exchanges, Health, Overview, overview, report_period
from tarx_toollog.store.filters import Filters

VERSION = 1
"""Of the JSON: higher when a figure gets another meaning or goes away."""

_TOOLS = 8  # fit on one screen
_DEPTHS = 7
_NAME, _COUNT, _CELL = 24, 8, 10  # characters of a column
_KINDS = {
    "no JSON": "invalid",
    "schema": "schema",
    "no tool": "not_offered",
    "cut off": "cut_off",
    "leaked": "leaked",
    "errors": "error_results",
}
_FILL_BANDS = (
    ("to 50 %", 0, 5),
    ("50–80 %", 5, 8),
    ("80–90 %", 8, 9),
    ("90–100 %", 9, FULL),
    ("full", FULL, FULL + 1),
)
_SHARES = {"tools": "tool_tokens", "system": "system_tokens", "history": "history_tokens", "new": "new_tokens"}
_MS, _MINUTE_S = 1000, 60


@click.command()
@filter_options()
@output_options
@pass_app
def command(app: App, filters: Filters, output: Output) -> None:
    """Show on one screen what happened and what went wrong.

    Volume, tools and their failures, depth of chains, context, latency, and the health of the whole log. A period of
    more than two days is taken in whole days (UTC). -n is the number of tools; the screen shows 8.

    \b
    toollog report --since 7d
    toollog report --build fine-tune-v2 --json
    """
    with app.log() as log:
        found = overview(log.engine, filters, report_period(filters))
    emit_object(_json(found, filters), "\n".join(_text(found, filters.limit or _TOOLS)), output)


def _json(found: Overview, filters: Filters) -> dict[str, Any]:
    exchanges = found.exchanges
    return {
        "version": VERSION,
        "filters": filters.as_json(),
        "since": found.period.since,
        "until": found.period.until,
        "exchanges": None if exchanges is None else exchanges.n,
        "conversations": found.conversations,
        "calls": asdict(found.calls),
        "tools": [
            {"tool": name} | asdict(calls) | _times(found, name)
            for name, calls in list(found.tools.items())[: filters.limit]
        ],
        "depths": [{"step_no": depth} | asdict(calls) for depth, calls in found.depths.items()],
        "turns": None
        if found.turns is None
        else [{"chain_length": length} | asdict(turns) for length, turns in found.turns.items()],
        "outcomes": None if exchanges is None else exchanges.by_outcome,
        "context": None if exchanges is None else _context(exchanges),
        "answers": None
        if found.answers is None
        else {what: _durations(durations) for what, durations in found.answers.items()},
        "health": asdict(found.health),
    }


def _times(found: Overview, tool: str) -> dict[str, float | None]:
    durations = (found.tool_times or {}).get(tool)
    return {} if durations is None else {name: value for name, value in _durations(durations).items() if name != "n"}


def _durations(found: Durations) -> dict[str, float | None]:
    return {"n": found.n} | {f"{name}_ms": _rounded(getattr(found, name)) for name in ("p50", "p95", "p99")}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _context(found: Exchanges) -> dict[str, Any]:
    return {
        "by_tenth": {"unknown" if tenth is None else str(tenth): n for tenth, n in found.by_fill.items()},
        "truncated": found.truncated,
        "poisoned": found.poisoned,
        "tokens": asdict(found.tokens),
    }


# ---- for people -----------------------------------------------------------------------------------------------------


def _text(found: Overview, n_tools: int) -> Iterator[str]:
    yield from _volume(found)
    yield from _tools(found, n_tools)
    yield from _chains(found)
    yield from _context_text(found)
    yield from _latency(found)
    yield from _health(found.health)


def _volume(found: Overview) -> Iterator[str]:
    since, until = found.period
    begins, ends = since or found.health.first_at, until or found.health.last_at
    yield _line("period", f"{_moment(begins)} to {_moment(ends)} UTC" if begins else "nothing has been recorded yet")
    if found.exchanges is None:
        yield _line("exchanges", "not counted by tool, and with them context and latency")
    else:
        rest = {outcome: n for outcome, n in found.exchanges.by_outcome.items() if outcome != "completed"}
        ended = ", ".join(f"{n:,} {outcome}" for outcome, n in sorted(rest.items(), key=lambda item: -item[1]))
        yield _line("exchanges", f"{found.exchanges.n:,}{f' ({ended})' if ended else ''}")
    if found.conversations is not None:
        yield _line("conversations", f"{found.conversations:,}")
    calls = found.calls
    yield _line("calls", f"{calls.n:,}, {_share(calls.failed, calls.n)} failed ({calls.failed:,})")
    yield _line("", f"{calls.bad:,} bad, {calls.only_errors:,} right with an error result")
    yield _line("", f"{calls.unanswered:,} right without a result")


def _tools(found: Overview, n_tools: int) -> Iterator[str]:
    if not found.tools:
        return
    yield ""
    heads = "".join(f"{kind:>{_COUNT}}" for kind in _KINDS)
    yield f"{'tool':<{_NAME}}{'calls':>{_CELL}}{'failed':>{_COUNT}}{heads}"
    for name, calls in list(found.tools.items())[:n_tools]:
        counts = "".join(f"{getattr(calls, field):>{_COUNT},}" for field in _KINDS.values())
        yield f"{_cut(name):<{_NAME}}{calls.n:>{_CELL},}{_share(calls.failed, calls.n):>{_COUNT}}{counts}"
    if len(found.tools) > n_tools:
        yield f"{len(found.tools) - n_tools} more: toollog tools list"


def _chains(found: Overview) -> Iterator[str]:
    depths = {depth: (calls.failed, calls.n) for depth, calls in found.depths.items()}
    yield from _row("step of the turn", "calls that failed", depths)
    if found.turns is None:
        yield ""
        yield _line("turns", "not counted by tool or model")
    else:
        turns = {length: (turns.n - turns.clean, turns.n) for length, turns in found.turns.items()}
        yield from _row("calls in the turn", "turns with a fault", turns)


def _row(head: str, words: str, counts: Mapping[int, tuple[int, int]]) -> Iterator[str]:
    """Yield shares beside each other, below the number that they are about; the high numbers as one."""
    if not counts:
        return
    numbers = sorted(counts)
    single = numbers if len(numbers) <= _DEPTHS else numbers[: _DEPTHS - 1]
    shown = {str(number): counts[number] for number in single}
    if deep := [counts[number] for number in numbers[len(single) :]]:
        shown[f"{numbers[len(single)]}+"] = sum(count for count, _ in deep), sum(of for _, of in deep)
    yield ""
    yield _cells(head, list(shown))
    yield _cells(words, [_share(*pair) for pair in shown.values()])
    yield _cells("of", [f"{n:,}" for _, n in shown.values()])


def _context_text(found: Overview) -> Iterator[str]:
    exchanges = found.exchanges
    if exchanges is None or not exchanges.n:
        return
    bands = {
        words: sum(n for tenth, n in exchanges.by_fill.items() if tenth is not None and first <= tenth < end)
        for words, first, end in _FILL_BANDS
    }
    yield ""
    yield _cells("context filled", [*bands, "unknown"])
    yield _cells("exchanges", [f"{n:,}" for n in (*bands.values(), exchanges.by_fill.get(None, 0))])
    tokens = exchanges.tokens
    total = sum(getattr(tokens, name) for name in _SHARES.values())
    if total:
        yield _cells("prompt tokens", list(_SHARES))
        yield _cells("", [_share(getattr(tokens, name), total) for name in _SHARES.values()])


def _latency(found: Overview) -> Iterator[str]:
    words = {"first_byte": "first byte", "total": "whole answer"}
    if found.answers:
        yield ""
        yield _cells("latency", ["p50", "p95", "p99"])
        for what, durations in found.answers.items():
            yield _cells(words[what], [_duration(value) for value in (durations.p50, durations.p95, durations.p99)])


def _health(found: Health) -> Iterator[str]:
    lost = ", ".join(f"{n:,} {kind}" for kind, n in found.lost.items())
    figures = {
        "lost": f"{sum(found.lost.values()):,} exchanges{f' ({lost})' if lost else ''}",
        "unfinished": f"{found.open:,} open, {found.interrupted:,} interrupted",
        "unpaired": f"{found.results_without_call:,} results without a call",
    }
    yield ""
    yield "health of the whole log (toollog doctor says more)"
    for name, text in figures.items():
        yield _line(name, text)


def _line(name: str, text: str) -> str:
    return f"{name:<15}{text}"


def _cells(name: str, cells: Sequence[str]) -> str:
    return f"{name:<18}" + "".join(f"{cell:>{_CELL}}" for cell in cells)


def _cut(name: str) -> str:
    return name if len(name) <= _NAME else f"{name[: _NAME - 1]}…"


def _share(count: int, of: int) -> str:
    return f"{100 * count / of:.1f} %" if of else "–"


def _moment(value: datetime | None) -> str:
    return "" if value is None else f"{value:%Y-%m-%d %H:%M}"


def _duration(value: float | None) -> str:
    if value is None:
        return "–"
    if value < _MS:
        return f"{value:.0f} ms"
    seconds = value / _MS
    return f"{seconds:.1f} s" if seconds < _MINUTE_S else f"{seconds / _MINUTE_S:.1f} min"
