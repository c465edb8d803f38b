"""The ready queries: questions that analysts ask, each answered by one SELECT on the views.

One ``.sql`` file is one query. It begins with comments: the question, its group, how to read the answer, and defaults
of its parameters where they are not the usual ones. The SQL itself is the same for SQLite, PostgreSQL and DuckDB: views
hold what these do not share. ``docs/queries.md`` is generated from here.
"""

from tarx_toollog.store.answers.ready.catalogue import GROUPS, find_ready, ready_queries
from tarx_toollog.store.answers.ready.query import Parameter, ReadyQuery

__all__ = ["GROUPS", "Parameter", "ReadyQuery", "find_ready", "ready_queries"]
