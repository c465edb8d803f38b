"""The tables. ``docs/schema.md`` is generated from this file: each comment is a sentence for an analyst.

Five kinds of tables:

* *shared*, immutable and content-addressed: ``message``, ``node``, ``tool_definition``, ``toolset``,
  ``raw_body``.
  A history of n messages that is sent n times is stored once.
* *facts*: ``conversation``, ``exchange``, ``choice``, ``tool_call``, ``tool_result``, ``tool_execution``, ``turn``,
  ``model_build``, ``chat_template``.
* *what is made of them*: ``suite``, ``scenario``, ``run``, ``work_unit``, ``trial``, ``score``, ``dataset_build``,
  ``dataset_example``.
* *tallies*, derived: ``call_tally``, ``exchange_tally``, ``turn_tally``, ``latency_tally``, ``toolset_tally``,
  ``tally_change``.
* *people and housekeeping*: ``label``, ``redaction``, ``gap``, ``writer``, ``store_meta``.

Integer keys stay inside one file; a ``uid`` (UUIDv7) is what exports and other programs may refer to.
"""

from tarx_toollog.store.schema.builds import BUILD_NAME, chat_template, model_build
from tarx_toollog.store.schema.columns import metadata
from tarx_toollog.store.schema.datasets import dataset_build, dataset_example
from tarx_toollog.store.schema.facts import (
    OUTCOMES,
    call_uid,
    choice,
    conversation,
    exchange,
    tool_call,
    tool_execution,
    tool_result,
    turn,
    writer,
)
from tarx_toollog.store.schema.people import gap, label, redaction, store_meta
from tarx_toollog.store.schema.replays import run, scenario, score, suite, trial, work_unit
from tarx_toollog.store.schema.search import SEARCH, SEARCH_TABLE
from tarx_toollog.store.schema.shared import message, node, raw_body, tool_definition, toolset, toolset_item
from tarx_toollog.store.schema.tallies import (
    TALLIES,
    call_tally,
    exchange_tally,
    latency_tally,
    tally_change,
    toolset_tally,
    turn_tally,
)
from tarx_toollog.store.schema.triggers import create_triggers, drop_triggers

SCHEMA_REVISION = "0005"
"""The Alembic revision that this code writes. A test holds it against the newest file in ``migrations/``."""

__all__ = [
    "BUILD_NAME",
    "OUTCOMES",
    "SCHEMA_REVISION",
    "SEARCH",
    "SEARCH_TABLE",
    "TALLIES",
    "call_tally",
    "call_uid",
    "chat_template",
    "choice",
    "conversation",
    "create_triggers",
    "dataset_build",
    "dataset_example",
    "drop_triggers",
    "exchange",
    "exchange_tally",
    "gap",
    "label",
    "latency_tally",
    "message",
    "metadata",
    "model_build",
    "node",
    "raw_body",
    "redaction",
    "run",
    "scenario",
    "score",
    "store_meta",
    "suite",
    "tally_change",
    "tool_call",
    "tool_definition",
    "tool_execution",
    "tool_result",
    "toolset",
    "toolset_item",
    "toolset_tally",
    "trial",
    "turn",
    "turn_tally",
    "work_unit",
    "writer",
]
