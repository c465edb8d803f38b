"""Replaying the recorded answers scores 100 %: on any conversation, through the decoder, store and scorers."""

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tarx_toollog.errors import NothingMatchedError
from tarx_toollog.replay.reports.report import build_report
from tarx_toollog.replay.running.asking import Overrides
from tarx_toollog.replay.running.runner import RunRequest, replay
from tarx_toollog.replay.scenario import CORRECTED, Scenario
from tarx_toollog.replay.suites.freeze import build
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.replays import Replays
from tarx_toollog.store.suites import Suites
from tests.unit.replay.support import EVERY_SPLIT, Chat, Json, calling, saying

TEXT = st.text(max_size=12)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
ARGUMENTS = {
    "recall": st.fixed_dictionaries({"query": TEXT}, optional={"limit": st.integers(), "more": VALUES}),
    "remember": st.fixed_dictionaries({"text": TEXT}, optional={"kind": st.sampled_from(["fact", "wish"])}),
    "save": st.fixed_dictionaries({"title": TEXT}, optional={"tags": st.lists(TEXT, max_size=3)}),
    # Sometimes wrong, so that what must not become an expectation is among the traffic.
    "made_up": st.fixed_dictionaries({"x": VALUES}),
}


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, Any]:
    name = draw(st.sampled_from(["recall", "remember", "save", "recall", "remember", "save", "made_up"]))
    arguments = draw(ARGUMENTS[name])
    return name, draw(st.sampled_from([arguments, arguments, arguments, "{broken"]))


ANSWERS = st.lists(calls(), min_size=1, max_size=4).map(lambda made: calling(*made)) | TEXT.map(saying)
TURNS = st.lists(st.tuples(TEXT, st.lists(ANSWERS, min_size=1, max_size=4)), min_size=1, max_size=3)


@given(TURNS)
def test_replaying_the_recorded_answers_agrees_wherever_they_are_expected(turns: list[tuple[str, list[Json]]]) -> None:
    with tempfile.TemporaryDirectory() as folder, ToolLog.open(Path(folder) / "t.db", read_only=False) as log:
        chat = Chat(log, "c")
        for number, (user, answers) in enumerate(turns):
            chat.turn(f"{number} {user}", *answers)
        build(log, "t", EVERY_SPLIT)
        try:
            rows = Suites(log).scenarios("t")
        except NothingMatchedError:
            return  # nothing of it could be an expectation
        replay(log, RunRequest("r", "t", "recorded:", Overrides("base")))
        report = build_report(log, "r")
        trials = list(Replays(log).trials(report.run.id))
    # Where a retry took the place of what went wrong, the recorded answer is not the expected one.
    corrected = {
        (row.id, step.step_no)
        for row, scenario in ((row, Scenario.from_json(row.definition)) for row in rows)
        for step in scenario.steps
        if (step.tier or scenario.tier) == CORRECTED
    }
    assert report.asked.total > 0
    assert (report.asked.asked, report.asked.infra_errors, report.asked.model_errors) == (report.asked.total, 0, 0)
    assert report.scorers["step"].denominator == report.asked.total
    for trial in trials:
        if (trial.scenario_id, trial.step_no) not in corrected:
            assert {name: score.value for name, score in trial.scores.items() if score.value not in (None, 1.0)} == {}
    assert corrected or report.chains.numerator == report.chains.denominator
