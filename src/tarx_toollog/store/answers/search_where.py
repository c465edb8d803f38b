"""Searching with a person's own condition."""

import sqlalchemy as sa

from tarx_toollog.store.filters import Filters
from tarx_toollog.store.schema import SEARCH_TABLE
from tarx_toollog.store.search import Hits, Place, search
from tarx_toollog.store.where import TIMEOUT_S, heeding


def search_where(
    connection: sa.Connection,
    query: str,
    filters: Filters,
    *,
    place: Place | None = None,
    role: str | None = None,
    before: int | None = None,
    timeout_s: float = TIMEOUT_S,
) -> Hits:
    """Return what ``search`` does; the condition of the filters, if there is one, is heeded as everywhere.

    Raises:
        ConfigError: There is no word to look for, or the condition is wrong or took too long.
    """
    if filters.where is not None:
        # SQLite opens the index with statements of its own, which it may not make while it heeds a condition.
        connection.execute(sa.text(f"SELECT 1 FROM {SEARCH_TABLE} LIMIT 0"))  # noqa: S608 - a name of ours
    with heeding(connection, filters.where, timeout_s):
        return search(connection, query, filters, place=place, role=role, before=before)
