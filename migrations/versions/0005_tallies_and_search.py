"""What days add up to, the index of all words, and which exchange brought a message.

Revision: 0005
Follows: 0004
"""

from array import array
from collections.abc import Iterator

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_PAGE = 10_000


def upgrade() -> None:
    op.create_table(
        "call_tally",
        sa.Column("id", sa.Integer(), nullable=False, comment="Internal key."),
        sa.Column("day", sa.String(length=10), nullable=False, comment="Day (UTC), as YYYY-MM-DD."),
        sa.Column("tool", sa.Text(), nullable=False, comment="Tool name as the model wrote it."),
        sa.Column("model", sa.Text(), nullable=True, comment="Model that made the calls."),
        sa.Column(
            "model_build_id",
            sa.Integer(),
            nullable=True,
            comment="Build that answered; NULL where no probe could tell.",
        ),
        sa.Column("step_no", sa.Integer(), nullable=True, comment="Step within the turn: the depth of the chain."),
        sa.Column("n_calls", sa.Integer(), nullable=False, comment="Calls."),
        sa.Column(
            "n_bad",
            sa.Integer(),
            nullable=False,
            comment="Calls that were wrong in themselves: one of the next five or more.",
        ),
        sa.Column("n_invalid", sa.Integer(), nullable=False, comment="Calls whose arguments are not a JSON object."),
        sa.Column(
            "n_schema", sa.Integer(), nullable=False, comment="Calls whose arguments break the schema as offered."
        ),
        sa.Column("n_not_offered", sa.Integer(), nullable=False, comment="Calls of a tool that was not offered."),
        sa.Column("n_incomplete", sa.Integer(), nullable=False, comment="Calls that were cut off."),
        sa.Column("n_leaked", sa.Integer(), nullable=False, comment="Calls that stood in the text."),
        sa.Column("n_results", sa.Integer(), nullable=False, comment="Calls with a result."),
        sa.Column("n_error_results", sa.Integer(), nullable=False, comment="Results that report a failure."),
        sa.Column("n_failed", sa.Integer(), nullable=False, comment="Calls that were bad, or came back with an error."),
        sa.Column("n_unanswered", sa.Integer(), nullable=False, comment="Calls that were not bad and have no result."),
        sa.Column("n_latencies", sa.Integer(), nullable=False, comment="Calls whose latency is known."),
        sa.Column("latency_ms", sa.Float(), nullable=False, comment="Sum of their latencies."),
        sa.Column("max_latency_ms", sa.Float(), nullable=True, comment="The longest."),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=False, comment="First call."),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False, comment="Latest call."),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_call_tally")),
        comment="Tool calls of a day, by tool, model, build and depth. Derived.",
    )
    with op.batch_alter_table("call_tally", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_call_tally_day"), ["day"], unique=False)

    op.create_table(
        "exchange_tally",
        sa.Column("id", sa.Integer(), nullable=False, comment="Internal key."),
        sa.Column("day", sa.String(length=10), nullable=False, comment="Day (UTC), as YYYY-MM-DD."),
        sa.Column("model", sa.Text(), nullable=True, comment="Model that answered, or was asked for."),
        sa.Column(
            "model_build_id",
            sa.Integer(),
            nullable=True,
            comment="Build that answered; NULL where no probe could tell.",
        ),
        sa.Column("outcome", sa.String(length=20), nullable=False, comment="How they ended on the wire."),
        sa.Column(
            "fill",
            sa.Integer(),
            nullable=True,
            comment="Tenths of the context that the prompt took, 10: all of it or more.",
        ),
        sa.Column("n_exchanges", sa.Integer(), nullable=False, comment="Exchanges."),
        sa.Column(
            "n_truncated",
            sa.Integer(),
            nullable=False,
            comment="Exchanges of which something fell out of the context, surely or as it seems.",
        ),
        sa.Column(
            "n_poisoned", sa.Integer(), nullable=False, comment="Exchanges whose history holds a call that is not JSON."
        ),
        sa.Column("input_tokens", sa.BigInteger(), nullable=False, comment="Prompt tokens."),
        sa.Column("output_tokens", sa.BigInteger(), nullable=False, comment="Generated tokens."),
        sa.Column("tool_tokens", sa.BigInteger(), nullable=False, comment="Share of the tool definitions."),
        sa.Column("system_tokens", sa.BigInteger(), nullable=False, comment="Share of the system prompts."),
        sa.Column("history_tokens", sa.BigInteger(), nullable=False, comment="Share of what was sent before."),
        sa.Column("new_tokens", sa.BigInteger(), nullable=False, comment="Share of what was new."),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_exchange_tally")),
        comment="Exchanges of a day that the model itself answered, by model, build, outcome and context fill. Derived.",
    )
    with op.batch_alter_table("exchange_tally", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_exchange_tally_day"), ["day"], unique=False)

    op.create_table(
        "latency_tally",
        sa.Column("id", sa.Integer(), nullable=False, comment="Internal key."),
        sa.Column("day", sa.String(length=10), nullable=False, comment="Day (UTC), as YYYY-MM-DD."),
        sa.Column("what", sa.String(length=12), nullable=False, comment="tool, first_byte or total."),
        sa.Column("name", sa.Text(), nullable=True, comment="The tool; for the others the model."),
        sa.Column(
            "model_build_id",
            sa.Integer(),
            nullable=True,
            comment="Build that answered; NULL where no probe could tell.",
        ),
        sa.Column(
            "bucket", sa.Integer(), nullable=False, comment="Durations from 1.15^(bucket - 1) to 1.15^bucket ms."
        ),
        sa.Column("n", sa.Integer(), nullable=False, comment="How many."),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_latency_tally")),
        comment="How long tools and answers of a day took, in buckets. Derived.",
    )
    with op.batch_alter_table("latency_tally", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_latency_tally_day"), ["day"], unique=False)

    op.create_table(
        "toolset_tally",
        sa.Column("id", sa.Integer(), nullable=False, comment="Internal key."),
        sa.Column("day", sa.String(length=10), nullable=False, comment="Day (UTC), as YYYY-MM-DD."),
        sa.Column("toolset_id", sa.Integer(), nullable=True, comment="Toolset that was offered; NULL: none."),
        sa.Column("n_exchanges", sa.Integer(), nullable=False, comment="Exchanges that offered it."),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=False, comment="The first of them."),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False, comment="The latest."),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_toolset_tally")),
        comment="Exchanges of a day by the tools that they offered. Derived.",
    )
    with op.batch_alter_table("toolset_tally", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_toolset_tally_day"), ["day"], unique=False)

    op.create_table(
        "tally_change",
        sa.Column("day", sa.String(length=10), nullable=False, comment="Day (UTC) whose tallies do not hold any more."),
        sa.Column(
            "transaction_no",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="Transaction that changed it; 0 on SQLite, where one writes at a time.",
        ),
        sa.PrimaryKeyConstraint("day", "transaction_no", name=op.f("pk_tally_change")),
        comment="Days that have changed since they were counted.",
    )
    op.create_table(
        "turn_tally",
        sa.Column("id", sa.Integer(), nullable=False, comment="Internal key."),
        sa.Column("day", sa.String(length=10), nullable=False, comment="Day (UTC), as YYYY-MM-DD."),
        sa.Column(
            "model_build_id",
            sa.Integer(),
            nullable=True,
            comment="Build that answered; NULL where no probe could tell.",
        ),
        sa.Column("chain_length", sa.Integer(), nullable=False, comment="Tool calls of the turn."),
        sa.Column("status", sa.String(length=12), nullable=False, comment="answered, pending or failed."),
        sa.Column("n_turns", sa.Integer(), nullable=False, comment="Turns."),
        sa.Column(
            "n_clean",
            sa.Integer(),
            nullable=False,
            comment="Turns that were answered without a bad call, an error or a call without a result.",
        ),
        sa.Column("n_with_calls", sa.Integer(), nullable=False, comment="Turns that called a tool, or tried to."),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_turn_tally")),
        comment="Turns of a day by build, length of the chain and how they ended. Derived.",
    )
    with op.batch_alter_table("turn_tally", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_turn_tally_day"), ["day"], unique=False)
    with op.batch_alter_table("message", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "first_exchange_id",
                sa.Integer(),
                nullable=True,
                comment="The exchange of live traffic that brought it first; NULL: only a replay had it.",
            )
        )
    with op.batch_alter_table("exchange", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "client_kind",
                sa.String(length=8),
                nullable=True,
                comment="browser or program; NULL for what a tap saw going out.",
            )
        )
        batch_op.add_column(
            sa.Column(
                "client_origin",
                sa.Text(),
                nullable=True,
                comment="Site for whose page a browser sent it (Origin header).",
            )
        )
    with op.batch_alter_table("tool_call", schema=None) as batch_op:
        batch_op.create_index("ix_tool_call_name", ["name", "id"], unique=False)
        batch_op.create_index("ix_tool_call_step_no", ["step_no", "id"], unique=False)
    with op.batch_alter_table("turn", schema=None) as batch_op:
        batch_op.create_index("ix_turn_signature", ["signature", "started_at"], unique=False)
    condition = sa.text("params IS NULL")
    op.create_index("ix_exchange_unreadable", "exchange", ["id"], sqlite_where=condition, postgresql_where=condition)
    condition = sa.text("origin <> 'native'")
    op.create_index(
        "ix_tool_call_not_native",
        "tool_call",
        ["exchange_id", "choice"],
        sqlite_where=condition,
        postgresql_where=condition,
    )
    _make_search_index()
    _note_all_days()
    _credit_messages()


def _make_search_index() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("CREATE TABLE message_search (message_id INTEGER PRIMARY KEY, document tsvector NOT NULL)")
        op.execute("CREATE INDEX ix_message_search_document ON message_search USING gin (document)")
        return
    tokenizer = "unicode61 remove_diacritics 2"
    op.execute(f"CREATE VIRTUAL TABLE message_search USING fts5(text, arguments, content='', tokenize=\"{tokenizer}\")")


def _note_all_days() -> None:
    """No day has been counted yet."""
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    day = "to_char(started_at AT TIME ZONE 'UTC', 'YYYY-MM-DD')" if is_postgresql else "substr(started_at, 1, 10)"
    op.execute(
        "INSERT INTO tally_change (day, transaction_no) SELECT day, 0 FROM ("  # noqa: S608 - our own words
        f"SELECT {day} AS day FROM exchange WHERE run_id IS NULL UNION SELECT {day} FROM turn) AS days"
    )


def _credit_messages() -> None:
    """Find for each message the first exchange of live traffic whose history or answer has it.

    A node has a lower key than those after it, so one way from the last to the first visits each after all of these.
    """
    bind = op.get_bind()
    # Arrays by key, 0 for none: a million calls have three million nodes.
    first = _places(bind, "node")
    brought = _places(bind, "message")
    for column in ("system_node_id", "input_node_id", "output_node_id"):
        ends = sa.text(
            f"SELECT {column}, MIN(id) FROM exchange WHERE run_id IS NULL AND {column} IS NOT NULL GROUP BY {column}"  # noqa: S608
        )
        for node_id, exchange_id in bind.execute(ends):
            _lower(first, node_id, exchange_id)
    for node_id, parent_id, message_id in _nodes(bind):
        if first[node_id]:
            _lower(brought, message_id, first[node_id])
            if parent_id is not None:
                _lower(first, parent_id, first[node_id])
    choices = "SELECT c.message_id, MIN(e.id) FROM choice c JOIN exchange e ON e.id = c.exchange_id"
    for message_id, exchange_id in bind.execute(sa.text(f"{choices} WHERE e.run_id IS NULL GROUP BY c.message_id")):
        _lower(brought, message_id, exchange_id)
    update = sa.text("UPDATE message SET first_exchange_id = :exchange WHERE id = :message")
    for start in range(0, len(brought), _PAGE):
        some = enumerate(brought[start : start + _PAGE], start)
        if rows := [
            {"message": message_id, "exchange": exchange_id} for message_id, exchange_id in some if exchange_id
        ]:
            bind.execute(update, rows)


def _places(bind: sa.Connection, table: str) -> "array[int]":
    highest = bind.execute(sa.text(f"SELECT MAX(id) FROM {table}")).scalar() or 0  # noqa: S608 - a name of ours
    return array("q", bytes(8 * (highest + 1)))


def _lower(places: "array[int]", key: int, value: int) -> None:
    places[key] = min(value, places[key] or value)


def _nodes(bind: sa.Connection) -> Iterator[tuple[int, int | None, int]]:
    """Yield key, parent and message of all nodes, the last first."""
    page = sa.text("SELECT id, parent_id, message_id FROM node WHERE id < :before ORDER BY id DESC LIMIT :page")
    before = (bind.execute(sa.text("SELECT MAX(id) FROM node")).scalar() or 0) + 1
    while rows := bind.execute(page, {"before": before, "page": _PAGE}).all():
        for row in rows:
            yield row.id, row.parent_id, row.message_id
        before = rows[-1].id


def downgrade() -> None:
    op.execute("DROP TABLE message_search")
    with op.batch_alter_table("turn", schema=None) as batch_op:
        batch_op.drop_index("ix_turn_signature")
    op.drop_index("ix_exchange_unreadable", "exchange")
    op.drop_index("ix_tool_call_not_native", "tool_call")
    with op.batch_alter_table("tool_call", schema=None) as batch_op:
        batch_op.drop_index("ix_tool_call_step_no")
        batch_op.drop_index("ix_tool_call_name")
    with op.batch_alter_table("message", schema=None) as batch_op:
        batch_op.drop_column("first_exchange_id")
    for column in ("client_origin", "client_kind"):
        op.drop_column("exchange", column)  # not in a batch, which would make the table anew, and drop others with it
    for table in ("tally_change", "toolset_tally", "latency_tally", "turn_tally", "exchange_tally", "call_tally"):
        op.drop_table(table)
