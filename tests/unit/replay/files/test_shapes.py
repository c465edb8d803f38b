"""Scenarios go into the shapes of other tools and come back as they were; what a shape cannot say is counted."""

import json
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarx_toollog.errors import ConfigError
from tarx_toollog.replay.files import bfcl, bfcl_export, inspect_ai, ours, promptfoo
from tarx_toollog.replay.files.lines import Entry, Placed
from tarx_toollog.replay.matching import Call, Rule
from tarx_toollog.replay.scenario import BRONZE, GOLD, Recorded, Scenario, ScenarioStep, TurnCall, Variant
from tests.unit.replay.files.any_scenarios import scenarios
from tests.unit.replay.support import TOOLS, calling, saying

ASKED = {"role": "user", "content": "Where do I live?"}
STEP = ScenarioStep(
    step_no=1,
    exchange_uid="",
    messages=(ASKED,),
    tools=tuple(TOOLS),
    params={},
    expected=(Call("recall", {"query": "home"}),),
    recorded=Recorded({}, None, None),
)
ONE = Scenario("c", 1, (STEP,), tier=GOLD)


def again(value: Any) -> Any:
    """Return a value as a file would give it back."""
    return json.loads(json.dumps(value))


def through_ours(entries: list[Entry]) -> Iterable[tuple[str, Entry]]:
    return [("here", again(entry)) for entry in entries]


def through_inspect(entries: list[Entry]) -> Iterable[tuple[str, Entry]]:
    rows, _ = inspect_ai.written(entries)
    return inspect_ai.read(("here", row) for row in again(rows))


def through_promptfoo(entries: list[Entry]) -> Iterable[tuple[str, Entry]]:
    whole, _ = promptfoo.written(entries)
    return promptfoo.read([("here", again(whole))])


def through_bfcl(entries: list[Entry]) -> Iterable[tuple[str, Entry]]:
    rows = bfcl_export.written(entries)
    for category, questions in rows.questions.items():
        yield from bfcl.read(placed(questions), placed(rows.answers.get(category, [])))


def placed(rows: list[dict[str, Any]]) -> list[Placed]:
    return [("here", again(row)) for row in rows]


def entries_of(*found: Scenario) -> list[Entry]:
    return [ours.entry_of(f"uid-{number}", one) for number, one in enumerate(found)]


@pytest.mark.parametrize("through", [through_ours, through_inspect, through_promptfoo])
@given(found=st.lists(scenarios(), min_size=1, max_size=3))
def test_any_scenario_comes_back_from_a_shape_that_hands_on_all(
    through: Callable[[list[Entry]], Iterable[tuple[str, Entry]]], found: list[Scenario]
) -> None:
    back = [ours.scenario_of(entry, where) for where, entry in through(entries_of(*found))]

    assert [one.content_hash for one in found] == [one.content_hash for one in back]
    assert [(one.omitted, one.recording) for one in found] == [(one.omitted, one.recording) for one in back]


@given(found=st.lists(scenarios(), min_size=1, max_size=3))
def test_what_goes_to_bfcl_comes_back_or_is_counted(found: list[Scenario]) -> None:
    rows = bfcl_export.written(entries_of(*found))
    back = [ours.scenario_of(entry, where) for where, entry in through_bfcl(entries_of(*found))]

    steps = sum(len(one.steps) for one in found)
    assert steps == len(back) + rows.left_out.total()
    if not rows.left_out and not rows.lost:
        assert Counter(_essence(one) for one in found) == Counter(_essence(one) for one in back)


def _essence(one: Scenario) -> str:
    """Return what is expected, without the order of calls and answers."""
    (step,) = one.steps
    answers = [sorted(json.dumps([call.name, call.arguments], sort_keys=True) for call in calls)
               for calls in (step.expected, *step.alternatives)]  # fmt: skip
    return json.dumps([list(step.messages), list(step.tools), answers[0], sorted(answers)], sort_keys=True)


BFCL_ROWS = {
    "one value each": {"query": ["home"], "limit": [3]},
    "several values": {"query": ["home", "my home", "Home?"]},
    "may be left out": {"query": ["home"], "limit": [3, 4, ""]},
    "only left out": {"query": ["home"], "limit": [""]},
    "an empty text, because it is required": {"query": ["", "all"]},
}


def question(*names: str) -> dict[str, Any]:
    functions = bfcl_export.written(entries_of(ONE)).questions["multiple"][0]["function"]
    category = "multiple" if len(names) == 1 else "parallel_multiple"
    return {"id": f"{category}_0", "question": [[ASKED]], "function": functions, "group": "g"}


@pytest.mark.parametrize("accepted", BFCL_ROWS.values(), ids=BFCL_ROWS)
def test_accepted_values_come_back_as_they_were(accepted: dict[str, list[Any]]) -> None:
    row, answer = question("recall"), {"id": "multiple_0", "ground_truth": [{"recall": accepted}]}
    ((_, entry),) = bfcl.read([("here", row)], [("here", answer)])
    rows = bfcl_export.written([entry])

    assert ({}, {}) == (dict(rows.left_out), dict(rows.lost))
    assert [row] == rows.questions["multiple"]
    kept = {name: values for name, values in accepted.items() if values != [""]}
    assert [{**answer, "ground_truth": [{"recall": kept}]}] == rows.answers["multiple"]


def test_values_that_all_calls_of_a_tool_accept_become_a_rule() -> None:
    truth = [{"recall": {"query": ["a"], "limit": [3, 4, ""]}}, {"recall": {"query": ["b"], "limit": [3, 4, ""]}}]
    ((_, entry),) = bfcl.read(
        [("here", question("recall", "recall"))], [("here", {"id": "parallel_multiple_0", "ground_truth": truth})]
    )

    assert {"recall": {"/limit": {"rule": "oneof", "values": [3, 4], "omit": True}}} == entry["rules"]
    assert "alternatives" not in entry
    assert [{"query": "a", "limit": 3}, {"query": "b", "limit": 3}] == arguments(entry["expected"])


def test_values_that_only_one_call_of_a_tool_accepts_become_answers_of_their_own() -> None:
    truth = [{"recall": {"query": ["a", "A"]}}, {"recall": {"query": ["b"], "limit": [3, ""]}}]
    ((_, entry),) = bfcl.read(
        [("here", question("recall", "recall"))], [("here", {"id": "parallel_multiple_0", "ground_truth": truth})]
    )

    assert "rules" not in entry
    assert [
        [{"query": "a"}, {"query": "b", "limit": 3}],
        [{"query": "a"}, {"query": "b"}],
        [{"query": "A"}, {"query": "b", "limit": 3}],
        [{"query": "A"}, {"query": "b"}],
    ] == [arguments(one) for one in [entry["expected"], *entry["alternatives"]]]
    assert truth == bfcl_export.written([entry]).answers["parallel_multiple"][0]["ground_truth"]


def arguments(answer: dict[str, Any]) -> list[Any]:
    return [call["arguments"] for call in answer["calls"]]


def test_more_combinations_than_can_be_listed_are_refused_with_their_line() -> None:
    many = [str(number) for number in range(65)]
    truth = [{"recall": {"query": many}}, {"recall": {"query": [*many, "b"]}}]
    with pytest.raises(ConfigError, match="here: 4290 combinations"):
        list(bfcl.read([("here", question("a", "b"))], [("", {"id": "parallel_multiple_0", "ground_truth": truth})]))


def test_each_key_of_an_accepted_object_lists_values() -> None:
    options = {"type": "object", "properties": {"radius": {"type": "number"}, "unit": {"type": "string"}}}
    accepted = {"radius": [1, 2], "unit": ["km", ""]}

    values = [{"radius": 1, "unit": "km"}, {"radius": 1}, {"radius": 2, "unit": "km"}, {"radius": 2}]
    assert values == bfcl.unwrapped(accepted, options)
    assert [[value] for value in values] == bfcl.unwrapped([accepted], {"type": "array", "items": options})
    assert {"radius": [2]} == bfcl.wrapped({"radius": 2}, options)
    assert [{"radius": [2]}] == bfcl.wrapped([{"radius": 2}], {"type": "array", "items": options})


CHANGED = {
    "params": replace(STEP, params={"max_tokens": 9}),
    "rules": replace(STEP, rules={"recall": {"/query": Rule("text")}}),
    "alternatives": replace(STEP, alternatives=((Call("save", {"title": "home"}),),)),
    "text_check": replace(STEP, expected=(), text_check={"says": ["TARX"]}),
    "ask": replace(STEP, expected=(), asks=True),
}
TURNS = {
    **{name: replace(ONE, steps=(step,)) for name, step in CHANGED.items()},
    "steps": replace(ONE, steps=(STEP, replace(STEP, step_no=2, messages=(ASKED, saying("a"), ASKED)))),
    "recording": replace(ONE, recording=(TurnCall(1, "recall", {}, "Porto"),)),
    "variant": replace(ONE, variant=Variant("u", "tools", "similar_tools", "10")),
    "tier": replace(ONE, tier=BRONZE),
}
SAID = {"inspect": {"alternatives"}, "promptfoo": {"alternatives", "params"}, "bfcl": set[str]()}


@pytest.mark.parametrize("shape", SAID)
@pytest.mark.parametrize("what", TURNS)
def test_what_a_shape_does_not_act_upon_is_counted(shape: str, what: str) -> None:
    entries = entries_of(TURNS[what], ONE)
    lost = {
        "inspect": lambda: inspect_ai.written(entries)[1],
        "promptfoo": lambda: promptfoo.written(entries)[1],
        "bfcl": lambda: bfcl_export.written(entries).lost,
    }[shape]()

    assert ({} if what in SAID[shape] else {what: 1}) == {key: count for key, count in lost.items() if count}


def test_what_others_would_show_a_model_in_other_words_is_counted() -> None:
    sound = {"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}
    told = {"role": "user", "content": "My key is {{ env.KEY }}"}
    plain = {"type": "function", "function": {"name": "recall"}}

    assert 1 == inspect_ai.written(entries_of(replace(ONE, steps=(replace(STEP, messages=(sound,)),))))[1]["content"]
    assert 1 == promptfoo.written(entries_of(replace(ONE, steps=(replace(STEP, messages=(told,)),))))[1]["templates"]
    assert 1 == bfcl_export.written(entries_of(replace(ONE, steps=(replace(STEP, tools=(plain,)),)))).lost["tools"]


def test_answers_that_are_not_all_combinations_are_left_out_rather_than_mixed() -> None:
    right = [{"query": "a", "limit": 1}, {"query": "b", "limit": 2}]
    step = replace(STEP, expected=(Call("recall", right[0]),), alternatives=((Call("recall", right[1]),),))
    rows = bfcl_export.written(entries_of(replace(ONE, steps=(step,))))

    assert [{"recall": {"query": ["a"], "limit": [1]}}] == rows.answers["multiple"][0]["ground_truth"]
    assert {"alternatives": 1} == dict(rows.lost)


def test_the_steps_of_a_turn_find_together_in_any_order() -> None:
    rows, _ = inspect_ai.written(entries_of(TURNS["steps"], ONE))
    back = [ours.scenario_of(entry, where) for where, entry in inspect_ai.read(("here", row) for row in rows[::-1])]

    assert [ONE.content_hash, TURNS["steps"].content_hash] == [one.content_hash for one in back]


def test_tools_that_bfcl_cannot_tell_leave_their_case_out() -> None:
    schema = {"type": "object", "properties": {"query": {"type": ["string", "null"]}}}
    tool = {"type": "function", "function": {"name": "recall", "description": "", "parameters": schema}}
    rows = bfcl_export.written(entries_of(replace(ONE, steps=(replace(STEP, tools=(tool,)),))))

    assert ({"not_bfcl": 1}, {}) == (dict(rows.left_out), rows.questions)


def test_inspect_has_calls_of_a_history_in_its_own_way_and_the_logged_text_beside_it() -> None:
    history = (
        ASKED,
        calling(("recall", '{"query":"home"}')),
        {"role": "tool", "tool_call_id": "c", "content": "Porto"},
    )
    entries = entries_of(replace(ONE, steps=(replace(STEP, messages=history),)))
    ((row,), _) = inspect_ai.written(entries)

    (call,) = row["input"][1]["tool_calls"]
    assert ("recall", {"query": "home"}) == (call["function"], call["arguments"])
    assert list(history) == row["metadata"]["messages"]
    assert ['[{"name":"recall","arguments":{"query":"home"}}]'] == row["target"]


def test_promptfoo_gets_what_a_run_would_send_and_chooses_the_model_itself() -> None:
    params = {"model": "base", "temperature": 0.8, "stream": True, "max_tokens": 9}
    whole, _ = promptfoo.written(entries_of(replace(ONE, steps=(replace(STEP, params=params),))))

    (test,) = whole["tests"]
    assert {"messages": [ASKED]} == test["vars"]
    assert {"disableVarExpansion": True, "tools": TOOLS, "passthrough": {"max_tokens": 9}} == test["options"]
    assert params == test["metadata"]["params"]


def test_a_dataset_that_others_wrote_is_read_when_it_says_what_is_right() -> None:
    row = {
        "input": "Where do I live?",
        "metadata": {"tools": TOOLS, "expected": {"answer": True}, "difficulty": "easy"},
    }
    ((_, entry),) = inspect_ai.read([("here", row)])

    (step,) = ours.scenario_of(entry, "here").steps
    assert ((ASKED,), tuple(TOOLS), ()) == (step.messages, step.tools, step.expected)


@pytest.mark.parametrize(
    ("read", "row", "says"),
    [
        (inspect_ai.read, {"input": "a"}, "`metadata` must have `tools` and `expected`"),
        (inspect_ai.read, {"input": 5, "metadata": {"tools": [], "expected": {}}}, "`input` must be a text or a chat"),
        (promptfoo.read, {"tests": "file://tests.yaml"}, "`tests` must be a list of tests"),
        (promptfoo.read, {"vars": {}}, "`metadata` must have `expected`"),
        (promptfoo.read, {"tests": [{"metadata": {"expected": {}}}]}, "here, test 1: `vars.messages`"),
        (promptfoo.read, {"vars": {"messages": []}, "metadata": {"expected": {}, "step": "a"}}, "must be numbers"),
        (promptfoo.read, {"vars": {"messages": []}, "metadata": {"expected": {}, "steps": 2}}, "steps [1] are there"),
        (lambda rows: bfcl.read(rows, ()), {**question("recall"), "id": "live_relevance_0"}, "any call is right"),
        (lambda rows: bfcl.read(rows, ()), {**question("recall"), "id": "simple_java_0"}, "is not a category"),
        (lambda rows: bfcl.read(rows, ()), question("recall"), "the accepted answers are missing"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_place(
    read: Callable[[list[Placed]], Iterable[Any]], row: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        list(read([("here", row)]))

    assert refused.value.message.startswith("here")
    assert says in refused.value.message
