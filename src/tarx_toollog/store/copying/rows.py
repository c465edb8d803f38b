"""Rows as both databases give them alike: read in batches, and added up to a hash.

*Theory.* Text, JSON included, is taken as it is stored: reading JSON and writing it again could change its bytes. What
the databases keep each in their own way (moments, booleans, floats, bytes) is read as a value of Python, of which there
is one form. A table is a set of rows, so its hash is the sum of theirs: databases order text in different ways.
"""

from collections.abc import Iterator, Sequence
from hashlib import blake2b
from typing import Any

import sqlalchemy as sa

from tarx_toollog.store.schema import metadata, raw_body
from tarx_toollog.store.types import JsonText, SafeText

Rows = Sequence[Sequence[Any]]

BATCH_ROWS = 5_000
BATCH_BYTES = 16 * 2**20  # a raw body may have as many by itself, and most rows have a few hundred
_FETCH = 100  # rows that the driver holds at once
_FETCH_BODIES = 4  # the same of raw bodies, each of which may have as many bytes as a batch
_HASH_BYTES = 16


def tables() -> list[sa.Table]:
    """Return all tables in an order in which a row comes after those that it refers to, its own table apart."""
    return list(metadata.sorted_tables)


def stored_type(column: sa.Column[Any]) -> sa.types.TypeEngine[Any]:
    """Return the type under which a column is copied: text as it stands, anything else as its value."""
    return sa.Text() if isinstance(column.type, JsonText | SafeText) else column.type


def batches(connection: sa.Connection, table: sa.Table) -> Iterator[Rows]:
    """Yield all rows of a table in the order of its key, as many at once as are good to write.

    Args:
        connection: One transaction, so that all tables are of the same moment.
        table: One of ``tables``.
    """
    columns = [sa.type_coerce(column, stored_type(column)).label(column.name) for column in table.columns]
    query = sa.select(*columns).order_by(*table.primary_key.columns)
    fetched = _FETCH_BODIES if table is raw_body else _FETCH
    result = connection.execute(query.execution_options(yield_per=fetched))
    texts = [place for place, column in enumerate(table.columns) if _may_be_long(column)]
    batch: list[Sequence[Any]] = []
    size = 0
    for part in result.partitions():
        batch += part
        size += sum(len(row[place] or "") for row in part for place in texts)
        if len(batch) >= BATCH_ROWS or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _may_be_long(column: sa.Column[Any]) -> bool:
    kind = stored_type(column)
    return isinstance(kind, sa.String | sa.LargeBinary) and getattr(kind, "length", None) is None


class TableHash:
    """The number of rows of a table, and a hash that tells one set of rows from another.

    Args:
        table: One of ``tables``.
    """

    def __init__(self, table: sa.Table) -> None:
        self.n_rows = 0
        self._sum = 0
        self._floats = [place for place, column in enumerate(table.columns) if isinstance(column.type, sa.Float)]
        self._bodies = [place for place, column in enumerate(table.columns) if column is raw_body.c.data]

    def add(self, rows: Rows) -> None:
        """Count rows that ``batches`` gave."""
        self.n_rows += len(rows)
        for row in rows:
            text = repr(self._canonical(row)).encode("utf-8", "surrogatepass")
            self._sum += int.from_bytes(blake2b(text, digest_size=_HASH_BYTES).digest(), "big")

    def _canonical(self, row: Sequence[Any]) -> tuple[Any, ...]:
        values = list(row)
        for place in self._floats:
            if values[place] == 0:
                values[place] = 0.0  # SQLite does not keep the sign of a zero
        for place in self._bodies:
            values[place] = blake2b(values[place]).digest()  # megabytes, whose text would be four times as long
        return tuple(values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TableHash) and (self.n_rows, self.hex) == (other.n_rows, other.hex)

    __hash__ = None  # type: ignore[assignment]  # it changes with every row

    @property
    def hex(self) -> str:
        """The hash as text."""
        return f"{self._sum % 2 ** (8 * _HASH_BYTES):0{2 * _HASH_BYTES}x}"


def count_rows(connection: sa.Connection) -> dict[str, int]:
    """Return the number of rows of every table."""
    return {table.name: connection.scalar(sa.select(sa.func.count()).select_from(table)) or 0 for table in tables()}
