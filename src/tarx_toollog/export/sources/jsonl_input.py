"""Files that people bring: reads them line by line, and gathers what is wrong with them.

Owns the difference between two kinds of trouble. A line that cannot be read as what the file says it is, is an
*error*: all of them are listed, and nothing of the file is imported. An answer that reads well and is not fit to be
learned is *left out* with a reason of ``export.reasons``, as it would be had it come from the log.
"""

import json
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from tarx_toollog.canonical import MAX_DEPTH, TOO_DEEP, InvalidJsonError, parse_json
from tarx_toollog.errors import LIST_ENTRY, ConfigError
from tarx_toollog.export.reasons import REASONS

LISTED = 10
"""Lines that a message names: enough to see the pattern."""
KEPT = 100
"""Warnings and left-out answers that are kept with their place; the rest is counted."""
MAX_ARRAY = 64 * 2**20
"""Bytes of a file that is one JSON array, which has to be read whole. Lists of identities have some 100 KB."""
_BOM = b"\xef\xbb\xbf"
_SPACE = " \t\r\n"


class InputLine(NamedTuple):
    """A line of a file, read."""

    number: int
    """From 1; where an element of a JSON array begins."""
    value: dict[str, Any]


class Remark(NamedTuple):
    """Something that a person should know about a line."""

    line: int
    """From 1; 0 when it is about the whole file."""
    code: str
    message: str


class BadLineError(Exception):
    """A line cannot be read as what the file says it is.

    Args:
        message: What is wrong.
        mend: What to do about it.
    """

    def __init__(self, message: str, mend: str) -> None:
        super().__init__(message)
        self.message = message
        self.mend = mend


@dataclass(slots=True)
class Intake:
    """What the import of one file tells besides its examples."""

    file: str
    """Name of the file, without its folder."""
    lines: int = 0
    """Lines that hold something."""
    examples: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    """What the examples are → how many: ``system_own``, ``after_chain`` …"""
    left_out: Counter[str] = field(default_factory=Counter)
    """Reason → answers that are not fit to be learned."""
    warnings: Counter[str] = field(default_factory=Counter)
    """Code → how often."""
    remarks: list[Remark] = field(default_factory=list)
    """The first warnings and left-out answers, with their place."""
    _errors: list[str] = field(default_factory=list)
    _n_errors: int = 0

    def error(self, line: int, error: BadLineError) -> None:
        """Keep what is wrong with a line."""
        self._n_errors += 1
        if len(self._errors) < LISTED:
            self._errors.append(f"line {line}: {error.message}; {error.mend}" if line else f"{error}; {error.mend}")

    def warn(self, line: int, code: str, message: str) -> None:
        """Keep a warning."""
        self.warnings[code] += 1
        self._remark(line, code, message)

    def leave_out(self, line: int, reason: str, detail: str = "") -> None:
        """Count an answer that is not fit to be learned; ``reason`` is a key of ``reasons.REASONS``."""
        self.left_out[reason] += 1
        self._remark(line, reason, detail or REASONS[reason])

    def _remark(self, line: int, code: str, message: str) -> None:
        if len(self.remarks) < KEPT:
            self.remarks.append(Remark(line, code, message))

    def require_no_errors(self) -> None:
        """Say what is wrong with the file.

        Raises:
            ConfigError: A line is wrong, or the file holds none.
        """
        if self._errors:
            count = "1 error" if self._n_errors == 1 else f"{self._n_errors} errors"
            message = _with_list(f"{self.file}: {count}", self._errors, self._n_errors)
            raise ConfigError(message, hint="mend what is listed; nothing of the file was imported")
        if not self.lines:
            raise ConfigError(f"{self.file} is empty", hint="leave the option away, or name another file")

    def require_examples(self) -> None:
        """Say what is wrong when a file was read and gave nothing.

        Raises:
            ConfigError: A line is wrong, or every answer was left out.
        """
        self.require_no_errors()
        if not self.examples:
            why = "; ".join(f"{n} × {reason}: {REASONS[reason]}" for reason, n in self.left_out.most_common(3))
            left_out = (one for one in self.remarks if one.code in self.left_out)
            lines = [f"line {one.line}: {' '.join(one.message.split())}" for one in left_out]
            message = f"{self.file}: no answer is fit to be learned ({why})"
            hint = "mend what is listed, or leave the file away"
            raise ConfigError(_with_list(message, lines, self.left_out.total()), hint=hint)

    def as_json(self) -> dict[str, Any]:
        """Return the counts for a manifest, and the places for a report."""
        return {
            "file": self.file,
            "lines": self.lines,
            "examples": self.examples,
            "kinds": dict(sorted(self.kinds.items())),
            "left_out": dict(sorted(self.left_out.items())),
            "warnings": dict(sorted(self.warnings.items())),
            "remarks": [remark._asdict() for remark in self.remarks],
        }


def _with_list(message: str, lines: Sequence[str], total: int) -> str:
    """Return a message with the first lines of a list below it, and how many more there are."""
    more = [f"and {total - LISTED} more"] if total > LISTED else []
    return LIST_ENTRY.join([message, *lines[:LISTED], *more])


def read_lines(path: Path, intake: Intake) -> Iterator[InputLine]:
    """Yield the objects of a JSONL file, or of one JSON array; keeps errors in ``intake`` and goes on.

    Blank lines and a byte order mark are passed over. A JSONL file takes the memory of its longest line.

    Raises:
        ConfigError: The file cannot be read at all.
    """
    try:
        with path.open("rb") as stream:
            start = stream.read(4096).removeprefix(_BOM).lstrip()
            is_array = start.startswith(b"[")
            if is_array and path.stat().st_size <= MAX_ARRAY:
                yield from _elements(path.read_bytes(), intake)
                return
            if is_array:
                raise ConfigError(
                    f"{path.name} is one JSON array of more than {MAX_ARRAY // 2**20} MB",
                    hint="write one object a line: jq -c '.[]' FILE > FILE.jsonl",
                )
            stream.seek(0)
            for number, raw in enumerate(stream, 1):
                yield from _line(number, raw.removeprefix(_BOM) if number == 1 else raw, intake)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", hint="name a file that can be read") from error


def _line(number: int, raw: bytes, intake: Intake) -> Iterator[InputLine]:
    if not raw.strip():
        return
    intake.lines += 1
    try:
        text = _text(raw)
        yield InputLine(number, _object(_parsed(text), text))
    except BadLineError as error:
        intake.error(number, error)


def _elements(raw: bytes, intake: Intake) -> Iterator[InputLine]:
    """Yield the elements of a JSON array with the line on which each begins."""
    line = 1
    try:
        text = _text(raw.removeprefix(_BOM)).rstrip()
        place, before = _after_space(text, text.index("[") + 1), 0
        while not (text.startswith("]", place) and not intake.lines):
            line += text.count("\n", before, place)
            before = place
            value, place = _decoder.raw_decode(text, place)
            intake.lines += 1
            try:
                yield InputLine(line, _object(value, text[before:place]))
            except BadLineError as error:
                intake.error(line, error)
            place = _after_space(text, place)
            if text.startswith("]", place):
                break
            if not text.startswith(",", place):
                raise BadLineError("no comma between two objects", "write a JSON array, or one object a line")
            place = _after_space(text, place + 1)
        if place != len(text) - 1:
            raise BadLineError("there is text behind the JSON array", "write one object a line, or one JSON array")
    except BadLineError as error:
        intake.error(line, error)
    except (ValueError, RecursionError) as error:
        line = error.lineno if isinstance(error, json.JSONDecodeError) else line
        intake.error(line, _unreadable(error, "write a JSON array, or one object a line"))


def _after_space(text: str, place: int) -> int:
    while place < len(text) and text[place] in _SPACE:
        place += 1
    return place


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadLineError(f"not UTF-8 (byte {error.start + 1})", "save the file as UTF-8") from error


def _refuse_constant(name: str) -> NoReturn:
    raise BadLineError(f"{name} is not JSON", "write null or a number")


_decoder = json.JSONDecoder(parse_constant=_refuse_constant)


def _parsed(text: str) -> Any:
    try:
        value = _decoder.decode(text.strip())
    except (ValueError, RecursionError) as error:
        raise _unreadable(error, "write one JSON object a line") from error
    return value


def _unreadable(error: ValueError | RecursionError, mend: str) -> BadLineError:
    if isinstance(error, json.JSONDecodeError):
        return BadLineError(f"not JSON: {error.msg[:1].lower()}{error.msg[1:]} at column {error.colno}", mend)
    if isinstance(error, RecursionError):
        return BadLineError(f"not JSON: {TOO_DEEP}", mend)
    # The interpreter reads no longer ones, because that takes a time that grows with the square of the digits.
    return BadLineError(f"a number has more than {sys.get_int_max_str_digits()} digits", "write it as a string")


def _object(value: Any, text: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise BadLineError(f"not an object but {_kind(value)}", "write one JSON object a line")
    if text.count("{") + text.count("[") > MAX_DEPTH:  # rare: only then it may be too deep, and is read again
        try:
            parse_json(text, max_depth=MAX_DEPTH)
        except InvalidJsonError as error:
            raise BadLineError(TOO_DEEP, f"{MAX_DEPTH} levels are read") from error
    return value


def _kind(value: Any) -> str:
    kinds = {list: "a list", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return kinds.get(type(value), "null")


def text_of(row: dict[str, Any], key: str) -> str:
    """Return the text under ``key``.

    Raises:
        BadLineError: There is none, or it is empty.
    """
    value = row.get(key)
    if not isinstance(value, str) or not value.strip():
        raise BadLineError(f"`{key}` is no text", f"write `{key}` as a string that is not empty")
    return value


def optional_text(row: dict[str, Any], *keys: str) -> str | None:
    """Return the text under the first of the keys that has a value; None when none has.

    Raises:
        BadLineError: It is not a string.
    """
    key = next((key for key in keys if row.get(key) is not None), None)
    if key is not None and not isinstance(row[key], str):
        raise BadLineError(f"`{key}` is {_kind(row[key])}", f"write `{key}` as a string")
    return None if key is None else row[key]
