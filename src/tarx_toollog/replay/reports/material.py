"""What reports are made of: one run with its scenarios and its trials.

Trials come in the order of the scenarios, whoever answered them when: several processes that share a run must not
leave another report than one alone.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tarx_toollog.replay.overlay import NOTHING_ACCEPTED, OverlayId, accepted_overlay
from tarx_toollog.replay.scenario import Scenario
from tarx_toollog.replay.scoring import scenarios_of
from tarx_toollog.store.replays import CLOSED_LOOP, Replays, RunRow, TrialRow
from tarx_toollog.store.suites import ScenarioRow

if TYPE_CHECKING:
    from tarx_toollog.store.log import ToolLog


@dataclass(frozen=True, slots=True)
class Place:
    """A scenario in its suite."""

    uid: str
    cluster: str
    """Scenarios of one cluster hang together."""
    weight: float = 1.0
    """Turns of the log that it stands for."""
    stratum: str | None = None


@dataclass(frozen=True, slots=True)
class Material:
    """One run."""

    run: RunRow
    scenarios: Mapping[int, Scenario]
    """By key, in the order in which they are asked."""
    places: Mapping[int, Place]
    trials: Sequence[TrialRow]
    accepted: OverlayId = NOTHING_ACCEPTED
    """What counts as right beside what the suite expects."""

    @property
    def is_closed_loop(self) -> bool:
        """Whether the model went its own way: then turns have verdicts, and steps have none."""
        return self.run.mode == CLOSED_LOOP

    @property
    def n_attempts(self) -> int:
        """How often each scenario is asked."""
        return int(self.run.params.get("attempts", 1))

    def weights(self, keys: Collection[int]) -> dict[int, float]:
        """Return how much each of some scenarios counts, when they stand for all of the suite.

        Within each stratum those that are there stand for those that are not, so that a stratum of which few could be
        judged counts as much as it did in the log. A stratum of which none is there cannot be made up for.
        """
        whole, there = _by_stratum(self.places.values()), _by_stratum(self.places[key] for key in keys)
        return {
            key: place.weight * whole[place.stratum] / there[place.stratum]
            for key, place in ((key, self.places[key]) for key in keys)
        }

    def covered(self, keys: Collection[int]) -> float:
        """Return the share of what the suite stands for that is in a stratum of which some scenario is there."""
        whole, there = _by_stratum(self.places.values()), {self.places[key].stratum for key in keys}
        return sum(turns for stratum, turns in whole.items() if stratum in there) / (sum(whole.values()) or 1.0)


def material(run: RunRow, frozen: Iterable[tuple[ScenarioRow, Scenario]], trials: Iterable[TrialRow]) -> Material:
    """Put a run together. Pure."""
    known = list(frozen)
    groups = _groups((row.cluster, scenario.conversation_uid) for row, scenario in known)
    places = {
        row.id: Place(row.uid, group, row.weight, row.stratum) for (row, _), group in zip(known, groups, strict=True)
    }
    order = {key: number for number, key in enumerate(places)}
    found = sorted(trials, key=lambda trial: (trial.attempt, order[trial.scenario_id], trial.step_no))
    return Material(run, {row.id: scenario for row, scenario in known}, places, found)


def load(log: "ToolLog", name: str) -> Material:
    """Return the run called ``name``, finished or not.

    Raises:
        NothingMatchedError: There is no such run.
    """
    replays = Replays(log)
    run = replays.run(name)
    found = material(run, scenarios_of(log, run), replays.trials(run.id))
    return replace(found, accepted=accepted_overlay(log, run.tag))


def _groups(places: Iterable[tuple[str | None, str]]) -> list[str]:
    """Return the group of each scenario, which has its cluster and its conversation: what shares one of them, and on.

    A turn may be like one of another conversation; then all turns of both conversations hang together.
    """
    parents: dict[str, str] = {}

    def root(name: str) -> str:
        while parents.setdefault(name, name) != name:
            parents[name] = parents[parents[name]]
            name = parents[name]
        return name

    known = [(cluster and f"cluster {cluster}", conversation) for cluster, conversation in places]
    for cluster, conversation in known:
        if cluster is not None:
            parents[root(cluster)] = root(conversation)
    return [root(conversation) for _, conversation in known]


def _by_stratum(places: Iterable[Place]) -> dict[str | None, float]:
    total: dict[str | None, float] = defaultdict(float)
    for place in places:
        total[place.stratum] += place.weight
    return total
