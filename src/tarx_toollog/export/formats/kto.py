"""How much good and bad rows weigh when a model learns from answers that are marked as one or the other (KTO)."""

import math
from typing import NamedTuple


class KtoWeights(NamedTuple):
    """What a good and a bad row count for."""

    good: float
    bad: float


def about_weights(n_good: int, n_bad: int) -> str:
    """Return how many rows of both kinds there are, and what their weights do, as lines of a comment."""
    if not n_good or not n_bad:
        about = "No weight can stand for the kind\n# that is missing: label some answers of it before you train."
    elif kto_weights(n_good, n_bad) == (1.0, 1.0):
        about = "They weigh about the same."
    else:
        about = (
            "The rarer kind counts for more, so that both together weigh\n"
            "# about the same. A large weight says that few rows decide: read them before you train."
        )
    return f"# The rows to train on: {n_good} good ones and {n_bad} bad ones. {about}"


def kto_weights(n_good: int, n_bad: int) -> KtoWeights:
    """Return the weights with which good rows count as much as bad ones, or up to a third more.

    That is the range which the authors of KTO recommend, and TRL asks for. Only the rarer kind gets a weight: rows of
    a log are mostly good, and nothing is gained by counting those for less.

    Args:
        n_good: Good rows to train on.
        n_bad: Bad ones.
    """
    if not n_good or not n_bad or n_bad <= n_good <= n_bad * 4 / 3:
        return KtoWeights(1.0, 1.0)
    if n_good < n_bad:
        return KtoWeights(math.ceil(n_bad * 100 / n_good) / 100, 1.0)
    return KtoWeights(1.0, math.floor(n_good * 100 / n_bad) / 100)
