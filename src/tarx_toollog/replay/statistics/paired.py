"""Two models on the same cases, which may hang together or count differently: is the difference more than chance?"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import comb, sqrt
from statistics import NormalDist
from typing import Any, NamedTuple

from tarx_toollog.replay.statistics.effective import effective_cases
from tarx_toollog.replay.statistics.permutation import sign_flip
from tarx_toollog.replay.statistics.proportion import DEFAULT_CONFIDENCE, least


class Pair(NamedTuple):
    """One case that two models were judged on."""

    first: bool
    second: bool
    cluster: str = ""
    """Cases of one name hang together; those without one stand alone."""
    weight: float = 1.0
    """How many cases it stands for."""


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
    """Mid-p McNemar test that the two are equally often right, two-sided; where cases hang together, by groups."""
    exact_p: float
    """The same test, exact: larger than it needs to be."""
    confidence: float = DEFAULT_CONFIDENCE
    weighted: tuple[float, float] | None = None
    """The shares that only the first got right, and only the second, by weight; None where all cases count the same."""
    n_effective: float | None = None
    """Independent cases that would tell as much; None where all cases are independent."""
    n_parted: int | None = None
    """Groups in which one of the two was right more often, which the tests rest on; None where cases stand alone."""

    @property
    def n_pairs(self) -> int:
        """Cases that both were judged on."""
        return self.both + self.only_first + self.only_second + self.neither

    @property
    def estimate(self) -> float | None:
        """The difference of the shares; None when nothing was compared."""
        first, second = self.discordant
        return second - first if self.n_pairs else None

    @property
    def is_shown(self) -> bool:
        """Whether both say that there is a difference: the interval leaves out 0, and mid-p is small enough."""
        return self.leaves_out_0 and self.is_significant

    @property
    def leaves_out_0(self) -> bool:
        """Whether the interval says so."""
        return self.low > 0 or self.high < 0

    @property
    def is_significant(self) -> bool:
        """Whether mid-p says so."""
        return self.mid_p <= 1 - self.confidence

    @property
    def discordant(self) -> tuple[float, float]:
        """The shares that only the first got right, and only the second."""
        n = max(1, self.n_pairs)
        return (self.only_first / n, self.only_second / n) if self.weighted is None else self.weighted

    @property
    def design_effect(self) -> float:
        """How many times as many cases it takes, because some hang together or count for more."""
        return self.n_pairs / self.n_effective if self.n_effective else 1.0

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
            "method": "bonett-price" if self.n_effective is None else "bonett-price, design effect",
            "confidence": self.confidence,
            "weighted": self.weighted is not None,
            "n_effective": self.n_pairs if self.n_effective is None else round(self.n_effective, 2),
            "mid_p": self.mid_p,
            "exact_p": self.exact_p,
            "test": "mcnemar" if self.n_parted is None else "mcnemar by groups (sign flips)",
            "groups_parted": self.n_parted,
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


def clustered_difference(pairs: Iterable[Pair], *, confidence: float = DEFAULT_CONFIDENCE) -> PairedDifference:
    """Return the difference on cases that may hang together, or stand for different numbers of others.

    Bonett and Price's interval for as many independent cases as would tell as much (``effective``), and McNemar's test
    with the cases of a group on one side together (``permutation``). In both a case counts by its weight.
    """
    known = list(pairs)
    kinds = [(pair.first, pair.second) for pair in known]
    counts = [kinds.count(kind) for kind in ((True, True), (True, False), (False, True), (False, False))]
    found = paired_difference(*counts, confidence=confidence)
    names = [pair.cluster or f"\0{number}" for number, pair in enumerate(known)]
    is_weighted = len({pair.weight for pair in known}) > 1
    if not is_weighted and len(set(names)) == len(known):
        return found
    total = sum(pair.weight for pair in known)
    first, second = (sum(pair.weight for pair in known if (pair.first, pair.second) == kind) / total
                     for kind in ((True, False), (False, True)))  # fmt: skip
    values = [(float(pair.second - pair.first), name, pair.weight) for pair, name in zip(known, names, strict=True)]
    n_effective = effective_cases(values, confidence=confidence)
    low, high = bonett_price(first * n_effective, second * n_effective, n_effective, confidence=confidence)
    sums = defaultdict[str, float](float)
    for value, name, weight in values:
        sums[name] += value * (weight if is_weighted else 1)
    mid_p, exact_p = sign_flip(sums.values())
    weighted = (first, second) if is_weighted else None
    parted = sum(map(bool, sums.values()))
    return replace(found, low=low, high=high, mid_p=mid_p, exact_p=exact_p, weighted=weighted, n_effective=n_effective,
                   n_parted=parted)  # fmt: skip


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

    As many as it takes for the interval to leave out 0 when the shares and the design effect stay as they are: an even
    chance, no promise. None beyond 100,000.
    """
    first, second = difference.discordant
    if first == second:
        return None
    needed = least(lambda n: _is_decided(first, second, n))
    return None if needed is None else round(needed * difference.design_effect)


def _is_decided(first: float, second: float, n_pairs: int) -> bool:
    low, high = bonett_price(first * n_pairs, second * n_pairs, n_pairs)
    return low > 0 or high < 0
