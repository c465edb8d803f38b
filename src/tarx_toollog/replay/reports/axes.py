"""How hard a step is, in numbers that can be counted without a model: the axes of complexity.

They hang together: long chains come with long histories. An axis along which a model fails is where to look, and no
proof that the axis is the cause.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tarx_toollog.canonical import json_text
from tarx_toollog.replay.provenance import Origin, leaves, origins
from tarx_toollog.replay.scenario import ScenarioStep, offered_schemas
from tarx_toollog.replay.statistics.proportion import Case, Proportion, clustered

AXES: Mapping[str, str] = {
    "depth": "step of the turn",
    "tools": "tools that were offered",
    "likeness": "likeness of the right tool's name to the nearest other one, 0 to 1",
    "calls": "calls to make at once",
    "arguments": "values in the arguments",
    "nesting": "levels of the arguments",
    "references": "values that come from an earlier result",
    "distance": "messages back to the farthest value that is needed",
    "messages": "messages in the history",
    "turns": "messages of the user so far",
    "errors": "results in the history that look like an error",
    "prompt": "characters of messages and tools",
}
"""Every axis with what it counts."""

_BINS = 4
_MIN_CASES = 10
"""Cases of a bin: with fewer, an interval says nothing."""
_Placed = tuple[float, str, bool]  # place on an axis, conversation, whether it was right
_ERROR = ("error", "exception", "traceback", "failed")


@dataclass(frozen=True, slots=True)
class Bin:
    """Steps that are about equally hard along one axis."""

    axis: str
    low: float
    high: float
    """Both included."""
    share: Proportion

    def to_json(self) -> dict[str, Any]:
        """Return all parts."""
        return {"axis": self.axis, "from": self.low, "to": self.high, **self.share.to_json()}


def axes(step: ScenarioStep) -> dict[str, float]:
    """Return the place of a step on each axis that applies to it; some need an expected call.

    It is counted once, when a scenario is frozen.
    """
    schemas = offered_schemas(step)
    users = [place for place, message in enumerate(step.messages) if message.get("role") == "user"]
    found: dict[str, float] = {
        "depth": step.step_no,
        "tools": len(step.tools),
        "calls": len(step.expected),
        "messages": len(step.messages),
        "turns": len(users),
        "errors": sum(map(_is_error, step.messages)),
        "prompt": len(json_text(list(step.messages))) + len(json_text(list(step.tools))),
    }
    if not step.expected:
        return found
    where = [origin for call in step.expected for origin in origins(call, step.messages, schemas.get(call.name))]
    others = [name for name in schemas if name not in {call.name for call in step.expected}]
    return found | {
        "likeness": max((_likeness(call.name, name) for call in step.expected for name in others), default=0.0),
        "arguments": sum(1 for call in step.expected for _ in leaves(call.arguments or {})),
        "nesting": max(_levels(call.arguments or {}) for call in step.expected),
        "references": sum(origin.source == "result" for origin in where),
        "distance": _distance(where, len(step.messages)),
    }


def bins(steps: Iterable[tuple[ScenarioStep, str, bool]]) -> tuple[Bin, ...]:
    """Return for each axis the share of right steps from the easiest to the hardest quarter.

    Equal values stay together, and a bin has at least ten steps; an axis along which all are alike has no bins.

    Args:
        steps: Each with the conversation that it is of, and whether the answer was right.
    """
    placed = [(step.axes or axes(step), conversation, is_right) for step, conversation, is_right in steps]
    found: list[Bin] = []
    for axis in AXES:
        ordered = sorted((place[axis], conversation, right) for place, conversation, right in placed if axis in place)
        groups = _cut(ordered)
        if len(groups) > 1:
            found += [
                Bin(axis, group[0][0], group[-1][0], clustered(Case(right, of) for _, of, right in group))
                for group in groups
            ]
    return tuple(found)


def _cut(ordered: Sequence[_Placed]) -> list[list[_Placed]]:
    """Cut a sorted list into about equal parts, none of which parts equal values or is too small."""
    size = max(_MIN_CASES, len(ordered) / _BINS)
    groups: list[list[_Placed]] = []
    for item in ordered:
        is_full = bool(groups) and len(groups[-1]) >= size and groups[-1][-1][0] != item[0]
        if not groups or is_full:
            groups.append([])
        groups[-1].append(item)
    if len(groups) > 1 and len(groups[-1]) < _MIN_CASES:
        last = groups.pop()
        groups[-1] += last
    return groups


def _distance(where: Sequence[Origin], n_messages: int) -> int:
    return max((n_messages - origin.message for origin in where if origin.message is not None), default=0)


def _levels(value: Any) -> int:
    inner = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return (1 if isinstance(value, Mapping | list) else 0) + max(map(_levels, inner), default=0)


def _likeness(one: str, other: str) -> float:
    """Return the Jaccard index of the trigrams of two names."""
    left, right = _trigrams(one), _trigrams(other)
    return round(len(left & right) / len(left | right), 3)


def _trigrams(name: str) -> set[str]:
    padded = f"  {name.casefold()} "
    return {padded[place : place + 3] for place in range(len(padded) - 2)}


def _is_error(message: Mapping[str, Any]) -> bool:
    content = message.get("content")
    beginning = content[:80].casefold() if message.get("role") == "tool" and isinstance(content, str) else ""
    return any(word in beginning for word in _ERROR)
