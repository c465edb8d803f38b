"""Labels and housekeeping."""

import sqlalchemy as sa

from tarx_toollog.store.schema.columns import id_column, metadata, one_of, reference
from tarx_toollog.store.types import JsonText, SafeText, UtcDateTime

label = sa.Table(
    "label",
    metadata,
    id_column(),
    sa.Column("target_type", sa.String(16), nullable=False, comment="conversation, exchange or tool_call."),
    sa.Column("target_uid", sa.String(64), nullable=False, comment="uid of the target; call_uid for a tool call."),
    sa.Column("name", SafeText, nullable=False, comment="What is judged, for example quality."),
    sa.Column("value_num", sa.Float, comment="The verdict as a number."),
    sa.Column("value_text", SafeText, comment="The verdict as a word."),
    sa.Column("comment", SafeText, comment="Why."),
    sa.Column("correction", JsonText, comment="What would have been right: a call, no call, or a question."),
    sa.Column("annotator_kind", sa.String(8), nullable=False, comment="human, rule or model."),
    sa.Column("annotator", SafeText, nullable=False, comment="Who."),
    sa.Column("created_at", UtcDateTime, nullable=False, comment="When."),
    reference("superseded_by_id", "label", "The later label that replaces it."),
    one_of("target_type", ("conversation", "exchange", "tool_call")),
    one_of("annotator_kind", ("human", "rule", "model")),
    sa.Index("ix_label_target_type_target_uid", "target_type", "target_uid"),
    comment="Verdicts of humans, rules and models; appended, never overwritten.",
)

gap = sa.Table(
    "gap",
    metadata,
    id_column(),
    sa.Column(
        "kind",
        sa.String(16),
        nullable=False,
        comment="journal (could not be written), torn (a damaged segment), parse_error.",
    ),
    sa.Column("from_at", UtcDateTime, nullable=False, comment="Start of the period."),
    sa.Column("to_at", UtcDateTime, nullable=False, comment="End of the period."),
    sa.Column("n", sa.Integer, nullable=False, comment="Exchanges concerned."),
    sa.Column("detail", SafeText, nullable=False, comment="What happened."),
    reference("writer_id", "writer", "The process that lost them."),
    comment="The loss ledger: whatever capture could not keep is counted here.",
)

redaction = sa.Table(
    "redaction",
    metadata,
    id_column(),
    reference("exchange_id", "exchange", "The exchange; NULL for content that several share.", index=True),
    sa.Column("path", SafeText, nullable=False, comment="Where: messages[3].content, tool_calls[0].arguments …"),
    sa.Column("rule", SafeText, nullable=False, comment="The rule that matched."),
    sa.Column("mark", SafeText, nullable=False, comment="What stands there now, without its brackets: EMAIL:3f2a…"),
    sa.Column("n", sa.Integer, nullable=False, comment="How often."),
    sa.Column("policy", sa.String(16), nullable=False, comment="Hash of the rules in force."),
    sa.Column("redacted_at", UtcDateTime, nullable=False, comment="When."),
    sa.Index("ix_redaction_mark", "mark"),
    comment="What was taken out before it was stored: equal values have equal marks, and nobody can read them back.",
)

store_meta = sa.Table(
    "store_meta",
    metadata,
    sa.Column("key", sa.String(64), primary_key=True, comment="Name."),
    sa.Column("value", sa.Text, nullable=False, comment="Value."),
    comment="Facts about the store itself.",
)
