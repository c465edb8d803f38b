"""The redaction of an export: what the store may know, a training file need not.

The store takes secrets out before it writes; a model that is trained on an address can say it to anybody. So an
export takes out personal data as well, with the marks of the same store: equal values have equal marks, and a chain
that recalls what it remembered stays one. What a mark does to the arguments of a call is checked against the schema
of its tool: an answer that no longer fits is left out.
"""

from typing import Any

from tarx_toollog.export.example import Message, Piece
from tarx_toollog.redaction.exchanges import is_structural_of_message, is_structural_of_tool
from tarx_toollog.redaction.redactor import Redactor
from tarx_toollog.store.verdicts import check_schema

MARK = "⟦"
"""What every mark begins with."""


class Cleaner:
    """Cleans messages and tool definitions with one redactor, and counts what it took out by rule.

    Args:
        redactor: The rules.
    """

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor
        self.counts: dict[str, int] = {}
        """Rule → values taken out of distinct messages."""

    @property
    def policy_id(self) -> str:
        """Short stable hash of the rules."""
        return self._redactor.policy_id

    def message(self, message: Message) -> Message:
        """Return a message without the values; the same object when there are none."""
        return self._tree(message, is_structural_of_message)

    def tool(self, tool: dict[str, Any]) -> dict[str, Any]:
        """Return a tool definition without the values; the same object when there are none."""
        return self._tree(tool, is_structural_of_tool)

    def quietly(self, message: Message) -> Message:
        """Return a message without the values, and count nothing: for what is only compared."""
        if self._redactor.is_off:
            return message
        cleaned: Message = self._redactor.tree(message, is_structural_of_message)[0]
        return cleaned

    def _tree(self, value: dict[str, Any], is_structural: Any) -> dict[str, Any]:
        if self._redactor.is_off:
            return value
        new, founds = self._redactor.tree(value, is_structural)
        for found in founds:
            self.counts[found.found.rule] = self.counts.get(found.found.rule, 0) + 1
        cleaned: dict[str, Any] = new
        return cleaned


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
