"""Effects that tools' names suggest."""

import doctest
from types import ModuleType

import pytest

from tarx_toollog.replay.results import Effect, effect_of, keys, outcome, recording, suggest_effect


@pytest.mark.parametrize(
    "name",
    ["tarx_recall", "get_weather", "getWeather", "search", "list_files", "mcp__notes__find_note", "fs.read_file",
     "show_cart", "query", "memory_search", "GETStatus", "notes/view"],
)  # fmt: skip
def test_a_name_that_says_so_is_a_read(name: str) -> None:
    assert "read" == suggest_effect(name)


@pytest.mark.parametrize(
    "name",
    ["tarx_remember", "tarx_save_conversation", "", "cd", "get_or_create_user", "find_and_replace", "list_add",
     "playlist_list_shuffle", "mailing_list", "check_in", "read_next", "ready", "getaway",
     "settings", "recall-all-and-drop"],
)  # fmt: skip
def test_a_name_in_doubt_is_a_write(name: str) -> None:
    assert "write" == suggest_effect(name)


def test_a_declaration_wins_over_the_name() -> None:
    declared: dict[str, Effect] = {"get_token": "write", "cd": "idempotent"}

    assert ["write", "idempotent", "read"] == [effect_of(name, declared) for name in ("get_token", "cd", "get")]


@pytest.mark.parametrize("module", [recording, keys, outcome])
def test_examples_in_the_docstrings_run(module: ModuleType) -> None:
    assert doctest.testmod(module).failed == 0
    assert doctest.testmod(module).attempted > 0
