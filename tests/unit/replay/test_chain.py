"""Whole chains of calls beside the expected ones."""

from collections.abc import Container

from hypothesis import given
from hypothesis import strategies as st

from tarx_toollog.replay.matching import Call, ChainMatch, ExpectedCall, match_chain

ASK, ASK_MORE = Call("ask", {"what": "weather"}), Call("ask", {"what": "news"})
ORDER, CANCEL = Call("order", {"what": "tea"}), Call("cancel", {"what": "tea"})
SEND = Call("send", {"what": "mail"})


def is_read(name: str) -> bool:
    return name == "ask"


def match(expected: list[Call], made: list[list[Call]], failed: Container[int] = ()) -> ChainMatch:
    return match_chain([ExpectedCall(call) for call in expected], made, {}, is_read=is_read, failed=failed)


def codes(found: ChainMatch) -> list[tuple[str, bool]]:
    return [(problem.code, problem.is_soft) for problem in found.problems]


def test_a_question_asked_again_is_soft_and_an_order_placed_again_is_not() -> None:
    again = match([ASK, ORDER], [[ASK], [ASK], [ORDER]])
    twice = match([ASK, ORDER], [[ASK], [ORDER], [ORDER]])

    assert ([("redundant_call", True)], False, True) == (codes(again), again.is_right, again.is_nearly_right)
    assert ([("extra_call", False)], False, False) == (codes(twice), twice.is_right, twice.is_nearly_right)


def test_another_question_is_no_fault() -> None:
    found = match([ASK, ORDER], [[ASK_MORE], [ASK], [ORDER]])

    assert ([], (ASK_MORE,), True) == (codes(found), found.more_reads, found.is_right)


def test_a_call_of_another_tool_is_no_partner() -> None:
    found = match([ORDER], [[CANCEL]])

    assert [(ORDER, None), (None, CANCEL)] == [(pair.expected, pair.actual) for pair in found.pairs]
    assert ((None,), [("extra_call", False)]) == (found.places, codes(found))


def test_an_order_that_failed_and_was_placed_again_is_waste() -> None:
    found = match([ORDER, CANCEL], [[ORDER], [ORDER], [CANCEL]], failed={0})

    assert ([("redundant_call", True)], (1, 2)) == (codes(found), found.places)


def test_the_first_of_equal_questions_is_the_expected_one_and_later_ones_repeat_it() -> None:
    needy = ExpectedCall(ORDER, frozenset({0}))
    found = match_chain([ExpectedCall(ASK), needy], [[ASK], [ORDER], [ASK]], {}, is_read=is_read)

    assert ([("redundant_call", True)], (0, 1)) == (codes(found), found.places)


def test_writes_keep_their_order_and_questions_need_none() -> None:
    assert [("wrong_order", False)] == codes(match([ORDER, CANCEL], [[CANCEL], [ORDER]]))
    assert [] == codes(match([ASK, ORDER, ASK_MORE], [[ASK_MORE, ORDER], [ASK]]))


def test_writes_that_were_expected_at_once_have_no_order_among_each_other() -> None:
    order = [ExpectedCall(ASK, step=1), ExpectedCall(ORDER, step=2), ExpectedCall(CANCEL, step=2)]
    order.append(ExpectedCall(SEND, step=3))

    def problems(*made: list[Call]) -> list[tuple[str, bool]]:
        return codes(match_chain(order, made, {}, is_read=is_read))

    assert [] == problems([ASK], [CANCEL, ORDER], [SEND])
    assert [] == problems([ASK], [CANCEL], [ORDER], [SEND])
    assert [("wrong_order", False)] == problems([ASK], [CANCEL, SEND, ORDER])
    assert [("wrong_order", False)] == problems([ASK], [SEND], [CANCEL, ORDER])[:1]


CALLS = st.sampled_from([ASK, ASK_MORE, ORDER, CANCEL])


@given(st.lists(st.lists(CALLS, min_size=1, max_size=3), max_size=6))
def test_a_chain_made_as_expected_is_right_however_often_it_repeats_itself(made: list[list[Call]]) -> None:
    flat = [call for calls in made for call in calls]
    found = match(flat, made)

    assert (True, (), tuple(range(len(flat)))) == (found.is_right, found.problems, found.places)
