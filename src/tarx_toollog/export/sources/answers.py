"""Answers in canonical form: compared, checked against the offered tools, and set beside each other for a pair."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from tarx_toollog.canonical import canonical_json
from tarx_toollog.export.example import Dropped, Message, Piece
from tarx_toollog.store.verdicts import check_schema


def calls_of(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the calls of an answer, each with ``name`` and ``arguments``."""
    return [call["function"] for call in answer.get("tool_calls", ())]


def same_calls(left: Mapping[str, Any], right: Mapping[str, Any]) -> bool:
    """Say whether two answers make the same calls, in any order."""
    return _counted(left) == _counted(right)


def same_answer(left: Mapping[str, Any], right: Mapping[str, Any]) -> bool:
    """Say whether two answers say and call the same: their ids, and what was thought before them, do not count."""
    same_text: bool = left["content"].strip() == right["content"].strip()
    return same_text and calls_of(left) == calls_of(right)


def is_possible(answer: Mapping[str, Any], tools: Piece | None) -> bool:
    """Say whether an answer says something, calls only what is offered, and breaks no schema."""
    offered = {tool["function"]["name"]: tool["function"].get("parameters") for tool in (tools.value if tools else ())}
    for call in calls_of(answer):
        if call["name"] not in offered:
            return False
        schema = offered[call["name"]]
        if isinstance(schema, dict) and check_schema(call["arguments"], schema)[0] == "fail":
            return False
    return bool(answer["content"].strip() or calls_of(answer))


def with_ids_of(answer: Message, other: Message) -> Message:
    """Return an answer whose calls have the ids that the calls of another answer have in their places.

    Ids are drawn at random. Where two answers are set against each other, they must not be what tells them apart.
    """
    calls = answer.get("tool_calls")
    if not calls:
        return answer
    ids = [call["id"] for call in other.get("tool_calls", ())][: len(calls)]
    for call in calls[len(ids) :]:
        ids.append(call["id"] if call["id"] not in ids else f"{call['id']}_{len(ids)}")
    return answer | {"tool_calls": [call | {"id": one} for call, one in zip(calls, ids, strict=True)]}


def as_pair(chosen: Message, rejected: Message) -> tuple[Message, Message]:
    """Return two answers as a pair that differs in what they say and call.

    The calls get the same ids. What was thought stays where each has thought; else the pair would teach to, or not to.

    Raises:
        Dropped: They say the same.
    """
    if same_answer(chosen, rejected):
        raise Dropped("same_answer")
    rejected = with_ids_of(rejected, chosen)
    if ("reasoning_content" in chosen) != ("reasoning_content" in rejected):
        return without_thoughts(chosen), without_thoughts(rejected)
    return chosen, rejected


def without_thoughts(answer: Message) -> Message:
    """Return an answer without what was thought before it."""
    return {key: value for key, value in answer.items() if key != "reasoning_content"}


def _counted(answer: Mapping[str, Any]) -> Counter[bytes]:
    return Counter(canonical_json([call["name"], call["arguments"]]) for call in calls_of(answer))
