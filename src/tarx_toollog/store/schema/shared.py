"""Shared tables: immutable, content-addressed. A history of n messages that is sent n times is stored once."""

import sqlalchemy as sa

from tarx_toollog.canonical import HASH_SIZE
from tarx_toollog.store.schema.columns import hash_column, id_column, metadata, one_of, reference
from tarx_toollog.store.types import JsonText, SafeText

raw_body = sa.Table(
    "raw_body",
    metadata,
    id_column(),
    hash_column(),
    sa.Column("size", sa.Integer, nullable=False, comment="Bytes."),
    sa.Column("data", sa.LargeBinary, nullable=False, comment="The bytes as they passed the tap."),
    comment="Raw request and response bodies, kept where decoding met a problem (setting keep_raw).",
)

message = sa.Table(
    "message",
    metadata,
    id_column(),
    hash_column(),
    sa.Column("role", SafeText, nullable=False, comment="system, developer, user, assistant, tool …"),
    sa.Column("content", SafeText, comment="The text, or the JSON of the content parts."),
    sa.Column(
        "content_kind",
        sa.String(8),
        nullable=False,
        comment="text, json (parts, or another JSON value), null, or absent: what stood under the content key.",
    ),
    sa.Column(
        "text",
        SafeText,
        comment="All text of the message where content is not that text (parts, blocks, items); else NULL.",
    ),
    sa.Column("name", SafeText, comment="The name key, if any."),
    sa.Column("tool_call_id", SafeText, comment="For a tool result: the wire id of the call that it answers."),
    sa.Column("n_tool_calls", sa.Integer, nullable=False, comment="Number of tool calls in it."),
    sa.Column("extra", JsonText, comment="All other keys of the message, as sent; NULL when there are none."),
    sa.Column(
        "derived",
        JsonText,
        comment="Columns among role, name and tool_call_id that were read from other keys and are none on the wire.",
    ),
    # Not a reference: the exchange is written after its messages.
    sa.Column(
        "first_exchange_id",
        sa.Integer,
        comment="The exchange of live traffic that brought it first; NULL: only a replay had it.",
    ),
    one_of("content_kind", ("text", "json", "null", "absent")),
    comment="Each distinct chat message once, exactly as it stood on the wire.",
)

node = sa.Table(
    "node",
    metadata,
    id_column(),
    hash_column(),
    sa.Column("sem", sa.LargeBinary(HASH_SIZE), nullable=False, comment="Hash of the meaning of the path so far."),
    reference("parent_id", "node", "The node before it; NULL at the start of a history."),
    reference("message_id", "message", "The message at this place.", nullable=False),
    sa.Column("depth", sa.Integer, nullable=False, comment="Position in the history, from 0."),
    comment="A history is a path of nodes; histories that begin alike share them (a tree).",
)

tool_definition = sa.Table(
    "tool_definition",
    metadata,
    id_column(),
    hash_column(),
    sa.Column("name", SafeText, nullable=False, index=True, comment="Function name."),
    sa.Column("description", SafeText, comment="Description given to the model."),
    sa.Column("parameters", JsonText, comment="JSON Schema of the arguments."),
    sa.Column("raw", JsonText, nullable=False, comment="The whole entry of the request's tool list, as sent."),
    sa.Column("n_parameters", sa.Integer, nullable=False, comment="Parameters at the top level."),
    sa.Column("n_required", sa.Integer, nullable=False, comment="Required ones among them."),
    sa.Column("max_depth", sa.Integer, nullable=False, comment="Nesting depth of the schema; 1 is flat."),
    sa.Column("n_enums", sa.Integer, nullable=False, comment="Parameters restricted to a list of values."),
    sa.Column("size", sa.Integer, nullable=False, comment="Characters of its compact JSON."),
    sa.Column(
        "n_tokens",
        sa.Integer,
        nullable=False,
        comment="Tokens that it takes in a prompt, estimated from its bytes (docs/context-budget.md).",
    ),
    comment="Each distinct tool definition once; another version of a tool is another row.",
)

toolset = sa.Table(
    "toolset",
    metadata,
    id_column(),
    hash_column(),
    sa.Column("n_tools", sa.Integer, nullable=False, comment="Number of definitions."),
    sa.Column("tools_key", sa.String(16), nullable=False, comment="Key of the request: tools, or legacy functions."),
    sa.Column("size", sa.Integer, nullable=False, comment="Characters of the compact JSON of all definitions."),
    comment="Each distinct ordered list of tool definitions that an exchange offered.",
)

toolset_item = sa.Table(
    "toolset_item",
    metadata,
    sa.Column("toolset_id", sa.Integer, sa.ForeignKey("toolset.id"), primary_key=True, comment="The toolset."),
    sa.Column("position", sa.Integer, primary_key=True, comment="Place in the list, from 0."),
    reference("tool_definition_id", "tool_definition", "The definition.", nullable=False, index=True),
    comment="Which definitions a toolset holds, in order.",
)
