"""Model builds: which weights, quantization, context and template answered, and when they were seen where."""

import sqlalchemy as sa

from tarx_toollog.canonical import HASH_SIZE
from tarx_toollog.store.schema.columns import id_column, metadata, one_of, reference, uid_column
from tarx_toollog.store.types import JsonText, SafeText, UtcDateTime

model_build = sa.Table(
    "model_build",
    metadata,
    id_column(),
    uid_column(),
    sa.Column(
        "fingerprint",
        sa.LargeBinary(HASH_SIZE),
        nullable=False,
        unique=True,
        comment="Content hash of what makes a build another one (docs/context-budget.md).",
    ),
    sa.Column("server", sa.String(16), nullable=False, comment="Program that serves it: llama.cpp, ollama or unknown."),
    sa.Column("server_version", SafeText, comment="Version of that program, as it gave it."),
    sa.Column("model", SafeText, comment="Name of the model on the server: its alias or id."),
    sa.Column("family", SafeText, comment="Architecture, for example qwen2; NULL where the server does not tell."),
    sa.Column("n_params", sa.BigInteger, comment="Number of weights."),
    sa.Column("quantization", SafeText, comment="Quantization in the usual short form, for example Q4_K_M."),
    sa.Column("quantization_raw", SafeText, comment="The same in the server's own words: Q4_K - Medium."),
    sa.Column("file_name", SafeText, comment="Name of the model file, without its folder."),
    sa.Column("file_digest", SafeText, comment="Digest of the model, where the server gives one."),
    sa.Column("size", sa.BigInteger, comment="Bytes of the weights."),
    sa.Column("n_ctx", sa.Integer, comment="Context of one slot in tokens: what one exchange may fill."),
    sa.Column("n_ctx_train", sa.Integer, comment="Context that the model was trained for, in tokens."),
    sa.Column(
        "chat_template_hash", sa.String(34), comment="Content hash of the chat template, in hex: see chat_template."
    ),
    sa.Column("lora", JsonText, nullable=False, comment="Adapters applied to it: a list of file and scale."),
    sa.Column(
        "name",
        SafeText,
        nullable=False,
        comment="Name made of its file and adapters; a number tells builds apart that differ in something else.",
    ),
    sa.Column("label", SafeText, comment="Name that a person gave it: base, fine-tune v2."),
    sa.Column("upstream", SafeText, comment="Base URL where it was first seen, without a login."),
    sa.Column("first_seen_at", UtcDateTime, nullable=False, comment="First time that a server named these facts."),
    sa.Column("last_seen_at", UtcDateTime, nullable=False, comment="Latest time."),
    comment="Each distinct build of a model once: weights, quantization, adapters, template, context and server.",
)

BUILD_NAME = sa.func.coalesce(model_build.c.label, model_build.c.name)
"""The name under which a build is shown, and by which ``--build`` finds it: a person's, else the made one."""

model_sighting = sa.Table(
    "model_sighting",
    metadata,
    id_column(),
    reference("model_build_id", "model_build", "The build that was found.", nullable=False, index=True),
    sa.Column("upstream", SafeText, nullable=False, comment="Base URL that was asked."),
    sa.Column("model", SafeText, nullable=False, comment="Model name in the answers of that server; empty for none."),
    sa.Column("from_at", UtcDateTime, nullable=False, comment="First probe of the period."),
    sa.Column("to_at", UtcDateTime, nullable=False, comment="Latest probe of the period."),
    sa.Index("ix_model_sighting_upstream_model", "upstream", "model", "to_at"),
    comment="Periods in which every probe of one place found one build: they tell which build answered an exchange.",
)

chat_template = sa.Table(
    "chat_template",
    metadata,
    id_column(),
    sa.Column("hash", sa.String(34), nullable=False, unique=True, comment="The chat_template_hash of its builds."),
    sa.Column("syntax", sa.String(8), nullable=False, comment="jinja, or go (Ollama)."),
    sa.Column("text", SafeText, nullable=False, comment="The template, as the server gave it."),
    sa.Column("tool_text", SafeText, comment="The one for requests with tools, where the server keeps another."),
    sa.Column("bos_token", SafeText, comment="Text of the token that begins a prompt; NULL where the server hides it."),
    sa.Column("eos_token", SafeText, comment="Text of the token that ends an answer."),
    one_of("syntax", ("jinja", "go")),
    comment="Each distinct chat template once: what turns messages into the text that the model reads.",
)
