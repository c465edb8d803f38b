from typing import Any

import pytest

from tarx_toollog.export.example import Example, Message, Origin, Piece, Split
from tarx_toollog.export.sources import log_sample
from tarx_toollog.export.sources.log_sample import MAX_CARRIERS, LogSample

RESULT: Message = {"role": "tool", "content": "5", "name": "f", "tool_call_id": "c"}
ANSWER: Message = {"role": "assistant", "content": "Five."}
CALL: Message = {"role": "assistant", "content": "", "tool_calls": [{"id": "c", "function": {"name": "f"}}]}


def tool(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


def example(
    *messages: Message,
    system: str = "You are TARX.",
    tools: tuple[str, ...] = ("f",),
    uid: str | None = "c1",
    registry: Split = "train",
    label: bool | None = None,
) -> Example:
    said = ({"role": "system", "content": system}, {"role": "user", "content": "Hi"}, *(messages or (ANSWER,)))
    offered = Piece([tool(name) for name in tools]) if tools else None
    origin = Origin(conversation_uid=uid)
    return Example(tuple(map(Piece, said)), offered, "chat", origin, registry=registry, label=label)


def observed(*examples: Example, seed: int = 0) -> LogSample:
    sample = LogSample(seed)
    for one in examples:
        sample.observe(one)
    return sample


def test_the_most_used_prompt_and_tools_are_the_ones_of_the_log() -> None:
    sample = observed(
        example(system="rare", tools=("a",)),
        example(system="usual", tools=("b", "c")),
        example(system="usual", tools=("b", "c")),
        example(system=" ", tools=()),
        example(system=" ", tools=()),
        example(system=" ", tools=()),
    )

    assert "usual" == sample.system_prompt
    assert [tool("b"), tool("c")] == getattr(sample.tools, "value", None)
    assert [tool("a")] == sample.tools_with("a")
    assert None is sample.tools_with("z")


def test_an_empty_log_gives_nothing() -> None:
    sample = LogSample()

    assert (None, None, []) == (sample.system_prompt, sample.tools, sample.carriers)


def test_what_is_kept_for_evaluation_is_not_looked_at() -> None:
    sample = observed(example(CALL, RESULT, ANSWER, registry="eval"))

    assert (None, None, []) == (sample.system_prompt, sample.tools, sample.carriers)


def test_prompts_with_the_time_in_them_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_sample, "MAX_DISTINCT", 10)
    sample = LogSample()
    for n in range(200):
        sample.observe(example(system=f"It is {n}."))
        sample.observe(example(system="You are TARX."))

    assert "You are TARX." == sample.system_prompt
    assert 10 >= len(list(sample._prompts.by_use()))


@pytest.mark.parametrize(
    ("one", "n_carriers"),
    [
        (example(CALL, RESULT, ANSWER), 1),
        (example(ANSWER), 0),
        (example(CALL, RESULT, CALL), 0),
        (example(CALL, RESULT, ANSWER, uid=None), 0),
        (example(CALL, RESULT, ANSWER, label=False), 0),
        (example(CALL, RESULT, ANSWER, system="x" * 9000), 0),
        (example(*[CALL, RESULT] * 10, ANSWER), 0),
    ],
)
def test_a_short_dialogue_that_ends_with_an_answer_after_calls_can_carry_a_question(
    one: Example, n_carriers: int
) -> None:
    assert n_carriers == len(observed(one).carriers)


def test_a_bounded_choice_of_carriers_is_kept_one_of_a_conversation_in_whatever_order_they_come() -> None:
    examples = [example(CALL, RESULT, ANSWER, uid=f"c{n % 200}") for n in range(400)]
    chosen = [one.origin.conversation_uid for one in observed(*examples).carriers]

    assert MAX_CARRIERS == len(set(chosen)) == len(chosen)
    assert chosen == [one.origin.conversation_uid for one in observed(*reversed(examples)).carriers]
    assert chosen != [one.origin.conversation_uid for one in observed(*examples, seed=1).carriers]
