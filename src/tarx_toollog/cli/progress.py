"""Progress on stderr: a bar on a terminal, one line every ten seconds in a log file, nothing with ``-q``."""

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
        quiet: Say nothing at all.
    """

    def __init__(self, label: str, total: int | None = None, *, quiet: bool = False) -> None:
        self.label = label
        self.total = total
        self.count = 0
        self._quiet = quiet
        self._bar: Any = None
        self._task: Any = None
        self._next_line = time.monotonic() + LINE_EVERY_S

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
            self._bar.update(self._task, advance=count)
        elif not self._quiet and time.monotonic() >= self._next_line:
            self._next_line = time.monotonic() + LINE_EVERY_S
            of = "" if self.total is None else f" of {self.total}"
            click.echo(f"{self.count}{of} {self.label}", err=True)

    def _start_bar(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bar

        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task(self.label, total=self.total)
        self._bar.start()
