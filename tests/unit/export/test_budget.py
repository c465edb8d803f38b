from typing import Any

import pytest

from tarx_toollog.export.budget import CUT_MARK, shorten
from tarx_toollog.export.example import Example, Origin, Piece
from tarx_toollog.export.options import Overlong
from tarx_toollog.export.tokens import Calibration, parts_of

CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": {}}}


def turn(question: str, result: str) -> list[dict[str, Any]]:
    return [
        {"role": "user", "content": question},
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "content": result, "name": "f", "tool_call_id": "c"},
        {"role": "assistant", "content": f"About {question}."},
    ]


def example(*messages: dict[str, Any]) -> Example:
    said = [{"role": "system", "content": "Be brief."}, *messages]
    return Example(tuple(map(Piece, said)), None, "tool", Origin(), input_tokens=1, output_tokens=7)


def shortened(found: Example, limit: int, policy: Overlong) -> tuple[list[dict[str, Any]], int] | None:
    calibration = Calibration()
    n_tokens = calibration.estimate(parts_of(found.messages, found.tools))
    result = shorten(found, n_tokens, limit, policy, calibration)
    return None if result is None else ([piece.value for piece in result[0].messages], result[1])


LONG = [*turn("one", "x" * 2000), *turn("two", "y" * 2000), *turn("three", "z" * 100)]


def test_dropping_makes_nothing_shorter() -> None:
    assert shortened(example(*LONG), 100, "drop") is None


def test_whole_turns_go_the_oldest_first_and_the_system_prompt_stays() -> None:
    found = shortened(example(*LONG), 1000, "trim-turns")

    assert found is not None
    assert [{"role": "system", "content": "Be brief."}, *LONG[8:]] == found[0]
    assert found[1] <= 1000


def test_no_more_turns_go_than_must() -> None:
    found = shortened(example(*LONG), 1800, "trim-turns")

    assert found is not None
    assert [{"role": "system", "content": "Be brief."}, *LONG[4:]] == found[0]


def test_a_last_turn_that_is_too_long_alone_is_left_out() -> None:
    assert shortened(example(*turn("one", "x" * 9000)), 100, "trim-turns") is None


def test_long_results_lose_their_middle_and_say_so() -> None:
    found = shortened(example(*turn("one", "a" * 3000 + "b" * 3000)), 2000, "trim-results")

    assert found is not None
    content = found[0][3]["content"]
    assert content == "a" * 1500 + CUT_MARK + "b" * 1500
    assert found[1] <= 2000


@pytest.mark.parametrize("policy", ["trim-turns", "trim-results"])
def test_every_call_keeps_its_result(policy: Overlong) -> None:
    found = shortened(example(*LONG), 1200, policy)

    assert found is not None
    roles = [message["role"] for message in found[0][1:]]
    assert roles == ["user", "assistant", "tool", "assistant"] * (len(roles) // 4)


def test_what_is_shortened_counts_as_estimated_and_is_noted() -> None:
    calibration = Calibration()
    n_tokens = calibration.estimate(parts_of(example(*LONG).messages, None))

    result = shorten(example(*LONG), n_tokens, 1500, "trim-turns", calibration)

    assert result is not None
    assert (None, 7, ("shortened",)) == (result[0].input_tokens, result[0].output_tokens, result[0].notes)
