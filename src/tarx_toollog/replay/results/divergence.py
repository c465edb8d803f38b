"""Why an attempt is over: no result is surely right. Explains, and decides nothing. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Literal, NamedTuple

from tarx_toollog.replay.matching import Call, Difference, compare_arguments
from tarx_toollog.replay.results.index import REFUSED, Filed, History
from tarx_toollog.replay.results.keys import CallKey
from tarx_toollog.replay.results.recording import RecordedCall, Schema
from tarx_toollog.replay.results.simulators import Unknowable

Reason = Literal["not_recorded", "other_writes", "unclear"]


@dataclass(frozen=True, slots=True)
class Diverged:
    """The end of an attempt."""

    reason: Reason
    """``not_recorded``: this call was never made. ``other_writes``: it was, but other state-changing calls came before
    it. ``unclear``: it was made in this state, and the log does not tell which of several results comes now."""
    call: Call
    nearest: RecordedCall | None
    """The recorded call that differs least. Its result was not served."""
    path: str | None
    """JSON pointer to the first argument that differs from the nearest call's: empty where both mean the same and are
    only written in two ways, None where it is the same call."""
    why: str
    """The same in a sentence."""


class _Distance(NamedTuple):
    size: int
    recorded: Filed
    differences: tuple[Difference, ...]


def explain(
    call: Call,
    key: CallKey,
    filed: Sequence[Filed],
    history: History,
    schema: Schema | None,
    simulator: Unknowable | None,
) -> Diverged:
    """Say why nothing can be served to ``call`` after ``history``."""
    distances = [_distance(each, call, schema) for each in filed if each.recorded.name == call.name]
    nearest = min(distances, key=lambda distance: distance.size, default=None)
    same = [each for each in filed if each.key == key]
    reason: Reason = "not_recorded"
    path, why = None, f"no call of {call.name} was recorded"
    if same:
        reason, why = _why_not(same, history)
    elif nearest is not None:
        path = nearest.differences[0].path if nearest.differences else ""
        why = f"no such call of {call.name} was recorded; the nearest differs at {path or 'the wording'}"
    if simulator is not None:
        why = f"{why}; its simulator: {simulator.why}"
    return Diverged(reason, call, nearest.recorded.recorded if nearest else None, path, why)


def _distance(filed: Filed, call: Call, schema: Schema | None) -> _Distance:
    differences = compare_arguments(filed.recorded.arguments or {}, call.arguments or {}, schema)
    return _Distance(len(differences), filed, differences)


def _why_not(same: Sequence[Filed], history: History) -> tuple[Reason, str]:
    for place in (each.place for each in same):
        if place is REFUSED:
            continue
        for number, (then, now) in enumerate(zip_longest(place, history), start=1):
            if then != now:
                names = [each.name if each else "nothing" for each in (then, now)]
                return "other_writes", f"write {number} before it was {names[0]} in the log, and is {names[1]} here"
    return "unclear", "it was made less often in the log, with different results"
