"""Reading which answers of replay runs somebody accepted, as they are or by rules, and who asked the same.

The same scenario may be in several suites: what it asks is the same when its content hash is.
"""

from typing import Any, NamedTuple

import sqlalchemy as sa

from tarx_toollog.canonical import Json
from tarx_toollog.errors import NothingMatchedError
from tarx_toollog.store.labels import ALSO_RIGHT
from tarx_toollog.store.schema import exchange, label, run, scenario, trial
from tarx_toollog.store.tables import LogTables

_HINT = "`toollog replay show RUN` lists the answers of a run with their exchanges"


class AskedTrial(NamedTuple):
    """A trial that has an answer, and what it answered."""

    trial_id: int
    run_id: int
    run: str
    """Name of the run."""
    mode: str
    scenario_id: int
    scenario_hash: bytes
    step_no: int
    exchange_uid: str


class AcceptedLabel(NamedTuple):
    """What somebody accepted."""

    asked: AskedTrial
    """The answer that it was said of."""
    scenario_id: int
    """Key that a suite has for the scenario."""
    correction: Json
    """Rules for arguments; None: the answer itself is right."""


class Accepted(LogTables):
    """The accepted answers of one log."""

    def trial_of(self, exchange_uid: str) -> AskedTrial:
        """Return the trial that an exchange answered.

        Raises:
            NothingMatchedError: It is no answer of a run.
        """
        with self._read() as connection:
            row = connection.execute(_ASKED.where(exchange.c.uid == exchange_uid)).first()
        if row is None:
            raise NothingMatchedError(f"exchange {exchange_uid!r} is no answer of a replay run", hint=_HINT)
        return AskedTrial(*row)

    def answer_of(self, run_name: str, scenario_uid: str, step_no: int, attempt: int = 1) -> str:
        """Return the uid of the exchange that a run made for a step.

        Raises:
            NothingMatchedError: There is none.
        """
        meant = (
            run.c.name == run_name,
            scenario.c.uid.startswith(scenario_uid, autoescape=True),
            trial.c.step_no == step_no,
            trial.c.attempt == attempt,
        )
        with self._read() as connection:
            rows = connection.execute(_ASKED.where(*meant).limit(2)).all()
        if len(rows) != 1:
            many = "more than one answer" if rows else "no answer"
            raise NothingMatchedError(
                f"{many} of run {run_name!r} to step {step_no} of scenario {scenario_uid!r}", hint=_HINT
            )
        return AskedTrial(*rows[0]).exchange_uid

    def answers(self, tag: str) -> list[AcceptedLabel]:
        """Return what was accepted of answers to what a suite asks, in the order in which it was said."""
        own = scenario.alias("own")
        query = (
            _ASKED.add_columns(own.c.id.label("own_id"), label.c.correction)
            .join(label, label.c.target_uid == exchange.c.uid)
            .join(own, own.c.hash == scenario.c.hash)
            .where(
                label.c.name == ALSO_RIGHT,
                label.c.target_type == "exchange",
                label.c.superseded_by_id.is_(None),
                label.c.value_num > 0,
                own.c.tag == tag,
            )
            .order_by(label.c.id)
        )
        with self._read() as connection:
            return [AcceptedLabel(AskedTrial(*row[:-2]), *row[-2:]) for row in connection.execute(query)]

    def asked_by(self, scenario_hash: bytes) -> list[tuple[str, int]]:
        """Return the runs that have an answer to a scenario, with the key that it has for them; oldest first."""
        query = (
            sa.select(run.c.name, trial.c.scenario_id, run.c.id)
            .join(trial, trial.c.run_id == run.c.id)
            .join(scenario, scenario.c.id == trial.c.scenario_id)
            .where(scenario.c.hash == scenario_hash)
            .distinct()
            .order_by(run.c.id)
        )
        with self._read() as connection:
            return [(row.name, row.scenario_id) for row in connection.execute(query)]


_ASKED: sa.Select[Any] = (
    sa.select(
        trial.c.id,
        trial.c.run_id,
        run.c.name,
        run.c.mode,
        trial.c.scenario_id,
        scenario.c.hash,
        trial.c.step_no,
        exchange.c.uid,
    )
    .select_from(trial)
    .join(exchange, exchange.c.id == trial.c.exchange_id)
    .join(run, run.c.id == trial.c.run_id)
    .join(scenario, scenario.c.id == trial.c.scenario_id)
)
