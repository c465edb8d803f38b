"""Reading and writing ``work_unit``: what a run has still to ask, and which process asks it.

*Theory.* Several processes, also of several hosts, may work on one run. A unit is in one of these states:

* free: it has no worker;
* claimed: it has a worker and a lease, which the worker renews while it lives. When the lease ends the worker must be
  dead, and the unit is free;
* asked in vain: it has a worker and no lease. The infrastructure failed; nobody asks it again before ``retry``;
* done: the row is gone. It goes in the transaction that records the trial (``Replays.record``), so a kill at any
  moment leaves the unit or the trial, never both and never none.

PostgreSQL hands out units with ``SKIP LOCKED``; on SQLite the write lock of the transaction does the same. A lease that
ends too early (a laptop that slept, two clocks that differ) makes a step be asked twice, and counted once. Every
public method is one transaction.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import sqlalchemy as sa

from tarx_toollog.store.schema import trial, work_unit
from tarx_toollog.store.tables import LogTables, insert

LEASE = timedelta(minutes=2)
"""Longer than a process can be busy without renewing it, and short enough to wait for."""

WHOLE_TURN = 0
"""``step_no`` of a unit that is a whole turn, in a closed loop."""

_PAGE = 500  # ids a statement: well below SQLite's limit of bound parameters


class UnitKey(NamedTuple):
    """What a unit asks."""

    scenario_id: int
    step_no: int
    """``WHOLE_TURN`` in a closed loop."""
    attempt: int


@dataclass(frozen=True, slots=True)
class Unit:
    """A claimed unit."""

    id: int
    key: UnitKey


class WorkUnits(LogTables):
    """The units of the runs of one log."""

    def plan(self, run_id: int, keys: Sequence[UnitKey], *, closed_loop: bool = False) -> None:
        """Make the units of a run that are neither there nor done.

        Args:
            run_id: The run.
            keys: All units of the run, in its order.
            closed_loop: Whether one unit makes several trials.
        """
        with self._write() as connection:
            step_no = sa.literal(WHOLE_TURN) if closed_loop else trial.c.step_no
            answered = sa.select(trial.c.scenario_id, step_no, trial.c.attempt).where(
                trial.c.run_id == run_id, trial.c.status != "infra_error"
            )
            done = {UnitKey(*row) for row in connection.execute(answered)}
            rows = [
                {"run_id": run_id, "position": position, **key._asdict()}
                for position, key in enumerate(keys, start=1)
                if key not in done
            ]
            if rows:
                connection.execute(insert(connection, work_unit).on_conflict_do_nothing(), rows)

    def claim(self, run_id: int, worker: str, *, whole_scenario: bool = False) -> list[Unit]:
        """Take the next free unit; none when there is none.

        Args:
            run_id: The run.
            worker: Who takes it.
            whole_scenario: Take the other free units of the same scenario and attempt, too: their prompts share a
                beginning, which a server that keeps it need not read again.
        """
        now = datetime.now(UTC)
        free = (
            sa.select(work_unit)
            .where(work_unit.c.run_id == run_id, _is_free(now))
            .order_by(work_unit.c.position)
            .with_for_update(skip_locked=True)
        )
        with self._write() as connection:
            first = connection.execute(free.limit(1)).first()
            if first is None:
                return []
            rows = [first]
            if whole_scenario:
                same = free.where(
                    work_unit.c.scenario_id == first.scenario_id,
                    work_unit.c.attempt == first.attempt,
                    work_unit.c.id != first.id,
                )
                rows += connection.execute(same).all()
            ids = [row.id for row in rows]
            connection.execute(_update(ids).values(worker=worker, leased_until=now + LEASE))
        return [Unit(row.id, UnitKey(row.scenario_id, row.step_no, row.attempt)) for row in rows]

    def renew(self, run_id: int, worker: str) -> None:
        """Renew the leases of a worker."""
        with self._write() as connection:
            connection.execute(_of(run_id, [worker]).values(leased_until=datetime.now(UTC) + LEASE))

    def release(self, run_id: int, workers: Collection[str]) -> None:
        """Free what workers have claimed and will not ask: they end, or are dead."""
        with self._write() as connection:
            connection.execute(_of(run_id, workers).values(worker=None, leased_until=None))

    def free(self, unit_ids: Iterable[int]) -> None:
        """Free units, also such as were asked in vain."""
        ids = list(unit_ids)
        with self._write() as connection:
            for start in range(0, len(ids), _PAGE):
                connection.execute(_update(ids[start : start + _PAGE]).values(worker=None, leased_until=None))

    def retry(self, run_id: int) -> None:
        """Free the units that were asked in vain."""
        vain = sa.and_(work_unit.c.run_id == run_id, work_unit.c.leased_until.is_(None))
        with self._write() as connection:
            connection.execute(sa.update(work_unit).where(vain).values(worker=None))

    def workers(self, run_id: int) -> list[str]:
        """Return the workers whose leases run."""
        query = (
            sa.select(work_unit.c.worker)
            .where(work_unit.c.run_id == run_id, work_unit.c.leased_until >= datetime.now(UTC))
            .distinct()
            .order_by(work_unit.c.worker)
        )
        with self._read() as connection:
            return [str(worker) for worker in connection.scalars(query)]


def lock_unit(connection: sa.Connection, run_id: int, key: UnitKey) -> None:
    """Let nobody else record a unit until this transaction ends. Needed on PostgreSQL; SQLite has one writer anyway."""
    connection.execute(sa.select(work_unit.c.id).where(*_is(run_id, key)).with_for_update())


def delete_unit(connection: sa.Connection, run_id: int, key: UnitKey) -> None:
    """Take away a unit that is done."""
    connection.execute(sa.delete(work_unit).where(*_is(run_id, key)))


def give_up_unit(connection: sa.Connection, run_id: int, key: UnitKey) -> None:
    """Note that a unit was asked in vain."""
    connection.execute(sa.update(work_unit).where(*_is(run_id, key)).values(leased_until=None))


def _is(run_id: int, key: UnitKey) -> tuple[sa.ColumnElement[bool], ...]:
    same = (getattr(work_unit.c, name) == value for name, value in key._asdict().items())
    return (work_unit.c.run_id == run_id, *same)


def _is_free(now: datetime) -> sa.ColumnElement[bool]:
    return sa.or_(work_unit.c.worker.is_(None), work_unit.c.leased_until < now)


def _of(run_id: int, workers: Collection[str]) -> sa.Update:
    return sa.update(work_unit).where(
        work_unit.c.run_id == run_id, work_unit.c.worker.in_(workers), work_unit.c.leased_until.is_not(None)
    )


def _update(ids: Sequence[int]) -> sa.Update:
    return sa.update(work_unit).where(work_unit.c.id.in_(ids))
