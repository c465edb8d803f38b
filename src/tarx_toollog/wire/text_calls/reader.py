"""What all forms share: the call that was found, and a reader of one text that cannot be made to work too long.

*Theory.* Going forward is free: what was read as a call, or as a JSON value that is none, is not read again.
Only failures can repeat, because after one the scan goes on right behind the marker. So every failed attempt
is charged with the characters that it looked at, and a text whose failures add up to a multiple of its length
is given up: nothing but an attack gets there. Searches for a closing marker remember their last answer.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import NamedTuple

from tarx_toollog.canonical import Json, json_text
from tarx_toollog.wire.repair import Literal, LiteralReader, UnreadableError

_SPACE = re.compile(r"\s*")
_MARKS = re.compile(r'["\\{}\[\]]')
_NAME = re.compile(r"[^\s<>{}\[\]()\"'`|,;=]{1,128}")
_CUT_STRING = "Unterminated string"
_FAILURES_PER_CHARACTER = 8
_FREE_FAILURES = 4096  # short texts may fail as often as they like
_LINE_COUNT_SHARE = 64  # json counts the lines before each error: fast, but from the begin of the text every time


@dataclass(frozen=True, slots=True)
class TextCall:
    """A tool call that stands in the text of an answer.

    ``arguments`` is the argument text as it stands there when the form writes JSON (or nearly JSON), else
    the canonical JSON of what the form means. Of a call that is not ``complete``, it is the argument text as
    far as it came. ``start`` and ``end`` are places in the text, the markers around the call included.
    """

    name: str
    arguments: str
    form: str
    start: int
    end: int
    complete: bool
    call_id: str | None = None


class Found(NamedTuple):
    """The calls that stand at one place, in order, and where they end."""

    calls: tuple[TextCall, ...]
    end: int


class SpentError(Exception):
    """The failed attempts add up to more than the text is worth."""


class Reader:
    """Read one text at given places.

    Args:
        text: The text of an answer.
        offered: Names of the offered tools; empty when they are not known.
    """

    def __init__(self, text: str, offered: frozenset[str]) -> None:
        self.text = text
        self.offered = offered
        self.length = len(text)
        self._budget = _FREE_FAILURES + _FAILURES_PER_CHARACTER * len(text)
        self._found: dict[str, tuple[int, int]] = {}
        self._decoder = json.JSONDecoder(strict=False)  # models put raw line breaks into strings

    def skip(self, at: int) -> int:
        """Return the place of the next character that is not white space."""
        match = _SPACE.match(self.text, at)
        return at if match is None else match.end()

    def find(self, token: str, at: int) -> int:
        """Return the next place of ``token`` from ``at`` on, or -1; asking again costs nothing."""
        since, place = self._found.get(token, (self.length + 1, -1))
        if since <= at and (place == -1 or at <= place):
            return place
        place = self.text.find(token, at)
        self._found[token] = (at, place)
        return place

    def search(self, pattern: re.Pattern[str], at: int) -> re.Match[str] | None:
        """Search ``pattern`` from ``at`` on; in vain is charged."""
        match = pattern.search(self.text, at)
        if match is None:
            self.charge(self.length - at)
        return match

    def charge(self, characters: int) -> None:
        """Count a failed attempt.

        Raises:
            SpentError: That was one too many.
        """
        self._budget -= max(characters, 1)
        if self._budget < 0:
            raise SpentError

    def json(self, at: int) -> Literal | None:
        """Read the JSON value at ``at``; None when there is none."""
        try:
            return Literal(*self._decoder.raw_decode(self.text, at))
        except json.JSONDecodeError as error:
            self.charge((self.length if error.msg.startswith(_CUT_STRING) else error.pos) - at)
            self.charge(error.pos // _LINE_COUNT_SHARE)
        except (ValueError, RecursionError):  # a number with thousands of digits; thousands of brackets
            self.charge(self.length - at)
        return None

    def literal(self, at: int) -> Literal | None:
        """Read the value at ``at`` in Python's notation, or in JSON with slips; None when there is none."""
        try:
            return LiteralReader(self.text, python=True).value(at)
        except UnreadableError as error:
            self.charge(error.position - at)
            return None

    def ends_inside(self, at: int, markers: Iterable[str]) -> bool:
        """Say whether the text ends inside the brackets that open at ``at``, with none of ``markers`` before."""
        if any(self.find(marker, at) != -1 for marker in markers):
            return False
        self.charge(self.length - at)
        depth, in_string, skipped = 0, False, -1
        for match in _MARKS.finditer(self.text, at):
            mark = match.group()
            if match.start() == skipped:
                continue
            if mark == "\\":
                skipped = match.end()
            elif mark == '"':
                in_string = not in_string
            elif not in_string:
                depth += 1 if mark in "{[" else -1
                if depth <= 0:
                    return False
        return True


def is_name(name: str) -> bool:
    """Say whether a model could have meant ``name`` as the name of a tool."""
    return _NAME.fullmatch(name) is not None


def dump(value: Json) -> str | None:
    """Return the JSON of a value that was read, None when it is nested too deep to be written."""
    try:
        return json_text(value)
    except (ValueError, RecursionError):
        return None


def spread(calls: Iterable[TextCall], start: int, end: int) -> tuple[TextCall, ...]:
    """Let the first call begin at ``start`` and the last one end at ``end``, where their markers are."""
    spread_out = list(calls)
    if spread_out:
        spread_out[0] = replace(spread_out[0], start=start)
        spread_out[-1] = replace(spread_out[-1], end=end)
    return tuple(spread_out)
