"""What the ready queries answer on ``analyst_log``, on any database (``ready_answers.json``), and how to ask them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from tarx_toollog.store.answers.ready import ReadyQuery
from tarx_toollog.store.log import ToolLog

Answer = dict[str, list[Any]]
"""``columns``, and ``rows`` of plain values."""

ANSWERS: dict[str, Answer] = json.loads(Path(__file__).with_suffix(".json").read_text("utf-8"))
"""By the name of the query."""
GIVEN: Mapping[str, dict[str, str]] = {"one_request": {"exchange": "00000000-0000-7000-8000-000001000000"}}
"""Parameters without a default."""


def answer(log: ToolLog, query: ReadyQuery, **given: str) -> Answer:
    """Ask one query."""
    return ask(log, query.filled(GIVEN.get(query.name, {}) | given, log.engine.dialect.name))


def ask(log: ToolLog, sql: str) -> Answer:
    """Ask a SELECT of any database."""
    with log.engine.connect() as connection:
        result = connection.exec_driver_sql(sql)
        return plain(list(result.keys()), result.all())


def plain(columns: Sequence[str], rows: Iterable[Iterable[Any]]) -> Answer:
    """Return an answer in which the same values are the same, whatever database gave them."""
    return {"columns": list(columns), "rows": [[_plain(value) for value in row] for row in rows]}


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        utc = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
        return utc.strftime("%Y-%m-%d %H:%M:%S.%f")
    if isinstance(value, Decimal | float):
        return int(value) if value == int(value) else float(value)
    return int(value) if isinstance(value, bool) else value
