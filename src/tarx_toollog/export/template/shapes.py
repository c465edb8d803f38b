"""The kinds of rows that trainers read, and the chats in them.

Owns which columns make which kind, and how each kind becomes chats of messages, so that one set of rules serves all.
It judges only what is lost on the way: what cannot be read as a chat at all.

========================= ======================================================= ===============================
shape                     columns                                                 read by
========================= ======================================================= ===============================
``messages``              messages, tools                                         mlx-lm, TRL, Axolotl, OpenAI …
``canonical``             example_id, messages, tools …                           toollog's own
``prompt_completion``     prompt, completion, tools: texts, or lists of messages  TRL, mlx-lm, rendered rows
``text``                  text                                                    mlx-lm, TRL
``sharegpt``              conversations, system, tools (JSON)                     LLaMA-Factory
``preference``            prompt, chosen, rejected, tools                         TRL DPO, mlx-lm-lora
``kto``                   prompt, completion, label, tools                        TRL KTO
``openai_preference``     input, preferred_output, non_preferred_output           OpenAI
========================= ======================================================= ===============================
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tarx_toollog.canonical import InvalidJsonError, parse_json
from tarx_toollog.export.template.findings import Finding, short

_TOOLS = frozenset({"tools", "chat_template_kwargs"})
COLUMNS: dict[str, frozenset[str]] = {
    "openai_preference": frozenset({"input", "preferred_output", "non_preferred_output"}),
    "sharegpt": frozenset({"conversations", "system", "tools", "chosen", "rejected", "label", "kto_tag"}),
    "preference": _TOOLS | {"prompt", "chosen", "rejected", "system"},
    "kto": _TOOLS | {"prompt", "completion", "label"},
    "messages": _TOOLS | {"messages", "parallel_tool_calls"},
    "prompt_completion": _TOOLS | {"prompt", "completion"},
    "text": frozenset({"text"}),
}
"""Shape → the columns that it may have. Tried in this order."""
_NEEDED: dict[str, frozenset[str]] = {
    "openai_preference": frozenset({"input", "preferred_output"}),
    "sharegpt": frozenset({"conversations"}),
    "preference": frozenset({"chosen", "rejected"}),
    "kto": frozenset({"prompt", "completion", "label"}),
    "messages": frozenset({"messages"}),
    "prompt_completion": frozenset({"prompt", "completion"}),
    "text": frozenset({"text"}),
}
TOOLS_AS_TEXT = frozenset({"sharegpt", "preference", "kto", "prompt_completion"})
"""Shapes whose readers take tools as a JSON string."""
_TELLING = frozenset({"messages", "prompt", "completion", "text", "conversations", "chosen", "rejected", "label"})
"""Columns by which readers decide what a row is."""

ABSENT: Final = object()
"""In the place of tools: the row has no such key."""

_ROLES = {"human": "user", "gpt": "assistant", "function_call": "assistant", "observation": "tool", "system": "system"}
_NEXT_RESULT = "\n</tool_response>\n<tool_response>\n"
"""Between the results of parallel calls, which share one observation."""
_TEXT_CALL = re.compile(r"(?P<text>.*?)\n<tool_call>\n(?P<json>.*)\n</tool_call>\s*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Chat:
    """Messages to be read together, the last of which is an answer."""

    messages: Any
    """A list of objects, when all is well."""
    tools: Any = ABSENT
    places: tuple[str, ...] = ()
    """Where each message stands; without it they are ``messages[0]``, ``messages[1]`` …"""
    has_ids: bool = True
    """Whether this kind of rows names calls and results by ids."""
    is_wire_form: bool = False
    """Whether readers want it as it is on OpenAI's wire; see ``LintOptions.wire_form``."""

    def place(self, number: int) -> str:
        """Return where a message stands in its row."""
        return self.places[number] if number < len(self.places) else f"messages[{number}]"


def shape_of(row: Mapping[str, Any]) -> str | None:
    """Return the kind of a row by its columns, or None when it is none that is known."""
    if {"example_id", "messages"} <= row.keys():
        return "canonical"
    return next((shape for shape, needed in _NEEDED.items() if needed <= row.keys()), None)


def column_rules(row: Mapping[str, Any], shape: str) -> Iterator[Finding]:
    """Yield what is wrong with the columns of one row."""
    if shape == "canonical":
        return
    for column in row.keys() - COLUMNS[shape]:
        yield Finding("shape_ambiguous" if column in _TELLING else "extra_column", short(column))


def chats_of(row: Mapping[str, Any], shape: str) -> Iterator[Chat | Finding]:
    """Yield the chats of a row, and what is lost where there should be one. Texts without messages are no chats."""
    tools = row.get("tools", ABSENT)
    if shape == "sharegpt":
        yield from _sharegpt(row)
    elif shape == "openai_preference":
        asked: Mapping[str, Any] = row["input"] if isinstance(row["input"], Mapping) else {}
        for key in ("preferred_output", "non_preferred_output"):
            yield _joined(
                [("input.messages", asked.get("messages")), (key, row.get(key))],
                asked.get("tools", ABSENT),
                is_wire_form=True,
            )
    elif shape in {"preference", "kto", "prompt_completion"}:
        for key in ("chosen", "rejected") if shape == "preference" else ("completion",):
            if not isinstance(row[key], str):
                before = [("prompt", row["prompt"])] if "prompt" in row else []
                yield _joined([*before, (key, row[key])], tools)
    elif shape != "text":
        yield Chat(row["messages"], tools)


def answer_rules(row: Mapping[str, Any], shape: str) -> Iterator[Finding]:
    """Yield what is wrong with the verdicts of a row: labels and pairs."""
    for key in {"kto": ["label"], "sharegpt": ["label", "kto_tag"]}.get(shape, []):
        if not isinstance(row.get(key, True), bool):
            yield Finding("label_not_bool", key, short(row[key]))
    better, worse = (
        ("preferred_output", "non_preferred_output") if shape == "openai_preference" else ("chosen", "rejected")
    )
    if better in row and worse in row and row[better] == row[worse]:
        yield Finding("pair_same", worse)


def _joined(parts: list[tuple[str, Any]], tools: Any, *, is_wire_form: bool = False) -> Chat:
    """Return the messages of several columns as one chat; a column may hold one message instead of a list."""
    messages: list[Any] = []
    places: list[str] = []
    for column, value in parts:
        listed = value if isinstance(value, list) else [value]
        messages += listed
        places += [f"{column}[{number}]" for number in range(len(listed))]
    return Chat(messages, tools, tuple(places), is_wire_form=is_wire_form)


def _sharegpt(row: Mapping[str, Any]) -> Iterator[Chat | Finding]:
    turns = row["conversations"]
    if not isinstance(turns, list):
        yield Finding("messages_not_list", "conversations", short(turns))
        return
    chosen, rejected = row.get("chosen"), row.get("rejected")
    answers = [("chosen", chosen), ("rejected", rejected)] if chosen is not None else []
    head = [({"role": "system", "content": row["system"]}, "system")] if row.get("system") else []
    yield from _order(turns, bool(answers))
    said: list[tuple[Any, str]] = []
    is_readable = True
    for number, turn in enumerate(turns):
        if not (read := _turn(turn)):
            yield Finding("function_call_value", f"conversations[{number}]", short(turn.get("value")))
            is_readable = False
        said += [(message, f"conversations[{number}]") for message in read]
    endings = [[(message, key) for message in _turn(value)] for key, value in answers] or [[]]
    for ending in endings if is_readable else ():
        whole = [*head, *said, *ending]
        messages, places = [message for message, _ in whole], tuple(place for _, place in whole)
        yield Chat(messages, row.get("tools") or ABSENT, places, has_ids=False)


def _order(turns: list[Any], is_answered_apart: bool) -> Iterator[Finding]:
    """LLaMA-Factory wants asking and answering to alternate, and the last turn to be an answer."""
    roles = [turn.get("from") if isinstance(turn, Mapping) else None for turn in turns]
    roles = roles[1:] if roles[:1] == ["system"] else roles
    for number, role in enumerate(roles):
        wanted = ("gpt", "function_call") if number % 2 else ("human", "observation")
        if role not in wanted:
            yield Finding("conversation_order", f"conversations[{number}]", f"{short(role)}, not {' or '.join(wanted)}")
            return
    if len(roles) % 2 != is_answered_apart:
        yield Finding("conversation_order", "conversations", "the last turn is not an answer")


def _turn(turn: Any) -> list[Any]:
    """Return a turn as messages, several for an observation of parallel calls; none when its calls cannot be read."""
    if not isinstance(turn, Mapping):
        return [turn]  # no message, which the rules for messages tell
    role, value = turn.get("from"), turn.get("value")
    if role == "function_call":
        text, calls = _calls(value)
        return [] if calls is None else [{"role": "assistant", "content": text, "tool_calls": calls}]
    if role == "observation" and isinstance(value, str):
        return [{"role": "tool", "content": result} for result in value.split(_NEXT_RESULT)]
    return [{"role": _ROLES.get(role, role) if isinstance(role, str) else role, "content": value}]


def _calls(value: Any) -> tuple[str, list[Any] | None]:
    """Read the value of a ``function_call``: JSON of one call or of several, with or without text before it."""
    if not isinstance(value, str):
        return "", None
    found = _TEXT_CALL.fullmatch(value)
    text, written = (found["text"], found["json"]) if found else ("", value)
    try:
        read = parse_json(written)
    except InvalidJsonError:
        return text, None
    calls = read if isinstance(read, list) else [read]
    if not calls or not all(isinstance(call, Mapping) and isinstance(call.get("name"), str) for call in calls):
        return text, None
    return text, [{"type": "function", "function": dict(call)} for call in calls]
