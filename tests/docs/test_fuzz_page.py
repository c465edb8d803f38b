"""The figures of fuzzing on ``docs/torture.md`` are those of the last kept run, and say what libFuzzer said."""

import importlib.metadata
import json
from pathlib import Path
from typing import Any

import pytest

from bench import torture
from bench.torture import PAGE, PARTS, page
from fuzz.__main__ import RESULTS, TARGETS, Run, counts_of, figures


def block(text: str) -> str:
    """Return the part of the page about fuzzing."""
    (found,) = [match[0] for match in PARTS.finditer(text) if match[2] == "fuzz"]
    return found


def kept() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(RESULTS.read_text("utf-8"))
    return found


def test_the_page_holds_the_figures_of_the_kept_run() -> None:
    text = PAGE.read_text("utf-8")

    assert block(page(text)) == block(text)
    for name, target in kept()["targets"].items():
        assert f"| `{name}` | {kept()['seconds']} | {target['executions']:,} |" in text
    assert f"Revision {kept()['revision']}, atheris {kept()['atheris']}, Python {kept()['python']}." in text


def test_other_figures_make_another_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = kept()
    changed["targets"]["decode"] |= {"findings": 7, "coverage": None}
    (tmp_path / "fuzz.json").write_text(json.dumps(changed), "utf-8")
    monkeypatch.setattr(torture, "RESULTS", tmp_path)

    (row,) = [line for line in torture._fuzz().splitlines() if line.startswith("| `decode` |")]

    assert row.endswith(" 7 |")
    assert "| – |" in row


def test_the_kept_run_was_of_all_targets_and_found_nothing() -> None:
    targets = kept()["targets"]

    assert list(TARGETS) == list(targets)
    assert [(0, 0)] * len(TARGETS) == [(target["findings"], target["exit_code"]) for target in targets.values()]
    assert all(target["executions"] > 0 and target["features"] > 0 for target in targets.values())


def test_the_last_numbers_that_libfuzzer_told_are_read() -> None:
    report = "#2 INITED cov: 9 ft: 12 corp: 1/1b\n#7 DONE   cov: 11 ft: 15\nstat::number_of_executed_units: 7\n"

    assert (7, 11, 15) == counts_of(report)
    assert (None, None, None) == counts_of("libFuzzer: out of memory")


def test_a_run_is_kept_by_its_target_with_counts_in_place_of_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", {"atheris": "3.0.0"}.__getitem__)
    runs = [Run("decode", 7, 2, (Path("crash-1"),), 77, 11, 15), Run("store", 0, 0, (), 0)]

    made = figures(runs, 20)

    assert {"seconds", "targets", "revision", "atheris", "python"} == made.keys()
    assert {
        "decode": {
            "executions": 7,
            "corpus": 2,
            "coverage": 11,
            "features": 15,
            "findings": 1,
            "exit_code": 77,
        },
        "store": {
            "executions": 0,
            "corpus": 0,
            "coverage": None,
            "features": None,
            "findings": 0,
            "exit_code": 0,
        },
    } == made["targets"]
