"""Reading and writing ``scenario``, ``run``, ``trial`` and ``score``, and the answers behind trials.

What a scenario means, and what a score is, is the business of ``replay``; here a definition is JSON and a score
a number with a detail. Every public method is one transaction.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from tarx_toollog.errors import ConfigError, NothingMatchedError
from tarx_toollog.ids import uuid7
from tarx_toollog.model import LoggedCall
from tarx_toollog.store.builds import write_build
from tarx_toollog.store.schema import call_uid, exchange, message, node, run, scenario, score, tool_call, trial
from tarx_toollog.store.tables import LogTables
from tarx_toollog.wire.model_facts import ModelFacts

RunStatus = Literal["running", "finished", "aborted"]
TrialStatus = Literal["ok", "model_error", "infra_error"]
Row = dict[str, Any]

TEACHER_FORCED = "teacher_forced"
UNTIL = "until"
"""Parameter of a run that ends as soon as it is clear whether so many chains are right."""
AGAIN = "again"
"""Parameter of a run that asked another one again: the name of that."""
_PAGE = 500  # ids a query: well below SQLite's limit of bound parameters


@dataclass(frozen=True, slots=True)
class NewScenario:
    """A scenario to store."""

    hash: bytes
    conversation_uid: str
    turn_no: int
    signature: str
    n_steps: int
    tier: str
    definition: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ScenarioRow:
    """A stored scenario."""

    id: int
    uid: str
    tag: str
    signature: str
    tier: str
    definition: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class RunRow:
    """A stored run."""

    id: int
    uid: str
    name: str
    tag: str
    model: str
    endpoint: str
    mode: str
    params: Mapping[str, Any]
    server: Mapping[str, Any] | None
    status: RunStatus
    started_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Answer:
    """What a model answered to one step, as far as it came: the input of every scorer."""

    calls: tuple[LoggedCall, ...] = ()
    text: str | None = None
    """The content of the answer; JSON text when it came in parts."""
    outcome: str = "completed"
    finish_reason: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class NewTrial:
    """A trial to record. ``exchange_id`` is None when nothing answered."""

    scenario_id: int
    step_no: int
    status: TrialStatus
    exchange_id: int | None = None
    error: str | None = None
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class TrialRow:
    """A stored trial with its answer and the scores that it has."""

    id: int
    scenario_id: int
    step_no: int
    attempt: int
    status: TrialStatus
    error: str | None
    answer: Answer | None
    """None when nothing answered."""
    exchange_uid: str | None = None
    scores: Mapping[str, "ScoreRow"] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ScoreRow:
    """What a scorer gave a trial; ``value`` is None when it does not apply."""

    value: float | None
    detail: Mapping[str, Any]


class Replays(LogTables):
    """The replay tables of one log."""

    # ---- scenarios --------------------------------------------------------------------------------------------------

    def add_scenarios(self, tag: str, scenarios: Sequence[NewScenario]) -> list[int]:
        """Store scenarios under ``tag``; return the positions of those that were not there yet."""
        added = []
        with self._write() as connection:
            for position, new in enumerate(scenarios):
                values = {
                    "uid": uuid7(),
                    "tag": tag,
                    "hash": new.hash,
                    "conversation_uid": new.conversation_uid,
                    "turn_no": new.turn_no,
                    "signature": new.signature,
                    "n_steps": new.n_steps,
                    "tier": new.tier,
                    "definition": dict(new.definition),
                    "created_at": datetime.now(UTC),
                }
                statement = _insert(connection, scenario).on_conflict_do_nothing().values(**values)
                if connection.execute(statement.returning(scenario.c.id)).scalar() is not None:
                    added.append(position)
        return added

    def scenarios(self, tag: str, *, until: datetime | None = None, limit: int | None = None) -> list[ScenarioRow]:
        """Return the scenarios of ``tag`` that existed at ``until``, in the order of their content hashes.

        That order is as good as random and always the same: a run that stops early has seen a random sample,
        and two models with the same limit see the same scenarios.

        Raises:
            NothingMatchedError: The tag has none.
        """
        columns = (getattr(scenario.c, name) for name in ScenarioRow.__slots__)
        query = sa.select(*columns).where(scenario.c.tag == tag).order_by(scenario.c.hash).limit(limit)
        if until is not None:
            query = query.where(scenario.c.created_at <= until)
        with self._read() as connection:
            rows = [ScenarioRow(*row) for row in connection.execute(query)]
        if not rows:
            raise NothingMatchedError(
                f"no scenarios under the tag {tag!r}", hint="`toollog replay list` shows the tags"
            )
        return rows

    def tags(self) -> list[Row]:
        """Return the tags with their numbers of scenarios and steps, newest first."""
        newest = sa.func.max(scenario.c.created_at).label("newest_at")
        query = (
            sa.select(
                scenario.c.tag,
                sa.func.count().label("scenarios"),
                sa.func.sum(scenario.c.n_steps).label("steps"),
                sa.type_coerce(newest, scenario.c.created_at.type).label("newest_at"),
            )
            .group_by(scenario.c.tag)
            .order_by(sa.desc("newest_at"))
        )
        with self._read() as connection:
            return [row._asdict() for row in connection.execute(query)]

    # ---- runs -------------------------------------------------------------------------------------------------------

    def start_run(
        self,
        *,
        name: str,
        tag: str,
        model: str,
        endpoint: str,
        params: Mapping[str, Any],
        server: Mapping[str, Any] | None,
        facts: ModelFacts | None = None,
    ) -> RunRow:
        """Make the row of a new run; ``facts`` are those of the build that answers it.

        Raises:
            ConfigError: The name is taken.
        """
        values: Row = {
            "uid": uuid7(),
            "name": name,
            "tag": tag,
            "model": model,
            "endpoint": endpoint,
            "mode": TEACHER_FORCED,
            "params": dict(params),
            "server": None if server is None else dict(server),
            "status": "running",
            "started_at": datetime.now(UTC),
        }
        with self._write() as connection:
            if facts is not None:
                values["model_build_id"] = write_build(connection, facts, endpoint, datetime.now(UTC))
            statement = _insert(connection, run).on_conflict_do_nothing().values(**values).returning(run.c.id)
            if connection.execute(statement).scalar() is None:
                raise ConfigError(
                    f"there is a run called {name!r} already",
                    hint=f"another --name, or --resume {name} to go on with it",
                )
        return self.run(name)

    def run(self, name: str) -> RunRow:
        """Return the run called ``name``.

        Raises:
            NothingMatchedError: There is none.
        """
        found = self._runs(run.c.name == name)
        if not found:
            raise NothingMatchedError(f"no run called {name!r}", hint="`toollog replay list` shows the runs")
        return found[0]

    def runs(self) -> list[RunRow]:
        """Return all runs, newest first."""
        return self._runs(sa.true())

    def set_status(self, run_id: int, status: RunStatus) -> None:
        """Say how a run stands; every status but ``running`` ends it."""
        ended = None if status == "running" else datetime.now(UTC)
        with self._write() as connection:
            connection.execute(sa.update(run).where(run.c.id == run_id).values(status=status, ended_at=ended))

    def _runs(self, condition: sa.ColumnElement[bool]) -> list[RunRow]:
        columns = (getattr(run.c, name) for name in RunRow.__slots__)
        with self._read() as connection:
            rows = connection.execute(sa.select(*columns).where(condition).order_by(run.c.id.desc()))
            return [RunRow(*row) for row in rows]

    # ---- trials and scores ------------------------------------------------------------------------------------------

    def record_trial(self, run_id: int, new: NewTrial) -> int | None:
        """Store a trial and return its id; None when the step has been answered before.

        A trial that failed because of the infrastructure is replaced: it says nothing about the model.
        """
        values = {
            "exchange_id": new.exchange_id,
            "status": new.status,
            "error": new.error,
            "created_at": datetime.now(UTC),
        }
        with self._write() as connection:
            statement = _insert(connection, trial).values(
                run_id=run_id, scenario_id=new.scenario_id, step_no=new.step_no, attempt=new.attempt, **values
            )
            statement = statement.on_conflict_do_update(
                index_elements=["run_id", "scenario_id", "step_no", "attempt"],
                set_=values,
                where=trial.c.status == "infra_error",
            )
            return connection.execute(statement.returning(trial.c.id)).scalar()

    def answered(self, run_id: int) -> set[tuple[int, int, int]]:
        """Return (scenario id, step, attempt) of the trials that need not be asked again."""
        query = sa.select(trial.c.scenario_id, trial.c.step_no, trial.c.attempt).where(
            trial.c.run_id == run_id, trial.c.status != "infra_error"
        )
        with self._read() as connection:
            return {(row.scenario_id, row.step_no, row.attempt) for row in connection.execute(query)}

    def trials(self, run_id: int, *, trial_id: int | None = None) -> Iterator[TrialRow]:
        """Yield the trials of a run in order, each with its answer and its scores."""
        condition = trial.c.run_id == run_id
        if trial_id is not None:
            condition &= trial.c.id == trial_id
        with self._read() as connection:
            ids = list(connection.scalars(sa.select(trial.c.id).where(condition).order_by(trial.c.id)))
        for start in range(0, len(ids), _PAGE):
            # Each page is read to its end before it is handed on, so that a caller may write in between.
            with self._read() as connection:
                page = _trials(connection, ids[start : start + _PAGE])
            yield from page

    def replace_scores(self, scores: Mapping[int, Mapping[str, ScoreRow]]) -> None:
        """Replace all scores of the trials that are the keys of ``scores``."""
        rows = [
            {"trial_id": trial_id, "scorer": name, "value": given.value, "detail": dict(given.detail)}
            for trial_id, by_name in scores.items()
            for name, given in by_name.items()
        ]
        ids = list(scores)
        with self._write() as connection:
            for start in range(0, len(ids), _PAGE):
                part = ids[start : start + _PAGE]
                connection.execute(sa.delete(score).where(score.c.trial_id.in_(part)))
            if rows:
                connection.execute(sa.insert(score), rows)


def _trials(connection: sa.Connection, ids: Sequence[int]) -> list[TrialRow]:
    query: sa.Select[Any] = (
        sa.select(
            *(getattr(trial.c, name) for name in ("id", "scenario_id", "step_no", "attempt", "status", "error")),
            trial.c.exchange_id,
            exchange.c.uid,
            exchange.c.outcome,
            exchange.c.finish_reason,
            exchange.c.error_text,
            sa.func.coalesce(message.c.text, message.c.content).label("content"),
        )
        .select_from(
            trial.outerjoin(exchange, exchange.c.id == trial.c.exchange_id)
            .outerjoin(node, node.c.id == exchange.c.output_node_id)
            .outerjoin(message, message.c.id == node.c.message_id)
        )
        .where(trial.c.id.in_(ids))
        .order_by(trial.c.id)
    )
    rows = connection.execute(query).all()
    calls = _calls(connection, [row.exchange_id for row in rows if row.exchange_id is not None])
    scores = _scores(connection, ids)
    return [_trial(row, calls.get(row.exchange_id, []), scores.get(row.id, {})) for row in rows]


def _trial(row: sa.Row[Any], calls: Sequence[LoggedCall], scores: Mapping[str, ScoreRow]) -> TrialRow:
    answer = None
    if row.exchange_id is not None:
        answer = Answer(tuple(calls), row.content, row.outcome, row.finish_reason, row.error or row.error_text)
    return TrialRow(row.id, row.scenario_id, row.step_no, row.attempt, row.status, row.error, answer, row.uid, scores)


def _calls(connection: sa.Connection, exchange_ids: Sequence[int]) -> dict[int, list[LoggedCall]]:
    """Return the calls of the first choice of each exchange, in order."""
    names = ("name", "arguments", "argument_state", "schema_state", "offered", "complete", "origin", "call_id")
    query = (
        sa.select(tool_call.c.exchange_id, call_uid(), *(getattr(tool_call.c, name) for name in names))
        .join(exchange, exchange.c.id == tool_call.c.exchange_id)
        .where(tool_call.c.exchange_id.in_(exchange_ids), tool_call.c.choice == 0, tool_call.c.origin != "leaked_text")
        .order_by(tool_call.c.exchange_id, tool_call.c.ordinal)
    )
    found: dict[int, list[LoggedCall]] = {}
    for exchange_id, *values in connection.execute(query):
        found.setdefault(exchange_id, []).append(LoggedCall(*values))
    return found


def _scores(connection: sa.Connection, trial_ids: Sequence[int]) -> dict[int, dict[str, ScoreRow]]:
    query = sa.select(score).where(score.c.trial_id.in_(trial_ids)).order_by(score.c.id)
    found: dict[int, dict[str, ScoreRow]] = {}
    for row in connection.execute(query):
        found.setdefault(row.trial_id, {})[row.scorer] = ScoreRow(row.value, row.detail or {})
    return found


def _insert(connection: sa.Connection, table: sa.Table) -> Any:
    """Return an INSERT that knows ON CONFLICT, which SQLite and PostgreSQL spell alike."""
    return postgresql.insert(table) if connection.dialect.name == "postgresql" else sqlite.insert(table)
