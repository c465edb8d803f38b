"""Ends a run as soon as its gate is clear: most of an evaluation goes to models that are plainly good or plainly bad.

The interval may be looked at after every chain (``statistics.sequential``). It takes the first chain of each cluster
in the order of the run, as the sequential gate does, so that the run ends when that gate decides. Answers may come in
another order, where several are asked at a time: a chain counts when all before it are known.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from tarx_toollog.replay.statistics.proportion import Proportion
from tarx_toollog.replay.statistics.sequential import any_time
from tarx_toollog.store.work import UnitKey


class Chain(NamedTuple):
    """A turn that can be judged as a whole."""

    cluster: str
    """Chains of one cluster hang together."""
    units: Sequence[UnitKey]
    """Those of the first attempt."""


class Stopping:
    """Watches the chains of a run.

    Args:
        bound: The share of right chains that is demanded.
        chains: Those of the run, in its order.
    """

    def __init__(self, bound: float, chains: Iterable[Chain]) -> None:
        self._bound = bound
        self._left = list(chains)
        self._left.reverse()
        self._first: dict[str, bool | None] = {}
        """Cluster → whether its first chain is right; None where nobody can know."""

    def see(self, verdicts: Mapping[UnitKey, bool | None], lost: Collection[UnitKey]) -> None:
        """Take in what is known so far.

        Args:
            verdicts: Of all units that have one.
            lost: Units that have none, because the infrastructure failed.
        """
        while self._left:
            cluster, units = self._left[-1]
            if any(unit not in verdicts and unit not in lost for unit in units):
                return
            if all(unit in verdicts for unit in units):
                self._first.setdefault(cluster, _all([verdicts[unit] for unit in units]))
            self._left.pop()

    @property
    def is_decided(self) -> bool:
        """Whether the share is clearly at least the bound, or clearly below, however undetermined chains end."""
        worst, best = (self._share(undetermined) for undetermined in (False, True))
        return worst.low >= self._bound or best.high < self._bound

    def _share(self, undetermined: bool) -> Proportion:
        right = sum(undetermined if found is None else found for found in self._first.values())
        return any_time(right, len(self._first), expected=self._bound)


def _all(found: Collection[bool | None]) -> bool | None:
    return False if False in found else None if None in found else True
