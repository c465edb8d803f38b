import pytest

from tarx_toollog.export.example import Piece
from tarx_toollog.export.tokens import Calibration, Parts, parts_of


def test_the_parts_of_a_row_are_its_bytes_by_kind() -> None:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}}
    user, called, result = (
        Piece({"role": "user", "content": "Größe?"}),
        Piece({"role": "assistant", "content": "So.", "tool_calls": [call]}),
        Piece({"role": "tool", "content": "42", "name": "f", "tool_call_id": "c"}),
    )
    tools = Piece([{"type": "function", "function": {"name": "f"}}])

    found = parts_of([user, called, result], tools)

    assert Parts(tools.size, user.size + 3, called.size - 3 + result.size, 3) == found
    assert user.size == len(user.text.encode()) == len(user.text) + 2


def test_without_anything_learned_the_defaults_stand() -> None:
    assert Calibration().estimate(Parts(tools=3300)) == pytest.approx(1000, abs=1)
    assert Calibration().estimate(Parts(prose=4000, messages=2)) == pytest.approx(1016, abs=1)


def test_what_was_counted_is_found_again() -> None:
    """Rows of another tokenizer, in which every kind has a density of its own, are met within a token or two."""
    learned = Calibration()
    truth = (0.4, 0.2, 0.7, 5.0)
    rows = [Parts(900 + 37 * i % 800, 50 * (i % 9) + 100, 30 * (i % 7) ** 2, 2 + i % 5) for i in range(500)]
    for row in rows:
        assert learned.wants()
        learned.learn(row, round(sum(weight * part for weight, part in zip(truth, row, strict=True))))

    errors = [
        abs(learned.estimate(row) - sum(weight * part for weight, part in zip(truth, row, strict=True))) for row in rows
    ]

    assert max(errors) < 0.02 * max(sum(row) for row in rows)
    assert learned.n_rows == 500


def test_a_part_that_never_varies_does_not_turn_the_others_negative() -> None:
    learned = Calibration()
    for size in range(1, 200):
        learned.learn(Parts(tools=1000, prose=size), 1000)

    assert all(weight > 0 for weight in learned.weights)


def test_every_row_has_at_least_a_token() -> None:
    assert Calibration().estimate(Parts()) == 1
