"""The road that all probes share: choose scenarios, store their variants, read how a run did on each.

A case is a scenario, right when every step of it is right. Variants of one scenario are held against
each other, never against those of another one.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from tarx_toollog.errors import ConfigError, NothingMatchedError
from tarx_toollog.replay.reports.chains import VERDICT, is_right, judged_chains, judged_trials
from tarx_toollog.replay.reports.material import load
from tarx_toollog.replay.reports.report import MAX_INFRA_SHARE
from tarx_toollog.replay.scenario import Scenario, Variant
from tarx_toollog.replay.suites.freeze import stored
from tarx_toollog.store.replays import Replays, RunRow, TrialRow
from tarx_toollog.store.suites import Suites, suite_hash

if TYPE_CHECKING:
    from tarx_toollog.store.log import ToolLog


_LASTING = ("prompt too long", "prompt truncated", "history refused")
"""How the notes of a runner begin on answers that say nothing about the model, and would fare the same again."""


@dataclass(frozen=True, slots=True)
class Original:
    """A scenario that variants are made of."""

    uid: str
    scenario: Scenario
    tag: str
    """The suite that it is in."""
    cluster: str | None = None
    """What it hangs together with; None: with the others of its conversation."""


@dataclass(frozen=True, slots=True)
class Planned:
    """What a probe is going to ask, before it is frozen."""

    base: str
    """The name that is wanted for the suite."""
    variants: Sequence[Scenario]
    made: Mapping[str, Any]
    """How they were made, for people."""
    clusters: Mapping[str, str | None]
    """Name of an original → what it hangs together with."""
    warnings: tuple[str, ...] = ()
    """What should be known before it is asked."""

    @property
    def each(self) -> tuple[Scenario, ...]:
        """The variants, equal ones once."""
        return tuple({variant.content_hash: variant for variant in self.variants}.values())

    def to_json(self) -> dict[str, Any]:
        """Return how much it is."""
        return {
            "suite": self.base,
            "cases": len({variant.variant.of for variant in self.each if variant.variant}),
            "variants": len(self.each),
            "requests": sum(len(variant.steps) for variant in self.each),
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True, slots=True)
class Case:
    """One variant, and how a run did on it."""

    scenario: Scenario
    variant: Variant
    is_right: bool | None
    """None: a step has no answer, or no score yet."""
    code: str | None
    """Primary failure code of the first step that is wrong."""
    trials: tuple[TrialRow, ...]
    """First attempts, in order of the steps."""
    cluster: str
    """Cases of one cluster hang together."""
    fault: str | None = None
    """Why nothing can be said for good: the prompt was too long for the server, for example."""

    @property
    def of(self) -> str:
        """Name of the original: cases with the same one are compared."""
        return self.variant.of


@dataclass(frozen=True, slots=True)
class Reading:
    """A run over the variants of one probe."""

    run: RunRow
    cases: tuple[Case, ...]
    infra_errors: int

    @property
    def n_unjudged(self) -> int:
        """Cases that have no verdict yet."""
        return sum(case.is_right is None and case.fault is None for case in self.cases)

    @property
    def faults(self) -> dict[str, int]:
        """Why cases have no verdict and will get none, most frequent first."""
        kinds = (case.fault.partition(":")[0] for case in self.cases if case.fault is not None)
        return dict(Counter(kinds).most_common())

    @property
    def is_valid(self) -> bool:
        """Whether nearly every step that was asked has an answer."""
        n_asked = sum(len(case.trials) for case in self.cases) + self.infra_errors
        return self.infra_errors <= MAX_INFRA_SHARE * max(n_asked, 1)

    def to_json(self) -> dict[str, Any]:
        """Return what every report of a probe begins with."""
        return {
            "run": self.run.name,
            "tag": self.run.tag,
            "model": self.run.model,
            "status": self.run.status,
            "cases": len(self.cases),
            "unjudged": self.n_unjudged,
            "faults": self.faults,
            "valid": self.is_valid,
            "infra_errors": self.infra_errors,
        }


def originals(log: "ToolLog", tag: str | None, run: str | None, limit: int | None) -> list[Original]:
    """Return the scenarios to make variants of, in the order of their hashes.

    Args:
        log: The store.
        tag: All scenarios of this set; None where ``run`` says it.
        run: Only those that this run got right in full: what it fails at anyway cannot break.
        limit: At most so many.

    Raises:
        NothingMatchedError: There are none.
    """
    if run is None:
        if tag is None:
            raise ConfigError("neither a suite nor a run is named", hint="name a TAG, or --run RUN")
        found = [
            Original(row.uid, Scenario.from_json(row.definition), tag, row.cluster)
            for row in Suites(log).scenarios(tag)
        ]
    else:
        of = load(log, run)
        if tag not in (None, of.run.tag):
            raise ConfigError(f"{run} replayed {of.run.tag!r}, not {tag!r}", hint="leave out the TAG")
        right = [key for key, verdict in judged_chains(of).determined.items() if verdict]
        found = [Original(of.places[key].uid, of.scenarios[key], of.run.tag, of.places[key].cluster) for key in right]
    found = [original for original in found if original.scenario.variant is None]
    if not found:
        raise NothingMatchedError(
            "no scenario to make variants of", hint="`toollog replay list` shows the sets; a run may have none right"
        )
    return found[:limit]


def place(log: "ToolLog", planned: Planned) -> str:
    """Freeze variants as a suite, and return its name: the same variants always have the same one.

    The first of ``base``, ``base-2`` … that is free or holds just these.

    Args:
        log: The store, open for writing.
        planned: What is to be asked.
    """
    suites, clusters, base = Suites(log), planned.clusters, planned.base
    new = [
        replace(stored(variant), cluster=clusters.get(variant.variant.of) if variant.variant else None)
        for variant in planned.each
    ]
    taken, digest = {row["tag"] for row in suites.tags()}, suite_hash(new)
    number, name = 1, base
    while name in taken and not ((there := suites.suite(name)) and there.hash == digest):
        number += 1
        name = f"{base}-{number}"
    suites.freeze(name, new, planned.made)
    return name


def read(log: "ToolLog", name: str, probe: str) -> Reading:
    """Return how the run called ``name`` did on the variants of a probe.

    Raises:
        NothingMatchedError: There is no such run.
        ConfigError: It is a run of something else.
    """
    found = load(log, name)
    if found.is_closed_loop:
        raise ConfigError(f"{name} ran in a closed loop", hint="probes ask with the logged history")
    judged: dict[int, dict[int, TrialRow]] = {}
    for trial in judged_trials(found.trials):
        judged.setdefault(trial.scenario_id, {})[trial.step_no] = trial
    lost = [trial for trial in found.trials if trial.status == "infra_error" and trial.attempt == 1]
    faults = {trial.scenario_id: trial.error for trial in lost if (trial.error or "").startswith(_LASTING)}
    cases = [
        replace(
            _case(scenario, scenario.variant, judged.get(key, {}), found.places[key].cluster), fault=faults.get(key)
        )
        for key, scenario in found.scenarios.items()
        if scenario.variant is not None and scenario.variant.probe == probe
    ]
    if not cases:
        raise ConfigError(f"{name} is no run of the probe {probe}", hint="`toollog replay list` shows the runs")
    return Reading(found.run, tuple(cases), sum(trial.scenario_id not in faults for trial in lost))


def require_no_probe(log: "ToolLog", name: str) -> None:
    """Refuse the run of a probe where a sample of the log is asked for.

    Raises:
        NothingMatchedError: There is no such run.
        ConfigError: It is one.
    """
    (row,) = Suites(log).scenarios(Replays(log).run(name).tag, limit=1)
    variant = Scenario.from_json(row.definition).variant
    if variant is not None:
        raise ConfigError(
            f"{name} is a run of the probe {variant.probe}: it asked each scenario many times, changed, and says "
            "nothing about how often the model is right",
            hint=f"`toollog replay probe {variant.probe} --resume {name}` shows what it says",
        )


def by_original(cases: Iterable[Case]) -> dict[str, Case]:
    """Return the cases that have a verdict, by the scenario that they were made of."""
    return {case.of: case for case in cases if case.is_right is not None}


def _case(scenario: Scenario, variant: Variant, trials: Mapping[int, TrialRow], cluster: str) -> Case:
    asked = tuple(trials[step.step_no] for step in scenario.steps if step.step_no in trials)
    wrong = next((trial for trial in asked if not is_right(trial)), None)
    verdict = None if len(asked) < len(scenario.steps) else wrong is None
    code = None if wrong is None else wrong.scores[VERDICT].detail.get("code")
    return Case(scenario, variant, verdict, code, asked, cluster)
