"""The probe of tools: how many more may be offered, and does their order matter? Makes the variants.

Levels are nested: the tools of a level are among those of the next, at places that chance gives each of them once. So
what is lost from one level to the next is lost to the tools that came in.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

from tarx_toollog.errors import ConfigError
from tarx_toollog.replay.probes.cases import Original, Planned, originals
from tarx_toollog.replay.probes.distractors import (
    Distractors,
    Tool,
    mixed,
    pool_of,
    random_tools,
    shuffled,
    similar_tools,
)
from tarx_toollog.replay.scenario import Scenario, ScenarioStep, Variant
from tarx_toollog.store.filters import Filters

if TYPE_CHECKING:
    from tarx_toollog.store.log import ToolLog

PROBE = "tools"
AS_IT_IS, ORDER = "as_it_is", "order"
"""Factors: nothing is changed; the order of the tools is."""
SHUFFLED = "shuffled"
KINDS = {"random_tools": random_tools, "similar_tools": similar_tools}
"""Factors that add tools."""
LEVELS = (5, 10, 20, 30)
"""How many tools more."""
_LOOKED_AT = 500  # turns of the log whose tools are taken: the same few toolsets come again and again


@dataclass(frozen=True, slots=True)
class ToolVariants:
    """What was made of the scenarios."""

    scenarios: tuple[Scenario, ...]
    n_made: int
    """Tools, of all that were added at the highest levels, that were never offered anywhere."""
    n_added: int
    without_tools: int
    """Scenarios that offer no tool."""

    def to_json(self) -> dict[str, int]:
        """Return the counts, as they are kept with the suite."""
        return {"tools_added": self.n_added, "tools_made": self.n_made, "scenarios_without_tools": self.without_tools}


def plan_tools(log: "ToolLog", tag: str | None, run: str | None, limit: int | None, levels: Sequence[int]) -> Planned:
    """Return the variants of scenarios, to be frozen as a suite.

    Args:
        log: The store.
        tag: The suite to take scenarios from; None where ``run`` says it.
        run: Only those that this run got right.
        limit: At most so many scenarios.
        levels: How many tools more.

    Raises:
        NothingMatchedError: There are no such scenarios.
        ConfigError: None of them offers a tool.
    """
    found = originals(log, tag, run, limit)
    made = tool_variants(found, seen_tools(log, found), levels)
    told = {"probe": PROBE, "of": found[0].tag, "run": run, "levels": list(levels), **made.to_json()}
    clusters = {original.uid: original.cluster for original in found}
    return Planned(f"{found[0].tag}+{PROBE}", made.scenarios, told, clusters)


def seen_tools(log: "ToolLog", originals: Iterable[Original]) -> dict[str, Tool]:
    """Return the tools that the scenarios and the log offer, by name."""
    ours = [tool for original in originals for step in original.scenario.steps for tool in step.tools]
    turns = islice(log.trajectories(Filters(limit=_LOOKED_AT)), _LOOKED_AT)
    return pool_of([*ours, *(tool for turn in turns for step in turn.steps[:1] for tool in step.tools)])


def tool_variants(
    originals: Sequence[Original], pool: Mapping[str, Tool], levels: Sequence[int] = LEVELS
) -> ToolVariants:
    """Return the variants of scenarios: as they are, with more tools, with their tools in another order.

    Args:
        originals: What variants are made of.
        pool: Tools by name, to take from.
        levels: How many more.

    Raises:
        ConfigError: No scenario offers a tool.
    """
    offering = [original for original in originals if any(step.tools for step in original.scenario.steps)]
    if not offering:
        raise ConfigError("no scenario offers a tool", hint="choose a set whose turns offered some")
    found: list[Scenario] = []
    n_made = n_added = 0
    for original in offering:
        added = {kind: choose(original.scenario, pool, max(levels)) for kind, choose in KINDS.items()}
        n_made += sum(each.n_made for each in added.values())
        n_added += sum(len(each.tools) for each in added.values())
        found += _variants(original, added, levels)
    return ToolVariants(tuple(found), n_made, n_added, len(originals) - len(offering))


def _variants(original: Original, added: Mapping[str, Distractors], levels: Sequence[int]) -> Iterator[Scenario]:
    seed = original.scenario.content_hash
    yield _varied(original, AS_IT_IS, "0", {step.step_no: step.tools for step in original.scenario.steps})
    for kind, distractors in added.items():
        for level in levels:
            if level <= len(distractors.tools):
                tools = {step.step_no: _more(step, distractors.tools[:level], seed) for step in original.scenario.steps}
                yield _varied(original, kind, str(level), tools)
    if any(len(step.tools) > 1 for step in original.scenario.steps):
        tools = {step.step_no: shuffled(step.tools, seed) for step in original.scenario.steps}
        yield _varied(original, ORDER, SHUFFLED, tools)


def _more(step: ScenarioStep, added: Sequence[Tool], seed: bytes) -> tuple[Tool, ...]:
    # A step that offered none stays so: there, tools would change what is right.
    return mixed(step.tools, added, seed) if step.tools else ()


def _varied(original: Original, factor: str, level: str, tools: Mapping[int, tuple[Tool, ...]]) -> Scenario:
    # It is not the logged request any more: what the log knows of that one, its length for example, says nothing here.
    steps = tuple(replace(step, tools=tools[step.step_no], exchange_uid="") for step in original.scenario.steps)
    return replace(original.scenario, steps=steps, variant=Variant(original.uid, PROBE, factor, level))
