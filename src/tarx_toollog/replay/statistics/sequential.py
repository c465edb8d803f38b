"""Looking at a share after every case, and stopping when it is clear: with an interval that stands being looked at.

A 95 % interval errs one time in twenty when it is looked at once. Who looks after every case, and stops at the first
one that pleases, errs one time in three. This one keeps its promise over all looks together.

*Theory.* For each possible share p, M(p) = ∫ L(q) dB(q) / L(p) is how much better a bettor does who does not know the
share (her beliefs are the beta distribution B) than chance would allow if p were true. If p is true, M is a martingale
that begins at 1, and by Ville's inequality it ever reaches 1/α with a probability of at most α. So the shares with
M(p) < 1/α, taken after any case, hold the true one with a confidence of 1 - α, at all times at once (Robbins 1970;
Howard et al. 2021, https://arxiv.org/abs/1810.08240). Cases must come in an order that does not depend on how they
end.
"""

from collections.abc import Callable, Iterable
from math import log, log1p

from tarx_toollog.replay.statistics.beta import log_beta
from tarx_toollog.replay.statistics.proportion import DEFAULT_CONFIDENCE, Proportion, least

PRIOR_CASES = 10.0
"""How many cases the bettor's beliefs are worth: few, so that she learns; not one, so that she knows something."""
_HALVINGS = 200  # until two neighbouring floats are left


def any_time(
    numerator: int, denominator: int, *, expected: float, confidence: float = DEFAULT_CONFIDENCE
) -> Proportion:
    """Return a share with an interval that may be looked at after every case.

    Args:
        numerator: Right cases so far.
        denominator: Cases so far.
        expected: The share that is looked at, for example the bound of a gate: near it the interval is narrowest.
            It must be chosen before the first case.
        confidence: Of all looks together.

    Example:
        >>> share = any_time(95, 100, expected=0.85)
        >>> f"{share.estimate:.2f} [{share.low:.3f}, {share.high:.3f}]"
        '0.95 [0.858, 0.991]'

    Raises:
        ValueError: The counts, the share or the confidence make no sense.
    """
    if not 0 <= numerator <= denominator:
        raise ValueError(f"{numerator} of {denominator} is not a share")
    if not 0 < expected < 1 or not 0 < confidence < 1:
        raise ValueError("the expected share and the confidence must lie between 0 and 1")
    if denominator == 0:
        return Proportion(0, 0, 0.0, 1.0, "beta-binomial confidence sequence", confidence)
    misses = denominator - numerator
    limit = _limit(numerator, misses, expected, confidence)

    def is_inside(share: float) -> bool:
        return _log_likelihood(share, numerator, misses) > limit

    best = numerator / denominator
    low = 0.0 if numerator == 0 else _edge(best, 0.0, is_inside)
    high = 1.0 if misses == 0 else _edge(best, 1.0, is_inside)
    return Proportion(numerator, denominator, low, high, "beta-binomial confidence sequence", confidence)


def first_decision(
    results: Iterable[bool], bound: float, *, confidence: float = DEFAULT_CONFIDENCE, only: bool | None = None
) -> tuple[bool | None, int]:
    """Return whether the share is at least ``bound``, and after how many cases that is clear.

    None when it is not clear after the last one. With ``only``, nothing but that decision counts as one.
    """
    right = n = 0
    for is_right in results:
        right, n = right + is_right, n + 1
        if _is_clear(right, n - right, bound, confidence) and only in (None, right / n > bound):
            return right / n > bound, n
    return None, n


def cases_to_clear(share: float, bound: float, *, confidence: float = DEFAULT_CONFIDENCE) -> int | None:
    """Return about how many cases it takes until it is clear whether the share is at least ``bound``.

    If the share stays as it is: an even chance, no promise. None beyond 100,000.
    """
    return least(lambda n: _is_clear(share * n, (1 - share) * n, bound, confidence))


def _is_clear(numerator: float, misses: float, bound: float, confidence: float) -> bool:
    return _log_likelihood(bound, numerator, misses) <= _limit(numerator, misses, bound, confidence)


def _limit(numerator: float, misses: float, expected: float, confidence: float) -> float:
    """Return the logarithm of the likelihood up to which a share is excluded."""
    a, b = PRIOR_CASES * expected, PRIOR_CASES * (1 - expected)
    return log_beta(a + numerator, b + misses) - log_beta(a, b) + log(1 - confidence)


def _log_likelihood(share: float, numerator: float, misses: float) -> float:
    return (numerator * log(share) if numerator else 0.0) + (misses * log1p(-share) if misses else 0.0)


def _edge(inside: float, outside: float, is_inside: Callable[[float], bool]) -> float:
    """Return the last share on the way from one that is inside to an end of the range that is still inside."""
    for _ in range(_HALVINGS):
        middle = (inside + outside) / 2
        if middle in (inside, outside):
            break
        if is_inside(middle):
            inside = middle
        else:
            outside = middle
    return outside
