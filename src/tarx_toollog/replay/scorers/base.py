"""What a scorer gets and gives."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tarx_toollog.canonical import parse_arguments
from tarx_toollog.replay.matching import Call, Pair, pair_calls
from tarx_toollog.replay.scenario import ScenarioStep, offered_schemas
from tarx_toollog.store.replays import Answer

LEAKED = "leaked_text"
"""Origin of a call that the model wrote into its text, where no client would have run it."""


@dataclass(frozen=True, slots=True)
class Score:
    """A value from 0 to 1 with its reasons. None: does not apply, and is not counted."""

    value: float | None
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Evidence:
    """One step of a scenario and one answer to it, with the comparison that the scorers share."""

    step: ScenarioStep
    answer: Answer

    @property
    def wants_calls(self) -> bool:
        """Whether the step expects calls rather than an answer in text."""
        return bool(self.step.expected)

    @cached_property
    def made(self) -> tuple[Call, ...]:
        """The calls of the answer, read. Calls that leaked into the text were not made."""
        return tuple(
            Call(call.name, parse_arguments(call.arguments, complete=call.complete).value)
            for call in self.answer.calls
            if call.origin != LEAKED
        )

    @cached_property
    def leaked(self) -> tuple[Call, ...]:
        """The calls that were written into the text."""
        return tuple(
            Call(call.name, parse_arguments(call.arguments, complete=call.complete).value)
            for call in self.answer.calls
            if call.origin == LEAKED
        )

    @cached_property
    def pairs(self) -> tuple[Pair, ...]:
        """The expected calls beside the ones that were made."""
        return pair_calls(self.step.expected, self.made, self.schemas)

    @cached_property
    def schemas(self) -> dict[str, Mapping[str, Any]]:
        """The argument schemas of the offered tools that have one."""
        return {name: schema for name, schema in offered_schemas(self.step).items() if schema is not None}

    @property
    def same_names(self) -> bool:
        """Whether the same tools were called, each as often as expected."""
        return Counter(call.name for call in self.made) == Counter(call.name for call in self.step.expected)

    def would_match(self, calls: tuple[Call, ...]) -> bool:
        """Say whether ``calls`` would have been the right ones under the standard profile."""
        return is_right(pair_calls(self.step.expected, calls, self.schemas))


def is_right(pairs: tuple[Pair, ...]) -> bool:
    """Say whether every pair is the same tool with readable arguments that mean the same."""
    return all(
        pair.same_tool and not pair.differences and pair.actual is not None and pair.actual.arguments is not None
        for pair in pairs
    )


Scorer = Callable[[Evidence], Score]
