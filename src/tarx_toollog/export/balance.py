"""Limits inside a source: so many of a tool, so many of a conversation, so large a share of answers without a call.

Decides over columns of numbers, and knows neither files nor messages. ``mix`` makes the columns.

*Theory.* Who stays is decided by rank, a hash of the example: those with the lowest ranks of a group stay. That is a
random choice which does not depend on the order of the rows, and which changes little when rows are added. A row has a
size, what it counts for: how often it is written, or how many answers are learned from it. One that does not fit any
more is left out, and a smaller one behind it may still fit.
"""

from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from tarx_toollog.errors import ConfigError

NO_GROUP = -1

Size = Callable[[int], int]
"""Returns what the row in a place counts for."""


def one(place: int) -> int:
    """Return the size of a row where different rows are counted."""
    return 1


@dataclass(frozen=True, slots=True)
class BalanceSpec:
    """What is limited; None is not."""

    tool_cap: int | None = None
    """Rows of one tool."""
    conversation_cap: int | None = None
    """Learned answers of one conversation: without a limit, long chains weigh more than short ones."""
    negatives: float | None = None
    """Share of rows without a call among the rows that could have called."""

    def __post_init__(self) -> None:
        for name, cap in (("of a tool", self.tool_cap), ("of a conversation", self.conversation_cap)):
            if cap is not None and cap < 1:
                raise ConfigError(f"the limit {name} is {cap}", hint="give 1 or more, or no limit")
        if self.negatives is not None and not 0 <= self.negatives < 1:
            hint = "give a share of 0 or more and below 1: 0.2 for a fifth"
            raise ConfigError(f"the share of answers without a call is {self.negatives}", hint=hint)


def parse_balance(text: str | None, *, negatives: float | None = None, max_steps: int | None = None) -> BalanceSpec:
    """Read a specification such as ``tool:cap=300``.

    Args:
        text: ``tool:cap=N``, ``conversation:cap=N`` and ``negatives=SHARE``, joined by commas; None is no limit.
        negatives: The share, where it has an option of its own.
        max_steps: The limit of a conversation, where it has an option of its own.

    Raises:
        ConfigError: It cannot be read, or says something twice.
    """
    found: dict[str, float] = {}
    if negatives is not None:
        found["negatives"] = negatives
    if max_steps is not None:
        found["conversation:cap"] = max_steps
    for part in text.split(",") if text is not None and text.strip() else ():
        name, _, number = (piece.strip() for piece in part.partition("="))
        if name not in ("tool:cap", "conversation:cap", "negatives"):
            hint = "use tool:cap=N, conversation:cap=N, negatives=SHARE"
            raise ConfigError(f"--balance: {part.strip()!r} is not known", hint=hint)
        if name in found:
            raise ConfigError(f"--balance: {name} is given twice", hint="give it once")
        found[name] = _number(name, number)
    return BalanceSpec(
        tool_cap=_whole(found.get("tool:cap")),
        conversation_cap=_whole(found.get("conversation:cap")),
        negatives=found.get("negatives"),
    )


def _number(name: str, text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise ConfigError(f"--balance: {name}={text} is no number", hint="write tool:cap=300") from None
    if name != "negatives" and not number.is_integer():
        raise ConfigError(f"--balance: {name}={text} is no whole number", hint="write tool:cap=300")
    return number


def _whole(number: float | None) -> int | None:
    return None if number is None else int(number)


def beyond_cap(
    groups: Sequence[int], ranks: Sequence[int], places: Iterator[int], cap: int, size: Size = one
) -> Iterator[int]:
    """Yield the places that are one too many in their group.

    Args:
        groups: The group of each place; ``NO_GROUP`` is not limited.
        ranks: The rank of each place; in each group the lowest stay.
        places: The places that are still in.
        cap: How much of a group may stay.
        size: What each counts for.
    """
    members: dict[int, array[int]] = {}
    for place in places:
        if groups[place] != NO_GROUP:
            members.setdefault(groups[place], array("q")).append(place)
    for group in members.values():
        yield from _beyond(group, ranks, cap, size)


def surplus(places: Sequence[int], ranks: Sequence[int], n_others: int, share: float, size: Size) -> Iterator[int]:
    """Yield the places that are too many for a share.

    Args:
        places: Those whose share is limited.
        ranks: The rank of each place; the lowest stay.
        n_others: How much there is beside them.
        share: The largest share of all that they may have, below 1.
        size: What each counts for.
    """
    cap = int(share * n_others / (1 - share) + 1e-9)  # what rounding took away must not cost a row
    yield from _beyond(places, ranks, cap, size)


def _beyond(places: Sequence[int], ranks: Sequence[int], cap: int, size: Size) -> Iterator[int]:
    if sum(map(size, places)) <= cap:
        return
    left = cap
    for place in sorted(places, key=ranks.__getitem__):
        if size(place) <= left:
            left -= size(place)
        else:
            yield place
