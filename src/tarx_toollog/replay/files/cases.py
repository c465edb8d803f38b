"""Entries cut into single decisions, for shapes that know no turns of several; and put together again. Pure.

Beside its messages and tools, a case has *metadata*: all else that our own shape says of the decision, and of which
scenario it is which step. The tools of others hand metadata through unread, so an import finds everything again.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tarx_toollog.errors import ConfigError
from tarx_toollog.replay.files.lines import HINT, Entry
from tarx_toollog.replay.files.ours import STEP_KEYS, TURN_KEYS, steps_of

_SHOWN = frozenset({"messages", "tools"})


@dataclass(frozen=True, slots=True)
class Case:
    """One decision, as the shapes of others have it."""

    id: str
    messages: tuple[Mapping[str, Any], ...]
    tools: tuple[Mapping[str, Any], ...]
    metadata: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Part:
    """A step of an entry that was read from a case."""

    where: str
    number: int
    count: int
    step: Entry
    turn: Entry
    group: Any


def cases_of(entry: Entry) -> Iterator[Case]:
    """Yield the decisions of an entry."""
    steps = steps_of(entry)
    turn = {key: entry[key] for key in TURN_KEYS if key in entry}
    for number, step in enumerate(steps, 1):
        place = {"scenario": entry["id"], "step": number, "steps": len(steps), "group": entry["group"]}
        name = entry["id"] if len(steps) == 1 else f"{entry['id']}:{number}"
        said = {key: value for key, value in step.items() if key not in _SHOWN}
        metadata = {**place, **said, **(turn if number == 1 else {})}
        yield Case(name, tuple(step["messages"]), tuple(step["tools"]), metadata)


def entries_of(cases: Iterable[tuple[str, Case]]) -> Iterator[tuple[str, Entry]]:
    """Yield the entries that cases came from, in the order in which they begin.

    Raises:
        ConfigError: A step of a turn is missing, or is there twice.
    """
    parts: dict[str, list[_Part]] = {}
    for where, case in cases:
        parts.setdefault(str(case.metadata.get("scenario", case.id)), []).append(_part(where, case))
    for name, found in parts.items():
        found.sort(key=lambda part: part.number)
        numbers = [part.number for part in found]
        if numbers != list(range(1, found[0].count + 1)):
            raise ConfigError(
                f"{found[0].where}: of {name}, steps {numbers} are there, and not 1 to {found[0].count}",
                hint="give each case an id of its own, and keep all steps of a turn in one file",
            )
        steps = [part.step for part in found]
        whole = steps[0] if len(steps) == 1 else {"steps": steps}
        yield found[0].where, {"id": name, "group": found[0].group, **whole, **found[0].turn}


def losses_of(entries: Iterable[Entry], judged: frozenset[str]) -> Counter[str]:
    """Count what of some entries a tool does not act upon.

    Args:
        entries: Of our own shape.
        judged: The keys of steps that the tool acts upon.
    """
    lost: Counter[str] = Counter()
    for entry in entries:
        steps = steps_of(entry)
        said = {key for step in steps for key, value in step.items() if value} | (entry.keys() & TURN_KEYS)
        if any("ask" in step["expected"] for step in steps):
            said.add("ask")
        if len(steps) > 1:
            said.add("steps")
        lost.update(said - judged - _SHOWN - {"expected", "step_no"})
    return lost


def _part(where: str, case: Case) -> _Part:
    metadata = case.metadata
    number, count = metadata.get("step", 1), metadata.get("steps", 1)
    if not isinstance(number, int) or not isinstance(count, int):
        raise ConfigError(f"{where}: `step` and `steps` of the metadata must be numbers", hint=HINT)
    step = {"messages": list(case.messages), "tools": list(case.tools)}
    step |= {key: metadata[key] for key in STEP_KEYS - _SHOWN if key in metadata}
    turn = {key: metadata[key] for key in TURN_KEYS if key in metadata}
    return _Part(where, number, count, step, turn, metadata.get("group", metadata.get("scenario", case.id)))
