"""What of an example is compared: which differences count, and which do not."""

import json
from typing import Any

import pytest

from tarx_toollog.export.documents import document, text_of, turn_context, turn_start, words_of
from tests.support.builders import TOOLS, assistant, call, result, system, user

QUESTION = user("What is the name of my cat?")
RECALL = assistant("", call("tarx_recall", {"query": "cat name", "limit": 3}, "c1"))


def essence(*messages: dict[str, Any]) -> str:
    """Return the first line of a document."""
    return document(messages[:-1], messages[-1]).split("\n")[0]


@pytest.mark.parametrize(
    "other",
    [
        assistant("", call("tarx_recall", {"query": "dog name", "limit": 3}, "c1")),
        assistant("", call("tarx_recall", {"query": "cat name", "limit": 4}, "c1")),
        assistant("", call("tarx_recall", {"query": "cat name"}, "c1")),
        assistant("", call("tarx_search", {"query": "cat name", "limit": 3}, "c1")),
        assistant("", call("tarx_recall", {"query": "*", "limit": 3}, "c1")),
        assistant("Mia"),
    ],
)
def test_another_decision_is_another_essence(other: dict[str, Any]) -> None:
    assert essence(QUESTION, RECALL) != essence(QUESTION, other)


@pytest.mark.parametrize(
    "arguments",
    [
        {"limit": 3, "query": "cat name"},
        {"query": "Cat  name.", "limit": 3.0},
        {"query": "\N{FULLWIDTH LATIN SMALL LETTER C}at name", "limit": 3},
        '{"query": "cat name", "limit": 3}',
    ],
)
def test_the_same_values_are_the_same_essence(arguments: Any) -> None:
    function = {"name": "tarx_recall", "arguments": arguments}
    said = {"role": "assistant", "content": "", "tool_calls": [{"id": "x", "type": "function", "function": function}]}
    assert essence(QUESTION, RECALL) == essence(QUESTION, said)


def test_two_empty_looking_values_are_not_the_same() -> None:
    queries = ["", "*", "?"]
    found = {essence(QUESTION, assistant("", call("f", {"q": query}, "c"))) for query in queries}
    assert 3 == len(found)


def test_paths_and_ids_keep_their_case() -> None:
    upper, lower = (assistant("", call("open", {"path": path}, "c")) for path in ("/Data", "/data"))
    assert essence(QUESTION, upper) != essence(QUESTION, lower)


def test_calls_of_one_answer_have_no_order_but_those_of_two_steps_have() -> None:
    first, second = call("f", {"a": 1}, "c1"), call("g", {"b": 2}, "c2")
    assert essence(QUESTION, assistant("", first, second)) == essence(QUESTION, assistant("", second, first))
    done = result("c", "ok")
    one = essence(QUESTION, assistant("", first), done, assistant("", second))
    other = essence(QUESTION, assistant("", second), done, assistant("", first))
    assert one != other


def test_every_step_of_a_chain_has_an_essence_of_its_own_even_when_it_repeats_a_call() -> None:
    chain = [QUESTION]
    seen = set()
    for _ in range(4):
        seen.add(essence(*chain, RECALL))
        chain += [RECALL, result("c1", "pending")]
    seen.add(essence(*chain, assistant("It is pending.")))
    assert 5 == len(seen)


def test_numbers_and_identifiers_in_the_question_are_essential() -> None:
    asked = ["What is 17*23?", "What is 17 * 24?", "What is 17+23?", "Is it C++?", "Is it C#?", "Is it C?", "see #42"]
    assert 7 == len({essence(user(text), assistant("Hm.")) for text in asked})
    same = {essence(user(text), assistant("Hm.")) for text in ("What is 17*23?", "what is (17 * 23)?!")}
    assert 1 == len(same)


def test_a_date_in_the_question_is_not_because_applications_put_it_there() -> None:
    dated = [f"Today is {day}. Where do I live, please?" for day in ("2026-11-23", "2026-11-24T09:30:00Z")]
    assert 1 == len({document([user(text)], assistant("In Porto.")) for text in dated})


def test_times_and_ids_in_results_and_answers_are_masked() -> None:
    def told(at: str, number: int) -> str:
        found = result("c1", json.dumps({"at": at, "id": f"a{number}f", "name": "Mia"}))
        return document([QUESTION, RECALL, found], assistant(f"Mia, as you said at {at}."))

    assert told("2026-11-23T10:00:00Z", 17) == told("2026-05-01T23:59:59Z", 9284)


def test_case_punctuation_space_and_width_do_not_count() -> None:
    assert "what is my cat s name" == words_of("  WHAT is\n\nmy **cat's** name?!")
    assert "strasse mia" == words_of("Straße \N{FULLWIDTH LATIN CAPITAL LETTER M}ia")
    assert "0 is x 0" == words_of("17 a1b2 is x_9")


def test_scripts_without_spaces_are_taken_by_characters() -> None:
    assert "我 的 猫 叫 mia" == words_of("我的猫叫Mia。")


def test_a_text_without_words_is_taken_as_it_is() -> None:
    assert "👍" == words_of(" 👍 ")
    assert words_of("👍") != words_of("👎")


def test_of_a_very_long_message_the_beginning_and_the_end_are_compared() -> None:
    padding = "word " * 10_000
    texts = ["First " + padding + "first", "second " + padding + "first", "first " + padding + "second"]
    assert 3 == len({words_of(text) for text in texts})
    assert len(words_of(texts[0])) < 10_000


def test_a_turn_of_few_words_takes_in_the_end_of_the_answer_before_it() -> None:
    def agreed(question: str) -> str:
        return document([user("My cat is Mia."), assistant(question), user("Yes, please")], assistant("Done."))

    assert agreed("Shall I save it?") != agreed("Shall I delete it?")
    assert agreed("Shall I save it?") == agreed("shall I save IT")
    long = "word " * 50 + "Shall I save it?"
    assert 32 == len(turn_context([user("x"), assistant(long), user("Yes")], 2).split())


def test_a_turn_of_many_words_needs_no_context() -> None:
    asked = user("And what is the name of my dog?")
    assert "" == turn_context([assistant("Mia."), asked], 1)
    assert document([assistant("Mia."), asked], assistant("Rex.")) == document([asked], assistant("Rex."))


def test_the_system_prompt_and_earlier_turns_do_not_count() -> None:
    bare = document([QUESTION], RECALL)
    assert bare == document([system("It is Monday."), user("Hello"), assistant("Hi!"), QUESTION], RECALL)


def test_whether_tools_were_offered_counts_and_which_does_not() -> None:
    answer = assistant("I am TARX.")
    assert document([QUESTION], answer) != document([QUESTION], answer, TOOLS)
    assert document([QUESTION], answer, TOOLS[:1]) == document([QUESTION], answer, TOOLS)


def test_a_verdict_and_a_worse_answer_count() -> None:
    assert document([QUESTION], RECALL, label=True) != document([QUESTION], RECALL, label=False)
    rejected = [assistant("", call("tarx_recall", {"query": query}, "c")) for query in ("cat", "dog")]
    assert document([QUESTION], RECALL, rejected=rejected[0]) != document([QUESTION], RECALL, rejected=rejected[1])


def test_a_row_of_several_turns_is_compared_from_the_first_that_is_learned() -> None:
    earlier = [user("Where is it that I live now?"), assistant("In Porto.")]
    row = [*earlier, QUESTION]
    assert document(row, RECALL, targets=(3,)) == document([QUESTION], RECALL)
    assert "in porto" in document(row, RECALL, targets=(1, 3))


def test_long_argument_values_are_compared_as_text() -> None:
    def saved(text: str) -> str:
        return document([QUESTION], assistant("", call("save", {"summary": text}, "c")))

    text = "The user asked for the name of the cat, and was told that it is Mia"
    assert saved(text) == saved(text.upper() + ".")
    assert "a the user asked" in saved(text)
    assert saved(f"{text} (order 1234)").split("\n")[0] != saved(f"{text} (order 1235)").split("\n")[0]


@pytest.mark.parametrize(
    ("roles", "place", "expected"),
    [
        ("su", 1, 1),
        ("suau", 3, 3),
        ("suata", 4, 1),
        ("suuata", 5, 1),
        ("sa", 1, 1),
        ("ata", 2, 0),
        ("a", 0, 0),
        ("s", 0, 1),
    ],
)
def test_a_turn_begins_with_its_first_user_message(roles: str, place: int, expected: int) -> None:
    names = {"s": "system", "u": "user", "a": "assistant", "t": "tool"}
    assert expected == turn_start([{"role": names[role]} for role in roles], place)


def test_text_parts_are_read_and_other_content_is_no_text() -> None:
    assert "a\nb" == text_of({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]})
    assert "" == text_of({"content": None})


def test_what_is_no_call_is_passed_over() -> None:
    odd = {"role": "assistant", "content": "Hm.", "tool_calls": ["x", {"id": "y"}, {"function": "z"}]}
    assert document([QUESTION], assistant("Hm.")) == document([QUESTION], odd)
