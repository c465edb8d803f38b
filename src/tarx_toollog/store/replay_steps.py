"""Reading the trials of a run in pages, filtered, for people who look at them one after the other.

``state`` says of what the figures of a run are made, so that who made them once can see whether they still hold.
"""

import functools
import hashlib
import json
import operator
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from tarx_toollog.errors import NothingMatchedError
from tarx_toollog.store.labels import EXPECTED, QUALITY, THUMBS
from tarx_toollog.store.replay_views import V_REPLAY_TRIALS
from tarx_toollog.store.schema import label, run, scenario, score, trial
from tarx_toollog.store.suites import ScenarioRow
from tarx_toollog.store.tables import LogTables
from tarx_toollog.store.types import SafeText, among

WRONG, RIGHT, UNJUDGED, ALL = "wrong", "right", "unjudged", "all"
STATES = (WRONG, ALL, RIGHT, UNJUDGED)
"""What a list of steps may be narrowed to; the first is what people look for."""

_TYPES: Mapping[str, Any] = {"trial_id": sa.Integer} | dict.fromkeys(
    ("code", "expected", "called", "error", "run", "signature"), SafeText
)
_VIEW = sa.table(
    V_REPLAY_TRIALS.name,
    *(sa.column(name, _TYPES.get(name)) for name in V_REPLAY_TRIALS.columns),
)
_VERDICT = sa.func.coalesce(_VIEW.c.is_chain_right, _VIEW.c.is_right)
_STATES = {
    WRONG: _VERDICT == 0,
    RIGHT: _VERDICT == 1,
    UNJUDGED: _VERDICT.is_(None),
    ALL: sa.true(),
}
_STATE_SIZE = 16
_CHUNK = 300  # trials whose definitions are read at once: some milliseconds
_VERDICTS = ("step", "chain")  # scorers of a step, and of a turn in a closed loop
_OF_THE_LOG = (QUALITY, THUMBS, EXPECTED)  # labels that say nothing of the answers of a run
_VALUE = sa.case(
    (score.c.value == 1, "r"), (score.c.value == 0, "w"), else_=sa.func.coalesce(sa.cast(score.c.value, sa.Text), "-")
)
"""A value as text. Nearly all are 1 or 0, and to write a fraction takes a database longer than all the rest."""


@dataclass(frozen=True, slots=True)
class StepFilter:
    """Which steps of a run to list; what is None narrows nothing."""

    state: str = WRONG
    """One of ``STATES``."""
    code: str | None = None
    tool: str | None = None
    """Expected or called."""
    depth: int | None = None
    """Step of the turn."""


@dataclass(frozen=True, slots=True)
class TrialLine:
    """One trial in a list; the fields are columns of ``v_replay_trials``."""

    trial_id: int
    scenario_uid: str
    conversation_uid: str
    tier: str
    step_no: int
    n_steps: int
    attempt: int
    status: str
    is_right: int | None
    is_chain_right: int | None
    code: str | None
    expected: str | None
    called: str | None
    exchange_uid: str | None
    error: str | None

    @property
    def state(self) -> str:
        """Whether it is right, wrong or unjudged."""
        verdict = self.is_right if self.is_chain_right is None else self.is_chain_right
        return UNJUDGED if verdict is None else RIGHT if verdict else WRONG


@dataclass(frozen=True, slots=True)
class Choices:
    """What the steps of a run can be narrowed to, with the number of steps."""

    codes: Mapping[str, int]
    tools: Mapping[str, int]
    depths: Mapping[int, int]


@dataclass(frozen=True, slots=True)
class RunCounts:
    """How far a run is, for a list of runs."""

    trials: int = 0
    judged: int = 0
    right: int = 0


class ReplaySteps(LogTables):
    """The trials of one log, for people."""

    def lines(self, run_name: str, chosen: StepFilter, *, after: int, limit: int) -> list[TrialLine]:
        """Return first attempts of a run in order, from the one after the trial ``after``."""
        query = sa.select(_VIEW.c.trial_id).where(_VIEW.c.run == run_name, _VIEW.c.attempt == 1)
        query = query.where(_VIEW.c.trial_id > after, _STATES[chosen.state])
        if chosen.code is not None:
            query = query.where(_VIEW.c.code == chosen.code)
        if chosen.depth is not None:
            query = query.where(_VIEW.c.step_no == chosen.depth)
        query = query.order_by(_VIEW.c.trial_id)
        with self._read() as connection:
            if chosen.tool is None:
                ids = list(connection.scalars(query.limit(limit)))
            else:
                may_have_it = [_has_name(column, chosen.tool) for column in (_VIEW.c.signature, _VIEW.c.called)]
                ids = _with_tool(
                    connection, list(connection.scalars(query.where(sa.or_(*may_have_it)))), chosen.tool, limit
                )
            # The columns of the rows that are shown come after, or a database makes them of all before it sorts.
            return [TrialLine(*row) for row in _in(connection, ids, *TrialLine.__slots__)]

    def choices(self, run_name: str) -> Choices:
        """Return what the first attempts of a run can be narrowed to, the most frequent first."""
        codes: dict[str, int] = {}
        tools: dict[str, int] = {}
        depths: dict[int, int] = {}
        names = ("code", "expected", "called", "step_no")
        query = sa.select(*(_VIEW.c[name] for name in names)).where(_VIEW.c.run == run_name, _VIEW.c.attempt == 1)
        with self._read() as connection:
            for code, expected, called, step_no in connection.execute(query):
                if code is not None:
                    codes[code] = codes.get(code, 0) + 1
                depths[step_no] = depths.get(step_no, 0) + 1
                for tool in {*(expected or "").split(">"), *(called or "").split(">")} - {""}:
                    tools[tool] = tools.get(tool, 0) + 1
        return Choices(_most_first(codes), _most_first(tools), dict(sorted(depths.items())))

    def scenarios(self, uids: Collection[str]) -> dict[str, ScenarioRow]:
        """Return scenarios by their uids."""
        columns = (scenario.c[slot] for slot in ScenarioRow.__slots__)
        query = sa.select(*columns).where(among(scenario.c.uid, sa.bindparam("uids", type_=sa.Text)))
        with self._read() as connection:
            found = connection.execute(query, {"uids": json.dumps(sorted(uids))})
            return {row.uid: ScenarioRow(*row) for row in found}

    def trial_ids(self, run_name: str, scenario_uid: str, step_no: int) -> dict[int, int]:
        """Return the keys of the trials of one step by attempt.

        Raises:
            NothingMatchedError: The run has not asked that step.
        """
        query = (
            sa.select(trial.c.attempt, trial.c.id)
            .join(run, run.c.id == trial.c.run_id)
            .join(scenario, scenario.c.id == trial.c.scenario_id)
            .where(run.c.name == run_name, scenario.c.uid == scenario_uid, trial.c.step_no == step_no)
            .order_by(trial.c.attempt)
        )
        with self._read() as connection:
            found = {row.attempt: row.id for row in connection.execute(query)}
        if not found:
            raise NothingMatchedError(
                f"the run {run_name} has not asked step {step_no} of the scenario {scenario_uid}",
                hint="look at the steps of the run",
            )
        return found

    def state(self, run_id: int) -> bytes:
        """Return the hash of all that the figures of a run are made of: where it is equal, they are.

        It is made of contents and not of counters: a score that is replaced may get the key of the one before, and a
        trial that was asked in vain keeps its own. Scenarios never change, but for redaction, which gives them other
        hashes.
        """
        of_run = trial.c.run_id == run_id
        parts = (
            sa.select(*(sa.cast(column, sa.Text) for column in run.c)).where(run.c.id == run_id),
            sa.select(
                _joined(trial.c.id, trial.c.status, trial.c.created_at, sa.func.coalesce(trial.c.error, "-"))
            ).where(of_run),
            sa.select(_joined(score.c.id, sa.func.coalesce(sa.cast(score.c.detail, sa.Text), "-"), _VALUE))
            .join(trial, trial.c.id == score.c.trial_id)
            .where(of_run),
        )
        hashes = sa.select(scenario.c.hash).join(run, run.c.tag == scenario.c.tag).where(run.c.id == run_id)
        found = hashlib.blake2b(digest_size=_STATE_SIZE)
        with self._read() as connection:
            for query in parts:
                found.update(repr(connection.execute(query).all()).encode("utf-8", "backslashreplace"))
            found.update(b"".join(connection.scalars(hashes.order_by(scenario.c.hash))))
        return found.digest()

    def accepted_state(self) -> int:
        """Return what rises whenever an answer is accepted, or that is taken back: labels are only ever appended."""
        query = sa.select(sa.func.coalesce(sa.func.max(label.c.id), 0)).where(label.c.name.not_in(_OF_THE_LOG))
        with self._read() as connection:
            return int(connection.execute(query).scalar_one())

    def counts(self) -> dict[int, RunCounts]:
        """Return how far each run is, by its key. In a closed loop turns have verdicts, elsewhere steps have."""
        given = sa.case((score.c.scorer.in_(_VERDICTS), score.c.value))
        query = (
            sa.select(
                trial.c.run_id,
                sa.func.count(trial.c.id.distinct()),
                sa.func.count(given),
                sa.func.coalesce(sa.func.sum(sa.case((given == 1, 1), else_=0)), 0),
            )
            .outerjoin(score, sa.and_(score.c.trial_id == trial.c.id, score.c.scorer.in_(_VERDICTS)))
            .where(trial.c.attempt == 1)
            .group_by(trial.c.run_id)
        )
        with self._read() as connection:
            return {key: RunCounts(*counts) for key, *counts in connection.execute(query)}


def _with_tool(connection: sa.Connection, ids: Sequence[int], tool: str, limit: int) -> list[int]:
    """Return the first of some trials in whose step a tool is expected or called.

    What a step expects stands in the definition of its scenario, which is long: only as many as needed are read.
    """
    found: list[int] = []
    for start in range(0, len(ids), _CHUNK):
        if len(found) >= limit:
            break
        rows = _in(connection, ids[start : start + _CHUNK], "trial_id", "expected", "called")
        found += [key for key, *named in rows if any(tool in (names or "").split(">") for names in named)]
    return found[:limit]


def _in(connection: sa.Connection, ids: Sequence[int], *columns: str) -> list[tuple[Any, ...]]:
    """Return columns of some trials, in order."""
    query = sa.select(*(_VIEW.c[name] for name in columns)).where(
        among(_VIEW.c.trial_id, sa.bindparam("ids", type_=sa.Text))
    )
    found = connection.execute(query.order_by(_VIEW.c.trial_id), {"ids": json.dumps(list(ids))})
    return [tuple(row) for row in found]


def _joined(*columns: sa.ColumnElement[Any]) -> sa.ColumnElement[str]:
    """Return the values of some columns of all rows as one text, which a database makes faster than rows.

    None may be NULL: that would take its whole row away.
    """
    line = functools.reduce(operator.add, (sa.cast(column, sa.Text) for column in columns))
    return sa.func.aggregate_strings(line, "\n")


def _has_name(column: sa.ColumnElement[Any], name: str) -> sa.ColumnElement[bool]:
    """Say that a column of names joined by ``>`` has this one."""
    return (sa.literal(">") + column + ">").contains(f">{name}>", autoescape=True)


def _most_first(counts: dict[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])))
