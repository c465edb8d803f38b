"""The redaction of an export: what the store may know, a training file need not.

The store takes secrets out before it writes; a model that is trained on an address can say it to anybody. So an
export takes out personal data as well, with the marks of the same store: equal values have equal marks, and a chain
that recalls what it remembered stays one. What a mark does to the arguments of a call is checked against the schema
of its tool: an answer that no longer fits is left out. So is what has a value in the key of an object, where no mark
can stand; an id with a value in it gets another name (``export.normalise``).
"""

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from tarx_toollog.export.example import Dropped, Message, Piece
from tarx_toollog.redaction.exchanges import is_structural_of_message, is_structural_of_tool
from tarx_toollog.redaction.redactor import Redactor
from tarx_toollog.store.verdicts import check_schema

MARK = "⟦"
"""What every mark begins with."""
_KNOWN = 4096  # keys and ids whose verdict is remembered: a tool has the same in every call
_OPENS = ("{", "[")


class Cleaner:
    """Cleans messages and tool definitions with one redactor, and counts what it took out by rule.

    Args:
        redactor: The rules.
    """

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self.counts: dict[str, int] = {}
        """Rule → values taken out of distinct messages."""
        self.is_plain = lru_cache(_KNOWN)(self._is_plain)
        """Says whether a text, an id or a key, holds no value that must be taken out."""

    @property
    def policy_id(self) -> str:
        """Short stable hash of the rules."""
        return self._redactor.policy_id

    def message(self, message: Message) -> Message:
        """Return a message without the values; the same object when there are none.

        Raises:
            Dropped: The key of an object holds one.
        """
        cleaned = self._tree(message, is_structural_of_message)
        if not self._redactor.is_off:
            self._require_plain_keys([cleaned.get("content"), cleaned.get("tool_calls")])
        return cleaned

    def tool(self, tool: dict[str, Any]) -> dict[str, Any]:
        """Return a tool definition without the values; the same object when there are none.

        Raises:
            Dropped: The name of a property holds one.
        """
        cleaned = self._tree(tool, is_structural_of_tool)
        if not self._redactor.is_off:
            self._require_plain_keys([cleaned])
        return cleaned

    def quietly(self, message: Message) -> Message:
        """Return a message without the values, and count nothing: for what is only compared."""
        if self._redactor.is_off:
            return message
        cleaned: Message = self._redactor.tree(message, is_structural_of_message)[0]
        return cleaned

    def _is_plain(self, text: str) -> bool:
        return self._redactor.is_off or not self._redactor.text(text)[1]

    def _require_plain_keys(self, values: list[Any]) -> None:
        if not all(map(self.is_plain, _keys(values))):
            raise Dropped("value_in_key")

    def _tree(self, value: dict[str, Any], is_structural: Any) -> dict[str, Any]:
        if self._redactor.is_off:
            return value
        new, founds = self._redactor.tree(value, is_structural)
        for found in founds:
            self.counts[found.found.rule] = self.counts.get(found.found.rule, 0) + 1
        cleaned: dict[str, Any] = new
        return cleaned


def _keys(waiting: list[Any]) -> Iterator[str]:
    """Yield the keys of all objects, also of those in strings of JSON: results are such strings."""
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield from value
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, str) and value[:1] in _OPENS and value:
            try:
                waiting.append(json.loads(value))
            except (ValueError, RecursionError):
                continue


def breaks_schema(answer: Piece, tools: Piece | None) -> bool:
    """Say whether a mark stands in the arguments of a call where the schema of its tool forbids it."""
    if MARK not in answer.text or tools is None:
        return False
    schemas = {tool["function"]["name"]: tool["function"].get("parameters") for tool in tools.value}
    for call in answer.value.get("tool_calls", ()):
        schema = schemas.get(call["function"]["name"])
        if isinstance(schema, dict) and check_schema(call["function"]["arguments"], schema)[0] == "fail":
            return True
    return False
