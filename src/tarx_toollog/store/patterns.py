"""Which regular expressions of a stranger's schema may be run, and on texts of which length. Pure.

*Theory.* Python's ``re`` tries every way in which a pattern may fit. For one repetition there are as many ways as the
text has characters, for two after one another the square of that, for a repetition inside a repetition 2 to the power
of it: ``(a+)+$`` on 40 letters keeps a thread busy for days, and the interpreter with it. So the choices of a pattern
are counted, and it runs only where ``length ** repetitions * other choices`` stays small. What repeats a group that may
itself fit in several ways is not run at all, nor is what refers back to a group.

The scan reads a pattern as ``re`` does, as far as it needs to know what repeats what. In doubt a pattern is not run;
what it would have checked is then called unchecked.
"""

import re
from dataclasses import dataclass, field
from functools import lru_cache

MAX_PATTERN = 500  # characters; a longer one is not written by people
MAX_WORK = 1_000_000  # ways to fit: some 10 ms
_FEW = 16  # a fixed number of repetitions up to this one costs no more than writing them out
_REPEAT = re.compile(r"[*+?]|\{(\d*)(,?)(\d*)\}")
_CLASS = re.compile(r"\[\^?\]?(?:\\.|[^\]\\])*\]", re.DOTALL)
_GROUP = re.compile(r"\((?:\?(?:[aiLmsux-]*:|P<\w+>|<?[=!]|>)|(?!\?))")
_ANY_LENGTH = 10**9


@lru_cache(maxsize=1024)
def max_length(pattern: str) -> int:
    """Return the length up to which a text may be searched with a pattern; -1 when it is not to be run at all.

    Example:
        >>> max_length("(a+)+$"), max_length("^[a-z]+$"), max_length("^[^@]+@[^@]+$")
        (-1, 1000000, 1000)
    """
    if len(pattern) > MAX_PATTERN:
        return -1
    try:
        re.compile(pattern)
        scan = _Scan(pattern)
        scan.run()
    except (re.error, RecursionError, OverflowError, _UnsafeError):
        return -1
    # Without an anchor the search begins anew at each character.
    is_anchored = pattern.startswith(("^", r"\A")) and not scan.branches
    degree = scan.repeats + (0 if is_anchored else 1)
    room = MAX_WORK // scan.choices
    if room == 0:
        return -1
    return _ANY_LENGTH if degree == 0 else round(room ** (1 / degree))


class _UnsafeError(ValueError):
    """The pattern may take any time."""


@dataclass(slots=True)
class _Scan:
    """One walk over a pattern."""

    pattern: str
    repeats: int = 0
    """Repetitions of varying length, one after another."""
    choices: int = 1
    """Ways to fit that do not depend on the length of the text: optional parts, alternatives."""
    branches: int = 0
    """Alternatives beside the first in the group that is open."""
    groups: list[tuple[int, int, int]] = field(default_factory=list)
    is_ambiguous: bool = False
    """Whether what was just read is a group that fits in several ways."""

    def run(self) -> None:
        at = 0
        while at < len(self.pattern):
            char = self.pattern[at]
            if char not in "()|" and (repeat := _REPEAT.match(self.pattern, at)) is not None:
                self._repeat(repeat)
                at = repeat.end()
                if self.pattern[at : at + 1] in ("?", "+"):
                    at += 1  # a lazy or possessive one tries no more
                self.is_ambiguous = False
                continue
            self.is_ambiguous = char == ")" and self._close()
            at = self._pass(char, at)
        self.choices *= self.branches + 1

    def _pass(self, char: str, at: int) -> int:
        if char == "(":
            self.groups.append((self.repeats, self.choices, self.branches))
            self.branches = 0
            return self._end_of(_GROUP, at)
        if char == "|":
            self.branches += 1
        if char == "[":
            return self._end_of(_CLASS, at)
        if char != "\\":
            return at + 1
        if self.pattern[at + 1] in "123456789":
            raise _UnsafeError
        return at + 2

    def _close(self) -> bool:
        repeats, choices, branches = self.groups.pop()
        self.choices *= self.branches + 1
        self.branches = branches
        return self.repeats > repeats or self.choices > choices

    def _repeat(self, repeat: re.Match[str]) -> None:
        low, high = _bounds(repeat)
        if high is not None and high <= 1:
            self.choices *= 2 if low == 0 else 1
            return
        if self.is_ambiguous:
            raise _UnsafeError
        if high is None or high != low or high > _FEW:
            self.repeats += 1

    def _end_of(self, expected: re.Pattern[str], at: int) -> int:
        match = expected.match(self.pattern, at)
        if match is None:
            raise _UnsafeError  # conditions, comments, references, global flags: not needed in a schema
        return match.end()


def _bounds(repeat: re.Match[str]) -> tuple[int, int | None]:
    """Return the least and the greatest number of repetitions; None for no limit."""
    simple = {"*": (0, None), "+": (1, None), "?": (0, 1)}
    if repeat[0] in simple:
        return simple[repeat[0]]
    low = int(repeat[1] or 0)
    if not repeat[2]:
        return low, low
    return low, int(repeat[3]) if repeat[3] else None
