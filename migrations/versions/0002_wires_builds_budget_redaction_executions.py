"""Wires, model builds, context budget, redaction and executions of tools.

Revision: 0002
Follows: 0001
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "model_build",
        sa.Column("id", sa.Integer(), nullable=False, comment="Internal key."),
        sa.Column("uid", sa.String(length=36), nullable=False, comment="Public id, a UUIDv7."),
        sa.Column(
            "fingerprint",
            sa.LargeBinary(length=17),
            nullable=False,
            comment="Content hash of what makes a build another one (docs/context-budget.md).",
        ),
        sa.Column(
            "server",
            sa.String(length=16),
            nullable=False,
            comment="Program that serves it: llama.cpp, ollama or unknown.",
        ),
        sa.Column("server_version", sa.Text(), nullable=True, comment="Version of that program, as it gave it."),
        sa.Column("model", sa.Text(), nullable=True, comment="Name of the model on the server: its alias or id."),
        sa.Column(
            "family",
            sa.Text(),
            nullable=True,
            comment="Architecture, for example qwen2; NULL where the server does not tell.",
        ),
        sa.Column("n_params", sa.BigInteger(), nullable=True, comment="Number of weights."),
        sa.Column(
            "quantization",
            sa.Text(),
            nullable=True,
            comment="Quantization in the usual short form, for example Q4_K_M.",
        ),
        sa.Column(
            "quantization_raw", sa.Text(), nullable=True, comment="The same in the server's own words: Q4_K - Medium."
        ),
        sa.Column("file_name", sa.Text(), nullable=True, comment="Name of the model file, without its folder."),
        sa.Column("file_digest", sa.Text(), nullable=True, comment="Digest of the model, where the server gives one."),
        sa.Column("size", sa.BigInteger(), nullable=True, comment="Bytes of the weights."),
        sa.Column(
            "n_ctx", sa.Integer(), nullable=True, comment="Context of one slot in tokens: what one exchange may fill."
        ),
        sa.Column(
            "n_ctx_train", sa.Integer(), nullable=True, comment="Context that the model was trained for, in tokens."
        ),
        sa.Column(
            "chat_template_hash",
            sa.String(length=34),
            nullable=True,
            comment="Content hash of the chat template, in hex.",
        ),
        sa.Column("lora", sa.Text(), nullable=False, comment="Adapters applied to it: a list of file and scale."),
        sa.Column(
            "name",
            sa.Text(),
            nullable=False,
            comment="Name made of its file and adapters; a number tells builds apart that differ in something else.",
        ),
        sa.Column("label", sa.Text(), nullable=True, comment="Name that a person gave it: base, fine-tune v2."),
        sa.Column("upstream", sa.Text(), nullable=True, comment="Base URL where it was first seen, without a login."),
        sa.Column(
            "first_seen_at",
            sa.DateTime(timezone=True),
            nullable=False,
            comment="First time that a server named these facts.",
        ),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=False, comment="Latest time."),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_build")),
        sa.UniqueConstraint("fingerprint", name=op.f("uq_model_build_fingerprint")),
        sa.UniqueConstraint("uid", name=op.f("uq_model_build_uid")),
        comment="Each distinct build of a model once: weights, quantization, adapters, template, context and server.",
    )
    op.create_table(
        "model_sighting",
        sa.Column("id", sa.Integer(), nullable=False, comment="Internal key."),
        sa.Column("model_build_id", sa.Integer(), nullable=False, comment="The build that was found."),
        sa.Column("upstream", sa.Text(), nullable=False, comment="Base URL that was asked."),
        sa.Column(
            "model", sa.Text(), nullable=False, comment="Model name in the answers of that server; empty for none."
        ),
        sa.Column("from_at", sa.DateTime(timezone=True), nullable=False, comment="First probe of the period."),
        sa.Column("to_at", sa.DateTime(timezone=True), nullable=False, comment="Latest probe of the period."),
        sa.ForeignKeyConstraint(
            ["model_build_id"], ["model_build.id"], name=op.f("fk_model_sighting_model_build_id_model_build")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_sighting")),
        comment="Periods in which every probe of one place found one build: they tell which build answered an exchange.",
    )
    with op.batch_alter_table("model_sighting", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_model_sighting_model_build_id"), ["model_build_id"], unique=False)
        batch_op.create_index("ix_model_sighting_upstream_model", ["upstream", "model", "to_at"], unique=False)

    op.create_table(
        "redaction",
        sa.Column("id", sa.Integer(), nullable=False, comment="Internal key."),
        sa.Column(
            "exchange_id", sa.Integer(), nullable=True, comment="The exchange; NULL for content that several share."
        ),
        sa.Column("path", sa.Text(), nullable=False, comment="Where: messages[3].content, tool_calls[0].arguments …"),
        sa.Column("rule", sa.Text(), nullable=False, comment="The rule that matched."),
        sa.Column(
            "mark", sa.Text(), nullable=False, comment="What stands there now, without its brackets: EMAIL:3f2a…"
        ),
        sa.Column("n", sa.Integer(), nullable=False, comment="How often."),
        sa.Column("policy", sa.String(length=16), nullable=False, comment="Hash of the rules in force."),
        sa.Column("redacted_at", sa.DateTime(timezone=True), nullable=False, comment="When."),
        sa.ForeignKeyConstraint(["exchange_id"], ["exchange.id"], name=op.f("fk_redaction_exchange_id_exchange")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_redaction")),
        comment="What was taken out before it was stored: equal values have equal marks, and nobody can read them back.",
    )
    with op.batch_alter_table("redaction", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_redaction_exchange_id"), ["exchange_id"], unique=False)
        batch_op.create_index("ix_redaction_mark", ["mark"], unique=False)

    op.create_table(
        "tool_execution",
        sa.Column("id", sa.Integer(), nullable=False, comment="Internal key."),
        sa.Column("uid", sa.String(length=36), nullable=False, comment="Public id, a UUIDv7."),
        sa.Column(
            "tool_call_id",
            sa.Integer(),
            nullable=True,
            comment="The call that was executed; NULL while it is not known.",
        ),
        sa.Column("call_id", sa.Text(), nullable=True, comment="Wire id of the call, as the program gave it."),
        sa.Column("name", sa.Text(), nullable=True, comment="Tool name, as the program gave it."),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False, comment="When the tool began to run."),
        sa.Column("exec_ms", sa.Float(), nullable=False, comment="How long it ran."),
        sa.Column("is_error", sa.Boolean(), nullable=False, comment="Whether it failed."),
        sa.Column(
            "error_type",
            sa.Text(),
            nullable=True,
            comment="Type of the exception, or of the error that the tool reported.",
        ),
        sa.Column("error_text", sa.Text(), nullable=True, comment="Text of it."),
        sa.Column(
            "source", sa.String(length=12), nullable=False, comment="What reported it: context, decorator or mcp."
        ),
        sa.Column("writer_id", sa.Integer(), nullable=True, comment="The process that reported it."),
        sa.ForeignKeyConstraint(
            ["tool_call_id"], ["tool_call.id"], name=op.f("fk_tool_execution_tool_call_id_tool_call")
        ),
        sa.ForeignKeyConstraint(["writer_id"], ["writer.id"], name=op.f("fk_tool_execution_writer_id_writer")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tool_execution")),
        sa.UniqueConstraint("uid", name=op.f("uq_tool_execution_uid")),
        comment="One run of a tool as the Workbench itself reports it: true time and true error.",
    )
    with op.batch_alter_table("tool_execution", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_tool_execution_call_id"), ["call_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_tool_execution_tool_call_id"), ["tool_call_id"], unique=False)

    with op.batch_alter_table("exchange", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "n_leaked_calls",
                sa.Integer(),
                server_default=sa.text("0"),
                nullable=False,
                comment="Calls that stood in its text instead, so that nobody could execute them.",
            )
        )
        batch_op.add_column(
            sa.Column(
                "layout",
                sa.Text(),
                nullable=True,
                comment="Where else than usual the messages stood in the body; NULL as a rule.",
            )
        )
        batch_op.add_column(
            sa.Column(
                "model_build_id",
                sa.Integer(),
                nullable=True,
                comment="The build that answered, where a probe could tell.",
            )
        )
        batch_op.add_column(
            sa.Column(
                "ctx_limit",
                sa.Integer(),
                nullable=True,
                comment="Context size of the server in tokens, where it is known.",
            )
        )
        batch_op.add_column(
            sa.Column(
                "tool_tokens",
                sa.Integer(),
                nullable=True,
                comment="Share of input_tokens that the tool definitions took.",
            )
        )
        batch_op.add_column(
            sa.Column("system_tokens", sa.Integer(), nullable=True, comment="Share that the system prompt took.")
        )
        batch_op.add_column(
            sa.Column(
                "history_tokens",
                sa.Integer(),
                nullable=True,
                comment="Share of the messages that earlier exchanges had already.",
            )
        )
        batch_op.add_column(
            sa.Column(
                "new_tokens", sa.Integer(), nullable=True, comment="Share of the messages that this exchange brought."
            )
        )
        batch_op.add_column(
            sa.Column(
                "budget_source",
                sa.String(length=12),
                nullable=True,
                comment="exact: the server counted the total, and its shares go by length; estimated: the total is ours.",
            )
        )
        batch_op.add_column(
            sa.Column(
                "truncation",
                sa.String(length=12),
                nullable=True,
                comment="none, reported (the server says that the context was too long) or suspected (it counted fewer tokens than were sent).",
            )
        )
        batch_op.add_column(
            sa.Column(
                "poisoned",
                sa.Boolean(),
                nullable=True,
                comment="Whether the history holds a call whose arguments are not JSON.",
            )
        )
        batch_op.add_column(
            sa.Column(
                "redaction_policy",
                sa.String(length=16),
                nullable=True,
                comment="Hash of the redaction rules that were applied.",
            )
        )
        batch_op.alter_column("notes", existing_type=sa.TEXT(), nullable=True)
        for name in ("request_size", "response_size"):
            batch_op.alter_column(name, existing_type=sa.Integer(), type_=sa.BigInteger(), existing_nullable=False)
        batch_op.drop_index(batch_op.f("ix_exchange_conversation_id_id"))
        batch_op.drop_index(batch_op.f("ix_exchange_not_completed"), sqlite_where=sa.text("outcome <> 'completed'"))
        batch_op.create_index(
            "ix_exchange_not_completed",
            ["outcome"],
            unique=False,
            sqlite_where=sa.text("outcome <> 'completed'"),
            postgresql_where=sa.text("outcome <> 'completed'"),
        )
        batch_op.create_index("ix_exchange_conversation_id", ["conversation_id"], unique=False)
        batch_op.create_index(
            "ix_exchange_model_build_id",
            ["model_build_id"],
            unique=False,
            sqlite_where=sa.text("model_build_id IS NOT NULL"),
            postgresql_where=sa.text("model_build_id IS NOT NULL"),
        )
        batch_op.create_foreign_key(
            batch_op.f("fk_exchange_model_build_id_model_build"), "model_build", ["model_build_id"], ["id"]
        )

    with op.batch_alter_table("label", schema=None) as batch_op:
        batch_op.alter_column(
            "target_uid", existing_type=sa.VARCHAR(length=36), type_=sa.String(length=64), existing_nullable=False
        )

    with op.batch_alter_table("message", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "text",
                sa.Text(),
                nullable=True,
                comment="All text of the message where content is not that text (parts, blocks, items); else NULL.",
            )
        )
        batch_op.add_column(
            sa.Column(
                "derived",
                sa.Text(),
                nullable=True,
                comment="Columns among role, name and tool_call_id that were read from other keys and are none on the wire.",
            )
        )
        batch_op.alter_column("extra", existing_type=sa.TEXT(), nullable=True)
        batch_op.drop_column("size")

    with op.batch_alter_table("run", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "model_build_id",
                sa.Integer(),
                nullable=True,
                comment="The build that answers it, where the server told.",
            )
        )
        batch_op.create_foreign_key(
            batch_op.f("fk_run_model_build_id_model_build"), "model_build", ["model_build_id"], ["id"]
        )

    with op.batch_alter_table("tool_call", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "known",
                sa.Boolean(),
                nullable=True,
                comment="Whether any request of this store has offered a tool of that name.",
            )
        )
        batch_op.drop_index(batch_op.f("ix_tool_call_conversation_id_id"))
        batch_op.drop_index(batch_op.f("ix_tool_call_name_id"))
        batch_op.drop_constraint(batch_op.f("uq_tool_call_exchange_id_choice_ordinal"), type_="unique")
        batch_op.drop_constraint(batch_op.f("uq_tool_call_uid"), type_="unique")
        batch_op.create_index("ix_tool_call_conversation_id", ["conversation_id"], unique=False)
        batch_op.create_index("ix_tool_call_exchange_id", ["exchange_id"], unique=False)
        batch_op.drop_column("uid")

    with op.batch_alter_table("tool_definition", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "n_tokens",
                sa.Integer(),
                nullable=True,
                comment="Tokens that it takes in a prompt, estimated from its bytes (docs/context-budget.md).",
            )
        )
    n_bytes = "length(CAST(raw AS BLOB))" if op.get_bind().dialect.name == "sqlite" else "octet_length(raw)"
    op.execute(f"UPDATE tool_definition SET n_tokens = ROUND({n_bytes} / 3.3)")  # noqa: S608
    with op.batch_alter_table("tool_definition", schema=None) as batch_op:
        batch_op.alter_column("n_tokens", existing_type=sa.Integer(), nullable=False)

    with op.batch_alter_table("tool_result", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "part",
                sa.Integer(),
                server_default=sa.text("0"),
                nullable=False,
                comment="Place within that message, from 0: Anthropic's messages carry several results.",
            )
        )
        batch_op.add_column(
            sa.Column(
                "text",
                sa.Text(),
                nullable=True,
                comment="The result, where it is only a part of its message; else NULL.",
            )
        )
        batch_op.drop_index(batch_op.f("ix_tool_result_exchange_id"))
        batch_op.drop_constraint(batch_op.f("uq_tool_result_exchange_id_position"), type_="unique")
        batch_op.create_unique_constraint(
            batch_op.f("uq_tool_result_exchange_id_position_part"), ["exchange_id", "position", "part"]
        )

    with op.batch_alter_table("turn", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "n_leaked",
                sa.Integer(),
                server_default=sa.text("0"),
                nullable=False,
                comment="Calls that stood in the text and that nobody could execute; not counted in chain_length.",
            )
        )
        batch_op.drop_index(batch_op.f("ix_turn_signature"))


def downgrade() -> None:
    raise NotImplementedError("0001 had ids and sizes that are kept no more: go back to a backup of the database")
