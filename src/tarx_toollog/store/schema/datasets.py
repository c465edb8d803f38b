"""Builds of training data: what went into each, and what was left out and why, in the store that they came from."""

import sqlalchemy as sa

from tarx_toollog.canonical import HASH_SIZE
from tarx_toollog.store.schema.columns import id_column, metadata, one_of, reference, sparse_index, uid_column
from tarx_toollog.store.splits import SPLITS
from tarx_toollog.store.types import JsonText, SafeText, UtcDateTime

dataset_build = sa.Table(
    "dataset_build",
    metadata,
    id_column(),
    uid_column(),
    sa.Column("name", SafeText, nullable=False, unique=True, comment="Name on the command line: v1, v2 …"),
    reference("parent_id", "dataset_build", "The build whose splits it keeps; NULL when it began anew."),
    sa.Column(
        "status",
        sa.String(12),
        nullable=False,
        comment="writing (it runs, or its process was killed), finished or failed.",
    ),
    sa.Column("task", sa.String(8), nullable=False, comment="What it trains: sft, dpo or kto."),
    sa.Column("unit", sa.String(12), nullable=False, comment="What a row is: step or trajectory."),
    sa.Column("formats", JsonText, nullable=False, comment="Formats that were written (list)."),
    sa.Column("config", JsonText, nullable=False, comment="All options that decide what is in it."),
    sa.Column("config_hash", sa.String(34), nullable=False, comment="Content hash of config, in hex."),
    sa.Column(
        "last_exchange_id",
        sa.Integer,
        nullable=False,
        comment="Highest key in exchange when it began, 0 for none: it knows nothing of what came later.",
    ),
    sa.Column("n_examples", sa.Integer, comment="Examples that are in it; NULL until it is finished."),
    sa.Column("n_left_out", sa.Integer, comment="Examples that were left out."),
    sa.Column("n_trained_tokens", sa.BigInteger, comment="Tokens to learn in its training split, with repetitions."),
    sa.Column("counts", JsonText, comment="Figures of every stage; NULL until it is finished."),
    sa.Column("files", JsonText, comment="The files written, with rows, bytes and SHA-256; NULL until it is finished."),
    sa.Column("created_at", UtcDateTime, nullable=False, comment="When it began."),
    sa.Column("finished_at", UtcDateTime, comment="When it was finished, or failed."),
    sa.Column("version", sa.Text, nullable=False, comment="Version of tarx-toollog that made it."),
    one_of("status", ("writing", "finished", "failed")),
    comment="One export of training data.",
)

# No index over example_hash, whose values are as good as random: each batch of a big build would change as many of its
# pages as it has rows, and hold the lock for it. Without it, finding an example is one quick pass over the table.
dataset_example = sa.Table(
    "dataset_example",
    metadata,
    sa.Column(
        "dataset_build_id",
        sa.Integer,
        sa.ForeignKey("dataset_build.id"),
        primary_key=True,
        comment="The build.",
    ),
    sa.Column("seq", sa.Integer, primary_key=True, comment="Number within the build, from 1."),
    sa.Column(
        "example_hash",
        sa.LargeBinary(HASH_SIZE),
        comment="Content hash of what is learned; NULL where it was left out before it had one.",
    ),
    reference("exchange_id", "exchange", "The exchange whose answer is learned; NULL for what a file brought."),
    sa.Column("origin", SafeText, comment="File and line of what a file brought: identity.jsonl:12."),
    sa.Column("source", sa.String(12), nullable=False, comment="tool, chat, summary, identity or synthetic."),
    sa.Column("split", sa.String(8), comment="Split that it is in; NULL when it was left out."),
    sa.Column("copies", sa.Integer, nullable=False, comment="How often it was written; 0 when it was left out."),
    sa.Column("n_tokens", sa.Integer, comment="Tokens of prompt and answer."),
    sa.Column("n_trained_tokens", sa.Integer, comment="Tokens of what is learned."),
    sa.Column("tokens_from", sa.String(12), comment="Where these counts come from: usage, server or estimate."),
    sa.Column("reason", sa.String(32), comment="Why it was left out (docs/export.md); NULL when it is in."),
    one_of("split", SPLITS),
    sparse_index("dataset_example", "exchange_id"),
    sqlite_with_rowid=False,  # the key is all that it is read by
    comment="One example of a build, or one that was left out of it.",
)
