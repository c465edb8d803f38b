"""Examples are held against the evaluation here or in a process of its own, with the same verdicts."""

import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tarx_toollog import ToolLog
from tarx_toollog.config import Settings
from tarx_toollog.errors import ToolLogError
from tarx_toollog.export import judge_process
from tarx_toollog.export.contamination import Contamination, EvalDocument
from tarx_toollog.export.example import Example, LearnedStep, Origin, Piece
from tarx_toollog.export.judge_process import JudgeProcess
from tarx_toollog.export.judging import Judge, JudgeHere, Question, Questions, evaluation
from tarx_toollog.export.options import ExportOptions
from tests.unit.cli.samples import Chat, call, good_chat, keep_for, write_log

OPTIONS = ExportOptions()
SYSTEM = Piece({"role": "system", "content": "You are TARX."})
SAID = Piece({"role": "assistant", "content": "Let me see."})
TESTED = Piece({"role": "user", "content": "How many candles are left in the cupboard under the stairs?"})
OTHER = Piece({"role": "user", "content": "Which of my friends has a birthday in the second week of May?"})


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ToolLog]:
    """A log of which one conversation is kept for evaluation."""
    settings = write_log(tmp_path / "log.db", good_chat("kept"), Chat("c", start_s=50).user("Hello?").answer("Hi."))
    with ToolLog.open(settings=settings, read_only=False) as opened:
        (uid,) = {one.conversation_uid for one in opened.trajectories() if one.signature}
        keep_for(opened, "eval", uid)
        yield opened


def example(*pieces: Piece, uid: str | None = "u", conversation: str | None = "c") -> Example:
    return Example(pieces, None, "tool", Origin(exchange_uid=uid, conversation_uid=conversation))


def verdicts(judge: Judge, *examples: Example) -> list[tuple[int, str]]:
    questions = Questions(judge)
    for key, one in enumerate(examples, 1):
        questions.ask(key, one)
    return list(judge.verdicts())


def judge() -> JudgeHere:
    return JudgeHere(Contamination([EvalDocument([TESTED.value], SAID.value)]))


def test_a_turn_of_the_evaluation_spoils_its_example_and_all_that_come_after_it() -> None:
    later, end = Piece(dict(OTHER.value)), Piece(dict(SAID.value))

    found = verdicts(
        judge(),
        example(SYSTEM, OTHER, SAID),
        example(SYSTEM, OTHER, SAID, TESTED, (asked := Piece(dict(SAID.value)))),
        example(SYSTEM, OTHER, SAID, TESTED, asked, later, end),
    )

    assert [(2, "near_scenario"), (3, "near_scenario")] == found


def test_an_earlier_turn_spoils_an_example_whose_dialogue_was_never_asked_about() -> None:
    assert [(1, "near_scenario")] == verdicts(judge(), example(TESTED, SAID, OTHER, Piece(dict(SAID.value))))


def test_an_earlier_step_of_a_dialogue_that_was_frozen_spoils_it() -> None:
    hello = {"role": "user", "content": "Hi"}
    tests = Contamination([EvalDocument([hello], SAID.value, "c", "frozen", is_scenario=True)])
    steps = [LearnedStep(place, Origin(exchange_uid=uid), None) for place, uid in ((1, "frozen"), (3, "u"))]
    dialogue = replace(
        example(Piece(hello), SAID, OTHER, Piece(dict(SAID.value)), conversation="d"), steps=tuple(steps)
    )

    assert [(1, "in_scenario")] == verdicts(JudgeHere(tests), dialogue)


def test_examples_of_files_may_share_messages_between_different_histories() -> None:
    shared = [example(first, SAID, OTHER, SAID, uid=None, conversation=None) for first in (OTHER, TESTED, OTHER)]

    assert [(2, "near_scenario")] == verdicts(judge(), *shared)


def test_a_process_of_its_own_gives_the_verdicts_of_this_one(
    log: ToolLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judge_process, "_BATCH", 2)
    said = {"role": "user", "content": "Hello! What is my cat called?"}
    calls = {"role": "assistant", "content": "", "tool_calls": [call("tarx_recall", '{"query": "cat"}')]}
    (kept,) = {one.conversation_uid for one in log.trajectories() if one.split == "eval"}
    examples = [
        example(OTHER, SAID),
        example(Piece(said), Piece(calls)),
        example(TESTED, SAID, conversation=kept),
        example(TESTED, SAID),
        example(Piece(said), Piece(calls), uid=None, conversation=None),
    ]
    apart = JudgeProcess(log.settings, OPTIONS, tmp_path)

    here, there = verdicts(JudgeHere(evaluation(log, OPTIONS)), *examples), verdicts(apart, *examples)
    apart.close()

    assert [(2, "near_scenario"), (3, "eval_conversation"), (5, "near_scenario")] == here
    assert here == there


def test_a_process_that_is_killed_is_told_with_its_signal(log: ToolLog, tmp_path: Path) -> None:
    judge = JudgeProcess(log.settings, OPTIONS, tmp_path)
    os.kill(judge._process.pid, signal.SIGKILL)

    with pytest.raises(ToolLogError, match="it was killed by signal 9"):
        verdicts(judge, example(OTHER, SAID))

    judge.close()


def test_a_process_that_cannot_read_the_log_says_why(tmp_path: Path) -> None:
    judge = JudgeProcess(Settings(database=str(tmp_path / "none.db")), OPTIONS, tmp_path)

    with pytest.raises(ToolLogError, match=r"StoreError: .*none\.db"):
        verdicts(judge, example(OTHER, SAID))

    judge.close()


def test_nobody_waits_for_a_process_that_is_not_needed_any_more(log: ToolLog, tmp_path: Path) -> None:
    judge = JudgeProcess(log.settings, OPTIONS, tmp_path)
    judge.ask(Question(0, None))

    judge.close()

    assert judge._process.returncode == -signal.SIGKILL
