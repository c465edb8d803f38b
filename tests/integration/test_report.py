"""``toollog report``: one screen for people, and the same figures for programs."""

import csv
import io
import json
from pathlib import Path

import pytest

from tarx_toollog import ToolLog
from tests.support.analyst_log import Talk, write_analyst_log
from tests.support.builders import assistant, call
from tests.unit.cli.samples import run

SCREEN = (40, 100)
"""Lines and characters that a report may have."""


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "t.db"
    write_analyst_log(path)
    return path


@pytest.fixture
def database(written: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TOOLLOG_DATABASE", str(written))
    return written


def lines(*arguments: str) -> list[str]:
    result = run("report", *arguments)
    assert 0 == result.exit_code, result.output
    return result.stdout.splitlines()


def test_a_report_says_how_much_there_is_and_what_went_wrong(database: Path) -> None:
    found = lines()
    assert [
        "period         2026-09-21 14:13 to 2026-10-05 14:14 UTC",
        "exchanges      24 (1 upstream_error)",
        "conversations  9",
        "calls          15, 26.7 % failed (4)",
        "               4 bad, 0 right with an error result",
        "               1 right without a result",
    ] == found[:6]
    (recall,) = (line.split() for line in found if line.startswith("tarx_recall "))
    assert ["tarx_recall", "6", "33.3", "%", "1", "0", "0", "0", "1", "1"] == recall
    assert ["calls", "that", "failed", "50.0", "%", "0.0", "%", "0.0", "%"] == next(
        line.split() for line in found if line.startswith("calls that failed")
    )
    assert "lost           3 exchanges (3 journal)" in found


def test_a_report_fits_on_one_screen(database: Path) -> None:
    found = lines()
    assert len(found) <= SCREEN[0]
    assert max(map(len, found)) <= SCREEN[1]


def test_a_report_as_json_has_a_version_and_the_filters(database: Path) -> None:
    found = json.loads("\n".join(lines("--tool", "tarx_remember", "--since", "2026-09-21", "--json")))
    assert 1 == found["version"]
    assert {"since": "2026-09-21T00:00:00+00:00", "tools": ["tarx_remember"]} == found["filters"]
    assert (5, 1, 1) == tuple(found["calls"][name] for name in ("n", "bad", "schema"))
    assert ["tarx_remember"] == [tool["tool"] for tool in found["tools"]]
    assert (None, None, None) == (found["exchanges"], found["turns"], found["answers"])
    assert {"journal": 3} == found["health"]["lost"]


def test_every_filter_narrows_a_report(database: Path) -> None:
    def calls(*filters: str) -> int:
        found: int = json.loads("\n".join(lines(*filters, "--json")))["calls"]["n"]
        return found

    assert [15, 6, 4, 3] == [
        calls(),
        calls("--tool", "tarx_recall"),
        calls("--since", "2026-10-01"),
        calls("--conversation", "talk-1"),
    ]
    assert [0, 1] == [calls("--outcome", "upstream_error"), calls("--where", "tool = 'tarx_fly'")]
    assert calls("--build", "base.gguf") + calls("--build", "tuned.gguf") == calls()
    assert (
        15 == calls("--model", "m-q4") == calls("--split", "train") + calls("--split", "dev") + calls("--split", "eval")
    )


def test_what_is_not_counted_under_a_filter_is_said(database: Path) -> None:
    assert "exchanges      not counted by tool, and with them context and latency" in lines("--tool", "tarx_recall")
    assert "turns          not counted by tool or model" in lines("--model", "m")


def test_the_number_of_tools_can_be_chosen(database: Path) -> None:
    assert "3 more: toollog tools list" in lines("-n", "1")
    assert 1 == len(json.loads("\n".join(lines("-n", "1", "--json")))["tools"])


def test_deep_steps_stand_in_one_column(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    talk = Talk(1, 0).says("Go on.")
    for number in range(9):
        talk.gets(assistant("", call("tarx_recall", {"query": "x"}, f"r{number}")), {"ok": True})
    with ToolLog.open(tmp_path / "deep.db", read_only=False) as log:
        log.write(talk.exchanges)
    monkeypatch.setenv("TOOLLOG_DATABASE", str(tmp_path / "deep.db"))
    found = lines()
    place = next(number for number, line in enumerate(found) if line.startswith("step of the turn"))
    assert ["1", "2", "3", "4", "5", "6", "7+"] == found[place].split()[4:]
    assert "3" == found[place + 2].split()[-1]


def test_a_report_as_csv_is_one_row(database: Path) -> None:
    (row,) = csv.DictReader(io.StringIO("\n".join(lines("--csv"))))
    assert ("1", "24", "9") == (row["version"], row["exchanges"], row["conversations"])


def test_a_report_of_an_empty_log_says_that_nothing_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ToolLog.open(tmp_path / "empty.db", read_only=False):
        pass
    monkeypatch.setenv("TOOLLOG_DATABASE", str(tmp_path / "empty.db"))
    assert "period         nothing has been recorded yet" == lines()[0]
