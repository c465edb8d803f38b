"""What a scorer gets and gives."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tarx_toollog.canonical import parse_arguments
from tarx_toollog.replay.matching import Call, Pair, pair_calls
from tarx_toollog.replay.scenario import ScenarioStep, offered_schemas
from tarx_toollog.replay.scorers.findings import LEAKED, Finding, Seen, distance, findings, ordered
from tarx_toollog.replay.scorers.references import VALUE, refined
from tarx_toollog.replay.shown import Shown
from tarx_toollog.store.replays import Answer


@dataclass(frozen=True, slots=True)
class Score:
    """A value from 0 to 1 with its reasons. None: does not apply, and is not counted."""

    value: float | None
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Evidence:
    """One step of a scenario and one answer to it, with the comparison that the scorers share.

    Where several answers are right, it is held against the one that it is nearest to.
    """

    step: ScenarioStep
    answer: Answer

    @property
    def expected(self) -> tuple[Call, ...]:
        """The calls of the right answer that this one is nearest to; none for an answer in text."""
        return self._nearest[0]

    @property
    def pairs(self) -> tuple[Pair, ...]:
        """The expected calls beside the ones that were made."""
        return self._nearest[1]

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """All that is wrong, the primary cause first."""
        found = self._nearest[2]
        if not any(finding.code == VALUE for finding in found):
            return found  # most answers: what the model was shown need not be read
        return ordered(refined(found, Shown(self.step.messages), self.schemas, self.step.rules))

    @property
    def wants_calls(self) -> bool:
        """Whether the step expects calls rather than an answer in text."""
        return bool(self.expected)

    @cached_property
    def made(self) -> tuple[Call, ...]:
        """The calls of the answer, read. Calls that leaked into the text were not made."""
        return self._read(is_leaked=False)

    @cached_property
    def leaked(self) -> tuple[Call, ...]:
        """The calls that were written into the text."""
        return self._read(is_leaked=True)

    @cached_property
    def schemas(self) -> dict[str, Mapping[str, Any]]:
        """The argument schemas of the offered tools that have one."""
        return {name: schema for name, schema in offered_schemas(self.step).items() if schema is not None}

    @property
    def same_names(self) -> bool:
        """Whether the same tools were called, each as often as expected."""
        return Counter(call.name for call in self.made) == Counter(call.name for call in self.expected)

    def _read(self, *, is_leaked: bool) -> tuple[Call, ...]:
        return tuple(
            Call(call.name, parse_arguments(call.arguments, complete=call.complete).value)
            for call in self.answer.calls
            if (call.origin == LEAKED) is is_leaked
        )

    @cached_property
    def _nearest(self) -> tuple[tuple[Call, ...], tuple[Pair, ...], tuple[Finding, ...]]:
        looked_at = map(self._beside, (self.step.expected, *self.step.alternatives))
        return min(looked_at, key=lambda found: distance(found[2]))

    def _beside(self, expected: tuple[Call, ...]) -> tuple[tuple[Call, ...], tuple[Pair, ...], tuple[Finding, ...]]:
        pairs = self._paired(expected, self.made)
        seen = Seen(
            expected=expected,
            native=[call for call in self.answer.calls if call.origin != LEAKED],
            made=self.made,
            leaked=self.leaked,
            pairs=pairs,
            leak_is_right=bool(self.leaked) and is_right(self._paired(expected, self.made + self.leaked)),
            outcome=self.answer.outcome,
            finish_reason=self.answer.finish_reason,
            text=self.answer.text,
            error=self.answer.error,
            asks=self.step.asks and not expected,
        )
        return expected, pairs, findings(seen)

    def _paired(self, expected: Sequence[Call], made: Sequence[Call]) -> tuple[Pair, ...]:
        return pair_calls(expected, made, self.schemas, self.step.rules)


def is_right(pairs: tuple[Pair, ...]) -> bool:
    """Say whether every pair is the same tool with readable arguments that mean the same."""
    return all(pair.is_right for pair in pairs)


Scorer = Callable[[Evidence], Score]
