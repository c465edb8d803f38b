"""What the model is tested with is found in other words, and what everybody says is not taken for it."""

from typing import Any

import pytest

from tarx_toollog.export.contamination import Contamination, EvalDocument
from tests.support.builders import assistant, call, result, system, user

Message = dict[str, Any]

QUESTIONS = (
    "Which of the three invoices from the plumber is still open, and when is it due?",
    "Please remember that my sister's wheelchair needs a new battery before 12 March.",
    "Find the notes about the greenhouse and tell me what the tomatoes were fed with.",
    "What is the name of my cat?",
    "Summarise our talk about the insurance claim in five sentences and save it.",
    "How many kilometres did I cycle last week compared with the week before that?",
)
LONG = (
    "I have been thinking about the move to the coast and I would like you to make a list of everything that has to be "
    "done before the lorry comes on Thursday, beginning with the boiler and the letters to the council."
)
GENERIC = ("hi", "Hello!", "thanks", "Thank you!", "yes", "Yes, please.", "no", "ok", "go on", "continue", "👍")
TOPICS = ("boiler", "bicycle", "orchard", "violin", "harbour", "kettle", "ladder", "meadow", "pillow", "rocket")
FRAME = (
    "Use the context below to answer the question of the user as well as you can. If the context does not hold the "
    "answer, say so, and never make one up. Context: none. Question: {} Answer in the language of the question."
)
SAID = assistant("Certainly.")


def document(text: str, answer: Message = SAID, **options: Any) -> EvalDocument:
    return EvalDocument([system("You are TARX."), user(text)], answer, **options)


TESTS = Contamination([*(document(text) for text in (*QUESTIONS, LONG)), *(document(text) for text in GENERIC)])


def finds(text: str, answer: Message = SAID, known: Contamination = TESTS) -> str | None:
    return known.finds([system("It is Monday."), user(text)], answer)


@pytest.mark.parametrize(
    "text",
    [
        QUESTIONS[0],
        QUESTIONS[0].upper(),
        QUESTIONS[0].replace(" ", "\n").replace("?", " ..."),
        "And when is it due, and which of the three invoices from the plumber is still open?",
        "Which of the three invoices from the plumber is still open, and when was it due?",
        "Hello TARX! I hope that you had a good night. " + QUESTIONS[0],
        QUESTIONS[0] + " Take your time, and please be as precise as you can be about all of the figures in it.",
        QUESTIONS[1].replace("12", "28"),
        "what is the name of my cat",
        "Right. One more thing before I go to bed, what is the name of my cat, do you know that?",
        LONG,
        LONG.replace("Thursday", "Friday").replace("coast", "sea"),
        "Good morning. " * 10 + LONG + " Thank you in advance." * 10,
        LONG.split("beginning")[0],
    ],
)
def test_a_test_is_found_in_other_words(text: str) -> None:
    assert "near_scenario" == finds(text)


@pytest.mark.parametrize(
    "text",
    [
        *GENERIC,
        "What is the name of my dog?",
        "What is the colour of the door?",
        "Which of the three letters from the council is the oldest, and who wrote it?",
        "Please remember that my brother's car needs new tyres before 12 March.",
        "How many people came to the party last week?",
        "The invoices from the plumber are all paid.",
        "Make a list of everything that has to be bought for the party on Saturday, beginning with the drinks.",
        "My boss said: I would like you to make a list of everything that has to be done before the end of the year.",
        "",
    ],
)
def test_another_question_is_none(text: str) -> None:
    assert finds(text) is None


def test_a_test_in_the_history_is_found() -> None:
    prompt = [system("It is Monday."), user(QUESTIONS[0]), assistant("The second one."), user("How is the weather?")]
    assert "near_scenario" == TESTS.finds(prompt, SAID)
    assert TESTS.finds([prompt[0], prompt[3]], SAID) is None


def test_later_steps_of_a_test_are_found() -> None:
    prompt = [user(QUESTIONS[0]), assistant("", call("tarx_recall", {"query": "invoice"}, "c")), result("c", "none")]
    assert "near_scenario" == TESTS.finds(prompt, assistant("There is none."))


def test_an_exchange_of_a_scenario_and_a_conversation_of_a_test_are_known_by_their_uids() -> None:
    known = Contamination(
        [
            document("hi", exchange_uid="e1", conversation_uid="c1", is_scenario=True),
            document("hi", exchange_uid="e2", conversation_uid="c2"),
        ]
    )
    asked: list[Message] = [user("Anything else")]
    assert "in_scenario" == known.finds(asked, SAID, exchange_uid="e1", conversation_uid="c1")
    assert "eval_conversation" == known.finds(asked, SAID, exchange_uid="e3", conversation_uid="c1")
    assert "eval_conversation" == known.finds(asked, SAID, exchange_uid="e2", conversation_uid="c2")
    assert known.finds(asked, SAID, exchange_uid="e4", conversation_uid="c4") is None
    assert known.finds(asked, SAID) is None


def test_an_example_without_uids_is_not_taken_for_a_document_without_uids() -> None:
    assert Contamination([document("hi", is_scenario=True)]).finds([user("hi")], SAID) is None


def test_few_words_are_a_test_only_with_the_same_call_and_values() -> None:
    def deletes(number: int) -> Message:
        return assistant("", call("delete_note", {"id": number}, "c"))

    known = Contamination([document("Yes", deletes(7)), document("ok", assistant("", call("list_notes", {}, "c")))])
    assert "near_scenario" == finds("yes!", deletes(7), known)
    assert finds("yes!", deletes(8), known) is None
    assert finds("no!", deletes(7), known) is None
    assert finds("ok", assistant("", call("list_notes", {}, "c")), known) is None


def test_four_words_are_too_few_to_be_found_in_others() -> None:
    known = Contamination([document("What is the weather?")])
    assert finds("What is the weather now?", known=known) is None


def test_words_that_most_tests_share_are_no_test() -> None:
    known = Contamination(
        [
            document("Can you help me with it?"),
            *(document(f"Can you help me with it, the {topic}?") for topic in TOPICS),
        ]
    )
    assert finds("Can you help me with it?", known=known) is None
    assert finds("Can you help me with it before I leave for the station?", known=known) is None
    assert "near_scenario" == finds("Can you help me with it, the violin?", known=known)


def test_a_test_is_found_in_a_longer_text_whatever_is_called_there() -> None:
    calls = [call(name, {}, name) for name in ("aa", "ab", "ac", "ad")]
    known = Contamination([document("Which lamps are still burning?", assistant("", *calls))])
    assert "near_scenario" == finds("One more thing, which lamps are still burning, and since when?", known=known)


def test_a_yes_to_the_same_question_is_found_and_to_another_is_not() -> None:
    def agreed(question: str) -> list[Message]:
        return [user("Good morning, TARX"), assistant(question), user("Yes")]

    known = Contamination([EvalDocument(agreed("Shall I water the tomatoes in the greenhouse now?"), SAID)])
    assert "near_scenario" == known.finds(agreed("Shall I water the tomatoes in the greenhouse now?"), SAID)
    assert known.finds(agreed("Shall I pay the invoice of the plumber at once?"), SAID) is None


def test_the_frame_of_an_application_around_every_question_does_not_count() -> None:
    tests = [document(FRAME.format(f"Who has brought the {topic} back to the shed yesterday?")) for topic in TOPICS]
    known = Contamination(tests)
    assert finds(FRAME.format("Where did we leave the keys of the summer house?"), known=known) is None
    assert finds(FRAME.format("thanks"), known=known) is None
    assert "near_scenario" == finds(
        FRAME.format("Yesterday, who has brought the VIOLIN back to the shed?"), known=known
    )


def test_a_long_test_is_found_in_a_frame_whatever_was_put_around_it() -> None:
    known = Contamination(
        [document(FRAME.format(text)) for text in (*QUESTIONS, *(f"{topic}?" for topic in TOPICS), LONG)]
    )
    around = (
        "It is late, but nobody here sleeps, since both children have been ill for days and grandmother snores loudly."
    )
    assert "near_scenario" == finds(FRAME.format(f"{around} {LONG} And be quick!"), known=known)
    assert finds(FRAME.format(f"{around} And be quick!"), known=known) is None


def test_nothing_is_found_when_nothing_is_kept_for_evaluation() -> None:
    assert finds(QUESTIONS[0], known=Contamination([])) is None


def test_messages_as_they_were_on_the_wire_are_understood() -> None:
    said = {"role": "assistant", "content": None, "tool_calls": [call("delete_note", '{"id": 7}', "c")]}
    known = Contamination([EvalDocument([{"role": "user", "content": [{"type": "text", "text": "Yes"}]}], said)])
    function = {"name": "delete_note", "arguments": {"id": 7}}
    canonical = {"role": "assistant", "content": "", "tool_calls": [{"id": "x", "function": function}]}
    assert "near_scenario" == finds("Yes", canonical, known)


def test_a_value_that_redaction_took_out_tells_as_much_as_the_value_would() -> None:
    known = Contamination([document("Who is ⟦EMAIL:3f2a9c41b7⟧?"), *map(document, QUESTIONS)])

    assert "near_scenario" == finds("Who is ⟦EMAIL:3f2a9c41b7⟧? Thanks!", known=known)
    assert finds("Who is ⟦EMAIL:990b1c52aa⟧? Thanks!", known=known) is None
