"""How far chains get: the share that is still right after each step, where not every chain is equally long.

*Theory.* A chain that ended well after two steps says nothing about a third; it is counted as far as it went. The
interval is Greenwood's, on the scale of log(-log), which keeps it between 0 and 1 (Kalbfleisch and Prentice). As long
as nothing has failed there is no variance to see; then the bound is that of the smallest group so far, by the rule that
n of n leave room for a share of α^(1/n). Where chains ended since the last failure, the lower bound is that of as many
as still go on (Dorey and Korn 1987): three chains that do a fourth step well say little of it, however well a hundred
did the third. Where chains hang together, the variance is that between clusters (each chain's part in the logarithm of
the share, linearised; ``effective`` for few of them), but never less than Greenwood's; and where there is none to see,
each cluster counts once.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import exp, log, sqrt
from statistics import NormalDist
from typing import Any

from tarx_toollog.replay.statistics.effective import cautious, few_clusters, kish
from tarx_toollog.replay.statistics.proportion import DEFAULT_CONFIDENCE


@dataclass(frozen=True, slots=True)
class Survival:
    """Chains at one step."""

    step_no: int
    at_risk: int
    """Chains that were right so far, and go on to this step."""
    failed: int
    """Of these, those that went wrong here."""
    share: float
    """Of all chains that are long enough: those still right after this step."""
    low: float
    high: float
    design_effect: float = 1.0
    """How many times as many chains it takes, because some hang together."""

    def to_json(self) -> dict[str, Any]:
        """Return all parts."""
        return {
            "step_no": self.step_no,
            "at_risk": self.at_risk,
            "failed": self.failed,
            "share": self.share,
            "low": self.low,
            "high": self.high,
            "method": "kaplan-meier, greenwood, log-log, dorey-korn below"
            + (", design effect" if self.design_effect > 1 else ""),
            "n_effective": round(self.at_risk / self.design_effect, 2),
        }


def survival(
    chains: Iterable[tuple[int, bool]], clusters: Sequence[str] = (), *, confidence: float = DEFAULT_CONFIDENCE
) -> tuple[Survival, ...]:
    """Return what is still right after each step (Kaplan and Meier 1958).

    Args:
        chains: For each chain the step up to which it is known, and whether it went wrong there.
        clusters: For each chain what it hangs together with; none at all: nothing.
        confidence: Of each interval by itself.

    Example:
        >>> [round(step.share, 3) for step in survival([(1, True), (2, False), (3, True), (3, False)])]
        [0.75, 0.75, 0.375]
    """
    ends = list(chains)
    known = list(zip(ends, clusters or map(str, range(len(ends))), strict=True))
    share, greenwood, going_on, found = 1.0, 0.0, 0, list[Survival]()
    parts, failing = dict.fromkeys((cluster for _, cluster in known), 0.0), set[str]()
    for step_no in range(1, max((last for last, _ in ends), default=0) + 1):
        there = [(last == step_no and is_wrong, cluster) for (last, is_wrong), cluster in known if last >= step_no]
        at_risk, failed = len(there), sum(is_failed for is_failed, _ in there)
        share *= 1 - failed / at_risk
        failing |= {cluster for is_failed, cluster in there if is_failed}
        if 0 < failed < at_risk:
            greenwood += failed / (at_risk * (at_risk - failed))
            for is_failed, cluster in there:
                parts[cluster] += (is_failed - failed / at_risk) / (at_risk - failed)
        if failed:
            going_on = at_risk - failed
        sizes = Counter(cluster for _, cluster in there)
        effect = at_risk / kish(sizes.values())
        if 0 < share < 1 and len(parts) < len(known):
            effect = _design_effect(parts, greenwood, Counter(cluster for _, cluster in known), failing, confidence)
        variance = greenwood * effect
        low, high = _bounds(share, variance, variance * max(1.0, going_on / at_risk), at_risk / effect, confidence)
        found.append(Survival(step_no, at_risk, failed, share, low, high, effect))
    return tuple(found)


def _design_effect(
    parts: Mapping[str, float], greenwood: float, sizes: Mapping[str, int], failing: Iterable[str], confidence: float
) -> float:
    n, worst = len(parts), sum(sizes.values()) / kish(sizes.values())
    if n < 2:
        return worst  # no variance to see: all of them are one
    seen = max(1.0, n / (n - 1) * sum(part**2 for part in parts.values()) / greenwood)
    return cautious(seen, worst, sizes, failing) * few_clusters(sizes.values(), confidence)


def _bounds(
    share: float, variance: float, variance_below: float, independent: float, confidence: float
) -> tuple[float, float]:
    tail = (1 - confidence) / 2
    if share >= 1.0:
        return tail ** (1 / independent), 1.0
    if share <= 0.0:
        return 0.0, 1 - tail ** (1 / independent)
    z = NormalDist().inv_cdf(1 - tail) / abs(log(share))
    return share ** exp(z * sqrt(variance_below)), share ** exp(-z * sqrt(variance))
