"""The page about reliability names tests that exist, and the figures of the last kept runs."""

import json
import re
from pathlib import Path
from typing import Any

from bench.reliability import page

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reliability.md").read_text("utf-8")


def kept(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / f"bench/results/{name}.json").read_text("utf-8"))
    return found


def test_every_test_that_the_page_names_exists() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", PAGE)
    assert len(named) > 30
    missing = [
        f"{path}::{name}"
        for path, name in named
        if not (ROOT / path).is_file() or (name and f"def {name}(" not in (ROOT / path).read_text("utf-8"))
    ]
    assert [] == missing


def test_the_page_has_the_figures_of_the_kept_runs() -> None:
    assert page(PAGE) == PAGE
    kills, soak = kept("kills"), kept("soak")
    assert f"| {kills['random']['kills']} | {kills['random']['delivered']:,} | {kills['random']['lost']} |" in PAGE
    assert f"| asked | {soak['asked']:,} |" in PAGE


def test_other_figures_make_another_page(tmp_path: Path) -> None:
    for name, changed in (("kills", {"random": {**kept("kills")["random"], "lost": 77}}), ("soak", {"lost": 78})):
        (tmp_path / f"{name}.json").write_text(json.dumps(kept(name) | changed), "utf-8")
    text = page(PAGE, tmp_path)
    assert (True, True) == (" | 77 | " in text, "| lost | 78 |" in text)
