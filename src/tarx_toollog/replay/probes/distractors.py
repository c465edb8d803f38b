"""Tools that are offered beside the right ones, to see whether the model still finds these. Pure.

``random`` are tools that something else needs; ``similar`` are those whose names and descriptions are most like the
right tools'. Where too few were ever offered, ``random`` takes ordinary tools of the catalogue, and ``similar`` makes
tools of the right ones: the same arguments, a name that says what it is only for, and a description that says it, too.
So none of them is ever a right answer.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import product
from typing import Any

from tarx_toollog.canonical import json_text
from tarx_toollog.replay.probes.catalogue import ordinary_tools, scopes
from tarx_toollog.replay.scenario import Scenario
from tarx_toollog.wire.openai_chat import tool_from_raw

Tool = Mapping[str, Any]
LIKE = 0.2
"""Trigrams that two tools share, of all that they have, from which they are called similar."""
_MOST_NAME = 64  # characters: what servers take for a name


@dataclass(frozen=True, slots=True)
class Distractors:
    """The tools that are added to one scenario, the first ones at the lowest level."""

    tools: tuple[Tool, ...]
    n_made: int
    """Of these: not offered anywhere in the log or the suite."""


def pool_of(tools: Iterable[Tool]) -> dict[str, Tool]:
    """Return tools by their names, each once: the first definition of a name."""
    pool: dict[str, Tool] = {}
    for tool in tools:
        if name := tool_from_raw(tool).name:
            pool.setdefault(name, tool)
    return pool


def random_tools(scenario: Scenario, pool: Mapping[str, Tool], count: int) -> Distractors:
    """Return ``count`` tools that are not offered, chosen by chance; fewer when there are no more."""
    seed, offered = scenario.content_hash, _offered(scenario)
    seen = sorted((name for name in pool if name not in offered), key=lambda name: rank(seed, name))
    ordinary = pool_of(ordinary_tools())
    made = sorted((name for name in ordinary if name not in {*offered, *pool}), key=lambda name: rank(seed, name))
    names = [*seen, *made][:count]
    return Distractors(tuple(pool.get(name) or ordinary[name] for name in names), max(0, len(names) - len(seen)))


def similar_tools(scenario: Scenario, pool: Mapping[str, Tool], count: int) -> Distractors:
    """Return ``count`` tools that are not offered, most alike to the right ones first."""
    right = _right_tools(scenario)
    offered = _offered(scenario)
    likeness = {
        name: max((like(tool, other) for other in right), default=0.0)
        for name, tool in pool.items()
        if name not in offered
    }
    seen = sorted((name for name in likeness if likeness[name] >= LIKE), key=lambda name: (-likeness[name], name))
    tools = [pool[name] for name in seen[:count]]
    made = [tool for tool in _made(scenario, right) if tool_from_raw(tool).name not in {*offered, *pool}]
    return Distractors((*tools, *made[: count - len(tools)]), max(0, min(count - len(tools), len(made))))


def like(one: Tool, other: Tool) -> float:
    """Return how alike two tools are, 0 to 1: Jaccard index of the trigrams of their names and descriptions."""
    left, right = _trigrams(one), _trigrams(other)
    return len(left & right) / len(left | right) if left | right else 0.0


def mixed(tools: Sequence[Tool], added: Sequence[Tool], seed: bytes) -> tuple[Tool, ...]:
    """Return the tools with others among them; all keep their order, and so do the others when more are added."""
    places = [((place + 0.5) / len(tools), tool) for place, tool in enumerate(tools)]
    places += [(rank(seed, tool_from_raw(tool).name) / 2**64, _shaped(tool, tools)) for tool in added]
    return tuple(tool for _, tool in sorted(places, key=lambda item: item[0]))


def shuffled(tools: Sequence[Tool], seed: bytes) -> tuple[Tool, ...]:
    """Return the tools in another order."""
    found = tuple(sorted(tools, key=lambda tool: rank(seed, json_text(dict(tool)))))
    return found if found != tuple(tools) else found[::-1]


def rank(seed: bytes, name: str) -> int:
    """Return a number of 64 bits that depends on the seed and a name alone."""
    return int.from_bytes(blake2b(seed + name.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def _made(scenario: Scenario, right: Sequence[Tool]) -> Iterator[Tool]:
    said = " ".join(json_text(dict(message)).casefold() for step in scenario.steps for message in step.messages)
    seed = scenario.content_hash
    # A purpose that the dialogue is about would make the tool a right answer.
    unsaid = [scope for scope in scopes() if not any(word in said for word in scope[0].split("_"))]
    unsaid.sort(key=lambda scope: rank(seed, scope[0]))
    for (suffix, meaning), raw in product(unsaid, right):
        tool = tool_from_raw(raw)
        name = f"{tool.name}_{suffix}"
        if len(name) <= _MOST_NAME:
            purpose = f"{tool.description.rstrip()} Only for {meaning}.".strip()
            function = {"name": name, "description": purpose, "parameters": tool.parameters or {"type": "object"}}
            yield {"type": "function", "function": function}


def _right_tools(scenario: Scenario) -> list[Tool]:
    """Return the definitions of the tools that are to be called; where none is, all that are offered."""
    called = {call.name for step in scenario.steps for call in step.expected}
    offered = pool_of(tool for step in scenario.steps for tool in step.tools)
    return [tool for name, tool in offered.items() if name in called] or list(offered.values())


def _offered(scenario: Scenario) -> set[str]:
    return {tool_from_raw(tool).name for step in scenario.steps for tool in step.tools}


def _shaped(tool: Tool, beside: Sequence[Tool]) -> Tool:
    """Return a tool in the shape of those that it stands beside: the legacy form has the function alone."""
    is_legacy = bool(beside) and not any("type" in each or "function" in each for each in beside)
    inner = tool.get("function")
    if is_legacy and isinstance(inner, Mapping):
        return inner
    return tool if is_legacy or isinstance(inner, Mapping) or "type" in tool else {"type": "function", "function": tool}


def _trigrams(tool: Tool) -> set[str]:
    read = tool_from_raw(tool)
    padded = f"  {read.name} {read.description} ".casefold()
    return {padded[place : place + 3] for place in range(len(padded) - 2)}
