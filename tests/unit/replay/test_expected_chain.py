"""What is expected of a whole turn: needs, bound values, and what was tried in vain."""

import json
import re
from dataclasses import replace

from tarx_toollog.replay.scenario import Scenario
from tarx_toollog.replay.turns.expected_chain import Chain, Expectation, Source, never_made
from tests.unit.replay.turns import Logged, turn

FIND = Logged("find_user", {"name": "Ann"}, '{"users": [{"id": "u-4711", "age": 7}]}')
SEND = Logged("send", {"to": "u-4711", "text": "Hello"}, "sent")


def chain_of(scenario: Scenario) -> Chain:
    return tuple(link for choices in Expectation(scenario).choices for link in choices[0])


def needs(scenario: Scenario) -> list[frozenset[int]]:
    return [one.needs for one in Expectation(scenario).to_match(chain_of(scenario))]


def test_a_value_that_first_stood_in_a_result_is_needed_from_there() -> None:
    log = turn([FIND], [SEND])

    assert [(), (Source("/to", 0, "/users/0/id"),)] == [link.sources for link in chain_of(log)]
    assert [frozenset(), frozenset({0})] == needs(log)


def test_a_value_that_the_user_had_said_is_needed_from_nowhere() -> None:
    assert [frozenset(), frozenset()] == needs(turn([FIND], [SEND], user="Write Hello to u-4711."))


def test_a_value_so_short_that_it_stands_there_by_chance_is_needed_from_nowhere() -> None:
    pay = Logged("pay", {"to": "Ann", "amount": 7})

    assert [frozenset(), frozenset()] == needs(turn([FIND], [pay], user="Pay Ann."))


def test_a_value_inside_a_text_is_needed_and_not_bound() -> None:
    told = Logged("find_user", {"name": "Ann"}, "Ann is u-4711.")

    assert (Source("/to", 0, None),) == chain_of(turn([told], [SEND]))[1].sources


def test_ids_that_begin_anew_in_each_answer_belong_to_the_latest_call() -> None:
    told = Logged("read_note", {"name": "u-4711"}, '{"text": "Hello-99"}')
    log = turn([FIND], [told], [Logged("send", {"to": "u-4711", "text": "Hello-99"})])
    ids = re.compile(r'"log\d+"')
    steps = tuple(
        replace(step, messages=tuple(json.loads(ids.sub('"call_0"', json.dumps(step.messages))))) for step in log.steps
    )

    assert [frozenset(), frozenset({0}), frozenset({0, 1})] == needs(log) == needs(replace(log, steps=steps))


def test_what_the_tool_says_this_time_takes_the_place_of_the_logged_value() -> None:
    log = turn([FIND], [SEND])
    expectation, chain = Expectation(log), chain_of(log)
    said = FIND.result or ""

    assert chain == expectation.bound(chain, {0: said})
    bound = expectation.bound(chain, {0: said.replace("4711", "99")})
    assert {"to": "u-99", "text": "Hello"} == bound[1].call.arguments
    assert chain == expectation.bound(chain, {0: "nobody"})
    assert chain == expectation.bound(chain, {})


def test_a_bound_value_is_found_below_lists_and_odd_names() -> None:
    asked = Logged("read_note", {"name": "all"}, '{"a/b": {"~": ["first-one", "other-one"]}}')
    nested = Logged("send", {"to": "x", "text": "", "more": [{"k/~": "other-one"}]})
    log = turn([asked], [nested])
    bound = Expectation(log).bound(chain_of(log), {0: '{"a/b": {"~": ["1", "new-one"]}}'})

    assert [{"k/~": "new-one"}] == (bound[1].call.arguments or {})["more"]


def test_results_of_one_answer_are_told_apart_by_their_ids() -> None:
    other = Logged("find_user", {"name": "Bob"}, '{"id": "u-0815"}')
    log = turn([other, FIND], [SEND])

    assert [frozenset(), frozenset(), frozenset({1})] == needs(log)


def test_a_call_that_failed_and_was_made_in_another_way_may_be_left_out() -> None:
    failed = Logged("find_user", {"name": "An"}, "nobody", is_error=True)

    assert [[1, 0], [1], [0]] == [
        [len(choice) for choice in choices] for choices in Expectation(turn([failed], [FIND])).choices
    ]
    assert [[1], [1], [0]] == [
        [len(choice) for choice in choices] for choices in Expectation(turn([failed], [SEND])).choices
    ]


def test_a_call_that_worked_may_not_be_left_out_although_its_tool_is_called_again() -> None:
    choices = Expectation(turn([FIND], [FIND._replace(arguments={"name": "Bob"})])).choices

    assert [[1], [1], [0]] == [[len(choice) for choice in each] for each in choices]


def test_a_correction_that_the_log_makes_one_step_later_is_expected_there_alone() -> None:
    failed = Logged("find_user", {"name": "An"}, "nobody", is_error=True)
    log = turn([failed], [FIND], expected={1: [FIND]})

    assert [1] == [link.logged for link in chain_of(log)]
    assert [] == never_made(log)


def test_an_expected_call_that_the_log_never_made_is_named() -> None:
    assert [SEND.call] == never_made(turn([FIND], [FIND], expected={2: [SEND]}))
    assert [FIND.call, SEND.call] == never_made(replace(turn([FIND], [SEND]), recording=()))
