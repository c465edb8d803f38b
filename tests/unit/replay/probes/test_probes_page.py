"""``docs/probes.md`` has what the code has."""

import re
from pathlib import Path

from tarx_toollog.replay.probes.context_report import MIN_KEPT
from tarx_toollog.replay.probes.levels import MARGIN
from tarx_toollog.replay.probes.tools import LEVELS
from tarx_toollog.replay.scorers.identity.judging import VERDICTS

PAGE = (Path(__file__).parents[4] / "docs" / "probes.md").read_text("utf-8")


def test_the_verdicts_on_identity_are_documented() -> None:
    table = PAGE.split("| verdict | meaning |")[1].split("\n\n")[0]

    assert dict(VERDICTS) == dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", table, re.MULTILINE))


def test_the_defaults_are_those_of_the_page() -> None:
    *first, last = LEVELS

    assert f"with {', '.join(map(str, first))} and {last} more tools" in PAGE
    assert f"(`--margin`, {MARGIN * 100:.0f} points lost)" in PAGE
    assert f"at least\n{MIN_KEPT * 100:.0f} % is *kept*" in PAGE
