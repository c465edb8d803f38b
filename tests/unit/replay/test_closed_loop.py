"""The closed loop without a network: which turns can be played, what the model is shown, and what is judged."""

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tarx_toollog.canonical import json_text
from tarx_toollog.errors import ConfigError
from tarx_toollog.ids import uuid7
from tarx_toollog.model import Exchange, Outcome
from tarx_toollog.replay.running.asking import Overrides, Verdict, request_body
from tarx_toollog.replay.running.closed_loop import Decision, answer_of, ask_turn
from tarx_toollog.replay.running.recorded import recorded_exchange
from tarx_toollog.replay.scenario import Omitted, Scenario, ScenarioStep
from tarx_toollog.replay.turns.course import LoopOptions
from tarx_toollog.replay.turns.playable import can_loop
from tarx_toollog.replay.turns.turn_scoring import judge_turn
from tarx_toollog.wire.decode import decode
from tarx_toollog.wire.raw import Begin, Chunk, End, RawExchange, ResponseStart
from tests.unit.replay.support import Json, calling, completion, saying
from tests.unit.replay.turns import OFFERED, Logged, turn, values

FIND = Logged("find_user", {"name": "Ann"}, '{"id": "u-4711"}')
NOTE = Logged("read_note", {"name": "plan"}, "three steps")
SEND = Logged("send", {"to": "u-4711", "text": "Hello"}, "sent")
TURN = turn([FIND], [NOTE], [SEND])
ALONE = LoopOptions(simulators=())

Asked = Callable[[ScenarioStep], tuple[Verdict, Exchange]]


def play(scenario: Scenario, ask: Asked, options: LoopOptions = ALONE) -> list[Decision]:
    async def asked(step: ScenarioStep) -> tuple[Verdict, Exchange]:
        return ask(step)

    async def collect() -> list[Decision]:
        return [decision async for decision in ask_turn(scenario, asked, options)]

    return asyncio.run(collect())


def answered(step: ScenarioStep, message: Mapping[str, Any]) -> tuple[Verdict, Exchange]:
    body = json_text(request_body(step, Overrides("tuned"))).encode()
    data = json.dumps(completion(dict(message))).encode()
    raw = RawExchange(
        Begin(uuid7(), "replay", "POST", "/v1/chat/completions", time.time_ns(), body_size=len(body)),
        body,
        ResponseStart(200, (("content-type", "application/json"),)),
        (Chunk(1, data),),
        End(2, final_seen=True, body_size=len(data)),
    )
    return Verdict.OK, decode(raw)


def scripted(*messages: Json) -> Asked:
    """Answer with one message after the other."""
    rest = iter(messages)
    return lambda step: answered(step, next(rest))


def as_logged(step: ScenarioStep) -> tuple[Verdict, Exchange]:
    return Verdict.OK, decode(recorded_exchange(step, json_text(request_body(step, Overrides("base"))).encode(), "r"))


def test_a_whole_turn_with_all_its_results_can_be_played() -> None:
    assert can_loop(TURN) is None
    assert can_loop(turn()) is None


@pytest.mark.parametrize(
    ("scenario", "why"),
    [
        (replace(TURN, steps=TURN.steps[1:]), "a step of the turn was left out when it was frozen"),
        (replace(TURN, steps=TURN.steps[:-1], omitted=(Omitted(4, "empty_answer"),)),
         "a step of the turn was left out when it was frozen"),
        (replace(TURN, steps=TURN.steps[:-1]), "the turn does not end with an answer"),
        (turn([FIND], [FIND._replace(result=None)], [SEND]), "the result of a call was not recorded"),
        (replace(TURN, recording=()), "an expected call was not made in the log, so its result is not known"),
        (turn([FIND], [NOTE], expected={2: [SEND]}),
         "an expected call was not made in the log, so its result is not known"),
    ],
)  # fmt: skip
def test_why_a_turn_cannot_be_played(scenario: Scenario, why: str) -> None:
    assert can_loop(scenario) == why


@pytest.mark.parametrize("messages", [TURN.steps[-1].messages[-2:], (*TURN.steps[-1].messages, {"role": "user"})])
def test_a_turn_whose_history_the_client_changed_cannot_be_played(messages: Sequence[Mapping[str, Any]]) -> None:
    last = replace(TURN.steps[-1], messages=tuple(messages))
    system = replace(TURN.steps[0], messages=({"role": "system"}, {"role": "user"}, {"role": "user"}))
    changed = replace(TURN, steps=(system, *TURN.steps[1:-1], last))

    assert can_loop(changed) == "the client changed the history within the turn"


def test_the_logged_answers_play_the_logged_turn() -> None:
    decisions = play(TURN, as_logged)

    assert [decision.step_no for decision in decisions] == [1, 2, 3, 4]
    for decision, step in zip(decisions, TURN.steps, strict=True):
        assert decision.step.messages == step.messages


def test_the_model_is_shown_its_own_calls_with_their_results() -> None:
    first, second = calling(("read_note", {"name": "plan"})), calling(("find_user", {"name": "Ann"}), SEND[:2])
    decisions = play(TURN, scripted(first, second, saying("Done.")))

    ids = [call["id"] for message in (first, second) for call in message["tool_calls"]]
    assert list(decisions[-1].step.messages) == [
        {"role": "user", "content": "Write to Ann."},
        first,
        {"role": "tool", "tool_call_id": ids[0], "content": "three steps"},
        second,
        {"role": "tool", "tool_call_id": ids[1], "content": '{"id": "u-4711"}'},
        {"role": "tool", "tool_call_id": ids[2], "content": "sent"},
    ]


def test_ids_that_a_server_gives_twice_are_told_apart() -> None:
    first, second = calling(FIND[:2]), calling(NOTE[:2])
    second["tool_calls"][0]["id"] = first["tool_calls"][0]["id"]
    messages = play(TURN, scripted(first, second, saying("Done.")))[-1].step.messages

    assert [message["tool_calls"][0]["id"] for message in messages[1::2]] == [
        messages[2]["tool_call_id"], messages[4]["tool_call_id"],
    ]  # fmt: skip
    assert messages[2]["tool_call_id"] != messages[4]["tool_call_id"]


def test_reasoning_goes_back_only_where_the_logged_client_sent_it_back() -> None:
    thinking = {**calling(FIND[:2]), "reasoning_content": "hm"}
    told = [{**message, "reasoning_content": "so"} if message["role"] == "assistant" else message
            for message in TURN.steps[-1].messages]  # fmt: skip
    keeping = replace(TURN, steps=(*TURN.steps[:-1], replace(TURN.steps[-1], messages=tuple(told))))

    assert "reasoning_content" not in play(TURN, scripted(thinking, saying("x")))[1].step.messages[1]
    assert play(keeping, scripted(thinking, saying("x")))[1].step.messages[1]["reasoning_content"] == "hm"


def test_a_call_that_leaked_is_not_executed() -> None:
    leak = saying('<tool_call>\n{"name": "find_user", "arguments": {"name": "Ann"}}\n</tool_call>')
    (only,) = play(TURN, scripted(leak))

    answer = answer_of(only.exchange)
    assert [(call.name, call.origin) for call in answer.calls] == [("find_user", "leaked_text")]
    assert judge_turn(TURN, [answer], ALONE)["chain"].detail["code"] == "unparsed_tool_call"


def test_the_nth_decision_has_the_tools_and_parameters_of_the_nth_step_and_later_ones_those_of_the_last() -> None:
    steps = [replace(step, params={"seed": number}) for number, step in enumerate(TURN.steps)]
    refused = (calling(("find_user", {"nick": str(number)})) for number in range(9))
    decisions = play(replace(TURN, steps=tuple(steps)), scripted(*refused))

    assert [decision.step.params["seed"] for decision in decisions] == [0, 1, 2, 3, 3, 3, 3, 3]
    assert [decision.step_no for decision in decisions] == list(range(1, 9))


def test_a_turn_ends_where_it_diverges() -> None:
    decisions = play(TURN, scripted(calling(FIND[:2]), calling(("read_note", {"name": "x"})), saying("never asked")))

    assert len(decisions) == 2


def test_an_unavailable_tool_is_told_to_the_model_and_leaves_the_world_as_it_was() -> None:
    options = LoopOptions(simulators=(), on_divergence="error-result")
    wrong = calling(("send", {"to": "Bob", "text": "Hello"}))
    decisions = play(TURN, scripted(calling(FIND[:2]), wrong, calling(SEND[:2]), saying("Done.")), options)

    results = [message["content"] for message in decisions[-1].step.messages if message["role"] == "tool"]
    assert results == ['{"id": "u-4711"}', "tool unavailable in replay", "sent"]


@pytest.mark.parametrize(
    ("verdict", "outcome"),
    [
        (Verdict.INFRA_ERROR, Outcome.UPSTREAM_ERROR),
        (Verdict.INVALID, Outcome.COMPLETED),
        (Verdict.MODEL_ERROR, Outcome.UPSTREAM_ERROR),
    ],
)
def test_an_answer_that_did_not_come_or_does_not_count_ends_the_turn(verdict: Verdict, outcome: Outcome) -> None:
    def failing(step: ScenarioStep) -> tuple[Verdict, Exchange]:
        found, exchange = answered(step, calling(FIND[:2]))
        return (found, exchange) if step.step_no == 1 else (verdict, replace(exchange, outcome=outcome))

    assert [decision.verdict for decision in play(TURN, failing)] == [Verdict.OK, verdict]


def test_options_are_kept_with_a_run_and_read_again() -> None:
    options = LoopOptions(("tarx_memory",), {"send": "idempotent"}, 9, "error-result")

    assert LoopOptions.from_json(json.loads(json.dumps(options.to_json()))) == options
    assert LoopOptions().simulators == ("tarx_memory",)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"effects": {"send": "wirte"}}, "unknown effect 'wirte'"),
        ({"on_divergence": "guess"}, "unknown policy 'guess'"),
    ],
)
def test_unknown_options_are_refused(changes: Json, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        LoopOptions.from_json({**LoopOptions().to_json(), **changes})


def test_a_declared_effect_decides_what_may_be_served_again() -> None:
    twice = calling(FIND[:2], FIND[:2])

    assert len(play(TURN, scripted(twice, saying("x")))) == 2
    assert len(play(TURN, scripted(twice), replace(ALONE, effects={"find_user": "write"}))) == 1


TOOL_NAMES = st.sampled_from([tool["function"]["name"] for tool in OFFERED])
WORDS = st.sampled_from(["Ann", "Bob", "u-1", "plan", "12.50"])
CALLS = st.builds(
    Logged,
    TOOL_NAMES,
    st.dictionaries(st.sampled_from(["name", "to", "text", "amount"]), WORDS | st.integers(0, 3), max_size=3),
    st.sampled_from(["ok", "no", '{"id": "u-1", "names": ["Ann", "plan"]}', ""]),
    st.booleans(),
)


@given(st.lists(st.lists(CALLS, min_size=1, max_size=3), max_size=5))
def test_any_turn_made_as_it_was_logged_gets_every_result_and_is_right(steps: list[list[Logged]]) -> None:
    scenario = turn(*steps)
    decisions = play(scenario, as_logged)
    scores = judge_turn(scenario, [answer_of(decision.exchange) for decision in decisions], ALONE)

    assert can_loop(scenario) is None
    for decision, step in zip(decisions, scenario.steps, strict=True):
        assert decision.step.messages == step.messages
    assert (values(scores), scores["chain"].detail["findings"]) == ((1.0, 1.0, 1.0), [])
