"""What the arguments of many calls look like."""

from typing import Any

from tarx_toollog.store.answers.argument_values import Spread, argument_uses


def test_each_argument_is_counted_with_its_types_and_its_values() -> None:
    calls: list[dict[str, Any]] = [
        {"query": "Porto", "limit": 3},
        {"query": "Porto", "limit": 3.5},
        {"query": "tram", "limit": True},
        {"query": None, "tags": ["a", "b"]},
        {"tags": []},
        {},
    ]
    query, limit, tags = argument_uses(calls)

    assert ("query", 4, {"string": 3, "null": 1}) == (query.name, query.given, query.types)
    assert [('"Porto"', 2), ('"tram"', 1), ("null", 1)] == query.values
    assert (3, Spread(4, 5, 5), None) == (query.n_values, query.lengths, query.numbers)
    assert {"boolean": 1, "integer": 1, "number": 1} == limit.types
    assert (Spread(3, 3, 3.5), None) == (limit.numbers, limit.lengths)
    assert ([('["a","b"]', 1), ("[]", 1)], Spread(0, 0, 2)) == (tags.values, tags.lengths)


def test_values_that_python_takes_for_equal_are_told_apart() -> None:
    (use,) = argument_uses([{"n": 1}, {"n": 1.0}, {"n": True}, {"n": "1"}])
    assert (4, [("1", 1), ("1.0", 1), ("true", 1), ('"1"', 1)]) == (use.n_values, list(use.values))


def test_only_the_most_frequent_values_are_told_and_long_ones_shortened() -> None:
    (use,) = argument_uses([{"n": number % 20} for number in range(41)] + [{"n": "x" * 500}] * 9)
    assert (21, 8) == (use.n_values, len(use.values))
    assert [9, 3, 2] == [n for _, n in use.values[:3]]
    assert f'"{"x" * 119}…' == use.values[0][0]
