"""A recording, found by call and by the state of the world. Pure; built once per attempt, never changed.

*Theory.* Nobody sees the state of the world, but what made it is known: the state before the turn, and the calls that
changed something since, in their order. Two moments with the same *history* have the same state. So a recorded result
is filed under its call and the history before it, and holds wherever both are the same, and nowhere else. An
idempotent call that is made again right away finds the world as its twin before it did, so it is filed beside that.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from tarx_toollog.replay.results.keys import CallKey, call_key
from tarx_toollog.replay.results.recording import Effect, RecordedCall, Recording
from tarx_toollog.replay.results.validity import Validation

History = tuple[CallKey, ...]
"""The state-changing calls so far, in order."""

REFUSED = None
"""In the place of a history: the tool refuses the call whatever the state is."""


class Filed(NamedTuple):
    """A recorded call with its key, and the history in which it was made."""

    recorded: RecordedCall
    key: CallKey
    place: History | None


def place_of(key: CallKey, effect: Effect, history: History) -> History:
    """Return the history that decides what a call answers."""
    return history[:-1] if effect == "idempotent" and history[-1:] == (key,) else history


def history_after(key: CallKey, effect: Effect, history: History) -> History:
    """Return the history once a call has been made."""
    return history if effect == "read" else (*place_of(key, effect, history), key)


class Index:
    """The calls of a recording by key and place.

    Args:
        recording: The logged turn.
        validation: Says which of its calls were refused.
        effects: The effect of every tool in it.
    """

    def __init__(self, recording: Recording, validation: Validation, effects: Mapping[str, Effect]) -> None:
        self.filed: list[Filed] = []
        self.ran: list[RecordedCall] = []
        """The recorded calls that were not refused, in order."""
        self._at: dict[tuple[CallKey, History | None], list[RecordedCall]] = {}
        history: History = ()
        for recorded in recording.calls:
            key = call_key(recorded.call, recording.schemas.get(recorded.name))
            effect = effects[recorded.name]
            place: History | None = REFUSED
            if not validation.flaws(recorded.call):
                place = place_of(key, effect, history)
                history = history_after(key, effect, history)
                self.ran.append(recorded)
            self.filed.append(Filed(recorded, key, place))
            self._at.setdefault((key, place), []).append(recorded)

    def at(self, key: CallKey, place: History | None) -> Sequence[RecordedCall]:
        """Return the recorded calls with this key in this place, in order."""
        return self._at.get((key, place), ())
