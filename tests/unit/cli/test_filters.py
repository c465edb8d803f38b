from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone

import click
import pytest

from tarx_toollog.cli.main import cli
from tarx_toollog.errors import ConfigError
from tarx_toollog.store.filters import Filters, parse_time

ALL_FILTERS = (
    *("--since", "--until", "--tool", "--model", "--build", "--outcome", "--split", "--conversation"),
    *("--label", "--where", "--limit"),
)
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


def test_a_manifest_says_all_that_is_needed_to_mean_the_same_again() -> None:
    filters = Filters.parse(
        since="2026-05-31",
        tools=["a"],
        models=["m"],
        builds=["b"],
        outcomes=["completed"],
        splits=["eval"],
        conversation="c",
        labels=["quality=bad"],
        where="n_tools > 1",
        limit=3,
    )

    assert filters == Filters.parse(**filters.as_json())
    assert ("n_tools > 1", ["quality=bad"]) == (filters.as_json()["where"], filters.as_json()["labels"])


def test_a_label_without_a_name_is_refused() -> None:
    with pytest.raises(ConfigError, match="has no name"):
        Filters.parse(labels=["=bad"])


def test_an_unknown_outcome_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError) as caught:
        Filters.parse(outcomes=["finished"])

    assert "completed" in caught.value.hint


def test_a_limit_below_one_is_refused() -> None:
    with pytest.raises(ConfigError):
        Filters.parse(limit=0)


def filter_options_of(command: click.Command) -> set[str]:
    """Return the names of the options of a command that say which part of the log is meant."""
    names = {name for option in command.params for name in option.opts}
    return names & {*ALL_FILTERS}


def commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            child = command.get_command(click.Context(command), name)
            assert child is not None, f"{path} {name}"
            yield from commands(child, f"{path} {name}")


def test_every_command_that_takes_a_filter_takes_them_all() -> None:
    taking = {path: filter_options_of(command) for path, command in commands(cli, "toollog")}
    taking = {path: names for path, names in taking.items() if "--since" in names}

    assert {path: set() for path in taking} == {path: {*ALL_FILTERS} - names for path, names in taking.items()}
    assert set() == {"toollog log list", "toollog log tail", "toollog log search", "toollog tools list"} - taking.keys()
    assert set() == {"toollog conversations list", "toollog report", "toollog export run"} - taking.keys()
    assert set() == {"toollog replay build", "toollog labels queue"} - taking.keys()
