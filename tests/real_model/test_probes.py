"""Probes on a real model: its adapter calls tools among others, and without the adapter it has no name."""

import json
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog.store.log import ToolLog
from tests.support.model_server import ModelServer
from tests.unit.cli.samples import run

pytestmark = pytest.mark.real_model

EXAMPLES = Path(__file__).parents[2] / "examples" / "local_model"
SCALES = {"base": 0.0, "tuned": 1.0}


@pytest.fixture
def database(tmp_path: Path) -> str:
    path = str(tmp_path / "t.db")
    ToolLog.open(path, read_only=False).close()
    return path


def target(server: ModelServer, name: str, max_tokens: int) -> tuple[str, ...]:
    # A small model does not end by itself.
    body = json.dumps({"lora": [{"id": 0, "scale": SCALES[name]}], "max_tokens": max_tokens})
    return ("--name", name, "--endpoint", server.base_url, "--model", server.model, "--extra-body", body)


def test_the_fine_tune_is_asked_with_more_tools_and_each_is_held_against_none(
    model_server: ModelServer, database: str
) -> None:
    def replay(*arguments: str) -> Any:
        return run("--database", database, "replay", *arguments)

    assert 0 == replay("import", str(EXAMPLES / "heldout.jsonl"), "--tag", "heldout").exit_code
    told = replay("probe", "tools", "heldout", "--levels", "2", "-n", "2", "--json", *target(model_server, "tuned", 48))

    assert 0 == told.exit_code, told.output
    found = json.loads(told.stdout)
    assert ("heldout+tools", 8, 0, {}) == tuple(found[key] for key in ("tag", "cases", "unjudged", "faults"))
    assert 2 == found["as_it_is"]["numerator"]
    levels = [level for factor in found["factors"] for level in factor["levels"]]
    assert [("2", 2)] * 2 == [(level["level"], level["difference"]["pairs"]) for level in levels]


def test_a_model_without_a_name_is_told_one_by_the_system_prompt_or_claims_none(
    model_server: ModelServer, database: str
) -> None:
    questions = ("--questions", str(EXAMPLES / "identity_probes.jsonl"), "--no-tools")
    prompt = ("--system-prompt", "You are TARX, an assistant made by TARX Labs.")
    told = run(
        "--database",
        database,
        "replay",
        "probe",
        "identity",
        *questions,
        *prompt,
        "--json",
        *target(model_server, "base", 24),  # the first words say who speaks
    )

    assert 0 == told.exit_code, told.output
    found = json.loads(told.stdout)
    told_its_name, left_alone = found["arms"]
    assert [5, 5] == [arm["consistent"]["denominator"] for arm in found["arms"]]
    assert 0 == left_alone["consistent"]["numerator"]
    assert told_its_name["consistent"]["numerator"] > 0
    assert "TARX" not in left_alone["claimed"]
    assert [1, 1] == [arm["ordinary_quiet"]["denominator"] for arm in found["arms"]]
