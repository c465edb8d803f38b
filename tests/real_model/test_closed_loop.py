"""The chain of the three tools, made by a real model by itself, with the simulated store in the place of its tools."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from examples.workbench_app import TOOLS
from tarx_toollog.replay.matching import Rule
from tarx_toollog.replay.running.asking import Overrides
from tarx_toollog.replay.running.runner import RunRequest, replay
from tarx_toollog.replay.running.server import Pace
from tarx_toollog.replay.scenario import GOLD, Scenario
from tarx_toollog.replay.suites.freeze import stored
from tarx_toollog.replay.turns.course import LoopOptions
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.replays import CLOSED_LOOP, Replays, ScoreRow
from tarx_toollog.store.suites import Suites
from tests.support.model_server import ModelServer
from tests.unit.replay.turns import Logged, code, turn

pytestmark = pytest.mark.real_model

RULES = {
    "tarx_remember": {"/key": Rule("present"), "/value": Rule("text")},
    "tarx_save_conversation": {"/summary": Rule("present")},
}
"""What to store is to have the same facts; under which key, and what the summary says, is left to the model."""


def chain(prompt: str, query: str, facts: dict[str, str], liked: str, title: str) -> Scenario:
    """Return a turn as somebody wrote it down who words things differently from the model."""
    recall = Logged("tarx_recall", {"query": query}, json.dumps({"facts": facts}))
    remember = Logged("tarx_remember", {"key": title, "value": liked}, json.dumps({"stored": True, "key": title}))
    save = Logged(
        "tarx_save_conversation", {"title": title, "summary": title}, json.dumps({"saved": True, "id": "conv-1"})
    )
    scenario = turn([recall], [remember], [save], user=prompt, rules=RULES, tools=TOOLS)
    return replace(scenario, tier=GOLD, conversation_uid=title)


CITY = {"city": "Lisbon"}
START = "First recall which city I live in, then remember that I like the"
CHAINS = [
    chain(f"{START} {liked} there, then save this conversation with the title {title}.",
          "city", CITY, f"in Lisbon the {liked}", title)
    for title, liked in (("Trams", "trams"), ("Parks", "parks"))
] + [
    chain("First recall what my cat is called, then remember that she likes tuna, then save this conversation with the "
          "title Cat food.", "cat", {"cat": "Miso"}, "tuna", "Cat food"),
]  # fmt: skip


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ToolLog]:
    with ToolLog.open(tmp_path / "t.db", read_only=False) as opened:
        Suites(opened).freeze("chains", [stored(scenario) for scenario in CHAINS], {})
        yield opened


def played(log: ToolLog, server: ModelServer, *, scale: float, options: LoopOptions) -> list[dict[str, ScoreRow]]:
    """Play all turns; return the scores of each."""
    overrides = Overrides(server.model, extra_body={"lora": [{"id": 0, "scale": scale}]})
    request = RunRequest("r", "chains", server.base_url, overrides, mode=CLOSED_LOOP, loop=options, pace=Pace.FAST)
    run = replay(log, request)
    return [dict(trial.scores) for trial in Replays(log).trials(run.id) if trial.scores]


def test_the_fine_tune_makes_the_chain_by_itself(model_server: ModelServer, log: ToolLog) -> None:
    found = played(log, model_server, scale=1.0, options=LoopOptions())

    assert [1.0] * len(CHAINS) == [scores["chain"].value for scores in found]
    assert [["exact", "simulated", "simulated"]] * len(CHAINS) == [
        [call["how"] for call in scores["chain"].detail["calls"]] for scores in found
    ]


def test_the_base_model_does_not(model_server: ModelServer, log: ToolLog) -> None:
    found = played(log, model_server, scale=0.0, options=LoopOptions())

    assert [0.0] * len(CHAINS) == [scores["chain"].value for scores in found]


def test_without_the_simulated_store_nobody_knows_what_becomes_of_other_words(
    model_server: ModelServer, log: ToolLog
) -> None:
    found = played(log, model_server, scale=1.0, options=LoopOptions(simulators=()))

    assert [(None, "diverged_undetermined")] * len(CHAINS) == [
        (scores["chain"].value, code(scores)) for scores in found
    ]
