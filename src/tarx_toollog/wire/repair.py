"""Read arguments that are nearly JSON: what a model obviously meant, and what had to be overlooked for it.

Owns the reader of relaxed literals (JSON and Python's way to write the same values) and the rules of
``repair_arguments``. It never guesses: a text that was cut is not completed, a missing comma or value is not
put in, and what could mean two things is left alone.

*Theory.* One reader goes through the text once, from left to right, and keeps a code for every slip that it
overlooks. It has no way back and no second try, so the time is linear in the length of the text. Nesting is
limited, because the reader is recursive and the text is a stranger's.
"""

import json
import re
from typing import Any, NamedTuple

from tarx_toollog.canonical import InvalidJsonError, join_surrogates, parse_arguments, parse_json

MAX_DEPTH = 100  # real arguments are less than ten deep; the interpreter's own limit is not ours to use up
MAX_WRAPS = 3  # a fence around a string that holds an object: deeper wrapping has not been seen

REPAIRS = {
    "byte_order_mark": "a byte order mark before the object",
    "code_fence": "the object stands in a Markdown fence",
    "double_encoded": "the object is written as a JSON string, or with every quote escaped",
    "single_quotes": "strings in single quotes",
    "python_literals": "`True`, `False` or `None`",
    "trailing_comma": "a comma before a closing bracket",
    "raw_newline": "line breaks or other control characters inside a string",
    "unquoted_keys": "keys without quotes, where a colon follows at once",
    "escaped_apostrophe": r"`\'` inside a string in double quotes",
    "trailing_text": "words, closing brackets or end tokens after the object",
}
"""Every code that ``repair_arguments`` returns, and what it overlooks."""

_SPACE = re.compile(r"[ \t\r\n]*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_WORD = re.compile(r"-?[A-Za-z_$][A-Za-z0-9_$]*")
_RUN = {'"': re.compile(r'[^"\\\x00-\x1f]*'), "'": re.compile(r"[^'\\\x00-\x1f]*")}
_FENCE = re.compile(r"```[A-Za-z]*[ \t]*\r?\n?")
_HEX = re.compile(r"[0-9a-fA-F]+")
_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_PYTHON_CODE_POINTS = {"x": 2, "U": 8}  # the letter behind the backslash, and how many digits follow
_LAST_CODE_POINT = 0x10FFFF
_WORDS = {"true": True, "false": False, "null": None}
_CONSTANTS = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}  # as parse_json reads them
_PYTHON_WORDS = {"True": True, "False": False, "None": None}
_CLOSERS = "}])` \t\r\n"


class UnreadableError(ValueError):
    """The text is no literal, not even a relaxed one.

    ``position`` is where that became clear: the length of the text when it ended too early.
    """

    def __init__(self, position: int) -> None:
        super().__init__(f"no literal at {position}")
        self.position = position


class Literal(NamedTuple):
    """A value that was read, and where its text ends."""

    value: Any
    end: int


class LiteralReader:
    """Read values in JSON or in Python's notation from places in one text.

    Args:
        text: The text.
        python: Read Python's escapes and tuples too, for texts that are Python and not nearly JSON.
    """

    def __init__(self, text: str, *, python: bool = False) -> None:
        self.text = text
        self.codes: dict[str, None] = {}
        self._python = python

    def value(self, at: int, depth: int = 0) -> Literal:
        """Read the value at ``at``.

        Raises:
            UnreadableError: There is none, it is not finished, or it is nested too deep.
        """
        head = self.text[at : at + 1]
        if depth > MAX_DEPTH:
            raise UnreadableError(at)
        if head == "{":
            return self._object(at, depth)
        if head == "[" or (head == "(" and self._python):
            return self._array(at, depth)
        if head in ('"', "'") and head:
            return self._string(at)
        return self._scalar(at)

    def skip(self, at: int) -> int:
        """Return the place of the next character that is not white space."""
        match = _SPACE.match(self.text, at)
        return at if match is None else match.end()

    def _object(self, at: int, depth: int) -> Literal:
        value: dict[str, Any] = {}
        at = self.skip(at + 1)
        while self.text[at : at + 1] != "}":
            key, at = self._key(at)
            at = self._expect(":", at)
            value[key], at = self.value(self.skip(at), depth + 1)
            at = self._separator(at, "}")
        return Literal(value, at + 1)

    def _array(self, at: int, depth: int) -> Literal:
        closer = "]" if self.text[at] == "[" else ")"
        value = []
        at = self.skip(at + 1)
        while self.text[at : at + 1] != closer:
            item, at = self.value(at, depth + 1)
            value.append(item)
            at = self._separator(at, closer)
        return Literal(value, at + 1)

    def _separator(self, at: int, closer: str) -> int:
        """Go past a comma; stay at a closing bracket."""
        at = self.skip(at)
        if self.text[at : at + 1] == closer:
            return at
        at = self.skip(self._expect(",", at))
        if self.text[at : at + 1] == closer and not (self._python and closer == ")"):
            self.codes["trailing_comma"] = None
        return at

    def _expect(self, mark: str, at: int) -> int:
        at = self.skip(at)
        if self.text[at : at + 1] != mark:
            raise UnreadableError(at)
        return at + 1

    def _key(self, at: int) -> tuple[str, int]:
        if self.text[at : at + 1] in ('"', "'"):
            key, end = self._string(at)
            return key, end
        match = _WORD.match(self.text, at)
        if match is None or match.group().startswith("-"):
            raise UnreadableError(at)
        self.codes["unquoted_keys"] = None
        return match.group(), match.end()

    def _string(self, at: int) -> Literal:
        quote, pieces, escaped = self.text[at], [], False
        run = _RUN[quote]
        at += 1
        while (match := run.match(self.text, at)) is not None:
            pieces.append(match.group())
            at = match.end()
            mark = self.text[at : at + 1]
            if mark == quote:
                break
            if mark == "\\":
                piece, at = self._escape(at, quote)
                escaped = True
            elif mark:
                piece, at = mark, at + 1
                self.codes["raw_newline"] = None
            else:
                raise UnreadableError(at)
            pieces.append(piece)
        if quote == "'":
            self.codes["single_quotes"] = None
        text = "".join(pieces)
        return Literal(join_surrogates(text) if escaped else text, at + 1)

    def _escape(self, at: int, quote: str) -> tuple[str, int]:
        mark = self.text[at + 1 : at + 2]
        if mark in _ESCAPES:
            return _ESCAPES[mark], at + 2
        if mark == "u":
            return self._code_point(at, 4)
        if mark == "'":
            if quote == '"':
                self.codes["escaped_apostrophe"] = None
            return "'", at + 2
        if mark in _PYTHON_CODE_POINTS and (self._python or quote == "'"):
            return self._code_point(at, _PYTHON_CODE_POINTS[mark])
        if self._python and mark:
            return "\\" + mark, at + 2
        # "C:\data" holds no escape, "C:\new" does: nobody knows which of the others were meant as such.
        raise UnreadableError(at + 1 if mark else len(self.text))

    def _code_point(self, at: int, size: int) -> tuple[str, int]:
        match = _HEX.fullmatch(self.text, at + 2, min(at + 2 + size, len(self.text)))
        if match is None or len(match.group()) != size:
            raise UnreadableError(min(at + 2 + size, len(self.text)))
        code = int(match.group(), 16)
        if code > _LAST_CODE_POINT:
            raise UnreadableError(at)
        return chr(code), at + 2 + size

    def _scalar(self, at: int) -> Literal:
        match = _WORD.match(self.text, at)
        if match is not None:
            word = match.group()
            for words in (_WORDS, _CONSTANTS, _PYTHON_WORDS):
                if word in words:
                    if words is _PYTHON_WORDS:
                        self.codes["python_literals"] = None
                    return Literal(words[word], match.end())
            raise UnreadableError(match.end())
        match = _NUMBER.match(self.text, at)
        if match is None:
            raise UnreadableError(at)
        try:
            number = float(match.group()) if match[1] or match[2] else int(match.group())
        except ValueError as error:  # more digits than the interpreter converts
            raise UnreadableError(at) from error
        return Literal(number, match.end())


def repair_arguments(text: str) -> tuple[dict[str, Any], tuple[str, ...]] | None:
    """Return the object that an argument text means and the codes of what was overlooked; never raises.

    None when there is nothing to repair (the text is a JSON object, or blank) and when the text does not
    obviously mean an object: a cut one above all, but also a list, a number, or two objects in a row.
    The codes are those of ``REPAIRS``, in the order in which they were met.
    """
    if parse_arguments(text).value is not None:
        return None
    codes: dict[str, None] = {}
    body = text.strip()
    if body.startswith("\ufeff"):
        codes["byte_order_mark"] = None
        body = body[1:].lstrip()
    for _ in range(MAX_WRAPS):
        code, inner = _unwrap(body)
        if code is None:
            break
        codes[code] = None
        body = inner.strip()
    value = _read_object(body, codes)
    return None if value is None or not codes or not _is_finite(value) else (value, tuple(codes))


def _is_finite(value: dict[str, Any]) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:  # NaN or Infinity: what was meant cannot be said in JSON
        return False
    return True


def _unwrap(body: str) -> tuple[str | None, str]:
    """Take one wrapping off; the code is None when there is none."""
    fence = _FENCE.match(body)
    if fence is not None:
        return "code_fence", body[fence.end() :].removesuffix("```")
    encoded = f'"{body}"' if body.startswith('{\\"') else body
    if encoded.startswith('"'):
        try:
            inner = parse_json(encoded)
        except InvalidJsonError:
            return None, body
        if isinstance(inner, str):
            return "double_encoded", inner
    return None, body


def _read_object(body: str, codes: dict[str, None]) -> dict[str, Any] | None:
    if not body.startswith("{"):
        return None
    try:
        value = parse_json(body)
    except InvalidJsonError:
        reader = LiteralReader(body)
        try:
            value, end = reader.value(0)
        except UnreadableError:
            return None
        codes.update(reader.codes)
        rest = body[end:].lstrip(_CLOSERS)
        if not _is_afterthought(rest):
            return None
        if body[end:].strip():
            codes["trailing_text"] = None
    return value if isinstance(value, dict) else None


def _is_afterthought(rest: str) -> bool:
    """Say whether what follows an object is not a part of it: no further member, no further value."""
    return not rest.startswith((",", ":")) and not any(mark in rest for mark in '{["')
