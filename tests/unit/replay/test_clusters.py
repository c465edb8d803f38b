"""Near duplicates among scenarios: which ones hang together, and that no pair is missed."""

import random
import string
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from tarx_toollog.replay.matching import Call
from tarx_toollog.replay.scenario import Recorded, Scenario, ScenarioStep
from tarx_toollog.replay.suites import clusters as module
from tarx_toollog.replay.suites.clusters import clusters

LONG = "Please look up the order of the customer and tell me when exactly it is going to arrive at our office"


def scenario(text: str, conversation: str, *calls: Call) -> Scenario:
    messages = ({"role": "system", "content": conversation}, {"role": "user", "content": text})
    step = ScenarioStep(1, "e", messages, (), {}, calls, Recorded({}, None, None))
    return Scenario(conversation, 1, (step,))


def grouped(*texts: str, calls: Sequence[Call] = ()) -> list[int]:
    """Return for each text, of a conversation of its own, the number of the first text of its cluster."""
    found = clusters([scenario(text, f"c{number}", *calls) for number, text in enumerate(texts)])
    return [number if name is None else found.index(name) for number, name in enumerate(found)]


def test_digits_case_and_punctuation_make_no_other_question() -> None:
    assert [0, 0, 0, 3] == grouped(
        "Where is order 4711?", "where is ORDER 99", "Where is order #1,200!", "Where is it?"
    )


def test_numbers_make_no_other_question_even_where_they_are_what_the_call_is_about() -> None:
    orders = [scenario(f"Where is order {n}?", f"c{n}", Call("track", {"order": n})) for n in (4711, 99)]
    one, other = clusters(orders)
    assert one == other is not None


def test_nearly_the_same_words_hang_together_and_a_third_that_is_like_the_second() -> None:
    words = LONG.split()
    second = " ".join([*words[:-1], "offices"])
    third = " ".join(["please", *words[1:-1], "offices", "ok"])
    assert [0, 0, 0, 3] == grouped(LONG, second, third, LONG.replace("customer", "supplier of the other firm"))


def test_other_calls_or_other_arguments_make_another_test() -> None:
    one = scenario("where?", "a", Call("recall", {"query": "x"}))
    same = scenario("where?", "b", Call("recall", {"query": "y"}))
    more = scenario("where?", "c", Call("recall", {"query": "x", "limit": 3}))
    other = scenario("where?", "d", Call("find", {"query": "x"}))
    names = clusters([one, same, more, other])
    assert names[0] == names[1] is not None
    assert [None, None] == names[2:]


def test_turns_of_one_conversation_hang_together_anyway_and_need_no_name() -> None:
    assert [None, None] == clusters([scenario("again?", "a"), scenario("again?", "a", Call("x", {}))])
    assert [None, None] == clusters([scenario("again 1", "a"), scenario("again 2", "a")])


def test_the_name_does_not_depend_on_the_order() -> None:
    given_ = [scenario(text, text) for text in ("a b 1", "a b 2", "c d", "a b 3")]
    names = dict(zip((one.conversation_uid for one in given_), clusters(given_), strict=True))
    turned = given_[::-1]
    assert names == dict(zip((one.conversation_uid for one in turned), clusters(turned), strict=True))


@given(st.integers(0, 10**9))
@settings(max_examples=60, deadline=None)
def test_the_filter_misses_no_pair(seed: int) -> None:
    chance = random.Random(seed)
    base = "".join(chance.choices(string.ascii_lowercase[:6] + " ", k=chance.randint(1, 120)))
    texts = []
    for _ in range(12):
        letters = list(base)
        for _ in range(chance.randint(0, 3)):
            letters[chance.randrange(len(letters))] = chance.choice(string.ascii_lowercase)
        texts.append("".join(letters))
    openings = [module.opening(scenario(text, "c")) for text in texts]
    parents = list(range(len(texts)))
    for one, left in enumerate(openings):
        for other, right in enumerate(openings[:one]):
            a, b = module._shingles(left), module._shingles(right)
            if left == right or 10 * len(a & b) >= 9 * len(a | b):
                module._join(parents, one, other)
    expected = [module._root(parents, number) for number in range(len(texts))]
    assert expected == grouped(*texts)
