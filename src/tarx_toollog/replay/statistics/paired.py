"""Two models on the same cases: is the difference more than chance?"""

from dataclasses import dataclass
from math import comb, sqrt
from statistics import NormalDist
from typing import Any

from tarx_toollog.replay.statistics.proportion import DEFAULT_CONFIDENCE


@dataclass(frozen=True, slots=True)
class PairedDifference:
    """How two models did on the same cases: the four counts, and the difference that they show."""

    both: int
    only_first: int
    only_second: int
    neither: int
    low: float
    """Of the difference, in shares: the second model's minus the first's."""
    high: float
    mid_p: float
    """Mid-p McNemar test that the two are equally often right, two-sided."""
    exact_p: float
    """The same test, exact: larger than it needs to be."""
    confidence: float = DEFAULT_CONFIDENCE

    @property
    def n_pairs(self) -> int:
        """Cases that both were judged on."""
        return self.both + self.only_first + self.only_second + self.neither

    @property
    def estimate(self) -> float | None:
        """The difference of the shares; None when nothing was compared."""
        return (self.only_second - self.only_first) / self.n_pairs if self.n_pairs else None

    def to_json(self) -> dict[str, Any]:
        """Return all parts, with the names of the methods."""
        return {
            "both": self.both,
            "only_first": self.only_first,
            "only_second": self.only_second,
            "neither": self.neither,
            "pairs": self.n_pairs,
            "difference": self.estimate,
            "low": self.low,
            "high": self.high,
            "method": "bonett-price",
            "confidence": self.confidence,
            "mid_p": self.mid_p,
            "exact_p": self.exact_p,
            "test": "mcnemar",
        }


def paired_difference(
    both: int, only_first: int, only_second: int, neither: int, *, confidence: float = DEFAULT_CONFIDENCE
) -> PairedDifference:
    """Return the difference of two shares that were counted on the same cases.

    The interval is Bonett and Price's (2012): a Wald interval after one case was added to each of the two discordant
    counts. The tests are McNemar's: only the cases on which the two differ say which is better. Mid-p, because the
    exact test keeps a promise of 5 % by giving 1 to 3 % (Fagerland et al. 2013); with equal counts it is 1.

    Example:
        >>> found = paired_difference(3, 0, 12, 1)
        >>> f"{found.estimate:+.2f} [{found.low:+.3f}, {found.high:+.3f}], p {found.mid_p:.4f}"
        '+0.75 [+0.400, +0.933], p 0.0002'

    Raises:
        ValueError: A count is negative, or the confidence makes no sense.
    """
    if min(both, only_first, only_second, neither) < 0:
        raise ValueError("a count of cases cannot be negative")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, not {confidence}")
    mid_p, exact_p = _mcnemar(only_first, only_second)
    n = both + only_first + only_second + neither
    low, high = bonett_price(only_first, only_second, n, confidence=confidence) if n else (-1.0, 1.0)
    return PairedDifference(both, only_first, only_second, neither, low, high, mid_p, exact_p, confidence)


def bonett_price(
    only_first: float, only_second: float, n_pairs: float, *, confidence: float = DEFAULT_CONFIDENCE
) -> tuple[float, float]:
    """Return the interval of the difference of two paired shares; counts may be expected ones."""
    first, second = (only_first + 1) / (n_pairs + 2), (only_second + 1) / (n_pairs + 2)
    difference = second - first
    spread = NormalDist().inv_cdf((1 + confidence) / 2) * sqrt((first + second - difference**2) / (n_pairs + 2))
    return max(-1.0, difference - spread), min(1.0, difference + spread)


def _mcnemar(left: int, right: int) -> tuple[float, float]:
    """Return the mid-p and the exact probability of counts as uneven as these, or more, if both sides are alike."""
    n, fewer = left + right, min(left, right)
    if left == right:
        return 1.0, 1.0
    # In whole numbers, which Python has of any size: 2**-n is 0 from n = 1075 on.
    tail = sum(comb(n, k) for k in range(fewer + 1))
    return (2 * tail - comb(n, fewer)) / 2**n, 2 * tail / 2**n


def pairs_to_decide(difference: PairedDifference) -> int | None:
    """Return about how many pairs would show a difference of the size that was found; None where none was found.

    As many as it takes for the interval to leave out 0 when the shares stay as they are: an even chance, no promise.
    """
    n = difference.n_pairs
    if not n or difference.only_first == difference.only_second:
        return None
    first, second = difference.only_first / n, difference.only_second / n
    low, high = 1, 1
    while not _is_decided(first, second, high):
        low, high = high, high * 2
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if _is_decided(first, second, middle) else (middle + 1, high)
    return high


def _is_decided(first: float, second: float, n_pairs: int) -> bool:
    low, high = bonett_price(first * n_pairs, second * n_pairs, n_pairs)
    return low > 0 or high < 0
