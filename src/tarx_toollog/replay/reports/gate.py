"""Is the model good enough? Three answers, because data may not be enough to say: PASS, FAIL, INCONCLUSIVE.

PASS when the whole interval of the share of right chains lies at or above what is demanded, FAIL when it lies below,
INCONCLUSIVE else. A gate with two answers decides by luck where the interval holds the bound. The gate is on chains,
which is what a user sees: chains of three steps that are right in 85 of 100 cases have steps that are right in 95.

Where somebody said what is right, only those chains count: what is merely logged says whether a model does as the
logged one did. Turns of one conversation hang together, so conversations are the clusters of the interval. Chains that
a closed loop left undetermined count as wrong for PASS, and as right for FAIL. A sequential gate may be looked at after
every answer (``statistics.sequential``); there only one chain of each cluster counts, the first in the order of the
run, because that interval takes cases to be independent. Once it has decided, what comes later does not count: a run
that ends when its gate is clear has a few answers more on their way.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import TYPE_CHECKING, Any, Literal

from tarx_toollog.errors import ConfigError, NothingMatchedError
from tarx_toollog.replay.reports.chains import PROFILES, STANDARD, Chains, judged_chains, labelled, only, share_of
from tarx_toollog.replay.reports.material import Material, load
from tarx_toollog.replay.reports.report import Report, summarise
from tarx_toollog.replay.statistics.proportion import (
    DEFAULT_CONFIDENCE,
    Proportion,
    cases_to_decide,
    chance_of_so_few,
    posterior_above,
)
from tarx_toollog.replay.statistics.sequential import any_time, cases_to_clear, first_decision
from tarx_toollog.replay.turns.playable import can_loop
from tarx_toollog.store.replays import UNTIL, RunRow

if TYPE_CHECKING:
    from tarx_toollog.store.log import ToolLog

FORMAT = 1
"""Version of the JSON form."""
MIN_ACCURACY = 0.85
"""Of chains: below it, fine-tuning is worth it."""

GateVerdict = Literal["pass", "fail", "inconclusive", "invalid"]


@dataclass(frozen=True, slots=True)
class Shares:
    """The share of right chains by one profile, and what it is at most and at least."""

    chains: Proportion
    """Of the chains of which somebody can say whether they are right."""
    at_least: Proportion
    """When all that are undetermined are wrong."""
    at_most: Proportion
    """When all of them are right."""

    def verdict(self, min_accuracy: float) -> GateVerdict:
        """Return what they say about a demand."""
        if self.at_least.low >= min_accuracy:
            return "pass"
        return "fail" if self.at_most.high < min_accuracy and self._is_below(min_accuracy) else "inconclusive"

    def _is_below(self, min_accuracy: float) -> bool:
        # Of few chains Wilson's interval errs more often than it says: 0 of 1 leaves out 85 %, and is no proof.
        share = self.at_most
        n = share.n_effective or float(share.denominator)
        return chance_of_so_few((share.estimate or 0.0) * n, n, min_accuracy) <= 1 - share.confidence


@dataclass(frozen=True, slots=True)
class Gate:
    """What a run says about a demand."""

    report: Report
    min_accuracy: float
    is_sequential: bool
    tiers: Mapping[str, int]
    """Chains that count, by tier."""
    n_clusters: int
    """Groups of chains that have nothing to do with each other."""
    n_largest: int
    """Chains of the largest of these groups."""
    n_undetermined: int
    profiles: Mapping[str, Shares]
    """The same share under each profile of matching: strict, standard, lenient."""
    deciding: tuple[str, ...]
    """Scenarios whose chains are right under one profile and wrong under another."""
    covered: float
    """Share of what the suite stands for that is in a stratum of which a chain counts."""
    ignores_weights: bool = False
    """Whether it counts all chains alike although they stand for different numbers of turns of the log."""

    @property
    def n_groups_counted(self) -> int:
        """Groups that the share is of: a sequential gate looks at one chain of each, up to the decision."""
        return self.chains.denominator if self.is_sequential else self.n_clusters

    @property
    def chains(self) -> Proportion:
        """The share that the gate is on."""
        return self.profiles[STANDARD].chains

    @property
    def verdict(self) -> GateVerdict:
        """What the interval says; ``invalid`` when too many steps have no answer, which may not be by chance."""
        if not self.report.is_valid:
            return "invalid"
        return self.profiles[STANDARD].verdict(self.min_accuracy)

    @property
    def depends_on_rules(self) -> bool:
        """Whether another profile of matching would give another verdict."""
        return len({shares.verdict(self.min_accuracy) for shares in self.profiles.values()}) > 1

    @property
    def probability(self) -> tuple[float, float]:
        """That the true share is what is demanded or more, for someone who knew nothing before (Jeffreys).

        When all undetermined chains are wrong, and when all of them are right.
        """
        shares = self.profiles[STANDARD]
        low, high = (_posterior(share, self.min_accuracy) for share in (shares.at_least, shares.at_most))
        return low, high

    @property
    def chains_to_decide(self) -> int | None:
        """About how many chains more would decide, if the shares and the design effect stayed; None: out of reach."""
        if self.verdict != "inconclusive":
            return None
        shares = self.profiles[STANDARD]
        toward = [
            share
            for share, is_toward in (
                (shares.at_least, (shares.at_least.estimate or 0.0) > self.min_accuracy),
                (shares.at_most, (shares.at_most.estimate or 0.0) < self.min_accuracy),
            )
            if is_toward
        ]
        if not toward:
            return None
        (share,) = toward
        needed_for = cases_to_clear if self.is_sequential else cases_to_decide
        needed = needed_for(share.estimate or 0.0, self.min_accuracy, confidence=share.confidence)
        return None if needed is None else max(1, round(needed * share.design_effect) - share.denominator)

    @property
    def groups_to_decide(self) -> int | None:
        """About how many groups those chains have to be of; None: as many as there are chains."""
        if self.chains_to_decide is None or self.chains.n_effective is None or self.is_sequential:
            return None
        return ceil(self.chains_to_decide * self.n_clusters / sum(self.tiers.values()))

    def to_json(self) -> dict[str, Any]:
        """Return all parts."""
        return {
            "format": FORMAT,
            "run": self.report.run.name,
            "tag": self.report.run.tag,
            "model": self.report.run.model,
            "verdict": self.verdict,
            "min_accuracy": self.min_accuracy,
            "sequential": self.is_sequential,
            "kind": self.report.word,
            "chains": self.chains.to_json(),
            "undetermined": self.n_undetermined,
            "at_least": self.profiles[STANDARD].at_least.to_json(),
            "at_most": self.profiles[STANDARD].at_most.to_json(),
            "profiles": {name: shares.chains.to_json() for name, shares in self.profiles.items()},
            "depends_on_rules": self.depends_on_rules,
            "deciding_scenarios": list(self.deciding),
            "clusters": self.n_clusters,
            "largest_cluster": self.n_largest,
            "covered": self.covered,
            "ignores_weights": self.ignores_weights,
            "probability": self.probability[0],
            "probability_at_most": self.probability[1],
            "chains_to_decide": self.chains_to_decide,
            "clusters_to_decide": self.groups_to_decide,
            "tiers": dict(self.tiers),
        }


def gate_run(
    log: "ToolLog",
    name: str,
    *,
    min_accuracy: float = MIN_ACCURACY,
    confidence: float = DEFAULT_CONFIDENCE,
    sequential: bool = False,
) -> Gate:
    """Hold a run against a demand.

    Args:
        log: The store.
        name: Of the run, which may still be going on if the gate is sequential.
        min_accuracy: Share of chains that have to be right.
        confidence: Of the interval.
        sequential: Use an interval that may be looked at after every answer.

    Raises:
        NothingMatchedError: There is no such run, or no chain that could be judged.
        ConfigError: A share that is none; or a run that is not finished, and a gate that is not sequential.
    """
    return gate_of(load(log, name), min_accuracy=min_accuracy, confidence=confidence, sequential=sequential)


def gate_of(
    of: Material,
    *,
    min_accuracy: float = MIN_ACCURACY,
    confidence: float = DEFAULT_CONFIDENCE,
    sequential: bool = False,
) -> Gate:
    """Do what ``gate_run`` does. Pure."""
    _require_shares(min_accuracy, confidence)
    _require_one_look(of.run, min_accuracy, sequential=sequential)
    counted = labelled(of) or of.scenarios.keys()
    found = {profile: judged_chains(of, profile) for profile in PROFILES}
    chains = only(found[STANDARD].if_undetermined_were(False), counted)
    if not chains:
        raise NothingMatchedError(
            f"no chain of {of.run.name} could be judged", hint=f"`toollog replay report {of.run.name}` says why"
        )
    share = _Sharing(of, min_accuracy, confidence, sequential, _first_awaited(of, found[STANDARD], counted))
    groups = Counter(of.places[key].cluster for key in chains)
    return Gate(
        report=summarise(of),
        min_accuracy=min_accuracy,
        is_sequential=sequential,
        tiers=dict(Counter(of.scenarios[key].tier for key in chains)),
        n_clusters=len(groups),
        n_largest=max(groups.values()),
        n_undetermined=sum(found[STANDARD].verdicts[key] is None for key in chains),
        profiles={profile: share.of(each, counted) for profile, each in found.items() if each.verdicts},
        deciding=tuple(_deciding(of, found.values(), counted)),
        covered=of.covered(chains),
        ignores_weights=sequential and len({of.places[key].weight for key in counted}) > 1,
    )


@dataclass(frozen=True, slots=True)
class _Sharing:
    """How a gate counts."""

    material: Material
    min_accuracy: float
    confidence: float
    is_sequential: bool
    first_awaited: int | None
    """The first chain that may still get a verdict: a sequential gate does not look behind it."""

    def of(self, chains: Chains, counted: Collection[int]) -> Shares:
        known = (chains.determined, chains.if_undetermined_were(False), chains.if_undetermined_were(True))
        verdicts = [only(each, counted) for each in known]
        if not self.is_sequential:
            return Shares(*(share_of(self.material, each, confidence=self.confidence) for each in verdicts))
        return Shares(*(self._share(results) for results in self._until_decided(*map(self._in_order, verdicts))))

    def _in_order(self, verdicts: Mapping[int, bool]) -> dict[str, bool]:
        """Return the first verdict of each cluster, in the order of the run, as far as that may be looked at."""
        first: dict[str, bool] = {}
        for key, place in self.material.places.items():
            if key == self.first_awaited:
                break
            if key in verdicts:
                first.setdefault(place.cluster, verdicts[key])
        return first

    def _until_decided(
        self, determined: Mapping[str, bool], at_least: Mapping[str, bool], at_most: Mapping[str, bool]
    ) -> tuple[list[bool], list[bool], list[bool]]:
        """Return the verdicts up to the decision: what several processes asked after it changes no figure."""
        ends = [
            n
            for verdicts, end in ((at_least, True), (at_most, False))
            for decided, n in [self._first_decision(verdicts, end)]
            if decided is not None
        ]
        counts = frozenset(list(at_least)[: min(ends)]) if ends else at_least.keys()
        cut = [[value for name, value in each.items() if name in counts] for each in (determined, at_least, at_most)]
        return cut[0], cut[1], cut[2]

    def _first_decision(self, verdicts: Mapping[str, bool], end: bool) -> tuple[bool | None, int]:
        return first_decision(verdicts.values(), self.min_accuracy, confidence=self.confidence, only=end)

    def _share(self, results: Sequence[bool]) -> Proportion:
        return any_time(sum(results), len(results), expected=self.min_accuracy, confidence=self.confidence)


def _first_awaited(of: Material, found: Chains, counted: Collection[int]) -> int | None:
    """Return the first chain of a run that goes on which has no verdict, and was not lost to the infrastructure.

    Cases have to come in an order that does not depend on how they end, and wrong answers may take longer.
    """
    if of.run.status == "finished":
        return None
    lost = {trial.scenario_id for trial in of.trials if trial.status == "infra_error"}
    waits = (key for key in of.places if key in counted and key not in found.verdicts and key not in lost)
    return next((key for key in waits if _can_be_judged(of, key)), None)


def _can_be_judged(of: Material, key: int) -> bool:
    scenario = of.scenarios[key]
    return can_loop(scenario) is None if of.is_closed_loop else scenario.is_whole


def _posterior(share: Proportion, bound: float) -> float:
    n = share.n_effective or float(share.denominator)
    return posterior_above((share.estimate or 0.0) * n, n, bound)


def _deciding(of: Material, found: Iterable[Chains], counted: Collection[int]) -> Iterator[str]:
    all_verdicts = [chains.verdicts for chains in found]
    for key, place in of.places.items():
        if key in counted and len({verdicts.get(key) for verdicts in all_verdicts}) > 1:
            yield place.uid


def _require_shares(min_accuracy: float, confidence: float) -> None:
    for word, share in (("accuracy", min_accuracy), ("confidence", confidence)):
        if not 0 < share < 1:
            raise ConfigError(f"the {word} must lie between 0 and 1, not {share}", hint="0.85 is 85 of 100")


def _require_one_look(run: RunRow, min_accuracy: float, *, sequential: bool) -> None:
    """Refuse a gate that would be one look of several, and is not made for that."""
    if run.status != "finished" and not sequential:
        raise ConfigError(
            f"{run.name} is {run.status}: what it has not been asked may fare otherwise",
            hint=f"toollog replay run --resume {run.name}; or --sequential, which may look before the end",
        )
    until = run.params.get(UNTIL)
    if until is not None and not (sequential and min_accuracy == until):
        raise ConfigError(
            f"{run.name} was to end as soon as {until:g} was clear: another look would err more often than it says",
            hint=f"toollog replay gate {run.name} --sequential --min-accuracy {until:g}",
        )
