"""Parquet files that Spark, Ray Data, DuckDB, pyarrow and ``datasets`` read as they are.

*Theory.* One folder a split, named ``split=train`` …, which all of these readers take for a column (Hive partitions).
Messages and tools are strings of JSON: as nested columns, every tool's argument names would be columns of every other
tool, filled with nulls. Each engine reads JSON from strings (``from_json``, ``json_extract``). What a row is about
(example, source, tokens) stands in columns of its own, so that a query need not read the texts.

Memory is bounded by the row group, whatever the size of the export: a group is written when its texts reach
``GROUP_CHARS``. A file ends after ``GROUPS`` groups, so that readers can share the work.

pyarrow is optional: ``pip install 'tarx-toollog[parquet]'``.
"""

import os
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from tarx_toollog.errors import ConfigError
from tarx_toollog.export.example import Row

GROUP_CHARS = 16 * 2**20
"""Text in one row group: large enough to compress well, small beside the 500 MB that an export may use."""
GROUPS = 32
"""Row groups in one file: half a gigabyte of text."""

_ABOUT = {"example_id": "string", "source": "string", "n_tokens": "int32", "n_trained_tokens": "int32"}


class ParquetFiles:
    """Writes ``split=NAME/part-00000.parquet`` … below a folder.

    Args:
        folder: Where the partitions go; made when the first row comes.
        columns: Names of the columns of the format.
        flags: Those of them that are true or false; all others are strings of JSON.

    Raises:
        ConfigError: pyarrow is not installed.
    """

    def __init__(self, folder: Path, columns: tuple[str, ...], flags: frozenset[str] = frozenset()) -> None:
        try:
            self._pa: Any = import_module("pyarrow")
            self._pq: Any = import_module("pyarrow.parquet")
        except ImportError:
            raise ConfigError(
                "Parquet files need pyarrow", hint="pip install 'tarx-toollog[parquet]', or leave out --parquet"
            ) from None
        self._folder = folder
        self._flags = flags
        types = _ABOUT | {name: "bool_" if name in flags else "string" for name in columns}
        self._schema = self._pa.schema([(name, getattr(self._pa, kind)()) for name, kind in types.items()])
        self._split = ""
        self._n_files = 0
        self._writer: Any = None
        self._stream: Any = None
        self._n_groups = 0
        self._rows: list[dict[str, Any]] = []
        self._chars = 0

    def add(self, split: str, row: Row, cells: Mapping[str, str | None]) -> None:
        """Write one row. Rows come split by split."""
        if split != self._split:
            self._end_file()
            self._split, self._n_files = split, 0
        values: dict[str, Any] = {name: getattr(row, name) for name in _ABOUT}
        for name, text in cells.items():
            values[name] = text == "true" if name in self._flags else text
            self._chars += len(text or "")
        self._rows.append(values)
        if self._chars >= GROUP_CHARS:
            self._end_group()

    def close(self) -> None:
        """Write what is left and close the file."""
        self._end_file()

    def _end_group(self) -> None:
        if not self._rows:
            return
        if self._writer is None:
            self._open()
        self._writer.write_table(self._pa.Table.from_pylist(self._rows, schema=self._schema))
        self._rows, self._chars = [], 0
        self._n_groups += 1
        if self._n_groups == GROUPS:
            self._end_file()

    def _open(self) -> None:
        path = self._folder / f"split={self._split}" / f"part-{self._n_files:05}.parquet"
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._stream = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
        self._writer = self._pq.ParquetWriter(self._stream, self._schema, compression="zstd")
        self._n_files += 1
        self._n_groups = 0

    def _end_file(self) -> None:
        self._end_group()
        if self._writer is not None:
            self._writer.close()
            self._stream.close()
            self._writer = self._stream = None
