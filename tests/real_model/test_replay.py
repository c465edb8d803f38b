"""Base against fine-tune on a real model: from prompts that a person labelled to a gate and a comparison."""

import json
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog.store.log import ToolLog
from tests.support.model_server import ModelServer
from tests.unit.cli.samples import run

pytestmark = pytest.mark.real_model

HELD_OUT = Path(__file__).parents[2] / "examples" / "local_model" / "heldout.jsonl"
SCALES = {"base": 0.0, "tuned": 1.0}


def test_the_base_model_fails_the_fine_tune_passes_and_the_comparison_says_so(
    model_server: ModelServer, tmp_path: Path
) -> None:
    database = str(tmp_path / "t.db")
    ToolLog.open(database, read_only=False).close()

    def replay(*arguments: str) -> Any:
        return run("--database", database, "replay", *arguments)

    assert 0 == replay("import", str(HELD_OUT), "--tag", "heldout").exit_code
    for name, scale in SCALES.items():
        body = json.dumps({"lora": [{"id": 0, "scale": scale}]})
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
