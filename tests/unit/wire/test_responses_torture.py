"""What the torture streams of OpenAI Responses must give beside their expectations (``test_torture_streams``)."""

import pytest

from tarx_toollog.wire.decode import decode
from tarx_toollog.wire.openai_responses import OpenAIResponses
from tests.support.torture import cases

CASES = {key: case for key, case in cases().items() if case.protocol == OpenAIResponses.name}


@pytest.mark.parametrize("key", [key for key, case in CASES.items() if case.expect.get("outcome") == "completed"])
def test_what_was_streamed_reads_back_as_the_same_message(key: str) -> None:
    """An answer comes back in the next request; there its call ids are minted from another seed."""
    response = decode(CASES[key].raw).response
    assert response is not None
    message = response.choices[0].message

    again = OpenAIResponses().read_message(message.raw)

    assert (message.role, message.text, message.reasoning) == (again.role, again.text, again.reasoning)
    assert [(call.name, call.arguments, call.id_state, call.origin) for call in message.tool_calls] == [
        (call.name, call.arguments, call.id_state, call.origin) for call in again.tool_calls
    ]


def test_the_time_of_a_call_is_that_of_its_first_event() -> None:
    exchange = decode(CASES["responses/two_calls_interleaved"].raw)

    assert exchange.response is not None
    assert [2.0, 3.0] == [call.emitted_ms for call in exchange.response.choices[0].message.tool_calls]
    assert (1.0, 2.0, 100.0) == (
        exchange.timing.first_byte_ms,
        exchange.timing.first_tool_ms,
        exchange.timing.total_ms,
    )
