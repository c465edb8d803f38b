r"""Whether a better answer could have been given at once. Pure.

*Theory.* A call that failed and its retry are two answers to one prompt only if the retry needs nothing that came
in between. An id, a path or an allowed value that only the error told could not have been known; a model that learns
to prefer it learns to guess. So each value of the retry is looked for: it must stand in what the model had
been shown or had itself written before the error (the prompt, the tools, the failed answer), or nowhere at all, for
then the model made it up by itself. What stands in the messages in between, and not before them, is hindsight.

Names and values of arguments are compared as whole words without case. Within a text only the words that look like
identifiers (with a digit, or one of ``/ \ _ @ #``) are looked for one by one, and so are their parts: prose shares its
words with every error. Truth values and null cannot be told apart and do not count.
What an error says in other words ("use ISO dates") is not found.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from tarx_toollog.canonical import MAX_DEPTH, InvalidJsonError, parse_json
from tarx_toollog.export.example import Piece

_IDENTIFIER = re.compile(r"\S*[\d/\\_@#]\S*")
_WORD = re.compile(r"\w+")
_MIN_PART = 3  # a part of an identifier that is shorter, and has no digit, stands in any text


def needs_hindsight(answer: Mapping[str, Any], known: Iterable[Piece], between: Iterable[Piece]) -> bool:
    """Say whether a call holds a value that stands in the messages in between, and in nothing that was known.

    Args:
        answer: The better answer, in canonical form.
        known: Messages and tools that came before the error.
        between: Messages that came after it and before the better answer, without those of the model.
    """
    told = _text(between)
    wanted = [value for call in answer.get("tool_calls", ()) for value in _values(call["function"]["arguments"])]
    suspects = [value for value in dict.fromkeys(wanted) if _stands_in(value, told)]
    if not suspects:
        return False
    before = _text(known)
    return any(not _stands_in(value, before) for value in suspects)


def _values(arguments: Any) -> Iterator[str]:
    """Yield what is looked for: leaves, names, and the identifiers in texts with their parts."""
    for leaf in _leaves(arguments):
        yield _fold(leaf)
        for match in _IDENTIFIER.finditer(leaf):
            yield _fold(match[0])
            for part in _WORD.findall(match[0]):
                if len(part) >= _MIN_PART or any(character.isdigit() for character in part):
                    yield _fold(part)


def _leaves(value: Any) -> Iterator[str]:
    """Yield the texts and numbers of a JSON value, names of keys included."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield key
            yield from _leaves(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield json.dumps(value)


def _text(pieces: Iterable[Piece]) -> str:
    return "\n".join(_fold(leaf) for piece in pieces for leaf in _said(piece.value))


def _said(value: Any) -> Iterator[str]:
    """Yield the leaves of a message or of tools; a text that is JSON itself by its own, and not by its escapes."""
    for leaf in _leaves(value):
        yield leaf
        if leaf.lstrip()[:1] in ("{", "["):
            try:
                yield from _leaves(parse_json(leaf, max_depth=MAX_DEPTH))
            except InvalidJsonError:
                continue


def _fold(text: str) -> str:
    return " ".join(text.casefold().split())


def _stands_in(value: str, text: str) -> bool:
    """Say whether a value stands in a text and is no part of a longer word."""
    start = text.find(value) if value else -1
    while start >= 0:
        end = start + len(value)
        opens = start == 0 or not (text[start - 1].isalnum() and value[0].isalnum())
        closes = end == len(text) or not (text[end].isalnum() and value[-1].isalnum())
        if opens and closes:
            return True
        start = text.find(value, start + 1)
    return False
