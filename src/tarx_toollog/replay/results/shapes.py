r"""How a tool words its results, learned from recorded ones. Pure.

Only what follows from the recording is learned. A text that repeats an argument is taken for an echo; a place that
merely acknowledges (``"stored": true``, ``"status": "ok"``) for fixed; where it is allowed, a text that ends in a
number, or a whole number, for a count that the n-th call of the tool shows. Anything else, ``"new": true`` for one,
may depend on what nobody saw, and makes the whole shape unknown. So does JSON written in more than one way.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from itertools import product
from typing import Any

from tarx_toollog.canonical import InvalidJsonError, Json, parse_json

Say = Callable[[Mapping[str, Any], int], Json]
"""From the arguments of a call and its number among the tool's calls, from 0, to a value."""

_FIELDS = frozenset({"", "ok", "success", "stored", "saved", "remembered", "done", "status"})
_WORDS = frozenset({"ok", "success", "stored", "saved", "remembered", "done"})
_COUNTED = re.compile(r"\D*\d{1,6}")  # a longer one is more likely an id made by chance
_STYLES = tuple(
    {"separators": separators, "ensure_ascii": ascii_only, "indent": indent}
    for separators, ascii_only, indent in product([(", ", ": "), (",", ":"), (",", ": ")], [True, False], [None, 2, 4])
)


class UnknownShapeError(ValueError):
    """The recorded results do not show how the next one looks."""


class Wording:
    """How a tool writes its values as text.

    Args:
        texts: Recorded results; at least one.

    Raises:
        UnknownShapeError: No one way of writing gives all of them.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self.values = [_read(text) for text in texts]
        self._styles = [style for style in _STYLES if self._fits(texts, style)]
        if not texts or not (self._styles or self.values == list(texts)):
            raise UnknownShapeError("its results are not written in one way")

    def write(self, value: Json) -> str:
        """Return the text for a value.

        Raises:
            UnknownShapeError: The recorded texts leave it open how this one is written.
        """
        written = {_dump(value, style) for style in self._styles} or {str(value)}
        if len(written) > 1:
            raise UnknownShapeError("its results do not show how it writes such text")
        return written.pop()

    def _fits(self, texts: Sequence[str], style: Mapping[str, Any]) -> bool:
        return all(_dump(value, style) == text for value, text in zip(self.values, texts, strict=True))


def learn(values: Sequence[Json], arguments: Sequence[Mapping[str, Any]], *, counts: bool, name: str = "") -> Say:
    """Return what says the value of the next call, from those of the recorded calls.

    Args:
        values: The recorded values, in order.
        arguments: Those of their calls.
        counts: Whether numbers may be counts of the tool's calls.
        name: The member of an object that the values stand in.

    Raises:
        UnknownShapeError: The values do not show it.
    """
    first = values[0]
    if isinstance(first, dict) and all(isinstance(value, dict) and list(value) == list(first) for value in values):
        parts = {
            key: learn([value[key] for value in values], arguments, counts=counts, name=key.lower()) for key in first
        }
        return lambda given, number: {key: say(given, number) for key, say in parts.items()}
    if name in _FIELDS and _acknowledges(first) and all(value == first for value in values):
        return lambda given, number: first
    echoed = [key for key in arguments[0] if _echoes(key, values, arguments)]
    if len(echoed) == 1:
        return lambda given, number: given[echoed[0]]
    if counts and all(_is_count(value) for value in values):
        return lambda given, number: _at(values, number)
    raise UnknownShapeError(f"its results do not show where {name or 'the text'!r} comes from")


def _echoes(key: str, values: Sequence[Json], arguments: Sequence[Mapping[str, Any]]) -> bool:
    return all(
        isinstance(value, str) and value == given.get(key) for value, given in zip(values, arguments, strict=True)
    )


def _acknowledges(value: Json) -> bool:
    return value is True or (isinstance(value, str) and value.rstrip(".!").casefold() in _WORDS)


def _is_count(value: Json) -> bool:
    if isinstance(value, str):
        return _COUNTED.fullmatch(value) is not None
    return isinstance(value, int) and not isinstance(value, bool)


def _at(values: Sequence[Json], number: int) -> Json:
    if number >= len(values):
        raise UnknownShapeError("it was called less often in the log")
    return values[number]


def _read(text: str) -> Json:
    try:
        return parse_json(text)
    except InvalidJsonError:
        return text


def _dump(value: Json, style: Mapping[str, Any]) -> str:
    return json.dumps(value, **style)
