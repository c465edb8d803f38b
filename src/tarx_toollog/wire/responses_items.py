"""Items of OpenAI Responses: what a dialogue is made of there, read as messages and calls.

Theory: Responses knows no messages with calls inside. A dialogue is a flat list of items: texts of either side,
reasoning, calls, outputs of calls. What the model made between two things that a client said is one step of the
dialogue all the same, so the items that it made in a row are one message here:
``{"role": "assistant", "output": [items as sent]}``, the very list that the answer carries under ``output``. So an
answer, and its echo in the next request, are the same message. Every other item is a message of its own, as sent.

Who made an item shows in its type and role: ``…_call_output`` came from a tool, a role names its speaker, and
everything else (calls, reasoning, references to items that the server keeps) is the model's.

A call names itself by ``call_id``, to which its output refers; ``id`` is only the item's own name. A call without
``call_id``, or one whose output is in the same answer, was carried out by the server: its origin is
``server_side``, and its output stays in ``raw`` only. Such calls have no argument string. Where they hold
``action``, ``operation``, ``queries`` or ``code``, these keys are the arguments, written as one object.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from tarx_toollog.canonical import Json, json_text, parse_arguments
from tarx_toollog.model import Message, ToolCall, ToolResult
from tarx_toollog.wire.calls import CallDraft, CallEnding, settle, whole_calls
from tarx_toollog.wire.fields import as_list, text_or_none
from tarx_toollog.wire.openai_fields import build_message, call_seed, id_text, text_of

MESSAGE = "message"
REASONING = "reasoning"
FUNCTION_CALL = "function_call"
CUSTOM_CALL = "custom_tool_call"
_CALL_SUFFIX = "_call"
_RESULT_SUFFIX = "_call_output"
_APPROVAL = "mcp_approval_response"
"""The client's consent to a call of the server: no prompt, and no result either."""
_ARGUMENT_KEYS = ("action", "operation", "queries", "code")
_ENDED = (None, "completed", "failed")
"""Of an item that the server carries out: nothing more will happen to it. Older servers send no status."""
_GROUP_KEYS = frozenset({"role", "output"})


class OutputItem(NamedTuple):
    """One item of an answer, with what only a stream knows about it."""

    raw: Mapping[str, Any]
    is_done: bool = True
    """The server said that it is whole, or that the response is; of a history it always is."""
    wire_index: int | None = None
    emitted_ns: int | None = None


def is_completed(item: Mapping[str, Any]) -> bool:
    """Say whether an item calls itself whole."""
    return bool(item.get("status") == "completed")


def group_of(items: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the one message that items of the model's make."""
    return {"role": "assistant", "output": list(items)}


def is_group(raw: Mapping[str, Any]) -> bool:
    """Say whether a message was made by ``group_of``."""
    return raw.keys() == _GROUP_KEYS and raw["role"] == "assistant" and isinstance(raw["output"], list)


def raws_of(items: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yield one raw message for each item of an input, and one for all that the model made in a row.

    Example:
        >>> call, said = {"type": "function_call", "name": "f"}, {"role": "assistant", "content": "x"}
        >>> [list(raw) for raw in raws_of([{"role": "user", "content": "y"}, said, call])]
        [['role', 'content'], ['role', 'output']]
    """
    made: list[Mapping[str, Any]] = []
    for item in items:
        if _speaker(item) == "assistant":
            made.append(item)
            continue
        if made:
            yield group_of(made)
            made = []
        yield item
    if made:
        yield group_of(made)


def items_of(raws: Iterable[Mapping[str, Any]]) -> list[Any]:
    """Return the items of an input again: the inverse of ``raws_of``."""
    items: list[Any] = []
    for raw in raws:
        items += raw["output"] if is_group(raw) else [dict(raw)]
    return items


def read_raw(raw: Mapping[str, Any]) -> Message:
    """Read one raw message: a group, the result of a call, or what somebody said."""
    speaker = _speaker(raw)
    if is_group(raw) or speaker == "assistant":
        items = [OutputItem(item) for item in _objects(raw["output"] if is_group(raw) else [raw])]
        return read_output(raw, items, seed=None)
    if not _is_item_of_tool(raw):
        return build_message(raw, ())
    call_id = id_text(raw.get("call_id"))
    text = text_of(raw.get("output"))
    is_result = raw["type"] != _APPROVAL
    results = (ToolResult(call_id, text),) if is_result else ()
    return Message(role="tool", raw=raw, text=text, tool_call_id=call_id, tool_results=results)


def read_output(
    raw: Mapping[str, Any], items: Sequence[OutputItem], *, seed: str | None, is_limited: bool = False
) -> Message:
    """Read what the model made.

    Args:
        raw: The group that holds the items.
        items: The same items.
        seed: Minted call ids are derived from it; from the group itself when it is None.
        is_limited: The token limit or a filter ended the answer: calls with unreadable arguments were cut by it.
    """
    calls = _calls(raw, items, seed, is_limited=is_limited)
    said = [item.raw for item in items if (text_or_none(item.raw.get("type")) or MESSAGE) == MESSAGE]
    thought = [text for item in items if item.raw.get("type") == REASONING for text in _thoughts(item.raw)]
    return Message(
        role="assistant",
        raw=raw,
        text="".join(text_of(item.get("content")) for item in said),
        reasoning="\n\n".join(thought) or None,
        tool_calls=calls,
    )


def _speaker(item: Mapping[str, Any]) -> str:
    kind, role = text_or_none(item.get("type")) or "", text_or_none(item.get("role"))
    if _is_item_of_tool(item):
        return "tool"
    if role or kind in ("", MESSAGE):
        return role or ""
    return "assistant"


def _is_item_of_tool(item: Mapping[str, Any]) -> bool:
    kind = text_or_none(item.get("type")) or ""
    return kind.endswith(_RESULT_SUFFIX) or kind == _APPROVAL


def _thoughts(item: Mapping[str, Any]) -> list[str]:
    """Return the texts of a reasoning item; the summary stands in where the server keeps the rest to itself."""
    for key in ("content", "summary"):
        texts = [text_or_none(part.get("text")) for part in _objects(item.get(key))]
        if found := [text for text in texts if text]:
            return found
    return []


def _calls(
    raw: Mapping[str, Any], items: Sequence[OutputItem], seed: str | None, *, is_limited: bool
) -> tuple[ToolCall, ...]:
    answered = {id_text(i.raw.get("call_id")) for i in items if _is_item_of_tool(i.raw)} - {None}
    found = [(item, draft) for item in items if (draft := _draft(item, answered)) is not None]
    drafts = [draft for _, draft in found]
    # Whether a call is whole is told by its item. An answer has a seed, a history has none and no end either.
    ending = None if seed is None else CallEnding()
    calls = settle(drafts, seed=call_seed(raw, drafts, seed), ending=ending)
    return tuple(
        replace(call, complete=_is_whole(item, call, is_limited=is_limited))
        for (item, _), call in zip(found, calls, strict=False)  # of too many calls, settle keeps the first
    )


def _draft(item: OutputItem, answered: set[str | None]) -> CallDraft | None:
    raw, kind = item.raw, text_or_none(item.raw.get("type")) or ""
    if not kind.endswith(_CALL_SUFFIX):
        return None
    call_id = raw.get("call_id")
    is_ours = call_id is not None or kind in (FUNCTION_CALL, CUSTOM_CALL)
    if kind == CUSTOM_CALL:
        entry: dict[str, Any] = {"type": "custom", "custom": {"name": raw.get("name"), "input": raw.get("input")}}
    else:
        entry = {"function": {"name": _name(raw, kind), "arguments": _arguments(raw, kind)}}
    drafts = whole_calls([{"id": call_id if is_ours else raw.get("id"), **entry}])
    if not drafts:
        return None
    draft = drafts[0]
    draft.index, draft.emitted_ns = item.wire_index, item.emitted_ns
    if not is_ours or id_text(call_id) in answered:
        draft.origin = "server_side"
    return draft


def _name(raw: Mapping[str, Any], kind: str) -> str:
    """Return the tool's name; a built-in tool of the server's is named by its type."""
    name = text_or_none(raw.get("name"))
    return name or ("" if kind == FUNCTION_CALL else kind.removesuffix(_CALL_SUFFIX))


def _arguments(raw: Mapping[str, Any], kind: str) -> Json:
    if kind == FUNCTION_CALL or "arguments" in raw:
        return raw.get("arguments")
    try:
        return json_text({key: raw[key] for key in _ARGUMENT_KEYS if raw.get(key) is not None})
    except RecursionError:
        return None  # nested as deep as the interpreter could just read; it stays in ``raw``


def _is_whole(item: OutputItem, call: ToolCall, *, is_limited: bool) -> bool:
    status = item.raw.get("status")
    if not item.is_done or status == "incomplete":
        return False
    if call.origin == "server_side":
        return status in _ENDED
    if not is_limited:
        return True
    if call.origin == "custom":  # any text may be its whole input
        return is_completed(item.raw)
    return parse_arguments(call.arguments, complete=False).value is not None


def _objects(value: Json) -> list[dict[str, Any]]:
    return [entry for entry in as_list(value) if isinstance(entry, dict)]
