import re
from pathlib import Path

from tarx_toollog.replay.scorers import SCORERS
from tarx_toollog.replay.scorers.findings import CODES
from tarx_toollog.replay.suites.freeze import REASONS

TEXT = (Path(__file__).parents[3] / "docs" / "replay-reference.md").read_text("utf-8")


def rows(heading: str) -> list[str]:
    section = TEXT.split(f"## {heading}")[1].split("\n## ")[0]
    return re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)


def test_the_failure_codes_are_documented_in_their_order() -> None:
    assert rows("What goes wrong: the failure codes") == list(CODES)


def test_the_reasons_to_leave_something_out_are_documented() -> None:
    assert rows("Why a turn or a step is left out") == list(REASONS)


def test_every_scorer_is_documented() -> None:
    assert set(re.findall(r"^\| [^|(]+ \(`(\w+)`\) \|", TEXT, re.MULTILINE)) == set(SCORERS.names())
