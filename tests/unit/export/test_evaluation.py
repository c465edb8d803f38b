"""Everything that a model is tested with becomes documents in the form, and with the marks, of training examples."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tarx_toollog.export.contamination import Contamination
from tarx_toollog.export.evaluation import evaluation_documents
from tarx_toollog.export.example import Message
from tarx_toollog.model import Outcome, Step, Trajectory
from tarx_toollog.store.datasets import FrozenTurn

NAME = "Annegret Karlsson"
CALL = {"name": "find", "arguments": {"person": NAME}}
ASKED: Message = {"role": "user", "content": f"What did {NAME} tell us about the cabin last summer?"}
FOUND: Message = {
    "role": "assistant",
    "content": "",
    "tool_calls": [{"id": "c1", "type": "function", "function": CALL}],
}


def clean(message: Message) -> Message:
    cleaned: Message = json.loads(json.dumps(message).replace(NAME, "[NAME]"))
    return cleaned


def kept(messages: list[Message], output: Message, protocol: str = "openai_chat") -> Trajectory:
    step = Step(
        exchange_uid="e1", step_no=1, started_at=datetime(2026, 6, 1, tzinfo=UTC), model="m", messages=tuple(messages),
        tools=(), params={}, output=output, tool_calls=(), outcome=Outcome.COMPLETED, finish_reason="stop",
        input_tokens=None, output_tokens=None, protocol=protocol,
    )  # fmt: skip
    return Trajectory("c1", 1, (step,), "", "answered", split="eval")


def frozen(messages: list[Message], expected: dict[str, Any], recorded: Message) -> FrozenTurn:
    step = {
        "messages": list(range(len(messages))), "exchange_uid": "e1", "expected": expected,
        "recorded": {"message": recorded},
    }  # fmt: skip
    return FrozenTurn("tests", "c1", 1, {"messages": messages, "steps": [step]})


@pytest.mark.parametrize("expected", [{"calls": [CALL]}, {"answer": True}])
def test_a_scenario_is_cleaned_its_history_and_its_expected_answer_too(expected: dict[str, Any]) -> None:
    history: list[Message] = [{"role": "assistant", "content": f"{NAME} called."}, ASKED]
    (document,) = evaluation_documents([frozen(history, expected, {**FOUND, "content": NAME})], [], clean)

    assert [clean(message) for message in history] == list(document.prompt)
    assert NAME not in json.dumps(document.answer)
    assert (1, "e1", True) == (len(document.answer["tool_calls"]), document.exchange_uid, document.is_scenario)


def test_only_the_last_turn_of_a_kept_conversation_is_cleaned_and_compared() -> None:
    cleaned = []
    history: list[Message] = [
        {"role": "system", "content": "You are TARX."}, {"role": "user", "content": "Hello."},
        {"role": "assistant", "content": "Hello, too."}, ASKED, FOUND,
        {"role": "tool", "tool_call_id": "c1", "content": "That it is cold."},
    ]  # fmt: skip

    def noted(message: Message) -> Message:
        cleaned.append(message)
        return message

    list(evaluation_documents([], [kept(history, {"role": "assistant", "content": "It is cold."})], noted))

    assert [*history[2:], {"role": "assistant", "content": "It is cold."}] == cleaned


def test_a_turn_of_few_words_has_the_words_of_the_answer_before_it_whatever_stands_between() -> None:
    said = {"role": "assistant", "content": "Shall I write to everybody who stays at the cabin?"}
    between = [FOUND, {"role": "tool", "tool_call_id": "c1", "content": "nothing"}]
    history: list[Message] = [ASKED, said, *between, {"role": "user", "content": "Yes, please."}]
    answer: Message = {"role": "assistant", "content": "Done."}
    known = Contamination(evaluation_documents([], [kept(history, answer)]))

    assert known.knows([ASKED, said, {"role": "user", "content": "Yes please"}, answer])
    assert not known.knows([ASKED, {"role": "user", "content": "Yes please"}, answer][1:])


ANTHROPIC: list[Message] = [
    {"role": "user", "content": "Ok, go on."},
    {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "find", "input": {"person": "Ida"}}]},
    {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": "She is here."}]},
]
RESPONSES: list[Message] = [
    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Ok, go on."}]},
    {"type": "function_call", "call_id": "t1", "name": "find", "arguments": '{"person": "Ida"}'},
    {"type": "function_call_output", "call_id": "t1", "output": "She is here."},
]
AS_CHAT: list[Message] = [
    {"role": "user", "content": "ok go on"},
    {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"function": {"name": "find", "arguments": {"person": "Ida"}}}],
    },
]
OLLAMA: list[Message] = [
    {"role": "user", "content": "Ok, go on."},
    {"role": "assistant", "tool_calls": [{"function": {"name": "find", "arguments": {"person": "Ida"}}}]},
    {"role": "tool", "tool_name": "find", "content": "She is here."},
]


@pytest.mark.parametrize(
    ("protocol", "messages"),
    [("anthropic_messages", ANTHROPIC), ("openai_responses", RESPONSES), ("ollama_chat", OLLAMA)],
)
def test_calls_of_every_wire_are_found_again_in_the_form_of_chat(protocol: str, messages: list[Message]) -> None:
    asked, called, _ = messages
    known = {
        place: Contamination(evaluation_documents([], [kept(history, output, protocol)]))
        for place, history, output in (
            ("answer", [asked], called),
            ("history", messages, {"role": "assistant", "content": "Here."}),
        )
    }

    assert {"answer": True, "history": True} == {place: found.knows(AS_CHAT) for place, found in known.items()}
    other = json.loads(json.dumps(AS_CHAT).replace("Ida", "Eva"))
    assert [False, False] == [found.knows(other) for found in known.values()]


def test_what_cannot_be_said_as_chat_is_compared_by_its_words() -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}}
    content = [image, {"type": "text", "text": str(ASKED["content"])}]
    step = kept(
        [{"role": "user", "content": content}], {"role": "assistant", "content": "A lot."}, "anthropic_messages"
    )

    assert Contamination(evaluation_documents([], [step])).knows([ASKED])


def test_a_step_without_an_answer_is_a_test_all_the_same() -> None:
    trajectory = kept(ANTHROPIC, {}, "anthropic_messages")
    silent = replace(trajectory, steps=(replace(trajectory.steps[0], output=None),))

    assert Contamination(evaluation_documents([], [silent])).knows(AS_CHAT)
