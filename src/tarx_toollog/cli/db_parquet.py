"""Rows of a query as one Parquet file.

SQLite gives every value a type of its own, Parquet every column: a column has the type that all its values fit in, and
is text where there is none but that. So all rows are read before the first is written.

pyarrow is optional: ``pip install 'tarx-toollog[parquet]'``.
"""

import os
from collections.abc import Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from tarx_toollog.errors import ConfigError

Cell = Any

_BIGGEST = 2**63


class ParquetTable:
    """Writes one file.

    Args:
        path: Where it goes; what is there is replaced.

    Raises:
        ConfigError: pyarrow is not installed.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._pa: Any = import_module("pyarrow")
            self._pq: Any = import_module("pyarrow.parquet")
        except ImportError:
            raise ConfigError(
                "Parquet files need pyarrow", hint="pip install 'tarx-toollog[parquet]', or use --csv or --jsonl"
            ) from None
        self._path = path

    def write(self, columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> int:
        """Write all rows and return how many there were."""
        values = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in columns]
        table = self._pa.table([self._array(column) for column in values], names=list(columns))
        try:
            # What the log holds is private: files are for their owner only.
            descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        except OSError as error:
            raise click.FileError(str(self._path), error.strerror) from error
        with os.fdopen(descriptor, "wb") as stream:
            self._pq.write_table(table, stream, compression="zstd")
        return len(values[0]) if values else 0

    def _array(self, values: list[Cell]) -> Any:
        kinds = {type(value) for value in values if value is not None}
        if kinds == {bool}:
            return self._pa.array(values, self._pa.bool_())
        if (
            kinds <= {int, bool}
            and kinds
            and all(-_BIGGEST <= value < _BIGGEST for value in values if value is not None)
        ):
            return self._pa.array([None if value is None else int(value) for value in values], self._pa.int64())
        if kinds <= {int, bool, float, Decimal} and kinds:
            return self._pa.array([None if value is None else float(value) for value in values], self._pa.float64())
        if kinds == {datetime}:
            return self._pa.array(values, self._pa.timestamp("us", "UTC"))
        if kinds == {bytes}:
            return self._pa.array(values, self._pa.binary())
        return self._pa.array([None if value is None else _text(value) for value in values], self._pa.string())


def _text(value: Cell) -> str:
    text = value.hex() if isinstance(value, bytes) else str(value)
    return text.encode("utf-8", "replace").decode("utf-8")
