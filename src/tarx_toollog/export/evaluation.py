"""What the model is tested with, as documents that training examples are held against."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from tarx_toollog.export.contamination import EvalDocument
from tarx_toollog.export.documents import text_of, turn_start
from tarx_toollog.export.example import Message
from tarx_toollog.export.normalise import Clean
from tarx_toollog.model import Step, Trajectory
from tarx_toollog.store.datasets import FrozenTurn
from tarx_toollog.wire.chat_form import CHAT, NotChatError, chat_messages


def evaluation_documents(
    scenarios: Iterable[FrozenTurn],
    kept: Iterable[Trajectory],
    clean: Clean = lambda message: message,
    *,
    without_tags: Collection[str] = (),
) -> Iterator[EvalDocument]:
    """Yield every step of every replay scenario, and of every conversation that is kept for evaluation.

    Args:
        scenarios: All that are stored.
        kept: The turns of conversations whose split is ``eval``.
        clean: Takes out of a message what it takes out of examples: they are compared with each other.
        without_tags: Tags of scenarios that somebody wants to learn from.
    """
    for frozen in scenarios:
        if frozen.tag not in without_tags:
            yield from _of_scenario(frozen, clean)
    for trajectory in kept:
        for step in trajectory.steps:
            said = _as_chat(step)
            prompt, answer = _last_turn(said.prompt, clean), clean(dict(said.answer))
            yield EvalDocument(prompt, answer, trajectory.conversation_uid, step.exchange_uid)


class _Said(NamedTuple):
    prompt: Sequence[Mapping[str, Any]]
    answer: Mapping[str, Any]


def _as_chat(step: Step) -> _Said:
    """Return a step in the form of examples, whatever protocol it came by: its calls and turns are found there."""
    output = step.output or {}
    if step.protocol == CHAT:
        return _Said(step.messages, output)
    try:
        messages = chat_messages(step.protocol, [*step.messages, *filter(None, [output])])
    except NotChatError:  # an image, for example: its words are compared all the same
        return _Said(step.messages, output)
    return _Said(messages[:-1], messages[-1]) if output else _Said(messages, {})


def _last_turn(messages: Sequence[Mapping[str, Any]], clean: Clean) -> list[Message]:
    """Return the last turn with the answer in words before it, cleaned: nothing else of a test is compared."""
    first = turn_start(messages, len(messages) - 1) if messages else 0
    answers = (one for one in reversed(messages[:first]) if one.get("role") == "assistant" and text_of(one).strip())
    before = next(([one] for one in answers), [])
    return [clean(dict(message)) for message in [*before, *messages[first:]]]


def _of_scenario(frozen: FrozenTurn, clean: Clean) -> Iterator[EvalDocument]:
    """Read the steps of a definition (``replay.scenario``): its messages are stored once and referred to by number."""
    messages = [clean(message) for message in frozen.definition.get("messages", ())]
    for step in frozen.definition.get("steps", ()):
        prompt = [messages[number] for number in step["messages"]]
        answer = clean(_expected(step))
        yield EvalDocument(prompt, answer, frozen.conversation_uid, step.get("exchange_uid"), is_scenario=True)


def _expected(step: Mapping[str, Any]) -> dict[str, Any]:
    calls = step.get("expected", {}).get("calls", ())
    recorded = dict(step.get("recorded", {}).get("message", {}))
    if not calls:
        return recorded
    return recorded | {"tool_calls": [{"type": "function", "function": dict(call)} for call in calls]}
