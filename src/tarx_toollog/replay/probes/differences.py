"""The difference of two results on the same cases, some of which hang together. Pure."""

from collections.abc import Mapping

from tarx_toollog.replay.statistics.paired import Pair, PairedDifference, clustered_difference


def pairs_of(first: Mapping[str, bool], second: Mapping[str, bool], clusters: Mapping[str, str]) -> PairedDifference:
    """Return the difference of two results on the cases that have both, by name.

    Args:
        first: Name of a case → whether it was right.
        second: The same, later.
        clusters: Name of a case → what it hangs together with; none: nothing.
    """
    names = sorted(first.keys() & second.keys())
    return clustered_difference(Pair(first[name], second[name], clusters.get(name, "")) for name in names)


def difference_text(found: PairedDifference) -> str:
    """Return a difference with its interval and the p of McNemar's test, mid-p."""
    if found.estimate is None:
        return "–"
    p = "< 0.0001" if found.mid_p < 0.0001 else f"{found.mid_p:.4f}"
    low, high = found.low * 100, found.high * 100
    return f"{found.estimate * 100:+.1f} [{low:+.1f}, {high:+.1f}] of {found.n_pairs}, p {p}"
