"""Shares with their uncertainty: of independent cases, and of cases that hang together or count differently."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import Any, NamedTuple

from tarx_toollog.replay.statistics.beta import beta_cdf
from tarx_toollog.replay.statistics.effective import effective_cases

DEFAULT_CONFIDENCE = 0.95
_MOST = 100_000  # cases: who would need more than this will not get them


@dataclass(frozen=True, slots=True)
class Proportion:
    """``numerator`` of ``denominator``, with the interval of values that the data do not contradict."""

    numerator: int
    denominator: int
    low: float
    high: float
    method: str = "wilson"
    confidence: float = DEFAULT_CONFIDENCE
    weighted: float | None = None
    """The share in which cases count by their weights; None where all count the same."""
    n_effective: float | None = None
    """Independent cases that would tell as much; None where all cases are independent."""

    @property
    def estimate(self) -> float | None:
        """The share; None when nothing was counted, because 0 of 0 is not 0."""
        if not self.denominator:
            return None
        return self.numerator / self.denominator if self.weighted is None else self.weighted

    @property
    def design_effect(self) -> float:
        """How many times as many cases it takes, because some hang together or count for more."""
        return self.denominator / self.n_effective if self.n_effective else 1.0

    def to_json(self) -> dict[str, Any]:
        """Return all parts, so that no reader has to guess how the number came about."""
        return {
            "numerator": self.numerator,
            "denominator": self.denominator,
            "estimate": self.estimate,
            "low": self.low,
            "high": self.high,
            "method": self.method,
            "confidence": self.confidence,
            "weighted": self.weighted is not None,
            "n_effective": self.denominator if self.n_effective is None else round(self.n_effective, 2),
        }


class Case(NamedTuple):
    """One case that was right or wrong."""

    is_right: bool
    cluster: str = ""
    """Cases of one name hang together; those without one stand alone."""
    weight: float = 1.0
    """How many cases it stands for."""


def wilson(numerator: int, denominator: int, *, confidence: float = DEFAULT_CONFIDENCE) -> Proportion:
    """Return a share with its Wilson score interval (Wilson 1927, two-sided, no continuity correction).

    Wilson and not the textbook ``p ± 1.96·s``: that one claims certainty at 0 % and 100 % and leaves the range
    0–1, and both happen all the time with a few dozen scenarios. With nothing counted the interval is 0–1.

    Example:
        >>> share = wilson(17, 20)
        >>> f"{share.estimate:.2f} [{share.low:.3f}, {share.high:.3f}]"
        '0.85 [0.640, 0.948]'

    Raises:
        ValueError: The counts or the confidence make no sense.
    """
    _require(numerator, denominator, confidence)
    if denominator == 0:
        return Proportion(0, 0, 0.0, 1.0, confidence=confidence)
    return Proportion(numerator, denominator, *wilson_bounds(numerator, denominator, confidence), confidence=confidence)


def clustered(cases: Iterable[Case], *, confidence: float = DEFAULT_CONFIDENCE) -> Proportion:
    """Return a share of cases that may hang together, or stand for different numbers of others.

    Wilson's interval for as many independent cases as would tell as much (``effective``).

    Raises:
        ValueError: A weight is not positive, or the confidence makes no sense.
    """
    found = list(cases)
    n, right = len(found), sum(case.is_right for case in found)
    _require(right, n, confidence)
    if any(not 0 < case.weight < float("inf") for case in found):
        raise ValueError("weights must be positive")
    names = [case.cluster or f"\0{number}" for number, case in enumerate(found)]
    is_weighted = len({case.weight for case in found}) > 1
    if not is_weighted and len(set(names)) == n:
        return wilson(right, n, confidence=confidence)
    total = sum(case.weight for case in found)
    share = sum(case.weight for case in found if case.is_right) / total
    values = ((float(case.is_right), name, case.weight) for case, name in zip(found, names, strict=True))
    n_effective = effective_cases(values, confidence=confidence)
    low, high = wilson_bounds(share * n_effective, n_effective, confidence)
    low, high = (0.0 if right == 0 else low), (1.0 if right == n else high)
    weighted = share if is_weighted else None
    return Proportion(right, n, low, high, "wilson, design effect", confidence, weighted, n_effective)


def posterior_above(numerator: float, denominator: float, bound: float) -> float:
    """Return the probability that the true share is at least ``bound``, for someone who knew nothing before.

    The prior is Jeffreys', Beta(½, ½). Counts may be effective ones.
    """
    return 1.0 - beta_cdf(bound, numerator + 0.5, denominator - numerator + 0.5)


def chance_of_so_few(numerator: float, denominator: float, bound: float) -> float:
    """Return the probability that no more cases are right than there were, if ``bound`` is the true share (binomial).

    Counts may be effective ones.
    """
    misses = denominator - numerator
    return 1.0 - beta_cdf(bound, numerator + 1, misses) if misses > 0 else 1.0


def cases_to_decide(share: float, bound: float, *, confidence: float = DEFAULT_CONFIDENCE) -> int | None:
    """Return about how many cases it takes until the interval leaves out ``bound``; None beyond 100,000.

    If the share stays as it is: an even chance, no promise.
    """

    def is_decided(n: int) -> bool:
        low, high = wilson_bounds(share * n, n, confidence)
        return low >= bound or high < bound

    return least(is_decided)


def least(is_decided: Callable[[int], bool]) -> int | None:
    """Return the least number of cases that decides; None beyond 100,000."""
    low, high = 1, 1
    while not is_decided(high):
        low, high = high, high * 2
        if high > _MOST:
            return None
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if is_decided(middle) else (middle + 1, high)
    return high


def wilson_bounds(numerator: float, denominator: float, confidence: float) -> tuple[float, float]:
    """Return Wilson's interval; counts may be expected or effective ones, more than 0 in all."""
    z2 = NormalDist().inv_cdf((1 + confidence) / 2) ** 2
    misses = denominator - numerator
    centre = numerator + z2 / 2
    spread = sqrt(z2 * numerator * misses / denominator + z2 * z2 / 4)
    # At the ends the bound is exactly 0 or 1; the subtraction would leave a rounding error there.
    low = 0.0 if numerator == 0 else (centre - spread) / (denominator + z2)
    high = 1.0 if misses == 0 else (centre + spread) / (denominator + z2)
    return low, high


def _require(numerator: int, denominator: int, confidence: float) -> None:
    if not 0 <= numerator <= denominator:
        raise ValueError(f"{numerator} of {denominator} is not a share")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, not {confidence}")
