"""Serves recorded results to a model that makes its own calls, and stops when none is surely right. Pure.

*Theory.* A model that answers otherwise than the log leaves the road that was recorded. The nearest recorded result
would then mostly be wrong, and the model would be judged by what it did with a wrong result. So a result is served only
when it is what the real tool would have said, tried in this order:

1. ``exact``: the n-th time that a call is made in a state of the world gives the n-th result that was recorded for it
   there. A failure is given again as a failure. A read that is made more often than recorded gives the same again.
2. ``schema_error``: a call that breaks its schema, of a tool that was not seen to take such calls, is refused.
3. ``tolerant``: a recorded call in this state that means the same, where the tool cannot tell the two apart.
4. ``simulated``: what a simulator of the tool knows, when it agrees with all that was recorded.
5. Otherwise the attempt has *diverged*: it is over, and undetermined.

The states are those of ``index``: all of 1 and 3 stand behind the same writes in the same order. That two different
calls gave the same result in one state says nothing about the next, so it is never taken for a rule.

One object serves one attempt. Attempts share nothing, or one would use up the results of another.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from tarx_toollog.replay.matching import Call, compare_arguments
from tarx_toollog.replay.results.divergence import Diverged, explain
from tarx_toollog.replay.results.index import REFUSED, Filed, History, Index, history_after, place_of
from tarx_toollog.replay.results.keys import CallKey, call_key, tool_sees, with_defaults
from tarx_toollog.replay.results.recording import Effect, RecordedCall, Recording, effect_of
from tarx_toollog.replay.results.simulators import Simulated, SimulatorMaker, Troupe
from tarx_toollog.replay.results.validity import Validation

How = Literal["exact", "tolerant", "simulated", "schema_error"]


@dataclass(frozen=True, slots=True)
class Served:
    """What the tool says, and how it is known."""

    text: str
    is_error: bool
    how: How


class Results:
    """The tools of one attempt.

    Args:
        recording: The logged turn.
        simulators: Makers of simulators; the first one that has a tool simulates it.
        declared_effects: Effects of tools by name. They win over those of the recording and over suggestions.
    """

    def __init__(
        self,
        recording: Recording,
        simulators: Sequence[SimulatorMaker] = (),
        declared_effects: Mapping[str, Effect] | None = None,
    ) -> None:
        self._schemas = recording.schemas
        self._effects = {call.name: call.effect for call in recording.calls} | dict(declared_effects or {})
        self._validation = Validation(recording.calls, recording.schemas)
        self._index = Index(recording, self._validation, self._effects)
        self._troupe = Troupe(simulators, Recording(tuple(self._index.ran), recording.schemas))
        self._history: History = ()
        self._used: Counter[tuple[CallKey, History | None]] = Counter()
        self._diverged: Diverged | None = None

    def serve(self, call: Call) -> Served | Diverged:
        """Return what the tool says to a call; once diverged, always the same ``Diverged``."""
        if self._diverged is None:
            served = self._refuse(call) or self._run(call)
            if isinstance(served, Served):
                return served
            self._diverged = served
        return self._diverged

    def _refuse(self, call: Call) -> Served | None:
        """Refuse a call that the tool refuses before it runs. Nothing changes in the world."""
        flaws = self._validation.flaws(call)
        if not flaws:
            return None
        key = call_key(call, self._schemas.get(call.name))
        recorded = self._next(key, REFUSED)
        if recorded is not None:
            return Served(recorded.result_text, recorded.is_error, "exact")
        return Served(self._validation.refusal(call, flaws), True, "schema_error")

    def _run(self, call: Call) -> Served | Diverged:
        effect = effect_of(call.name, self._effects)
        key = call_key(call, self._schemas.get(call.name))
        place = place_of(key, effect, self._history)
        # A simulator is told of every call that runs, or it would not know what is stored when it is asked.
        simulated = self._troupe.call(call)
        how: How = "exact"
        # Of arguments that nobody could read it is not known whether they are the same.
        recorded = self._next(key, place) if call.arguments is not None else None
        if recorded is None and (filed := self._same_meaning(call, place)) is not None:
            recorded, key, how = filed.recorded, filed.key, "tolerant"
        if recorded is None and not isinstance(simulated, Simulated):
            return explain(call, key, self._index.filed, self._history, self._schemas.get(call.name), simulated)
        self._history = history_after(key, effect, self._history)
        if recorded is not None:
            return Served(recorded.result_text, recorded.is_error, how)
        assert isinstance(simulated, Simulated)
        return Served(simulated.text, simulated.is_error, "simulated")

    def _next(self, key: CallKey, place: History | None) -> RecordedCall | None:
        """Return the next result of a call in a place; the last once more, where all of them are the same.

        A call that writes leaves its place, so only reads, idempotent calls and refused ones can come again.
        """
        found = self._index.at(key, place)
        number = self._used[key, place]
        self._used[key, place] += 1
        if number < len(found):
            return found[number]
        return found[-1] if found and _agree(found) else None

    def _same_meaning(self, call: Call, place: History) -> Filed | None:
        """Return a recorded call of this state that means the same, when all of them gave one result."""
        found = [filed for filed in self._index.filed if filed.place == place and self._means(filed.recorded, call)]
        return found[0] if found and _agree([filed.recorded for filed in found]) else None

    def _means(self, recorded: RecordedCall, call: Call) -> bool:
        if recorded.name != call.name or recorded.arguments is None or call.arguments is None:
            return False
        schema = self._schemas.get(call.name)
        if compare_arguments(recorded.arguments, call.arguments, schema):
            return False
        return not tool_sees(with_defaults(recorded.arguments, schema), with_defaults(call.arguments, schema), schema)


def _agree(calls: Sequence[RecordedCall]) -> bool:
    return len({(call.result_text, call.is_error) for call in calls}) == 1
