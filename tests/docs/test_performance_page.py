"""The page about performance has the figures of the last kept runs, and says what was not reached."""

import json
from pathlib import Path

from bench.performance import block, page

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/performance.md").read_text("utf-8")


def test_the_page_has_the_figures_of_the_kept_runs() -> None:
    assert page(PAGE) == PAGE
    assert 6 == PAGE.count("| what | demand | measured |")


def test_what_is_not_reached_stands_there_as_not_reached(tmp_path: Path) -> None:
    facts = {"rounds": 5, "cores": 2, "python": "3.11", "versions": {"uvicorn": "1"}}
    found = {**facts, "errors": {"toollog": 0}, "total_ms": {"ratio": 1.09, "ratio_min_max": [1.01, 1.2]}}
    (tmp_path / "speed_streams.json").write_text(json.dumps(found), "utf-8")
    rows = block("streams", tmp_path).splitlines()[2:4]
    assert "| streams that broke | ≤ 0 | 0 |  | yes |" == rows[0]
    assert "| time of a stream, p50 | ≤ 1.08× | 1.09× | 1.01–1.2 | **not reached** |" == rows[1]


def test_what_was_not_measured_is_not_said_to_be_reached(tmp_path: Path) -> None:
    text = block("proxy", tmp_path)
    assert (3, False) == (text.count("| not measured |"), "yes" in text)
