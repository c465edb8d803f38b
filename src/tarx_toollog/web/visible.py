"""Text as a person can trust it: what cannot be seen, and what turns the line around, is named instead.

Templates escape HTML by themselves. This is about characters that HTML has no objection to.
"""

import json
import re
from typing import Any

LONG = 4000
"""Characters of one text that a page shows; the whole of it can be fetched."""

# Controls but for tab and line feed; marks of direction, which let a text look like another one; characters without
# width (but not the two joiners that scripts and emoji need), tags, and half characters, which UTF-8 cannot carry.
_HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e0fff]"
)


def visible(text: str) -> str:
    r"""Return a text in which everything can be seen.

    Example:
        >>> visible("a\x00b\u202ec\td")
        'a⟦0000⟧b⟦202E⟧c\td'
    """
    return _HIDDEN.sub(lambda match: f"⟦{ord(match[0]):04X}⟧", text.replace("\r\n", "\n"))


def shortened(text: str | None, length: int = LONG) -> str:
    """Return the beginning of a text, and how long all of it is.

    Example:
        >>> shortened("abcdef", 3)
        'abc… (6 characters)'
    """
    text = text or ""
    return text if len(text) <= length else f"{text[:length]}… ({len(text)} characters)"


def pretty(value: Any) -> str:
    """Return a value as JSON for people: on one line where that is short, else indented; text stays as it is."""
    if isinstance(value, str):
        return value
    line = json.dumps(value, ensure_ascii=False, default=str)
    return line if len(line) <= 72 else json.dumps(value, ensure_ascii=False, indent=2, default=str)


def content_text(content: Any) -> str:
    """Return what stands under the content key of a message: its text, or that of its parts."""
    if isinstance(content, list):
        return "\n".join(content_text(part) for part in content)
    if isinstance(content, dict):
        return content["text"] if isinstance(content.get("text"), str) else pretty(content)
    return content if isinstance(content, str) else "" if content is None else pretty(content)
