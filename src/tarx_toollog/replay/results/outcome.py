"""Shares over attempts of which some ended ``undetermined``: how low and how high the truth may be. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many attempts pass, between the two extremes that the undetermined ones leave open."""

    low: int
    """The numerator when all undetermined attempts fail."""
    high: int
    """The numerator when all of them pass."""
    n_undetermined: int
    n: int
    """The denominator: all attempts."""

    @property
    def low_share(self) -> float | None:
        """The least share; None without attempts."""
        return self.low / self.n if self.n else None

    @property
    def high_share(self) -> float | None:
        """The greatest share; None without attempts."""
        return self.high / self.n if self.n else None


def bounds(verdicts: Iterable[bool | None]) -> Bounds:
    """Return the bounds of a share; a verdict of None is ``undetermined``.

    Example:
        >>> bounds([True, True, False, None])
        Bounds(low=2, high=3, n_undetermined=1, n=4)
    """
    low = n_undetermined = n = 0
    for verdict in verdicts:
        n += 1
        low += verdict is True
        n_undetermined += verdict is None
    return Bounds(low, low + n_undetermined, n_undetermined, n)
