"""Base against fine-tune on a real model: from prompts that a person labelled to a gate and a comparison."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from examples import demo
from tarx_toollog.store.log import ToolLog
from tests.support.model_server import ModelServer
from tests.unit.cli.samples import run

pytestmark = pytest.mark.real_model

HELD_OUT = Path(__file__).parents[2] / "examples" / "local_model" / "heldout.jsonl"
SCALES = {"base": 0.0, "tuned": 1.0}
MAX_TOKENS = 48
"""The longest right call takes 45. What the base model says beyond that changes no verdict, and takes most time."""


def test_the_base_model_fails_the_fine_tune_passes_and_the_comparison_says_so(
    model_server: ModelServer, tmp_path: Path
) -> None:
    database = str(tmp_path / "t.db")
    ToolLog.open(database, read_only=False).close()

    def replay(*arguments: str) -> Any:
        return run("--database", database, "replay", *arguments)

    assert 0 == replay("import", str(HELD_OUT), "--tag", "heldout").exit_code
    for name, scale in SCALES.items():
        body = json.dumps({"lora": [{"id": 0, "scale": scale}], "max_tokens": MAX_TOKENS})
        target = ("--endpoint", model_server.base_url, "--model", model_server.model, "--extra-body", body)
        told = replay("run", "heldout", "--name", name, *target)
        assert 0 == told.exit_code, told.output
    gates = {name: replay("gate", name, "--min-accuracy", "0.8", "--json") for name in SCALES}
    compared = json.loads(replay("compare", "base", "tuned", "--json").stdout)

    found = {name: json.loads(told.stdout) for name, told in gates.items()}
    assert {"base": (4, "fail"), "tuned": (0, "pass")} == {
        name: (told.exit_code, found[name]["verdict"]) for name, told in gates.items()
    }
    assert found["base"]["chains"]["numerator"] <= 5
    assert found["tuned"]["chains"]["numerator"] >= 15
    assert ("better", [], []) == (compared["verdict"], compared["regressions"], compared["doubts"])
    assert 0.3 < compared["chains"]["low"] < compared["chains"]["difference"]
    report = replay("report", "tuned").output
    assert "gold: a person said what is right; the figures are accuracy." in report
    assert "chain accuracy" in report


def test_the_log_of_the_demo_is_replayed_compared_gated_and_reported(
    model_server: ModelServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    database = str(tmp_path / "t.db")
    monkeypatch.setattr(demo, "OUT", tmp_path)
    monkeypatch.setattr(demo, "CONVERSATIONS", demo.CONVERSATIONS[:3])  # the third is a chain of three calls
    folder = {"TOOLLOG_DATABASE": database, "WORKBENCH_STORE": str(tmp_path / "workbench.db")}
    monkeypatch.setattr(demo, "ENV", {**os.environ, **folder})
    with demo.workbench(model_server.base_url) as url:
        demo.talk(url, model_server.model)

    def replay(*arguments: str) -> Any:
        return run("--database", database, "replay", *arguments)

    splits = [part for split in ("train", "dev", "eval") for part in ("--split", split)]
    built = json.loads(replay("build", "--tag", "demo", *splits, "--json").stdout)
    for name, scale in SCALES.items():
        body = json.dumps({"lora": [{"id": 0, "scale": scale}], "max_tokens": MAX_TOKENS})
        target = ("--endpoint", model_server.base_url, "--model", model_server.model, "--extra-body", body)
        assert 0 == replay("run", "demo", "--name", name, *target).exit_code
    compared = json.loads(replay("compare", "base", "tuned", "--json").stdout)
    gates = {name: json.loads(replay("gate", name, "--json").stdout) for name in SCALES}
    page = tmp_path / "report.html"
    report = replay("report", "tuned", "--html", str(page), "--against", "base")

    assert built["taken"] >= 3
    assert "better" == compared["verdict"] or compared["chains"]["difference"] > 0
    assert {"base": "agreement", "tuned": "agreement"} == {name: found["kind"] for name, found in gates.items()}
    assert "fail" == gates["base"]["verdict"] or gates["base"]["chains"]["estimate"] < 0.5
    assert gates["tuned"]["chains"]["numerator"] > gates["base"]["chains"]["numerator"]
    assert "agreement with the log, not accuracy" in report.output
    assert "How deep it goes" in page.read_text("utf-8")
