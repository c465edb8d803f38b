"""Calls between the special tokens of one family: Mistral, Llama, DeepSeek, Kimi K2, gpt-oss."""

import re

from tarx_toollog.wire.text_calls.json_calls import Rules, json_arguments, read_calls
from tarx_toollog.wire.text_calls.pythonic import read_python_call, read_pythonic_list
from tarx_toollog.wire.text_calls.reader import Found, Reader, TextCall, is_name, spread

_MISTRAL_NAME = re.compile(r"\s*([^\s<>{}\[\]]{1,128})(?:\[CALL_ID\]([\w-]{1,64}))?(?:\[ARGS\])?\s*(?=\{)")
_DEEPSEEK_NAME = re.compile(
    r"\s*(?:function<｜tool▁sep｜>)?([^\s<>{}]{1,128})(?:<｜tool▁sep｜>)?\s*(?:```(?:json)?\s*)?(?=\{)"
)
_DEEPSEEK_CLOSE = re.compile(r"\s*(?:```)?\s*<｜tool▁call▁end｜>")
_KIMI_ID = re.compile(r"\s*([^\s<>{}]{1,160})\s*<\|tool_call_argument_begin\|>\s*(?=\{)")
_KIMI_NUMBER = re.compile(r":\d{1,9}$")
_KIMI_CLOSE = re.compile(r"\s*<\|tool_call_end\|>")
# Atomic, because the words of the header may also end a name: "to=functions.get_json json{…}".
_HARMONY_HEAD = re.compile(
    r"([^\s<>{}]{1,128}+)"
    r"(?:<\|(?:channel|constrain|message)\|>|commentary|analysis|json|code|\s)*+(?=\{)"
)
_HARMONY_BEFORE = re.compile(
    r"(?:<\|start\|>assistant)?(?:<\|channel\|>(?:commentary|analysis))?\s?$|(?:assistant)?commentary $"
)
_HARMONY_WINDOW = 64
_HARMONY_CLOSE = re.compile(r"<\|(?:call|end)\|>")
_PYTHON_END = re.compile(r"\s*<\|(?:python_end|eom_id|eot_id|eom|eot)\|>")
_MISTRAL_MARK = "[TOOL_CALLS]"


def read_mistral(reader: Reader, start: int, at: int) -> Found | None:
    """Read what stands behind ``[TOOL_CALLS]``: a list of objects, or a name and its arguments."""
    place = reader.skip(at)
    if reader.text[place : place + 1] in ("[", "{"):
        found = read_calls(reader, place, Rules("mistral", closers=(_MISTRAL_MARK,)))
        return None if found is None else Found(spread(found.calls, start, found.end), found.end)
    head = _MISTRAL_NAME.match(reader.text, at)
    if head is None:
        return None
    return _with_json(reader, start, head.end(), head[1], "mistral", (_MISTRAL_MARK,), call_id=head[2])


def read_python_tag(reader: Reader, start: int, at: int) -> Found | None:
    """Read what stands behind Llama's ``<|python_tag|>`` or ``<|python_start|>``; a program is no call."""
    at = reader.skip(at)
    found: Found | None = None
    if reader.text[at : at + 1] == "[":
        found = read_pythonic_list(reader, at, "python_tag")
    if found is None and reader.text[at : at + 1] in ("{", "["):
        found = read_calls(reader, at, Rules("python_tag"))
    elif found is None:
        call = read_python_call(reader, at, "python_tag")
        found = None if call is None else Found((call,), call.end)
    if found is None:
        return None
    close = _PYTHON_END.match(reader.text, found.end)
    end = found.end if close is None else close.end()
    return Found(spread(found.calls, start, end), end)


def read_deepseek(reader: Reader, start: int, at: int) -> Found | None:
    """Read a call of DeepSeek V3 (``function``, name, fenced JSON) or V3.1 (name, JSON)."""
    head = _DEEPSEEK_NAME.match(reader.text, at)
    if head is None:
        return None
    closers = ("<｜tool▁call▁end｜>", "<｜tool▁calls▁end｜>")
    return _with_json(reader, start, head.end(), head[1], "deepseek", closers, _DEEPSEEK_CLOSE)


def read_kimi(reader: Reader, start: int, at: int) -> Found | None:
    """Read a call of Kimi K2, whose id ``functions.name:0`` holds the name."""
    head = _KIMI_ID.match(reader.text, at)
    if head is None:
        return None
    call_id = head[1]
    name = _KIMI_NUMBER.sub("", call_id.removeprefix("functions."))
    closers = ("<|tool_call_end|>", "<|tool_calls_section_end|>")
    return _with_json(reader, start, head.end(), name, "kimi", closers, _KIMI_CLOSE, call_id)


def read_harmony(reader: Reader, start: int, at: int) -> Found | None:
    """Read a message of gpt-oss to ``functions.name``, also after a server took the special tokens out."""
    head = _HARMONY_HEAD.match(reader.text, at)
    if head is None:
        return None
    window = max(0, start - _HARMONY_WINDOW)
    before = _HARMONY_BEFORE.search(reader.text[window:start])
    start = start if before is None else window + before.start()
    return _with_json(reader, start, head.end(), head[1], "gpt_oss", ("<|call|>",), _HARMONY_CLOSE)


def _with_json(
    reader: Reader,
    start: int,
    at: int,
    name: str,
    form: str,
    closers: tuple[str, ...],
    close: re.Pattern[str] | None = None,
    call_id: str | None = None,
) -> Found | None:
    arguments = json_arguments(reader, at, closers)
    if arguments is None or not is_name(name):
        return None
    text, end, complete = arguments
    match = None if close is None else close.match(reader.text, end)
    end = end if match is None else match.end()
    return Found((TextCall(name, text, form, start, end, complete, call_id),), end)
