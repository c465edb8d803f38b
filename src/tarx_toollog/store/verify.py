"""Prove that the store holds what it was given: hash everything again, and make every request anew.

*Theory.* A message, a history, a definition and a list of them are stored under the hash of their content, and a
history's hash covers its whole path. So when every row still hashes to its own key, and every exchange's request can
be read back from these rows with as many messages and tools as it had, then each request is, as JSON, what was on the
wire. That decoding kept the body whole is checked when an exchange comes in; what it could not keep is in ``notes``
(``request_not_exact``), with the raw bytes beside it.

A scenario is stored under the hash of what it asks and expects, and a suite under that of its scenarios with their
weights. What a scenario keeps beside that (the logged answers, the results for a closed loop) has no hash of its own.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import sqlalchemy as sa

from tarx_toollog.canonical import bytes_hash, chain_hash, content_hash
from tarx_toollog.store import maintenance
from tarx_toollog.store.content import raw_message
from tarx_toollog.store.linker import message_hash
from tarx_toollog.store.reader import Reader
from tarx_toollog.store.schema import (
    exchange,
    message,
    node,
    raw_body,
    scenario,
    suite,
    tool_call,
    tool_definition,
    toolset,
    toolset_item,
)
from tarx_toollog.store.suites import redacted_twin, suite_hash
from tarx_toollog.wire.protocols import protocol_named

PAGE = 500  # rows a query: a cursor that stays open would pin the WAL of a live store
MAX_PROBLEMS = 100  # a damaged page breaks hundreds of rows; a hundred lines say it

Progress = Callable[[int], object]
ScenarioHash = Callable[[Mapping[str, Any]], bytes]
"""Returns the content hash of a scenario's definition; what that is, ``replay`` knows."""


@dataclass(slots=True)
class VerifyReport:
    """What was looked at, and what is wrong."""

    checked: dict[str, int] = field(default_factory=dict)
    """Rows by table; ``exchange`` counts the requests that were made anew."""
    not_exact: int = 0
    """Requests that no decoder could take apart without loss; their raw bytes are kept unless that is switched off."""
    n_problems: int = 0
    problems: list[str] = field(default_factory=list)
    """The first ones in words."""

    def add(self, problem: str) -> None:
        """Count a problem."""
        self.n_problems += 1
        if len(self.problems) < MAX_PROBLEMS:
            self.problems.append(problem)


def n_rows(engine: sa.Engine) -> int:
    """Return how many rows ``verify`` is going to look at."""
    with engine.connect() as connection:
        counts = (sa.select(sa.func.count()).select_from(table) for table in (*(each for each, _ in _CHECKS), scenario))
        return sum(connection.execute(query).scalar_one() for query in counts)


def verify(engine: sa.Engine, scenario_hash: ScenarioHash, progress: Progress = lambda _: None) -> VerifyReport:
    """Hash everything again and make every request anew.

    Args:
        engine: The store; nothing is written.
        scenario_hash: Hashes the definition of a scenario.
        progress: Called with the number of rows that were checked since the last call.
    """
    report = VerifyReport()
    for problem in maintenance.damage(engine):
        report.add(problem)
    checks: tuple[tuple[sa.Table, _Check], ...] = (*_CHECKS, (scenario, partial(_scenario, scenario_hash)))
    for table, check in checks:
        report.checked[table.name] = 0
        for size in _pages(engine, table, check, report):
            report.checked[table.name] += size
            progress(size)
    return report


def _pages(engine: sa.Engine, table: sa.Table, check: "_Check", report: VerifyReport) -> Iterator[int]:
    last = 0
    while True:
        with engine.connect() as connection:
            query = sa.select(table.c.id).where(table.c.id > last).order_by(table.c.id).limit(PAGE)
            ids = list(connection.execute(query).scalars())
            for row_id in ids:
                try:
                    row = connection.execute(sa.select(table).where(table.c.id == row_id)).one()
                    problem = check(connection, row, report)
                except Exception as error:  # noqa: BLE001 - a damaged row may break any reader; it is the finding
                    problem = f"cannot be read: {type(error).__name__}: {error}"
                if problem is not None:
                    report.add(f"{table.name} {row_id}: {problem}")
        if not ids:
            return
        last = ids[-1]
        yield len(ids)


_Check = Callable[[sa.Connection, sa.Row[Any], VerifyReport], str | None]


def _message(_connection: sa.Connection, row: sa.Row[Any], _report: VerifyReport) -> str | None:
    return _differs(row.hash, message_hash(raw_message(row)))


def _node(connection: sa.Connection, row: sa.Row[Any], _report: VerifyReport) -> str | None:
    parent, depth = None, 0
    if row.parent_id is not None:
        above = connection.execute(sa.select(node.c.hash, node.c.depth).where(node.c.id == row.parent_id)).one()
        parent, depth = above.hash, above.depth + 1
    if row.depth != depth:
        return "its depth does not follow on its parent's"
    own = connection.execute(sa.select(message.c.hash).where(message.c.id == row.message_id)).scalar_one()
    return _differs(row.hash, chain_hash(parent, own))


def _tool_definition(_connection: sa.Connection, row: sa.Row[Any], _report: VerifyReport) -> str | None:
    return _differs(row.hash, content_hash("tool_definition", row.raw))


def _toolset(connection: sa.Connection, row: sa.Row[Any], _report: VerifyReport) -> str | None:
    query = (
        sa.select(tool_definition.c.raw)
        .join(toolset_item, toolset_item.c.tool_definition_id == tool_definition.c.id)
        .where(toolset_item.c.toolset_id == row.id)
        .order_by(toolset_item.c.position)
    )
    definitions = list(connection.execute(query).scalars())
    return _differs(row.hash, content_hash("toolset", [row.tools_key, definitions]))


def _raw_body(_connection: sa.Connection, row: sa.Row[Any], _report: VerifyReport) -> str | None:
    return _differs(row.hash, bytes_hash("raw_body", row.data))


def _exchange(connection: sa.Connection, row: sa.Row[Any], report: VerifyReport) -> str | None:
    report.not_exact += "request_not_exact" in (row.notes or ())
    found = Reader(connection).exchange_by_id(row.id)
    if found.request is not None:
        counts = (len(found.request.messages), len(found.request.tools))
        if counts != (row.n_messages, row.n_tools):
            return f"its request has {counts[0]} messages and {counts[1]} tools, not {row.n_messages} and {row.n_tools}"
        protocol_named(row.protocol).request_body(found.request)
    if found.response is not None:
        query = sa.select(sa.func.count()).where(tool_call.c.exchange_id == row.id, tool_call.c.origin != "leaked_text")
        n_calls = connection.execute(query).scalar_one()
        if n_calls != row.n_tool_calls:
            return f"it has {n_calls} rows in tool_call, not {row.n_tool_calls}"
    return None


def _suite(connection: sa.Connection, row: sa.Row[Any], _report: VerifyReport) -> str | None:
    columns = (scenario.c.hash, scenario.c.weight, scenario.c.stratum, scenario.c.cluster, scenario.c.n_steps)
    found = connection.execute(sa.select(*columns).where(scenario.c.tag == row.name)).all()
    counts = len(found), sum(each.n_steps for each in found)
    if counts != (row.n_scenarios, row.n_steps):
        return f"it has {counts[0]} scenarios of {counts[1]} steps, not {row.n_scenarios} of {row.n_steps}"
    return None if row.hash == suite_hash(found) else "its scenarios are not those that its hash says"


def _scenario(
    scenario_hash: ScenarioHash, _connection: sa.Connection, row: sa.Row[Any], _report: VerifyReport
) -> str | None:
    digest = scenario_hash(row.definition)
    # Redaction may have made two scenarios of a suite equal; the second one keeps a hash of its own.
    return None if row.hash == redacted_twin(digest, row.uid) else _differs(row.hash, digest)


def _differs(stored: bytes, computed: bytes) -> str | None:
    return None if stored == computed else "its content is not what its hash says"


_CHECKS: tuple[tuple[sa.Table, _Check], ...] = (
    (message, _message),
    (node, _node),
    (tool_definition, _tool_definition),
    (toolset, _toolset),
    (raw_body, _raw_body),
    (exchange, _exchange),
    (suite, _suite),
)
