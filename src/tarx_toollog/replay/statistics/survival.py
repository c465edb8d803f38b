"""How far chains get: the share that is still right after each step, where not every chain is equally long."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import exp, log, sqrt
from statistics import NormalDist
from typing import Any

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

    def to_json(self) -> dict[str, Any]:
        """Return all parts."""
        return {
            "step_no": self.step_no,
            "at_risk": self.at_risk,
            "failed": self.failed,
            "share": self.share,
            "low": self.low,
            "high": self.high,
            "method": "kaplan-meier, greenwood, log-log",
        }


def survival(chains: Iterable[tuple[int, bool]], *, confidence: float = DEFAULT_CONFIDENCE) -> tuple[Survival, ...]:
    """Return what is still right after each step (Kaplan and Meier 1958).

    A chain that ended well after two steps says nothing about a third; it is counted as far as it went. The interval is
    Greenwood's, on the scale of log(-log), which keeps it between 0 and 1 (Kalbfleisch and Prentice). As long as
    nothing has failed there is no variance to see; then the bound is that of the smallest group so far, by the rule
    that n of n leave room for a share of α^(1/n).

    Args:
        chains: For each chain the step up to which it is known, and whether it went wrong there.
        confidence: Of each interval by itself.

    Example:
        >>> [round(step.share, 3) for step in survival([(1, True), (2, False), (3, True), (3, False)])]
        [0.75, 0.75, 0.375]
    """
    known = sorted(chains)
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    share, greenwood, found = 1.0, 0.0, list[Survival]()
    for step_no in range(1, max((last for last, _ in known), default=0) + 1):
        at_risk = sum(last >= step_no for last, _ in known)
        failed = sum(last == step_no and is_wrong for last, is_wrong in known)
        share *= 1 - failed / at_risk
        if 0 < failed < at_risk:
            greenwood += failed / (at_risk * (at_risk - failed))
        low, high = _bounds(share, greenwood, at_risk, z, (1 - confidence) / 2)
        found.append(Survival(step_no, at_risk, failed, share, low, high))
    return tuple(found)


def _bounds(share: float, greenwood: float, at_risk: int, z: float, tail: float) -> tuple[float, float]:
    if share >= 1.0:
        return tail ** (1 / at_risk), 1.0
    if share <= 0.0:
        return 0.0, 1 - tail ** (1 / at_risk)
    spread = z * sqrt(greenwood) / abs(log(share))
    return share ** exp(spread), share ** exp(-spread)
