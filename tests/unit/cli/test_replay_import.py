"""``toollog replay import`` where there is no log yet: a person's tests need none."""

import json
from pathlib import Path

from tests.unit.cli.samples import run

TEST = {
    "messages": [{"role": "user", "content": "What is my cat called?"}],
    "tools": [{"type": "function", "function": {"name": "tarx_recall", "parameters": {"type": "object"}}}],
    "expected": {"calls": [{"name": "tarx_recall", "arguments": {}}]},
}


def test_without_a_database_it_says_how_to_make_one_and_that_is_all_it_takes(tmp_path: Path) -> None:
    file = tmp_path / "mine.jsonl"
    file.write_text(json.dumps(TEST), "utf-8")
    database = ("--database", str(tmp_path / "t.db"))
    wanted = (*database, "replay", "import", str(file), "--tag", "mine")

    refused = run(*wanted)

    assert 6 == refused.exit_code
    assert "hint: `toollog db upgrade` makes an empty one: tests from a file need no log" in refused.stderr
    assert not (tmp_path / "t.db").exists()
    assert 0 == run(*database, "db", "upgrade").exit_code
    assert 0 == run(*wanted).exit_code
