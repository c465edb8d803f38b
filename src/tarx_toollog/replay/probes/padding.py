"""What fills a context: other turns of the log, or text that says nothing. Pure but for reading the log.

The same padding for every model: which turns, and in which order, a hash of the scenario decides. A turn that holds a
value that the scenario asks for would make it easier, and is left out.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

from tarx_toollog.canonical import json_text
from tarx_toollog.replay.matching import Call
from tarx_toollog.replay.probes.distractors import rank
from tarx_toollog.replay.provenance import origins
from tarx_toollog.replay.running.history import bad_calls
from tarx_toollog.replay.suites.tiers import has_text
from tarx_toollog.store.filters import Filters

if TYPE_CHECKING:
    from tarx_toollog.store.log import ToolLog

Messages = tuple[Mapping[str, Any], ...]
_LOOKED_AT = 5_000  # turns of the log
_MOST_CHARS = 8_000  # of one turn: larger ones could not be placed exactly
_INSTRUCTING = ("system", "developer")
_MADE_OF = ("role", "content", "name", "tool_calls", "tool_call_id")
_OVERHEAD = 12  # characters that a template writes around a message, about


@dataclass(frozen=True, slots=True)
class Turn:
    """A whole turn: a question, calls with their results, and an answer."""

    conversation_uid: str
    messages: Messages

    @property
    def size(self) -> int:
        """Characters, with what a template writes around messages."""
        return size_of(self.messages)


def size_of(messages: Sequence[Mapping[str, Any]]) -> int:
    """Return the characters of messages, with what a template writes around them."""
    return sum(_chars(message) + _OVERHEAD for message in messages)


def without_system(messages: Sequence[Mapping[str, Any]]) -> Messages:
    """Return messages without the system prompt before them."""
    start = next((place for place, each in enumerate(messages) if each.get("role") not in _INSTRUCTING), len(messages))
    return tuple(messages[start:])


def logged_turns(log: "ToolLog") -> tuple[Turn, ...]:
    """Return the turns of the log that can be sent again, each once."""
    found: dict[str, Turn] = {}
    for trajectory in log.trajectories(Filters(limit=_LOOKED_AT)):
        last = trajectory.steps[-1] if trajectory.steps else None
        if trajectory.status != "answered" or last is None or last.output is None:
            continue
        start = max((place for place, each in enumerate(last.messages) if each.get("role") == "user"), default=None)
        if start is None:
            continue
        messages = tuple(
            {key: each[key] for key in _MADE_OF if key in each} for each in (*last.messages[start:], last.output)
        )
        if size_of(messages) <= _MOST_CHARS and _is_whole(messages):
            found.setdefault(_key(messages), Turn(trajectory.conversation_uid, messages))
    return tuple(found.values())


def neutral_turns() -> tuple[Turn, ...]:
    """Return turns about nothing in particular, in plain English; enough for a context of 32,000 tokens."""
    return tuple(_neutral(number, *what) for number, what in enumerate(product(_PLACES, _THINGS), 1))


def padding(
    turns: Sequence[Turn], seed: bytes, conversation_uid: str, calls: Sequence[Call], size: int
) -> tuple[Turn, ...]:
    """Return turns of at most ``size`` characters together, without the conversation itself and what gives it away.

    When no whole turn fits any more, a few short ones about nothing fill what is left.
    """
    chosen, left = list[Turn](), size
    in_order = sorted(turns, key=lambda turn: rank(seed, _key(turn.messages)))
    # What is left when no whole turn fits any more is filled with short ones: in a small context it is a good part.
    for turn in (*in_order, *_short_turns()):
        if turn.conversation_uid == conversation_uid or turn.size > left or _tells(turn, calls):
            continue
        chosen.append(turn)
        left -= turn.size
    return tuple(chosen)


def _short_turns() -> Iterator[Turn]:
    for place in _PLACES:
        asked, answer = f"Is it nice at {place}?", "Yes, it is."
        yield Turn("neutral", ({"role": "user", "content": asked}, {"role": "assistant", "content": answer}))


def _tells(turn: Turn, calls: Sequence[Call]) -> bool:
    return any(origin.message is not None for call in calls for origin in origins(call, turn.messages))


def _is_whole(messages: Messages) -> bool:
    """Say whether a turn ends with an answer in text, and a server would take its calls again."""
    last = messages[-1]
    is_answer = last.get("role") == "assistant" and not last.get("tool_calls") and has_text(last.get("content"))
    return is_answer and not bad_calls(messages)


def _chars(message: Mapping[str, Any]) -> int:
    content = message.get("content")
    calls = message.get("tool_calls")
    text = content if isinstance(content, str) else json_text(content) if content else ""
    return len(text) + (len(json_text(calls)) if calls else 0)


def _key(messages: Messages) -> str:
    return json_text([dict(message) for message in messages])


_PLACES = (
    "the harbour", "the old mill", "the botanical garden", "the town square", "the railway museum", "the upper meadow",
    "the observatory", "the covered market", "the boat house", "the quarry pond", "the library", "the lighthouse",
    "the orchard", "the tram depot", "the chapel hill", "the paper factory", "the ferry landing", "the north gate",
)  # fmt: skip
_THINGS = (
    ("the weather", "Clouds came in slowly from the west, and the light stayed soft until the evening"),
    ("the paths", "Most paths are gravel; the narrow ones are shaded by chestnut trees and stay dry after rain"),
    ("the history", "It was rebuilt twice, first in stone and later in brick, by people whose plans are lost"),
    ("the sounds", "In the morning one hears birds and water, at noon carts, and late at night nothing at all"),
    ("the colours", "Grey and green are everywhere, and in autumn a deep red that photographs never quite show"),
    ("the visitors", "People come in small groups, stay for an hour or two, and leave with pockets full of leaves"),
    ("the work there", "Repairs are done in winter, when there is time, and painting in the long days of early summer"),
    ("the food", "There is bread, soup and cheese at a wooden counter, and apple cake when the apples are ripe"),
)
_MORE = (
    "Nobody writes such things down, and that is a pity, because small changes are only seen by those who remember. "
    "The benches were moved, then moved back; a wall was whitewashed; a fence grew old and was not replaced. "
    "None of it matters for anything that you have to decide, and all of it makes the place what it is."
)


def _neutral(number: int, place: str, thing: tuple[str, str]) -> Turn:
    subject, said = thing
    asked = f"Tell me something about {subject} at {place}, for page {number} of my notes."
    answer = f"Page {number}, {place}, {subject}. {said}. {_MORE}"
    return Turn(f"neutral:{number}", ({"role": "user", "content": asked}, {"role": "assistant", "content": answer}))
