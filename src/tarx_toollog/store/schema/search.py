"""The index of all words of the log. ``store.search`` fills it and asks it.

It is no table of SQLAlchemy's: SQLite's FTS5 and PostgreSQL's ``tsvector`` are made and asked in their own words. On
SQLite it holds no text, only which words stand in which message; what a message says stands in ``message`` alone.
"""

from collections.abc import Mapping

SEARCH_TABLE = "message_search"
"""Its name, and how the names of the tables that FTS5 makes for itself begin."""

SEARCH: Mapping[str, tuple[str, ...]] = {
    "sqlite": (
        (
            f"CREATE VIRTUAL TABLE {SEARCH_TABLE} USING fts5(text, arguments, content='', "
            'tokenize="unicode61 remove_diacritics 2")'
        ),
    ),
    "postgresql": (
        f"CREATE TABLE {SEARCH_TABLE} (message_id INTEGER PRIMARY KEY, document tsvector NOT NULL)",
        f"CREATE INDEX ix_{SEARCH_TABLE}_document ON {SEARCH_TABLE} USING gin (document)",
    ),
}
"""Dialect → the statements that make it."""
