"""The first page, made of the figures of the store: its charts, each shape with the address of the rows behind it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from tarx_toollog.replay.statistics.proportion import Proportion, wilson
from tarx_toollog.store.answers.overview import FULL, Calls, Durations, Exchanges, Overview, Turns
from tarx_toollog.store.tallies import Period
from tarx_toollog.web import addresses
from tarx_toollog.web.charts import Amount, Bar, Cell, Chart, Point, Series, columns, dots, rows
from tarx_toollog.web.outcomes import OUTCOMES

MAX_TOOLS = 15
"""Tools of one chart or table, those that fail most often; the list of tools has them all."""

_WEEK = timedelta(days=7)
_MAX_DEPTH = 20  # deeper chains stand together: there are few, and no two alike
KINDS = (
    ("invalid JSON", "invalid", "invalid"),
    ("against the schema", "schema", "schema"),
    ("not offered", "not_offered", "not_offered"),
    ("cut off", "cut_off", "incomplete"),
    ("leaked", "leaked", "leaked"),
    ("error result", "error_results", "error"),
)
"""Kinds of failure: in words, in the figures, and in the list of calls."""
_SHARES = (
    (Series("a", "tools"), "tool_tokens"),
    (Series("b", "system prompt"), "system_tokens"),
    (Series("c", "history"), "history_tokens"),
    (Series("d", "new"), "new_tokens"),
)


@dataclass(frozen=True, slots=True)
class Part:
    """The part of the log that the page is about."""

    query: Mapping[str, str]
    """As it stands in the address, with whole days: what the other pages do with it is the same."""

    @classmethod
    def of(cls, period: Period, query: Mapping[str, str]) -> "Part":
        """Return the part that an address means, but for the period."""
        ends = {name: moment for name, moment in zip(("since", "until"), period, strict=True) if moment is not None}
        return cls({**query, **{name: moment.date().isoformat() for name, moment in ends.items()}})

    def calls(self, **more: object) -> str:
        """Return the address of calls of this part."""
        return addresses.calls(**{**self.query, **more})

    def exchanges(self, **more: object) -> str:
        """Return the address of exchanges of this part."""
        return addresses.exchanges(**{**self.query, **more})

    def conversations(self) -> str:
        """Return the address of the conversations of this part."""
        return addresses.conversations(**self.query)

    def tool(self, name: str) -> str:
        """Return the address of a tool, as it was used in this part."""
        return addresses.tool(name, **{key: value for key, value in self.query.items() if key != "tool"})

    def overview(self, **more: object) -> str:
        """Return the address of this page for another part; None takes a filter away."""
        return addresses.overview(**{**self.query, **more})


@dataclass(frozen=True, slots=True)
class ToolLine:
    """One tool that fails: how often, and in which ways."""

    name: str
    calls: Cell
    failing: Proportion
    kinds: Sequence[tuple[Cell, float]]
    """The count of each kind of failure, and its share of the highest one in the table."""


@dataclass(frozen=True, slots=True)
class OverviewPage:
    """All that the template shows. A chart is None where there is nothing to show, or no tally can say it."""

    failing: Proportion
    times: Chart | None
    tools: Chart | None
    tool_lines: Sequence[ToolLine]
    depths: Chart | None
    turns: Chart | None
    fill: Chart | None
    n_fill_unknown: int
    tokens: Chart | None
    latencies: Sequence[tuple[Cell, Durations]]


def overview_page(found: Overview, part: Part) -> OverviewPage:
    """Return the page of these figures."""
    exchanges = found.exchanges
    return OverviewPage(
        failing=wilson(found.calls.failed, found.calls.n),
        times=_times(found, part),
        tools=_tools(found, part),
        tool_lines=_tool_lines(found, part),
        depths=_depths(found.depths, part),
        turns=None if not found.turns else _turns(found.turns),
        fill=None if exchanges is None or not exchanges.n else _fill(exchanges, part),
        n_fill_unknown=0 if exchanges is None else exchanges.by_fill.get(None, 0),
        tokens=None if exchanges is None or not exchanges.tokens.input_tokens else _tokens(exchanges, part),
        latencies=list(_latencies(found, part)),
    )


def _times(found: Overview, part: Part) -> Chart | None:
    if not found.times:
        return None
    bars = []
    for stretch in found.times:
        days = {"since": stretch.first.isoformat(), "until": stretch.end.isoformat()}
        amounts = [
            Amount(count, part.calls(kind=kind, **days))
            for count, (_, kind) in zip(_by_outcome(stretch.calls), OUTCOMES, strict=True)
        ]
        bars.append(Bar(_days(stretch.first, stretch.end), amounts, part.calls(**days)))
    return columns("Calls over time", "days (UTC)", "calls", [series for series, _ in OUTCOMES], bars)


def _by_outcome(calls: Calls) -> tuple[int, int, int, int]:
    return calls.ok, calls.bad, calls.only_errors, calls.unanswered


def _days(first: date, end: date) -> str:
    days = (end - first).days
    return first.isoformat() if days == 1 else f"{first.isoformat()} + {days} days"


def _tools(found: Overview, part: Part) -> Chart | None:
    failing = [(name, calls) for name, calls in found.tools.items() if calls.failed][:MAX_TOOLS]
    if not failing:
        return None
    shown = [pair for pair in OUTCOMES if pair[1] in ("bad", "good_error")]
    bars = [
        Bar(
            name,
            [
                Amount(count, part.calls(tool=name, kind=kind))
                for count, (_, kind) in zip((calls.bad, calls.only_errors), shown, strict=True)
            ],
            part.tool(name),
        )
        for name, calls in failing
    ]
    return rows("Calls that failed, by tool", "tool", "failed calls", [series for series, _ in shown], bars)


def _tool_lines(found: Overview, part: Part) -> list[ToolLine]:
    shown = [(name, calls) for name, calls in found.tools.items() if calls.failed][:MAX_TOOLS]
    counts = {name: [getattr(calls, field) for _, field, _ in KINDS] for name, calls in shown}
    most = max((count for row in counts.values() for count in row), default=0) or 1
    return [
        ToolLine(
            name,
            Cell(f"{calls.n:,}", part.calls(tool=name)),
            wilson(calls.failed, calls.n),
            [
                (Cell(f"{count:,}", part.calls(tool=name, kind=kind) if count else None), count / most)
                for count, (_, _, kind) in zip(counts[name], KINDS, strict=True)
            ],
        )
        for name, calls in shown
    ]


def _depths(found: Mapping[int, Calls], part: Part) -> Chart | None:
    counts = {depth: (calls.n - calls.failed, calls.n) for depth, calls in found.items()}
    points = list(_points(counts, lambda depth: part.calls(depth=depth)))
    return dots("Calls that did not fail, by step of the turn", "step", "calls", points) if points else None


def _turns(found: Mapping[int, Turns]) -> Chart:
    counts = {length: (turns.clean, turns.n) for length, turns in found.items()}
    points = list(_points(counts, lambda length: None))
    return dots("Turns answered without a fault, by their number of calls", "calls", "turns", points)


def _points(counts: Mapping[int, tuple[int, int]], href: Any) -> Iterator[Point]:
    """Yield the shares in order of their number, the high ones as one."""
    for number in sorted(number for number in counts if number <= _MAX_DEPTH and counts[number][1]):
        yield _point(str(number), *counts[number], href(number))
    deep = [pair for number, pair in counts.items() if number > _MAX_DEPTH]
    if any(n for _, n in deep):
        yield _point(f"over {_MAX_DEPTH}", sum(good for good, _ in deep), sum(n for _, n in deep), None)


def _point(label: str, numerator: int, denominator: int, href: str | None) -> Point:
    share = wilson(numerator, denominator)
    return Point(label, numerator, denominator, share.low, share.high, href)


def _fill(found: Exchanges, part: Part) -> Chart:
    bars = []
    for tenth in range(FULL + 1):
        amount = Amount(found.by_fill.get(tenth, 0), part.exchanges(fill=tenth))
        is_full = tenth == FULL
        label = "100 %" if is_full else f"{tenth * 10}–{tenth * 10 + 10} %"
        bars.append(Bar(label, [Amount(0), amount] if is_full else [amount, Amount(0)], amount.href))
    series = (Series("a", "fits"), Series("faulty", "full, or too long"))
    return columns("Prompts by the part of the context that they fill", "context filled", "exchanges", series, bars)


def _tokens(found: Exchanges, part: Part) -> Chart:
    bars = []
    for monday, tokens in sorted(found.tokens_by_week.items()):
        href = part.exchanges(since=monday.isoformat(), until=(monday + _WEEK).isoformat())
        amounts = [Amount(round(getattr(tokens, name) / max(tokens.n_exchanges, 1)), href) for _, name in _SHARES]
        bars.append(Bar(monday.isoformat(), amounts, href))
    series = [series for series, _ in _SHARES]
    return columns("Prompt tokens of an exchange, on average by week", "week from", "tokens", series, bars)


def _latencies(found: Overview, part: Part) -> Iterator[tuple[Cell, Durations]]:
    words = {"first_byte": "first byte of an answer", "total": "whole answer"}
    for name, durations in (found.answers or {}).items():
        yield Cell(words[name], part.exchanges()), durations
    for name, durations in (found.tool_times or {}).items():
        yield Cell(name, part.tool(name)), durations
