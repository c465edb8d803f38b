"""What the built-in rules say of turns, and where they say nothing."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from tarx_toollog.model import LoggedCall, Outcome, Step, Trajectory
from tarx_toollog.store.label_findings import retried_after_error, user_corrected

Call = tuple[str, str, bool | None]
"""Tool, arguments, and whether the result was an error."""


def step(uid: str, user: str, *calls: Call, says: str = "Here it is.") -> Step:
    return Step(
        exchange_uid=uid,
        step_no=1,
        started_at=datetime(2026, 5, 1, tzinfo=UTC),
        model="m",
        messages=({"role": "system", "content": "No, be brief."}, {"role": "user", "content": user}),
        tools=(),
        params={},
        output={"role": "assistant", "content": says},
        tool_calls=tuple(
            LoggedCall(
                f"{uid}.0.{place}",
                name,
                arguments,
                "ok",
                "ok",
                True,
                True,
                "native",
                "c",
                "text",
                result_is_error=error,
            )
            for place, (name, arguments, error) in enumerate(calls)
        ),
        outcome=Outcome.COMPLETED,
        finish_reason="stop",
        input_tokens=None,
        output_tokens=None,
    )


def turn(number: int, *steps: Step) -> Trajectory:
    names = [call.name for one in steps for call in one.tool_calls]
    return Trajectory("conversation", number, steps, ">".join(names), "answered")


def talk(*users: str, calling: tuple[int, ...] = (), says: str = "Here it is.") -> list[Trajectory]:
    """Return turns in which the user says this; those numbered call a tool."""
    made: tuple[Call, ...] = (("recall", "{}", False),)
    return [
        turn(number, step(f"e{number}", user, *(made if number in calling else ()), says=says))
        for number, user in enumerate(users, 1)
    ]


def blamed(turns: list[Trajectory]) -> list[str]:
    return [one.target.uid for one in user_corrected(turns)]


@pytest.mark.parametrize(
    "said",
    [
        "No, I meant the other one",
        "no - the blue one",
        "Nope. Friday.",
        "That's wrong",
        "that is not what I asked for",
        "This isn't right, look again",
        "Wrong, it is Porto",
        "I said Porto",
        "I asked for three",
        "Sorry, I meant Porto",
        "I didn’t ask you to save it",
        "You misunderstood me",
        "  not what I wanted",
    ],
)
def test_an_answer_is_bad_that_the_user_corrects(said: str) -> None:
    (found,) = user_corrected(talk("Where do I live?", said))
    assert ("exchange", "e1", "quality", -1.0, "the user corrected it in turn 2") == (
        *found.target, found.name, found.value, found.comment
    )  # fmt: skip


@pytest.mark.parametrize(
    "said",
    [
        "No, thanks",
        "No, that's all",
        "no, it’s fine",
        "No problem.",
        "No. Not now.",
        "no",
        "Nothing else",
        "Note, it is urgent",
        "Is that wrong?",
        "What I meant to ask: when?",
        "Thank you, that is right",
        "",
    ],
)
def test_other_words_say_nothing_against_an_answer(said: str) -> None:
    assert [] == blamed(talk("Where do I live?", said))


def test_a_no_that_answers_a_question_is_none_against_it_and_a_correction_is() -> None:
    assert [] == blamed(talk("Book it", "No, just one", says="For two people?"))
    assert ["e1"] == blamed(talk("Book it", "That's wrong", says="For two people?"))


@pytest.mark.parametrize(
    ("users", "calling", "expected"),
    [
        (("do it", "thanks", "no, I meant Porto"), (1,), ["e1"]),  # nothing was done in between
        (("do it", "and this", "no, I meant Porto"), (1, 2), ["e2"]),
        (("do it", "and this", "no, I meant Porto"), (), ["e2"]),
        (("do it", "thanks", "how are you", "no, I meant Porto"), (1,), ["e3"]),  # three turns ago is too long
        (("no, I meant Porto",), (), []),
    ],
)
def test_the_answer_is_meant_that_did_something_in_the_last_two_turns(
    users: tuple[str, ...], calling: tuple[int, ...], expected: list[str]
) -> None:
    assert expected == blamed(talk(*users, calling=calling))


def test_turns_that_were_left_out_are_not_taken_for_the_ones_before() -> None:
    first, _, _, last = talk("do it", "a", "b", "no, I meant Porto", calling=(1,))
    assert [] == blamed([first, last])


WRONG, RIGHT = ("recall", '{"query": "hoem"}', True), ("recall", '{"query": "home"}', False)


def retried(*steps: tuple[Call, ...]) -> list[str]:
    made = turn(1, *(step(f"e{place}", "u", *calls) for place, calls in enumerate(steps, 1)))
    return [one.target.uid for one in retried_after_error([made])]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (((WRONG,), (RIGHT,)), ["e1.0.0"]),
        (((WRONG,), (("save", "{}", False),), (RIGHT,)), ["e1.0.0"]),
        (((("save", "{}", False), WRONG), (RIGHT,)), ["e1.0.1"]),
        (((WRONG,), (WRONG,), (RIGHT,)), ["e1.0.0", "e2.0.0"]),
        (((WRONG,), (RIGHT,), (("recall", '{"query": "hoem"}', False),)), ["e1.0.0"]),
        (((WRONG,), (("recall", '{"query":"hoem"}', False),)), []),  # the tool failed, not the model
        (((WRONG,), (("recall", '{"query": "home"}', None),)), []),
        (((WRONG,), (("recall", '{"query": "home"}', True),)), []),
        (((WRONG,), (("save", "{}", False),)), []),
        (((WRONG, RIGHT),), []),  # at once: nobody had seen the error yet
        (((RIGHT,), (RIGHT,)), []),
    ],
)
def test_a_call_is_bad_that_came_back_well_with_other_arguments(
    steps: tuple[tuple[Call, ...], ...], expected: list[str]
) -> None:
    assert expected == retried(*steps)


def test_a_turn_without_steps_is_no_trouble() -> None:
    empty: Any = replace(turn(1), steps=())
    assert [] == [*user_corrected([empty, *talk("No, I meant Porto")]), *retried_after_error([empty])]
