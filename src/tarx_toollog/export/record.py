"""Keeps a build in the database: which examples are in it, which are not, and why."""

import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from tarx_toollog.errors import StoreError
from tarx_toollog.export.options import ExportOptions
from tarx_toollog.export.preparation import Preparation
from tarx_toollog.store.datasets import DatasetExampleRow, Datasets, NewBuild
from tarx_toollog.store.engine import store_errors
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.spool import Entry, Spool

_WITHOUT = "--no-record writes the files alone"


class BuildRecord:
    """A build that is being written.

    Args:
        datasets: Where builds are kept; None for a build that nobody wants to ask about.
        name: Name of the build; None for one that is not kept.
        build_id: Its key.
    """

    def __init__(self, datasets: Datasets | None, name: str | None, build_id: int = 0) -> None:
        self.name = name
        self._datasets = datasets
        self._build_id = build_id

    def add(self, spool: Spool) -> None:
        """Write every example down.

        Raises:
            StoreError: The database cannot be written.
        """
        if self._datasets is not None:
            with _advised(_WITHOUT):
                self._datasets.add(self._build_id, _rows(spool.entries(only_in=False)))

    def finish(self, counts: Mapping[str, Any], files: Any) -> None:
        """Write down that the build is whole: its files are in their place.

        Raises:
            StoreError: The database cannot be written.
        """
        if self._datasets is not None:
            with _advised(f"the files are in their place, only the build {self.name} is not recorded as finished"):
                self._datasets.finish(self._build_id, counts, files)


def require_writable(log: ToolLog) -> None:
    """Refuse a database that cannot be written now: it would be found out when all work is done.

    Raises:
        StoreError: It cannot.
    """
    with _opened(log) as writable, _advised(_WITHOUT), store_errors(log.settings), writable.engine.begin():
        pass  # this took the lock of writers, and nothing else was wanted


@contextmanager
def begun(log: ToolLog, options: ExportOptions, prepared: Preparation, *, enabled: bool) -> Iterator[BuildRecord]:
    """Yield the record of a new build; one that fails is marked as failed.

    Raises:
        ConfigError: Its name is taken.
        StoreError: The database cannot be written.
    """
    if not enabled:
        yield BuildRecord(None, None)
        return
    new = NewBuild(
        name=options.name,
        parent=options.parent,
        task=options.task,
        unit=options.unit,
        formats=options.formats,
        config=options.as_json(),
        last_exchange_id=prepared.last_exchange,
    )
    with _opened(log) as writable:
        datasets = Datasets(writable)
        with _advised(_WITHOUT):
            row = datasets.start(new, replace=options.replace_build)
        try:
            yield BuildRecord(datasets, row.name, row.id)
        except BaseException as error:
            # Ctrl-C in a statement leaves its cursor in a frame of the traceback, and the cursor keeps the transaction.
            traceback.clear_frames(error.__traceback__)
            with suppress(StoreError):  # what went wrong first is to be told; the build stays `writing`
                datasets.fail(row.id)
            raise


@contextmanager
def _opened(log: ToolLog) -> Iterator[ToolLog]:
    with _advised(_WITHOUT):
        writable = ToolLog.open(settings=log.settings, read_only=False)
    with writable:
        yield writable


@contextmanager
def _advised(advice: str) -> Iterator[None]:
    """Add advice to what is said about a database that cannot be written."""
    try:
        yield
    except StoreError as error:
        raise type(error)(error.message, hint="; ".join(filter(None, (error.hint, advice)))) from error


def _rows(entries: Iterable[Entry]) -> Iterator[DatasetExampleRow]:
    for entry in entries:
        if entry.answers is None:
            yield _row(entry)
        else:
            yield from _rows_of_dialogue(entry)


def _rows_of_dialogue(entry: Entry) -> Iterator[DatasetExampleRow]:
    """Yield a row for each exchange whose answer is learned, so that it can be asked about; the line's own is last."""
    line = _row(entry)
    for answer in entry.learned[:-1]:
        if answer.exchange_id is not None:
            yield line._replace(exchange_id=answer.exchange_id, n_tokens=None, n_trained_tokens=answer.n_trained)
            if line.n_trained_tokens is not None:
                line = line._replace(n_trained_tokens=line.n_trained_tokens - answer.n_trained)
    yield line


def _row(entry: Entry) -> DatasetExampleRow:
    is_in = entry.reason is None and entry.copies > 0
    return DatasetExampleRow(
        example_hash=entry.hash,
        source=entry.source,
        exchange_id=entry.exchange_id,
        origin=None if entry.file is None else f"{entry.file}:{entry.line}",
        split=entry.split if is_in else None,
        copies=entry.copies if is_in else 0,
        n_tokens=entry.n_tokens,
        n_trained_tokens=entry.n_trained,
        tokens_from=entry.tokens_from,
        reason=entry.reason,
    )
