"""Progress on stderr: a bar on a terminal, lines in a log file, nothing with ``-q``.

A log file gets one line for each kind of work, and one every ten seconds.
"""

import sys
import time
from types import TracebackType
from typing import Any

import click

LINE_EVERY_S = 10.0  # a log file wants a sign of life, not a film


class Progress:
    """Counts work that is done. A context manager; safe to leave at any moment.

    Args:
        label: What is counted, for example ``steps``.
        total: How many there will be; None when nobody knows.
        done: How many were done before: they count for how far it is, and not for how fast.
        quiet: Say nothing at all.
    """

    def __init__(self, label: str, total: int | None = None, *, done: int = 0, quiet: bool = False) -> None:
        self.label = label
        self.total = total
        self.count = done
        self._before = done
        self._quiet = quiet
        self._bar: Any = None
        self._task: Any = None
        self._began = time.monotonic()
        self._next_line = self._began + LINE_EVERY_S

    def __enter__(self) -> "Progress":
        if not self._quiet and sys.stderr.isatty():
            self._start_bar()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, count: int = 1) -> None:
        """Say that ``count`` more are done."""
        self.count += count
        if self._bar is not None:
            self._bar.update(self._task, advance=count, description=self.label)
        elif not self._quiet and (now := time.monotonic()) >= self._next_line:
            self._next_line = now + LINE_EVERY_S
            click.echo(self._line(now), err=True)

    def begin(self, label: str, total: int | None = None) -> None:
        """Go on with another kind of work: the count begins again."""
        self.label, self.total, self.count, self._before = label, total, 0, 0
        self._began = time.monotonic()
        if self._bar is not None:
            self._bar.remove_task(self._task)
            self._task = self._bar.add_task(label, total=total)
        elif not self._quiet:  # work that cannot be counted would look like death
            self._next_line = self._began + LINE_EVERY_S
            click.echo(f"{label} …", err=True)

    def _line(self, now: float) -> str:
        """Return a line for a log file: how far, how fast, and how long it will take."""
        rate = (self.count - self._before) / max(now - self._began, 1e-9)
        if self.total is None:
            return f"{self.count} {self.label}, {_speed(rate)}"
        left_s = round(max(0, self.total - self.count) / max(rate, 1e-9))
        return f"{self.count} of {self.total} {self.label}, {_speed(rate)}, {left_s // 60}:{left_s % 60:02} left"

    def _start_bar(self) -> None:
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            ProgressColumn,
            Task,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as Bar
        from rich.text import Text

        class _Speed(ProgressColumn):
            def render(self, task: Task) -> Text:
                return Text("" if task.speed is None else _speed(task.speed))

        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            _Speed(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task(self.label, total=self.total, completed=self.count)
        self._bar.start()


def _speed(rate: float) -> str:
    """Return how much is done in a second; a model that takes a minute for an answer does not stand still."""
    return f"{rate:,.0f}/s" if rate >= 10 else f"{rate:.2g}/s"
