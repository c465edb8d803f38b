"""The tables. ``docs/schema.md`` is generated from this file: each comment is a sentence for an analyst.

Three kinds of tables:

* *shared*, immutable and content-addressed: ``message``, ``node``, ``tool_definition``, ``toolset``,
  ``raw_body``.
  A history of n messages that is sent n times is stored once.
* *facts*: ``conversation``, ``exchange``, ``choice``, ``tool_call``, ``tool_result``, ``turn``.
* *people and housekeeping*: ``label``, ``scenario``, ``run``, ``trial``, ``score``, ``gap``, ``writer``,
  ``store_meta``.

Integer keys stay inside one file; a ``uid`` (UUIDv7) is what exports and other programs may refer to.
"""

from tarx_toollog.store.schema.columns import metadata
from tarx_toollog.store.schema.facts import (
    OUTCOMES,
    choice,
    conversation,
    exchange,
    tool_call,
    tool_result,
    turn,
    writer,
)
from tarx_toollog.store.schema.people import gap, label, store_meta
from tarx_toollog.store.schema.replays import run, scenario, score, trial
from tarx_toollog.store.schema.shared import message, node, raw_body, tool_definition, toolset, toolset_item

SCHEMA_REVISION = "0001"
"""The Alembic revision that this code writes. A test holds it against the newest file in ``migrations/``."""

__all__ = [
    "OUTCOMES",
    "SCHEMA_REVISION",
    "choice",
    "conversation",
    "exchange",
    "gap",
    "label",
    "message",
    "metadata",
    "node",
    "raw_body",
    "run",
    "scenario",
    "score",
    "store_meta",
    "tool_call",
    "tool_definition",
    "tool_result",
    "toolset",
    "toolset_item",
    "trial",
    "turn",
    "writer",
]
