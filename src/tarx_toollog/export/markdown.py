"""Text of the log in Markdown: what a model or a client made up as a name must not break a page, or a terminal."""

import re

# C0 and C1 controls, line ends of Unicode, marks that reverse the direction of text, and halves of characters.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_MARKUP = re.compile(r"[\\`*\[<&|]")


def one_line(text: str) -> str:
    """Return ``text`` with every character replaced that would end the line, or that a terminal would obey."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def as_cell(text: str) -> str:
    """Return ``text`` for a cell of a table: on one line, and shown as it is."""
    return _MARKUP.sub(r"\\\g<0>", one_line(text))
