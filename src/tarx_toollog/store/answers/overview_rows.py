"""The counts of the overview from the rows themselves, for filters that no tally tells apart: slow, and never wrong.

Each row has the names of the tallies, and means the same: a test holds the two against each other.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from operator import add
from typing import Any

import sqlalchemy as sa

from tarx_toollog.errors import ConfigError
from tarx_toollog.store.answers.tools import call_conditions, is_unanswered
from tarx_toollog.store.few import FEW, among_keys, few_exchanges, turns_meant
from tarx_toollog.store.filters import Filters, exchange_conditions
from tarx_toollog.store.schema import exchange, tool_call, tool_result, turn
from tarx_toollog.store.tallies import IS_GOOD, IS_LEAKED, RATIO, Kind, Row

_LONGEST_MS = 600_000  # the last bucket begins before it
_EDGES = [RATIO**power for power in range(200) if RATIO**power < _LONGEST_MS]
_FULL = 10
_TOKENS = ("input_tokens", "tool_tokens", "system_tokens", "history_tokens", "new_tokens")
_CALLS = exchange.join(tool_call, tool_call.c.exchange_id == exchange.c.id).outerjoin(
    tool_result, tool_result.c.tool_call_id == tool_call.c.id
)
_TOLD_APART: dict[Kind, tuple[str, ...]] = {
    "calls": ("day", "step_no", "tool"),
    "exchanges": ("day", "outcome", "fill"),
    "turns": ("chain_length",),
}
"""All columns that anything of a kind is counted by: the rows are read once for all of them."""


class RowCounter:
    """Counts what filters mean.

    Args:
        connection: One that may ask what the filters ask (``where.heeding``).
        filters: What is meant.
        only_few: Whether to refuse what would take long.

    Raises:
        ConfigError: It would.
    """

    def __init__(self, connection: sa.Connection, filters: Filters, *, only_few: bool) -> None:
        self._connection = connection
        self._found: dict[Kind, Sequence[sa.Row[Any]]] = {}
        few = few_exchanges(connection, filters)
        if few is None and only_few:
            raise ConfigError(
                f"these filters mean more than {FEW:,} exchanges, which would have to be counted one by one",
                hint="choose a shorter time, or ask for `toollog report` with the same filters",
            )
        if few is None:
            self._of_exchanges, self._of_calls = exchange_conditions(filters), call_conditions(filters)
        else:  # what the filters say of exchanges is known of these, and not asked again
            self._of_exchanges = [among_keys(exchange.c.id, few)]
            rest = Filters(tools=filters.tools, models=filters.models, where=filters.where)
            self._of_calls = [among_keys(tool_call.c.exchange_id, few), *call_conditions(rest)]
        self._of_turns = turns_meant(connection, filters, few)

    def counted(self, kind: Kind, by: Sequence[str]) -> list[Row]:
        """Return the counts, one row for each combination of the columns ``by``."""
        if kind == "latencies":
            return self._latencies(by)
        told_apart = _TOLD_APART[kind]
        places = [told_apart.index(name) for name in by]
        added: dict[tuple[Any, ...], list[int]] = {}
        names: Sequence[str] = ()
        for row in self._rows(kind):
            names = row._fields[len(told_apart) :]
            key = tuple(row[place] for place in places)
            known, measures = added.get(key), row[len(told_apart) :]
            added[key] = list(measures) if known is None else list(map(add, known, measures))
        return [dict(zip((*by, *names), (*key, *sums), strict=True)) for key, sums in added.items()]

    def _rows(self, kind: Kind) -> Sequence[sa.Row[Any]]:
        if kind not in self._found:
            query = {"calls": self._calls, "exchanges": self._exchanges, "turns": self._turns}[kind]()
            columns = [_column(self._connection, name) for name in _TOLD_APART[kind]]
            grouped = query.with_only_columns(*columns, *query.selected_columns).group_by(*columns)
            self._found[kind] = self._connection.execute(grouped).all()
        return self._found[kind]

    def conversations(self) -> int:
        """Return how many have an exchange that is meant."""
        query = sa.select(sa.func.count(exchange.c.conversation_id.distinct())).where(*self._of_exchanges)
        return self._connection.scalar(query) or 0

    def _calls(self) -> sa.Select[Any]:
        is_error = sa.func.coalesce(tool_result.c.is_error, sa.false())
        return (
            sa.select(
                sa.func.count().label("n_calls"),
                _total(~IS_GOOD).label("n_bad"),
                _total(tool_call.c.argument_state == "invalid").label("n_invalid"),
                _total(tool_call.c.schema_state == "fail").label("n_schema"),
                _total(~tool_call.c.offered).label("n_not_offered"),
                _total(~tool_call.c.complete).label("n_incomplete"),
                _total(IS_LEAKED).label("n_leaked"),
                _total(is_error).label("n_error_results"),
                _total(sa.or_(~IS_GOOD, is_error)).label("n_failed"),
                _total(is_unanswered()).label("n_unanswered"),
            )
            .select_from(_CALLS)
            .where(*self._of_calls)
        )

    def _exchanges(self) -> sa.Select[Any]:
        return sa.select(
            sa.func.count().label("n_exchanges"),
            _total(exchange.c.truncation.in_(["reported", "suspected"])).label("n_truncated"),
            _total(exchange.c.poisoned).label("n_poisoned"),
            *(sa.func.coalesce(sa.func.sum(exchange.c[name]), 0).label(name) for name in _TOKENS),
        ).where(exchange.c.n_inner == 0, *self._of_exchanges)

    def _turns(self) -> sa.Select[Any]:
        wrong = turn.c.n_bad_calls + turn.c.n_leaked + turn.c.n_error_results + turn.c.n_unanswered
        is_clean = sa.and_(turn.c.status == "answered", wrong == 0)
        return sa.select(sa.func.count().label("n_turns"), _total(is_clean).label("n_clean")).where(*self._of_turns)

    def _latencies(self, by: Sequence[str]) -> list[Row]:
        """Count durations by their buckets: those of tools by their names, or those of answers by what was measured."""
        if "name" in by:
            times = sa.select(tool_call.c.name, tool_result.c.latency_ms).select_from(_CALLS)
            query = times.where(tool_result.c.latency_ms.is_not(None), *self._of_calls)
            by_tool = Counter((name, _bucket(duration)) for name, duration in self._connection.execute(query))
            return [{"name": name, "bucket": bucket, "n": n} for (name, bucket), n in by_tool.items()]
        whats = {"first_byte": exchange.c.first_byte_ms, "total": exchange.c.total_ms}
        query = sa.select(*whats.values()).where(exchange.c.n_inner == 0, exchange.c.outcome == "completed")
        found: Counter[tuple[str, int]] = Counter()
        for row in self._connection.execute(query.where(*self._of_exchanges)):
            for what, duration in zip(whats, row, strict=True):
                if duration is not None:
                    found[what, _bucket(duration)] += 1
        return [{"what": what, "bucket": bucket, "n": n} for (what, bucket), n in found.items()]


def _bucket(duration: float) -> int:
    return bisect_right(_EDGES, duration)


def _column(connection: sa.Connection, name: str) -> sa.ColumnElement[Any]:
    """Return a column of the tallies as an expression on the rows."""
    if name == "day":
        if connection.dialect.name == "postgresql":
            utc = sa.func.timezone("UTC", exchange.c.started_at)
            return sa.func.to_char(utc, sa.literal_column("'YYYY-MM-DD'")).label(name)
        return sa.func.substr(sa.cast(exchange.c.started_at, sa.Text), 1, 10, type_=sa.Text).label(name)
    fill = exchange.c.input_tokens * 10 // sa.func.nullif(exchange.c.ctx_limit, 0, type_=sa.Integer)
    columns: dict[str, sa.ColumnElement[Any]] = {
        "tool": tool_call.c.name,
        "step_no": tool_call.c.step_no,
        "outcome": exchange.c.outcome,
        "fill": sa.case((fill >= _FULL, sa.literal_column(str(_FULL))), else_=fill),
        "chain_length": turn.c.chain_length,
    }
    return columns[name].label(name)


def _total(condition: Any) -> sa.ColumnElement[Any]:
    return sa.func.sum(sa.case((condition, 1), else_=0))
