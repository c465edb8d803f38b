"""The scan over one text: where a call may begin, which form it has there, and whether it is meant as one.

*Theory.* The text is gone through once, from one anchor to the next: a marker of some model family, the first
bracket of a line, a Markdown fence, the begin or end of a thought. A form that reads a call at an anchor
returns its end, and the scan goes on there; so a marker inside an argument is never seen.

What was found must also be meant. A marker is strong evidence, unless it is quoted: a call in inline code is
not taken, one in a fence only on lines of its own and when its tool is offered. Without a marker (a fence, a
line of JSON, a Python list) the tool must be offered, and there must be a call and nothing else. In fences and
without a marker the line before must not say that an example follows. A marked call to a tool that was not
offered must stand on lines of its own. What stands in a thought that ends is dropped, unless nothing follows.
"""

import re
from collections.abc import Callable
from functools import partial

from tarx_toollog.wire.text_calls import pythonic, tagged, token_calls, unmarked
from tarx_toollog.wire.text_calls.json_calls import Rules, calls_of_value, read_calls
from tarx_toollog.wire.text_calls.reader import Found, Reader, SpentError, TextCall, spread

MAX_CALLS = 64  # an answer with more is a model in a loop; its first calls say all there is to know


def _read_tag(reader: Reader, start: int, at: int, *, opener: str, closer: str, strict: bool = False) -> Found | None:
    """Read JSON between two tags; the closing one may be missing, and the JSON may be Python."""
    at = reader.skip(at)
    if reader.text[at : at + 1] not in ("{", "["):
        return None
    found = read_calls(reader, at, Rules("tool_call_tag", strict, (closer, opener)))
    if found is None and not strict:
        literal = reader.literal(at)
        found = None if literal is None else calls_of_value(literal.value, "tool_call_tag", at, literal.end)
    if found is None:
        return None
    end = reader.skip(found.end)
    while reader.text[end : end + 1] in ("}", "]"):  # a bracket too many is a usual slip
        end = reader.skip(end + 1)
    end = end + len(closer) if reader.text.startswith(closer, end) else found.end
    return Found(spread(found.calls, start, end), end)


def _read_tool_call(reader: Reader, start: int, at: int) -> Found | None:
    found = _read_tag(reader, start, at, opener="<tool_call>", closer="</tool_call>")
    return found or tagged.read_glm(reader, start, at)


_FORMS: dict[str, Callable[[Reader, int, int], Found | None]] = {
    "<tool_call>": _read_tool_call,
    "<tool_calls>": partial(_read_tag, opener="<tool_calls>", closer="</tool_calls>"),
    "<|tool_call|>": partial(_read_tag, opener="<|tool_call|>", closer="<|/tool_call|>"),
    "<function_call>": partial(_read_tag, opener="<function_call>", closer="</function_call>"),
    "<TOOLCALL>": partial(_read_tag, opener="<TOOLCALL>", closer="</TOOLCALL>"),
    "<tools>": partial(_read_tag, opener="<tools>", closer="</tools>", strict=True),  # also holds definitions
    "<function=": tagged.read_function,
    "<invoke name=": tagged.read_invoke,
    "<｜DSML｜invoke": tagged.read_invoke,
    "<｜DSML｜ invoke": tagged.read_invoke,
    "<|open|>call": tagged.read_kimi_elements,
    "<｜tool▁call▁begin｜>": token_calls.read_deepseek,
    "<|tool_call_begin|>": token_calls.read_kimi,
    "[TOOL_CALLS]": token_calls.read_mistral,
    "<|python_tag|>": token_calls.read_python_tag,
    "<|python_start|>": token_calls.read_python_tag,
    "to=functions.": token_calls.read_harmony,
    "<|tool_call>": pythonic.read_gemma,
    "Calling tools:": pythonic.read_python_value,
}
"""The markers, and what reads the call at each; it gets the places of the marker and of what follows."""

_THOUGHT_BEGINS = ("<think>", "[THINK]", "<|channel>thought")
_THOUGHT_ENDS = ("</think>", "[/THINK]", "<channel|>", "<|close|>think<|sep|>")
_SIGNS = ("{", "[", "<", "```tool_code")  # what every form has; prose has none of them
_UNMARKED_SIGNS = ('"name"', '"function"', "(")  # one of them is part of every call without a marker
_LINE_BEGIN = r"[ \t]*(?:(?P<ticks>`{3,})|(?P<bracket>[{\[]))"
_TEXT_BEGIN = re.compile(rf"\s*{_LINE_BEGIN}")
_MARKERS = "|".join(map(re.escape, (*_FORMS, *_THOUGHT_BEGINS, *_THOUGHT_ENDS)))
# No group around the markers: each alternative begins with a plain character, so re can skip what begins none.
_ANCHOR = re.compile(rf"{_MARKERS}|\n{_LINE_BEGIN}")
_FENCE_HEAD = re.compile(r"[ \t]*([\w+-]*)")
_FENCE_ON_ONE_LINE = re.compile(r"[^`\n]*```")
_OWN_LINE_END = re.compile(r"[ \t]*(?:\r?\n|$|[<\[])")
_OWN_LINE_WINDOW = 64  # other markers may stand before a call: "</think><tool_call>"


def find_calls(text: str, offered: frozenset[str]) -> tuple[TextCall, ...]:
    """Return the tool calls that stand in the text of an answer, in order; never raises.

    Linear in the length of the text, and at most ``MAX_CALLS``. The forms are those of ``FORMS``.

    Args:
        text: The content of the answer.
        offered: Names of the tools that the request offered; empty when they are not known, and then only
            forms with a marker count.
    """
    if not any(sign in text for sign in _SIGNS):
        return ()
    is_possible = any(marker in text for marker in _FORMS) or (
        any(sign in text for sign in _UNMARKED_SIGNS) and any(name in text for name in offered)
    )
    if not is_possible:
        return ()
    scan = _Scan(Reader(text, offered))
    try:
        scan.run()
    except SpentError:
        pass  # an attack, not an answer; what was found up to here stays
    return tuple(scan.calls[:MAX_CALLS])


class _Scan:
    """The state of one scan: the calls so far, the fence and the thought that it is in."""

    def __init__(self, reader: Reader) -> None:
        self.calls: list[TextCall] = []
        self._reader = reader
        self._text = reader.text
        self._fence = ""  # the ticks that opened the fence that we are in
        self._fence_start = 0
        self._calls_before_thought = 0
        self._written_end = len(reader.text.rstrip())

    def run(self) -> None:
        """Go from anchor to anchor."""
        at = self._line_begin(_TEXT_BEGIN.match(self._text), 0)
        while len(self.calls) < MAX_CALLS:
            anchor = _ANCHOR.search(self._text, at)
            if anchor is None:
                return
            marker = anchor.group()
            if marker.startswith("\n"):
                at = self._line_begin(anchor, anchor.end())
            elif marker in _FORMS:
                at = self._marked(marker, anchor.start(), anchor.end())
            else:
                at = self._thought(marker, anchor.end())

    def _thought(self, marker: str, at: int) -> int:
        if marker in _THOUGHT_BEGINS:
            self._calls_before_thought = len(self.calls)
            return at
        if at < self._written_end:
            del self.calls[self._calls_before_thought :]
        self._calls_before_thought = len(self.calls)
        return self._line_begin(_TEXT_BEGIN.match(self._text, at), at)

    def _marked(self, marker: str, start: int, at: int) -> int:
        found = _FORMS[marker](self._reader, start, at)
        if found is None:
            return at
        is_quoted = self._text[start - 1 : start] == "`" and not self._text.startswith("```", max(0, start - 3))
        if not is_quoted:
            self.calls += [call for call in found.calls if self._is_meant(call, found, start)]
        return found.end

    def _is_meant(self, call: TextCall, found: Found, start: int) -> bool:
        is_offered = call.name in self._reader.offered
        if not self._fence:
            return is_offered or not self._reader.offered or self._has_own_lines(start, found.end)
        is_shown = unmarked.is_announced_as_example(self._text, self._fence_start)
        return is_offered and not is_shown and self._has_own_lines(start, found.end)

    def _has_own_lines(self, start: int, end: int) -> bool:
        before = self._text[max(0, start - _OWN_LINE_WINDOW) : start].rpartition("\n")[2].rstrip()
        return (not before or before.endswith((">", "]"))) and _OWN_LINE_END.match(self._text, end) is not None

    def _line_begin(self, match: re.Match[str] | None, at: int) -> int:
        """Look for a fence or an unmarked call at the begin of a line; return where to go on."""
        if match is None:
            return at
        if match["ticks"]:
            return self._fence_line(match)
        start = match.start("bracket")
        found = None if self._fence or not self._reader.offered else unmarked.read_line(self._reader, start)
        if found is None:
            return start  # the bracket itself may belong to a marker
        self._take_unmarked(found, start)
        return found.end

    def _fence_line(self, match: re.Match[str]) -> int:
        ticks, at = match["ticks"], match.end("ticks")
        if self._fence:
            if len(ticks) >= len(self._fence):
                self._fence = ""
            return at
        head = _FENCE_HEAD.match(self._text, at)
        if head is None:
            return at
        start = match.start("ticks")
        found = None
        if self._reader.offered:
            found = unmarked.read_fence(self._reader, start, ticks, head[1].lower(), head.end())
        if found is not None:
            self._take_unmarked(found, start)
            return found.end
        if _FENCE_ON_ONE_LINE.match(self._text, at) is None:
            self._fence, self._fence_start = ticks, start
        return at

    def _take_unmarked(self, found: Found, start: int) -> None:
        is_offered = all(call.name in self._reader.offered for call in found.calls)
        if is_offered and not unmarked.is_announced_as_example(self._text, start):
            self.calls += found.calls
