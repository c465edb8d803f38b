"""Accepting answers of runs: right from then on, wherever the same is asked, and the suites stay what they are."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog.cli.replay_suites import accept as accept_command
from tarx_toollog.errors import ConfigError, NothingMatchedError
from tarx_toollog.replay.matching import Call
from tarx_toollog.replay.overlay import accepted_overlay
from tarx_toollog.replay.reports.comparison import compare_runs
from tarx_toollog.replay.running.asking import Overrides
from tarx_toollog.replay.running.runner import RunRequest, replay
from tarx_toollog.replay.scoring import scenarios_of, score_run
from tarx_toollog.replay.suites.accepting import accept
from tarx_toollog.replay.suites.freeze import build
from tarx_toollog.store.labels import ASK, Labels
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.replays import CLOSED_LOOP, Replays
from tarx_toollog.store.suites import Suites
from tests.unit.replay.labelling import OK, Typed, ask, exchanges, expect, other_than_logged, right_steps, talk
from tests.unit.replay.support import EVERY_SPLIT, Chat, Json, calling, fake_model, saying

HOME = ("recall", {"query": "home"})
OTHER = ("remember", {"text": "home"})


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ToolLog]:
    with ToolLog.open(tmp_path / "t.db", read_only=False) as opened:
        yield opened


@pytest.fixture
def asked(log: ToolLog) -> ToolLog:
    """A suite of two turns, in two suites, and three runs that call another tool."""
    for user in ("home?", "and work?"):
        talk(Chat(log, user), user, (calling(HOME), OK), (saying("Porto"), ""))
    build(log, "t", EVERY_SPLIT)
    talk(Chat(log, "more"), "more", (calling(HOME), OK), (saying("Porto"), ""))
    build(log, "u", EVERY_SPLIT)
    for name, tag in (("a", "t"), ("b", "t"), ("c", "u")):
        ask(log, name, other_than_logged, tag)
    return log


def wrong_answer(log: ToolLog, name: str) -> str:
    replays = Replays(log)
    wrong = [trial for trial in replays.trials(replays.run(name).id) if trial.scores["step"].value == 0.0]
    uid = wrong[0].exchange_uid
    assert uid is not None
    return uid


def test_what_is_accepted_is_right_in_every_run_of_every_suite_that_asks_the_same(asked: ToolLog) -> None:
    assert [(2, 4), (2, 4), (3, 6)] == [right_steps(asked, name) for name in "abc"]
    suites = [Suites(asked).suite(name) for name in "tu"]
    done = accept(asked, wrong_answer(asked, "a"), by="ann", comment="as good")

    assert ("a", 1, 2, ("b", "c")) == (done.run, done.step_no, done.rescored, done.other_runs)
    assert [(3, 4), (2, 4), (3, 6)] == [right_steps(asked, name) for name in "abc"]
    assert (4, 6) == (score_run(asked, "b"), score_run(asked, "c"))
    assert [(3, 4), (3, 4), (4, 6)] == [right_steps(asked, name) for name in "abc"]
    assert suites == [Suites(asked).suite(name) for name in "tu"]
    (label,) = Labels(asked).labels(name="also_right")
    assert ("exchange", done.exchange_uid, 1.0, "as good", "ann", "human") == (
        label.target_type, label.target_uid, label.value_num, label.comment, label.annotator, label.annotator_kind
    )  # fmt: skip


def test_a_run_that_goes_on_meanwhile_counts_what_is_accepted(asked: ToolLog) -> None:
    answers = 0

    def accepting(body: Json) -> Json:
        nonlocal answers
        answers += 1
        if answers == 4:  # the last step of the run: what it says to the accepted one is judged already
            accept(asked, wrong_answer(asked, "a"), by="ann")
        return other_than_logged(body)

    ask(asked, "meanwhile", accepting)
    assert (3, 4) == right_steps(asked, "meanwhile")


def test_a_later_run_knows_what_was_accepted_and_forgets_what_was_taken_back(asked: ToolLog) -> None:
    done = accept(asked, wrong_answer(asked, "a"), by="ann")
    ask(asked, "later", other_than_logged)
    assert (3, 4) == right_steps(asked, "later")
    Labels(asked).withdraw(done.label_id, "ann")
    for name in ("a", "later"):
        score_run(asked, name)
    assert [(2, 4), (2, 4)] == [right_steps(asked, name) for name in ("a", "later")]


def test_what_lies_over_a_suite_has_a_name(asked: ToolLog) -> None:
    assert (0, "") == (accepted_overlay(asked, "t").n_answers, accepted_overlay(asked, "t").hash)
    accept(asked, wrong_answer(asked, "a"), by="ann")
    one = accepted_overlay(asked, "t")
    assert (1, one) == (one.n_answers, accepted_overlay(asked, "u"))  # both ask it
    accept(asked, wrong_answer(asked, "b"), by="bob")  # the same answer again, of another run: there it is still wrong
    assert one == accepted_overlay(asked, "t")
    accept(asked, wrong_answer(asked, "a"), by="ann")
    assert (2, True) == (accepted_overlay(asked, "t").n_answers, accepted_overlay(asked, "t").hash != one.hash)


def test_what_is_right_already_or_no_answer_of_a_run_cannot_be_accepted(asked: ToolLog) -> None:
    uid = wrong_answer(asked, "a")
    accept(asked, uid, by="ann")
    with pytest.raises(ConfigError, match="right already"):
        accept(asked, uid, by="bob")
    with pytest.raises(NothingMatchedError, match="no answer of a replay run"):
        accept(asked, exchanges(asked)[0], by="ann")
    assert 1 == len(Labels(asked).labels())


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (calling(("recall", "{query")), "cannot be read"),
        (calling(("fly", {})), "nobody could carry out"),
        (saying(" "), "empty"),
    ],
    ids=["arguments that are no JSON", "a tool that was not offered", "nothing"],
)
def test_an_answer_that_would_not_work_cannot_be_accepted(asked: ToolLog, answer: Json, why: str) -> None:
    ask(asked, "odd", lambda _: answer)
    with pytest.raises(ConfigError, match=why):
        accept(asked, wrong_answer(asked, "odd"), by="ann")


def test_a_call_is_accepted_where_a_question_is_expected_and_a_text_where_a_call_is(log: ToolLog) -> None:
    talk(Chat(log, "c"), "send it", (calling(HOME), OK))
    talk(Chat(log, "d"), "home?", (calling(HOME), OK))
    expect(log, exchanges(log)[0], ASK)
    build(log, "t", EVERY_SPLIT)
    ask(log, "a", lambda body: calling(OTHER) if body["messages"][-1]["content"] == "send it" else saying("Porto"))
    assert (0, 2) == right_steps(log, "a")
    for number in (1, 2):
        accept(log, wrong_answer(log, "a"), by="ann")
        assert (number, 2) == right_steps(log, "a")


def test_an_answer_of_a_closed_loop_cannot_be_accepted_and_its_turns_are_scored_again_as_turns(asked: ToolLog) -> None:
    replays = Replays(asked)
    with fake_model(other_than_logged) as model:
        replay(asked, RunRequest("loop", "t", model.url, Overrides("m"), mode=CLOSED_LOOP))
    before = list(replays.trials(replays.run("loop").id))
    with pytest.raises(ConfigError, match="closed loop"):
        accept(asked, str(before[0].exchange_uid), by="ann")
    replays.replace_scores({trial.id: {} for trial in before})
    assert len(before) == score_run(asked, "loop")
    assert before == list(replays.trials(replays.run("loop").id))
    assert [0.0, 0.0] == [trial.scores["chain"].value for trial in before if "chain" in trial.scores]


def test_what_was_accepted_is_an_alternative_of_the_step(asked: ToolLog) -> None:
    accept(asked, wrong_answer(asked, "a"), by="ann")
    run = Replays(asked).run("a")
    assert [((Call(*OTHER),),)] == [
        step.alternatives for _, scenario in scenarios_of(asked, run) for step in scenario.steps if step.alternatives
    ]


def test_accepting_by_exchange_or_by_place(asked: ToolLog, capsys: pytest.CaptureFixture[str]) -> None:
    typed = Typed(asked, capsys)
    text = typed(accept_command, wrong_answer(asked, "a"), "--by", "ann")
    assert "2 answers of a scored again" in text
    assert "it changes 2 other runs: toollog replay score b, toollog replay score c" in text
    place = next(
        row.uid for row in Suites(asked).scenarios("t") if any(t.scenario_id == row.id for t in _wrong(asked, "a"))
    )
    found = typed.json(accept_command, "--run", "a", "--scenario", place, "--step", "1", "--by", "ann")
    assert ("a", 2) == (found["run"], found["rescored"])
    assert (4, 4) == right_steps(asked, "a")
    for wrong in ((), ("x", "--run", "a"), ("--run", "a", "--step", "1")):
        typed(accept_command, *wrong, code=2)
    typed(accept_command, "--run", "a", "--scenario", place, "--step", "9", code=3)


def _wrong(log: ToolLog, name: str) -> list[Any]:
    replays = Replays(log)
    return [trial for trial in replays.trials(replays.run(name).id) if trial.scores["step"].value == 0.0]


def test_runs_that_were_judged_before_and_after_are_not_compared_without_a_doubt(asked: ToolLog) -> None:
    accept(asked, wrong_answer(asked, "a"), by="ann")
    before = compare_runs(asked, "a", "b")
    assert any("b was judged before answers were accepted" in doubt for doubt in before.doubts)
    assert not any("a was judged" in doubt for doubt in before.doubts)

    score_run(asked, "b")
    after = compare_runs(asked, "a", "b")
    assert ((1, 0), (0, 0)) == tuple((one.chains.only_first, one.chains.only_second) for one in (before, after))
    assert not any("was judged" in doubt for doubt in after.doubts)
