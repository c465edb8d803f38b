"""The first schema.

Revision: 0001
Follows: nothing
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "conversation",
        sa.Column("id", sa.Integer(), nullable=False, comment="Internal key."),
        sa.Column("uid", sa.String(length=36), nullable=False, comment="Public id, a UUIDv7."),
        sa.Column(
            "source", sa.String(length=16), nullable=False, comment="How it was first recognised (see exchange)."
        ),
        sa.Column("external_id", sa.Text(), nullable=True, comment="The id that the client gave, if any."),
        sa.Column(
            "client_key", sa.String(length=32), nullable=True, comment="Keyed hash of the client that opened it."
        ),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=False, comment="Start of its first exchange."),
        sa.Column("last_at", sa.DateTime(timezone=True), nullable=False, comment="Start of its latest exchange."),
        sa.Column(
            "split_bucket",
            sa.Integer(),
            nullable=False,
            comment="0–99 from the hash of uid: training and evaluation never share a conversation.",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_conversation")),
        sa.UniqueConstraint("source", "external_id", name=op.f("uq_conversation_source_external_id")),
        sa.UniqueConstraint("uid", name=op.f("uq_conversation_uid")),
        comment="One dialogue of one user with the model.",
    )
    with op.batch_alter_table("conversation", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_conversation_last_at"), ["last_at"], unique=False)

    op.create_table(
        "label",
        sa.Column("id", sa.Integer(), nullable=False, comment="Internal key."),
        sa.Column("target_type", sa.String(length=16), nullable=False, comment="conversation, exchange or tool_call."),
        sa.Column("target_uid", sa.String(length=36), nullable=False, comment="uid of the target."),
        sa.Column("name", sa.Text(), nullable=False, comment="What is judged, for example quality."),
        sa.Column("value_num", sa.Float(), nullable=True, comment="The verdict as a number."),
        sa.Column("value_text", sa.Text(), nullable=True, comment="The verdict as a word."),
        sa.Column("comment", sa.Text(), nullable=True, comment="Why."),
        sa.Column(
            "correction",
            sa.Text(),
            nullable=True,
            comment="What would have been right: a call, no call, or a question.",
        ),
        sa.Column("annotator_kind", sa.String(length=8), nullable=False, comment="human, rule or model."),
        sa.Column("annotator", sa.Text(), nullable=False, comment="Who."),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, comment="When."),
        sa.Column("superseded_by_id", sa.Integer(), nullable=True, comment="The later label that replaces it."),
        sa.CheckConstraint("annotator_kind IN ('human', 'rule', 'model')", name=op.f("ck_label_annotator_kind")),
        sa.CheckConstraint(
            "target_type IN ('conversation', 'exchange', 'tool_call')", name=op.f("ck_label_target_type")
        ),
        sa.ForeignKeyConstraint(["superseded_by_id"], ["label.id"], name=op.f("fk_label_superseded_by_id_label")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_label")),
        comment="Verdicts of humans, rules and models; appended, never overwritten.",
    )
    with op.batch_alter_table("label", schema=None) as batch_op:
        batch_op.create_index("ix_label_target_type_target_uid", ["target_type", "target_uid"], unique=False)

    op.create_table(
        "message",
        sa.Column("id", sa.Integer(), nullable=False, comment="Internal key."),
        sa.Column("hash", sa.LargeBinary(length=17), nullable=False, comment="Content hash (docs/schema.md)."),
        sa.Column("role", sa.Text(), nullable=False, comment="system, developer, user, assistant, tool …"),
        sa.Column("content", sa.Text(), nullable=True, comment="The text, or the JSON of the content parts."),
        sa.Column(
            "content_kind",
            sa.String(length=8),
            nullable=False,
            comment="text, json (parts, or another JSON value), null, or absent: what stood under the content key.",
        ),
        sa.Column("name", sa.Text(), nullable=True, comment="The name key, if any."),
        sa.Column(
            "tool_call_id",
            sa.Text(),
            nullable=True,
            comment="For a tool result: the wire id of the call that it answers.",
        ),
        sa.Column("n_tool_calls", sa.Integer(), nullable=False, comment="Number of tool calls in it."),
        sa.Column("extra", sa.Text(), nullable=False, comment="All other keys of the message, as sent."),
        sa.Column("size", sa.Integer(), nullable=False, comment="Characters of the content."),
        sa.CheckConstraint("content_kind IN ('text', 'json', 'null', 'absent')", name=op.f("ck_message_content_kind")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_message")),
        sa.UniqueConstraint("hash", name=op.f("uq_message_hash")),
        comment="Each distinct chat message once, exactly as it stood on the wire.",
    )
    op.create_table(
        "raw_body",
        sa.Column("id", sa.Integer(), nullable=False, comment="Internal key."),
        sa.Column("hash", sa.LargeBinary(length=17), nullable=False, comment="Content hash (docs/schema.md)."),
        sa.Column("size", sa.Integer(), nullable=False, comment="Bytes."),
        sa.Column("data", sa.LargeBinary(), nullable=False, comment="The bytes as they passed the tap."),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_raw_body")),
        sa.UniqueConstraint("hash", name=op.f("uq_raw_body_hash")),
        comment="Raw request and response bodies, kept where decoding met a problem (setting keep_raw).",
    )
    op.create_table(
        "run",
        sa.Column("id", sa.Integer(), nullable=False, comment="Internal key."),
        sa.Column("uid", sa.String(length=36), nullable=False, comment="Public id, a UUIDv7."),
        sa.Column("name", sa.Text(), nullable=False, comment="Name on the command line."),
        sa.Column("tag", sa.Text(), nullable=False, comment="Tag of the scenarios that it replays."),
        sa.Column("model", sa.Text(), nullable=False, comment="Model name sent to the endpoint."),
        sa.Column("endpoint", sa.Text(), nullable=False, comment="Base URL of the model server."),
        sa.Column(
            "mode", sa.String(length=16), nullable=False, comment="teacher_forced: each step gets the logged history."
        ),
        sa.Column("params", sa.Text(), nullable=False, comment="Sampling parameters that replace the logged ones."),
        sa.Column(
            "server",
            sa.Text(),
            nullable=True,
            comment="What the server said of itself: model file, quantization, context, template.",
        ),
        sa.Column("status", sa.String(length=16), nullable=False, comment="running, finished or aborted."),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False, comment="Start."),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True, comment="End; NULL while it runs."),
        sa.CheckConstraint("status IN ('running', 'finished', 'aborted')", name=op.f("ck_run_status")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_run")),
        sa.UniqueConstraint("name", name=op.f("uq_run_name")),
        sa.UniqueConstraint("uid", name=op.f("uq_run_uid")),
        comment="One model over a set of scenarios.",
    )
    op.create_table(
        "scenario",
        sa.Column("id", sa.Integer(), nullable=False, comment="Internal key."),
        sa.Column("uid", sa.String(length=36), nullable=False, comment="Public id, a UUIDv7."),
        sa.Column("tag", sa.Text(), nullable=False, comment="Name of the set it belongs to."),
        sa.Column("hash", sa.LargeBinary(length=17), nullable=False, comment="Content hash of the definition."),
        sa.Column(
            "conversation_uid", sa.String(length=36), nullable=False, comment="Conversation that it was frozen from."
        ),
        sa.Column("turn_no", sa.Integer(), nullable=False, comment="Turn that it was frozen from."),
        sa.Column("signature", sa.Text(), nullable=False, comment="Names of the expected calls in order, joined by >."),
        sa.Column("n_steps", sa.Integer(), nullable=False, comment="Model decisions in it."),
        sa.Column(
            "tier",
            sa.String(length=12),
            nullable=False,
            comment="Trust in the expectation: bronze means logged, not verified.",
        ),
        sa.Column(
            "definition", sa.Text(), nullable=False, comment="The frozen steps: messages, tools, expected calls."
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, comment="When it was frozen."),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scenario")),
        sa.UniqueConstraint("tag", "hash", name=op.f("uq_scenario_tag_hash")),
        sa.UniqueConstraint("uid", name=op.f("uq_scenario_uid")),
        comment="A replayable test, frozen from one turn.",
    )
    op.create_table(
        "store_meta",
        sa.Column("key", sa.String(length=64), nullable=False, comment="Name."),
        sa.Column("value", sa.Text(), nullable=False, comment="Value."),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_store_meta")),
        comment="Facts about the store itself.",
    )
    op.create_table(
        "tool_definition",
        sa.Column("id", sa.Integer(), nullable=False, comment="Internal key."),
        sa.Column("hash", sa.LargeBinary(length=17), nullable=False, comment="Content hash (docs/schema.md)."),
        sa.Column("name", sa.Text(), nullable=False, comment="Function name."),
        sa.Column("description", sa.Text(), nullable=True, comment="Description given to the model."),
        sa.Column("parameters", sa.Text(), nullable=True, comment="JSON Schema of the arguments."),
        sa.Column("raw", sa.Text(), nullable=False, comment="The whole entry of the request's tool list, as sent."),
        sa.Column("n_parameters", sa.Integer(), nullable=False, comment="Parameters at the top level."),
        sa.Column("n_required", sa.Integer(), nullable=False, comment="Required ones among them."),
        sa.Column("max_depth", sa.Integer(), nullable=False, comment="Nesting depth of the schema; 1 is flat."),
        sa.Column("n_enums", sa.Integer(), nullable=False, comment="Parameters restricted to a list of values."),
        sa.Column("size", sa.Integer(), nullable=False, comment="Characters of its compact JSON."),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tool_definition")),
        sa.UniqueConstraint("hash", name=op.f("uq_tool_definition_hash")),
        comment="Each distinct tool definition once; another version of a tool is another row.",
    )
    with op.batch_alter_table("tool_definition", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_tool_definition_name"), ["name"], unique=False)

    op.create_table(
        "toolset",
        sa.Column("id", sa.Integer(), nullable=False, comment="Internal key."),
        sa.Column("hash", sa.LargeBinary(length=17), nullable=False, comment="Content hash (docs/schema.md)."),
        sa.Column("n_tools", sa.Integer(), nullable=False, comment="Number of definitions."),
        sa.Column(
            "tools_key", sa.String(length=16), nullable=False, comment="Key of the request: tools, or legacy functions."
        ),
        sa.Column("size", sa.Integer(), nullable=False, comment="Characters of the compact JSON of all definitions."),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_toolset")),
        sa.UniqueConstraint("hash", name=op.f("uq_toolset_hash")),
        comment="Each distinct ordered list of tool definitions that an exchange offered.",
    )
    op.create_table(
        "writer",
        sa.Column("id", sa.Integer(), nullable=False, comment="Internal key."),
        sa.Column("uid", sa.String(length=36), nullable=False, comment="Public id, a UUIDv7."),
        sa.Column("host", sa.Text(), nullable=False, comment="Host name of the process."),
        sa.Column("pid", sa.Integer(), nullable=False, comment="Process id."),
        sa.Column("version", sa.Text(), nullable=False, comment="Version of tarx-toollog."),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False, comment="When it opened the store."),
        sa.Column(
            "stopped_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When it closed the store; NULL while it runs or if it was killed.",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_writer")),
        sa.UniqueConstraint("uid", name=op.f("uq_writer_uid")),
        comment="Processes that have written to this store.",
    )
    op.create_table(
        "gap",
        sa.Column("id", sa.Integer(), nullable=False, comment="Internal key."),
        sa.Column(
            "kind",
            sa.String(length=16),
            nullable=False,
            comment="journal (could not be written), torn (a damaged segment), parse_error.",
        ),
        sa.Column("from_at", sa.DateTime(timezone=True), nullable=False, comment="Start of the period."),
        sa.Column("to_at", sa.DateTime(timezone=True), nullable=False, comment="End of the period."),
        sa.Column("n", sa.Integer(), nullable=False, comment="Exchanges concerned."),
        sa.Column("detail", sa.Text(), nullable=False, comment="What happened."),
        sa.Column("writer_id", sa.Integer(), nullable=True, comment="The process that lost them."),
        sa.ForeignKeyConstraint(["writer_id"], ["writer.id"], name=op.f("fk_gap_writer_id_writer")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gap")),
        comment="The loss ledger: whatever capture could not keep is counted here.",
    )
    op.create_table(
        "node",
        sa.Column("id", sa.Integer(), nullable=False, comment="Internal key."),
        sa.Column("hash", sa.LargeBinary(length=17), nullable=False, comment="Content hash (docs/schema.md)."),
        sa.Column("sem", sa.LargeBinary(length=17), nullable=False, comment="Hash of the meaning of the path so far."),
        sa.Column(
            "parent_id", sa.Integer(), nullable=True, comment="The node before it; NULL at the start of a history."
        ),
        sa.Column("message_id", sa.Integer(), nullable=False, comment="The message at this place."),
        sa.Column("depth", sa.Integer(), nullable=False, comment="Position in the history, from 0."),
        sa.ForeignKeyConstraint(["message_id"], ["message.id"], name=op.f("fk_node_message_id_message")),
        sa.ForeignKeyConstraint(["parent_id"], ["node.id"], name=op.f("fk_node_parent_id_node")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_node")),
        sa.UniqueConstraint("hash", name=op.f("uq_node_hash")),
        comment="A history is a path of nodes; histories that begin alike share them (a tree).",
    )
    op.create_table(
        "toolset_item",
        sa.Column("toolset_id", sa.Integer(), nullable=False, comment="The toolset."),
        sa.Column("position", sa.Integer(), nullable=False, comment="Place in the list, from 0."),
        sa.Column("tool_definition_id", sa.Integer(), nullable=False, comment="The definition."),
        sa.ForeignKeyConstraint(
            ["tool_definition_id"],
            ["tool_definition.id"],
            name=op.f("fk_toolset_item_tool_definition_id_tool_definition"),
        ),
        sa.ForeignKeyConstraint(["toolset_id"], ["toolset.id"], name=op.f("fk_toolset_item_toolset_id_toolset")),
        sa.PrimaryKeyConstraint("toolset_id", "position", name=op.f("pk_toolset_item")),
        comment="Which definitions a toolset holds, in order.",
    )
    with op.batch_alter_table("toolset_item", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_toolset_item_tool_definition_id"), ["tool_definition_id"], unique=False)

    op.create_table(
        "exchange",
        sa.Column("id", sa.Integer(), nullable=False, comment="Internal key."),
        sa.Column("uid", sa.String(length=36), nullable=False, comment="Public id, a UUIDv7."),
        sa.Column(
            "leg",
            sa.String(length=12),
            nullable=False,
            comment="The tap that saw it: middleware, transport, proxy, replay.",
        ),
        sa.Column("protocol", sa.String(length=24), nullable=False, comment="openai_chat, or unknown."),
        sa.Column("method", sa.String(length=8), nullable=False, comment="HTTP method."),
        sa.Column("route", sa.Text(), nullable=False, comment="Path of the request, without the query."),
        sa.Column("stream", sa.Boolean(), nullable=False, comment="Whether a streamed answer was asked for."),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False, comment="When the request began."),
        sa.Column("first_byte_ms", sa.Float(), nullable=True, comment="Time to the first byte of the answer's body."),
        sa.Column(
            "first_tool_ms", sa.Float(), nullable=True, comment="Time to the first fragment of a tool call (streams)."
        ),
        sa.Column("total_ms", sa.Float(), nullable=True, comment="Time to the end of the answer."),
        sa.Column("prompt_ms", sa.Float(), nullable=True, comment="Prompt processing time, as the server reported it."),
        sa.Column("predicted_ms", sa.Float(), nullable=True, comment="Generation time, as the server reported it."),
        sa.Column("http_status", sa.Integer(), nullable=True, comment="HTTP status; NULL when there was no answer."),
        sa.Column(
            "outcome", sa.String(length=20), nullable=False, comment="How it ended on the wire (docs/vocabulary.md)."
        ),
        sa.Column(
            "error_type",
            sa.Text(),
            nullable=True,
            comment="Type of the error, as the server or the HTTP client named it.",
        ),
        sa.Column("error_text", sa.Text(), nullable=True, comment="Text of the error."),
        sa.Column(
            "finish_reason",
            sa.Text(),
            nullable=True,
            comment="Why the model stopped, normalised: stop, length, tool_calls …",
        ),
        sa.Column("finish_reason_raw", sa.Text(), nullable=True, comment="The same in the server's own word."),
        sa.Column("conversation_id", sa.Integer(), nullable=True, comment="The conversation; NULL for replays."),
        sa.Column(
            "conversation_how",
            sa.String(length=16),
            nullable=True,
            comment="How the conversation was found: header, path, body (an id of the client's), outer (the inbound exchange), prefix (its history is ours), wire_id (it answers our tool call), retry, new.",
        ),
        sa.Column(
            "conversation_confidence",
            sa.Float(),
            nullable=True,
            comment="0–1; below 1 when other conversations fitted as well.",
        ),
        sa.Column("turn_no", sa.Integer(), nullable=True, comment="Turn within the conversation, from 1."),
        sa.Column("step_no", sa.Integer(), nullable=True, comment="Step within the turn, from 1."),
        sa.Column(
            "parent_exchange_id", sa.Integer(), nullable=True, comment="The exchange whose answer this one continues."
        ),
        sa.Column(
            "outer_exchange_id",
            sa.Integer(),
            nullable=True,
            comment="The inbound exchange during which this one was made.",
        ),
        sa.Column(
            "n_inner",
            sa.Integer(),
            nullable=False,
            comment="Exchanges made during this one; 0 where the model itself answered.",
        ),
        sa.Column("retry_of_id", sa.Integer(), nullable=True, comment="The failed exchange that this one repeats."),
        sa.Column(
            "assistant_echo",
            sa.String(length=12),
            nullable=True,
            comment="How the client sent our previous answer back: same, reshaped, edited, missing; NULL for a first step.",
        ),
        sa.Column(
            "system_node_id",
            sa.Integer(),
            nullable=True,
            comment="Leading system messages (outside the history: they carry dates and memories).",
        ),
        sa.Column("input_node_id", sa.Integer(), nullable=True, comment="Last message of the request's history."),
        sa.Column("output_node_id", sa.Integer(), nullable=True, comment="The answer, appended to that history."),
        sa.Column(
            "input_sem",
            sa.LargeBinary(length=17),
            nullable=True,
            comment="Hash of the meaning of the request's history.",
        ),
        sa.Column("output_sem", sa.LargeBinary(length=17), nullable=True, comment="The same with the answer appended."),
        sa.Column("user_message_id", sa.Integer(), nullable=True, comment="The latest user message of the request."),
        sa.Column("toolset_id", sa.Integer(), nullable=True, comment="Tools offered; NULL when none were."),
        sa.Column("n_tools", sa.Integer(), nullable=False, comment="Number of tools offered."),
        sa.Column("n_messages", sa.Integer(), nullable=False, comment="Messages in the request."),
        sa.Column("n_tool_calls", sa.Integer(), nullable=False, comment="Tool calls in the answer."),
        sa.Column(
            "params", sa.Text(), nullable=True, comment="The rest of the request body: sampling, stream, unknown keys."
        ),
        sa.Column("response_extra", sa.Text(), nullable=True, comment="Keys of the response body that have no column."),
        sa.Column("request_model", sa.Text(), nullable=True, comment="Model name in the request."),
        sa.Column("response_model", sa.Text(), nullable=True, comment="Model name in the answer."),
        sa.Column("response_id", sa.Text(), nullable=True, comment="Id in the answer."),
        sa.Column("terminated", sa.Boolean(), nullable=True, comment="Whether the protocol's own terminator was seen."),
        sa.Column("error_body", sa.Text(), nullable=True, comment="The error object that the server sent."),
        sa.Column(
            "error_in_stream",
            sa.Boolean(),
            nullable=True,
            comment="Whether it came inside a stream that had begun well.",
        ),
        sa.Column("input_tokens", sa.Integer(), nullable=True, comment="Prompt tokens, cached ones included."),
        sa.Column("output_tokens", sa.Integer(), nullable=True, comment="Generated tokens."),
        sa.Column("cached_tokens", sa.Integer(), nullable=True, comment="Prompt tokens served from the cache."),
        sa.Column("reasoning_tokens", sa.Integer(), nullable=True, comment="Generated tokens spent on reasoning."),
        sa.Column(
            "usage_source",
            sa.String(length=12),
            nullable=True,
            comment="Where the counts come from: usage, timings or eval_count.",
        ),
        sa.Column(
            "client_key",
            sa.String(length=32),
            nullable=True,
            comment="Keyed hash that tells clients apart without naming them.",
        ),
        sa.Column("user_agent", sa.Text(), nullable=True, comment="User-Agent header."),
        sa.Column("upstream", sa.Text(), nullable=True, comment="Base URL of the server, where the tap knows it."),
        sa.Column("request_size", sa.Integer(), nullable=False, comment="Bytes of the request body."),
        sa.Column("response_size", sa.Integer(), nullable=False, comment="Bytes of the response body."),
        sa.Column("notes", sa.Text(), nullable=False, comment="What the decoder had to put up with."),
        sa.Column("raw_request_id", sa.Integer(), nullable=True, comment="Raw request body, where it was kept."),
        sa.Column("raw_response_id", sa.Integer(), nullable=True, comment="Raw response body, where it was kept."),
        sa.Column("run_id", sa.Integer(), nullable=True, comment="The replay run that made it; NULL for live traffic."),
        sa.Column("writer_id", sa.Integer(), nullable=True, comment="The process that captured it."),
        sa.CheckConstraint(
            "outcome IN ('open', 'completed', 'client_disconnected', 'upstream_error', 'stream_error', 'truncated', 'timeout', 'proxy_error', 'app_error', 'interrupted')",
            name=op.f("ck_exchange_outcome"),
        ),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversation.id"], name=op.f("fk_exchange_conversation_id_conversation")
        ),
        sa.ForeignKeyConstraint(["input_node_id"], ["node.id"], name=op.f("fk_exchange_input_node_id_node")),
        sa.ForeignKeyConstraint(
            ["outer_exchange_id"], ["exchange.id"], name=op.f("fk_exchange_outer_exchange_id_exchange")
        ),
        sa.ForeignKeyConstraint(["output_node_id"], ["node.id"], name=op.f("fk_exchange_output_node_id_node")),
        sa.ForeignKeyConstraint(
            ["parent_exchange_id"], ["exchange.id"], name=op.f("fk_exchange_parent_exchange_id_exchange")
        ),
        sa.ForeignKeyConstraint(["raw_request_id"], ["raw_body.id"], name=op.f("fk_exchange_raw_request_id_raw_body")),
        sa.ForeignKeyConstraint(
            ["raw_response_id"], ["raw_body.id"], name=op.f("fk_exchange_raw_response_id_raw_body")
        ),
        sa.ForeignKeyConstraint(["retry_of_id"], ["exchange.id"], name=op.f("fk_exchange_retry_of_id_exchange")),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_exchange_run_id_run")),
        sa.ForeignKeyConstraint(["system_node_id"], ["node.id"], name=op.f("fk_exchange_system_node_id_node")),
        sa.ForeignKeyConstraint(["toolset_id"], ["toolset.id"], name=op.f("fk_exchange_toolset_id_toolset")),
        sa.ForeignKeyConstraint(["user_message_id"], ["message.id"], name=op.f("fk_exchange_user_message_id_message")),
        sa.ForeignKeyConstraint(["writer_id"], ["writer.id"], name=op.f("fk_exchange_writer_id_writer")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_exchange")),
        sa.UniqueConstraint("uid", name=op.f("uq_exchange_uid")),
        comment="One HTTP request to the model and its response.",
    )
    with op.batch_alter_table("exchange", schema=None) as batch_op:
        batch_op.create_index("ix_exchange_conversation_id_id", ["conversation_id", "id"], unique=False)
        batch_op.create_index("ix_exchange_input_sem", ["input_sem"], unique=False)
        batch_op.create_index(
            "ix_exchange_not_completed",
            ["outcome", "id"],
            unique=False,
            sqlite_where=sa.text("outcome <> 'completed'"),
            postgresql_where=sa.text("outcome <> 'completed'"),
        )
        batch_op.create_index(batch_op.f("ix_exchange_outer_exchange_id"), ["outer_exchange_id"], unique=False)
        batch_op.create_index("ix_exchange_output_sem", ["output_sem"], unique=False)
        batch_op.create_index(batch_op.f("ix_exchange_parent_exchange_id"), ["parent_exchange_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_exchange_response_id"), ["response_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_exchange_run_id"), ["run_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_exchange_started_at"), ["started_at"], unique=False)

    op.create_table(
        "choice",
        sa.Column("exchange_id", sa.Integer(), nullable=False, comment="The exchange."),
        sa.Column("choice", sa.Integer(), nullable=False, comment="Index of the choice."),
        sa.Column("message_id", sa.Integer(), nullable=False, comment="The answer."),
        sa.Column("finish_reason", sa.Text(), nullable=True, comment="Normalised finish reason."),
        sa.Column("finish_reason_raw", sa.Text(), nullable=True, comment="Finish reason in the server's own word."),
        sa.ForeignKeyConstraint(["exchange_id"], ["exchange.id"], name=op.f("fk_choice_exchange_id_exchange")),
        sa.ForeignKeyConstraint(["message_id"], ["message.id"], name=op.f("fk_choice_message_id_message")),
        sa.PrimaryKeyConstraint("exchange_id", "choice", name=op.f("pk_choice")),
        comment="The answers of an exchange; more than one only when n > 1 was asked for.",
    )
    op.create_table(
        "tool_call",
        sa.Column("id", sa.Integer(), nullable=False, comment="Internal key."),
        sa.Column("uid", sa.String(length=36), nullable=False, comment="Public id, a UUIDv7."),
        sa.Column("exchange_id", sa.Integer(), nullable=False, comment="The exchange whose answer holds it."),
        sa.Column("conversation_id", sa.Integer(), nullable=True, comment="Its conversation; NULL for replays."),
        sa.Column("turn_no", sa.Integer(), nullable=True, comment="Turn within the conversation."),
        sa.Column("step_no", sa.Integer(), nullable=True, comment="Step within the turn."),
        sa.Column("choice", sa.Integer(), nullable=False, comment="Choice of the answer, 0 as a rule."),
        sa.Column("ordinal", sa.Integer(), nullable=False, comment="Position among the calls of the answer, from 0."),
        sa.Column("wire_index", sa.Integer(), nullable=True, comment="The index that the server gave it."),
        sa.Column("call_id", sa.Text(), nullable=False, comment="Wire id; minted (tlx_…) where the server gave none."),
        sa.Column("id_state", sa.String(length=12), nullable=False, comment="ok, missing, duplicate or numeric."),
        sa.Column("name", sa.Text(), nullable=False, comment="Tool name as the model wrote it."),
        sa.Column(
            "tool_definition_id",
            sa.Integer(),
            nullable=True,
            comment="The definition offered under that name; NULL when none was.",
        ),
        sa.Column(
            "offered", sa.Boolean(), nullable=False, comment="Whether a tool of that name was offered in this request."
        ),
        sa.Column("arguments", sa.Text(), nullable=False, comment="The argument string, verbatim."),
        sa.Column(
            "arguments_json", sa.Text(), nullable=True, comment="The same, parsed; NULL when it is not a JSON object."
        ),
        sa.Column("argument_state", sa.String(length=12), nullable=False, comment="ok, empty, invalid or incomplete."),
        sa.Column(
            "schema_state",
            sa.String(length=12),
            nullable=False,
            comment="ok, fail, or unchecked (no schema, or not JSON).",
        ),
        sa.Column(
            "schema_errors", sa.Text(), nullable=True, comment="What the schema as offered in this request objects to."
        ),
        sa.Column(
            "origin",
            sa.String(length=16),
            nullable=False,
            comment="native, legacy_function, leaked_text, custom or server_side.",
        ),
        sa.Column(
            "complete", sa.Boolean(), nullable=False, comment="False when the stream or the token limit cut it off."
        ),
        sa.Column("quirks", sa.Text(), nullable=False, comment="What the server did that the protocol does not allow."),
        sa.Column(
            "emitted_ms",
            sa.Float(),
            nullable=True,
            comment="Time from the start of the exchange to its first fragment (streams).",
        ),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversation.id"], name=op.f("fk_tool_call_conversation_id_conversation")
        ),
        sa.ForeignKeyConstraint(["exchange_id"], ["exchange.id"], name=op.f("fk_tool_call_exchange_id_exchange")),
        sa.ForeignKeyConstraint(
            ["tool_definition_id"], ["tool_definition.id"], name=op.f("fk_tool_call_tool_definition_id_tool_definition")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tool_call")),
        sa.UniqueConstraint("exchange_id", "choice", "ordinal", name=op.f("uq_tool_call_exchange_id_choice_ordinal")),
        sa.UniqueConstraint("uid", name=op.f("uq_tool_call_uid")),
        comment="One tool call of a model's answer, with its verdicts. Invalid calls are rows like any other.",
    )
    with op.batch_alter_table("tool_call", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_tool_call_call_id"), ["call_id"], unique=False)
        batch_op.create_index("ix_tool_call_conversation_id_id", ["conversation_id", "id"], unique=False)
        batch_op.create_index("ix_tool_call_name_id", ["name", "id"], unique=False)

    op.create_table(
        "trial",
        sa.Column("id", sa.Integer(), nullable=False, comment="Internal key."),
        sa.Column("run_id", sa.Integer(), nullable=False, comment="The run."),
        sa.Column("scenario_id", sa.Integer(), nullable=False, comment="The scenario."),
        sa.Column("step_no", sa.Integer(), nullable=False, comment="Step of the scenario, from 1."),
        sa.Column("attempt", sa.Integer(), nullable=False, comment="Repetition, from 1."),
        sa.Column(
            "exchange_id",
            sa.Integer(),
            nullable=True,
            comment="The exchange that it made; NULL when the endpoint could not be reached.",
        ),
        sa.Column(
            "status",
            sa.String(length=12),
            nullable=False,
            comment="ok (answered), model_error (the model's doing) or infra_error.",
        ),
        sa.Column("error", sa.Text(), nullable=True, comment="What went wrong."),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False, comment="When."),
        sa.CheckConstraint("status IN ('ok', 'model_error', 'infra_error')", name=op.f("ck_trial_status")),
        sa.ForeignKeyConstraint(["exchange_id"], ["exchange.id"], name=op.f("fk_trial_exchange_id_exchange")),
        sa.ForeignKeyConstraint(["run_id"], ["run.id"], name=op.f("fk_trial_run_id_run")),
        sa.ForeignKeyConstraint(["scenario_id"], ["scenario.id"], name=op.f("fk_trial_scenario_id_scenario")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_trial")),
        sa.UniqueConstraint(
            "run_id", "scenario_id", "step_no", "attempt", name=op.f("uq_trial_run_id_scenario_id_step_no_attempt")
        ),
        comment="One step of one scenario, asked once.",
    )
    with op.batch_alter_table("trial", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_trial_exchange_id"), ["exchange_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_trial_scenario_id"), ["scenario_id"], unique=False)

    op.create_table(
        "turn",
        sa.Column("conversation_id", sa.Integer(), nullable=False, comment="Conversation."),
        sa.Column("turn_no", sa.Integer(), nullable=False, comment="Number, from 1."),
        sa.Column("user_message_id", sa.Integer(), nullable=True, comment="The user message that opened it."),
        sa.Column("last_exchange_id", sa.Integer(), nullable=True, comment="Its latest exchange."),
        sa.Column("signature", sa.Text(), nullable=False, comment="Names of its calls in order, joined by >."),
        sa.Column("n_steps", sa.Integer(), nullable=False, comment="Exchanges with the model."),
        sa.Column("chain_length", sa.Integer(), nullable=False, comment="Tool calls."),
        sa.Column(
            "n_bad_calls",
            sa.Integer(),
            nullable=False,
            comment="Calls that were invalid, not offered, cut off, or broke their schema.",
        ),
        sa.Column("n_error_results", sa.Integer(), nullable=False, comment="Calls whose result was an error."),
        sa.Column("n_unanswered", sa.Integer(), nullable=False, comment="Calls without a result."),
        sa.Column(
            "status",
            sa.String(length=12),
            nullable=False,
            comment="answered, pending (ends in calls) or failed (did not complete).",
        ),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False, comment="Start of its first exchange."),
        sa.Column("duration_ms", sa.Float(), nullable=True, comment="From there to the end of its latest exchange."),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversation.id"], name=op.f("fk_turn_conversation_id_conversation")
        ),
        sa.ForeignKeyConstraint(["last_exchange_id"], ["exchange.id"], name=op.f("fk_turn_last_exchange_id_exchange")),
        sa.ForeignKeyConstraint(["user_message_id"], ["message.id"], name=op.f("fk_turn_user_message_id_message")),
        sa.PrimaryKeyConstraint("conversation_id", "turn_no", name=op.f("pk_turn")),
        comment="One user message up to the final answer; derived, kept up to date by the writer.",
    )
    with op.batch_alter_table("turn", schema=None) as batch_op:
        batch_op.create_index("ix_turn_signature", ["signature"], unique=False)
        batch_op.create_index(batch_op.f("ix_turn_started_at"), ["started_at"], unique=False)

    op.create_table(
        "score",
        sa.Column("id", sa.Integer(), nullable=False, comment="Internal key."),
        sa.Column("trial_id", sa.Integer(), nullable=False, comment="The trial."),
        sa.Column("scorer", sa.String(length=32), nullable=False, comment="Name of the scorer."),
        sa.Column("value", sa.Float(), nullable=True, comment="0–1; NULL when it does not apply."),
        sa.Column("detail", sa.Text(), nullable=True, comment="Why."),
        sa.ForeignKeyConstraint(["trial_id"], ["trial.id"], name=op.f("fk_score_trial_id_trial")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_score")),
        sa.UniqueConstraint("trial_id", "scorer", name=op.f("uq_score_trial_id_scorer")),
        comment="What a scorer gave a trial.",
    )
    op.create_table(
        "tool_result",
        sa.Column("id", sa.Integer(), nullable=False, comment="Internal key."),
        sa.Column(
            "tool_call_id", sa.Integer(), nullable=True, comment="The call that it answers; NULL when none was found."
        ),
        sa.Column("conversation_id", sa.Integer(), nullable=True, comment="Its conversation."),
        sa.Column("exchange_id", sa.Integer(), nullable=False, comment="The exchange whose request carried it first."),
        sa.Column("message_id", sa.Integer(), nullable=False, comment="The message that holds it."),
        sa.Column(
            "position", sa.Integer(), nullable=False, comment="Place among the messages of that request, from 0."
        ),
        sa.Column("call_id", sa.Text(), nullable=True, comment="Wire id of the call, as the client sent it back."),
        sa.Column("name", sa.Text(), nullable=True, comment="Tool name, where the client sent one."),
        sa.Column(
            "match_how", sa.String(length=8), nullable=False, comment="How it was paired: id, order, name, or none."
        ),
        sa.Column("confidence", sa.Float(), nullable=False, comment="0–1; 1 for a unique id."),
        sa.Column("is_error", sa.Boolean(), nullable=False, comment="Whether the tool reported a failure."),
        sa.Column("error_how", sa.String(length=12), nullable=True, comment="What told so: json_key or pattern."),
        sa.Column("size", sa.Integer(), nullable=False, comment="Characters of the result."),
        sa.Column(
            "latency_ms",
            sa.Float(),
            nullable=True,
            comment="From the end of the call's answer to the request that carried the result.",
        ),
        sa.ForeignKeyConstraint(
            ["conversation_id"], ["conversation.id"], name=op.f("fk_tool_result_conversation_id_conversation")
        ),
        sa.ForeignKeyConstraint(["exchange_id"], ["exchange.id"], name=op.f("fk_tool_result_exchange_id_exchange")),
        sa.ForeignKeyConstraint(["message_id"], ["message.id"], name=op.f("fk_tool_result_message_id_message")),
        sa.ForeignKeyConstraint(["tool_call_id"], ["tool_call.id"], name=op.f("fk_tool_result_tool_call_id_tool_call")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tool_result")),
        sa.UniqueConstraint("exchange_id", "position", name=op.f("uq_tool_result_exchange_id_position")),
        sa.UniqueConstraint("tool_call_id", name=op.f("uq_tool_result_tool_call_id")),
        comment="What a tool returned, at its first sight, paired with its call.",
    )
    with op.batch_alter_table("tool_result", schema=None) as batch_op:
        batch_op.create_index("ix_tool_result_conversation_id", ["conversation_id"], unique=False)
        batch_op.create_index(batch_op.f("ix_tool_result_exchange_id"), ["exchange_id"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("tool_result", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_tool_result_exchange_id"))
        batch_op.drop_index("ix_tool_result_conversation_id")

    op.drop_table("tool_result")
    op.drop_table("score")
    with op.batch_alter_table("turn", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_turn_started_at"))
        batch_op.drop_index("ix_turn_signature")

    op.drop_table("turn")
    with op.batch_alter_table("trial", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_trial_scenario_id"))
        batch_op.drop_index(batch_op.f("ix_trial_exchange_id"))

    op.drop_table("trial")
    with op.batch_alter_table("tool_call", schema=None) as batch_op:
        batch_op.drop_index("ix_tool_call_name_id")
        batch_op.drop_index("ix_tool_call_conversation_id_id")
        batch_op.drop_index(batch_op.f("ix_tool_call_call_id"))

    op.drop_table("tool_call")
    op.drop_table("choice")
    with op.batch_alter_table("exchange", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_exchange_started_at"))
        batch_op.drop_index(batch_op.f("ix_exchange_run_id"))
        batch_op.drop_index(batch_op.f("ix_exchange_response_id"))
        batch_op.drop_index(batch_op.f("ix_exchange_parent_exchange_id"))
        batch_op.drop_index("ix_exchange_output_sem")
        batch_op.drop_index(batch_op.f("ix_exchange_outer_exchange_id"))
        batch_op.drop_index(
            "ix_exchange_not_completed",
            sqlite_where=sa.text("outcome <> 'completed'"),
            postgresql_where=sa.text("outcome <> 'completed'"),
        )
        batch_op.drop_index("ix_exchange_input_sem")
        batch_op.drop_index("ix_exchange_conversation_id_id")

    op.drop_table("exchange")
    with op.batch_alter_table("toolset_item", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_toolset_item_tool_definition_id"))

    op.drop_table("toolset_item")
    op.drop_table("node")
    op.drop_table("gap")
    op.drop_table("writer")
    op.drop_table("toolset")
    with op.batch_alter_table("tool_definition", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_tool_definition_name"))

    op.drop_table("tool_definition")
    op.drop_table("store_meta")
    op.drop_table("scenario")
    op.drop_table("run")
    op.drop_table("raw_body")
    op.drop_table("message")
    with op.batch_alter_table("label", schema=None) as batch_op:
        batch_op.drop_index("ix_label_target_type_target_uid")

    op.drop_table("label")
    with op.batch_alter_table("conversation", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_conversation_last_at"))

    op.drop_table("conversation")
