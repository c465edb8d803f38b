"""Keeps a build in the database: which examples are in it, which are not, and why."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tarx_toollog.export.options import ExportOptions
from tarx_toollog.export.preparation import Preparation
from tarx_toollog.store.datasets import DatasetExampleRow, Datasets, NewBuild
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.spool import Entry, Spool


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

    def keep(self, spool: Spool, counts: Mapping[str, Any], files: Any) -> None:
        """Write every example down, and that the build is whole."""
        if self._datasets is not None:
            self._datasets.add(self._build_id, _rows(spool.entries(only_in=False)))
            self._datasets.finish(self._build_id, counts, files)


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
    with ToolLog.open(settings=log.settings, read_only=False) as writable:
        datasets = Datasets(writable)
        row = datasets.start(new, replace=options.replace_build)
        try:
            yield BuildRecord(datasets, row.name, row.id)
        except BaseException:
            datasets.fail(row.id)
            raise


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
