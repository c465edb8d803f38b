"""All that is known of one tool: its definition and the versions of it, how its arguments are filled, why calls fail.

Totals, days and latencies come from the tallies and are of all calls that are meant. What must be read (arguments,
reasons, what came after a failure) is of the latest calls, and says of how many.
"""

import json
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from tarx_toollog.canonical import InvalidJsonError, Json, parse_json
from tarx_toollog.errors import NothingMatchedError
from tarx_toollog.store.answers.argument_values import ArgumentUse, argument_uses
from tarx_toollog.store.answers.calls import Latest
from tarx_toollog.store.answers.definition_diff import Change, Parameter, changes, parameters
from tarx_toollog.store.answers.tool_failures import Failures, tool_failures
from tarx_toollog.store.answers.tools import (
    is_tallied,
    latency_buckets,
    percentiles,
    period_of,
    tally_values,
    tool_stats,
    tool_totals,
)
from tarx_toollog.store.filters import Filters
from tarx_toollog.store.schema import tool_call, tool_definition, toolset_item
from tarx_toollog.store.tallies import Row, tallied
from tarx_toollog.store.types import among

SAMPLE = 1_000
"""Calls whose arguments are read."""
_SAMPLE_SIZE = 4_000_000  # characters of arguments: some tools write whole files
_VERSIONS = 20
_NO_EXCHANGES = {"n_exchanges": 0}


@dataclass(frozen=True, slots=True)
class Version:
    """One definition of the tool."""

    number: int
    """From 1, in the order in which they were first stored."""
    definition: str
    """Content hash, in hex."""
    description: str
    raw: Json
    """The whole entry of the request's tool list."""
    n_tokens: int
    parameters: Sequence[Parameter]
    changes: Sequence[Change]
    """What is not as in the version before."""
    calls: int
    """Of the latest calls that were read."""
    n_exchanges: int
    """Exchanges that offered it."""
    first_at: datetime | None
    last_at: datetime | None


@dataclass(frozen=True, slots=True)
class ToolDetail:
    """One tool."""

    name: str
    total: Row | None
    """Its row of ``tools.tool_totals``; None: never called in the time that is meant."""
    by_build: Sequence[Row]
    """Its rows of ``v_tool_stats``."""
    days: Sequence[Row]
    """The tally of its calls, by day; empty where tallies do not tell apart what the filters do."""
    latency: Mapping[str, float | None]
    n_versions: int
    versions: Sequence[Version]
    """The latest versions, the latest first."""
    n_read: int
    """Of the latest calls: how many have arguments that were read."""
    arguments: Sequence[ArgumentUse]
    failures: Failures


def tool_detail(engine: sa.Engine, name: str, filters: Filters) -> ToolDetail:
    """Return what is known of a tool.

    Args:
        engine: May only read.
        name: The tool.
        filters: Which calls; its tools do not matter.

    Raises:
        NothingMatchedError: It was never offered, and never called.
    """
    filters = replace(filters, tools=frozenset({name}), limit=None)
    with engine.connect() as connection:
        totals = tool_totals(connection, filters)
        definitions = _definitions(connection, name)
        if not totals and not definitions and not _is_called(connection, name):
            raise NothingMatchedError(f"no tool {name!r}", hint="`toollog tools list` shows their names")
        latest = Latest(connection, filters)
        sample = _sample(connection, latest.keys(SAMPLE))
        read = [value for row in sample if (value := _arguments(row)) is not None]
        return ToolDetail(
            name=name,
            total=totals[0] if totals else None,
            by_build=tool_stats(engine, filters),
            days=_days(connection, filters) if is_tallied(filters) else [],
            latency=percentiles(latency_buckets(connection, filters).get(name, {})),
            n_versions=len(definitions),
            versions=_versions(connection, definitions, Counter(row.tool_definition_id for row in sample)),
            n_read=len(read),
            arguments=argument_uses(read),
            failures=tool_failures(connection, latest),
        )


def _days(connection: sa.Connection, filters: Filters) -> list[Row]:
    where = tally_values(connection, filters)
    return tallied(connection, "calls", ("day",), period=period_of(filters), where=where)


def _is_called(connection: sa.Connection, name: str) -> bool:
    found = connection.scalar(sa.select(tool_call.c.id).where(tool_call.c.name == name).limit(1))
    return found is not None


def _definitions(connection: sa.Connection, name: str) -> Sequence[sa.Row[Any]]:
    query = sa.select(tool_definition).where(tool_definition.c.name == name).order_by(tool_definition.c.id)
    return connection.execute(query).all()


def _versions(connection: sa.Connection, definitions: Sequence[sa.Row[Any]], calls: Mapping[int, int]) -> list[Version]:
    """Return the latest versions, the latest first."""
    first = max(0, len(definitions) - _VERSIONS)
    shown = definitions[first:]
    seen = _offers(connection, [row.id for row in shown])
    never: dict[str, Any] = {"n_exchanges": 0, "first_at": None, "last_at": None}
    found = [
        Version(
            number=number,
            definition=row.hash.hex(),
            description=row.description or "",
            raw=row.raw,
            n_tokens=row.n_tokens,
            parameters=parameters(row.parameters),
            changes=changes(definitions[number - 2].raw, row.raw) if number > 1 else (),
            calls=calls.get(row.id, 0),
            **seen.get(row.id, never),
        )
        for number, row in enumerate(shown, first + 1)
    ]
    return found[::-1]


def _offers(connection: sa.Connection, definition_ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    """Return how many exchanges of live traffic offered each definition, and when."""
    items = connection.execute(
        sa.select(toolset_item.c.toolset_id, toolset_item.c.tool_definition_id)
        .distinct()
        .where(among(toolset_item.c.tool_definition_id, sa.bindparam("ids", type_=sa.Text))),
        {"ids": json.dumps(list(definition_ids))},
    ).all()
    toolsets = {row["toolset_id"]: row for row in tallied(connection, "toolsets", ("toolset_id",))}
    found: dict[int, dict[str, Any]] = {}
    for toolset_id, definition_id in items:
        if (row := toolsets.get(toolset_id)) is None:
            continue
        known = found.setdefault(definition_id, {name: row[name] for name in ("first_at", "last_at")} | _NO_EXCHANGES)
        known["n_exchanges"] += row["n_exchanges"]
        known["first_at"] = min(known["first_at"], row["first_at"])
        known["last_at"] = max(known["last_at"], row["last_at"])
    return found


def _sample(connection: sa.Connection, ids: Collection[int]) -> Sequence[sa.Row[Any]]:
    columns = ("tool_definition_id", "argument_state", "arguments", "arguments_json")
    query = sa.select(*(tool_call.c[name] for name in columns)).where(
        among(tool_call.c.id, sa.bindparam("ids", type_=sa.Text))
    )
    found = connection.execute(query.order_by(tool_call.c.id.desc()), {"ids": json.dumps(list(ids))})
    taken: list[sa.Row[Any]] = []
    size = 0
    for row in found:
        size += len(row.arguments)
        if taken and size > _SAMPLE_SIZE:
            break
        taken.append(row)
    found.close()
    return taken


def _arguments(row: sa.Row[Any]) -> dict[str, Json] | None:
    """Return the arguments of a call as the object that they are or mean; None where they are none."""
    if row.argument_state == "empty":
        return {}
    value = row.arguments_json
    if row.argument_state == "ok":
        try:
            value = parse_json(row.arguments)
        except InvalidJsonError:  # deeper than what is read here
            return None
    return value if isinstance(value, dict) else None
