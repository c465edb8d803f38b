"""Calls whose arguments are elements: one tag for each parameter, with the value between opener and closer.

Qwen3-Coder, GLM, Kimi K3, DeepSeek V3.2 and MiniMax write calls like that. They differ in the tags and in how
a value tells its type; the loop over the parameters is the same.

*Theory of values.* A value is raw text, so it may hold the very tags that end it. Where the form allows it, a
closing tag counts only in the place where the template puts one: on a line of its own, or before the next
parameter. A value whose type the form does not give is JSON when it reads as a JSON object, list, number, truth
value or null (or as Python's words for them), else the text itself; only the schema could tell more.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from html import unescape
from typing import NamedTuple

from tarx_toollog.canonical import InvalidJsonError, Json, parse_json
from tarx_toollog.wire.text_calls.json_calls import json_arguments
from tarx_toollog.wire.text_calls.reader import Found, Reader, TextCall, dump, is_name

_PYTHON_WORDS = {"True": True, "False": False, "None": None}


class Value(NamedTuple):
    """The text of one parameter, and where its closer ends."""

    text: str
    end: int


@dataclass(frozen=True, slots=True)
class Layout:
    """How one family writes a call.

    ``parameter`` matches the opener of a parameter with the groups ``key`` and, where the form tells the
    type, ``kind``; ``value`` reads up to its closer; ``close`` matches the end of the call.
    """

    form: str
    parameter: re.Pattern[str]
    value: Callable[[Reader, int], Value | None]
    close: re.Pattern[str]


def read_function(reader: Reader, start: int, at: int) -> Found | None:
    """Read ``<function=name>`` with either parameter elements or a JSON object; ``at`` is behind the ``=``."""
    head = _FUNCTION_HEAD.match(reader.text, at)
    if head is None:
        return None
    name, at = head[1].strip("\"' "), reader.skip(head.end())
    arguments = json_arguments(reader, at, ("</function>",))
    if arguments is None:
        return _read_elements(reader, start, at, name, _QWEN)
    text, end, complete = arguments
    close = _QWEN.close.match(reader.text, reader.skip(end))
    return _found(name, text, _QWEN.form, start, end if close is None else close.end(), complete=complete)


def read_glm(reader: Reader, start: int, at: int) -> Found | None:
    """Read what stands behind ``<tool_call>`` when it is a name and pairs of key and value."""
    head = _GLM_HEAD.match(reader.text, at)
    if head is None or (head[2] and head[1] not in reader.offered):
        return None  # without arguments only the offer tells a name from a word
    return _read_elements(reader, start, head.end(1), head[1], _GLM)


def read_invoke(reader: Reader, start: int, at: int) -> Found | None:
    """Read an ``invoke`` element with ``parameter`` elements, in DeepSeek's markup or in plain tags."""
    head = _INVOKE_HEAD.match(reader.text, start)
    if head is None:
        return None
    layout = _DEEPSEEK if head["mark"] else _INVOKE
    if head["empty"]:
        return _found(head["name"], "{}", layout.form, start, head.end(), complete=True)
    return _read_elements(reader, start, max(at, head.end()), head["name"], layout)


def read_kimi_elements(reader: Reader, start: int, at: int) -> Found | None:
    """Read Kimi K3's ``call`` element; ``at`` is behind ``<|open|>call``."""
    head = _KIMI_HEAD.match(reader.text, at)
    return None if head is None else _read_elements(reader, start, head.end(), unescape(head[1]), _KIMI)


def _read_elements(reader: Reader, start: int, at: int, name: str, layout: Layout) -> Found | None:
    values: dict[str, Json] = {}
    first = at = reader.skip(at)
    while True:
        close = layout.close.match(reader.text, at)
        if close is not None:
            text = dump(values)
            return None if text is None else _found(name, text, layout.form, start, close.end(), complete=True)
        opener = layout.parameter.match(reader.text, at)
        value = None if opener is None else layout.value(reader, opener.end())
        if opener is None or value is None:
            break
        values[unescape(opener["key"])] = _typed(value.text, opener.groupdict().get("kind"))
        at = reader.skip(value.end)
    # Cut when nothing but the beginning of one more element follows.
    reader.charge(at - start)
    is_cut = opener is not None or at == reader.length or (reader.text[at] == "<" and _is_last_tag(reader, at))
    return _found(name, reader.text[first:], layout.form, start, reader.length, complete=False) if is_cut else None


def _is_last_tag(reader: Reader, at: int) -> bool:
    """Say whether no further text stands behind the tag at ``at``."""
    match = _TAIL.match(reader.text, at)
    return match is not None and match.end() == reader.length


def _found(name: str, arguments: str, form: str, start: int, end: int, *, complete: bool) -> Found | None:
    if not is_name(name):
        return None
    return Found((TextCall(name, arguments, form, start, end, complete),), end)


def _typed(text: str, kind: str | None) -> Json:
    if kind in ("true", "string"):
        return text
    if text in _PYTHON_WORDS:
        return _PYTHON_WORDS[text]
    if kind is None and text != text.strip():
        return text  # blanks that somebody meant
    try:
        value = parse_json(text)
    except InvalidJsonError:
        return text
    is_odd = isinstance(value, float) and value - value != 0  # the words NaN and Infinity
    return text if kind is None and (isinstance(value, str) or is_odd) else value


def _qwen_value(reader: Reader, at: int) -> Value | None:
    """Read a value of Qwen's XML: with a line break behind the opener, the closer has a line of its own."""
    match = reader.search(_QWEN_LINE, at) if reader.text.startswith("\n", at) else None
    match = match or reader.search(_QWEN_ANY, at)
    if match is None:
        return None
    text = reader.text[at : match.start()].removeprefix("\n").removesuffix("</parameter>")
    return Value(text, match.end())


def _glm_value(reader: Reader, at: int) -> Value | None:
    for closer, length in (("</arg_value>", len("</arg_value>")), ("</tool_call>", 0)):
        end = reader.find(closer, at)
        if end != -1:
            return Value(reader.text[at:end], end + length)
    return None


def _value_until(pattern: re.Pattern[str]) -> Callable[[Reader, int], Value | None]:
    def read(reader: Reader, at: int) -> Value | None:
        match = reader.search(pattern, at)
        return None if match is None else Value(reader.text[at : match.start()], match.end())

    return read


_TAIL = re.compile(r"<[^\n]*\s*")
_FUNCTION_HEAD = re.compile(r"([^>\n]{1,130})>")
_QWEN_LINE = re.compile(r"\n(?:</parameter>|(?=<parameter=|</function>))")
_QWEN_ANY = re.compile(r"</parameter>|(?=<parameter=|</function>)")
_QWEN = Layout(
    "function_tag",
    re.compile(r"<parameter=(?P<key>[^>\n]{1,200})>"),
    _qwen_value,
    re.compile(r"(?:</function>\s*)(?:</tool_call>)?|</tool_call>"),
)

_GLM_HEAD = re.compile(r"\s*([^\s<>{}\[\]]{1,128})\s*(?:(?=<arg_key>)|(?=(</tool_call>)))")
_GLM = Layout(
    "glm",
    re.compile(r"<arg_key>(?P<key>[^<]{0,200})</arg_key>\s*<arg_value>"),
    _glm_value,
    re.compile(r"</tool_call>"),
)

_KIMI_HEAD = re.compile(r' tool="([^"<]{1,128})"[^<]{0,200}<\|sep\|>')
_KIMI = Layout(
    "kimi",
    re.compile(r'<\|open\|>argument key="(?P<key>[^"<]{0,200})"(?: type="(?P<kind>\w+)")?[^<]{0,200}<\|sep\|>'),
    _value_until(re.compile(r"<\|close\|>argument<\|sep\|>(?=\s*<\|(?:open\|>argument|close\|>call))")),
    re.compile(r"<\|close\|>call(?:<\|sep\|>)?"),
)

_INVOKE_HEAD = re.compile(r'<(?P<mark>｜DSML｜ ?)?invoke name="(?P<name>[^"<>]{1,128})"\s*(?P<empty>/)?>')
_DEEPSEEK = Layout(
    "deepseek",
    re.compile(r'<｜DSML｜ ?parameter name="(?P<key>[^"<>]{0,200})"(?: string="(?P<kind>true|false)")?>'),
    _value_until(re.compile(r"</｜DSML｜ ?parameter>(?=\s*<(?:｜DSML｜ ?parameter|/｜DSML｜ ?invoke))")),
    re.compile(r"</｜DSML｜ ?invoke>"),
)
_INVOKE = Layout(
    "invoke",
    re.compile(r'<parameter name="(?P<key>[^"<>]{0,200})">'),
    _value_until(re.compile(r"</parameter>(?=\s*<(?:parameter|/invoke))")),
    re.compile(r"</invoke>"),
)
