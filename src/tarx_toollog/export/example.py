"""What the stages of an export hand to each other."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tarx_toollog.model import Step


class Dropped(Exception):
    """This step cannot become an example; ``reason`` is a key of ``REASONS``."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


REASONS = {
    "not_completed": "the exchange did not end well (outcome is not completed)",
    "cut_by_length": "the token limit, or a content filter, cut the answer off",
    "no_answer": "there is no answer, or an empty one",
    "other_protocol": "the exchange is not an OpenAI-style chat",
    "several_answers": "several answers were asked for (n > 1)",
    "invalid_arguments": "a call of the answer has arguments that are not a JSON object",
    "incomplete_call": "a call of the answer was cut off",
    "tool_not_offered": "a call of the answer names a tool that was not offered",
    "schema_failure": "a call of the answer breaks the schema of its tool",
    "not_native_call": "the answer calls a tool in a way that the chat format cannot say (leaked into text, legacy …)",
    "error_result": "a call of the answer came back with an error; it stays in the history of later examples",
    "calls_differ": "the calls of the stored answer are not the calls that were logged",
    "history_arguments": "an earlier call in the history has arguments that are not a JSON object",
    "history_result": "a tool result in the history has no call that it answers",
    "role": "a message has a role that the format does not know",
    "not_text": "a message has content that is not text (an image, audio)",
    "tools": "a tool definition is not a function with a name",
    "lone_surrogate": "the text holds half a character, which UTF-8 cannot write",
    "number": "a number that trainers would change: NaN, Infinity, or an integer beyond 64 bits",
    "duplicate": "the very same example is there already",
}
"""Why a step is left out. The keys stand in manifests; ``docs/export.md`` explains them."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A step that passed selection, with the place it comes from."""

    conversation_uid: str
    turn_no: int
    step: Step


@dataclass(frozen=True, slots=True)
class Example:
    """One line of a training file: the row, and where it comes from."""

    example_id: str
    """Content hash of the row."""
    row: Mapping[str, Any]
    """``messages``, the last of which is the target, and ``tools`` where tools were offered."""
    conversation_uid: str
    turn_no: int
    step_no: int
    exchange_uid: str
    notes: tuple[str, ...] = ()
    """What was left out of it: ``reasoning``."""


@dataclass(slots=True)
class Counts:
    """What went in, what came out, and why the rest did not."""

    trajectories: int = 0
    steps: int = 0
    examples: int = 0
    dropped: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)

    def as_json(self) -> dict[str, Any]:
        """Return the counts in a fixed order; ``steps`` = ``examples`` + all of ``dropped``."""
        return {
            "trajectories": self.trajectories,
            "steps": self.steps,
            "examples": self.examples,
            "dropped": {reason: self.dropped[reason] for reason in REASONS if self.dropped[reason]},
            "notes": dict(sorted(self.notes.items())),
        }
