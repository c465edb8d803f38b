"""Accepting an answer by rules for its arguments: others that keep to them are right, too, and nothing gets wrong."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tarx_toollog.cli.labels import group as labels_commands
from tarx_toollog.cli.replay import group as replay_commands
from tarx_toollog.cli.replay_suites import accept as accept_command
from tarx_toollog.errors import ConfigError
from tarx_toollog.replay.matching import Rule
from tarx_toollog.replay.matching.rules import load_rules
from tarx_toollog.replay.overlay import accepted_overlay
from tarx_toollog.replay.scoring import scenarios_of, score_run
from tarx_toollog.replay.suites.accepting import accept
from tarx_toollog.replay.suites.argument_rules import Said
from tarx_toollog.replay.suites.freeze import build
from tarx_toollog.store.labels import Labels
from tarx_toollog.store.log import ToolLog
from tarx_toollog.store.replays import CLOSED_LOOP, TEACHER_FORCED, Replays
from tarx_toollog.store.suites import Suites
from tests.unit.replay.labelling import OK, Typed, ask, right_steps, talk
from tests.unit.replay.support import EVERY_SPLIT, Chat, Json, calling, results_since, saying

LOGGED = ("recall", {"query": "the colour of the cat Miez"})
REWORDED = {"query": "the cat Miez: the colour of it"}
SAVED = ("save", {"title": "Cat", "tags": ["a", "b"]})


def making(*calls: tuple[str, Any]) -> Any:
    """Return a model that makes these calls, and then says what the log says."""
    return lambda body: calling(*calls) if results_since(body) == 0 else saying("black")


def recalling(**arguments: Any) -> Any:
    return making(("recall", arguments))


@pytest.fixture
def log(tmp_path: Path) -> Iterator[ToolLog]:
    with ToolLog.open(tmp_path / "t.db", read_only=False) as opened:
        yield opened


def frozen(log: ToolLog, *calls: tuple[str, Any], tag: str = "t") -> ToolLog:
    talk(Chat(log, "cat"), "cat?", (calling(*calls), OK), (saying("black"), ""))
    build(log, tag, EVERY_SPLIT)
    return log


@pytest.fixture
def asked(log: ToolLog) -> ToolLog:
    """A suite of one turn, and a run that asks for something else, and for more of it."""
    frozen(log, LOGGED)
    ask(log, "a", recalling(query="Miez", limit=9))
    return log


def answer(log: ToolLog, name: str) -> str:
    replays = Replays(log)
    uid = next(replays.trials(replays.run(name).id)).exchange_uid
    assert uid is not None
    return uid


def accept_with(log: ToolLog, name: str, *said: tuple[str, Any], by: str = "ann") -> Any:
    return accept(log, answer(log, name), by=by, rules=[Said(*one) for one in said])


def is_right(log: ToolLog, name: str, model: Any, tag: str = "t") -> bool:
    """Say whether a later run is right."""
    ask(log, name, model, tag)
    return right_steps(log, name) == (2, 2)


def test_a_rule_makes_right_what_keeps_to_it_and_nothing_else(asked: ToolLog) -> None:
    done = accept_with(asked, "a", ("query", "oneof"), ("limit", "ignore"))

    assert {"/query": Rule("oneof", values=(LOGGED[1]["query"], "Miez")), "/limit": Rule("ignore")} == (
        done.rules["recall"]
    )
    assert (2, 2) == right_steps(asked, "a")
    assert is_right(asked, "another limit", recalling(query="Miez", limit=2))
    assert is_right(asked, "no limit", recalling(query="Miez"))
    assert is_right(asked, "the logged query", recalling(**LOGGED[1], limit=7))
    assert not is_right(asked, "another query", recalling(query="dog", limit=9))
    assert not is_right(asked, "another tool", making(("remember", {"text": "Miez"})))


def test_any_wording_is_right_by_a_rule_while_the_facts_are_there(log: ToolLog) -> None:
    frozen(log, LOGGED)
    ask(log, "a", recalling(**REWORDED))
    assert (1, 2) == right_steps(log, "a")
    accept_with(log, "a", ("query", "text"))

    assert (2, 2) == right_steps(log, "a")
    assert is_right(log, "other words", recalling(query="what is the colour of Miez the cat"))
    assert not is_right(log, "another cat", recalling(query="the colour of the cat Minka"))


def test_a_rule_holds_for_every_suite_and_run_that_asks_the_same_and_no_suite_changes(asked: ToolLog) -> None:
    talk(Chat(asked, "more"), "more", (calling(LOGGED), OK), (saying("black"), ""))
    build(asked, "u", EVERY_SPLIT)
    ask(asked, "b", recalling(query="Miez", limit=4), "u")
    suites = [Suites(asked).suite(name) for name in "tu"]

    done = accept_with(asked, "a", ("query", "oneof"), ("limit", "ignore"))

    assert (("b",), 2) == (done.other_runs, done.rescored)
    assert (2, 4) == right_steps(asked, "b")
    score_run(asked, "b")
    assert (3, 4) == right_steps(asked, "b")
    assert suites == [Suites(asked).suite(name) for name in "tu"]
    (label,) = Labels(asked).labels(name="also_right")
    assert (1.0, {"rules": done.to_json()["rules"]}, "ann") == (label.value_num, label.correction, label.annotator)


def test_a_rule_that_is_taken_back_counts_no_longer(asked: ToolLog) -> None:
    done = accept_with(asked, "a", ("query", "oneof"), ("limit", "ignore"))
    Labels(asked).withdraw(done.label_id, "ann")
    score_run(asked, "a")
    assert (1, 2) == right_steps(asked, "a")
    assert (0, "") == (accepted_overlay(asked, "t").n_answers, accepted_overlay(asked, "t").hash)


def test_values_add_up_and_each_goes_with_the_word_of_who_said_it(log: ToolLog) -> None:
    frozen(log, LOGGED)
    words = {}
    for name in ("one", "two"):
        ask(log, name, recalling(query=name))
        words[name] = accept_with(log, name, ("query", "oneof"), by=name)
    models = {"first": recalling(query="one"), "second": recalling(query="two"), "logged": making(LOGGED)}
    assert [True, True, True] == [is_right(log, name, model) for name, model in models.items()]

    Labels(log).withdraw(words["one"].label_id, "ann")
    for name in models:
        score_run(log, name)
    assert [(1, 2), (2, 2), (2, 2)] == [right_steps(log, name) for name in models]


def test_listed_values_stand_beside_what_is_right_already_also_where_that_is_nothing(asked: ToolLog) -> None:
    values = ("query", {"rule": "oneof", "values": ["Miez"]}), ("limit", {"rule": "oneof", "values": [8, 9]})
    accept_with(asked, "a", *values)
    models = {limit: recalling(query="Miez", limit=limit) for limit in (8, 9, 7)} | {0: making(LOGGED)}
    assert {8: True, 9: True, 7: False, 0: True} == {
        limit: is_right(asked, f"limit {limit}", model) for limit, model in models.items()
    }


def test_by_what_is_accepted_an_answer_of_another_run_needs_no_rule(asked: ToolLog) -> None:
    ask(asked, "b", recalling(query="Miez", limit=9))
    accept(asked, answer(asked, "a"), by="ann")
    with pytest.raises(ConfigError, match="by what is accepted that answer is right"):
        accept_with(asked, "b", ("query", "oneof"))


def test_what_lies_over_a_suite_tells_rules_from_answers(asked: ToolLog) -> None:
    accept_with(asked, "a", ("query", "oneof"), ("limit", "ignore"))
    by_rule = accepted_overlay(asked, "t")
    ask(asked, "b", making(("remember", {"text": "Miez"})))
    accept(asked, answer(asked, "b"), by="ann")
    both = accepted_overlay(asked, "t")
    assert [(1, 1), (2, 1)] == [(found.n_answers, found.n_by_rule) for found in (by_rule, both)]
    assert by_rule.hash != both.hash
    assert "2 answers are accepted, 1 with a rule for its arguments, beside what the suite expects" == str(both)


def test_a_run_that_goes_on_meanwhile_counts_a_rule(asked: ToolLog) -> None:
    def accepting(body: Json) -> Json:
        if results_since(body):  # the last step of the run: the first is judged already
            accept_with(asked, "a", ("query", "oneof"), ("limit", "ignore"))
        made: Json = recalling(query="Miez", limit=3)(body)
        return made

    assert is_right(asked, "meanwhile", accepting)


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ([("query", "nearly")], "`rule` must be one of exact, text, number, set, regex, oneof, ignore, present"),
        ([("query", "oneof")], "would still be wrong: arg_extra at recall/limit"),
        ([("query", "exact"), ("limit", "ignore")], "would still be wrong: arg_value at recall/query"),
        ([("query", "text"), ("limit", "ignore")], "would still be wrong: arg_value at recall/query"),
        ([("query", {"rule": "regex", "pattern": "Miez"}), ("limit", "ignore")], "what is right now would be wrong"),
        ([("query", {"rule": "regex", "pattern": "("}), ("limit", "ignore")], "recall/query: "),
        ([("text", "ignore")], "'text' is no argument that differs"),
    ],
    ids=str,
)
def test_a_rule_that_does_not_make_the_answer_right_is_refused_and_nothing_is_kept(
    asked: ToolLog, said: Any, why: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        accept_with(asked, "a", *said)
    assert why in str(caught.value)
    assert [] == Labels(asked).labels(in_force=False)


def test_a_narrower_rule_than_the_one_that_is_there_is_refused(log: ToolLog, tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text('[recall."/query"]\nrule = "text"\n')
    talk(Chat(log, "cat"), "cat?", (calling(LOGGED), OK), (saying("black"), ""))
    build(log, "t", EVERY_SPLIT, load_rules(rules))
    ask(log, "a", recalling(query="Miez"))
    with pytest.raises(ConfigError, match="has the rule 'text' already, and 'oneof' would not let all through"):
        accept_with(log, "a", ("query", "oneof"))
    accept_with(log, "a", ("query", "present"))
    assert is_right(log, "b", recalling(query="dog"))
    assert not is_right(log, "c", recalling())


def test_an_answer_that_a_rule_of_the_suite_forbids_is_accepted_by_a_rule_alone(log: ToolLog, tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text(f'[recall."/query"]\nrule = "oneof"\nvalues = ["{LOGGED[1]["query"]}", "cat"]\n')
    talk(Chat(log, "cat"), "cat?", (calling(LOGGED), OK), (saying("black"), ""))
    build(log, "t", EVERY_SPLIT, load_rules(rules))
    ask(log, "a", recalling(query="Miez"))
    with pytest.raises(ConfigError, match="a rule says what is right for recall/query") as caught:
        accept(log, answer(log, "a"), by="ann")
    assert "--rule recall/query oneof" in (caught.value.hint or "")
    accept_with(log, "a", ("recall/query", "oneof"))
    assert [True, True] == [is_right(log, query, recalling(query=query)) for query in ("Miez", "cat")]


def test_one_call_does_not_stand_for_another_by_a_rule(log: ToolLog) -> None:
    other = ("recall", {"query": "the dog"})
    frozen(log, LOGGED, other)
    ask(log, "a", making(("recall", {"query": "Miez"}), other))
    with pytest.raises(ConfigError, match="one call could stand for another"):
        accept_with(log, "a", ("query", "oneof"))
    ask(log, "b", making(("recall", REWORDED), other))
    accept_with(log, "b", ("query", "text"))
    assert is_right(log, "c", making(other, ("recall", REWORDED)))
    assert not is_right(log, "d", making(other, other))


def test_a_rule_for_what_stands_within_an_argument_or_for_items_in_any_order(log: ToolLog) -> None:
    frozen(log, SAVED, LOGGED)
    ask(log, "a", making(("save", {"title": "Cat", "tags": ["b", "a"]}), ("recall", {**LOGGED[1], "limit": 9})))
    accept_with(log, "a", ("save/tags", "set"), ("/limit", "oneof"))
    assert is_right(log, "b", making(("save", {"title": "Cat", "tags": ["b", "a"]}), LOGGED))
    assert not is_right(log, "c", making(("save", {"title": "Cat", "tags": ["b", "c"]}), LOGGED))
    assert not is_right(log, "d", making(SAVED, ("recall", {**LOGGED[1], "limit": 8})))


def test_in_a_closed_loop_a_rule_counts_where_no_other_step_of_the_turn_calls_the_tool(log: ToolLog) -> None:
    talk(Chat(log, "k"), "one", (calling(LOGGED), OK), (calling(("recall", {"query": "dog"})), OK))
    talk(Chat(log, "l"), "two", (calling(LOGGED), OK), (calling(SAVED), OK))
    build(log, "t", EVERY_SPLIT)
    ask(log, "a", lambda body: calling(("recall", {**LOGGED[1], "limit": 9}) if not results_since(body) else SAVED))
    run = Replays(log).run("a")
    for trial in Replays(log).trials(run.id):
        if trial.step_no == 1:
            accept(log, str(trial.exchange_uid), by="ann", rules=[Said("limit", "ignore")])

    found = {
        mode: {str(scenario.steps[0].messages[-1]["content"]): [bool(step.rules) for step in scenario.steps]
               for _, scenario in scenarios_of(log, replace(run, mode=mode))}
        for mode in (TEACHER_FORCED, CLOSED_LOOP)
    }  # fmt: skip
    assert {"one": [True, False], "two": [True, False]} == found[TEACHER_FORCED]
    assert {"one": [False, False], "two": [True, False]} == found[CLOSED_LOOP]


def test_what_is_typed(asked: ToolLog, capsys: pytest.CaptureFixture[str]) -> None:
    typed = Typed(asked, capsys)
    typed(accept_command, answer(asked, "a"), "--rule", "query", "nearly", code=2)
    assert "must be one of exact, text" in typed.err
    typed(accept_command, answer(asked, "a"), "--rule", "limit", '{"rule"', code=2)
    assert "the rule is not JSON" in typed.err
    typed(accept_command, answer(asked, "a"), "--rule", "quarry", "text", code=2)
    assert "these do: recall/query, recall/limit" in typed.err
    limit = '{"rule": "oneof", "values": [8, 9], "omit": true}'
    text = typed(accept_command, answer(asked, "a"), "--rule", "query", "oneof", "--rule", "limit", limit)
    assert "right for recall/limit from now on: one of `values`" in text
    typed(labels_commands, "withdraw", str(10**30), code=2)
    typed(replay_commands, "show", "a")
    assert "1 answer is accepted, 1 with a rule for its arguments" in typed.err
    assert (2, 2) == right_steps(asked, "a")
