"""The views: the analysts' contract, the same names and columns on SQLite and PostgreSQL.

A view is derived from the tables, so views are not migrated: every upgrade drops and makes them again from
these files and ``replay_views`` (``store.migrate``). Each column has its sentence there; ``docs/schema.md`` is
generated from them.

``exchange.n_inner = 0`` selects the exchanges that the model itself answered. An inbound exchange of a
Workbench that loops over tools on the server's side has inner exchanges, and those hold the calls.
"""

from tarx_toollog.store.replay_views import REPLAY_VIEWS
from tarx_toollog.store.views.calls import V_TOOL_CALLS, V_TOOL_COMPLEXITY, V_TOOL_STATS, V_UNMATCHED
from tarx_toollog.store.views.exchanges import V_CONTEXT_BUDGET, V_EXCHANGES, V_REQUEST_MESSAGES, V_STEPS
from tarx_toollog.store.views.health import V_HEALTH
from tarx_toollog.store.views.training import V_TRAINING_CANDIDATES
from tarx_toollog.store.views.turns import V_CHAINS, V_TURNS

__all__ = ["VIEWS", "V_TOOL_CALLS", "V_TOOL_STATS"]

VIEWS = (
    V_EXCHANGES,
    V_TOOL_CALLS,
    V_TURNS,
    V_STEPS,
    V_CHAINS,
    V_TOOL_STATS,
    V_TOOL_COMPLEXITY,
    V_CONTEXT_BUDGET,
    V_REQUEST_MESSAGES,
    V_UNMATCHED,
    V_HEALTH,
    V_TRAINING_CANDIDATES,
    *REPLAY_VIEWS,
)
"""In the order in which they are made: a view may use the ones before it."""
