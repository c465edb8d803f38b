"""Builds of training data, the split of each conversation, and the texts of chat templates.

Revision: 0003
Follows: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SPLIT_OF_BUCKET = "CASE WHEN split_bucket < 80 THEN 'train' WHEN split_bucket < 90 THEN 'dev' ELSE 'eval' END"
"""``store.splits.split_of_bucket`` as it was in this revision."""


def upgrade() -> None:
    op.create_table(
        "chat_template",
        sa.Column("id", sa.Integer(), nullable=False, comment="Internal key."),
        sa.Column("hash", sa.String(length=34), nullable=False, comment="The chat_template_hash of its builds."),
        sa.Column("syntax", sa.String(length=8), nullable=False, comment="jinja, or go (Ollama)."),
        sa.Column("text", sa.Text(), nullable=False, comment="The template, as the server gave it."),
        sa.Column(
            "tool_text",
            sa.Text(),
            nullable=True,
            comment="The one for requests with tools, where the server keeps another.",
        ),
        sa.Column(
            "bos_token",
            sa.Text(),
            nullable=True,
            comment="Text of the token that begins a prompt; NULL where the server hides it.",
        ),
        sa.Column("eos_token", sa.Text(), nullable=True, comment="Text of the token that ends an answer."),
        sa.CheckConstraint("syntax IN ('jinja', 'go')", name=op.f("ck_chat_template_syntax")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_chat_template")),
        sa.UniqueConstraint("hash", name=op.f("uq_chat_template_hash")),
        comment="Each distinct chat template once: what turns messages into the text that the model reads.",
    )
    op.create_table(
        "dataset_build",
        sa.Column("id", sa.Integer(), nullable=False, comment="Internal key."),
        sa.Column("uid", sa.String(length=36), nullable=False, comment="Public id, a UUIDv7."),
        sa.Column("name", sa.Text(), nullable=False, comment="Name on the command line: v1, v2 …"),
        sa.Column(
            "parent_id",
            sa.Integer(),
            nullable=True,
            comment="The build whose splits it keeps; NULL when it began anew.",
        ),
        sa.Column(
            "status",
            sa.String(length=12),
            nullable=False,
            comment="writing (it runs, or its process was killed), finished or failed.",
        ),
        sa.Column("task", sa.String(length=8), nullable=False, comment="What it trains: sft, dpo or kto."),
        sa.Column("unit", sa.String(length=12), nullable=False, comment="What a row is: step or trajectory."),
        sa.Column("formats", sa.Text(), nullable=False, comment="Formats that were written (list)."),
        sa.Column("config", sa.Text(), nullable=False, comment="All options that decide what is in it."),
        sa.Column("config_hash", sa.String(length=34), nullable=False, comment="Content hash of config, in hex."),
        sa.Column(
            "last_exchange_id",
            sa.Integer(),
            nullable=False,
            comment="Highest key in exchange when it began, 0 for none: it knows nothing of what came later.",
        ),
        sa.Column(
            "n_examples",
            sa.Integer(),
            nullable=True,
            comment="Examples that are in it; NULL until it is finished.",
        ),
        sa.Column("n_left_out", sa.Integer(), nullable=True, comment="Examples that were left out."),
        sa.Column(
            "n_trained_tokens",
            sa.BigInteger(),
            nullable=True,
            comment="Tokens to learn in its training split, with repetitions.",
        ),
        sa.Column("counts", sa.Text(), nullable=True, comment="Figures of every stage; NULL until it is finished."),
        sa.Column(
            "files",
            sa.Text(),
            nullable=True,
            comment="The files written, with rows, bytes and SHA-256; NULL until it is finished.",
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, comment="When it began."),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True, comment="When it was finished, or failed."),
        sa.Column("version", sa.Text(), nullable=False, comment="Version of tarx-toollog that made it."),
        sa.CheckConstraint("status IN ('writing', 'finished', 'failed')", name=op.f("ck_dataset_build_status")),
        sa.ForeignKeyConstraint(
            ["parent_id"], ["dataset_build.id"], name=op.f("fk_dataset_build_parent_id_dataset_build")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dataset_build")),
        sa.UniqueConstraint("name", name=op.f("uq_dataset_build_name")),
        sa.UniqueConstraint("uid", name=op.f("uq_dataset_build_uid")),
        comment="One export of training data.",
    )
    op.create_table(
        "dataset_example",
        sa.Column("dataset_build_id", sa.Integer(), nullable=False, comment="The build."),
        sa.Column("seq", sa.Integer(), nullable=False, comment="Number within the build, from 1."),
        sa.Column(
            "example_hash",
            sa.LargeBinary(length=17),
            nullable=True,
            comment="Content hash of what is learned; NULL where it was left out before it had one.",
        ),
        sa.Column(
            "exchange_id",
            sa.Integer(),
            nullable=True,
            comment="The exchange whose answer is learned; NULL for what a file brought.",
        ),
        sa.Column(
            "origin", sa.Text(), nullable=True, comment="File and line of what a file brought: identity.jsonl:12."
        ),
        sa.Column(
            "source", sa.String(length=12), nullable=False, comment="tool, chat, summary, identity or synthetic."
        ),
        sa.Column(
            "split", sa.String(length=8), nullable=True, comment="Split that it is in; NULL when it was left out."
        ),
        sa.Column("copies", sa.Integer(), nullable=False, comment="How often it was written; 0 when it was left out."),
        sa.Column("n_tokens", sa.Integer(), nullable=True, comment="Tokens of prompt and answer."),
        sa.Column("n_trained_tokens", sa.Integer(), nullable=True, comment="Tokens of what is learned."),
        sa.Column(
            "tokens_from",
            sa.String(length=12),
            nullable=True,
            comment="Where these counts come from: usage, server or estimate.",
        ),
        sa.Column(
            "reason",
            sa.String(length=32),
            nullable=True,
            comment="Why it was left out (docs/export.md); NULL when it is in.",
        ),
        sa.CheckConstraint("split IN ('train', 'dev', 'eval')", name=op.f("ck_dataset_example_split")),
        sa.ForeignKeyConstraint(
            ["dataset_build_id"], ["dataset_build.id"], name=op.f("fk_dataset_example_dataset_build_id_dataset_build")
        ),
        sa.ForeignKeyConstraint(["exchange_id"], ["exchange.id"], name=op.f("fk_dataset_example_exchange_id_exchange")),
        sa.PrimaryKeyConstraint("dataset_build_id", "seq", name=op.f("pk_dataset_example")),
        comment="One example of a build, or one that was left out of it.",
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_dataset_example_exchange_id",
        "dataset_example",
        ["exchange_id"],
        unique=False,
        sqlite_where=sa.text("exchange_id IS NOT NULL"),
        postgresql_where=sa.text("exchange_id IS NOT NULL"),
    )

    with op.batch_alter_table("conversation", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column(
                "split",
                sa.String(length=8),
                nullable=True,
                comment="What it is kept for: train, dev or eval. Training and evaluation never share a conversation.",
            )
        )
    op.execute(f"UPDATE conversation SET split = {SPLIT_OF_BUCKET}")  # noqa: S608
    with op.batch_alter_table("conversation", schema=None) as batch_op:
        batch_op.alter_column("split", existing_type=sa.String(length=8), nullable=False)
        batch_op.create_check_constraint(op.f("ck_conversation_split"), "split IN ('train', 'dev', 'eval')")


def downgrade() -> None:
    raise NotImplementedError("0002 has no place for builds and templates: go back to a backup of the database")
