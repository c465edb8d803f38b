import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from tarx_toollog.canonical import parse_arguments
from tarx_toollog.model import LoggedCall
from tarx_toollog.replay.matching import Call, Rule
from tarx_toollog.replay.scenario import Recorded, ScenarioStep
from tarx_toollog.replay.scorers.findings import CODES, Finding, ordered
from tarx_toollog.replay.scoring import judge
from tarx_toollog.store.replays import Answer
from tarx_toollog.store.verdicts import judge_call
from tarx_toollog.wire.openai_chat import tool_from_raw
from tests.unit.replay.support import TOOLS


def step(*calls: tuple[str, dict[str, Any]], asks: bool = False, shown: Sequence[str] = ()) -> ScenarioStep:
    expected = tuple(Call(name, arguments) for name, arguments in calls)
    messages = tuple({"role": "user", "content": text} for text in shown)
    return ScenarioStep(1, "", messages, tuple(TOOLS), {}, expected, Recorded({}, None, None), asks=asks)


def made(name: str, arguments: str, *, origin: str = "native", complete: bool = True) -> LoggedCall:
    from tarx_toollog.model import ToolCall

    offered = {tool.name: tool for tool in map(tool_from_raw, TOOLS)}
    verdict = judge_call(ToolCall(name, arguments, "id", complete=complete), offered)
    state = parse_arguments(arguments, complete=complete).state
    return LoggedCall("u", name, arguments, state, verdict.schema_state, verdict.offered, complete, origin, "id")


RECALL = ("recall", {"query": "home"})
BOTH = (RECALL, ("remember", {"text": "x", "kind": "fact"}))
LIMITED = ("recall", {"query": "home", "limit": 2})
MEMO = ("remember", {"text": "The user's cat Miez is 3 years old and eats fish"})
REWORDED = "The cat of the user, Miez, is 3 years old and it eats fish"
RIGHT = made("recall", '{"query": "home"}')
WORK = Answer((made("recall", '{"query":"work"}'),))
RIGHT_TOO = made("remember", '{"text": "x", "kind": "fact"}')

OF_CHAINS = {
    "looped", "no_recovery_after_error", "max_steps", "stopped_early", "wrong_order", "diverged_undetermined",
    "redundant_call",
}  # fmt: skip

CASES = [
    ("right", step(RECALL), Answer((RIGHT,)), None),
    ("right in another order", step(*BOTH), Answer((RIGHT_TOO, RIGHT)), None),
    ("right, default written out", step(RECALL), Answer((made("recall", '{"query":"Home.","limit":5}'),)), None),
    ("right answer in text", step(), Answer(text="Hello"), None),
    ("server refused", step(RECALL), Answer(outcome="upstream_error", error="boom"), "server_error"),
    ("leaked", step(RECALL), Answer((made("recall", '{"query":"home"}', origin="leaked_text"),)), "unparsed_tool_call"),
    ("cut call", step(RECALL), Answer((made("recall", '{"que', complete=False),), finish_reason="length"), "truncated"),
    ("cut text", step(RECALL), Answer(text="I will", finish_reason="length"), "truncated"),
    ("no JSON", step(RECALL), Answer((made("recall", "{query: home}"),)), "malformed_json"),
    ("JSON, no object", step(RECALL), Answer((made("recall", '"home"'),)), "malformed_json"),
    ("talks", step(RECALL), Answer(text="You live in Porto"), "missing_call"),
    ("refuses", step(RECALL), Answer(text="I can't access your notes."), "refused"),
    ("asks back", step(RECALL), Answer(text="Sure. Which home do you mean?"), "asked_instead"),
    ("refuses and asks", step(RECALL), Answer(text="I can't read notes. Do you have a link?"), "refused"),
    ("refuses, cut", step(RECALL), Answer(text="I can't access", finish_reason="length"), "truncated"),
    ("asks as it should", step(asks=True), Answer(text="Which home do you mean?"), None),
    ("asks for it without a question", step(asks=True), Answer(text="Tell me which home you mean."), None),
    ("should ask, calls", step(asks=True), Answer((RIGHT,), text="Which home?"), "should_have_asked"),
    ("should ask, says nothing", step(asks=True), Answer(text=""), "empty_answer"),
    ("one of two", step(*BOTH), Answer((RIGHT,)), "missing_call"),
    ("twice", step(RECALL), Answer((RIGHT, RIGHT)), "extra_call"),
    ("another tool", step(RECALL), Answer((made("save", '{"title":"home"}'),)), "wrong_tool"),
    ("made-up tool", step(RECALL), Answer((made("search", '{"query":"home"}'),)), "hallucinated_tool"),
    ("calls for nothing", step(), Answer((RIGHT,)), "unneeded_call"),
    ("says nothing", step(), Answer(text=" "), "empty_answer"),
    ("only thinks", step(), Answer(text="<think>Well.</think>\n"), "empty_answer"),
    ("only ends a thought", step(), Answer(text="Well.</think>\n"), "empty_answer"),
    ("thinks without end", step(), Answer(text="<think>Well, well", finish_reason="length"), "truncated"),
    ("thinks and answers", step(), Answer(text="Well.</think>Hello"), None),
    ("only thinks, where a call is due", step(RECALL), Answer(text="<think>I could recall.</think>"), "empty_answer"),
    ("says nothing, where a call is due", step(RECALL), Answer(text=""), "empty_answer"),
    ("required missing", step(RECALL), Answer((made("recall", "{}"),)), "missing_required"),
    ("unknown argument", step(RECALL), Answer((made("recall", '{"query":"home","q":1}'),)), "unknown_arg"),
    ("type", step(RECALL), Answer((made("recall", '{"query":["home"]}'),)), "arg_type"),
    ("enum", step(BOTH[1]), Answer((made("remember", '{"text":"x","kind":"dream"}'),)), "arg_enum"),
    ("enum, letters", step(BOTH[1]), Answer((made("remember", '{"text":"x","kind":"Fact"}'),)), "arg_enum_case"),
    ("number as text", step(LIMITED), Answer((made("recall", '{"query":"home","limit":"2"}'),)), "arg_type_coerced"),
    ("other words", step(MEMO), Answer((made("remember", json.dumps({"text": REWORDED})),)), "arg_other_words"),
    ("optional missing", step(BOTH[1]), Answer((made("remember", '{"text":"x"}'),)), "arg_missing_optional"),
    ("optional extra", step(RECALL), Answer((made("recall", '{"query":"home","limit":2}'),)), "arg_extra"),
    ("made-up value", step(RECALL, shown=["Where is my home?"]), WORK, "hallucinated_value"),
    ("other value", step(RECALL, shown=["from work to home"]), WORK, "wrong_reference"),
    ("value", step(RECALL), WORK, "arg_value"),
]


@pytest.mark.parametrize(("asked", "answer", "code"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_the_verdict_names_what_is_wrong(asked: ScenarioStep, answer: Answer, code: str | None) -> None:
    score = judge(asked, answer)["step"]
    assert (score.value, score.detail.get("code")) == (float(code is None), code)


def test_every_failure_code_has_a_case() -> None:
    elsewhere = OF_CHAINS | {"stale_reference"}  # matching.chain and closed loops; scorers/test_references.py
    assert {case[3] for case in CASES} - {None} == set(CODES) - elsewhere


def test_the_strict_profile_wants_a_question_of_an_answer_that_should_ask() -> None:
    strict = [
        values(step(asks=True), Answer(text=text))["step_strict"]
        for text in ("Which home?", "Which home do you mean? I know two.", "Tell me more.", "See `a ? b : c`.")
    ]
    assert [1.0, 1.0, 0.0, 0.0] == strict
    assert 1.0 == values(step(), Answer(text="Tell me more."))["step_strict"]


def test_a_step_that_should_ask_can_have_calls_that_are_as_right() -> None:
    asked = replace(step(asks=True), alternatives=((Call(*RECALL),),))
    assert (1.0, 1.0) == (values(asked, Answer((RIGHT,)))["step"], values(asked, Answer((RIGHT,)))["step_strict"])
    assert "extra_call" == judge(asked, Answer((RIGHT, RIGHT_TOO)))["step"].detail["code"]


def test_why_calls_are_missing_comes_before_that_they_are() -> None:
    found = ordered(Finding(code, {}, code == "redundant_call") for code in ("redundant_call", *sorted(CODES)))
    codes = [finding.code for finding in found]
    assert codes.index("stopped_early") < codes.index("missing_call") < codes.index("arg_value")
    assert codes.index("arg_value") < codes.index("diverged_undetermined") < codes.index("redundant_call")


def values(asked: ScenarioStep, answer: Answer) -> dict[str, float | None]:
    return {name: score.value for name, score in judge(asked, answer).items()}


def test_scorers_that_do_not_apply_say_so() -> None:
    assert values(step(), Answer(text="Hi")) == {
        "parse": None, "name": None, "schema": None, "arguments_strict": None, "arguments": None, "step": 1.0,
        "step_strict": 1.0, "step_lenient": 1.0, "identity": None,
    }  # fmt: skip
    assert values(step(RECALL), Answer(text="Hi")) == {
        "parse": None, "name": 0.0, "schema": None, "arguments_strict": None, "arguments": None, "step": 0.0,
        "step_strict": 0.0, "step_lenient": 0.0, "identity": None,
    }  # fmt: skip


def test_strict_arguments_are_the_same_json_and_standard_ones_mean_the_same() -> None:
    found = values(step(RECALL), Answer((made("recall", '{"query":"Home"}'),)))
    assert (found["arguments_strict"], found["arguments"]) == (0.0, 1.0)
    found = values(step(*BOTH), Answer((RIGHT_TOO, RIGHT)))
    assert (found["arguments_strict"], found["arguments"]) == (1.0, 1.0)


def test_a_valid_call_with_another_value_is_valid_and_not_the_same() -> None:
    found = values(step(RECALL), Answer((made("recall", '{"query":"work"}'),)))
    assert (found["parse"], found["name"], found["schema"], found["arguments"]) == (1.0, 1.0, 1.0, 0.0)


def test_a_call_against_its_schema_is_readable_and_not_valid() -> None:
    found = values(step(RECALL), Answer((made("recall", '{"query":1}'),)))
    assert (found["parse"], found["schema"]) == (1.0, 0.0)


def test_a_leaked_call_says_whether_it_would_have_been_right() -> None:
    for text, right in (("home", True), ("work", False)):
        leaked = made("recall", f'{{"query":"{text}"}}', origin="leaked_text")
        detail = judge(step(RECALL), Answer((leaked,), text="…"))["step"].detail
        assert detail["findings"][0]["would_have_been_right"] is right


def test_the_same_tool_once_more_is_not_the_right_tools() -> None:
    found = values(step(RECALL), Answer((RIGHT, RIGHT)))
    assert (found["name"], found["arguments"], found["step"]) == (0.0, None, 0.0)


@pytest.mark.parametrize(
    ("arguments", "profiles"),
    [
        ('{"query": "home", "limit": 2}', (1.0, 1.0, 1.0)),
        ('{"query": "Home.", "limit": 2.0}', (0.0, 1.0, 1.0)),
        ('{"query": "home", "limit": "2"}', (0.0, 0.0, 1.0)),
        ('{"query": "home", "limit": 3}', (0.0, 0.0, 0.0)),
    ],
)
def test_each_profile_forgives_what_the_one_before_it_does_not(
    arguments: str, profiles: tuple[float, float, float]
) -> None:
    found = values(step(LIMITED), Answer((made("recall", arguments),)))
    assert profiles == (found["step_strict"], found["step"], found["step_lenient"])


def test_an_answer_is_held_against_the_right_one_that_it_is_nearest_to() -> None:
    asked = replace(step(RECALL), alternatives=((), (Call("remember", {"text": "x", "kind": "fact"}),)))
    assert 1.0 == values(asked, Answer(text="You live in Porto."))["step"]
    assert 1.0 == values(asked, Answer((RIGHT_TOO,)))["step"]
    wrong = judge(asked, Answer((made("remember", '{"text": "y", "kind": "fact"}'),)))["step"]
    assert ("arg_value", "remember") == (wrong.detail["code"], wrong.detail["findings"][0]["name"])


def test_a_rule_makes_right_what_a_schema_cannot_know() -> None:
    rules = {"recall": {"/query": Rule("oneof", values=("home", "where I live")), "/limit": Rule("ignore")}}
    asked = replace(step(LIMITED), rules=rules)
    right = made("recall", '{"query": "Where I live?", "limit": 9}')
    assert 1.0 == values(asked, Answer((right,)))["step"]
    assert 0.0 == values(asked, Answer((made("recall", '{"query": "work"}'),)))["step"]
