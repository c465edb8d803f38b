"""Calls without a marker: a fence, a line of JSON, a Python list. Only the offer tells them from an answer."""

import re

from tarx_toollog.wire.text_calls.json_calls import Rules, read_calls
from tarx_toollog.wire.text_calls.pythonic import read_python_call, read_pythonic_list
from tarx_toollog.wire.text_calls.reader import Found, Reader, TextCall, spread

_JSON_FENCES = frozenset({"", "json", "tool", "tool_call", "tool_calls", "function", "function_call"})
_JSON_BEGIN = re.compile(
    r'(?:\[\s*)?\{\s*"(?:name|function|arguments|parameters|type|id|call_id|index|tool_calls)"\s*:'
)
# A closer whose opener was taken for a special token, and end tokens that a server let through, may follow.
_LINE_END = re.compile(r"[ \t]*(?:(?:</tool_calls?>|<\|\w{1,32}\|>)[ \t]*)*(?:\r?\n|$)")
_PRINT = re.compile(r"print\(\s*(?=[\w.-]+\()")
# What a line says that announces an example. Narrow on purpose: "it looks like I need the weather" announces a call.
_EXAMPLE = re.compile(
    r"(?:for|an) example\b|\bexamples?\b[^.]{0,40}:\s*$|\be\.g\.|for instance|\bsample (?:call|output|request)"
    r"|looks? like(?: this)?:?\s*$|zum beispiel|ein beispiel|\bz\. ?b\.|sieht so aus|par exemple|por ejemplo"
    r"|per esempio|例如|示例|例えば|например",
    re.IGNORECASE,
)
_CONTEXT = 240  # characters before a call in which the line that announces it is looked for


def read_line(reader: Reader, start: int) -> Found | None:
    """Read the calls whose first bracket stands at the begin of a line and whose last one at the end of one."""
    if _JSON_BEGIN.match(reader.text, start):
        found = read_calls(reader, start, Rules("bare_json", strict=True))
    elif reader.text[start] == "[":
        found = read_pythonic_list(reader, start, "pythonic")
    else:
        return None
    if found is None or _LINE_END.match(reader.text, found.end):
        return found
    reader.charge(found.end - start)
    return None


def read_fence(reader: Reader, start: int, ticks: str, language: str, at: int) -> Found | None:
    """Read a fence that holds calls and nothing else; ``at`` is behind its language."""
    at = reader.skip(at)
    found = None
    if language == "tool_code":
        found = _tool_code(reader, at)
    elif language in _JSON_FENCES and _JSON_BEGIN.match(reader.text, at):
        found = read_calls(reader, at, Rules("fenced_json", strict=True))
    if found is None:
        return None
    end = reader.skip(found.end)
    if end < reader.length and not reader.text.startswith(ticks, end):
        reader.charge(found.end - start)
        return None
    end = min(end + len(ticks), reader.length)
    return Found(spread(found.calls, start, end), end)


def is_announced_as_example(text: str, start: int) -> bool:
    """Say whether the last line before ``start`` says that an example follows."""
    before = text[max(0, start - _CONTEXT) : start].rstrip()
    return _EXAMPLE.search(before.rpartition("\n")[2]) is not None


def _tool_code(reader: Reader, at: int) -> Found | None:
    """Read Gemma 3's calls: Python, one on each line, printed or in a list."""
    calls: list[TextCall] = []
    end = at
    while at < reader.length and reader.text[at] != "`":
        found = _statement(reader, at)
        if found is None:
            return None
        calls += found.calls
        end = found.end
        at = reader.skip(end)
    return Found(tuple(calls), end) if calls else None


def _statement(reader: Reader, at: int) -> Found | None:
    if reader.text[at] == "[":
        return read_pythonic_list(reader, at, "tool_code")
    printed = _PRINT.match(reader.text, at)
    call = read_python_call(reader, at if printed is None else printed.end(), "tool_code")
    if call is None:
        return None
    if printed is None or not call.complete:
        return Found((call,), call.end)
    end = reader.skip(call.end)
    return Found((call,), end + 1) if reader.text[end : end + 1] == ")" else None
