"""What a rule is, and how its matches are found in a text. Pure.

*Theory.* Most texts hold no secret, so a rule must be cheap to rule out. Each names *anchors*: literals, one of which
occurs in every match. A text without an anchor is not looked at again. Where the anchor stands at (or a bounded
distance after) the beginning of a match, the pattern is tried only there, instead of at every character.

Time is linear in the text: quantifiers are bounded or possessive, and after a match that its check refused the search
goes on behind it.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

Kind = Literal["secret", "personal"]
Where = Literal["word", "text"]


class Span(NamedTuple):
    """Begin and end of a value in its text."""

    start: int
    end: int


Check = Callable[[re.Match[str]], Span | None]
"""Returns which part of a match is the value to take out; None when it only looks like one."""

NAME_CHARS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")


@dataclass(frozen=True, slots=True)
class Rule:
    """One kind of value that is taken out."""

    name: str
    kind: Kind
    pattern: re.Pattern[str]
    anchors: tuple[str, ...] = ()
    """Literals in lower case, one of which occurs in every match; none means that every text is searched."""
    label: str = ""
    """What the placeholder says; the name in capitals when left out."""
    check: Check | None = None
    group: int = 0
    """The group of the pattern that is the value, where no check says so."""
    normalise: Callable[[str], str] | None = None
    """Brings different spellings of one value to one form before it is hashed."""
    before: int | None = None
    """How many ``before_chars`` of a match may stand before the anchor; None: the anchor may be anywhere in it."""
    before_chars: frozenset[str] = NAME_CHARS
    where: Where = "text"
    """``word``: a match is part of a word of at least 16 characters, so only long words are searched for anchors."""
    keep: frozenset[str] = frozenset()
    """Values that are left alone."""

    @property
    def shown(self) -> str:
        """What the placeholder says."""
        return self.label or self.name.upper()

    def spans(self, text: str, lowered: str) -> list[Span]:
        """Return the values in ``text``, in order and without overlaps.

        Args:
            text: The text.
            lowered: The same in lower case, character for character.
        """
        found: list[Span] = []
        for match in self._matches(text, lowered):
            span = Span(*match.span(self.group)) if self.check is None else self.check(match)
            if span is not None and span.start < span.end and text[span.start : span.end] not in self.keep:
                found.append(span)
        return found if self.before is None or len(self.anchors) < 2 else _without_overlaps(found)

    def _matches(self, text: str, lowered: str) -> Iterator[re.Match[str]]:
        if self.before is None:
            yield from self.pattern.finditer(text)
            return
        for anchor in self.anchors:
            at = lowered.find(anchor)
            least = 0
            while at >= 0:
                match = self.pattern.match(text, self._start(text, at, max(least, at - self.before)))
                # Behind a match also when its check refuses it: else hostile text would be read again and again.
                least = max(at + len(anchor), match.end() if match else 0)
                if match is not None:
                    yield match
                at = lowered.find(anchor, least)

    def _start(self, text: str, at: int, least: int) -> int:
        start = at
        while start > least and text[start - 1] in self.before_chars:
            start -= 1
        # In JSON that could not be read, a line ends in the two characters of an escape: `\npassword=`.
        is_escape = start < at and text[start - 1 : start] == "\\" and text[start] in "bfnrt"
        return start + 1 if is_escape else start


def words(text: str) -> frozenset[str]:
    """Return the words of a list that is written as one text."""
    return frozenset(text.split())


def lower(text: str) -> str:
    """Return ``text`` in lower case, character for character (``İ`` would become two)."""
    lowered = text.lower()
    return lowered if len(lowered) == len(text) else "".join(c if len(c.lower()) > 1 else c.lower() for c in text)


def _without_overlaps(spans: list[Span]) -> list[Span]:
    kept: list[Span] = []
    for span in sorted(spans):
        if not kept or span.start >= kept[-1].end:
            kept.append(span)
    return kept
