"""Proportions with their uncertainty. Pure standard library; scipy is only the oracle of the tests."""

from dataclasses import dataclass
from math import sqrt
from statistics import NormalDist
from typing import Any

DEFAULT_CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Proportion:
    """``numerator`` of ``denominator``, with the interval of values that the data do not contradict."""

    numerator: int
    denominator: int
    low: float
    high: float
    method: str = "wilson"
    confidence: float = DEFAULT_CONFIDENCE

    @property
    def estimate(self) -> float | None:
        """The share; None when nothing was counted, because 0 of 0 is not 0."""
        return self.numerator / self.denominator if self.denominator else None

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
        }


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
    if not 0 <= numerator <= denominator:
        raise ValueError(f"{numerator} of {denominator} is not a share")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, not {confidence}")
    if denominator == 0:
        return Proportion(0, 0, 0.0, 1.0, confidence=confidence)
    z2 = NormalDist().inv_cdf((1 + confidence) / 2) ** 2
    misses = denominator - numerator
    centre = numerator + z2 / 2
    spread = sqrt(z2 * numerator * misses / denominator + z2 * z2 / 4)
    # At the ends the bound is exactly 0 or 1; the subtraction would leave a rounding error there.
    low = 0.0 if numerator == 0 else (centre - spread) / (denominator + z2)
    high = 1.0 if misses == 0 else (centre + spread) / (denominator + z2)
    return Proportion(numerator, denominator, low, high, confidence=confidence)
