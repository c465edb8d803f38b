r"""From the wire to the one form that chat templates agree on.

Arguments are objects, ``content`` is always a string, a key without a value is absent, tool messages name their
tool and the call that they answer, and nothing that only the wire needed (``index``, ``refusal`` …) is left.
Measured over the templates of 41 models, this form is right for every family that can call tools except
DeepSeek-V3; argument *strings* are written twice by Qwen2.5 and Llama 3 and refused by newer ones.

*Theory.* The steps of a dialogue repeat its history, so a history is read as a path through a tree whose edges are
the message objects that the reader shares: what was normalised once, and its JSON text, is found again by identity.
Which call a result answers depends on what came before it; so the place in the tree holds the calls that still wait.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from tarx_toollog.canonical import parse_arguments
from tarx_toollog.export.example import Dropped, Message, Piece
from tarx_toollog.model import LoggedCall, Step
from tarx_toollog.wire.chat_form import CHAT, NotChatError, chat_messages, chat_tools

_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
_REASONING = ("reasoning_content", "reasoning", "thinking")
_NOT_CHAT = {"role": "role", "server_side_call": "not_native_call", "mcp_call": "not_native_call"}
_INT64 = 2**63  # Arrow, which the trainers read JSON with, turns larger integers into rounded floats
_LONG_NUMBER = re.compile(r"\d{19}")  # without so many digits in a row no integer is larger

Clean = Callable[[Message], Message]
"""Takes out of a message what must not be written; returns the same object when there is nothing."""


class _Waiting(NamedTuple):
    """A call whose result has not come."""

    given: Any
    """Its id on the wire."""
    call_id: str
    """The id that is written."""
    name: str


class Place:
    """A place in a history: the messages so far in canonical form, and the calls that wait for results."""

    __slots__ = ("_next", "_waiting", "is_cleaned", "parent", "pieces", "problem")

    def __init__(
        self,
        parent: "Place | None" = None,
        pieces: tuple[Piece, ...] = (),
        waiting: tuple[_Waiting, ...] = (),
        problem: str | None = None,
    ) -> None:
        self.parent = parent
        """The place before the last message; None at the beginning."""
        self.pieces = pieces
        self.problem = problem
        """Why nothing that comes after it can be written: a key of ``reasons.REASONS``."""
        self.is_cleaned = False
        """Whether something was taken out of the last message."""
        self._waiting = waiting
        self._next: dict[int, tuple[Any, Place]] = {}

    def then(self, raw: Mapping[str, Any], reading: "Normaliser") -> "Place":
        """Return the place after one more message, the same one for the same message object."""
        known = self._next.get(id(raw))
        if known is None:
            known = self._next[id(raw)] = (raw, self._read(raw, reading))  # raw is kept, so that its id stays its own
        return known[1]

    def forget(self) -> None:
        """Drop all places after this one: they and their parents hold each other, and nobody else may."""
        waiting = [self]
        while waiting:
            place = waiting.pop()
            waiting.extend([after for _, after in place._next.values() if after is not place])
            place._next.clear()

    def _read(self, raw: Mapping[str, Any], reading: "Normaliser") -> "Place":
        if self.problem is not None:
            return self
        waiting = list(self._waiting)
        try:
            message = _Reading(waiting, len(self.pieces), reading).message(raw)
            cleaned = reading.clean(message)
            piece = written(cleaned)
            if any(token in piece.text for token in reading.forbidden):
                raise Dropped("special_token")
        except Dropped as dropped:
            return Place(self, self.pieces, problem=dropped.reason)
        place = Place(self, (*self.pieces, piece), tuple(waiting))
        place.is_cleaned = cleaned is not message
        return place


class Normaliser:
    """Turns steps into canonical messages. One object reads one export.

    Args:
        clean: Called once for each distinct message (see ``Clean``).
        clean_tool: The same for tool definitions.
        is_plain: Says whether the id of a call may be written; one that may not gets another name.
        keep_reasoning: Write what the model thought as ``reasoning_content``.
        forbidden: Control tokens of the chat template: text that holds one would end a message, or begin another.
    """

    def __init__(
        self,
        clean: Clean = lambda message: message,
        *,
        clean_tool: Clean = lambda tool: tool,
        is_plain: Callable[[str], bool] = lambda text: True,
        keep_reasoning: bool = False,
        forbidden: frozenset[str] = frozenset(),
    ) -> None:
        self.clean = clean
        self.is_plain = is_plain
        self.clean_tool = clean_tool
        self.keep_reasoning = keep_reasoning
        self.forbidden = forbidden
        self._root = Place()
        self._conversation: str | None = None
        self._tools: dict[int, tuple[Any, Piece | None]] = {}

    def begin(self, conversation_uid: str) -> None:
        """Say whose steps come next: the tree of another dialogue is forgotten."""
        if conversation_uid != self._conversation:
            self._root.forget()
            self._conversation = conversation_uid

    def history(self, step: Step) -> Place:
        """Return the place where the model was asked.

        Raises:
            Dropped: The history cannot be said in this form without loss.
        """
        return self._walk(self._root, self._chat(step.protocol, step.messages), "history_arguments")

    def answered(self, step: Step) -> Place:
        """Return the place after the model's answer, which is the last of its ``pieces``.

        Raises:
            Dropped: The history or the answer cannot be said in this form without loss.
        """
        place, output = self.history(step), step.output or {}
        if step.protocol == CHAT:
            said: Sequence[Mapping[str, Any]] = [output if "role" in output else {"role": "assistant", **output}]
        else:
            said = self._chat(step.protocol, [*step.messages, output])[len(place.pieces) :]
        if len(said) != 1:
            raise Dropped("not_native_call")
        answered = self._walk(place, said, "invalid_arguments")
        read = answered.pieces[-1].value
        if not read["content"].strip() and not read.get("tool_calls"):
            raise Dropped("no_answer")
        if not _is_as_logged(said[0], step.tool_calls):
            if answered.is_cleaned:  # the log has the calls as they were
                read = _Reading([], 0, self).message(said[0])
            _require_same_calls(read, step.tool_calls)
        return answered

    def tools(self, step: Step) -> Piece | None:
        """Return the offered functions; None when there were none.

        Raises:
            Dropped: One of them is no function.
        """
        known = self._tools.get(id(step.tools))
        if known is None:
            known = self._tools[id(step.tools)] = (step.tools, self._read_tools(step))
        return known[1]

    def _walk(self, place: Place, raws: Sequence[Mapping[str, Any]], bad_arguments: str) -> Place:
        for raw in raws:
            place = place.then(raw, self)
        if place.problem is not None:
            raise Dropped(bad_arguments if place.problem == "arguments" else place.problem)
        return place

    def _chat(self, protocol: str, raws: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
        if protocol == CHAT:
            return raws
        try:
            return chat_messages(protocol, raws)
        except NotChatError as error:
            raise Dropped(_NOT_CHAT.get(error.reason, "not_text")) from error

    def _read_tools(self, step: Step) -> Piece | None:
        try:
            found = [self.clean_tool(_tool(raw)) for raw in chat_tools(step.protocol, step.tools)]
        except NotChatError as error:
            raise Dropped("tools") from error
        return written(found) if found else None


def has_reasoning(step: Step) -> bool:
    """Say whether the model thought before it answered."""
    return any((step.output or {}).get(key) for key in _REASONING)


def written(value: Any) -> Piece:
    """Return a value with its text, if JSON, UTF-8 and Arrow carry it without a change.

    Raises:
        Dropped: It holds half a character, NaN, Infinity, or an integer beyond 64 bits.
    """
    try:
        piece = Piece(value)
    except UnicodeEncodeError as error:
        raise Dropped("lone_surrogate") from error
    except ValueError as error:
        raise Dropped("number") from error
    is_text = isinstance(value, dict) and "role" in value and "tool_calls" not in value
    if not is_text and _LONG_NUMBER.search(piece.text) and not _is_within_64_bits(value):
        raise Dropped("number")
    return piece


def _is_within_64_bits(value: Any) -> bool:
    waiting: list[Any] = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
        elif isinstance(value, int) and not -_INT64 <= value < _INT64:
            return False
    return True


class _Reading:
    """Reads one message; ``waiting`` are the calls that still wait for their results, and is changed."""

    def __init__(self, waiting: list[_Waiting], position: int, reading: Normaliser) -> None:
        self._waiting = waiting
        self._position = position
        self._keep_reasoning = reading.keep_reasoning
        self._is_plain = reading.is_plain

    def message(self, raw: Mapping[str, Any]) -> Message:
        role = _ROLES.get(str(raw.get("role")))
        if role is None or raw.get("function_call"):
            raise Dropped("role" if role is None else "not_native_call")
        if role == "tool":
            return self._result(raw)
        message: Message = {"role": role, "content": _text(raw.get("content"))}
        if role == "assistant":
            thought = next((raw[key] for key in _REASONING if isinstance(raw.get(key), str)), "")
            if thought and self._keep_reasoning:
                message["reasoning_content"] = thought
            if raw.get("tool_calls"):
                message["tool_calls"] = self._calls(raw["tool_calls"])
        return message

    def _calls(self, raws: Any) -> list[Message]:
        if not isinstance(raws, list):
            raise Dropped("arguments")
        calls: list[Message] = []
        self._waiting.clear()
        for ordinal, raw in enumerate(raws):
            function = raw.get("function") if isinstance(raw, Mapping) else None
            if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
                raise Dropped("not_native_call")
            given = raw.get("id")
            call_id = given if self._may_be_written(given) else f"call_{self._position}_{ordinal}"
            self._waiting.append(_Waiting(given, call_id, function["name"]))
            named = {"name": function["name"], "arguments": _arguments(function.get("arguments"))}
            calls.append({"id": call_id, "type": "function", "function": named})
        return calls

    def _may_be_written(self, call_id: Any) -> bool:
        if not isinstance(call_id, str) or not call_id or not self._is_plain(call_id):
            return False
        return all(call_id != known.call_id for known in self._waiting)

    def _result(self, raw: Mapping[str, Any]) -> Message:
        """Return a tool message, paired by id, or in order where the client sent no id."""
        given = raw.get("tool_call_id")
        found = next((entry for entry in self._waiting if not given or entry.given == given), None)
        if found is None:
            raise Dropped("history_result")
        self._waiting.remove(found)
        return {"role": "tool", "content": _text(raw.get("content")), "name": found.name, "tool_call_id": found.call_id}


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


def _arguments(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):  # some servers send the object itself
        return value
    parsed = parse_arguments(value) if isinstance(value, str) else None
    if value is None:
        return {}
    if parsed is None or parsed.value is None:
        raise Dropped("arguments")
    return parsed.value


def _tool(raw: Mapping[str, Any]) -> dict[str, Any]:
    """Return a definition as ``{"type": "function", "function": {…}}``; the legacy form is that object bare."""
    function = raw.get("function", raw if "type" not in raw else None)
    if not isinstance(function, Mapping) or not isinstance(function.get("name"), str):
        raise Dropped("tools")
    return {"type": "function", "function": {key: value for key, value in function.items() if value is not None}}


def _is_as_logged(raw: Mapping[str, Any], calls: Sequence[LoggedCall]) -> bool:
    """Say whether a message has the very texts of the call rows; if not, they may still mean the same."""
    functions = [call["function"] for call in raw.get("tool_calls") or ()]
    return [(each["name"], each.get("arguments")) for each in functions] == [
        (call.name, call.arguments) for call in calls
    ]


def _require_same_calls(answer: Message, calls: Sequence[LoggedCall]) -> None:
    """Hold the answer against the call rows, which is what the verdicts were given on."""
    written = [(call["function"]["name"], call["function"]["arguments"]) for call in answer.get("tool_calls", ())]
    if written != [(call.name, parse_arguments(call.arguments).value) for call in calls]:
        raise Dropped("calls_differ")
