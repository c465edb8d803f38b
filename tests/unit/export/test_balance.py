import re

import pytest

from tarx_toollog.errors import ConfigError
from tarx_toollog.export.balance import NO_GROUP, BalanceSpec, beyond_cap, parse_balance, surplus


def test_a_specification_names_limits_and_the_share() -> None:
    assert BalanceSpec(300, 8, 0.2) == parse_balance("tool:cap=300, conversation:cap=8,negatives=0.2")
    assert BalanceSpec(300, 8, 0.2) == parse_balance("tool:cap=300", negatives=0.2, max_steps=8)
    assert BalanceSpec() == parse_balance(None) == parse_balance(" ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tools:cap=3", "'tools:cap=3' is not known"),
        ("tool=3", "'tool=3' is not known"),
        ("tool:cap=", "tool:cap= is no number"),
        ("tool:cap=many", "tool:cap=many is no number"),
        ("tool:cap=2.5", "is no whole number"),
        ("tool:cap=inf", "is no whole number"),
        ("tool:cap=0", "the limit of a tool is 0"),
        ("conversation:cap=-1", "the limit of a conversation is -1"),
        ("negatives=1", "the share of answers without a call is 1"),
        ("negatives=nan", "the share of answers without a call is nan"),
        ("tool:cap=1,tool:cap=2", "tool:cap is given twice"),
        ("negatives=0.1", "negatives is given twice"),
    ],
)
def test_what_cannot_be_read_is_named_with_a_way_to_write_it(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as caught:
        parse_balance(text, negatives=0.3 if text == "negatives=0.1" else None)

    assert "" != caught.value.hint


def test_the_lowest_ranks_of_a_group_stay_and_what_has_no_group_stays() -> None:
    groups, ranks = [1, 1, 1, 2, NO_GROUP, NO_GROUP], [30, 10, 20, 5, 1, 2]

    assert [0] == list(beyond_cap(groups, ranks, iter(range(6)), 2))
    assert [2] == list(beyond_cap(groups, ranks, iter([1, 2, 3]), 1))


def test_what_is_too_large_for_the_rest_of_a_limit_makes_room_for_what_is_not() -> None:
    ranks, sizes = [10, 20, 30, 40], [3, 4, 2, 1]

    assert [1, 3] == list(beyond_cap([1] * 4, ranks, iter(range(4)), 5, sizes.__getitem__))
    assert [1, 3] == list(surplus(range(4), ranks, 20, 0.2, sizes.__getitem__))
    assert [] == list(surplus(range(4), ranks, 40, 0.2, sizes.__getitem__))
