"""What was made of a log when a suite was frozen: how much was taken, what it stands for, and what is still missing."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from tarx_toollog.replay.scenario import TIERS, Scenario
from tarx_toollog.replay.suites.label_lint import LintReport
from tarx_toollog.replay.suites.sampling import Stratum, uncovered_share

_EXAMPLES = 2  # findings of each code that are shown and kept


@dataclass(frozen=True, slots=True)
class BuildReport:
    """What ``build`` made of the log."""

    tag: str
    turns: int
    taken: int
    """Scenarios."""
    equal: int
    """Turns that ask the same as another one."""
    steps: int
    """Steps of the scenarios."""
    kept_for: Mapping[str, int] = field(default_factory=dict)
    """Turns that match too, but whose conversations are kept for something else, by split."""
    skipped: Mapping[str, int] = field(default_factory=dict)
    """Turns without a scenario, by reason."""
    omitted: Mapping[str, int] = field(default_factory=dict)
    """Single steps left out of scenarios, by reason."""
    sample: int | None = None
    """At most so many scenarios were wanted."""
    filters: Mapping[str, Any] = field(default_factory=dict)
    """Which turns were meant."""
    tiers: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """Scenarios and steps by tier."""
    strata: tuple[Stratum, ...] = ()
    lint: LintReport = field(default_factory=lambda: LintReport(()))
    is_new: bool = True
    """False: the very same suite was there already."""

    @property
    def splits(self) -> tuple[str, ...]:
        """What the conversations that it took were kept for; ``eval`` alone, unless somebody asked for more."""
        return tuple(self.filters.get("splits", ()))

    @property
    def needs_label(self) -> int:
        """Turns of which a step waits for a label."""
        return sum(stratum.needs_label for stratum in self.strata)

    @property
    def uncovered(self) -> float:
        """Share of the turns that nothing in the suite stands for."""
        return uncovered_share(self.strata)

    @property
    def next_step(self) -> str | None:
        """What to type next to make the suite say more; None where nothing is missing."""
        if not self.needs_label:
            return None
        turns = "1 turn" if self.needs_label == 1 else f"{self.needs_label} turns"
        return f"label {turns}: toollog labels queue --tag {self.tag}"

    def made(self) -> dict[str, Any]:
        """Return what is kept with the suite: all but the findings of the lint, which quote what was said."""
        lint = {key: value for key, value in self.lint.to_json().items() if key != "findings"}
        return {**self.to_json(), "lint": lint}

    def to_json(self) -> dict[str, Any]:
        """Return it as a JSON object."""
        return {
            "tag": self.tag,
            "turns": self.turns,
            "taken": self.taken,
            "equal": self.equal,
            "steps": self.steps,
            "sample": self.sample,
            "filters": dict(self.filters),
            "splits": list(self.splits),
            "kept_for": dict(self.kept_for),
            "skipped": dict(self.skipped),
            "omitted_steps": dict(self.omitted),
            "tiers": {tier: {"scenarios": n, "steps": steps} for tier, (n, steps) in self.tiers.items()},
            "needs_label": self.needs_label,
            "uncovered": self.uncovered,
            "strata": [stratum.to_json() for stratum in self.strata],
            "lint": self.lint.to_json(_EXAMPLES),
            "next": self.next_step,
            "new": self.is_new,
        }


def tier_counts(scenarios: Iterable[Scenario]) -> dict[str, tuple[int, int]]:
    """Return scenarios and steps by tier; tiers that none has are left out."""
    whole: Counter[str] = Counter()
    steps: Counter[str] = Counter()
    for scenario in scenarios:
        whole[scenario.tier] += 1
        steps.update(step.tier or scenario.tier for step in scenario.steps)
    return {tier: (whole[tier], steps[tier]) for tier in TIERS if steps[tier]}
