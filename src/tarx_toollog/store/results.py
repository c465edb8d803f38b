"""Verdict on a tool result: does it report a failure, and what told so. Pure.

*Theory.* Only one protocol has an error flag, so the result itself must tell. From the surest to the least sure:
the flag; a status like HTTP's; a key of a JSON object that exists to report failures; the way a text begins. Ordinary
results talk about errors all the time (log files, search results, source code), so a text is judged by its first
line only, and a number under a key such as ``code`` only where a message stands beside it. Errors in other languages
than English are not found. ``tests/captures/tool_results`` holds what is found and what is not.
"""

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, NamedTuple

from tarx_toollog.canonical import InvalidJsonError, parse_json

MAX_JSON = 2**20  # characters of a result that are read as JSON; what is larger is data, not a report
_HEAD = 400  # characters of a text that are looked at
_MAX_DEPTH = 4  # wrappers around the thing itself: a JSON string of an MCP result of an answer …

_STATUS_KEYS = ("status_code", "statusCode", "http_status", "httpStatus", "status")
_MESSAGE_KEYS = ("message", "msg", "error", "errors", "error_message", "detail", "details", "reason", "title")
_FAILED_WORDS = frozenset({"error", "failed", "failure"})
_NOTHING_WORDS = frozenset({"", "none", "null", "nil", "no", "false", "0", "ok", "n/a", "no error", "success"})
_WRAPPERS = ("result", "response", "output")

_PHRASES = "|".join(sorted({re.escape(status.phrase) for status in HTTPStatus if status >= 400}))
_HTTP = re.compile(
    rf"""
      HTTP/\d(?:\.\d)?\ [45]\d\d\b
    | HTTP(?:\ error|\ status|\ code|\ response)*:?\ [45]\d\d\b
    | [45]\d\d\ (?:{_PHRASES}|Client\ Error|Server\ Error)\b
    | (?:error\ )?status(?:\ code:?|:)\ [45]\d\d\b
    | (?:client\ |server\ )?error:?\ '?[45]\d\d\b
    | (?:request|fetch|call)\ failed\ with\ (?:http\ )?(?:status\ )?(?:code\ )?[45]\d\d\b
    """,
    re.VERBOSE | re.IGNORECASE,
)
_FAILURE = re.compile(
    r"""
      traceback\ \(most\ recent\ call\ last\)
    | (?:[\w.]+\.)?[a-z]*(?:error|exception)(?:\**\s*(?::|!|\[|\(|$)|\ -\ |\ [A-Z]{0,4}\d{1,6}:)
    | (?:fatal|internal|unexpected|unknown|runtime|critical|tool|mcp)\ error\b\ *(?:-?\d+)?\s*(?::|!|$|\.|while|when)
    | (?:an?\ )?(?:unexpected\ |internal\ |unknown\ )?(?:error|exception)\ (?:has\ )?occurred\b
    | (?:an?\ )?error\ (?:executing|calling|running|invoking|while|when)\b
    | (?:tool\ (?:call|execution)\ )?failed(?:\ to\ [a-z]+\b|\s*:)
    | (?:fatal|panic|failure|abort|npm\ err!?)\s*:
    | npm\ err!
    | curl:\ \(\d+\)
    | (?:permission|access)\ denied\b
    | connection\ (?:refused|reset|timed\ out)\b
    | (?:the\ )?(?:request|operation|command|tool|tool\ call|call)\ (?:has\ )?timed\ out\b
    | (?:unknown|no\ such)\ tool\b
    | tool\ \S+\ (?:is\ )?not\ (?:found|available|known)\b
    | invalid\ (?:arguments?|parameters?|input)\b\s*(?::|for\b)
    | (?:\S+:\ ){1,3}.{0,200}?(?:command\ not\ found|permission\ denied|no\ such\ file\ or\ directory)\s*$
    | (?:zsh:\ )?command\ not\ found\b
    """,
    re.VERBOSE | re.IGNORECASE | re.MULTILINE,
)


class ResultVerdict(NamedTuple):
    """Whether a tool result reports a failure, and what told so."""

    is_error: bool
    how: str | None


NO_ERROR = ResultVerdict(False, None)


def judge_result(text: str, flag: bool | None = None) -> ResultVerdict:
    """Tell whether a tool result reports a failure.

    Args:
        text: The result.
        flag: The protocol's own error flag, where it has one; then nothing else is asked.

    Example:
        >>> judge_result('{"status_code": 404, "body": ""}').how, judge_result("Errors are listed below.").how
        ('http', None)
    """
    if flag is not None:
        return ResultVerdict(flag, "flag" if flag else None)
    return _judge(text, 0)


def _judge(text: str, depth: int) -> ResultVerdict:
    head = text.lstrip()[:1]
    if head and head in '{["' and len(text) <= MAX_JSON:
        try:
            return _judge_value(parse_json(text), depth)
        except InvalidJsonError:
            pass  # a text that happens to begin so
    first = text.lstrip("\ufeff \t\r\n❌⚠️*").lstrip()[:_HEAD]
    if _HTTP.match(first):
        return ResultVerdict(True, "http")
    return ResultVerdict(True, "pattern") if _FAILURE.match(first) else NO_ERROR


def _judge_value(value: Any, depth: int) -> ResultVerdict:
    if depth > _MAX_DEPTH:
        return NO_ERROR
    if isinstance(value, str):
        return _judge(value, depth + 1)
    if isinstance(value, list):
        return _judge_list(value, depth)
    return _judge_object(value, depth) if isinstance(value, dict) else NO_ERROR


def _judge_list(parts: list[Any], depth: int) -> ResultVerdict:
    texts = [part["text"] for part in parts if isinstance(part, dict) and isinstance(part.get("text"), str)]
    if texts and all(isinstance(part, dict) and isinstance(part.get("type"), str) for part in parts):
        return _judge("\n".join(texts), depth + 1)  # content parts, as MCP has them
    return _judge_value(parts[0], depth + 1) if len(parts) == 1 else NO_ERROR


def _judge_object(value: dict[str, Any], depth: int) -> ResultVerdict:
    if _has_bad_status(value):
        return ResultVerdict(True, "http")
    if _says_error(value):
        return ResultVerdict(True, "json_key")
    for key in ("isError", "is_error"):
        if value.get(key) is False:
            return NO_ERROR  # the tool itself says so, whatever its text is about
    if isinstance(value.get("content"), list):
        return _judge_list(value["content"], depth)
    inner = next((value[key] for key in _WRAPPERS if isinstance(value.get(key), dict | list | str)), None)
    return NO_ERROR if inner is None else _judge_value(inner, depth + 1)


def _has_bad_status(value: Mapping[str, Any]) -> bool:
    if any(_is_bad_status(value.get(key)) for key in _STATUS_KEYS):
        return True
    # A code may be a line number, an area code, a product: only beside a message it is a status.
    return _is_bad_status(value.get("code")) and any(_is_something(value.get(key)) for key in _MESSAGE_KEYS)


def _is_bad_status(value: Any) -> bool:
    if isinstance(value, str) and len(value) == 3 and value.isascii() and value.isdecimal():
        value = int(value)
    return isinstance(value, int) and not isinstance(value, bool) and 400 <= value <= 599


def _says_error(value: Mapping[str, Any]) -> bool:
    error = value.get("error")
    if isinstance(error, int | float) and not isinstance(error, bool):
        # Statistics have an error of 0.05, reports a count of errors; an error number comes with its message.
        if error and any(_is_something(value.get(key)) for key in _MESSAGE_KEYS if key != "error"):
            return True
    elif _is_something(error):
        return True
    errors = value.get("errors")
    if isinstance(errors, list | dict | str) and _is_something(errors):
        return True
    if value.get("isError") is True or value.get("is_error") is True:
        return True
    if any(value.get(key) is False or str(value.get(key)).lower() == "false" for key in ("success", "ok")):
        return True
    if str(value.get("status", "")).lower() in _FAILED_WORDS:
        return True
    return any(_is_something(value.get(key)) for key in ("exception", "traceback"))


def _is_something(value: Any, depth: int = 0) -> bool:
    """Say whether a value reports something: not null, false, 0, empty, or a word or an object of such."""
    if isinstance(value, str):
        return value.strip().lower() not in _NOTHING_WORDS
    if depth < _MAX_DEPTH and isinstance(value, dict | list):
        items = value.values() if isinstance(value, dict) else value
        return any(_is_something(item, depth + 1) for item in items)
    return bool(value)
