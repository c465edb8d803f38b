"""What the tests of retention share: a store that is open for care, what a log says, and what its files hold."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tarx_toollog.config import Settings
from tarx_toollog.replay.scenario import Scenario
from tarx_toollog.store import schema
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.retention.place import Place, opened
from tarx_toollog.store.tallies import tallied
from tarx_toollog.store.verify import verify
from tarx_toollog.store.views import VIEWS
from tests.support.analyst_log import START

__all__ = ["START", "Heard", "bytes_of", "care", "columns", "problems", "said"]


class Heard:
    """Hears how far the work is; may interrupt it."""

    def __init__(self, stop_at: str = "", after: int = 1) -> None:
        self.labels: list[str] = []
        self._stop_at, self._left = stop_at, after

    def begin(self, label: str, total: int | None = None) -> None:
        self.labels.append(label)

    def advance(self, count: int = 1) -> None:
        if self.labels and self.labels[-1] == self._stop_at:
            self._left -= 1
            if not self._left:
                raise KeyboardInterrupt


@contextmanager
def care(database: str | Path) -> Iterator[Place]:
    with opened(Settings(database=str(database))) as place:
        yield place


def scenario_hash(definition: Mapping[str, Any]) -> bytes:
    return Scenario.from_json(definition).content_hash


def problems(place: Place) -> list[str]:
    """Return what ``db verify`` objects to, and references that no foreign key guards."""
    found = verify(place.reader, scenario_hash).problems
    m, e = schema.message.c, schema.exchange.c
    with place.reader.connect() as connection:
        is_there = sa.select(sa.literal(1)).where(e.id == m.first_exchange_id).exists()
        lost = sa.select(m.id).where(m.first_exchange_id.is_not(None), ~is_there)
        found += [f"message {key} was brought by nobody" for key in connection.scalars(lost)]
        helpers = [
            index["name"]
            for table in sa.inspect(connection).get_table_names()
            for index in sa.inspect(connection).get_indexes(table)
            if str(index["name"]).startswith("retention")
        ]
    return found + [f"{name} is left" for name in helpers]


def columns(place: Place, *wanted: sa.Column[Any]) -> list[Any]:
    """Return the values of columns of one table, in order."""
    with place.reader.connect() as connection:
        return sorted(tuple(row) for row in connection.execute(sa.select(*wanted)))


def said(database: str | Path, exchanges: Collection[str] | None = None) -> dict[str, Any]:
    """Return what a log holds, without keys and what depends on what came before: of these exchanges, or of all."""
    e, c, r, m = schema.exchange.c, schema.tool_call.c, schema.tool_result.c, schema.message.c
    with ToolLog.open(database) as log, log.engine.connect() as connection:

        def read(query: sa.Select[Any]) -> list[str]:
            rows = connection.execute(query)
            return sorted(repr(tuple(row)) for row in rows if exchanges is None or row.uid in exchanges)

        brought = schema.exchange.alias("brought")
        found: dict[str, Any] = {
            "exchange": read(sa.select(e.uid, e.turn_no, e.step_no, e.outcome, e.input_sem, e.output_sem, e.n_tools)),
            "request": {
                uid: repr((item.request, item.response))
                for uid in connection.scalars(sa.select(e.uid))
                if exchanges is None or uid in exchanges
                for item in [log.exchange(uid)]
            },
            "call": read(
                sa.select(e.uid, c.name, c.arguments, c.turn_no, c.argument_state).join_from(
                    schema.tool_call, schema.exchange, c.exchange_id == e.id
                )
            ),
            "result": read(
                sa.select(e.uid, r.position, r.match_how, r.is_error, r.latency_ms).join_from(
                    schema.tool_result, schema.exchange, r.exchange_id == e.id
                )
            ),
            "trajectory": sorted(
                repr(
                    [
                        (one.exchange_uid, one.messages, [call.arguments for call in one.tool_calls])
                        for one in each.steps
                    ]
                )
                for each in log.trajectories()
                if exchanges is None or each.steps[0].exchange_uid in exchanges
            ),
        }
        if exchanges is None:
            found["message"] = sorted(
                repr(tuple(row))
                for row in connection.execute(
                    sa.select(m.hash, m.role, m.content, m.extra, brought.c.uid).join_from(
                        schema.message, brought, m.first_exchange_id == brought.c.id, isouter=True
                    )
                )
            )
            for table in (schema.node, schema.toolset, schema.tool_definition):
                found[table.name] = sorted(connection.scalars(sa.select(table.c.hash)))
            found["views"] = {
                view.name: connection.exec_driver_sql(f"SELECT COUNT(*) FROM {view.name}").scalar() for view in VIEWS
            }
            found["tallies"] = [
                tallied(connection, "calls", ("tool", "step_no")),
                tallied(connection, "turns", ("status",)),
            ]
        return found


def bytes_of(folder: Path) -> bytes:
    """Return all bytes of all files below a folder."""
    return b"\0".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())
