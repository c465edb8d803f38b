"""Calls that are written in a notation other than JSON: Python's, and Gemma's objects without quotes.

Python is read with the reader of relaxed literals, not with ``ast``: that one warns about escapes, refuses
NUL, and gives no place when a text was cut. Only keyword arguments with literal values make a call; anything
else is a program.
"""

import re
from typing import NamedTuple

from tarx_toollog.canonical import Json
from tarx_toollog.wire.repair import MAX_DEPTH, LiteralReader, UnreadableError
from tarx_toollog.wire.text_calls.json_calls import calls_of_value
from tarx_toollog.wire.text_calls.reader import Found, Reader, TextCall, dump, spread

_HEAD = re.compile(r"([A-Za-z_][\w.-]{0,127})\(")
_KEYWORD = re.compile(r"([A-Za-z_]\w{0,127})\s*=(?!=)\s*")
_GEMMA_HEAD = re.compile(r"call:([^\s<>{}]{1,128})(?=\{)")
_GEMMA_QUOTE = '<|"|>'
_GEMMA_CLOSE = "<tool_call|>"
_GEMMA_BARE = re.compile(r"[^,:{}\[\]<]*")
_GEMMA_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]{0,300})(?:\.[0-9]{1,300})?(?:[eE][+-]?[0-9]{1,10})?")
_WORDS = {"true": True, "false": False, "null": None}


class _Call(NamedTuple):
    name: str
    values: dict[str, Json]
    end: int


def read_pythonic_list(reader: Reader, start: int, form: str) -> Found | None:
    """Read ``[f(x=1), g()]``; ``start`` is the bracket. A list that was cut has no complete call."""
    calls: list[TextCall] = []
    at = reader.skip(start + 1)
    while _HEAD.match(reader.text, at) is not None:
        call = read_python_call(reader, at, form)
        if call is None:
            return None
        calls.append(call)
        at = reader.skip(call.end)
        mark = reader.text[at : at + 1]
        if mark == "]":
            return Found(spread(calls, start, at + 1), at + 1)
        if mark != ",":
            break
        at = reader.skip(at + 1)
    if not calls or at < reader.length:
        return None
    cut = (TextCall(call.name, call.arguments, form, call.start, call.end, False) for call in calls)
    return Found(spread(cut, start, reader.length), reader.length)


def read_python_call(reader: Reader, at: int, form: str) -> TextCall | None:
    """Read ``f(x=1)``; Llama's ``f.call(x=1)`` names ``f``."""
    head = _HEAD.match(reader.text, at)
    if head is None:
        return None
    name = head[1]
    if name.endswith(".call") and name not in reader.offered:
        name = name.removesuffix(".call")
    try:
        values, end = _read_keywords(LiteralReader(reader.text, python=True), head.end())
    except UnreadableError as error:
        reader.charge(error.position - at)
        if reader.skip(error.position) < reader.length:
            return None
        return TextCall(name, reader.text[head.end() :], form, at, reader.length, False)
    text = dump(values)
    return None if text is None else TextCall(name, text, form, at, end, True)


def read_python_value(reader: Reader, start: int, at: int) -> Found | None:
    """Read the list of calls that smolagents prints behind ``Calling tools:``."""
    at = reader.skip(at)
    literal = reader.literal(at) if reader.text[at : at + 1] in ("[", "{") else None
    return None if literal is None else calls_of_value(literal.value, "smolagents", start, literal.end)


def read_gemma(reader: Reader, start: int, at: int) -> Found | None:
    """Read Gemma 4's ``call:name{key:value}`` behind ``<|tool_call>``."""
    head = _GEMMA_HEAD.match(reader.text, at)
    if head is None:
        return None
    try:
        value, end = _gemma_value(reader, head.end(), 0)
    except UnreadableError as error:
        reader.charge(error.position - start)
        if error.position < reader.length:
            return None
        cut = TextCall(head[1], reader.text[head.end() :], "gemma", start, reader.length, False)
        return Found((cut,), reader.length)
    text = dump(value)
    if text is None:
        return None
    end = end + len(_GEMMA_CLOSE) if reader.text.startswith(_GEMMA_CLOSE, end) else end
    return Found((TextCall(head[1], text, "gemma", start, end, True),), end)


def _read_keywords(literals: LiteralReader, at: int) -> tuple[dict[str, Json], int]:
    values: dict[str, Json] = {}
    at = literals.skip(at)
    while literals.text[at : at + 1] != ")":
        keyword = _KEYWORD.match(literals.text, at)
        if keyword is None:
            raise UnreadableError(at)
        values[keyword[1]], at = literals.value(keyword.end())
        at = literals.skip(at)
        if literals.text[at : at + 1] == ",":
            at = literals.skip(at + 1)
        elif literals.text[at : at + 1] != ")":
            raise UnreadableError(at)
    return values, at + 1


def _gemma_value(reader: Reader, at: int, depth: int) -> tuple[Json, int]:
    mark = reader.text[at : at + 1]
    if depth > MAX_DEPTH:
        raise UnreadableError(at)
    if mark == "{":
        return _gemma_object(reader, at, depth)
    if mark == "[":
        return _gemma_array(reader, at, depth)
    if reader.text.startswith(_GEMMA_QUOTE, at):
        return _gemma_string(reader, at)
    return _gemma_scalar(reader, at)


def _gemma_object(reader: Reader, at: int, depth: int) -> tuple[Json, int]:
    value: dict[str, Json] = {}
    at = reader.skip(at + 1)
    while reader.text[at : at + 1] != "}":
        if reader.text.startswith(_GEMMA_QUOTE, at):
            key, at = _gemma_string(reader, at)
        else:
            key, at = _bare(reader, at)
        if reader.text[at : at + 1] != ":" or not key:
            raise UnreadableError(at)
        value[key], at = _gemma_value(reader, reader.skip(at + 1), depth + 1)
        at = _gemma_separator(reader, at, "}")
    return value, at + 1


def _gemma_array(reader: Reader, at: int, depth: int) -> tuple[Json, int]:
    value = []
    at = reader.skip(at + 1)
    while reader.text[at : at + 1] != "]":
        item, at = _gemma_value(reader, at, depth + 1)
        value.append(item)
        at = _gemma_separator(reader, at, "]")
    return value, at + 1


def _gemma_separator(reader: Reader, at: int, closer: str) -> int:
    at = reader.skip(at)
    if reader.text[at : at + 1] == ",":
        return reader.skip(at + 1)
    if reader.text[at : at + 1] != closer:
        raise UnreadableError(at)
    return at


def _gemma_string(reader: Reader, at: int) -> tuple[str, int]:
    at += len(_GEMMA_QUOTE)
    end = reader.find(_GEMMA_QUOTE, at)
    if end == -1:
        raise UnreadableError(reader.length)
    return reader.text[at:end], end + len(_GEMMA_QUOTE)


def _gemma_scalar(reader: Reader, at: int) -> tuple[Json, int]:
    word, end = _bare(reader, at)
    if end == reader.length or not word:
        raise UnreadableError(end)
    if word in _WORDS:
        return _WORDS[word], end
    if _GEMMA_NUMBER.fullmatch(word) is None:
        return word, end
    return (int(word) if word.lstrip("-").isdigit() else float(word)), end


def _bare(reader: Reader, at: int) -> tuple[str, int]:
    """Read text without quotes, up to the next mark."""
    match = _GEMMA_BARE.match(reader.text, at)
    return ("", at) if match is None else (match.group().strip(), match.end())
