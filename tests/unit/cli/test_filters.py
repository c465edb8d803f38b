from datetime import UTC, datetime, timedelta, timezone

import pytest

from tarx_toollog.errors import ConfigError
from tarx_toollog.store.filters import Filters, parse_time

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30m", NOW - timedelta(minutes=30)),
        ("24h", NOW - timedelta(hours=24)),
        ("7d", NOW - timedelta(days=7)),
        (" 2w ", NOW - timedelta(weeks=2)),
        ("2026-05-31", datetime(2026, 5, 31, tzinfo=UTC)),
        ("2026-05-31T14:00", datetime(2026, 5, 31, 14, tzinfo=UTC)),
        ("2026-05-31T14:00+02:00", datetime(2026, 5, 31, 12, tzinfo=UTC)),
        ("2026-05-31T14:00Z", datetime(2026, 5, 31, 14, tzinfo=UTC)),
    ],
)
def test_a_time_is_read_as_ago_or_as_an_iso_time_in_utc(text: str, expected: datetime) -> None:
    assert expected == parse_time(text, now=NOW)


@pytest.mark.parametrize("text", ["", "yesterday", "7", "7y", "-1d", "2026-13-01", "999999w", "1d2h"])
def test_anything_else_is_refused_with_a_hint_that_shows_what_can_be_written(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_time(text, now=NOW)

    assert repr(text) in caught.value.message
    assert "7d" in caught.value.hint


def test_filters_go_into_a_manifest_sorted_and_without_what_does_not_restrict() -> None:
    zone = timezone(timedelta(hours=2))
    filters = Filters(since=datetime(2026, 5, 31, tzinfo=zone), tools=frozenset({"b", "a"}), limit=3)

    assert {"since": "2026-05-31T00:00:00+02:00", "tools": ["a", "b"], "limit": 3} == filters.as_json()


def test_an_unknown_outcome_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError) as caught:
        Filters.parse(outcomes=["finished"])

    assert "completed" in caught.value.hint


def test_a_limit_below_one_is_refused() -> None:
    with pytest.raises(ConfigError):
        Filters.parse(limit=0)
