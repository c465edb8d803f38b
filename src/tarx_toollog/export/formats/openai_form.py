"""Messages and tools as the wire of OpenAI has them. ``openai`` and ``mistral`` build on it.

Arguments are a string of JSON here, as they were on the wire; keys that the wire does not know are left out.
"""

import json
import re
from functools import lru_cache
from typing import Any

from tarx_toollog.export.example import Dropped, Message, Row

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")
_TOOL_KEYS = ("name", "description", "parameters", "strict")


def compact(value: Any) -> str:
    """Return JSON without spaces, as models write arguments on the wire."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def wire_calls(message: Message) -> list[dict[str, Any]]:
    """Return the calls of a message with their arguments as strings; an empty list when it has none.

    Raises:
        Dropped: A name has other signs than letters, digits, ``_`` and ``-``, or more than 64 of them.
    """
    return [
        {
            "id": call["id"],
            "type": "function",
            "function": {
                "name": checked_name(call["function"]["name"]),
                "arguments": compact(call["function"]["arguments"]),
            },
        }
        for call in message.get("tool_calls", ())
    ]


def checked_name(name: str) -> str:
    """Return ``name`` when both APIs allow it as the name of a function.

    Raises:
        Dropped: They do not.
    """
    if _NAME.fullmatch(name) is None:
        raise Dropped("format_cannot_say")
    return name


@lru_cache(maxsize=256)
def wire_tools(tools_text: str) -> tuple[dict[str, Any], ...]:
    """Return the tools with the keys that the APIs know. Kept, as most rows offer the same: not to be changed.

    Raises:
        Dropped: A name has other signs than letters, digits, ``_`` and ``-``, or more than 64 of them.
    """
    return tuple(
        {
            "type": "function",
            "function": {
                key: checked_name(tool["function"][key]) if key == "name" else tool["function"][key]
                for key in _TOOL_KEYS
                if key in tool["function"]
            },
        }
        for tool in json.loads(tools_text)
    )


def refuse_learned_reasoning(row: Row, learned: frozenset[int]) -> None:
    """Refuse a row that has reasoning in what is to be learned; in the history it can be left out.

    An answer without the reasoning that led to it is another thing to learn than what was asked for.

    Raises:
        Dropped: There is some.
    """
    answers = [message for place, message in enumerate(row.messages) if place in learned]
    if row.rejected is not None:
        answers.append(row.rejected)
    if any("reasoning_content" in message for message in answers):
        raise Dropped("format_cannot_say")
