"""How much of a change a model stands: levels of one factor, each held against the same cases without the change.

A level *holds* when the whole interval of the difference lies above the margin that a user would not notice, it
*breaks* when the whole interval lies below it, and is *undecided* otherwise. Pure.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tarx_toollog.replay.probes.cases import Case, by_original
from tarx_toollog.replay.probes.differences import pairs_of
from tarx_toollog.replay.statistics.paired import PairedDifference, bonett_price
from tarx_toollog.replay.statistics.proportion import Case as Counted
from tarx_toollog.replay.statistics.proportion import Proportion, clustered

MARGIN = 0.10
"""Share of cases that may be lost before a level is said to break. Not measured: choose what a user would notice."""
State = Literal["holds", "breaks", "undecided"]
_MOST = 100_000  # cases: who would need more than this will not get them


@dataclass(frozen=True, slots=True)
class Level:
    """The cases of one level."""

    name: str
    share: Proportion
    difference: PairedDifference
    """This level minus the cases as they are, on cases judged at both."""
    state: State
    codes: Mapping[str, int]
    """What went wrong, most frequent first."""

    def pairs_to_decide(self, margin: float) -> int | None:
        """Return about how many cases would decide, if the shares stay as they are; None where none would."""
        pairs = self.difference
        if not pairs.n_pairs or self.state != "undecided":
            return None
        first, second = pairs.only_first / pairs.n_pairs, pairs.only_second / pairs.n_pairs

        def is_open(n: float) -> bool:
            return state_of(*bonett_price(first * n, second * n, n), margin) == "undecided"

        low = high = max(1, round(pairs.n_pairs / pairs.design_effect))
        while is_open(high):
            low, high = high, high * 2
            if high > _MOST:
                return None
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if is_open(middle) else (low, middle)
        return round(high * pairs.design_effect)

    def to_json(self, margin: float) -> dict[str, Any]:
        """Return all parts."""
        return {
            "level": self.name,
            "right": self.share.to_json(),
            "difference": self.difference.to_json(),
            "state": self.state,
            "pairs_to_decide": self.pairs_to_decide(margin),
            "failures": dict(self.codes),
        }


@dataclass(frozen=True, slots=True)
class Ladder:
    """The levels of one factor, from little to much."""

    factor: str
    levels: tuple[Level, ...]
    margin: float

    @property
    def holds_to(self) -> Level | None:
        """The last level that holds, as do all before it."""
        held = None
        for level in self.levels:
            if level.state != "holds":
                break
            held = level
        return held

    @property
    def breaks_by(self) -> Level | None:
        """The first level that breaks."""
        return next((level for level in self.levels if level.state == "breaks"), None)

    @property
    def undecided(self) -> tuple[Level, ...]:
        """The levels before the first that breaks of which nothing can be said."""
        first = 0 if self.holds_to is None else self.levels.index(self.holds_to) + 1
        last = len(self.levels) if self.breaks_by is None else self.levels.index(self.breaks_by)
        return tuple(level for level in self.levels[first:last] if level.state == "undecided")

    def sentence(self, unit: str) -> str:
        """Return the frontier in words; ``unit`` says what a level counts, for example ``more tools``."""
        parts = []
        if (held := self.holds_to) is not None:
            parts.append(f"holds to {held.name} {unit} (loses at most {points(max(0.0, -held.difference.low))} points)")
        if (broken := self.breaks_by) is not None:
            parts.append(f"breaks by {broken.name} (loses at least {points(-broken.difference.high)} points)")
        if self.undecided:
            names = ", ".join(level.name for level in self.undecided)
            parts.append(f"{names}: undecided{self._doubt()}")
        said = ", ".join(parts)
        return said if self.holds_to or self.breaks_by else f"INCONCLUSIVE: {said or 'no case was judged'}"

    def to_json(self, unit: str) -> dict[str, Any]:
        """Return all parts, with the sentence."""
        return {
            "factor": self.factor,
            "margin": self.margin,
            "holds_to": None if self.holds_to is None else self.holds_to.name,
            "breaks_by": None if self.breaks_by is None else self.breaks_by.name,
            "undecided": [level.name for level in self.undecided],
            "sentence": self.sentence(unit),
            "levels": [level.to_json(self.margin) for level in self.levels],
        }

    def _doubt(self) -> str:
        level = self.undecided[0]
        n, needed = level.difference.n_pairs, level.pairs_to_decide(self.margin)
        more = (
            "too near to the margin to be told" if needed is None else f"about {needed} would decide about {level.name}"
        )
        return f" ({n} scenarios; {more})" if n else " (no scenario was judged)"


def ladder(factor: str, base: Iterable[Case], levels: Mapping[str, Iterable[Case]], margin: float = MARGIN) -> Ladder:
    """Return the levels of a factor.

    Args:
        factor: Its name.
        base: The cases as they are.
        levels: Name of a level, from little to much → the cases that were changed so.
        margin: See ``MARGIN``.
    """
    before = by_original(base)
    return Ladder(
        factor, tuple(_level(name, before, by_original(cases), margin) for name, cases in levels.items()), margin
    )


def state_of(low: float, high: float, margin: float) -> State:
    """Say what the interval of a difference means."""
    if low > -margin:
        return "holds"
    return "breaks" if high < -margin else "undecided"


def share_of(cases: Iterable[Case]) -> Proportion:
    """Return the share of right cases; those of one cluster hang together."""
    judged = [case for case in cases if case.is_right is not None]
    return clustered(Counted(bool(case.is_right), case.cluster) for case in judged)


def verdicts(cases: Mapping[str, Case]) -> dict[str, bool]:
    """Return whether each case was right, of those that have a verdict."""
    return {key: case.is_right for key, case in cases.items() if case.is_right is not None}


def codes_of(cases: Iterable[Case]) -> dict[str, int]:
    """Return what went wrong, most frequent first."""
    return dict(Counter(case.code for case in cases if case.code is not None).most_common())


def points(share: float) -> str:
    """Return a share as points of a hundred."""
    return f"{share * 100:.1f}"


def _level(name: str, before: Mapping[str, Case], now: Mapping[str, Case], margin: float) -> Level:
    difference = pairs_of(verdicts(before), verdicts(now), {of: case.cluster for of, case in before.items()})
    state = state_of(difference.low, difference.high, margin) if difference.n_pairs else "undecided"
    return Level(name, share_of(now.values()), difference, state, codes_of(now.values()))


def bar(share: Proportion, width: int = 24) -> str:
    """Return a bar for a share, for a terminal."""
    return "█" * round((share.estimate or 0.0) * width)


def at(cases: Sequence[Case], factor: str, level: str) -> list[Case]:
    """Return the cases of one level of a factor."""
    return [case for case in cases if (case.variant.factor, case.variant.level) == (factor, level)]
