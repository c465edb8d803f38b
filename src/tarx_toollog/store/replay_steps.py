"""Reading the trials of a run in pages, filtered, for people who look at them one after the other."""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from tarx_toollog.errors import NothingMatchedError
from tarx_toollog.store.replay_views import V_REPLAY_TRIALS
from tarx_toollog.store.schema import run, scenario, score, trial
from tarx_toollog.store.suites import ScenarioRow
from tarx_toollog.store.tables import LogTables
from tarx_toollog.store.types import SafeText, among

WRONG, RIGHT, UNJUDGED, ALL = "wrong", "right", "unjudged", "all"
STATES = (WRONG, ALL, RIGHT, UNJUDGED)
"""What a list of steps may be narrowed to; the first is what people look for."""

_TEXTS = frozenset({"code", "expected", "called", "error", "run", "signature"})
_VIEW = sa.table(
    V_REPLAY_TRIALS.name,
    *(sa.column(name, SafeText if name in _TEXTS else None) for name in V_REPLAY_TRIALS.columns),
)
_VERDICT = sa.func.coalesce(_VIEW.c.is_chain_right, _VIEW.c.is_right)
_STATES = {
    WRONG: _VERDICT == 0,
    RIGHT: _VERDICT == 1,
    UNJUDGED: _VERDICT.is_(None),
    ALL: sa.true(),
}
_VERDICTS = ("step", "chain")  # scorers of a step, and of a turn in a closed loop


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
class Tally:
    """How far a run is, for a list of runs."""

    trials: int = 0
    judged: int = 0
    right: int = 0


class ReplaySteps(LogTables):
    """The trials of one log, for people."""

    def lines(self, run_name: str, chosen: StepFilter, *, after: int, limit: int) -> list[TrialLine]:
        """Return first attempts of a run in order, from the one after the trial ``after``."""
        columns = (_VIEW.c[slot] for slot in TrialLine.__slots__)
        query = sa.select(*columns).where(_VIEW.c.run == run_name, _VIEW.c.attempt == 1, _VIEW.c.trial_id > after)
        query = query.where(_STATES[chosen.state])
        if chosen.code is not None:
            query = query.where(_VIEW.c.code == chosen.code)
        if chosen.depth is not None:
            query = query.where(_VIEW.c.step_no == chosen.depth)
        if chosen.tool is not None:
            named = [_has_name(column, chosen.tool) for column in (_VIEW.c.expected, _VIEW.c.called)]
            query = query.where(sa.or_(*named))
        with self._read() as connection:
            return [TrialLine(*row) for row in connection.execute(query.order_by(_VIEW.c.trial_id).limit(limit))]

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

    def tallies(self) -> dict[int, Tally]:
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
            return {key: Tally(*counts) for key, *counts in connection.execute(query)}


def _has_name(column: sa.ColumnElement[Any], name: str) -> sa.ColumnElement[bool]:
    """Say that a column of names joined by ``>`` has this one."""
    return (sa.literal(">") + column + ">").contains(f">{name}>", autoescape=True)


def _most_first(counts: dict[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda entry: (-entry[1], entry[0])))
