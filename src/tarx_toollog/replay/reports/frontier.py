"""How deep do chains go before the model breaks? The survival curve of chains, and one sentence about it.

A level *holds* when the whole interval of the share of chains that are right up to it lies at or above what is
demanded; it *breaks* when it lies below. Levels between the last that holds and the first that breaks are undecided.

Each end errs in less than 5 of 100 runs, though it is one of several intervals. A step holds only where all before it
do, so that the first step that should not is the one that decides. And the share only falls: where it is truly high
enough at some step it is so at all before, by more, and their intervals rest on the same chains.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tarx_toollog.replay.scenario import Scenario
from tarx_toollog.replay.statistics.proportion import cases_to_decide
from tarx_toollog.replay.statistics.survival import Survival

MIN_SHARE = 0.85
"""Share of chains that have to be right up to a step, for the step to hold."""


@dataclass(frozen=True, slots=True)
class Frontier:
    """Where a model's chains stop being right often enough."""

    min_share: float
    holds_to: Survival | None
    """The last step up to which, and at every step before it, the chains hold."""
    breaks_by: Survival | None
    """The first step by which they break."""
    undecided: tuple[Survival, ...]

    def to_json(self) -> dict[str, Any]:
        """Return all parts, with the sentence."""
        return {
            "min_share": self.min_share,
            "holds_to": None if self.holds_to is None else self.holds_to.to_json(),
            "breaks_by": None if self.breaks_by is None else self.breaks_by.to_json(),
            "undecided": [
                {**step.to_json(), "chains_to_decide": self.chains_to_decide(step)} for step in self.undecided
            ],
            "sentence": self.sentence,
        }

    def chains_to_decide(self, step: Survival) -> int | None:
        """Return about how many chains more that reach a step would decide about it."""
        needed = cases_to_decide(step.share, self.min_share)
        return None if needed is None else max(1, round(needed * step.design_effect) - step.at_risk)

    @property
    def sentence(self) -> str:
        """The frontier in words."""
        parts = []
        if self.holds_to is not None:
            parts.append(f"holds to step {self.holds_to.step_no} (lower bound {self.holds_to.low * 100:.0f} %)")
        if self.breaks_by is not None:
            parts.append(f"breaks by step {self.breaks_by.step_no} (upper bound {self.breaks_by.high * 100:.0f} %)")
        parts += [self._doubt(step) for step in self.undecided[:1]]
        if len(self.undecided) > 1:
            first, last = self.undecided[1].step_no, self.undecided[-1].step_no
            parts.append(f"so is step {first}" if first == last else f"so are steps {first} to {last}")
        return ", ".join(parts) or "no chain could be judged"

    def _doubt(self, step: Survival) -> str:
        more = self.chains_to_decide(step)
        way = "too near to the bound to be told" if more is None else f"about {more} chains more would decide"
        return f"step {step.step_no} is undecided ({step.at_risk} chains; {way})"


def chain_ends(
    scenarios: Mapping[int, Scenario], results: Iterable[tuple[int, int, bool]]
) -> dict[int, tuple[int, bool]]:
    """Return for each chain, by key, the step up to which it is known, and whether it went wrong there.

    A chain is known up to its first wrong step, or to the last one before a step that was left out or not answered.

    Args:
        scenarios: By their keys.
        results: Key of a scenario, step, and whether it was right.
    """
    known: dict[int, dict[int, bool]] = defaultdict(dict)
    for key, step_no, is_right in results:
        known[key][step_no] = is_right
    ends: dict[int, tuple[int, bool]] = {}
    for key, scenario in scenarios.items():
        left_out = {omitted.step_no for omitted in scenario.omitted}
        end, is_wrong = 0, False
        for step_no in sorted({*left_out, *(step.step_no for step in scenario.steps)}):
            if step_no not in known[key]:
                break
            end, is_wrong = end + 1, not known[key][step_no]
            if is_wrong:
                break
        if end:
            ends[key] = end, is_wrong
    return ends


def frontier(steps: Sequence[Survival], min_share: float = MIN_SHARE) -> Frontier:
    """Return where the chains stop being right often enough."""
    holds_to: Survival | None = None
    for step in steps:
        if step.low < min_share:
            break
        holds_to = step
    breaks_by = next((step for step in steps if step.high < min_share), None)
    first = 0 if holds_to is None else holds_to.step_no
    last = len(steps) if breaks_by is None else breaks_by.step_no - 1
    return Frontier(min_share, holds_to, breaks_by, tuple(steps[first:last]))
