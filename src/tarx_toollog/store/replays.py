"""Reading and writing ``run``, ``trial`` and ``score``, and the answers behind trials.

What a score is, is the business of ``replay``; here it is a number with a detail. Every public method is one
transaction.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import sqlalchemy as sa

from tarx_toollog.errors import ConfigError, NothingMatchedError
from tarx_toollog.ids import uuid7
from tarx_toollog.model import LoggedCall
from tarx_toollog.store.builds import write_build
from tarx_toollog.store.schema import call_uid, exchange, message, node, run, scenario, score, tool_call, trial
from tarx_toollog.store.suites import in_order
from tarx_toollog.store.tables import LogTables, insert
from tarx_toollog.store.work import WHOLE_TURN, UnitKey, delete_unit, give_up_unit, lock_unit
from tarx_toollog.wire.model_facts import ModelFacts

RunStatus = Literal["running", "finished", "aborted"]
TrialStatus = Literal["ok", "model_error", "infra_error"]
Row = dict[str, Any]

TEACHER_FORCED = "teacher_forced"
"""Mode of a run: each step is asked with the logged history."""
CLOSED_LOOP = "closed_loop"
"""Mode of a run: the model goes its own way, and recorded results are served to it."""
UNTIL = "until"
"""Parameter of a run that ends as soon as it is clear whether so many chains are right."""
AGAIN = "again"
"""Parameter of a run that asked another one again: the name of that."""
LOST = "lost_endpoints"
"""What is kept of the server when endpoints went away during the run: for each ``endpoint`` and ``error``."""
_PAGE = 500  # ids a query: well below SQLite's limit of bound parameters


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

    @property
    def made(self) -> tuple[LoggedCall, ...]:
        """The calls that a client would have run: those that leaked into the text are none of them."""
        return tuple(call for call in self.calls if call.origin != "leaked_text")


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


Judge = Callable[[Sequence[TrialRow]], Mapping[int, Mapping[str, ScoreRow]]]
"""From the trials of a unit to their scores by scorer, by the id of the trial."""


class Replays(LogTables):
    """Runs, trials and scores of one log."""

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
        mode: str = TEACHER_FORCED,
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
            "mode": mode,
            "params": dict(params),
            "server": None if server is None else dict(server),
            "status": "running",
            "started_at": datetime.now(UTC),
        }
        with self._write() as connection:
            if facts is not None:
                values["model_build_id"] = write_build(connection, facts, endpoint, datetime.now(UTC))
            statement = insert(connection, run).on_conflict_do_nothing().values(**values).returning(run.c.id)
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

    def note_lost(self, run_id: int, endpoint: str, error: str) -> None:
        """Note that an endpoint went away while others went on."""
        with self._write() as connection:
            known = connection.execute(sa.select(run.c.server).where(run.c.id == run_id).with_for_update()).scalar()
            lost = [*(known or {}).get(LOST, ()), {"endpoint": endpoint, "error": error}]
            connection.execute(sa.update(run).where(run.c.id == run_id).values(server={**(known or {}), LOST: lost}))

    def _runs(self, condition: sa.ColumnElement[bool]) -> list[RunRow]:
        columns = (getattr(run.c, name) for name in RunRow.__slots__)
        with self._read() as connection:
            rows = connection.execute(sa.select(*columns).where(condition).order_by(run.c.id.desc()))
            return [RunRow(*row) for row in rows]

    # ---- trials and scores ------------------------------------------------------------------------------------------

    def record_trial(self, run_id: int, new: NewTrial, judge: Judge | None = None) -> int | None:
        """Store a trial with its scores, and take its unit away; return its id, None when it was answered before.

        A trial that failed because of the infrastructure is replaced: it says nothing about the model. Its unit stays,
        so that the step is asked again.
        """
        key = UnitKey(new.scenario_id, new.step_no, new.attempt)
        with self._write() as connection:
            ids = _record(connection, run_id, key, [new], judge)
        return ids[0] if ids else None

    def record_turn(self, run_id: int, key: UnitKey, trials: Sequence[NewTrial], judge: Judge | None = None) -> bool:
        """Store what a model did in a whole turn, as ``record_trial`` does; return False when another was faster.

        What an earlier try left of the turn goes: the model may have taken another way.
        """
        of_turn = (
            trial.c.run_id == run_id,
            trial.c.scenario_id == key.scenario_id,
            trial.c.attempt == key.attempt,
        )
        with self._write() as connection:
            lock_unit(connection, run_id, key)
            made = sa.select(trial.c.id).where(*of_turn, trial.c.status != "infra_error")
            if connection.execute(made.limit(1)).first() is not None:  # two ways through a turn must not be mixed
                delete_unit(connection, run_id, key)
                return False
            connection.execute(sa.delete(trial).where(*of_turn))
            return bool(_record(connection, run_id, key, trials, judge))

    def verdicts(self, run_id: int, scorer: str, *, whole_turns: bool = False) -> dict[UnitKey, float | None]:
        """Return what a scorer gave each unit of a run that need not be asked again."""
        step_no = sa.literal(WHOLE_TURN) if whole_turns else trial.c.step_no
        query = (
            sa.select(trial.c.scenario_id, step_no, trial.c.attempt, score.c.value)
            .join(score, sa.and_(score.c.trial_id == trial.c.id, score.c.scorer == scorer), isouter=not whole_turns)
            .where(trial.c.run_id == run_id, trial.c.status != "infra_error")
        )
        with self._read() as connection:
            return {UnitKey(*row[:3]): row[3] for row in connection.execute(query)}

    def trials(self, run_id: int, *, trial_id: int | None = None) -> Iterator[TrialRow]:
        """Yield the trials of a run in its order, whatever the order of the answers, each with its scores."""
        condition = trial.c.run_id == run_id
        if trial_id is not None:
            condition &= trial.c.id == trial_id
        with self._read() as connection:
            order = (trial.c.attempt, *in_order(), trial.c.step_no)
            query = sa.select(trial.c.id).join(scenario, scenario.c.id == trial.c.scenario_id).where(condition)
            ids = list(connection.scalars(query.order_by(*order)))
        for start in range(0, len(ids), _PAGE):
            # Each page is read to its end before it is handed on, so that a caller may write in between.
            with self._read() as connection:
                page = _trials(connection, ids[start : start + _PAGE])
            yield from page

    def replace_scores(self, scores: Mapping[int, Mapping[str, ScoreRow]]) -> None:
        """Replace all scores of the trials that are the keys of ``scores``."""
        ids = list(scores)
        with self._write() as connection:
            for start in range(0, len(ids), _PAGE):
                part = ids[start : start + _PAGE]
                connection.execute(sa.delete(score).where(score.c.trial_id.in_(part)))
            _write_scores(connection, scores)


def _record(
    connection: sa.Connection, run_id: int, key: UnitKey, trials: Sequence[NewTrial], judge: Judge | None
) -> list[int]:
    """Store the trials of a unit; none when they are there."""
    ids = [trial_id for new in trials if (trial_id := _put(connection, run_id, new)) is not None]
    if ids and judge is not None:
        _write_scores(connection, judge(_trials(connection, ids)))
    if any(new.status == "infra_error" for new in trials) and ids:
        give_up_unit(connection, run_id, key)
    else:
        delete_unit(connection, run_id, key)
    return ids


def _put(connection: sa.Connection, run_id: int, new: NewTrial) -> int | None:
    values: Row = {"exchange_id": new.exchange_id, "status": new.status, "error": new.error}
    values["created_at"] = datetime.now(UTC)
    statement = insert(connection, trial).values(
        run_id=run_id, scenario_id=new.scenario_id, step_no=new.step_no, attempt=new.attempt, **values
    )
    statement = statement.on_conflict_do_update(
        index_elements=["run_id", "scenario_id", "step_no", "attempt"],
        set_=values,
        where=trial.c.status == "infra_error",
    )
    trial_id: int | None = connection.execute(statement.returning(trial.c.id)).scalar()
    return trial_id


def _write_scores(connection: sa.Connection, scores: Mapping[int, Mapping[str, ScoreRow]]) -> None:
    rows = [
        {"trial_id": trial_id, "scorer": name, "value": given.value, "detail": dict(given.detail)}
        for trial_id, by_name in scores.items()
        for name, given in by_name.items()
    ]
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
    )
    found = {row.id: row for row in connection.execute(query)}
    rows = [found[trial_id] for trial_id in ids]
    calls = _calls(connection, [row.exchange_id for row in rows if row.exchange_id is not None])
    scores = _scores(connection, ids)
    return [_trial(row, calls.get(row.exchange_id, []), scores.get(row.id, {})) for row in rows]


def _trial(row: sa.Row[Any], calls: Sequence[LoggedCall], scores: Mapping[str, ScoreRow]) -> TrialRow:
    answer = None
    if row.exchange_id is not None:
        error = row.error_text if row.status == "ok" else row.error or row.error_text  # of an answer it is a remark
        answer = Answer(tuple(calls), row.content, row.outcome, row.finish_reason, error)
    return TrialRow(row.id, row.scenario_id, row.step_no, row.attempt, row.status, row.error, answer, row.uid, scores)


def _calls(connection: sa.Connection, exchange_ids: Sequence[int]) -> dict[int, list[LoggedCall]]:
    """Return the calls of the first choice of each exchange in order, also those that leaked into the text."""
    names = ("name", "arguments", "argument_state", "schema_state", "offered", "complete", "origin", "call_id")
    query = (
        sa.select(tool_call.c.exchange_id, call_uid(), *(getattr(tool_call.c, name) for name in names))
        .join(exchange, exchange.c.id == tool_call.c.exchange_id)
        .where(tool_call.c.exchange_id.in_(exchange_ids), tool_call.c.choice == 0)
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
