"""``toollog tools`` as a person and a program read it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.tool_log import write_tool_log
from tests.unit.cli.samples import run


@pytest.fixture(scope="module", autouse=True)
def _log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Make the log that the command line finds."""
    path: Path = tmp_path_factory.mktemp("cli-tools") / "t.db"
    write_tool_log(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TOOLLOG_DATABASE", str(path))
        yield


def test_a_tool_is_shown_as_text() -> None:
    shown = run("tools", "show", "weather").stdout

    assert shown.startswith("tool weather\n  calls           7, 3 failed (42.9 %)\n")
    assert "of the latest 3 failed calls" in shown
    assert "result is an error: " in shown
    assert '~ /description: "Say how the weather is." → "Say how it will be.' in shown
    assert '+ /parameters/properties/day: {"type": "string"}' in shown
    assert "- place (string, required)" in shown
    assert "place: given 5 times, string, 2 different values, length 4 to 5 (median 5)" in shown


def test_a_tool_is_an_object_for_a_program_with_the_same_figures_under_filters() -> None:
    found = json.loads(run("tools", "show", "weather", "--json").stdout)
    assert (7, 3) == (found["total"]["calls"], found["total"]["failed"])
    assert [5, 7] == [version["n_exchanges"] for version in found["versions"]]
    assert {"json": '"Porto"', "calls": 3} == found["arguments"][0]["values"][0]

    only = json.loads(run("tools", "show", "weather", "--since", "2026-10-01", "--jsonl").stdout)
    assert (2, 2) == (only["total"]["calls"], only["n_read"])


def test_a_tool_without_calls_and_one_that_is_none() -> None:
    quiet = run("tools", "show", "weather", "--until", "2026-01-01").stdout
    assert "never called" in quiet
    assert "7 exchanges, 2026-09-21" in quiet
    none = run("tools", "show", "nothing")
    assert "" == none.stdout
    assert "no tool 'nothing'" in none.stderr


def test_the_list_takes_every_filter() -> None:
    for given in (["--split", "dev"], ["--conversation", "talk-4"], ["--where", "is_bad = 1"], ["--label", "expected"]):
        rows = json.loads(run("tools", "list", *given, "--json").stdout)
        assert "tarx_remember" in {row["tool"] for row in rows}
        assert "weather" not in {row["tool"] for row in rows} or given[0] == "--where"
