"""Which strings of an exchange are searched, and which are its structure. Pure.

Everything that a person, a model, a tool or a server wrote is searched. What links and counts is left alone: roles,
types, ids, names of tools and models, conversation hints. The fields of a message that are read from ``raw`` are
read again from the redacted ``raw``, by the protocol that wrote it: so the store rebuilds and links a redacted history
exactly as it would the original.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from tarx_toollog.model import Choice, Exchange, Message, Request, Response, ToolCall, ToolDefinition
from tarx_toollog.redaction.engine import Engine, Found, TreeFound, where
from tarx_toollog.redaction.jsontree import Path
from tarx_toollog.redaction.rules import words
from tarx_toollog.wire.protocols import WireProtocol, protocol_named


class Mark(NamedTuple):
    """What stands in an exchange in the place of a value, as a row of ``redaction``."""

    rule: str
    mark: str
    path: str
    """Where: ``messages[3].content``, ``tool_calls[0].arguments``, ``params.metadata.owner`` …"""
    n: int
    """How often there."""


_ENTRY_KEYS = words("role type id name tool_call_id call_id tool_use_id status tool_name signature")
_STRUCTURAL_LISTS = frozenset(("tool_calls", "content", "items", "output"))
_NAMED = frozenset(("function", "custom", "function_call"))


def is_structural_of_message(path: Path) -> bool:
    """Say whether a leaf of ``Message.raw`` is its structure: ``role``, ``tool_calls[0].id``, ``content[1].type`` …"""
    last = path[-1]
    if last not in _ENTRY_KEYS:
        return False
    if len(path) == 1:
        return True
    if len(path) == 2:
        return path[0] in _NAMED and last == "name"
    is_entry = path[0] in _STRUCTURAL_LISTS and isinstance(path[1], int)
    return is_entry and (len(path) == 3 or (len(path) == 4 and path[2] in _NAMED and last == "name"))


def is_structural_of_tool(path: Path) -> bool:
    """Say whether a leaf of ``ToolDefinition.raw`` is its structure: name and type."""
    return path[-1] in ("name", "type") and (len(path) == 1 or (len(path) == 2 and path[0] in _NAMED))


def is_structural_of_params(path: Path) -> bool:
    """Say whether a leaf of ``Request.params`` links or chooses: the model, a conversation id, a forced tool."""
    return path in _STRUCTURAL_PARAMS or (path[0] == "tool_choice" and path[-1] in ("name", "type"))


_STRUCTURAL_PARAMS = frozenset(
    (
        ("model",),
        ("previous_response_id",),
        ("conversation",),
        ("conversation", "id"),
        ("metadata", "conversation_id"),
        ("metadata", "session_id"),
    )
)


def redact_exchange(engine: Engine, item: Exchange) -> tuple[Exchange, tuple[Mark, ...]]:
    """Return an exchange without the values, and their marks; the same object when there are none."""
    work = _Work(engine, protocol_named(item.protocol))
    changes: dict[str, Any] = {
        "request": None if item.request is None else work.request(item.request),
        "response": None if item.response is None else work.response(item.response),
        "error_type": work.text(item.error_type, "error_type"),
        "error_text": work.text(item.error_text, "error_text"),
        "notes": work.texts(item.notes, "notes"),
        "client_origin": work.text(item.client_origin, "client_origin"),
        "user_agent": work.text(item.user_agent, "user_agent"),
        "upstream": work.text(item.upstream, "upstream"),
        "route": work.text(item.route, "route"),
    }
    changed = {name: value for name, value in changes.items() if value is not getattr(item, name)}
    return (replace(item, **changed) if changed else item), work.marks()


def count_marks(rows: list[tuple[str, Found]]) -> tuple[Mark, ...]:
    """Return one mark for each value and place, with the number of times."""
    times: dict[tuple[str, str, str], int] = {}
    for path, found in rows:
        key = (found.rule, found.mark, path)
        times[key] = times.get(key, 0) + 1
    return tuple(Mark(*key, n) for key, n in times.items())


class _Work:
    """One exchange under way: collects what was found."""

    def __init__(self, engine: Engine, protocol: WireProtocol) -> None:
        self._engine = engine
        self._protocol = protocol
        self._rows: list[tuple[str, Found]] = []

    def marks(self) -> tuple[Mark, ...]:
        return count_marks(self._rows)

    def text(self, text: str | None, path: str) -> str | None:
        if text is None:
            return None
        new, found = self._engine.text(text)
        self._rows += [(path, one) for one in found]
        return new

    def texts(self, texts: tuple[str, ...], path: str) -> tuple[str, ...]:
        new = tuple(self.text(text, f"{path}[{i}]") or "" for i, text in enumerate(texts))
        return texts if new == texts else new

    def request(self, request: Request) -> Request:
        messages = tuple(self._message(m, f"messages[{i}]") for i, m in enumerate(request.messages))
        tools = tuple(self._tool(tool, f"tools[{i}]") for i, tool in enumerate(request.tools))
        params, founds = self._engine.tree(request.params, is_structural_of_params)
        self._note("params", founds)
        is_same = (
            params is request.params
            and all(new is old for new, old in zip(messages, request.messages, strict=True))
            and all(new is old for new, old in zip(tools, request.tools, strict=True))
        )
        return request if is_same else replace(request, messages=messages, tools=tools, params=params)

    def response(self, response: Response) -> Response:
        choices = tuple(self._choice(answer) for answer in response.choices)
        error, founds = self._engine.tree(response.error)
        self._note("error", founds)
        extra, founds = self._engine.tree(response.extra)
        self._note("response", founds)
        is_same = (
            error is response.error
            and extra is response.extra
            and all(new is old for new, old in zip(choices, response.choices, strict=True))
        )
        return response if is_same else replace(response, choices=choices, error=error, extra=extra)

    def _message(self, message: Message, path: str) -> Message:
        known = None if self._engine.is_remembering else message.memo.get(self._engine.memo_key)
        if known is None:
            raw, founds = self._engine.tree(message.raw, is_structural_of_message)
            new = message if raw is message.raw else self._protocol.read_message(dict(raw))
            known = message.memo[self._engine.memo_key] = new, founds
        new, founds = known
        self._note(path, founds)
        return new

    def _choice(self, answer: Choice) -> Choice:
        path = f"choices[{answer.index}]"
        message = answer.message
        known = len(self._rows)
        raw = self._raw(message.raw, f"{path}.message")
        calls = self._calls(message.tool_calls, f"{path}.tool_calls", known)
        leaked = self._calls(answer.leaked_calls, f"{path}.leaked_calls", known)
        reason_raw = self.text(answer.finish_reason_raw, f"{path}.finish_reason")
        # A reason that is not one of the protocol's own words is the server's word as it came.
        is_own_word = answer.finish_reason != answer.finish_reason_raw
        reason = answer.finish_reason if is_own_word else reason_raw
        if raw is not message.raw:
            message = replace(self._protocol.read_message(raw), tool_calls=calls)
        elif calls is not message.tool_calls:
            message = replace(message, tool_calls=calls)
        if (message, leaked, reason_raw) == (answer.message, answer.leaked_calls, answer.finish_reason_raw):
            return answer
        return replace(answer, message=message, leaked_calls=leaked, finish_reason=reason, finish_reason_raw=reason_raw)

    def _raw(self, raw: Mapping[str, Any], path: str) -> Mapping[str, Any]:
        new, founds = self._engine.tree(raw, is_structural_of_message)
        self._note(path, founds)
        return raw if new is raw else dict(new)

    def _calls(self, calls: tuple[ToolCall, ...], path: str, known: int) -> tuple[ToolCall, ...]:
        noted = {found.mark for _, found in self._rows[known:]}  # the calls stand in the message, too
        made = []
        for call in calls:
            arguments, found = self._engine.text(call.arguments)
            self._rows += [(f"{path}[{call.ordinal}].arguments", one) for one in found if one.mark not in noted]
            made.append(call if arguments is call.arguments else replace(call, arguments=arguments))
        return calls if all(new is old for new, old in zip(made, calls, strict=True)) else tuple(made)

    def _tool(self, tool: ToolDefinition, path: str) -> ToolDefinition:
        known = None if self._engine.is_remembering else tool.memo.get(self._engine.memo_key)
        if known is None:
            raw, founds = self._engine.tree(tool.raw, is_structural_of_tool)
            new = tool if raw is tool.raw else self._protocol.read_tool(raw)
            known = tool.memo[self._engine.memo_key] = new, founds
        new, founds = known
        self._note(path, founds)
        return new

    def _note(self, under: str, founds: list[TreeFound]) -> None:
        self._rows += [(where(path, under), found) for path, found in founds]
