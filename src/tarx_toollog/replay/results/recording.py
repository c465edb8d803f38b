"""What one logged turn shows about its tools: the calls in order, their results, and what each tool does to the world.

The *effect* of a tool decides when a recorded result may be served again. It is declared; for a tool that nobody
declared it is suggested by the name, and a name that does not clearly say "read" is a write. A write taken for a read
would let wrong results through, a read taken for a write only ends an attempt early.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from tarx_toollog.replay.matching import Call

Effect = Literal["read", "write", "idempotent"]
"""``read`` changes nothing, and says the same until something is written. ``write`` changes something.
``idempotent`` does too, but made again right away it changes nothing more, and says the same."""

Schema = Mapping[str, Any]

_READING = re.compile(
    "check|count|describe|fetch|find|get|list|lookup|peek|query|read|recall|retrieve|search|show|view"
)
_READING_AFTER_NOUN = re.compile("fetch|find|get|lookup|read|recall|retrieve|search")
"""Verbs only: ``list``, ``view`` or ``check`` after another word are often nouns."""
_DOUBTFUL = re.compile(
    "add|and|append|assign|book|buy|cancel|change|clear|close|copy|create|delete|drop|edit|execute|in|increment|insert|"
    "lock|make|mark|merge|move|next|open|or|out|pay|pop|post|purge|push|put|register|remember|remove|rename|replace|"
    "reserve|reset|run|save|sell|send|set|share|start|stop|store|submit|sync|then|toggle|transfer|update|upload|upsert|"
    "write"
)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_NAMESPACE = re.compile(r"__|[./:]")
_PREFIX = "tarx"


@dataclass(frozen=True, slots=True)
class RecordedCall:
    """One call of the turn, and what came back for it."""

    name: str
    arguments: Mapping[str, Any] | None
    """None when they could not be read."""
    result_text: str
    is_error: bool
    effect: Effect

    @property
    def call(self) -> Call:
        """The call without its result."""
        return Call(self.name, self.arguments)


@dataclass(frozen=True, slots=True)
class Recording:
    """The calls of one logged turn in order, and the argument schemas of the tools that were offered."""

    calls: tuple[RecordedCall, ...]
    schemas: Mapping[str, Schema | None]
    """By tool name; empty when it is not known what was offered."""


def effect_of(tool: str, declared: Mapping[str, Effect]) -> Effect:
    """Return the declared effect of a tool, or the one that its name suggests."""
    return declared.get(tool) or suggest_effect(tool)


def suggest_effect(tool: str) -> Effect:
    """Return ``read`` where a tool's name says clearly that it only reads, and ``write`` in any doubt.

    Example:
        >>> [suggest_effect(name) for name in ("tarx_recall", "getWeather", "tarx_remember", "find_and_replace", "cd")]
        ['read', 'read', 'write', 'write', 'write']
    """
    words = [word.lower() for word in _WORD.findall(_NAMESPACE.split(tool)[-1])]
    if words[:1] == [_PREFIX]:
        words = words[1:]
    if not words or any(_DOUBTFUL.fullmatch(word) for word in words):
        return "write"
    if _READING.fullmatch(words[0]) or (len(words) == 2 and _READING_AFTER_NOUN.fullmatch(words[1])):
        return "read"
    return "write"
