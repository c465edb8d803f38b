"""Charts as SVG, each with the same figures as a table: pure functions from numbers to markup.

A chart has no style of its own: its shapes have the class of their series, and ``static/charts.css`` gives that a
colour in light and dark. ``templates/charts.html`` puts a chart on a page, with its legend and its table.

The shapes link to the rows behind them, for the pointer. For the keyboard and for screen readers the links are those of
the table: an image of a hundred bars would be a hundred stops.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, log10
from typing import NamedTuple

from markupsafe import Markup, escape

from tarx_toollog.web.visible import shortened, visible

_WIDTH, _HEIGHT = 640, 220  # pixels, before the page scales it
_LEFT, _TOP, _BOTTOM = 56, 12, 22  # room for the words at the axes
_ROW, _NAMES, _COUNTS = 20, 190, 64  # of bars that lie: the height of one, and the room on both sides
_LABELS = 8  # words below an axis that do not run into each other
_LONG = 26  # characters of a name beside a bar
_LEAST = 1.5  # pixels: what there is must be seen, and hit


class Series(NamedTuple):
    """What one colour stands for."""

    style: str
    """Class of the shapes: ``ok``, ``faulty``, ``error``, ``pending``; or ``a`` to ``d``: neither good nor bad."""
    words: str


class Amount(NamedTuple):
    """What one shape shows."""

    value: float
    href: str | None = None
    """The rows behind it."""


class Bar(NamedTuple):
    """One bar: an amount for each series, which stand on each other."""

    label: str
    amounts: Sequence[Amount]
    href: str | None = None
    """The rows behind all of it."""


class Point(NamedTuple):
    """One share with its interval, each 0–1."""

    label: str
    numerator: int
    denominator: int
    low: float
    high: float
    href: str | None = None
    """The rows that the share is of."""


class Cell(NamedTuple):
    """One cell of the table behind a chart."""

    text: str
    href: str | None = None


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart, and the table behind it."""

    title: str
    svg: Markup
    legend: Sequence[Series]
    """Empty where there is only one series."""
    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    """The first cell of a row is its title."""


def columns(title: str, first: str, unit: str, series: Sequence[Series], bars: Sequence[Bar]) -> Chart:
    """Return bars that stand side by side: days, or the bins of a histogram.

    Args:
        title: What the chart shows, as a sentence without an end.
        first: What the bars are: the title of the first column of the table.
        unit: What is counted.
        series: What the amounts of each bar are, from below.
        bars: In order.
    """
    most = _ceiling(max((_total(bar) for bar in bars), default=0))
    across = (_WIDTH - _LEFT) / max(len(bars), 1)
    base, room = _HEIGHT - _BOTTOM, _HEIGHT - _BOTTOM - _TOP
    drawn = [_grid_line(base - share * room, f"{_number(most * share)}") for share in (0.0, 0.5, 1.0)]
    for number, bar in enumerate(bars):
        x, y = _LEFT + number * across, float(base)
        for one, amount in zip(series, bar.amounts, strict=True):
            if amount.value > 0:
                height = max(amount.value / most * room, _LEAST)
                y -= height
                box = (x + across * 0.1, y, across * 0.8, height)
                drawn.append(_box(box, one, amount, _told(bar, one, amount, unit, len(series))))
        if number % _every(len(bars)) == 0:
            drawn.append(_text(x + across / 2, _HEIGHT - 6, bar.label, "middle"))
    return _chart(title, (_WIDTH, _HEIGHT), drawn, first, unit, series, bars)


def rows(title: str, first: str, unit: str, series: Sequence[Series], bars: Sequence[Bar]) -> Chart:
    """Return bars that lie under each other, each beside its name: tools, or values.

    Args:
        title: What the chart shows, as a sentence without an end.
        first: What the bars are: the title of the first column of the table.
        unit: What is counted.
        series: What the amounts of each bar are, from the left.
        bars: In order.
    """
    most = max((_total(bar) for bar in bars), default=0) or 1
    room = _WIDTH - _NAMES - _COUNTS
    drawn: list[Markup] = []
    for number, bar in enumerate(bars):
        y, x = number * _ROW, float(_NAMES)
        drawn.append(_text(_NAMES - 8, y + 14, shortened_name(bar.label), "end"))
        for one, amount in zip(series, bar.amounts, strict=True):
            if amount.value > 0:
                width = max(amount.value / most * room, _LEAST)
                box = (x, y + 3, width, _ROW - 6)
                drawn.append(_box(box, one, amount, _told(bar, one, amount, unit, len(series))))
                x += width
        drawn.append(_text(x + 6, y + 14, _number(_total(bar)), "start"))
    return _chart(title, (_WIDTH, max(len(bars), 1) * _ROW), drawn, first, unit, series, bars)


def dots(title: str, first: str, unit: str, points: Sequence[Point]) -> Chart:
    """Return shares from 0 to 100 % as dots within their intervals, from left to right.

    Args:
        title: What the chart shows, as a sentence without an end.
        first: What the dots are: the title of the first column of the table.
        unit: What the shares are of.
        points: In order; each of at least one.
    """
    base, room = _HEIGHT - _BOTTOM, _HEIGHT - _BOTTOM - _TOP
    across = (_WIDTH - _LEFT) / max(len(points), 1)
    drawn = [_grid_line(base - share * room, f"{share * 100:.0f} %") for share in (0.0, 0.5, 1.0)]
    for number, point in enumerate(points):
        x, y = _LEFT + (number + 0.5) * across, base - point.numerator / point.denominator * room
        top, bottom = base - point.high * room, base - point.low * room
        shape = Markup(
            '<line class="whisker" x1="{x:.1f}" y1="{top:.1f}" x2="{x:.1f}" y2="{bottom:.1f}"/>'
            '<circle class="a" cx="{x:.1f}" cy="{y:.1f}" r="5"/>'
        ).format(x=x, y=y, top=top, bottom=bottom)
        drawn.append(_linked(shape, point.href, f"{point.label}: {_share_text(point)} {unit}"))
        if number % _every(len(points)) == 0:
            drawn.append(_text(x, _HEIGHT - 6, point.label, "middle"))
    table = [
        (
            Cell(point.label, point.href),
            Cell(_percent(point.numerator / point.denominator)),
            Cell(_interval(point)),
            Cell(_number(point.numerator)),
            Cell(_number(point.denominator)),
        )
        for point in points
    ]
    head = (first, "share", "95 % interval", "of them", unit)
    return Chart(title, _svg(title, (_WIDTH, _HEIGHT), drawn), (), head, table)


def shortened_name(name: str) -> str:
    """Return a name in the room that it has beside a bar.

    Example:
        >>> shortened_name("a_tool_with_a_name_that_goes_on")
        'a_tool_with_a_name_that_g…'
    """
    return name if len(name) <= _LONG else f"{name[: _LONG - 1]}…"


def _chart(
    title: str,
    size: tuple[int, int],
    drawn: Sequence[Markup],
    first: str,
    unit: str,
    series: Sequence[Series],
    bars: Sequence[Bar],
) -> Chart:
    has_sum = len(series) > 1
    head = (first, *(one.words for one in series), f"all {unit}") if has_sum else (first, unit)
    table = [
        (
            Cell(bar.label, bar.href),
            *(Cell(_number(amount.value), amount.href if amount.value else None) for amount in bar.amounts),
            *([Cell(_number(_total(bar)))] if has_sum else []),
        )
        for bar in bars
    ]
    return Chart(title, _svg(title, size, drawn), series if has_sum else (), head, table)


def _svg(title: str, size: tuple[int, int], drawn: Sequence[Markup]) -> Markup:
    begin = Markup('<svg class="chart" viewBox="0 0 {} {}" role="img"><title>{}</title>').format(*size, visible(title))
    return begin + Markup("").join(drawn) + Markup("</svg>")


def _box(box: tuple[float, float, float, float], series: Series, amount: Amount, told: str) -> Markup:
    shape = Markup('<rect class="{}" x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}"/>').format(series.style, *box)
    return _linked(shape, amount.href, told)


def _linked(shape: Markup, href: str | None, told: str) -> Markup:
    """Return a shape that says what it shows when it is pointed at, and leads to the rows behind it."""
    title = Markup("<title>{}</title>").format(visible(told))
    if href is None:
        return Markup("<g>{}{}</g>").format(title, shape)
    return Markup('<a href="{}" tabindex="-1">{}{}</a>').format(href, title, shape)


def _grid_line(y: float, words: str) -> Markup:
    line = Markup('<line class="grid" x1="{}" y1="{y:.1f}" x2="{}" y2="{y:.1f}"/>').format(_LEFT, _WIDTH, y=y)
    return line + _text(_LEFT - 6, y + 4, words, "end")


def _text(x: float, y: float, words: str, anchor: str) -> Markup:
    shown = escape(visible(words))
    return Markup('<text x="{:.1f}" y="{:.1f}" text-anchor="{}">{}</text>').format(x, y, anchor, shown)


def _told(bar: Bar, series: Series, amount: Amount, unit: str, n_series: int) -> str:
    name = shortened(bar.label, 80)
    if n_series == 1:
        return f"{name}: {_number(amount.value)} {unit}"
    return f"{name}, {series.words}: {_number(amount.value)} of {_number(_total(bar))} {unit}"


def _share_text(point: Point) -> str:
    share = _percent(point.numerator / point.denominator)
    return f"{share} [{_interval(point)}], {_number(point.numerator)} of {_number(point.denominator)}"


def _interval(point: Point) -> str:
    return f"{point.low * 100:.1f}–{_percent(point.high)}"


def _percent(share: float) -> str:
    return f"{share * 100:.1f} %"


def _total(bar: Bar) -> float:
    return sum(amount.value for amount in bar.amounts)


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == floor(value) or value >= 100 else f"{value:,.1f}"


def _every(count: int) -> int:
    return max(1, -(-count // _LABELS))


def _ceiling(value: float) -> float:
    """Return the round number at which an axis ends.

    Example:
        >>> [_ceiling(value) for value in (0, 3, 70, 47_340)]
        [2, 4, 80, 50000]
    """
    if value <= 2:
        return 2
    size: int = 10 ** floor(log10(value))
    return next(step * size for step in (1, 2, 4, 5, 6, 8, 10) if step * size >= value)
