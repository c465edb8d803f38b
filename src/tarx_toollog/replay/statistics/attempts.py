"""Several attempts at the same scenario: does the model do it every time, and how often does it change its mind?"""

from collections.abc import Iterable
from dataclasses import dataclass
from math import comb
from typing import Any

from tarx_toollog.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Attempts:
    """How scenarios fared that were each tried several times."""

    n_scenarios: int
    """Scenarios with at least ``k`` attempts."""
    k: int
    every_time: float | None
    """pass^k: the chance that k attempts at a scenario are all right."""
    some_time: float | None
    """pass@k: the chance that at least one of them is."""
    n_flaky: int
    """Scenarios with both right and wrong attempts."""

    def to_json(self) -> dict[str, Any]:
        """Return all parts, with the names that papers use."""
        return {
            "k": self.k,
            "scenarios": self.n_scenarios,
            "pass_hat_k": self.every_time,
            "pass_at_k": self.some_time,
            "flaky": self.n_flaky,
            "method": "unbiased, C(c, k) / C(n, k)",
        }


def attempts(counts: Iterable[tuple[int, int]], k: int) -> Attempts:
    """Return the chance that k attempts are all right, or one of them, from scenarios that were tried n times.

    The unbiased estimates: of all ways to choose k of the n attempts, the share in which all are right (pass^k, Yao et
    al. 2024, https://arxiv.org/abs/2406.12045), or one is (pass@k, Chen et al. 2021, https://arxiv.org/abs/2107.03374).

    Args:
        counts: For each scenario its right attempts, and all of them; those with fewer than k are left out.
        k: Attempts that a user would make.

    Example:
        >>> found = attempts([(3, 3), (2, 3), (0, 3)], k=2)
        >>> round(found.every_time, 4), round(found.some_time, 4), found.n_flaky
        (0.4444, 0.6667, 1)

    Raises:
        ConfigError: k is less than 1.
    """
    if k < 1:
        raise ConfigError(f"k must be 1 or more, not {k}", hint="pass^3 asks for three right answers in a row")
    enough = [(right, n) for right, n in counts if n >= k]
    if not enough:
        return Attempts(0, k, None, None, 0)
    every = sum(comb(right, k) / comb(n, k) for right, n in enough) / len(enough)
    some = sum(1 - comb(n - right, k) / comb(n, k) for right, n in enough) / len(enough)
    return Attempts(len(enough), k, every, some, sum(0 < right < n for right, n in enough))
