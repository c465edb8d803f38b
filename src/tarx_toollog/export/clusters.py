"""Owns clusters: which examples hang together, and which of a cluster are kept. Does no IO and knows no text.

Theory. Near duplicates are pairs; a cluster is a connected component of them. Being alike is not transitive: in a row
A ~ B ~ C the ends may have little in common. So two questions get two answers.

*What must not be torn apart by a split* is the whole component: union-find, with the smallest member as its name. The
name does not depend on the order in which the pairs came, and it stays when newer examples join.

*What is left out as a near duplicate* is decided greedily: members from the best to the worst; one is kept unless it
is like one that is kept already. Then no two that are kept are alike, and whatever is left out has a better one beside
it that it is like. Taking one of each component instead would leave out C because of A.
"""

from array import array
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple


class UnionFind:
    """Disjoint sets of the integers from 0, in four bytes each."""

    def __init__(self, size: int = 0) -> None:
        self._parents = array("I", range(size))

    def __len__(self) -> int:
        return len(self._parents)

    def grow(self, size: int) -> None:
        """Let there be at least ``size`` integers; new ones stand alone."""
        self._parents.extend(range(len(self._parents), size))

    def find(self, item: int) -> int:
        """Return the smallest integer of the set that ``item`` is in."""
        parents = self._parents
        while (parent := parents[item]) != item:
            parents[item] = item = parents[parent]
        return item

    def union(self, one: int, other: int) -> bool:
        """Make two sets one; return whether they were two."""
        one, other = self.find(one), self.find(other)
        # The smaller root wins, not the larger set: names stay. Halving the paths keeps them short all the same.
        if one != other:
            self._parents[max(one, other)] = min(one, other)
        return one != other

    def is_connected(self, items: Iterable[int]) -> bool:
        """Return whether all of ``items`` are in one set."""
        return len({self.find(item) for item in items}) <= 1

    def components(self) -> Iterator[list[int]]:
        """Yield every set of two or more, its members ascending; sets by their smallest member."""
        members: dict[int, list[int]] = {}
        for item, parent in enumerate(self._parents):
            if item != parent:
                members.setdefault(self.find(item), []).append(item)
        for root in sorted(members):
            yield [root, *members.pop(root)]


class Quality(NamedTuple):
    """How much an example is worth keeping when others are like it."""

    is_prior: bool
    """It stands in the build that this one continues."""
    label: int
    """1: somebody said that it is good; 0: nobody said anything; -1: somebody had doubts."""
    started_at: float
    """Seconds since 1970: the oldest is kept, so that a growing log does not exchange what was kept before."""


def keep_best(
    members: Iterable[int], quality: Callable[[int], Quality], is_alike: Callable[[int, int], bool]
) -> tuple[list[int], dict[int, int]]:
    """Decide which members of one cluster are kept: those of the parent build, then the best labelled, then the oldest.

    Returns:
        The members that are kept, best first; and for each of the others the kept one that it is like.
    """
    kept: list[int] = []
    instead: dict[int, int] = {}

    def rank(member: int) -> tuple[bool, int, float, int]:
        worth = quality(member)
        return not worth.is_prior, -worth.label, worth.started_at, member

    for member in sorted(members, key=rank):
        better = next((other for other in kept if is_alike(other, member)), None)
        if better is None:
            kept.append(member)
        else:
            instead[member] = better
    return kept, instead
