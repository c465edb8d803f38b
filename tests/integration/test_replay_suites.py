"""Suites from a real log: what is frozen, what stands for what, what is wrong with it, and what is accepted later."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog.cli.labels import group as labels_group
from tarx_toollog.cli.replay_suites import build as build_command
from tarx_toollog.cli.replay_suites import lint as lint_command
from tarx_toollog.errors import ConfigError, NothingMatchedError
from tarx_toollog.replay.scenario import Scenario
from tarx_toollog.replay.suites.freeze import build
from tarx_toollog.replay.suites.label_queue import RUNS_DISAGREE, queue
from tarx_toollog.store.labels import ASK, Labels
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.suites import Suites
from tests.unit.replay.labelling import FAILED, OK, Typed, ask, exchanges, expect, other_than_logged, say, talk
from tests.unit.replay.support import EVERY_SPLIT, Chat, calling, saying

HOME = ("recall", {"query": "home"})
WRONG = ("recall", {"query": 1})
OTHER = ("remember", {"text": "home"})


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ToolLog]:
    with ToolLog.open(tmp_path / "t.db", read_only=False) as opened:
        yield opened


@pytest.fixture
def mixed(log: ToolLog) -> ToolLog:
    """A log with twelve turns that went well, and six whose call no tool could take."""
    for number in range(12):
        talk(Chat(log, f"good {number}"), f"home {'x' * number}?", (calling(HOME), OK), (saying("Porto"), ""))
    for number in range(6):
        talk(Chat(log, f"bad {number}"), f"where {'y' * number}?", (calling(WRONG), FAILED), (saying("no"), ""))
    return log


def first_steps(log: ToolLog, user: str) -> list[str]:
    """Return the exchanges that open the turns whose user says something that begins so."""
    found = [turn.steps[0] for turn in log.trajectories(EVERY_SPLIT)]
    return [step.exchange_uid for step in found if step.messages[-1]["content"].startswith(user)]


def weights(log: ToolLog, tag: str) -> dict[str | None, list[float]]:
    found: dict[str | None, list[float]] = {}
    for row in Suites(log).scenarios(tag):
        found.setdefault(row.stratum, []).append(row.weight)
    return found


# ---- build ----------------------------------------------------------------------------------------------------------


def test_turns_that_went_wrong_are_counted_and_not_covered_until_somebody_labels_them(mixed: ToolLog) -> None:
    report = build(mixed, "before", EVERY_SPLIT)
    assert (18, 18, 6, 6 / 18) == (report.turns, report.taken, report.needs_label, report.uncovered)
    assert "label 6 turns: toollog labels queue --tag before" == report.next_step

    for uid in first_steps(mixed, "where")[:2]:
        expect(mixed, uid, {"name": "recall", "arguments": {"query": "home"}})
    after = build(mixed, "after", EVERY_SPLIT)
    assert (18, 4, 0.0) == (after.taken, after.needs_label, after.uncovered)
    assert {"bronze": (18, 30), "gold": (0, 2)} == dict(after.tiers)
    assert {"2 steps, ok, recall": [1.0] * 12, "2 steps, bad decision, recall": [1.0] * 6} == weights(mixed, "after")


def test_what_a_person_corrects_stays_with_its_kind(mixed: ToolLog) -> None:
    build(mixed, "before", EVERY_SPLIT)
    well = [turn.steps[0] for turn in mixed.trajectories(EVERY_SPLIT) if turn.steps[0].tool_calls]
    uid = next(step.exchange_uid for step in well if not any(call.result_is_error for call in step.tool_calls))
    expect(mixed, uid, {"name": "recall", "arguments": {"query": "elsewhere"}})
    report = build(mixed, "after", EVERY_SPLIT)
    assert dict(report.tiers)["gold"] == (0, 1)
    assert {name: len(found) for name, found in weights(mixed, "before").items()} == {
        name: len(found) for name, found in weights(mixed, "after").items()
    }


def test_labelled_failures_stand_for_the_others_of_their_kind(log: ToolLog) -> None:
    for number in range(5):
        talk(Chat(log, str(number)), f"where {'y' * number}?", (saying(" "), ""))
    for uid in exchanges(log)[:2]:
        expect(log, uid, ASK)
    report = build(log, "t", EVERY_SPLIT)
    assert {"1 step, bad decision, no tool": [2.5, 2.5]} == weights(log, "t")
    assert ((5, 2, 3), 0.0) == (
        (report.strata[0].turns, len(report.strata[0].drawn), report.strata[0].needs_label), report.uncovered
    )  # fmt: skip
    definition = Suites(log).scenarios("t")[0].definition
    assert (True, "gold", {"ask": True}) == (
        Scenario.from_json(definition).steps[0].asks, definition["tier"], definition["steps"][0]["expected"]
    )  # fmt: skip


def test_a_sample_takes_some_of_each_kind_with_their_weights_and_is_the_same_again(mixed: ToolLog) -> None:
    report = build(mixed, "s", EVERY_SPLIT, sample=6)
    assert (18, 6, 6) == (report.turns, report.taken, report.sample)
    assert {"2 steps, ok, recall": [3.0] * 4, "2 steps, bad decision, recall": [3.0] * 2} == weights(mixed, "s")
    assert not build(mixed, "s", EVERY_SPLIT, sample=6).is_new
    drawn = [row.definition for row in Suites(mixed).scenarios("s")]
    build(mixed, "all", EVERY_SPLIT)
    everything = {Scenario.from_json(row.definition).content_hash for row in Suites(mixed).scenarios("all")}
    assert everything > {Scenario.from_json(one).content_hash for one in drawn}
    with pytest.raises(ConfigError, match="no place for each of 2"):
        build(mixed, "tiny", EVERY_SPLIT, sample=1)


def test_a_turn_that_did_not_complete_keeps_the_steps_that_did(log: ToolLog) -> None:
    chat = Chat(log, "c")
    talk(chat, "home?", (calling(HOME), OK))
    chat._exchange({"error": {"message": "gone", "code": 500}}, 500)
    report = build(log, "t", EVERY_SPLIT)
    (row,) = Suites(log).scenarios("t")
    scenario = Scenario.from_json(row.definition)
    assert ([1], [(2, "not_completed")]) == (
        [step.step_no for step in scenario.steps], [(left.step_no, left.reason) for left in scenario.omitted]
    )  # fmt: skip
    assert ("2 steps, not completed, recall", 1) == (row.stratum, report.needs_label)


def test_what_a_suite_was_made_from_is_kept_with_it(mixed: ToolLog) -> None:
    report = build(mixed, "t", EVERY_SPLIT, sample=4)
    made = Suites(mixed).suite("t")
    assert made is not None
    assert report.made() == made.made
    assert {"splits": ["dev", "eval", "train"]} == made.made["filters"]
    assert [12, 6] == [stratum["turns"] for stratum in made.made["strata"]]


def test_near_duplicates_of_two_conversations_are_one_cluster(log: ToolLog) -> None:
    for number, said in enumerate(("order 17?", "Order 18!", "something else")):
        talk(Chat(log, str(number)), said, (calling(HOME), OK), (saying("ok"), ""))
    build(log, "t", EVERY_SPLIT)
    found = {row.definition["messages"][0]["content"]: row.cluster for row in Suites(log).scenarios("t")}
    assert found["order 17?"] == found["Order 18!"] is not None
    assert found["something else"] is None


# ---- the queue ------------------------------------------------------------------------------------------------------


def test_the_queue_has_what_needs_a_label_rare_tools_and_long_chains_first(mixed: ToolLog) -> None:
    talk(Chat(mixed, "rare"), "save", (calling(("save", {"title": 1})), FAILED), (saying("no"), ""))
    deep = [(calling(HOME), OK)] * 3
    talk(Chat(mixed, "deep"), "dig", *deep, (calling(WRONG), FAILED), (saying("no"), ""))
    build(mixed, "t", EVERY_SPLIT)
    found = queue(mixed, EVERY_SPLIT, "t")
    assert ["save", "dig"] == [entry.user_text for entry in found[:2]]
    assert (8, {"logged_call_is_bad"}) == (len(found), {entry.reason for entry in found})
    expect(mixed, found[0].exchange_uid, {"content": "Saved."})
    assert found[1:] == queue(mixed, EVERY_SPLIT, "t")


def test_the_queue_of_a_suite_has_its_turns_and_what_its_runs_did_otherwise(mixed: ToolLog) -> None:
    build(mixed, "t", EVERY_SPLIT)
    build(mixed, "eval", EVERY_SPLIT)
    with pytest.raises(NothingMatchedError, match="no suite called 'x'"):
        queue(mixed, tag="x")
    assert 6 == len(queue(mixed, tag="t"))
    ask(mixed, "one", other_than_logged)
    found = queue(mixed, tag="t")
    assert ([6, 12], {1}) == (
        [sum(entry.reason != RUNS_DISAGREE for entry in found), sum(entry.reason == RUNS_DISAGREE for entry in found)],
        {entry.runs_wrong for entry in found if entry.reason == RUNS_DISAGREE},
    )
    say(mixed, found[-1].exchange_uid)
    assert 17 == len(queue(mixed, tag="t"))
    assert 6 == len(queue(mixed, tag="eval"))


# ---- as a person types it -------------------------------------------------------------------------------------------


@pytest.fixture
def typed(mixed: ToolLog, capsys: pytest.CaptureFixture[str]) -> Typed:
    return Typed(mixed, capsys)


SPLITS = ("--split", "eval", "--split", "dev", "--split", "train")


def test_labels_are_added_listed_and_taken_back(mixed: ToolLog, typed: Typed) -> None:
    first, second, third = first_steps(mixed, "where")[:3]
    assert "label 1 on exchange" in typed(labels_group, "add", first, "--good", "--by", "ann", "--comment", "fine")
    made = ("--call", "recall", '{"query": "home"}', "--call", "recall", "{}")
    added = typed.json(labels_group, "add", f"{second}.0.0", *made, "--by", "ann")
    assert {"id": 2, "target_type": "tool_call", "target_uid": f"{second}.0.0", "name": "expected"} == added
    typed(labels_group, "add", third, "--ask")
    assert ["ann", "ann"] == [row["annotator"] for row in typed.json(labels_group, "list")][:2]
    (row,) = typed.json(labels_group, "list", f"{second}.0.0")
    assert 2 == len(row["correction"]["tool_calls"])
    assert {"id": 1} == typed.json(labels_group, "withdraw", "1", "--by", "bob")
    assert [[2, 3], [1, 2, 3, 4]] == [
        [row["id"] for row in typed.json(labels_group, "list", *more)] for more in ((), ("--all",))
    ]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("{}",), "say one of"),
        (("{}", "--good", "--call", "recall", "{}"), "say one of"),
        (("{}", "--call", "recall", "query"), "not JSON"),
        (("{}", "--call", "recall", "[1]"), "not a JSON object"),
    ],
)
def test_a_label_that_cannot_be_meant_is_refused(mixed: ToolLog, typed: Typed, arguments: Any, says: str) -> None:
    uid, *rest = arguments
    typed(labels_group, "add", uid.format(first_steps(mixed, "where")[0]), *rest, code=2)
    assert says in typed.err
    assert [] == Labels(mixed).labels()


def test_the_queue_says_what_to_label_and_the_next_suite_has_it(mixed: ToolLog, typed: Typed) -> None:
    text = typed(build_command, "--tag", "v1", *SPLITS)
    assert "NOT COVERED" in text
    assert "of 33.3% of the turns the suite says nothing" in text
    assert "next: label 6 turns: toollog labels queue --tag v1" in text
    rows = typed.json(labels_group, "queue", "--tag", "v1", "-n", "2")
    assert [("logged_call_is_bad", "recall")] * 2 == [(row["reason"], row["tools"]) for row in rows]
    for row in rows:
        typed(labels_group, "add", row["exchange_uid"], "--call", "recall", '{"query": "home"}', "--by", "ann")
    text = typed(build_command, "--tag", "v2", *SPLITS)
    assert "NOT COVERED" not in text
    assert "next: label 4 turns: toollog labels queue --tag v2" in text


def test_a_sample_on_the_command_line_shows_its_kinds(typed: Typed) -> None:
    text = typed(build_command, "--tag", "s", "--sample", "3", *SPLITS)
    assert "3 scenarios with 5 steps frozen as 's' from 18 turns" in text
    assert "       12       2     6.0             0  2 steps, ok, recall" in text
    found = typed.json(build_command, "--tag", "s", "--sample", "3", *SPLITS)
    assert (3, False, 12) == (found["sample"], found["new"], found["strata"][0]["turns"])


def test_lint_ends_with_a_code_when_something_cannot_be_right(mixed: ToolLog, typed: Typed) -> None:
    typed(build_command, "--tag", "good", *SPLITS)
    assert "nothing to object to" in typed(lint_command, "good")
    expect(mixed, first_steps(mixed, "where")[0], {"name": "recall", "arguments": {"query": 1}})
    expect(mixed, first_steps(mixed, "home")[0], {"name": "recall", "arguments": {"query": "A-17"}})
    text = typed(build_command, "--tag", "odd", *SPLITS)
    assert "error: a value breaks the schema: its type, its allowed values (1)" in text
    assert "warning: a value stands in nothing that the model was shown (1)" in text
    found = typed.json(lint_command, "odd", code=4)
    assert {"against_schema": 1, "expects_what_failed": 1, "unreachable_value": 1} == found["counts"]
    assert "1 expectations of 'odd' cannot be right" in typed.err
