"""Which columns of the store may hold what redaction takes out, and what the rules make of one row. No writing.

Every text and JSON column was decided on. Searched is what a person, a model, a tool or a server wrote. Left alone are
ids, names of tools, models, runs and tags, hints of conversations, host names and who labelled: they link and count.
``message``, ``tool_definition`` and ``raw_body`` are content-addressed: changing one makes another row of it, which is
the business of ``redact``.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import sqlalchemy as sa

from tarx_toollog.redaction import Found, Redactor
from tarx_toollog.redaction.engine import where
from tarx_toollog.redaction.exchanges import (
    is_structural_of_message,
    is_structural_of_params,
    is_structural_of_tool,
)
from tarx_toollog.redaction.jsontree import Path
from tarx_toollog.store.content import raw_message
from tarx_toollog.store.schema import (
    choice,
    exchange,
    gap,
    label,
    message,
    raw_body,
    run,
    scenario,
    score,
    suite,
    tool_call,
    tool_definition,
    tool_execution,
    trial,
)

_Structural = Callable[[Path], bool]


class Hit(NamedTuple):
    """One value found in a row."""

    path: str
    found: Found


class Outcome(NamedTuple):
    """What the rules make of a row: the columns that change, and what was found."""

    values: dict[str, Any]
    hits: list[Hit]


@dataclass(frozen=True, slots=True)
class Column:
    """A column to search."""

    name: str
    kind: Literal["text", "json"]
    shown: str = ""
    """What paths of marks call it; its own name when left out."""
    is_structural: _Structural = lambda path: False


@dataclass(frozen=True, slots=True)
class Source:
    """A table with columns that are searched and changed in their place."""

    table: sa.Table
    columns: tuple[Column, ...]
    exchange_column: str | None = None
    """The column that says to which exchange a row belongs, if any."""

    def outcome(self, row: sa.Row[Any], redactor: Redactor) -> Outcome:
        """Return what the rules make of a row."""
        values: dict[str, Any] = {}
        hits: list[Hit] = []
        for column in self.columns:
            old = getattr(row, column.name)
            if old is None:
                continue
            new, found = _redacted(old, column, redactor)
            if found:
                values[column.name] = new
                path = f"{self._prefix(row)}{column.shown or column.name}"
                hits += [Hit(where(place, path), one) for place, one in found]
        return Outcome(values, hits)

    def _prefix(self, row: sa.Row[Any]) -> str:
        if self.table is exchange:
            return ""
        if self.table is choice:
            return f"choices[{row.choice}]."
        if self.table is tool_call:
            return f"tool_calls[{row.ordinal}]."
        return f"{self.table.name}[{row.id}]."


def _is_structural_of_scenario(path: Path) -> bool:
    if path[0] == "messages" and len(path) > 2:
        return is_structural_of_message(path[2:])
    if path[0] == "toolsets" and len(path) > 3:
        return is_structural_of_tool(path[3:])
    if path[0] == "source" or path[-1] in ("exchange_uid", "tier", "model", "finish_reason"):
        return True
    if path[0] == "steps" and len(path) > 4 and path[2:4] == ("recorded", "message"):
        return is_structural_of_message(path[4:])
    if path[0] == "variant" or (path[0] == "recording" and path[-1] == "name" and len(path) == 3):
        return True
    expected = path[3:] if path[2:3] == ("expected",) else path[4:] if path[2:3] == ("alternatives",) else ()
    return len(expected) == 3 and expected[0] == "calls" and expected[2] == "name"


SOURCES = (
    Source(
        exchange,
        (
            Column("params", "json", is_structural=is_structural_of_params),
            Column("error_type", "text"),
            Column("error_text", "text"),
            Column("finish_reason", "text"),
            Column("finish_reason_raw", "text"),
            Column("error_body", "json", "error"),
            Column("response_extra", "json", "response"),
            Column("notes", "json"),
            Column("client_origin", "text"),
            Column("user_agent", "text"),
            Column("upstream", "text"),
            Column("route", "text"),
        ),
        "id",
    ),
    Source(choice, (Column("finish_reason", "text"), Column("finish_reason_raw", "text")), "exchange_id"),
    Source(
        tool_call,
        (Column("arguments", "text"), Column("arguments_json", "json"), Column("schema_errors", "json")),
        "exchange_id",
    ),
    Source(tool_execution, (Column("error_type", "text"), Column("error_text", "text"))),
    Source(suite, (Column("made", "json"),)),
    Source(scenario, (Column("definition", "json", is_structural=_is_structural_of_scenario),)),
    Source(run, (Column("params", "json"), Column("server", "json"), Column("endpoint", "text"))),
    Source(trial, (Column("error", "text"),), "exchange_id"),
    Source(score, (Column("detail", "json"),)),
    Source(label, (Column("value_text", "text"), Column("comment", "text"), Column("correction", "json"))),
    Source(gap, (Column("detail", "text"),)),
)

CONTENT = (message, tool_definition, raw_body)


def content_hits(table: sa.Table, row: sa.Row[Any], redactor: Redactor) -> list[Hit]:
    """Return what the rules find in a content-addressed row."""
    if table is raw_body:
        return [Hit(f"raw_body[{row.id}]", found) for found in redactor.body_found(row.data)[1]]
    if table is message:
        _, founds = redactor.tree(raw_message(row), is_structural_of_message)
    else:
        _, founds = redactor.tree(row.raw, is_structural_of_tool)
    return [Hit(where(path, f"{table.name}[{row.id}]"), found) for path, found in founds]


def _redacted(value: Any, column: Column, redactor: Redactor) -> tuple[Any, list[tuple[Path, Found]]]:
    if column.kind == "text":
        text, found = redactor.text(value)
        return text, [((), one) for one in found]
    new, founds = redactor.tree(value, column.is_structural)
    return new, [(path, found) for path, found in founds]
