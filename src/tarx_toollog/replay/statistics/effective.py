"""How many independent cases tell as much as some that hang together, or stand for different numbers of others. Pure.

*Theory.* The variance of a mean, by what the clusters say (linearised, as survey statistics do it; Miller 2024,
https://arxiv.org/abs/2411.00640, for answers of models), beside the variance of one case: their quotient is the number
of independent cases. It is never more than the weights leave of them (Kish 1965), since ten heavy cases that are all
right show no variance, and are ten cases all the same. Where few clusters say it, the variance itself is uncertain, so
that Student's quantile takes the place of the normal one (Korn and Graubard 1998).

That alone is too sure where nearly all is right: two failures in eight large clusters show next to no variance, though
a ninth cluster may fail as a whole, and a gate that took their word passed a model at its bound in 13 of 100 suites.
How cases hang together is learned only from clusters in which something differs. So ``CAUTION`` clusters are imagined
whose cases are all alike: they weigh much beside few such clusters, little beside many, and nothing where no case
hangs together with another. Without any difference each cluster counts as one case.
"""

from collections.abc import Iterable, Mapping
from statistics import NormalDist

from tarx_toollog.replay.statistics.beta import student_quantile

CAUTION = 2.0
"""Clusters that are imagined. With two, no simulated gate errs in more than 4 of 100 suites; with none, in up to 23."""


def effective_cases(cases: Iterable[tuple[float, str, float]], *, confidence: float) -> float:
    """Return how many independent cases would tell as much about a mean.

    Args:
        cases: Each with its value, the name of its cluster, and its weight.
        confidence: Of the interval that is to be made of it.

    Example:
        >>> effective_cases([(1.0, "a", 1.0)] * 5 + [(1.0, "b", 1.0)] * 5, confidence=0.95)
        2.0
    """
    known = list(cases)
    total = sum(weight for _, _, weight in known)
    mean = sum(value * weight for value, _, weight in known) / total
    weights, residuals, shares = dict[str, float](), dict[str, float](), dict[float, float]()
    for value, name, weight in known:
        weights[name] = weights.get(name, 0.0) + weight
        residuals[name] = residuals.get(name, 0.0) + weight * (value - mean)
        shares[value] = shares.get(value, 0.0) + weight
    n, n_clusters = len(weights), kish(weights.values())
    if len(shares) < 2 or n < 2:
        return n_clusters
    spread = sum(weight * (value - mean) ** 2 for value, weight in shares.items()) / total
    variance = n / (n - 1) * sum(residual**2 for residual in residuals.values()) / total**2
    inverse = max(variance / spread, 1 / kish(weight for _, _, weight in known))
    usual = max(shares, key=lambda value: shares[value])
    telling = {name for value, name, _ in known if value != usual}
    return 1 / (cautious(inverse, 1 / n_clusters, weights, telling) * few_clusters(weights.values(), confidence))


def cautious(variance: float, worst: float, weights: Mapping[str, float], telling: Iterable[str]) -> float:
    """Return a variance that does not rest on few clusters.

    Args:
        variance: What the clusters show.
        worst: What it would be if all cases of a cluster were alike.
        weights: Of each cluster, by name.
        telling: The clusters in which some case is not like most others are.
    """
    squares = {name: weight**2 for name, weight in weights.items()}
    n_telling = kish(weights.values()) * sum(squares[name] for name in telling) / sum(squares.values())
    return max(variance, (n_telling * variance + CAUTION * worst) / (n_telling + CAUTION))


def few_clusters(weights: Iterable[float], confidence: float) -> float:
    """Return by how much more a variance counts because not many clusters say what it is."""
    probability = (1 + confidence) / 2
    freedom = max(1.0, kish(weights) - 1)
    return (student_quantile(probability, freedom) / NormalDist().inv_cdf(probability)) ** 2


def kish(weights: Iterable[float]) -> float:
    """Return how many things of equal weight would tell as much as things of these weights (Kish 1965)."""
    known = list(weights)
    return sum(known) ** 2 / sum(weight**2 for weight in known)
