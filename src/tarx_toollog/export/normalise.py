r"""From the wire to the one form that chat templates agree on.

Arguments are objects, ``content`` is always a string, a key without a value is absent, tool messages name their
tool and the call that they answer, and nothing that only the wire needed (``index``, ``refusal`` …) is left.
Measured over the templates of 41 models, this form is right for every family that can call tools except
DeepSeek-V3; argument *strings* are written twice by Qwen2.5 and Llama 3 and refused by newer ones.
"""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from tarx_toollog.canonical import content_hash, parse_arguments
from tarx_toollog.export.example import Candidate, Dropped, Example

Message = dict[str, Any]

_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
_REASONING = ("reasoning_content", "reasoning", "thinking")
_INT64 = 2**63  # Arrow, which the trainers read JSON with, turns larger integers into rounded floats


def normalise(candidate: Candidate) -> Example:
    """Return the example for a candidate.

    Raises:
        Dropped: It cannot be said in this form without loss.
    """
    step = candidate.step
    output = step.output or {}
    history = _History()
    for raw in step.messages:
        history.add(raw, "history_arguments")
    history.add({"role": "assistant", **output}, "invalid_arguments")
    target = history.messages[-1]
    _require_same_calls(target, candidate)
    row: dict[str, Any] = {"messages": history.messages}
    if tools := [_tool(raw) for raw in step.tools]:
        row["tools"] = tools
    require_writable(row)
    return Example(
        example_id=content_hash("example", row).hex(),
        row=row,
        conversation_uid=candidate.conversation_uid,
        turn_no=candidate.turn_no,
        step_no=step.step_no,
        exchange_uid=step.exchange_uid,
        notes=("reasoning_left_out",) if any(output.get(key) for key in _REASONING) else (),
    )


def require_writable(row: Mapping[str, Any]) -> None:
    """Let a row pass that JSON, UTF-8 and Arrow carry without a change.

    Raises:
        Dropped: It holds half a character, NaN, Infinity, or an integer beyond 64 bits.
    """
    waiting: list[Any] = [row]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            waiting.extend(value.keys())
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, str):
            if not _is_unicode(value):
                raise Dropped("lone_surrogate")
        elif isinstance(value, int | float) and not _is_exact(value):
            raise Dropped("number")


class _History:
    """Messages in the making: remembers which calls still wait for their results."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self._waiting: list[tuple[str, str]] = []

    def add(self, raw: Mapping[str, Any], bad_arguments: str) -> None:
        role = _ROLES.get(str(raw.get("role")))
        if role is None or raw.get("function_call"):
            raise Dropped("role" if role is None else "not_native_call")
        if role == "tool":
            self.messages.append(self._result(raw))
            return
        message: Message = {"role": role, "content": _text(raw.get("content"))}
        if role == "assistant" and raw.get("tool_calls"):
            message["tool_calls"] = self._calls(raw["tool_calls"], bad_arguments)
        self.messages.append(message)

    def _calls(self, raws: Any, bad_arguments: str) -> list[Message]:
        if not isinstance(raws, list):
            raise Dropped(bad_arguments)
        calls: list[Message] = []
        self._waiting = []
        for ordinal, raw in enumerate(raws):
            function = raw.get("function") if isinstance(raw, Mapping) else None
            if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
                raise Dropped("not_native_call")
            call_id = raw.get("id")
            if not isinstance(call_id, str) or not call_id or call_id in (known for known, _ in self._waiting):
                call_id = f"call_{len(self.messages)}_{ordinal}"
            self._waiting.append((call_id, function["name"]))
            arguments = _arguments(function.get("arguments"), bad_arguments)
            named = {"name": function["name"], "arguments": arguments}
            calls.append({"id": call_id, "type": "function", "function": named})
        return calls

    def _result(self, raw: Mapping[str, Any]) -> Message:
        """Return a tool message, paired by id, or in order where the client sent no id."""
        given = raw.get("tool_call_id")
        found = [entry for entry in self._waiting if not given or entry[0] == given]
        if not found:
            raise Dropped("history_result")
        self._waiting.remove(found[0])
        call_id, name = found[0]
        return {"role": "tool", "content": _text(raw.get("content")), "name": name, "tool_call_id": call_id}


def _text(content: Any) -> str:
    """Return content as a string; text parts are joined as llama-server joins them, by a line break."""
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise Dropped("not_text")
    texts = []
    for part in content:
        text = part.get("text") if isinstance(part, Mapping) and part.get("type") == "text" else None
        if not isinstance(text, str):
            raise Dropped("not_text")
        texts.append(text)
    return "\n".join(texts)


def _arguments(value: Any, reason: str) -> dict[str, Any]:
    if isinstance(value, dict):  # some servers send the object itself
        return value
    parsed = parse_arguments(value) if isinstance(value, str) else None
    if value is None:
        return {}
    if parsed is None or parsed.value is None:
        raise Dropped(reason)
    return parsed.value


def _tool(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return a definition as ``{"type": "function", "function": {…}}``; the legacy form is that object bare."""
    function = raw.get("function", raw if "type" not in raw else None)
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise Dropped("tools")
    return {"type": "function", "function": {key: value for key, value in function.items() if value is not None}}


def _require_same_calls(target: Message, candidate: Candidate) -> None:
    """Hold the target against the call rows, which is what the verdicts were given on."""
    if not target["content"].strip() and not target.get("tool_calls"):
        raise Dropped("no_answer")
    written = [(call["function"]["name"], call["function"]["arguments"]) for call in target.get("tool_calls", ())]
    logged = [(call.name, parse_arguments(call.arguments).value) for call in candidate.step.tool_calls]
    if _as_text(written) != _as_text(logged):
        raise Dropped("calls_differ")


def _as_text(calls: Sequence[tuple[str, Any]]) -> str:
    return json.dumps(calls, sort_keys=True)


def _is_exact(value: Any) -> bool:
    return math.isfinite(value) if isinstance(value, float) else -_INT64 <= value < _INT64


def _is_unicode(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True
