"""Tallies: what the days of live traffic add up to, so that a question about a month does not read a month.

``store.tallies`` fills them. A tally of a day holds while ``tally_change`` does not name the day: every change of what
was counted names it there, by a trigger (``schema.triggers``), whoever makes the change.
"""

import sqlalchemy as sa

from tarx_toollog.store.schema.columns import id_column, metadata
from tarx_toollog.store.types import SafeText, UtcDateTime

DAY_LENGTH = len("2026-05-31")


def _day() -> sa.Column[str]:
    return sa.Column("day", sa.String(DAY_LENGTH), nullable=False, index=True, comment="Day (UTC), as YYYY-MM-DD.")


def _build() -> sa.Column[int]:
    # Not a reference: nothing else refers to a build that may not be deleted while a tally names it.
    return sa.Column("model_build_id", sa.Integer, comment="Build that answered; NULL where no probe could tell.")


def _count(name: str, comment: str) -> sa.Column[int]:
    return sa.Column(name, sa.Integer, nullable=False, comment=comment)


call_tally = sa.Table(
    "call_tally",
    metadata,
    id_column(),
    _day(),
    sa.Column("tool", SafeText, nullable=False, comment="Tool name as the model wrote it."),
    sa.Column("model", SafeText, comment="Model that made the calls."),
    _build(),
    sa.Column("step_no", sa.Integer, comment="Step within the turn: the depth of the chain."),
    _count("n_calls", "Calls."),
    _count("n_bad", "Calls that were wrong in themselves: one of the next five or more."),
    _count("n_invalid", "Calls whose arguments are not a JSON object."),
    _count("n_schema", "Calls whose arguments break the schema as offered."),
    _count("n_not_offered", "Calls of a tool that was not offered."),
    _count("n_incomplete", "Calls that were cut off."),
    _count("n_leaked", "Calls that stood in the text."),
    _count("n_results", "Calls with a result."),
    _count("n_error_results", "Results that report a failure."),
    _count("n_failed", "Calls that were bad, or came back with an error."),
    _count("n_unanswered", "Calls that were not bad and have no result."),
    _count("n_latencies", "Calls whose latency is known."),
    sa.Column("latency_ms", sa.Float, nullable=False, comment="Sum of their latencies."),
    sa.Column("max_latency_ms", sa.Float, comment="The longest."),
    sa.Column("first_at", UtcDateTime, nullable=False, comment="First call."),
    sa.Column("last_at", UtcDateTime, nullable=False, comment="Latest call."),
    comment="Tool calls of a day, by tool, model, build and depth. Derived.",
)

exchange_tally = sa.Table(
    "exchange_tally",
    metadata,
    id_column(),
    _day(),
    sa.Column("model", SafeText, comment="Model that answered, or was asked for."),
    _build(),
    sa.Column("outcome", sa.String(20), nullable=False, comment="How they ended on the wire."),
    sa.Column("fill", sa.Integer, comment="Tenths of the context that the prompt took, 10: all of it or more."),
    _count("n_exchanges", "Exchanges."),
    _count("n_truncated", "Exchanges of which something fell out of the context, surely or as it seems."),
    _count("n_poisoned", "Exchanges whose history holds a call that is not JSON."),
    sa.Column("input_tokens", sa.BigInteger, nullable=False, comment="Prompt tokens."),
    sa.Column("output_tokens", sa.BigInteger, nullable=False, comment="Generated tokens."),
    sa.Column("tool_tokens", sa.BigInteger, nullable=False, comment="Share of the tool definitions."),
    sa.Column("system_tokens", sa.BigInteger, nullable=False, comment="Share of the system prompts."),
    sa.Column("history_tokens", sa.BigInteger, nullable=False, comment="Share of what was sent before."),
    sa.Column("new_tokens", sa.BigInteger, nullable=False, comment="Share of what was new."),
    comment="Exchanges of a day that the model itself answered, by model, build, outcome and context fill. Derived.",
)

turn_tally = sa.Table(
    "turn_tally",
    metadata,
    id_column(),
    _day(),
    _build(),
    sa.Column("chain_length", sa.Integer, nullable=False, comment="Tool calls of the turn."),
    sa.Column("status", sa.String(12), nullable=False, comment="answered, pending or failed."),
    _count("n_turns", "Turns."),
    _count("n_clean", "Turns that were answered without a bad call, an error or a call without a result."),
    _count("n_with_calls", "Turns that called a tool, or tried to."),
    comment="Turns of a day by build, length of the chain and how they ended. Derived.",
)

latency_tally = sa.Table(
    "latency_tally",
    metadata,
    id_column(),
    _day(),
    sa.Column("what", sa.String(12), nullable=False, comment="tool, first_byte or total."),
    sa.Column("name", SafeText, comment="The tool; for the others the model."),
    _build(),
    sa.Column("bucket", sa.Integer, nullable=False, comment="Durations from 1.15^(bucket - 1) to 1.15^bucket ms."),
    _count("n", "How many."),
    comment="How long tools and answers of a day took, in buckets. Derived.",
)

toolset_tally = sa.Table(
    "toolset_tally",
    metadata,
    id_column(),
    _day(),
    sa.Column("toolset_id", sa.Integer, comment="Toolset that was offered; NULL: none."),
    _count("n_exchanges", "Exchanges that offered it."),
    sa.Column("first_at", UtcDateTime, nullable=False, comment="The first of them."),
    sa.Column("last_at", UtcDateTime, nullable=False, comment="The latest."),
    comment="Exchanges of a day by the tools that they offered. Derived.",
)

tally_change = sa.Table(
    "tally_change",
    metadata,
    sa.Column("day", sa.String(DAY_LENGTH), primary_key=True, comment="Day (UTC) whose tallies do not hold any more."),
    sa.Column(
        "transaction_no",
        sa.BigInteger,
        primary_key=True,
        autoincrement=False,
        comment="Transaction that changed it; 0 on SQLite, where one writes at a time.",
    ),
    comment="Days that have changed since they were counted.",
)

TALLIES = (call_tally, exchange_tally, turn_tally, latency_tally, toolset_tally)
