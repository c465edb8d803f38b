"""Facts: what happened on the wire, one row for each thing an analyst counts."""

import sqlalchemy as sa

from tarx_toollog.canonical import HASH_SIZE
from tarx_toollog.store.schema.columns import (
    id_column,
    index_where,
    metadata,
    one_of,
    reference,
    sparse_index,
    uid_column,
)
from tarx_toollog.store.splits import SPLITS
from tarx_toollog.store.types import JsonText, SafeText, UtcDateTime

conversation = sa.Table(
    "conversation",
    metadata,
    id_column(),
    uid_column(),
    sa.Column("source", sa.String(16), nullable=False, comment="How it was first recognised (see exchange)."),
    sa.Column("external_id", SafeText, comment="The id that the client gave, if any."),
    sa.Column("client_key", sa.String(32), comment="Keyed hash of the client that opened it."),
    sa.Column("first_at", UtcDateTime, nullable=False, comment="Start of its first exchange."),
    sa.Column("last_at", UtcDateTime, nullable=False, index=True, comment="Start of its latest exchange."),
    sa.Column(
        "split_bucket",
        sa.Integer,
        nullable=False,
        comment="0–99 from the hash of uid: of which the split was made.",
    ),
    sa.Column(
        "split",
        sa.String(8),
        nullable=False,
        comment="What it is kept for: train, dev or eval. Training and evaluation never share a conversation.",
    ),
    sa.UniqueConstraint("source", "external_id"),
    one_of("split", SPLITS),
    comment="One dialogue of one user with the model.",
)

writer = sa.Table(
    "writer",
    metadata,
    id_column(),
    uid_column(),
    sa.Column("host", sa.Text, nullable=False, comment="Host name of the process."),
    sa.Column("pid", sa.Integer, nullable=False, comment="Process id."),
    sa.Column("version", sa.Text, nullable=False, comment="Version of tarx-toollog."),
    sa.Column("started_at", UtcDateTime, nullable=False, comment="When it opened the store."),
    sa.Column("stopped_at", UtcDateTime, comment="When it closed the store; NULL while it runs or if it was killed."),
    comment="Processes that have written to this store.",
)

OUTCOMES = (
    "open",
    "completed",
    "client_disconnected",
    "upstream_error",
    "stream_error",
    "truncated",
    "timeout",
    "proxy_error",
    "app_error",
    "interrupted",
)

exchange = sa.Table(
    "exchange",
    metadata,
    id_column(),
    uid_column(),
    sa.Column(
        "leg", sa.String(12), nullable=False, comment="The tap that saw it: middleware, transport, proxy, replay."
    ),
    sa.Column(
        "protocol",
        sa.String(24),
        nullable=False,
        comment="openai_chat, openai_responses, anthropic_messages, ollama_chat, or unknown.",
    ),
    sa.Column("method", sa.String(8), nullable=False, comment="HTTP method."),
    sa.Column("route", SafeText, nullable=False, comment="Path of the request, without the query."),
    sa.Column("stream", sa.Boolean, nullable=False, comment="Whether a streamed answer was asked for."),
    sa.Column("started_at", UtcDateTime, nullable=False, index=True, comment="When the request began."),
    sa.Column("first_byte_ms", sa.Float, comment="Time to the first byte of the answer's body."),
    sa.Column("first_tool_ms", sa.Float, comment="Time to the first fragment of a tool call (streams)."),
    sa.Column("total_ms", sa.Float, comment="Time to the end of the answer."),
    sa.Column("prompt_ms", sa.Float, comment="Prompt processing time, as the server reported it."),
    sa.Column("predicted_ms", sa.Float, comment="Generation time, as the server reported it."),
    sa.Column("http_status", sa.Integer, comment="HTTP status; NULL when there was no answer."),
    sa.Column("outcome", sa.String(20), nullable=False, comment="How it ended on the wire (docs/vocabulary.md)."),
    sa.Column("error_type", SafeText, comment="Type of the error, as the server or the HTTP client named it."),
    sa.Column("error_text", SafeText, comment="Text of the error."),
    sa.Column("finish_reason", SafeText, comment="Why the model stopped, normalised: stop, length, tool_calls …"),
    sa.Column("finish_reason_raw", SafeText, comment="The same in the server's own word; NULL where that is the same."),
    reference("conversation_id", "conversation", "The conversation; NULL for replays."),
    sa.Column(
        "conversation_how",
        sa.String(16),
        comment="How the conversation was found: header, path, body (an id of the client's), outer (the inbound "
        "exchange), response_id (it names our answer), prefix (its history is ours), wire_id (it answers our tool "
        "call), retry, again (the same was asked, and its answer left), new.",
    ),
    sa.Column("conversation_confidence", sa.Float, comment="0–1; below 1 when other conversations fitted as well."),
    sa.Column("turn_no", sa.Integer, comment="Turn within the conversation, from 1."),
    sa.Column("step_no", sa.Integer, comment="Step within the turn, from 1."),
    reference("parent_exchange_id", "exchange", "The exchange whose answer this one continues."),
    reference("outer_exchange_id", "exchange", "The inbound exchange during which this one was made."),
    sa.Column(
        "n_inner",
        sa.Integer,
        nullable=False,
        comment="Exchanges made during this one; 0 where the model itself answered.",
    ),
    reference("retry_of_id", "exchange", "The failed exchange that this one repeats."),
    sa.Column(
        "assistant_echo",
        sa.String(12),
        comment="How the client sent our previous answer back: same, reshaped, edited, missing; NULL for a first step.",
    ),
    reference(
        "system_node_id",
        "node",
        "Leading system messages (outside the history: they carry dates and memories).",
    ),
    reference("input_node_id", "node", "Last message of the request's history."),
    reference("output_node_id", "node", "The answer, appended to that history."),
    sa.Column("input_sem", sa.LargeBinary(HASH_SIZE), comment="Hash of the meaning of the request's history."),
    sa.Column("output_sem", sa.LargeBinary(HASH_SIZE), comment="The same with the answer appended."),
    reference("user_message_id", "message", "The latest user message of the request."),
    reference("toolset_id", "toolset", "Tools offered; NULL when none were."),
    sa.Column("n_tools", sa.Integer, nullable=False, comment="Number of tools offered."),
    sa.Column("n_messages", sa.Integer, nullable=False, comment="Messages in the request."),
    sa.Column("n_tool_calls", sa.Integer, nullable=False, comment="Tool calls in the answer."),
    sa.Column(
        "n_leaked_calls",
        sa.Integer,
        nullable=False,
        server_default=sa.text("0"),
        comment="Calls that stood in its text instead, so that nobody could execute them.",
    ),
    sa.Column(
        "params", JsonText, comment="The rest of the request body, without the model: sampling, stream, unknown keys."
    ),
    sa.Column("layout", JsonText, comment="Where else than usual the messages stood in the body; NULL as a rule."),
    sa.Column("response_extra", JsonText, comment="Keys of the response body that have no column."),
    sa.Column("request_model", SafeText, comment="Model name in the request."),
    sa.Column("response_model", SafeText, comment="Model name in the answer."),
    sa.Column("response_id", SafeText, comment="Id in the answer."),
    sa.Column("terminated", sa.Boolean, comment="Whether the protocol's own terminator was seen."),
    sa.Column("error_body", JsonText, comment="The error object that the server sent."),
    sa.Column("error_in_stream", sa.Boolean, comment="Whether it came inside a stream that had begun well."),
    sa.Column("input_tokens", sa.Integer, comment="Prompt tokens, cached ones included."),
    sa.Column("output_tokens", sa.Integer, comment="Generated tokens."),
    sa.Column("cached_tokens", sa.Integer, comment="Prompt tokens served from the cache."),
    sa.Column("reasoning_tokens", sa.Integer, comment="Generated tokens spent on reasoning."),
    sa.Column(
        "usage_source",
        sa.String(12),
        comment="Where the counts come from: usage, timings, eval_count, or estimated (input_tokens only).",
    ),
    reference("model_build_id", "model_build", "The build that answered, where a probe could tell."),
    sa.Column("ctx_limit", sa.Integer, comment="Context size of the server in tokens, where it is known."),
    sa.Column("tool_tokens", sa.Integer, comment="Share of input_tokens that the tool definitions took."),
    sa.Column("system_tokens", sa.Integer, comment="Share that the system prompt took."),
    sa.Column("history_tokens", sa.Integer, comment="Share of the messages that earlier exchanges had already."),
    sa.Column("new_tokens", sa.Integer, comment="Share of the messages that this exchange brought."),
    sa.Column(
        "budget_source",
        sa.String(12),
        comment="exact: the server counted the total, and its shares go by length; estimated: the total is ours.",
    ),
    sa.Column(
        "truncation",
        sa.String(12),
        comment="none, reported (the server says that the context was too long) or suspected (it counted fewer "
        "tokens than were sent).",
    ),
    sa.Column("poisoned", sa.Boolean, comment="Whether the history holds a call whose arguments are not JSON."),
    sa.Column("redaction_policy", sa.String(16), comment="Hash of the redaction rules that were applied."),
    sa.Column("client_key", sa.String(32), comment="Keyed hash that tells clients apart without naming them."),
    sa.Column("client_kind", sa.String(8), comment="browser or program; NULL for what a tap saw going out."),
    sa.Column("client_origin", SafeText, comment="Site for whose page a browser sent it (Origin header)."),
    sa.Column("user_agent", SafeText, comment="User-Agent header."),
    sa.Column("upstream", SafeText, comment="Base URL of the server, where the tap knows it."),
    sa.Column("request_size", sa.BigInteger, nullable=False, comment="Bytes of the request body."),
    sa.Column("response_size", sa.BigInteger, nullable=False, comment="Bytes of the response body."),
    sa.Column("notes", JsonText, comment="What the decoder had to put up with (a list); NULL for nothing."),
    reference("raw_request_id", "raw_body", "Raw request body, where it was kept."),
    reference("raw_response_id", "raw_body", "Raw response body, where it was kept."),
    reference("run_id", "run", "The replay run that made it; NULL for live traffic."),
    reference("writer_id", "writer", "The process that captured it."),
    one_of("outcome", OUTCOMES),
    sa.Index("ix_exchange_conversation_id", "conversation_id"),
    sa.Index("ix_exchange_output_sem", "output_sem"),
    sa.Index("ix_exchange_input_sem", "input_sem"),
    index_where("ix_exchange_not_completed", "outcome", where="outcome <> 'completed'"),
    index_where("ix_exchange_unreadable", "id", where="params IS NULL"),
    # Only OpenAI Responses continues an answer by its id.
    index_where("ix_exchange_response_id", "response_id", where="protocol = 'openai_responses'"),
    *(
        sparse_index("exchange", column)
        for column in ("parent_exchange_id", "outer_exchange_id", "model_build_id", "run_id")
    ),
    comment="One HTTP request to the model and its response.",
)

choice = sa.Table(
    "choice",
    metadata,
    sa.Column("exchange_id", sa.Integer, sa.ForeignKey("exchange.id"), primary_key=True, comment="The exchange."),
    sa.Column("choice", sa.Integer, primary_key=True, comment="Index of the choice."),
    reference("message_id", "message", "The answer.", nullable=False),
    sa.Column("finish_reason", SafeText, comment="Normalised finish reason."),
    sa.Column("finish_reason_raw", SafeText, comment="Finish reason in the server's own word."),
    comment="The answers of an exchange with several (n > 1); a single one is the exchange's output_node_id.",
)

tool_call = sa.Table(
    "tool_call",
    metadata,
    id_column(),
    reference("exchange_id", "exchange", "The exchange whose answer holds it.", nullable=False),
    reference("conversation_id", "conversation", "Its conversation; NULL for replays."),
    sa.Column("turn_no", sa.Integer, comment="Turn within the conversation."),
    sa.Column("step_no", sa.Integer, comment="Step within the turn."),
    sa.Column("choice", sa.Integer, nullable=False, comment="Choice of the answer, 0 as a rule."),
    sa.Column("ordinal", sa.Integer, nullable=False, comment="Position among the calls of the answer, from 0."),
    sa.Column("wire_index", sa.Integer, comment="The index that the server gave it."),
    sa.Column(
        "call_id",
        SafeText,
        nullable=False,
        index=True,
        comment="Wire id; minted (tlx_…) where the server gave none.",
    ),
    sa.Column("id_state", sa.String(12), nullable=False, comment="ok, missing, duplicate or numeric."),
    sa.Column("name", SafeText, nullable=False, comment="Tool name as the model wrote it."),
    reference("tool_definition_id", "tool_definition", "The definition offered under that name; NULL when none was."),
    sa.Column(
        "offered",
        sa.Boolean,
        nullable=False,
        comment="Whether a tool of that name was offered in this request.",
    ),
    sa.Column("arguments", SafeText, nullable=False, comment="The argument string, verbatim."),
    sa.Column("known", sa.Boolean, comment="Whether any request of this store has offered a tool of that name."),
    sa.Column(
        "arguments_json",
        JsonText,
        comment="What repaired arguments mean; NULL else: they are JSON themselves, or mean none.",
    ),
    sa.Column(
        "argument_state",
        sa.String(12),
        nullable=False,
        comment="ok, empty, repaired (not JSON, but plainly meant as such), invalid or incomplete.",
    ),
    sa.Column(
        "schema_state",
        sa.String(12),
        nullable=False,
        comment="ok, fail, or unchecked (no schema, or not JSON).",
    ),
    sa.Column("schema_errors", JsonText, comment="What the schema as offered in this request objects to."),
    sa.Column(
        "origin",
        sa.String(16),
        nullable=False,
        comment="native, legacy_function, leaked_text, custom or server_side.",
    ),
    sa.Column("complete", sa.Boolean, nullable=False, comment="False when the stream or the token limit cut it off."),
    sa.Column("quirks", JsonText, nullable=False, comment="What the server did that the protocol does not allow."),
    sa.Column("emitted_ms", sa.Float, comment="Time from the start of the exchange to its first fragment (streams)."),
    # Not unique over choice and ordinal, which it would double in size: the writer writes each exchange's calls once.
    sa.Index("ix_tool_call_exchange_id", "exchange_id"),
    sa.Index("ix_tool_call_conversation_id", "conversation_id"),
    sa.Index("ix_tool_call_name", "name", "id"),
    sa.Index("ix_tool_call_step_no", "step_no", "id"),
    index_where("ix_tool_call_not_native", "exchange_id", "choice", where="origin <> 'native'"),
    comment="One tool call of a model's answer, with its verdicts. Invalid calls are rows like any other.",
)


def call_uid() -> sa.ColumnElement[str]:
    """Return the public id of a call, which is not stored: that of its exchange, the choice, and its ordinal."""
    numbers = (sa.cast(tool_call.c[name], sa.String) for name in ("choice", "ordinal"))
    return exchange.c.uid + "." + next(numbers) + "." + next(numbers)


tool_result = sa.Table(
    "tool_result",
    metadata,
    id_column(),
    sa.Column(
        "tool_call_id",
        sa.Integer,
        sa.ForeignKey("tool_call.id"),
        unique=True,
        comment="The call that it answers; NULL when none was found.",
    ),
    reference("conversation_id", "conversation", "Its conversation."),
    reference("exchange_id", "exchange", "The exchange whose request carried it first.", nullable=False),
    reference("message_id", "message", "The message that holds it.", nullable=False),
    sa.Column("position", sa.Integer, nullable=False, comment="Place among the messages of that request, from 0."),
    sa.Column(
        "part",
        sa.Integer,
        nullable=False,
        server_default=sa.text("0"),
        comment="Place within that message, from 0: Anthropic's messages carry several results.",
    ),
    sa.Column("text", SafeText, comment="The result, where it is only a part of its message; else NULL."),
    sa.Column("call_id", SafeText, comment="Wire id of the call, as the client sent it back."),
    sa.Column("name", SafeText, comment="Tool name, where the client sent one."),
    sa.Column("match_how", sa.String(8), nullable=False, comment="How it was paired: id, order, name, or none."),
    sa.Column("confidence", sa.Float, nullable=False, comment="0–1; 1 for a unique id."),
    sa.Column("is_error", sa.Boolean, nullable=False, comment="Whether the tool reported a failure."),
    sa.Column("error_how", sa.String(12), comment="What told so: flag, http, json_key, pattern or exec."),
    sa.Column("size", sa.Integer, nullable=False, comment="Characters of the result."),
    sa.Column(
        "latency_ms",
        sa.Float,
        comment="From the end of the call's answer to the request that carried the result.",
    ),
    sa.UniqueConstraint("exchange_id", "position", "part"),
    sa.Index("ix_tool_result_conversation_id", "conversation_id"),
    comment="What a tool returned, at its first sight, paired with its call.",
)

tool_execution = sa.Table(
    "tool_execution",
    metadata,
    id_column(),
    uid_column(),
    sa.Column(
        "tool_call_id",
        sa.Integer,
        sa.ForeignKey("tool_call.id"),
        index=True,
        comment="The call that was executed; NULL while it is not known.",
    ),
    sa.Column("call_id", SafeText, index=True, comment="Wire id of the call, as the program gave it."),
    sa.Column("name", SafeText, comment="Tool name, as the program gave it."),
    sa.Column("started_at", UtcDateTime, nullable=False, comment="When the tool began to run."),
    sa.Column("exec_ms", sa.Float, nullable=False, comment="How long it ran."),
    sa.Column("is_error", sa.Boolean, nullable=False, comment="Whether it failed."),
    sa.Column("error_type", SafeText, comment="Type of the exception, or of the error that the tool reported."),
    sa.Column("error_text", SafeText, comment="Text of it."),
    sa.Column("source", sa.String(12), nullable=False, comment="What reported it: context, decorator or mcp."),
    reference("writer_id", "writer", "The process that reported it."),
    comment="One run of a tool as the Workbench itself reports it: true time and true error.",
)

turn = sa.Table(
    "turn",
    metadata,
    sa.Column(
        "conversation_id",
        sa.Integer,
        sa.ForeignKey("conversation.id"),
        primary_key=True,
        comment="Conversation.",
    ),
    sa.Column("turn_no", sa.Integer, primary_key=True, comment="Number, from 1."),
    reference("user_message_id", "message", "The user message that opened it."),
    reference("last_exchange_id", "exchange", "Its latest exchange."),
    sa.Column("signature", SafeText, nullable=False, comment="Names of its calls in order, joined by >."),
    sa.Column("n_steps", sa.Integer, nullable=False, comment="Exchanges with the model."),
    sa.Column("chain_length", sa.Integer, nullable=False, comment="Tool calls."),
    sa.Column(
        "n_bad_calls",
        sa.Integer,
        nullable=False,
        comment="Calls that were invalid, not offered, cut off, or broke their schema.",
    ),
    sa.Column(
        "n_leaked",
        sa.Integer,
        nullable=False,
        server_default=sa.text("0"),
        comment="Calls that stood in the text and that nobody could execute; not counted in chain_length.",
    ),
    sa.Column("n_error_results", sa.Integer, nullable=False, comment="Calls whose result was an error."),
    sa.Column("n_unanswered", sa.Integer, nullable=False, comment="Calls without a result."),
    sa.Column(
        "status",
        sa.String(12),
        nullable=False,
        comment="answered, pending (ends in calls) or failed (did not complete).",
    ),
    sa.Column("started_at", UtcDateTime, nullable=False, index=True, comment="Start of its first exchange."),
    sa.Column("duration_ms", sa.Float, comment="From there to the end of its latest exchange."),
    sa.Index("ix_turn_signature", "signature", "started_at"),
    comment="One user message up to the final answer; derived, kept up to date by the writer.",
)
