"""All torture cases of all protocols against the decoder: whole, byte by byte, and cut anywhere.

What chat completions have of their own follows below; the other protocols have test files of their own beside this.
"""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarx_toollog.model import Exchange, Outcome
from tarx_toollog.wire.decode import decode
from tarx_toollog.wire.openai_chat import message_from_raw
from tarx_toollog.wire.raw import End
from tests.support.captures import split_at
from tests.support.torture import calls_of as calls_of
from tests.support.torture import cases, found
from tests.support.torture import messages_of as messages_of

CASES = cases()
ASKED = {"outcome", "calls", "text", "output"}  # a case that asks for none of them would prove nothing
CHAT = [key for key, case in CASES.items() if case.protocol == "openai_chat"]


def everything(exchange: Exchange, expect: dict[str, Any]) -> dict[str, Any]:
    """Return of an exchange what the case has an expectation for, the notes aside."""
    return {key: value for key, value in found(exchange, expect).items() if key != "notes"}


@pytest.mark.parametrize("key", CASES)
def test_a_torture_stream_gives_what_the_server_meant(key: str) -> None:
    case = CASES[key]

    actual = decode(case.raw)

    assert case.expect == found(actual, case.expect)
    assert case.protocol == actual.protocol
    assert [] == [note for note in actual.notes if note.startswith("decode_error")]


@pytest.mark.parametrize("key", CASES)
def test_a_torture_stream_reads_the_same_byte_by_byte(key: str) -> None:
    raw = CASES[key].raw

    # Compared as text, because NaN is not equal to itself.
    assert repr(decode(split_at(raw, []))) == repr(decode(split_at(raw, range(len(raw.response_body)))))


@given(st.sampled_from(list(CASES)), st.lists(st.integers(0, 5000), max_size=30))
def test_a_torture_stream_reads_the_same_however_it_is_cut(key: str, cuts: list[int]) -> None:
    raw = CASES[key].raw

    assert repr(decode(split_at(raw, []))) == repr(decode(split_at(raw, cuts)))


def test_every_protocol_has_cases_and_every_case_asks_for_something() -> None:
    times = Counter(case.protocol for case in CASES.values())

    assert {"openai_chat", "openai_responses", "anthropic_messages", "ollama_chat"} == set(times)
    assert min(times.values()) >= 30
    assert [] == [key for key, case in CASES.items() if not ASKED & case.expect.keys()]


@pytest.mark.parametrize("key", CHAT)
def test_the_assembled_message_reads_back_as_the_same_calls(key: str) -> None:
    exchange = decode(CASES[key].raw)
    for message in messages_of(exchange) if exchange.response is not None else ():
        choice = message.tool_calls[0].choice if message.tool_calls else 0
        again = message_from_raw(message.raw, seed=exchange.uid, choice=choice)

        assert [(call.name, call.arguments, call.call_id, call.id_state, call.origin) for call in again.tool_calls] == [
            (call.name, call.arguments, call.call_id, call.id_state, call.origin) for call in message.tool_calls
        ]
        assert (message.role, message.text, message.reasoning) == (again.role, again.text, again.reasoning)


def test_minted_ids_are_the_same_each_time_and_differ_within_the_answer() -> None:
    raw = CASES["chat/id_missing"].raw

    first, second = (call.call_id for call in calls_of(decode(raw)))

    assert (first, second) == tuple(call.call_id for call in calls_of(decode(raw)))
    assert first != second
    other = replace(raw, begin=replace(raw.begin, uid="uid-2"))
    assert first != calls_of(decode(other))[0].call_id


def test_the_time_of_a_call_is_that_of_its_first_fragment() -> None:
    exchange = decode(CASES["chat/all_pieces_at_index_0"].raw)

    assert [call.emitted_ms for call in calls_of(exchange)] == [1.0, 6.0]
    assert (
        exchange.timing.first_byte_ms,
        exchange.timing.first_tool_ms,
        exchange.timing.total_ms,
    ) == (1.0, 1.0, 100.0)


def test_a_client_that_closes_early_is_not_a_server_that_broke_off() -> None:
    raw = CASES["chat/upstream_dies_inside_call"].raw

    hung_up = decode(replace(raw, end=End(offset_ns=1, disconnected=True)))

    assert hung_up.outcome == Outcome.CLIENT_DISCONNECTED
    assert [call.complete for call in calls_of(hung_up)] == [False]
