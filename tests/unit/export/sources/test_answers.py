from typing import Any

from tarx_toollog.export.sources.answers import same_answer, same_calls, with_ids_of


def answer(*calls: tuple[str, str], text: str = "") -> dict[str, Any]:
    """Return an answer with calls of one tool, each given as its id and an argument."""
    made = [
        {"id": one, "type": "function", "function": {"name": "f", "arguments": {"a": value}}} for one, value in calls
    ]
    return {"role": "assistant", "content": text, **({"tool_calls": made} if made else {})}


def ids(made: dict[str, Any]) -> list[str]:
    return [call["id"] for call in made["tool_calls"]]


def test_an_answer_takes_the_ids_of_another_place_by_place() -> None:
    assert ["a", "b"] == ids(with_ids_of(answer(("x", "1"), ("y", "2")), answer(("a", "3"), ("b", "4"), ("c", "5"))))


def test_calls_beyond_those_of_the_other_answer_keep_ids_that_are_their_own() -> None:
    assert ["a", "y"] == ids(with_ids_of(answer(("x", "1"), ("y", "2")), answer(("a", "3"))))
    assert ["y", "y_1"] == ids(with_ids_of(answer(("x", "1"), ("y", "2")), answer(("y", "3"))))


def test_an_answer_without_calls_stays_as_it_is() -> None:
    text = answer(text="Yes.")

    assert text is with_ids_of(text, answer(("a", "1")))


def test_answers_are_the_same_whatever_their_ids_and_the_space_around_their_text() -> None:
    assert same_answer(answer(("x", "1"), text="Yes.\n"), answer(("y", "1"), text="Yes."))
    assert not same_answer(answer(("x", "1")), answer(("x", "2")))
    assert not same_answer(answer(("x", "1")), answer(("x", "1"), text="Yes."))
    assert not same_answer(answer(("x", "1"), ("y", "2")), answer(("x", "2"), ("y", "1")))


def test_calls_are_the_same_in_any_order_and_each_as_often() -> None:
    assert same_calls(answer(("x", "1"), ("y", "2")), answer(("x", "2"), ("y", "1")))
    assert not same_calls(answer(("x", "1")), answer(("x", "1"), ("y", "1")))
