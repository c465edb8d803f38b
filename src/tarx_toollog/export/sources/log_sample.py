"""What imported examples borrow from the log, so that they look like the requests that the model gets in use.

Remembers, of the examples that pass by: the system prompt and the list of tools that were used most, the list in which
a certain tool stands, and some short dialogues that end with an answer after calls. Takes the same memory for any log.
"""

import heapq
from collections import Counter
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any, Generic, TypeVar

from tarx_toollog.export.example import Example, Piece

MAX_DISTINCT = 2048
"""Prompts, and lists of tools, that are counted at once. A prompt with the time of day in it is new each time."""
MAX_CARRIERS = 64
MAX_MESSAGES = 16
MAX_BYTES = 8_000
"""A dialogue that is longer is not carried: only the question behind it is to be learned."""

T = TypeVar("T")


class LogSample:
    """Collects; ask when the log has been read.

    Args:
        seed: Decides which dialogues are remembered.
    """

    def __init__(self, seed: int = 0) -> None:
        self._seed = seed
        self._prompts: _Most[str] = _Most()
        self._tools: _Most[Piece] = _Most()
        self._carriers: dict[str, Example] = {}
        self._ranks: list[tuple[int, str]] = []

    def observe(self, example: Example) -> None:
        """Take in one example of the log; what is kept for evaluation is passed over."""
        if example.registry == "eval":
            return
        first = example.messages[0].value
        if first["role"] == "system" and first["content"].strip():
            self._prompts.add(first["content"], first["content"])
        if example.tools is not None:
            self._tools.add(example.tools.text, example.tools)
        if _can_carry(example):
            self._carry(example)

    @property
    def system_prompt(self) -> str | None:
        """The system prompt that was used most; None when there was none."""
        return next(iter(self._prompts.by_use()), None)

    @property
    def tools(self) -> Piece | None:
        """The list of tools that was offered most; None when there was none."""
        return next(iter(self._tools.by_use()), None)

    def tools_with(self, name: str) -> list[dict[str, Any]] | None:
        """Return the most offered list in which a tool of this name stands."""
        lists = (piece.value for piece in self._tools.by_use())
        return next((tools for tools in lists if any(tool["function"]["name"] == name for tool in tools)), None)

    @property
    def carriers(self) -> list[Example]:
        """Dialogues that end with an answer after calls, one of a conversation, in an order that the seed decides."""
        return [self._carriers[uid] for _, uid in sorted(self._ranks, reverse=True)]

    def _carry(self, example: Example) -> None:
        uid = example.origin.conversation_uid or ""
        if uid in self._carriers:
            return
        rank = -int.from_bytes(blake2b(f"{self._seed}\0{uid}".encode(), digest_size=8).digest())
        if len(self._ranks) < MAX_CARRIERS:
            heapq.heappush(self._ranks, (rank, uid))
        elif rank > self._ranks[0][0]:
            _, worst = heapq.heapreplace(self._ranks, (rank, uid))
            del self._carriers[worst]
        else:
            return
        self._carriers[uid] = example


class _Most(Generic[T]):
    """Counts texts, of each of which it keeps a value; forgets the rarer half when there are too many."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._values: dict[str, T] = {}

    def add(self, text: str, value: T) -> None:
        if text not in self._values:
            if len(self._values) >= MAX_DISTINCT:
                kept = self._counts.most_common(MAX_DISTINCT // 2)
                self._counts = Counter(dict(kept))
                self._values = {text: self._values[text] for text, _ in kept}
            self._values[text] = value
        self._counts[text] += 1

    def by_use(self) -> Iterator[T]:
        """Yield the values from the most to the least used; of equally used ones the first seen first."""
        return (self._values[text] for text, _ in self._counts.most_common())


def _can_carry(example: Example) -> bool:
    messages = example.messages
    if len(messages) > MAX_MESSAGES or "tool_calls" in messages[-1].value or example.origin.conversation_uid is None:
        return False
    if example.label is False or not any(piece.value["role"] == "tool" for piece in messages):
        return False
    return sum(piece.size for piece in messages) <= MAX_BYTES
