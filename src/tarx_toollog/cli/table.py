"""Rows laid out for a terminal: ids that can be copied and whole numbers come before many columns.

A table that is too wide first loses what nobody misses (long titles, the tails of ids and texts), then the
columns that its command can do without, and says which. A query of a person's own has none of those: it turns
into a list of fields. Nothing vanishes silently.
"""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from tarx_toollog.cli.output import Row, cell_text

GAP = 2
MIN_TEXT = 12  # less of a text than this tells nothing
UID_HEAD = 18  # of a UUIDv7: time and counter; `log show` takes the beginning of an id

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?")


@dataclass(slots=True)
class _Column:
    name: str
    cells: list[str]
    is_number: bool
    is_uid: bool
    is_whole: bool
    """Whether its cells are never cut: half a number, time or id is worse than none."""
    wraps: bool
    width: int = 0
    title: str = ""

    def fit(self) -> None:
        """Take the width of the cells and of the title on one line."""
        self.title = self.name
        self.width = max([cell_len(self.name), *map(cell_len, self.cells)])

    def narrow(self) -> None:
        """Do with less: the title on several lines, ids cut to where they still differ."""
        if self.is_uid:
            heads = [cell[:UID_HEAD] for cell in self.cells]
            self.cells = heads if len(set(heads)) == len(set(self.cells)) else self.cells
        cells = max(map(cell_len, self.cells), default=0)
        self.title = _stacked(self.name, cells)
        self.width = max(cells, *map(cell_len, self.title.split("\n")))

    @property
    def floor(self) -> int:
        """The least width."""
        if self.is_whole:
            return self.width
        return min(self.width, max(MIN_TEXT, *map(cell_len, self.title.split("\n"))))


def layout(
    rows: Sequence[Row], names: Sequence[str], width: int, *, spare: Sequence[str] = (), wrap: Collection[str] = ()
) -> RenderableType:
    """Return ``rows`` as a table of at most ``width`` columns of characters, or as a list of fields.

    Args:
        rows: The rows.
        names: Keys of a row, in order.
        width: Of the terminal.
        spare: Names that may be left out; the first goes first, and one without a value before all others.
        wrap: Names of texts that are broken into lines rather than cut.
    """
    shown = [_column(name, rows, name in wrap) for name in names]
    # With `sorted` being stable, those without a value come first, each group in the order of the command.
    going = sorted(spare, key=lambda name: any(row.get(name) is not None for row in rows))
    left_out: list[str] = []
    while not _fits(shown, width):
        if not going:
            return _fields(rows, names)
        left_out.append(going.pop(0))
        shown = [_column(name, rows, name in wrap) for name in names if name not in left_out]
    table = _table(shown, len(rows))
    if not left_out:
        return table
    missing = ", ".join(name for name in names if name in left_out)
    return Group(table, Text(f"not shown for want of room: {missing}", style="dim"))


def print_rows(rows: Sequence[Row], names: Sequence[str], *, spare: Sequence[str], wrap: Collection[str]) -> None:
    """Print ``rows`` on the terminal; titles over nothing are not worth a line."""
    if rows:
        console = Console(highlight=False)
        found = layout(rows, names, console.width, spare=spare, wrap=wrap)
        console.print(found, soft_wrap=isinstance(found, Text))


def _column(name: str, rows: Sequence[Row], wraps: bool) -> _Column:
    values: list[Any] = [row.get(name) for row in rows]
    cells = [cell_text(value) for value in values]
    some = [cell for cell in cells if cell]
    is_number = all(isinstance(value, int | float | None) for value in values)
    is_uid = bool(some) and all(map(_UUID.fullmatch, some))
    return _Column(name, cells, is_number, is_uid, is_number or is_uid or all(map(_TIME.fullmatch, some)), wraps)


def _fits(columns: list[_Column], width: int) -> bool:
    """Give every column its width; say whether the terminal has room for them."""
    room = width - GAP * (len(columns) - 1)
    for step in (_Column.fit, _Column.narrow):
        for column in columns:
            step(column)
        if sum(column.width for column in columns) <= room:
            return True
    while (excess := sum(column.width for column in columns) - room) > 0:
        widest = sorted((c for c in columns if c.width > c.floor), key=lambda c: -c.width)
        if not widest:
            return False
        # Down to the second widest at most, so that no text is cut to nothing beside a long one.
        level = max(widest[0].floor, widest[1].width - 1 if len(widest) > 1 else 0)
        widest[0].width = max(level, widest[0].width - excess)
    return True


def _stacked(name: str, width: int) -> str:
    """Return a title broken after underscores, as narrow as ``width`` or its longest part."""
    parts = re.findall(r"[^_]*_|[^_]+", name) or [name]
    width = max(width, *map(cell_len, parts))
    lines = [""]
    for part in parts:
        if cell_len(lines[-1] + part) > width:
            lines.append("")
        lines[-1] += part
    return "\n".join(lines)


def _table(columns: list[_Column], count: int) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, GAP, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(
            Text(column.title),
            width=column.width,
            justify="right" if column.is_number else "left",
            overflow="fold" if column.wraps else "ellipsis",
            no_wrap=not column.wraps,
            vertical="top",
        )
    for number in range(count):
        table.add_row(*(Text(column.cells[number]) for column in columns))
    return table


def _fields(rows: Sequence[Row], names: Sequence[str]) -> Text:
    """Return each row as lines of name and value; long values run on."""
    indent = max(map(cell_len, names)) + GAP
    text = Text()
    for number, row in enumerate(rows, 1):
        text.append(f"{'' if number == 1 else chr(10)}row {number}\n", style="bold")
        for name in names:
            text.append(f"{name:<{indent}}{cell_text(row.get(name))}\n")
    text.rstrip()
    return text
