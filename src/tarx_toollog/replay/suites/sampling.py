"""Which turns a suite takes, and how many turns of the log each of them stands for. Pure.

*Theory.* A share means something for the log only if each turn of the log has its place in it. Turns are put into
*strata*: groups that are alike in how long the chain is, how it went, and which tool it needed. Of each stratum some
are drawn, and each counts for as many turns of its stratum as there are for one that is frozen. So rare things are in
every sample without counting for more than they are.

A turn whose logged decision is bad is asked only when somebody said what would have been right. It has the stratum of
those that failed like it, labelled or not: the labelled ones stand for the others there, and the turns that went well
never stand for those that did not. A stratum without a turn that can be judged is *uncovered*: of its turns the suite
says nothing, and no weight makes up for that.

What is drawn is decided by the content hash, which is as good as random: the same log gives the same sample, and a log
that grows keeps most of it.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tarx_toollog.errors import ConfigError

OK = "ok"
FAILED_CALL = "failed call"
BAD_DECISION = "bad decision"
NOT_COMPLETED = "not completed"
OUTCOMES = (OK, FAILED_CALL, NOT_COMPLETED, BAD_DECISION)
"""How a logged turn went; it has the last of these that a step of it has."""

_NO_TOOL = "no tool"
_DEPTHS = ((1, "1 step"), (2, "2 steps"), (3, "3 steps"), (5, "4-5 steps"))
_DEEP = "6+ steps"


@dataclass(frozen=True, slots=True)
class TurnFacts:
    """What of one turn decides about its place in a suite."""

    conversation_uid: str
    turn_no: int
    depth: int
    """Steps."""
    outcome: str
    """One of ``OUTCOMES``."""
    tools: frozenset[str]
    """Tools that were called, or should have been."""
    hash: bytes | None
    """Content hash of its scenario; None: it has none without a label."""
    is_whole: bool = False
    """Whether every step is asked, so that the chain can be judged."""
    needs_label: bool = False
    """Whether a step waits for somebody to say what would have been right."""


@dataclass(frozen=True, slots=True)
class Stratum:
    """One group of turns that are alike, and what a suite takes of it."""

    name: str
    turns: int
    """In the log."""
    needs_label: int
    """Of those: a step waits for a label."""
    drawn: Mapping[bytes, int]
    """Content hash of each scenario that is taken → turns that ask just that."""
    whole: int
    """Scenarios of ``drawn`` whose chain can be judged."""

    @property
    def is_covered(self) -> bool:
        """Whether somebody can say how a model does on such turns."""
        return self.whole > 0

    def weight(self, content_hash: bytes) -> float:
        """Return how many turns of the log a scenario stands for."""
        return self.turns * self.drawn[content_hash] / sum(self.drawn.values())

    def to_json(self) -> dict[str, Any]:
        """Return it as a report shows it."""
        frozen = len(self.drawn)
        return {
            "name": self.name,
            "turns": self.turns,
            "frozen": frozen,
            "whole": self.whole,
            "weight": self.turns / frozen if frozen else None,
            "needs_label": self.needs_label,
        }


def strata(turns: Iterable[TurnFacts], sample: int | None = None) -> list[Stratum]:
    """Put turns into strata, and draw from each; the largest stratum first.

    Args:
        turns: All that can be asked, or could be with a label.
        sample: Draw at most so many scenarios; None takes all.

    Raises:
        ConfigError: The sample has no place for one scenario of each stratum.
    """
    grouped = _grouped(list(turns))
    candidates = {name: _in_order(members) for name, members in grouped.items()}
    taken = {name: len(order) for name, order in candidates.items()}
    if sample is not None:
        taken = _allocated({name: len(members) for name, members in grouped.items()}, taken, sample)
    found = [_drawn(name, members, candidates[name][: taken[name]]) for name, members in grouped.items()]
    return sorted(found, key=lambda stratum: (-stratum.turns, stratum.name))


def uncovered_share(of: Sequence[Stratum]) -> float:
    """Return the share of turns that are in a stratum of which no chain can be judged."""
    turns = sum(stratum.turns for stratum in of)
    return sum(stratum.turns for stratum in of if not stratum.is_covered) / turns if turns else 0.0


def depth_bucket(steps: int) -> str:
    """Return the group of turns that are about as long.

    Example:
        >>> [depth_bucket(steps) for steps in (1, 4, 5, 6)]
        ['1 step', '4-5 steps', '4-5 steps', '6+ steps']
    """
    return next((name for most, name in _DEPTHS if steps <= most), _DEEP)


def _grouped(turns: Sequence[TurnFacts]) -> dict[str, list[TurnFacts]]:
    uses = Counter(tool for turn in turns for tool in turn.tools)
    names = [_name(turn, uses) for turn in turns]
    places: dict[bytes, str] = {}  # what asks the same is one scenario, and that has one place
    for turn, name in zip(turns, names, strict=True):
        if turn.hash is not None:
            places[turn.hash] = min(name, places.get(turn.hash, name))
    grouped: dict[str, list[TurnFacts]] = defaultdict(list)
    for turn, name in zip(turns, names, strict=True):
        grouped[name if turn.hash is None else places[turn.hash]].append(turn)
    return dict(grouped)


def _name(turn: TurnFacts, uses: Mapping[str, int]) -> str:
    rarest = min(turn.tools, key=lambda tool: (uses[tool], tool), default=_NO_TOOL)
    return f"{depth_bucket(turn.depth)}, {turn.outcome}, {rarest}"


def _in_order(members: Iterable[TurnFacts]) -> list[bytes]:
    """Return the hashes of the scenarios in the order in which they are drawn: first those that can be judged."""
    whole = {turn.hash for turn in members if turn.is_whole}
    return sorted(
        {turn.hash for turn in members if turn.hash is not None}, key=lambda digest: (digest not in whole, digest)
    )


def _allocated(turns: Mapping[str, int], available: Mapping[str, int], sample: int) -> dict[str, int]:
    """Share places out: one to each stratum, then each to the one that has most turns for a place that it has."""
    taken = {name: min(1, there) for name, there in available.items()}
    least = sum(taken.values())
    if sample < least:
        raise ConfigError(
            f"a sample of {sample} has no place for each of {least} strata", hint=f"--sample {least} or more"
        )
    waiting = [(-turns[name] / 2, name) for name, there in available.items() if there > 1]
    heapq.heapify(waiting)
    for _ in range(sample - least):
        if not waiting:
            break
        _, name = heapq.heappop(waiting)
        taken[name] += 1
        if taken[name] < available[name]:
            heapq.heappush(waiting, (-turns[name] / (taken[name] + 1), name))
    return taken


def _drawn(name: str, members: Sequence[TurnFacts], chosen: Sequence[bytes]) -> Stratum:
    asked = Counter(turn.hash for turn in members if turn.hash is not None)
    whole = {turn.hash for turn in members if turn.is_whole}
    return Stratum(
        name,
        turns=len(members),
        needs_label=sum(turn.needs_label for turn in members),
        drawn={digest: asked[digest] for digest in chosen},
        whole=sum(digest in whole for digest in chosen),
    )
