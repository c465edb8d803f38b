"""Several answers to the very same request: those beside the main line of a dialogue, and those of replays.

Owns the queries. Which of the answers is better is for ``export.sources`` to say.

*Theory.* The exchanges of a conversation are a tree (see ``store.turns``): an answer that was asked for again has a
sibling with the same input, the same system messages and the same tools. They are found by counting equal inputs
within a conversation, in one pass over it. A user *goes on* from an answer when a later turn descends from it. Steps
of the same turn prove nothing, since a client carries out the calls of any answer by itself.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tarx_toollog.errors import NothingMatchedError
from tarx_toollog.model import Step
from tarx_toollog.store.engine import store_errors
from tarx_toollog.store.schema import conversation, exchange, run, scenario, score, trial
from tarx_toollog.store.trajectories import Trajectories

if TYPE_CHECKING:
    from tarx_toollog.store.log import ToolLog

SCORER = "step"
"""The scorer whose verdict counts: 1 for a right decision, 0 for a wrong one."""
_IDS = 500  # ids a query: well below SQLite's limit of bound parameters
_SCENARIOS = 50  # scenarios a page: each holds the messages of a whole turn

_IDS_HERE: sa.BindParameter[Any] = sa.bindparam("ids", expanding=True)
_SAME = (exchange.c.conversation_id, exchange.c.input_node_id, exchange.c.system_node_id, exchange.c.toolset_id)
_asked = (
    sa.select(exchange.c.id, *_SAME, sa.func.count().over(partition_by=_SAME).label("n"))
    .where(
        exchange.c.conversation_id.in_(sa.select(exchange.c.conversation_id).where(exchange.c.id.in_(_IDS_HERE))),
        exchange.c.n_inner == 0,
        exchange.c.input_node_id.is_not(None),
        exchange.c.output_node_id.is_not(None),
    )
    .subquery()
)
_ASKED_AGAIN = sa.select(_asked).where(_asked.c.n > 1).order_by(_asked.c.id)
_child = exchange.alias("child")
_line = (
    sa.select(
        exchange.c.id.label("root"),
        exchange.c.turn_no.label("root_turn"),
        exchange.c.id,
        exchange.c.outer_exchange_id,
        exchange.c.turn_no,
    )
    .where(exchange.c.id.in_(_IDS_HERE))
    .cte("line", recursive=True)
)
_line = _line.union(
    sa.select(_line.c.root, _line.c.root_turn, _child.c.id, _child.c.outer_exchange_id, _child.c.turn_no)
    # What a client sends next continues the inbound exchange, where there is one.
    .join(_child, _child.c.parent_exchange_id.in_([_line.c.id, _line.c.outer_exchange_id]))
    .where(_line.c.turn_no == _line.c.root_turn)  # one later turn is enough
)
_WENT_ON = sa.select(_line.c.root).where(_line.c.turn_no > _line.c.root_turn).distinct()


@dataclass(frozen=True, slots=True)
class OtherAnswer:
    """An answer beside the main line."""

    step: Step
    """Asked exactly as the step of the main line, sampling and other parameters apart."""
    is_left: bool
    """Whether the user went on from the answer of the main line, and not from this one."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One answer of a run to one step of a scenario."""

    run: str
    """Name of the run."""
    step: Step | None
    """None when nothing answered."""
    value: float | None
    """What the step scorer gave; None when it has not judged it."""


@dataclass(frozen=True, slots=True)
class AskedStep:
    """A step of a scenario, with all that the runs answered to it."""

    conversation_uid: str
    turn_no: int
    signature: str
    split: str | None
    """What the conversation is kept for that it was frozen from; None when that is no longer there."""
    step_no: int
    definition: Mapping[str, Any]
    """Of the whole scenario, as ``replay.scenario`` writes it."""
    variants: tuple[Variant, ...]
    """In the order of the runs as they were named, then as they were repeated."""


class Variants:
    """Reads answers to the same request.

    Args:
        log: An open store.
    """

    def __init__(self, log: "ToolLog") -> None:
        self._log = log

    def others(self, exchange_ids: Sequence[int]) -> dict[int, list[OtherAnswer]]:
        """Return the other answers to what these exchanges asked, oldest first; exchanges without any are absent.

        Args:
            exchange_ids: Internal keys of exchanges of main lines.
        """
        with store_errors(self._log.settings), self._log.engine.connect() as connection:
            beside = _beside(connection, exchange_ids)
            concerned = sorted({*beside, *(other for others in beside.values() for other in others)})
            followed = {root for part in _parts(concerned) for root in _rows(connection, _WENT_ON, part)}
            steps = Trajectories(connection).steps(sorted({other for others in beside.values() for other in others}))
        return {
            main: [OtherAnswer(steps[other], main in followed and other not in followed) for other in others]
            for main, others in beside.items()
        }

    def asked(self, runs: Sequence[str]) -> Iterator[AskedStep]:
        """Yield the steps that these runs asked, those of one conversation together.

        Raises:
            NothingMatchedError: One of the runs does not exist.
        """
        with store_errors(self._log.settings), self._log.engine.connect() as connection:
            names = _run_names(connection, runs)
            reader = Trajectories(connection)
            for part in _parts(_scenario_ids(connection, names), _SCENARIOS):
                yield from _page(connection, reader, part, names)


def _beside(connection: sa.Connection, exchange_ids: Sequence[int]) -> dict[int, list[int]]:
    meant = set(exchange_ids)
    found: dict[int, list[int]] = {}
    for part in _parts(exchange_ids):
        alike: dict[tuple[Any, ...], list[int]] = {}
        for row in connection.execute(_ASKED_AGAIN, {"ids": part}):
            alike.setdefault(tuple(row)[1:-1], []).append(row.id)
        for ids in alike.values():
            # The same request twice on a main line is no choice between two answers.
            mains = [one for one in ids if one in meant]
            if len(mains) == 1:
                found[mains[0]] = [one for one in ids if one not in meant]
    return found


def _run_names(connection: sa.Connection, runs: Sequence[str]) -> dict[int, str]:
    """Return the names of runs by key, in the order in which they were named."""
    known = {row.name: row.id for row in connection.execute(sa.select(run.c.id, run.c.name))}
    for name in runs:
        if name not in known:
            raise NothingMatchedError(f"no run called {name!r}", hint="`toollog replay list` shows the runs")
    return {known[name]: name for name in runs}


def _scenario_ids(connection: sa.Connection, names: Mapping[int, str]) -> list[int]:
    tried = sa.select(trial.c.scenario_id).where(trial.c.run_id.in_(names))
    order = (scenario.c.conversation_uid, scenario.c.turn_no, scenario.c.id)
    return list(connection.scalars(sa.select(scenario.c.id).where(scenario.c.id.in_(tried)).order_by(*order)))


def _page(
    connection: sa.Connection, reader: Trajectories, ids: Sequence[int], names: Mapping[int, str]
) -> Iterator[AskedStep]:
    scenarios = (
        sa.select(scenario, conversation.c.split)
        .outerjoin(conversation, conversation.c.uid == scenario.c.conversation_uid)
        .where(scenario.c.id.in_(ids))
    )
    described = {row.id: row for row in connection.execute(scenarios)}
    trials = _trials(connection, ids, list(names))
    steps = reader.steps([row.exchange_id for row in trials if row.exchange_id is not None])
    place = {scenario_id: number for number, scenario_id in enumerate(ids)}
    trials.sort(key=lambda row: (place[row.scenario_id], row.step_no))  # stable: runs and attempts stay in order
    for (scenario_id, step_no), rows in groupby(trials, key=lambda row: (row.scenario_id, row.step_no)):
        about = described[scenario_id]
        yield AskedStep(
            about.conversation_uid,
            about.turn_no,
            about.signature,
            about.split,
            step_no,
            about.definition,
            tuple(Variant(names[row.run_id], steps.get(row.exchange_id), row.value) for row in rows),
        )


def _trials(connection: sa.Connection, ids: Sequence[int], runs: Sequence[int]) -> list[sa.Row[Any]]:
    """Return the trials of some scenarios, in the order of the runs."""
    query: sa.Select[Any] = (
        sa.select(trial.c.run_id, trial.c.scenario_id, trial.c.step_no, trial.c.exchange_id, score.c.value)
        .outerjoin(score, sa.and_(score.c.trial_id == trial.c.id, score.c.scorer == SCORER))
        .where(trial.c.scenario_id.in_(ids), trial.c.run_id.in_(runs))
        .order_by(trial.c.attempt)
    )
    return sorted(connection.execute(query), key=lambda row: runs.index(row.run_id))


def _rows(connection: sa.Connection, query: sa.Select[Any], ids: Sequence[int]) -> Sequence[Any]:
    return connection.scalars(query, {"ids": ids}).all()


def _parts(ids: Sequence[int], size: int = _IDS) -> Iterator[Sequence[int]]:
    return (ids[start : start + size] for start in range(0, len(ids), size))
