"""What is wrong with the order of the messages of one chat: who follows whom, and which result answers which call."""

from collections.abc import Iterator, Mapping
from typing import Any

from tarx_toollog.export.template.findings import Finding, short
from tarx_toollog.export.template.row_rules import calls_of
from tarx_toollog.export.template.shapes import Chat


def order_rules(chat: Chat) -> Iterator[Finding]:
    """Yield what is wrong with the order of the messages. The messages are a list with at least one entry."""
    roles = [message.get("role") if isinstance(message, Mapping) else None for message in chat.messages]
    for number, (before, role) in enumerate(zip([None, *roles], roles, strict=False)):
        if role == before == "user":
            yield Finding("user_twice", chat.place(number))
        elif role == before == "assistant":
            yield Finding("assistant_twice", chat.place(number))
        elif role == "system" and number:
            yield Finding("system_late", chat.place(number))
    if roles[-1] == "tool":
        yield Finding("ends_with_tool", chat.place(len(roles) - 1))
    elif roles[-1] != "assistant":
        yield Finding("ends_without_answer", chat.place(len(roles) - 1), short(roles[-1]))


def pairing_rules(chat: Chat) -> Iterator[Finding]:
    """Yield which calls and results do not fit together. Without ids, a result answers the first open call."""
    open_calls: list[tuple[Any, str]] = []
    seen: set[str] = set()
    for number, message in enumerate(chat.messages):
        if not isinstance(message, Mapping):
            continue
        if message.get("role") == "tool":
            yield from _answer(message, chat.place(number), open_calls, chat.has_ids)
            continue
        yield from (Finding("call_unanswered", place) for _, place in open_calls)
        open_calls = []
        for ordinal, call in enumerate(calls_of(message)):
            place = f"{chat.place(number)}.tool_calls[{ordinal}]"
            call_id = call.get("id") if isinstance(call, Mapping) else None
            if isinstance(call_id, str) and call_id in seen:
                yield Finding("call_id_repeated", f"{place}.id", short(call_id))
            if isinstance(call_id, str) and call_id:
                seen.add(call_id)
            open_calls.append((call_id, place))
    if chat.messages and isinstance(chat.messages[-1], Mapping) and chat.messages[-1].get("role") == "tool":
        yield from (Finding("call_unanswered", place) for _, place in open_calls)


def _answer(
    message: Mapping[str, Any], place: str, open_calls: list[tuple[Any, str]], has_ids: bool
) -> Iterator[Finding]:
    """Take the call that a result answers out of ``open_calls``."""
    wanted = message.get("tool_call_id")
    if not wanted and has_ids:
        yield Finding("call_id_missing", place)
    found = next((n for n, (call_id, _) in enumerate(open_calls) if not wanted or call_id == wanted), None)
    if found is None:
        yield Finding("result_unasked", place, short(wanted or ""))
        return
    if found:
        yield Finding("results_out_of_order", place, short(wanted))
    del open_calls[found]
