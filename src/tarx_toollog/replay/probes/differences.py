"""The difference of two results on the same cases, some of which hang together. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tarx_toollog.replay.statistics.paired import PairedDifference, bonett_price, paired_difference


@dataclass(frozen=True, slots=True)
class ClusteredDifference(PairedDifference):
    """A difference of cases some of which hang together: the interval is that of as many as would tell as much."""

    n_effective: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return all parts."""
        told = PairedDifference.to_json(self)  # super() does not work in a class with slots
        return {**told, "method": "bonett-price, design effect", "n_effective": round(self.n_effective, 2)}


def pairs_of(first: Mapping[str, bool], second: Mapping[str, bool], clusters: Mapping[str, str]) -> ClusteredDifference:
    """Return the difference of two results on the cases that have both, by name.

    How many independent cases would tell as much, the variance between clusters says, as in ``proportion.clustered``.
    The tests of McNemar take all cases as independent.

    Args:
        first: Name of a case → whether it was right.
        second: The same, later.
        clusters: Name of a case → what it hangs together with; none: nothing.
    """
    names = sorted(first.keys() & second.keys())
    pairs = [(first[name], second[name]) for name in names]
    found = paired_difference(
        pairs.count((True, True)), pairs.count((True, False)), pairs.count((False, True)), pairs.count((False, False))
    )
    if not names:
        return ClusteredDifference(**_parts(found))
    changes: dict[str, list[int]] = {}
    for name in names:
        changes.setdefault(clusters.get(name, name), []).append(second[name] - first[name])
    n_effective = _n_effective(list(changes.values()), len(names))
    ratio = n_effective / len(names)
    low, high = bonett_price(found.only_first * ratio, found.only_second * ratio, n_effective)
    return replace(ClusteredDifference(**_parts(found)), low=low, high=high, n_effective=n_effective)


def _parts(found: PairedDifference) -> dict[str, Any]:
    return {slot: getattr(found, slot) for slot in PairedDifference.__slots__}


def _n_effective(clusters: Sequence[Sequence[int]], n: int) -> float:
    if len(clusters) == n:
        return float(n)
    mean = sum(map(sum, clusters)) / n
    alone = sum((change - mean) ** 2 for cluster in clusters for change in cluster) / n**2
    if not alone or len(clusters) < 2:
        return n**2 / sum(len(cluster) ** 2 for cluster in clusters)  # no variance to see: each counts once
    residuals = (sum(cluster) - len(cluster) * mean for cluster in clusters)
    together = len(clusters) / (len(clusters) - 1) * sum(residual**2 for residual in residuals) / n**2
    return min(float(n), n * alone / together) if together else float(n)


def difference_text(found: PairedDifference) -> str:
    """Return a difference with its interval and the p of McNemar's test, mid-p."""
    if found.estimate is None:
        return "–"
    p = "< 0.0001" if found.mid_p < 0.0001 else f"{found.mid_p:.4f}"
    low, high = found.low * 100, found.high * 100
    return f"{found.estimate * 100:+.1f} [{low:+.1f}, {high:+.1f}] of {found.n_pairs}, p {p}"
