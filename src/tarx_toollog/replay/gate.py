"""Is the model good enough? Three answers, because data may not be enough to say: PASS, FAIL, INCONCLUSIVE.

PASS when the whole interval of the share of right chains lies at or above what is demanded, FAIL when it lies below,
INCONCLUSIVE else. A gate with two answers decides by luck where the interval holds the bound. The gate is on chains,
which is what a user sees: chains of three steps that are right in 85 of 100 cases have steps that are right in 95.

Turns of one conversation hang together, so conversations are the clusters of the interval. A sequential gate may be
looked at after every answer (``statistics.sequential``); there only one chain of each conversation counts, the first in
the order of the run, because that interval takes cases to be independent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from tarx_toollog.errors import ConfigError, NothingMatchedError
from tarx_toollog.replay.report import PROFILES, Report, judged_chains, judged_trials, summarise
from tarx_toollog.replay.scoring import scenarios_of
from tarx_toollog.replay.statistics.proportion import (
    DEFAULT_CONFIDENCE,
    Case,
    Proportion,
    cases_to_decide,
    clustered,
    posterior_above,
)
from tarx_toollog.replay.statistics.sequential import any_time
from tarx_toollog.store.replays import UNTIL, Replays, RunRow

if TYPE_CHECKING:
    from tarx_toollog.store.log import ToolLog

FORMAT = 1
"""Version of the JSON form."""
MIN_ACCURACY = 0.85
"""Of chains: below it, fine-tuning is worth it."""

GateVerdict = Literal["pass", "fail", "inconclusive", "invalid"]


@dataclass(frozen=True, slots=True)
class Gate:
    """What a run says about a demand."""

    report: Report
    min_accuracy: float
    chains: Proportion
    is_sequential: bool
    n_conversations: int
    profiles: Mapping[str, Proportion]
    """The same share under each profile of matching: strict, standard, lenient."""
    deciding: tuple[str, ...]
    """Scenarios whose chains are right under one profile and wrong under another."""

    @property
    def verdict(self) -> GateVerdict:
        """What the interval says; ``invalid`` when too many steps have no answer, which may not be by chance."""
        if not self.report.is_valid:
            return "invalid"
        return self._verdict_on(self.chains)

    @property
    def depends_on_rules(self) -> bool:
        """Whether another profile of matching would give another verdict."""
        return len({self._verdict_on(share) for share in self.profiles.values()}) > 1

    def _verdict_on(self, share: Proportion) -> GateVerdict:
        if share.low >= self.min_accuracy:
            return "pass"
        return "fail" if share.high < self.min_accuracy else "inconclusive"

    @property
    def probability(self) -> float:
        """That the true share is what is demanded or more, for someone who knew nothing before (Jeffreys)."""
        n = self.chains.n_effective or float(self.chains.denominator)
        return posterior_above((self.chains.estimate or 0.0) * n, n, self.min_accuracy)

    @property
    def chains_to_decide(self) -> int | None:
        """About how many chains more would decide, if the share and the design effect stayed; None: out of reach."""
        if self.verdict != "inconclusive" or self.chains.estimate is None:
            return None
        needed = cases_to_decide(self.chains.estimate, self.min_accuracy, confidence=self.chains.confidence)
        if needed is None:
            return None
        return max(1, round(needed * self.chains.design_effect) - self.chains.denominator)

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
            "chains": self.chains.to_json(),
            "profiles": {name: share.to_json() for name, share in self.profiles.items()},
            "depends_on_rules": self.depends_on_rules,
            "deciding_scenarios": list(self.deciding),
            "conversations": self.n_conversations,
            "probability": self.probability,
            "chains_to_decide": self.chains_to_decide,
            "tiers": dict(self.report.tiers),
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
    _require_shares(min_accuracy, confidence)
    replays = Replays(log)
    run = replays.run(name)
    _require_one_look(run, min_accuracy, sequential=sequential)
    known = scenarios_of(log, run)
    scenarios = {row.id: scenario for row, scenario in known}
    trials = list(replays.trials(run.id))
    results = {name: judged_chains(scenarios, judged_trials(trials), scorer)[0] for name, scorer in PROFILES.items()}
    chains = results["standard"]
    if not chains:
        raise NothingMatchedError(
            f"no chain of {name} could be judged", hint=f"`toollog replay report {name}` says why"
        )
    conversations = {key: scenario.conversation_uid for key, scenario in scenarios.items()}

    def share_of(found: Mapping[int, bool]) -> Proportion:
        if sequential:
            first = first_of_each([(conversations[key], found[key]) for key in scenarios if key in found])
            return any_time(sum(first), len(first), expected=min_accuracy, confidence=confidence)
        return clustered((Case(ok, conversations[key]) for key, ok in found.items()), confidence=confidence)

    return Gate(
        report=summarise(run, scenarios, trials),
        min_accuracy=min_accuracy,
        chains=share_of(chains),
        is_sequential=sequential,
        n_conversations=len({conversations[key] for key in chains}),
        profiles={profile: share_of(found) for profile, found in results.items() if found},
        deciding=tuple(row.uid for row, _ in known if len({found.get(row.id) for found in results.values()}) > 1),
    )


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


def first_of_each(chains: Sequence[tuple[str, bool]]) -> list[bool]:
    """Return the results of the first chain of each conversation."""
    first: dict[str, bool] = {}
    for conversation, is_right in chains:
        first.setdefault(conversation, is_right)
    return list(first.values())
