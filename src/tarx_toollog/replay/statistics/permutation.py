"""Do two models differ, where cases come in groups? McNemar's test, in which those of a group change sides together.

*Theory.* If the models are alike, each group's sum of gains and losses could as well have the other sign: one coin for
each group. p is the share of all ways in which the coins can fall that put the groups as far from 0 as they are, or
farther. With groups of one case that is McNemar's test. Where many groups part, the sum is as good as normal, which is
the test of Durkalski et al. (2003).
"""

from collections.abc import Iterable
from math import ceil, sqrt
from statistics import NormalDist

_MOST = 500
"""Groups whose coins are counted out, which takes some milliseconds."""
_UNITS = 5_000
"""In how many parts all sums together are cut where they are no whole numbers, or too many."""


def sign_flip(sums: Iterable[float]) -> tuple[float, float]:
    """Return the mid-p and the exact probability of sums as far from 0 as these, if each could have either sign.

    Example:
        >>> sign_flip([1, 1, 1, 1, -1])
        (0.21875, 0.375)
    """
    parted = [each for each in sums if each]
    total, slack = sum(map(abs, parted)), 0
    if total > _UNITS or any(each != int(each) for each in parted):
        parted = [round(each / total * _UNITS) for each in parted]
        slack = ceil(sqrt(len(parted)))  # as far as rounding may part what is equal
    whole = [int(each) for each in parted if each]
    if abs(sum(whole)) <= slack:
        return 1.0, 1.0
    if len(whole) > _MOST:
        p = 2 * NormalDist().cdf(-abs(sum(whole)) / sqrt(sum(each**2 for each in whole)))
        return p, p
    fewer = min(sum(each for each in whole if each > 0), -sum(each for each in whole if each < 0))
    ways = _ways(map(abs, whole), fewer + slack)
    beyond, equal = sum(ways[: max(0, fewer - slack)]), sum(ways[max(0, fewer - slack) :])
    n = 2 ** len(whole)
    return min(1.0, (2 * beyond + equal) / n), min(1.0, 2 * (beyond + equal) / n)


def _ways(amounts: Iterable[int], limit: int) -> list[int]:
    """Return in how many ways some of the amounts add up to 0, to 1, and so on up to a limit.

    One number holds the ways of all totals side by side, so that an amount is added with a shift.
    """
    known = list(amounts)
    size = len(known) // 8 + 1  # bytes: enough for 2**n
    kept = (1 << 8 * size * (limit + 1)) - 1
    ways = 1
    for amount in known:
        ways = (ways + (ways << 8 * size * amount)) & kept
    data = ways.to_bytes(size * (limit + 1), "little")
    return [int.from_bytes(data[start : start + size], "little") for start in range(0, len(data), size)]
